//! The thread of the doors for connections.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::task::spawn_local;

use crate::net::Places;
use crate::net::StreamListener;

use super::Config;
use super::Stats;
use super::WorkerDoor;
use super::accept::Hall;
use super::accept::accept;
use super::dispatch::Dispatch;
use super::web;

/// The running doors. Dropping it closes them, and every connection that no worker has yet.
#[derive(Debug)]
pub struct Listening {
    stats: Arc<Stats>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    web: Option<JoinHandle<()>>,
}

/// Accepts on `listeners` and hands connections to the workers behind `doors`.
///
/// # Errors
/// What the kernel says when there can be no thread, or nothing that it could wait with.
pub fn start(
    config: Config,
    listeners: Vec<StreamListener>,
    doors: Vec<WorkerDoor>,
) -> io::Result<Listening> {
    let stats = Arc::new(Stats::default());
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let shown = Arc::clone(&stats);
    let (door, web) = web::start(config.web.clone(), config.hash_seeds, Arc::clone(stats.web()))?;
    let thread = thread::Builder::new().name("listen".to_owned()).spawn(move || {
        let places = Places::new(config.streams_total, config.streams_per_address, config.hash_seeds);
        let hall = Rc::new(Hall {
            config,
            stats: shown,
            places: RefCell::new(places),
            dispatch: RefCell::new(Dispatch::new(doors)),
            web: door,
        });
        LocalSet::new().block_on(&runtime, async move {
            for listener in listeners {
                spawn_local(accept(Rc::clone(&hall), listener));
            }
            // An error says that the other end is gone, which is an order to stop as well.
            let _ = stopped.await;
        });
    })?;
    Ok(Listening { stats, stop: Some(stop), thread: Some(thread), web: Some(web) })
}

impl Listening {
    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The first thread has the door to the second, which ends when that is gone.
        for thread in [self.thread.take(), self.web.take()].into_iter().flatten() {
            // An error would say that it panicked, which the runtime has shown.
            let _ = thread.join();
        }
    }
}
