//! The thread of the doors.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::task::spawn_local;

use crate::net::Places;

use super::config::Config;
use super::config::Live;
use super::door::Complaints;
use super::door::Hall;
use super::door::accept;
use super::front_end::FrontEnds;
use super::stats::Stats;

/// What a reload exchanges, for whoever reloads.
#[derive(Clone)]
pub struct Desk(Arc<ArcSwap<Live>>);

/// The running doors. Dropping it closes them, and every connection.
#[derive(Debug)]
pub struct Mras {
    stats: Arc<Stats>,
    desk: Desk,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Opens the doors on a thread named `mras`.
///
/// # Errors
/// What the kernel says when there can be no thread, or nothing that it could wait with.
pub fn start(mut config: Config, live: Live) -> io::Result<Mras> {
    let stats = Arc::new(Stats::default());
    let desk = Desk(Arc::new(ArcSwap::from_pointee(live)));
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let (counted, read) = (Arc::clone(&stats), desk.clone());
    let thread = thread::Builder::new().name("mras".to_owned()).spawn(move || {
        let (total, per_address) = config.strangers;
        let listeners = std::mem::take(&mut config.listeners);
        let hall = Rc::new(Hall {
            strangers: RefCell::new(Places::new(total, per_address, config.hash_seeds)),
            front_ends: RefCell::new(FrontEnds::new(config.connections, config.requests)),
            complaints: Complaints::default(),
            stats: counted,
            desk: read,
            config,
        });
        LocalSet::new().block_on(&runtime, async move {
            for (door, listener) in listeners {
                spawn_local(accept(Rc::clone(&hall), door, listener));
            }
            // An error says that the other end is gone, which is an order to stop as well.
            let _ = stopped.await;
        });
    })?;
    Ok(Mras { stats, desk, stop: Some(stop), thread: Some(thread) })
}

impl Desk {
    /// From here on requests are answered, and handshakes made, with this. A connection whose front end would not be let
    /// in again ends with its next request.
    pub fn exchange(&self, live: Live) {
        self.0.store(Arc::new(live));
    }

    pub(super) fn live(&self) -> Arc<Live> {
        self.0.load_full()
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk(…)")
    }
}

impl Mras {
    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// What a reload exchanges.
    #[must_use]
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }
}

impl Drop for Mras {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // An error would say that it panicked, which the runtime has shown.
            let _ = thread.join();
        }
    }
}
