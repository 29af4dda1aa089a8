//! Which worker a connection goes to.

use std::sync::Arc;

use crate::proto::types::ConnectionId;
use crate::proto::types::WorkerId;
use crate::proto::wire::connection;
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

/// The workers, in the order of their ids.
#[derive(Debug)]
pub(super) struct Dispatch {
    doors: Vec<WorkerDoor>,
}

/// Where a connection must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To whichever worker has the least to do.
    LeastLoaded,
    /// To this one, which has what the connection is to be joined to.
    Worker(WorkerId),
}

impl Dispatch {
    pub(super) fn new(doors: Vec<WorkerDoor>) -> Self {
        Self { doors }
    }

    /// Where the connection goes whose first message is `message`: a ConnectionBind to the worker that its CONNECTION-ID
    /// names (RFC 6062 § 4.3), since that has the peer's connection. Whoever writes another worker's name is refused there.
    pub(super) fn route(&self, message: &[u8]) -> Route {
        let worker = connection::bind_to(message).map(ConnectionId::worker);
        match worker.filter(|worker| usize::from(worker.0) < self.doors.len()) {
            Some(worker) => Route::Worker(worker),
            None => Route::LeastLoaded,
        }
    }

    /// Hands a connection over.
    ///
    /// # Errors
    /// Gives it back where its worker has no room now.
    pub(super) fn hand_over(&mut self, route: Route, arriving: Box<Arriving>) -> Result<(), Box<Arriving>> {
        let load = |door: &WorkerDoor| {
            let open = door.stats.streams.get() + door.stats.peer_joined.get();
            (open + door.streams.gauge().fill() as u64, door.stats.relay_sockets.get())
        };
        let mut lively = self.doors.iter_mut().enumerate().filter(|(_, door)| !door.streams.is_abandoned());
        let door = match route {
            Route::LeastLoaded => lively.min_by_key(|(_, door)| load(door)),
            Route::Worker(worker) => lively.find(|(index, _)| *index == usize::from(worker.0)),
        };
        match door.map(|(_, door)| door) {
            Some(door) => door.streams.push(arriving),
            None => Err(arriving),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::wire::Method;
    use crate::proto::wire::TransactionId;
    use crate::proto::wire::rfc8656::attributes;
    use crate::proto::wire::rfc8656::encode::MessageWriter;
    use crate::ring::Wake;
    use crate::ring::channel;

    use super::*;

    fn bind(id: u32) -> Vec<u8> {
        let mut out = [0; 100];
        let mut writer = MessageWriter::request(&mut out, Method::ConnectionBind, TransactionId([7; 16]));
        writer.attribute(attributes::CONNECTION_ID, &id.to_be_bytes());
        let len = writer.finish().expect("room");
        out[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
        out[..len].to_vec()
    }

    #[test]
    fn a_bind_goes_where_its_connection_is_and_a_name_of_nobody_anywhere() {
        let door = || {
            let (streams, far) = channel(4, Arc::new(Wake::new().expect("an eventfd")));
            (WorkerDoor { streams, stats: Arc::default() }, far)
        };
        let (doors, _far): (Vec<_>, Vec<_>) = (0..3).map(|_| door()).unzip();
        let dispatch = Dispatch::new(doors);
        for worker in 0..3 {
            let id = ConnectionId::new(0x00AB_CDEF, WorkerId(worker)).to_wire();
            assert_eq!(dispatch.route(&bind(id)), Route::Worker(WorkerId(worker)));
        }
        assert_eq!(dispatch.route(&bind(0xFFFF_FF03)), Route::LeastLoaded, "there is no such worker");
        assert_eq!(dispatch.route(&bind(1)[..19]), Route::LeastLoaded);
        assert_eq!(dispatch.route(b"\0\x01\0\0"), Route::LeastLoaded);
    }
}
