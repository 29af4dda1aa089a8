//! After a panic: the same slot, a new epoch.
//!
//! What outlives the panic is what the kernel holds and what others hold the far end of: sockets, rings, wake, counters.
//! The loop's own memory went with its stack. The table may be half-changed, so it goes too, once its counters are read
//! off; the control task tells it anew. Of the connections of clients the one that was being worked on is closed, because
//! its bytes may be half-read; the others stay. Until it has, no socket is read: packets wait in them.

use std::io;
use std::mem;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;

use crate::proto::types::PeerReport;
use crate::proto::types::limits;
use crate::relay::Report;
use crate::relay::ToWorker;
use crate::relay::stats::StreamEnd;

use super::Slot;
use super::Worker;
use super::slot::Standing;

/// How soon a worker looks again whose reports have no room. The control task owes the room, so this is rare.
const REPORTS_RETRY: Duration = Duration::from_millis(1);

impl Slot {
    /// Whether one more start may do better: a worker that cannot even be told its table again ends, and with it the
    /// server.
    pub(super) fn may_restart(&self) -> bool {
        self.panics_in_a_row < limits::WORKER_PANICS_MAX
    }

    /// Keeps what outlives a panic, and makes the rest anew.
    pub(super) fn restart(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.panics_in_a_row += 1;
        self.stats.panics.add(1);
        self.standing = Standing::Untold;
        // Before the table goes: it holds buckets that a program in the kernel draws from.
        self.carried.extend(self.path.take_back_all());
        let fallen = mem::replace(&mut self.table, self.seed.table(self.epoch));
        self.carried.extend(fallen.salvage());
        self.strangers = self.seed.strangers(self.epoch);
        self.held = None;
        self.path.restart();
        if let Some(name) = self.peers.restart().and_then(|ended| ended.name) {
            self.peer_reports.push_back(PeerReport::Ended { connection: name });
        }
        let peers = &self.peers;
        self.talks.restart(|id| peers.of(id).is_some());
        self.show_peers();
        if let Some(from) = self.streams.restart() {
            self.streams.gone.push_back(from);
            self.stats.count_stream_end(StreamEnd::Panic);
        }
        #[cfg(feature = "dtls")]
        if let Some(from) = self.dtls.at_work.take()
            && self.dtls.end(&from, false).is_some()
        {
            self.streams.gone.push_back(from);
            self.stats.dtls.ended.add(1);
            self.stats.dtls.associations.set(self.dtls.len() as u64);
        }
        self.stats.streams.set(self.streams.len() as u64);
        self.stats.relay_sockets.set(self.path.len() as u64);
    }

    /// Whether commands are of an epoch that is over.
    pub(super) fn is_void(&self) -> bool {
        matches!(self.standing, Standing::Untold | Standing::Void)
    }

    pub(super) fn announce(&mut self, username_anonymity: bool) {
        let key = self.challenger.nonce_key.clone();
        self.challenger.nonce_key = key.with_username_anonymity(username_anonymity);
    }

    /// How long the worker may sleep, which has announced that it will; `None` for as long as nobody wakes it.
    pub(super) fn pause(&self) -> Option<Duration> {
        match (self.commands.is_empty(), self.reports_have_room()) {
            (false, true) => Some(Duration::ZERO),
            (false, false) => Some(REPORTS_RETRY),
            // Its sender woke us when it went, if we slept; so this is seen before the last sleep, not in it.
            (true, _) if self.commands.is_abandoned() => Some(Duration::ZERO),
            (true, _) if self.standing == Standing::Untold => Some(REPORTS_RETRY),
            // Without a whole table no connection is served.
            (true, _) if self.standing != Standing::Whole => None,
            (true, _) => self.streams_pause(),
        }
    }

    /// Tells the control task of the panic, as soon as there is room for it.
    pub(super) fn tell(&mut self) {
        if self.standing != Standing::Untold || self.reports.free_slots() == 0 {
            return;
        }
        let carried = mem::take(&mut self.carried).into_boxed_slice();
        // Refused only where nobody reads any more.
        let _ = self.reports.push(Report::Restarted { epoch: self.epoch, carried });
        self.standing = Standing::Void;
    }

    /// Sleeps until the control task has something. Sockets are not looked at: they would wake a worker that must not
    /// read them.
    fn wait_for_control(&mut self) -> io::Result<()> {
        self.wake_control();
        self.wake.prepare_sleep();
        let pause = self.pause().map(|pause| Timespec::try_from(pause).expect("a pause is short"));
        let woken = match poll(&mut [PollFd::new(&*self.wake, PollFlags::IN)], pause.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.wake.cancel();
        self.wake.drain();
        woken
    }
}

impl Worker<'_> {
    /// Obeys alone, until the table is whole.
    pub(super) fn await_rebuild(&mut self) -> io::Result<()> {
        while self.slot.standing != Standing::Whole && !self.leaving {
            self.slot.tell();
            self.slot.wait_for_control()?;
            self.obey();
        }
        Ok(())
    }

    /// A command from before the control task heard of the panic. It gives all of them again that still matter, but one
    /// may hold what is nowhere else: a relay socket on its way here.
    pub(super) fn pass_over(&mut self, command: ToWorker) {
        match command {
            ToWorker::Stop => self.leaving = true,
            ToWorker::Attach { parcel, next } => {
                // Asked for again, it is found here, or it is not.
                let _ = self.unpack(*parcel, next);
            }
            ToWorker::Rebuild { epoch, username_anonymity } if epoch == self.slot.epoch => {
                self.slot.announce(username_anonymity);
                self.slot.standing = Standing::Rebuilding;
            }
            _ => {}
        }
    }

    /// The table is whole again.
    pub(super) fn rebuilt(&mut self) {
        let slot = &mut *self.slot;
        if slot.standing != Standing::Rebuilding {
            return;
        }
        let table = &slot.table;
        slot.path.sweep(|relay| table.counters(relay).is_some());
        slot.stats.relay_sockets.set(slot.path.len() as u64);
        slot.peers.sweep();
        let peers = &slot.peers;
        slot.talks.restart(|id| peers.of(id).is_some());
        slot.show_peers();
        slot.panics_in_a_row = 0;
        slot.standing = Standing::Whole;
    }
}
