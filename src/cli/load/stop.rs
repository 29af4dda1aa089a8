//! Ctrl-C while a run goes on: once, and it ends early and reports; twice, and it leaves at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::cli::Exit;

/// Whether somebody asked to stop.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether it was asked for.
    pub(in crate::cli) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Listens to SIGINT and SIGTERM from a thread of its own. Where that cannot be, they end the process as they do.
    pub(in crate::cli) fn listen() -> Self {
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
                    if asked.is_asked() {
                        // Allocations are left behind; the server ends them when their time is over.
                        std::process::exit(i32::from(Exit::Failed.code()));
                    }
                    asked.ask();
                }
            });
        };
        // Without the thread a signal ends the process at once, which is what it asks for.
        let _ = thread::Builder::new().name("signals".to_owned()).spawn(listening);
        stop
    }
}
