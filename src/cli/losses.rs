//! Says aloud that the kernel drops packets before they are read. The counters say it too, to whoever looks at them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio::time::interval;

use crate::relay::Handle;
use crate::relay::Stats;

/// How often the counters are looked at, and so how often a line is written at most.
const LOOK: Duration = Duration::from_secs(60);

/// The counters of the workers, and what they showed last.
pub(super) struct Watched {
    workers: Vec<Arc<Stats>>,
    seen: Losses,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Losses {
    listeners: u64,
    relays: u64,
}

impl Watched {
    pub(super) fn of(handles: &[Handle]) -> Self {
        Self { workers: handles.iter().map(Handle::stats).collect(), seen: Losses::default() }
    }

    /// Looks from time to time for as long as `work` lasts.
    pub(super) async fn beside<T>(mut self, work: impl Future<Output = T>) -> T {
        let watch = async {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                if let Some(text) = self.look() {
                    tracing::warn!("{text}");
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = watch => unreachable!("it never ends"),
        }
    }

    /// What is to be said, if something was lost since the last look.
    fn look(&mut self) -> Option<String> {
        let sum = |count: fn(&Stats) -> u64| self.workers.iter().map(|stats| count(stats)).sum();
        let now = Losses {
            listeners: sum(|stats| stats.listener_losses.get()),
            relays: sum(|stats| stats.relay_losses.get()),
        };
        let before = std::mem::replace(&mut self.seen, now);
        sentence(now.listeners.wrapping_sub(before.listeners), now.relays.wrapping_sub(before.relays))
    }
}

fn sentence(listeners: u64, relays: u64) -> Option<String> {
    let whose = match (listeners, relays) {
        (0, 0) => return None,
        (_, 0) => "of clients",
        (0, _) => "of peers",
        (_, _) => "of clients and peers",
    };
    Some(format!(
        "the kernel dropped {} packets {whose}, because its buffers for them were full: raise net.core.rmem_max \
         (`sysctl -w net.core.rmem_max=8388608`, and a restart), or give the server more cores",
        listeners + relays
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_since_the_last_look_is_said_once() {
        let stats = Arc::new(Stats::default());
        let mut watched =
            Watched { workers: vec![Arc::clone(&stats), Arc::default()], seen: Losses::default() };
        assert_eq!(watched.look(), None);
        watched.seen = Losses { listeners: 0_u64.wrapping_sub(3), relays: 0_u64.wrapping_sub(4) };
        let said = watched.look().expect("something was lost");
        assert!(said.contains("dropped 7 packets of clients and peers"), "{said}");
        assert!(said.contains("net.core.rmem_max"), "{said}");
        assert_eq!(watched.look(), None);
    }

    #[test]
    fn it_is_said_whose_packets_they_were() {
        assert_eq!(sentence(0, 0), None);
        assert!(sentence(2, 0).is_some_and(|said| said.contains("2 packets of clients,")));
        assert!(sentence(0, 5).is_some_and(|said| said.contains("5 packets of peers,")));
    }
}
