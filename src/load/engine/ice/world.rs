//! What all agents of a run share, and none changes.

use crate::load::Fault;
use crate::load::carrier::Dialler;
use crate::load::engine::common::Common;
use crate::load::nats;
use crate::load::plan::Server;
use crate::net::Poll;
use crate::place;

/// What all agents share.
pub(super) struct World<'a> {
    pub(super) common: &'a Common,
    /// The server by each way; the place is that in the agents' configurations.
    pub(super) ways: Vec<Way>,
    pub(super) poll: Poll,
}

/// A way to the server.
pub(super) struct Way {
    pub(super) server: Server,
    pub(super) way: place::Way,
    /// Makes connections, where it takes them.
    pub(super) dialler: Option<Dialler>,
}

impl<'a> World<'a> {
    pub(super) fn new(common: &'a Common) -> Result<Self, Fault> {
        let poll = Poll::new().map_err(|error| {
            let what = format!("this machine has no poll for sockets: {error}");
            Fault::new(crate::load::fault::FaultKind::Machine, what)
        })?;
        let first = Way {
            way: nats::way(&common.server),
            server: common.server.clone(),
            dialler: common.dialler.clone(),
        };
        let mut ways = vec![first];
        for server in common.nats.iter().flat_map(|nats| &nats.ways) {
            let dialler = Dialler::new(server)?;
            ways.push(Way { way: nats::way(server), server: server.clone(), dialler });
        }
        Ok(Self { common, ways, poll })
    }
}
