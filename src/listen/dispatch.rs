//! Which worker a connection goes to.

use std::sync::Arc;

use crate::relay;
use crate::relay::Arriving;
use crate::ring;

/// A worker as the listening task knows it. This task is the only one that pushes.
#[derive(Debug)]
pub struct WorkerDoor {
    /// The way to it.
    pub streams: ring::Sender<Box<Arriving>>,
    /// How much it has.
    pub stats: Arc<relay::Stats>,
}

/// The workers.
#[derive(Debug)]
pub(super) struct Dispatch {
    doors: Vec<WorkerDoor>,
}

/// Where a connection must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To whichever worker has the least to do.
    LeastLoaded,
}

impl Dispatch {
    pub(super) fn new(doors: Vec<WorkerDoor>) -> Self {
        Self { doors }
    }

    /// Where the connection goes whose first message is `message`. With TCP allocations a ConnectionBind goes to the
    /// worker that has the peer's connection (RFC 6062 § 4.3); every other message begins something new.
    pub(super) fn route(&self, _message: &[u8]) -> Route {
        Route::LeastLoaded
    }

    /// Hands a connection over.
    ///
    /// # Errors
    /// Gives it back where its worker has no room now.
    pub(super) fn hand_over(&mut self, route: Route, arriving: Box<Arriving>) -> Result<(), Box<Arriving>> {
        let Route::LeastLoaded = route;
        let load = |door: &WorkerDoor| {
            let (open, waiting) = (door.stats.streams.get(), door.streams.gauge().fill() as u64);
            (open + waiting, door.stats.relay_sockets.get())
        };
        let door =
            self.doors.iter_mut().filter(|door| !door.streams.is_abandoned()).min_by_key(|door| load(door));
        match door {
            Some(door) => door.streams.push(arriving),
            None => Err(arriving),
        }
    }
}
