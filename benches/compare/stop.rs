//! Ctrl-C and SIGTERM: the run ends after what is being measured, and takes down what it put up.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use indicatif::ProgressBar;
use swingbridge::load::outcome::Moment;
use swingbridge::load::rig::GoOn;
use swingbridge::load::rig::Watcher;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// Whether somebody asked to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Listens from a thread of its own.
    pub(crate) fn listen() -> Self {
        let stop = Self::default();
        let asked = stop.clone();
        let listening = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
                return;
            };
            runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    asked.0.store(true, Ordering::Relaxed);
                }
            });
        };
        // Without the thread a signal ends the process at once, and namespaces may be left.
        let _ = thread::Builder::new().name("signals".to_owned()).spawn(listening);
        stop
    }
}

/// Looks on for the load engine: only to stop it.
pub(crate) struct Watch<'a> {
    pub(crate) stop: &'a Stop,
    pub(crate) bar: &'a ProgressBar,
}

impl Watch<'_> {
    /// Whether somebody asked to stop.
    pub(crate) fn is_over(&self) -> bool {
        self.bar.tick();
        self.stop.is_asked()
    }
}

impl Watcher for Watch<'_> {
    fn moment(&mut self, _moment: &Moment) -> GoOn {
        self.bar.tick();
        if self.stop.is_asked() { GoOn::No } else { GoOn::Yes }
    }
}
