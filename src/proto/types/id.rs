//! Names that both planes use for the same thing. They carry a generation, so that a message about
//! something that is gone cannot hit what took its place.

/// One of the data plane's threads, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// An allocation's relay side: a slot of the server's, and which use of the slot is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId {
    /// The slot, below [`super::limits::ALLOCATIONS_MAX`].
    pub index: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// A client's connection at one worker: a slot of the worker's, and which use of the slot is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The slot, below [`super::limits::STREAMS_MAX`].
    pub index: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}
