//! What the control task holds of a worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::ring::Gauge;
use crate::ring::Receiver;
use crate::ring::Sender;

use super::Arriving;
use super::Buckets;
use super::Report;
use super::RequestUp;
use super::Stats;
use super::Tier;
use super::ToWorker;

/// The far ends of a worker's rings, and its thread. Dropping it ends the thread, as [`ToWorker::Stop`] does.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens, in the order of the configuration; the same for every worker.
    pub listen_udp: Vec<SocketAddr>,
    /// Down: commands, carried out in order.
    pub commands: Sender<ToWorker>,
    /// Up: requests of five-tuples that have an allocation.
    pub live: Receiver<RequestUp>,
    /// Up: requests with a nonce of ours of five-tuples that have none.
    pub fresh: Receiver<RequestUp>,
    /// Up: one for each command that asks for it.
    pub reports: Receiver<Report>,
    pub(super) stats: Arc<Stats>,
    pub(super) thread: JoinHandle<()>,
    /// Down: connections of clients, from the listening task, which takes this end. Without it no connection comes.
    pub streams: Option<Sender<Box<Arriving>>>,
    /// What its relay ports stand on; the same for every worker.
    pub tier: Tier,
    /// Lends buckets that a program in the kernel draws from too, for whoever makes the server, which takes it: of the first
    /// worker alone, and only where there is such a program.
    pub buckets: Option<Buckets>,
}

/// The fill levels of a worker's rings.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// [`Handle::commands`].
    pub commands: Arc<Gauge>,
    /// [`Handle::live`].
    pub live: Arc<Gauge>,
    /// [`Handle::fresh`].
    pub fresh: Arc<Gauge>,
    /// [`Handle::reports`].
    pub reports: Arc<Gauge>,
}

impl Handle {
    /// Whether the worker is gone, be it by [`ToWorker::Stop`], by an error of the kernel or by a panic. The wake of
    /// the control task is notified when it goes.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.reports.is_abandoned() || self.thread.is_finished()
    }

    /// The worker's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// The fill levels of its rings.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            commands: self.commands.gauge(),
            live: self.live.gauge(),
            fresh: self.fresh.gauge(),
            reports: self.reports.gauge(),
        }
    }

    /// Ends the worker and waits until it is gone. What it still reports is lost.
    pub fn join(self) {
        let Self { commands, live, fresh, reports, thread, streams, .. } = self;
        // A worker that sees nobody at the far ends works off its commands and leaves.
        drop((commands, live, fresh, reports, streams));
        // An error would say that it panicked, which it has logged itself.
        let _ = thread.join();
    }
}
