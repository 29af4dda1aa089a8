//! Clients that move (RFC 8016), and what goes with them from worker to worker.

use std::io;

use crate::proto::types::FiveTuple;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::relay::Report;
use crate::relay::RequestUp;
use crate::relay::command::Parcel;

use super::Worker;

impl Worker<'_> {
    pub(super) fn detach(&mut self, relay: RelayId, keep: bool) {
        if self.slot.path.hold(relay) {
            self.read_out_steered();
        }
        let parcel = self.pack(relay, keep).map(Box::new);
        self.slot.stats.relay_sockets.set(self.slot.path.len() as u64);
        self.report(Report::Detached { relay, parcel });
    }

    /// The socket first: it alone can fail once it is known that the entry is here.
    fn pack(&mut self, relay: RelayId, keep: bool) -> io::Result<Parcel> {
        let slot = &mut *self.slot;
        if slot.table.five_tuple(relay).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (moving, kept) = slot.path.detach(&slot.poll, relay, keep)?;
        let by_kernel = slot.path.take_back(relay);
        let carried = slot.table.export(relay, kept).expect("its five-tuple was found");
        Ok(Parcel { relay, moving, carried, kept, by_kernel })
    }

    pub(super) fn attach(&mut self, parcel: Parcel, next: FiveTuple) {
        let relay = parcel.relay;
        let report = match self.unpack(parcel, next) {
            Ok(bound) => Report::Opened { relay, bound },
            Err(error) => Report::Failed { relay, error },
        };
        self.report(report);
    }

    pub(super) fn unpack(&mut self, parcel: Parcel, next: FiveTuple) -> io::Result<RelayAddr> {
        let Parcel { relay, moving, carried, .. } = parcel;
        let slot = &mut *self.slot;
        let bound = slot.path.attach(&slot.poll, relay, moving);
        if bound.is_ok() {
            slot.table.import(carried, next);
            slot.path.table_changed(&slot.table, Some(relay));
        }
        slot.stats.relay_sockets.set(slot.path.len() as u64);
        bound
    }

    /// Tells the control task who has come to where it was awaited. Who finds no room is told of after a later batch.
    pub(super) fn tell_arrivals(&mut self) {
        let slot = &mut *self.slot;
        while slot.live.free_slots() > 0
            && let Some(from) = slot.table.take_arrival()
        {
            // Refused only where nobody reads any more.
            let _ = slot.live.put(RequestUp::arrival(from));
        }
    }
}
