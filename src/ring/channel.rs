//! A ring with two ends.

use std::sync::Arc;

use rtrb::Consumer;
use rtrb::Producer;
use rtrb::PushError;
use rtrb::RingBuffer;

use super::Gauge;
use super::Wake;

/// A ring of `capacity` places whose consumer sleeps on `wake`.
///
/// # Panics
/// If `capacity` is 0, or so large that the ring cannot be addressed: both are the caller's bug.
#[must_use]
pub fn channel<T>(capacity: usize, wake: Arc<Wake>) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a ring without places passes nothing on");
    let (producer, consumer) = RingBuffer::new(capacity);
    let gauge = Arc::new(Gauge::new(capacity));
    let sender = Sender {
        producer,
        pushed: 0,
        gauge: Arc::clone(&gauge),
        wake: WakeOnDrop(Arc::clone(&wake)),
        untold: false,
    };
    let receiver = Receiver { consumer, popped: 0, gauge, wake };
    (sender, receiver)
}

/// The end that pushes.
#[derive(Debug)]
pub struct Sender<T> {
    // Dropped before `wake`, so the consumer that is woken finds the ring abandoned.
    producer: Producer<T>,
    pushed: u64,
    gauge: Arc<Gauge>,
    wake: WakeOnDrop,
    /// Something was put into the ring since the consumer was last woken.
    untold: bool,
}

impl<T> Sender<T> {
    /// Puts `value` into the ring and wakes the consumer if it sleeps.
    ///
    /// # Errors
    /// Gives `value` back if the ring is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        self.put(value)?;
        self.wake();
        Ok(())
    }

    /// Puts `value` into the ring and leaves a consumer that sleeps asleep, until [`Self::wake`]: of many values at once it
    /// hears by one call.
    ///
    /// # Errors
    /// Gives `value` back if the ring is full.
    pub fn put(&mut self, value: T) -> Result<(), T> {
        match self.producer.push(value) {
            Ok(()) => {
                self.pushed += 1;
                self.gauge.set_pushed(self.pushed);
                self.untold = true;
                Ok(())
            }
            Err(PushError::Full(value)) => Err(value),
        }
    }

    /// Wakes the consumer if it sleeps and has not heard of all that was put into the ring.
    pub fn wake(&mut self) {
        if std::mem::take(&mut self.untold) {
            self.wake.0.notify();
        }
    }

    /// Values that can be pushed before the ring is full. It only grows until the next push.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.producer.slots()
    }

    /// Values that the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.gauge.capacity()
    }

    /// Whether the receiver is gone: what is pushed is never seen.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.producer.is_abandoned()
    }

    /// The fill level, for whoever wants to show it.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }
}

/// The end that pops.
#[derive(Debug)]
pub struct Receiver<T> {
    consumer: Consumer<T>,
    popped: u64,
    gauge: Arc<Gauge>,
    wake: Arc<Wake>,
}

impl<T> Receiver<T> {
    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        let value = self.consumer.pop().ok()?;
        self.popped += 1;
        self.gauge.set_popped(self.popped);
        Some(value)
    }

    /// Values that wait. It only grows until the next pop.
    #[must_use]
    pub fn len(&self) -> usize {
        self.consumer.slots()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumer.is_empty()
    }

    /// Whether the sender is gone: what waits is all there will ever be.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.consumer.is_abandoned()
    }

    /// What the consumer sleeps on.
    #[must_use]
    pub fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    /// The fill level, for whoever wants to show it.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }
}

/// Wakes the consumer when its producer goes, so that it sees the end.
#[derive(Debug)]
struct WakeOnDrop(Arc<Wake>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use rustix::event::PollFd;
    use rustix::event::PollFlags;
    use rustix::event::Timespec;
    use rustix::event::poll;

    use super::*;

    fn wake() -> Arc<Wake> {
        Arc::new(Wake::new().expect("an eventfd"))
    }

    /// Waits as a consumer does; `false` if nothing came within ten seconds.
    fn sleep(wake: &Wake, something: impl Fn() -> bool) -> bool {
        wake.prepare_sleep();
        let woken = something() || {
            let mut descriptors = [PollFd::new(wake, PollFlags::IN)];
            poll(&mut descriptors, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).expect("poll works") == 1
        };
        wake.cancel();
        wake.drain();
        woken
    }

    proptest! {
        #[test]
        fn a_ring_is_a_bounded_queue(capacity in 1_usize..9, steps in prop::collection::vec(any::<Option<u16>>(), 0..200)) {
            let (mut sender, mut receiver) = channel(capacity, wake());
            let mut oracle = VecDeque::new();
            for step in steps {
                match step {
                    Some(value) if oracle.len() < capacity => {
                        prop_assert_eq!(sender.push(value), Ok(()));
                        oracle.push_back(value);
                    }
                    Some(value) => prop_assert_eq!(sender.push(value), Err(value)),
                    None => prop_assert_eq!(receiver.pop(), oracle.pop_front()),
                }
                prop_assert_eq!(receiver.len(), oracle.len());
                prop_assert_eq!(receiver.is_empty(), oracle.is_empty());
                prop_assert_eq!(sender.free_slots(), capacity - oracle.len());
                prop_assert_eq!(sender.gauge().fill(), oracle.len());
                prop_assert_eq!(sender.capacity(), capacity);
            }
        }
    }

    #[test]
    fn two_rings_that_share_a_wake_pass_everything_on_in_order_and_the_consumer_never_oversleeps() {
        const COUNT: u32 = 20_000;
        let wake = wake();
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..2).map(|_| channel::<u32>(16, Arc::clone(&wake))).unzip();
        let producers: Vec<_> = senders
            .into_iter()
            .map(|mut sender| {
                std::thread::spawn(move || {
                    for value in 0..COUNT {
                        let mut refused = sender.push(value);
                        while let Err(value) = refused {
                            std::thread::yield_now();
                            refused = sender.push(value);
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 2];
        while next != [COUNT; 2] {
            for (receiver, next) in receivers.iter_mut().zip(&mut next) {
                while let Some(value) = receiver.pop() {
                    assert_eq!(value, *next);
                    *next += 1;
                }
            }
            if next != [COUNT; 2] {
                assert!(sleep(&wake, || receivers.iter().any(|receiver| !receiver.is_empty())), "overslept");
            }
        }
        for producer in producers {
            producer.join().expect("the producer ends");
        }
    }

    #[test]
    fn of_what_is_put_into_the_ring_a_sleeper_hears_by_one_word() {
        let wake = wake();
        let (mut sender, mut receiver) = channel(4, Arc::clone(&wake));
        let written = || {
            let mut count = [0; 8];
            rustix::io::read(&*wake, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
        };
        sender.put(1).expect("there is room");
        sender.wake();
        assert_eq!(written(), 0, "the consumer is awake");
        wake.prepare_sleep();
        sender.wake();
        assert_eq!(written(), 0, "there is nothing new");
        sender.put(2).expect("there is room");
        sender.put(3).expect("there is room");
        assert_eq!(written(), 0);
        sender.wake();
        assert_eq!(written(), 1);
        assert_eq!([(); 4].map(|()| receiver.pop()), [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn a_sender_that_goes_wakes_the_consumer_which_still_gets_the_rest() {
        let (mut sender, mut receiver) = channel(4, wake());
        assert!(!receiver.is_abandoned());
        let wake = Arc::clone(receiver.wake());
        let producer = std::thread::spawn(move || {
            sender.put(7_u8).expect("there is room");
        });
        while !receiver.is_abandoned() {
            assert!(sleep(&wake, || receiver.is_abandoned()), "overslept the end");
        }
        producer.join().expect("the producer ends");
        assert_eq!(receiver.pop(), Some(7));
        assert_eq!(receiver.pop(), None);
    }

    #[test]
    fn a_receiver_that_goes_is_seen_and_what_waited_is_dropped() {
        let value = Arc::new(());
        let (mut sender, receiver) = channel(4, wake());
        sender.push(Arc::clone(&value)).expect("there is room");
        assert!(!sender.is_abandoned());
        drop(receiver);
        assert!(sender.is_abandoned());
        drop(sender);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
