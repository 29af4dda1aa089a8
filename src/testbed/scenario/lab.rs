//! The laboratory of a scenario: where clients stand, and what their packets go through.

use std::time::Duration;

use crate::testbed::Place;

/// Where clients stand; what is not said is for the command line to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lab {
    /// Where the left client stands.
    pub left: Option<Place>,
    /// Where the right client stands.
    pub right: Option<Place>,
    /// What lies between the left client's place and the internet.
    pub left_link: Link,
    /// What lies between the right client's place and the internet.
    pub right_link: Link,
}

/// What packets go through, each way alike. The default is a perfect cable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Of a million packets so many are lost.
    pub loss_ppm: u32,
    /// Of a million packets so many come twice.
    pub duplication_ppm: u32,
    /// Of a million packets so many are overtaken by the next.
    pub reorder_ppm: u32,
    /// How long each takes.
    pub delay: Duration,
    /// How much longer it may take at most.
    pub jitter: Duration,
    /// Bits of a second, IP header included; `None` for any number.
    pub rate: Option<u64>,
}
