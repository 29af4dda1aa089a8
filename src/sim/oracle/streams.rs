//! Connections: whose allocation may end because its connection did, and whose must.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::proto::types::Deadline;
use crate::proto::types::FiveTuple;
use crate::proto::types::Tick;

use super::Oracle;
use super::Tuple;
use super::tuple;

/// Time in which the end of a connection is heard of by everybody, stalls and panics included.
const HEARD_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Ended(BTreeMap<Tuple, Deadline>);

impl Oracle {
    /// A worker has this connection.
    pub(in crate::sim) fn connection_taken_in(&mut self, from: &FiveTuple) {
        self.ended.0.remove(&tuple(from));
    }

    /// A worker had this connection.
    pub(in crate::sim) fn connection_ended(&mut self, tick: Tick, from: &FiveTuple) {
        self.ended.0.insert(tuple(from), tick.after(HEARD_WITHIN));
    }

    /// Whether the allocation of this number may be ended as one whose client is gone.
    pub(super) fn is_cut_off(&self, serial: u64) -> bool {
        self.by_tuple.iter().any(|(at, each)| *each == serial && self.ended.0.contains_key(at))
    }

    /// What hung on a connection does not outlive it, but for what its client may move (RFC 8016).
    pub(in crate::sim) fn nobody_lingers(&mut self, tick: Tick) -> Result<(), String> {
        let due: Vec<_> =
            self.ended.0.iter().filter(|(_, until)| until.is_due(tick)).map(|(at, _)| *at).collect();
        for at in due {
            let Some(serial) = self.by_tuple.get(&at) else {
                self.ended.0.remove(&at);
                continue;
            };
            let is_live = self.allocations.get(serial).is_some_and(|allocation| allocation.is_live(tick));
            if is_live && !self.tickets.values().any(|each| each == serial) {
                return Err(format!("the allocation of {at:?} outlives its connection"));
            }
        }
        Ok(())
    }
}
