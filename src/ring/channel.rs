//! A ring with two ends.

use std::sync::Arc;

use rtrb::Consumer;
use rtrb::Producer;
use rtrb::PushError;
use rtrb::RingBuffer;

use super::Gauge;
use super::Wake;

/// Places of the part of a ring that is used first: what few values that wait at a time go through, over and over.
const FRONT: usize = 128;

/// A ring of `capacity` places whose consumer sleeps on `wake`.
///
/// Memory that nothing was ever put into is not touched. One ring alone would be touched whole as it turns, however few
/// values wait in it; so there are two, and the second is for what finds no room in the first.
///
/// # Panics
/// If `capacity` is 0, or so large that the ring cannot be addressed: both are the caller's bug.
#[must_use]
pub fn channel<T>(capacity: usize, wake: Arc<Wake>) -> (Sender<T>, Receiver<T>) {
    with_front(FRONT, capacity, wake)
}

fn with_front<T>(front: usize, capacity: usize, wake: Arc<Wake>) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a ring without places passes nothing on");
    let (to_front, front_far) = RingBuffer::new(front.min(capacity));
    // As large as the whole: the front may be unused while the rest is in use.
    let (to_rest, rest_far) = RingBuffer::new(if capacity > front { capacity } else { 0 });
    let gauge = Arc::new(Gauge::new(capacity));
    let sender = Sender {
        front: to_front,
        rest: to_rest,
        rest_waits: false,
        pushed: 0,
        gauge: Arc::clone(&gauge),
        wake: WakeOnDrop(Arc::clone(&wake)),
        untold: false,
    };
    let receiver = Receiver { front: front_far, rest: rest_far, popped: 0, gauge, wake };
    (sender, receiver)
}

/// The end that pushes.
#[derive(Debug)]
pub struct Sender<T> {
    // Both dropped before `wake`, so the consumer that is woken finds the ring abandoned.
    front: Producer<T>,
    rest: Producer<T>,
    /// `rest` was not empty when last looked at. Until it is, nothing goes into `front`: so what waits there is always older.
    rest_waits: bool,
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
        if self.rest_waits {
            self.rest_waits = self.rest.slots() < self.rest.buffer().capacity();
        }
        if self.rest_waits {
            self.put_into_rest(value)?;
        } else if let Err(PushError::Full(value)) = self.front.push(value) {
            self.put_into_rest(value)?;
        }
        self.pushed += 1;
        self.gauge.set_pushed(self.pushed);
        self.untold = true;
        Ok(())
    }

    fn put_into_rest(&mut self, value: T) -> Result<(), T> {
        if self.free_slots() == 0 {
            return Err(value);
        }
        self.rest.push(value).map_err(|PushError::Full(value)| value)?;
        self.rest_waits = true;
        Ok(())
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
        self.gauge.capacity() - self.gauge.fill()
    }

    /// Values that the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.gauge.capacity()
    }

    /// Whether the receiver is gone: what is pushed is never seen.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.rest.is_abandoned()
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
    front: Consumer<T>,
    rest: Consumer<T>,
    popped: u64,
    gauge: Arc<Gauge>,
    wake: Arc<Wake>,
}

impl<T> Receiver<T> {
    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        let value = self.front.pop().ok().or_else(|| self.pop_from_rest())?;
        self.popped += 1;
        self.gauge.set_popped(self.popped);
        Some(value)
    }

    /// To be called when nothing was found in front.
    fn pop_from_rest(&mut self) -> Option<T> {
        if self.rest.is_empty() {
            return None;
        }
        // Who sees that something is in the rest sees also all that was put in front before, and nothing more is put there
        // until the rest is empty.
        self.front.pop().or_else(|_| self.rest.pop()).ok()
    }

    /// Values that wait. It only grows until the next pop.
    #[must_use]
    pub fn len(&self) -> usize {
        self.front.slots() + self.rest.slots()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.rest.is_empty()
    }

    /// Whether the sender is gone: what waits is all there will ever be.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        // The one that goes last.
        self.rest.is_abandoned()
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
    use std::collections::BTreeSet;
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
        fn a_ring_is_a_bounded_queue(
            (front, capacity) in (1_usize..6, 1_usize..9),
            steps in prop::collection::vec(any::<Option<u16>>(), 0..200),
        ) {
            let (mut sender, mut receiver) = with_front(front, capacity, wake());
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
            (0..2).map(|_| with_front::<u32>(3, 16, Arc::clone(&wake))).unzip();
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

    /// Where in memory the oldest value is.
    fn place<T>(receiver: &Receiver<T>) -> usize {
        let oldest = receiver.front.peek().or_else(|_| receiver.rest.peek()).expect("a value waits");
        std::ptr::from_ref(oldest) as usize
    }

    #[test]
    fn few_values_at_a_time_go_through_the_same_few_places_however_many_they_are() {
        let (mut sender, mut receiver) = channel(1_024, wake());
        let mut places = BTreeSet::new();
        for round in 0..100 {
            // Once more come at a time than the front has places for: what comes later goes through the front again.
            let count = if round == 50 { FRONT + 10 } else { FRONT };
            (0..count).for_each(|value| sender.push(value).expect("there is room"));
            for value in 0..count {
                places.insert(place(&receiver));
                assert_eq!(receiver.pop(), Some(value));
            }
        }
        assert_eq!(places.len(), FRONT + 10);
    }

    #[test]
    fn a_ring_is_as_large_as_it_says_wherever_its_values_wait() {
        let (mut sender, mut receiver) = with_front(2, 5, wake());
        for turn in 0..7 {
            (0..5).for_each(|value| sender.push(value).expect("there is room"));
            assert_eq!((sender.push(5), sender.free_slots()), (Err(5), 0), "in turn {turn}");
            // The front is empty, and what is put in now is younger than what waits in the rest.
            let mut popped: Vec<_> = (0..turn.min(4)).filter_map(|_| receiver.pop()).collect();
            (5..5 + turn.min(4)).for_each(|value| sender.push(value).expect("there is room"));
            assert_eq!(sender.push(9), Err(9), "in turn {turn}");
            popped.extend(std::iter::from_fn(|| receiver.pop()));
            assert_eq!(popped, (0..5 + turn.min(4)).collect::<Vec<_>>());
            assert_eq!((sender.free_slots(), receiver.len()), (5, 0));
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
