//! The agreement between a consumer that wants to sleep and producers that must not let it oversleep.
//!
//! Consumer: announce, look once more, sleep. Producer: publish, then take the announcement away; who took it
//! wakes. Both sides swap the same word, and swaps of one word stand in one order: either the producer's comes
//! later and sees the announcement, or the consumer's comes later and thereby sees what was published.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

const AWAKE: u32 = 0;
const SLEEPING: u32 = 1;

/// The one primitive this layer stands on, so that a model checker can put its own in place.
pub(super) trait Word {
    fn swap(&self, value: u32, order: Ordering) -> u32;
}

impl Word for AtomicU32 {
    fn swap(&self, value: u32, order: Ordering) -> u32 {
        Self::swap(self, value, order)
    }
}

/// Whether the consumer sleeps, or is about to.
#[derive(Debug)]
pub(super) struct SleepFlag<W = AtomicU32> {
    word: W,
}

impl SleepFlag {
    pub(super) const fn new() -> Self {
        Self { word: AtomicU32::new(AWAKE) }
    }
}

impl<W: Word> SleepFlag<W> {
    /// Consumer: announces sleep. What it waits for must be looked at once more afterwards.
    pub(super) fn announce(&self) {
        self.word.swap(SLEEPING, Ordering::SeqCst);
    }

    /// Consumer: is awake.
    pub(super) fn withdraw(&self) {
        self.word.swap(AWAKE, Ordering::SeqCst);
    }

    /// Producer, after publishing: whether it is the one who must wake the consumer.
    #[must_use]
    pub(super) fn take(&self) -> bool {
        self.word.swap(AWAKE, Ordering::SeqCst) == SLEEPING
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loom::sync::Condvar;
    use loom::sync::Mutex;
    use loom::sync::atomic::AtomicU32 as LoomU32;
    use loom::sync::atomic::AtomicUsize as LoomUsize;

    use super::*;

    impl Word for LoomU32 {
        fn swap(&self, value: u32, order: Ordering) -> u32 {
            Self::swap(self, value, order)
        }
    }

    /// An eventfd as loom can model it: a readable flag and a thread that waits for it.
    struct EventFd {
        readable: Mutex<bool>,
        changed: Condvar,
    }

    impl EventFd {
        fn write(&self) {
            *self.readable.lock().expect("no thread panics here") = true;
            self.changed.notify_one();
        }

        fn wait_and_drain(&self) {
            let mut readable = self.readable.lock().expect("no thread panics here");
            while !*readable {
                readable = self.changed.wait(readable).expect("no thread panics here");
            }
            *readable = false;
        }
    }

    struct World {
        flag: SleepFlag<LoomU32>,
        event: EventFd,
        /// One "ring" per producer: what it has published, written as rtrb writes its tail.
        rings: Vec<LoomUsize>,
    }

    fn world(producers: usize) -> loom::sync::Arc<World> {
        loom::sync::Arc::new(World {
            flag: SleepFlag { word: LoomU32::new(AWAKE) },
            event: EventFd { readable: Mutex::new(false), changed: Condvar::new() },
            rings: (0..producers).map(|_| LoomUsize::new(0)).collect(),
        })
    }

    fn publish(world: &World, ring: usize, count: usize) {
        for published in 1..=count {
            world.rings[ring].store(published, Ordering::Release);
            if world.flag.take() {
                world.event.write();
            }
        }
    }

    /// Sleeps only by the protocol, until all is there. A lost wake-up is a deadlock, which loom reports.
    fn consume(world: &World, want: usize) {
        let seen = || world.rings.iter().map(|ring| ring.load(Ordering::Acquire)).sum::<usize>();
        while seen() < want {
            world.flag.announce();
            if seen() < want {
                world.event.wait_and_drain();
            }
            world.flag.withdraw();
        }
    }

    #[test]
    fn one_producer_never_lets_the_consumer_oversleep() {
        loom::model(|| {
            let world = world(1);
            let producer = {
                let world = world.clone();
                loom::thread::spawn(move || publish(&world, 0, 2))
            };
            consume(&world, 2);
            producer.join().expect("the producer ends");
        });
    }

    #[test]
    fn two_producers_that_share_a_wake_never_let_the_consumer_oversleep() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let world = world(2);
            let producers: Vec<_> = (0..2)
                .map(|ring| {
                    let world = world.clone();
                    loom::thread::spawn(move || publish(&world, ring, 1))
                })
                .collect();
            consume(&world, 2);
            for producer in producers {
                producer.join().expect("the producer ends");
            }
        });
    }

    #[test]
    fn only_the_first_producer_after_an_announcement_wakes() {
        let flag = SleepFlag::new();
        assert!(!flag.take(), "nobody sleeps");
        flag.announce();
        assert!(flag.take());
        assert!(!flag.take(), "woken once is enough");
        flag.announce();
        flag.withdraw();
        assert!(!flag.take(), "the consumer found work and stayed awake");
    }

    #[test]
    fn the_flag_is_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&Arc::new(SleepFlag::new()));
    }
}
