//! What the process is told from outside while it serves: to drain, to leave, to read its configuration again.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::oneshot;

use crate::config::show_span;
use crate::control::Leave;

use super::notify;
use super::reload;
use super::reload::Reloader;

/// The signals that are listened to, and the runtime that does. One that comes before it is waited for is not lost.
pub(super) struct Signals {
    pub(super) runtime: Runtime,
    pub(super) streams: Streams,
}

/// One stream for each signal.
pub(super) struct Streams {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from here on, so that none of them ends the process any more.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let within = runtime.enter();
        let streams = Streams {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        drop(within);
        Ok(Self { runtime, streams })
    }
}

impl Streams {
    /// Carries signals to the control task until that is gone; meanwhile the configuration is read again as often as it is
    /// asked for. Without a file to read, a hang-up leaves at once.
    pub(super) async fn obey(
        self,
        mut gone: oneshot::Receiver<()>,
        leave: &Leave,
        drain_deadline: Duration,
        reloader: Option<Reloader>,
    ) {
        let Self { terminate, interrupt, hangup } = self;
        tokio::select! {
            () = end(&mut gone, (terminate, interrupt), leave, drain_deadline) => return,
            signal = reload::on_hangup(hangup, reloader) => tracing::info!(signal, "leaving at once"),
        }
        leave.at_once();
        // An error means that the control task is gone, which is what is waited for.
        let _ = gone.await;
    }
}

/// The first SIGTERM drains; a second one, and Ctrl-C, leaves at once.
async fn end(
    gone: &mut oneshot::Receiver<()>,
    (mut terminate, mut interrupt): (Signal, Signal),
    leave: &Leave,
    drain_deadline: Duration,
) {
    let mut draining = false;
    loop {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = &mut *gone => return,
        };
        notify::tell("STOPPING=1");
        if signal == "SIGTERM" && !draining {
            draining = true;
            tracing::info!(
                signal,
                at_most = show_span(drain_deadline),
                "leaving when the last call has ended"
            );
            leave.drain(drain_deadline);
        } else {
            tracing::info!(signal, "leaving at once");
            leave.at_once();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::event::PollFd;
    use rustix::event::PollFlags;
    use rustix::event::Timespec;
    use rustix::event::poll;
    use rustix::process::getpid;
    use rustix::process::kill_process;
    use tokio::time::sleep;
    use tokio::time::timeout;

    use super::*;
    use crate::ring::Wake;

    fn is_woken(wake: &Wake) -> bool {
        poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&Timespec::default())).expect("poll works") == 1
    }

    #[test]
    fn a_signal_that_comes_before_it_is_waited_for_ends_nothing_and_is_obeyed() {
        let Signals { runtime, streams } = Signals::listen().expect("signals are listened to");
        let wake = Arc::new(Wake::new().expect("an eventfd"));
        wake.prepare_sleep();
        let leave = Leave::new(Arc::clone(&wake));
        kill_process(getpid(), rustix::process::Signal::TERM).expect("sent");
        let (_alive, gone) = oneshot::channel();
        let told = async {
            while !is_woken(&wake) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        runtime.block_on(async {
            tokio::select! {
                () = streams.obey(gone, &leave, Duration::from_secs(60), None) => panic!("nobody has gone"),
                told = timeout(Duration::from_secs(20), told) => told.expect("the order is given"),
            }
        });
    }
}
