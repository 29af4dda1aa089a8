//! One worker: what it owns, and its loop.
//!
//! Priorities of a round, each with a budget so that none starves the next: commands, listeners, relay sockets.
//! Sockets are watched level-triggered, so what a budget leaves is told again at the next round.

#[cfg(feature = "dtls")]
mod dtls;
mod errors;
mod flush;
mod from_clients;
mod from_peers;
mod moves;
mod obey;
mod peers;
mod restart;
mod slot;
mod steered;
mod streams;
mod talks;

use std::io;
use std::panic;
use std::panic::AssertUnwindSafe;

use rustix::io::Errno;

use crate::net::Batch;
use crate::net::Events;
use crate::net::RawSender;
use crate::net::Sender;
use crate::net::Token;
use crate::proto::media::DropReason;
use crate::proto::types::FiveTuple;
use crate::proto::types::RelayId;
use crate::proto::types::limits;
use crate::ring;

use super::RequestUp;
use super::Stats;
use super::egress::Egress;

use flush::departure_to;
use from_clients::Known;
pub(super) use slot::Slot;
pub(super) use slot::SlotParts;

/// Datagrams of one batch.
const BATCH: usize = 64;
/// Sockets that are told of in a round.
const EVENTS: usize = 256;

/// The life of a worker's thread: works until `work` ends, and once more after a panic, with the same slot. The ends of
/// the rings go with the slot, so the control task sees the end; the statistics, which others hold, say it too.
pub(super) fn live(worker: u16, mut slot: Slot, mut work: impl FnMut(&mut Slot) -> io::Result<()>) {
    tracing::debug!(worker, "worker starts");
    loop {
        match panic::catch_unwind(AssertUnwindSafe(|| work(&mut slot))) {
            Ok(Ok(())) => tracing::debug!(worker, "worker leaves"),
            Ok(Err(error)) => tracing::error!(worker, %error, "worker ends: cannot wait for its sockets"),
            Err(_) if slot.may_restart() => {
                slot.restart();
                tracing::debug!(worker, epoch = slot.epoch, "worker starts anew");
                continue;
            }
            Err(_) => tracing::error!(worker, "worker ends: it panics before its table is rebuilt"),
        }
        break;
    }
    slot.stats.end();
}

/// Works until it is told to stop, or until the control task is gone.
///
/// # Errors
/// What the kernel says when it cannot be waited.
pub(super) fn run(slot: &mut Slot) -> io::Result<()> {
    let mut events = Events::new(EVENTS);
    let mut worker = Worker::new(slot);
    worker.await_rebuild()?;
    while !worker.leaving {
        worker.wait(&mut events)?;
        worker.obey();
        worker.hear_clients(&events);
        worker.serve_streams(&events);
        #[cfg(feature = "dtls")]
        worker.look_after_dtls();
        worker.serve_peers(&events);
        worker.hear_errors(&events);
        worker.hear_peers(&events);
        worker.hear_steered(&events);
        worker.flush_streams();
        worker.tell_gone();
        worker.tell_peers();
        worker.slot.look_around();
    }
    Ok(())
}

/// The loop's own memory, allocated at its start.
struct Worker<'s> {
    slot: &'s mut Slot,
    batch: Batch,
    /// An answer to a stranger for each departure.
    answers: Box<[u8]>,
    /// The bytes of the connection that is being looked at.
    inbound: Box<[u8]>,
    egress: Egress,
    sender: Sender,
    packets: RawSender,
    leaving: bool,
    /// Of the control task, and on their way to clients.
    replies: Vec<Box<[u8]>>,
    /// Whose the datagrams of a listener's batch are.
    known: Vec<Known>,
    /// For which relays the datagrams of a shared socket's batch are.
    owners: Vec<Option<RelayId>>,
}

impl<'s> Worker<'s> {
    fn new(slot: &'s mut Slot) -> Self {
        let seeds = slot.seed.seeds(slot.epoch);
        let sender = if slot.leave_singly { Sender::one_by_one(BATCH) } else { Sender::new(BATCH) };
        Self {
            slot,
            batch: Batch::new(BATCH),
            answers: vec![0; BATCH * limits::RESPONSE_MAX].into(),
            inbound: vec![0; streams::INBOUND].into(),
            egress: Egress::new(BATCH),
            sender,
            packets: RawSender::new(BATCH, seeds),
            leaving: false,
            replies: Vec::new(),
            known: Vec::with_capacity(BATCH),
            owners: Vec::with_capacity(BATCH),
        }
    }

    /// Sleeps until a socket or the control task has something.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let slot = &mut *self.slot;
        slot.wake_control();
        slot.wake.prepare_sleep();
        slot.poll.wait(events, slot.pause())?;
        slot.wake.cancel();
        if (0..events.others()).any(|index| events.token(index) == Some(Token::Wake)) {
            slot.wake.drain();
        }
        slot.stats.wakeups.add(1);
        Ok(())
    }
}

/// Hands a request to the control task, which [`Slot::wake_control`] tells of it. One that finds no room is lost, as UDP may
/// lose it; the client asks again.
fn hand_up(ring: &mut ring::Sender<RequestUp>, stats: &Stats, from: FiveTuple, datagram: &[u8]) {
    if datagram.len() > limits::REQUEST_MAX {
        return stats.count_drop(DropReason::TooLarge);
    }
    // Looked at first, so that a flood that finds the ring full costs no copy.
    if ring.free_slots() == 0 || ring.put(RequestUp { from, bytes: datagram.into() }).is_err() {
        stats.count_drop(DropReason::RequestRingFull);
    }
}

/// `AGAIN` and `INTR` are no errors: nothing waits, or a signal came.
fn count_receive_error(stats: &Stats, error: Errno) {
    if error != Errno::AGAIN && error != Errno::INTR {
        stats.receive_errors.add(1);
    }
}

#[cfg(test)]
mod tests;
