//! Signals that make workers panic. Compiled in under the feature `fault-injection` alone.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::relay::Handle;
use crate::relay::Stats;

/// The workers to be hit: by the first signal of a kind worker 0, by the next worker 1, and so on, round and round.
pub(super) struct Faults(Vec<Arc<Stats>>);

impl Faults {
    pub(super) fn of(handles: &[Handle]) -> Self {
        Self(handles.iter().map(Handle::stats).collect())
    }

    /// Obeys signals for as long as `work` takes.
    pub(super) async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let hit = async {
            if let Err(error) = self.obey_signals().await {
                tracing::error!(%error, "no signal makes a worker panic");
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            done = work => done,
            never = hit => match never {},
        }
    }

    /// Says so aloud, and then hits a worker with each SIGUSR1, at its next packet, and SIGUSR2, at its next command.
    async fn obey_signals(self) -> io::Result<()> {
        let mut at_packet = signal(SignalKind::user_defined1())?;
        let mut at_command = signal(SignalKind::user_defined2())?;
        tracing::error!(
            "FAULT INJECTION IS COMPILED IN: signals make workers panic. This binary is for tests alone"
        );
        let (mut packets, mut commands) = (self.0.iter().cycle(), self.0.iter().cycle());
        loop {
            tokio::select! {
                _ = at_packet.recv() => packets.next().map(|stats| stats.fault.at_next_packet()),
                _ = at_command.recv() => commands.next().map(|stats| stats.fault.at_next_command()),
            };
        }
    }
}
