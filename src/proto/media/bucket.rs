//! Token buckets: how much an allocation, and all allocations of a user together, may carry.
//!
//! A bucket is one number, the moment up to which its rate is spoken for (GCRA, ITU-T I.371):
//!
//! ```text
//!          now          spoken for                now + burst
//! ──────────┼───────────────┼─────────────────────────┼──────▶ time
//!           │◀─ in advance ─▶◀── may still be used ──▶│
//! ```
//!
//! A packet passes while `spoken for` stands before `now + burst`, and moves it on by the time the rate needs for it.
//! So in any time `t` no more passes than `rate × (burst + t)` and one packet: the last one may end in debt, which lets
//! a packet larger than the burst pass and pay later. A pause brings `spoken for` up to now and no further back, so it
//! saves up the burst and no more.
//!
//! Counted are the bytes of the IP packet on the peer's side, in both directions together: headers count, so a flood
//! of empty datagrams is held back too.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::proto::types::Deadline;
use crate::proto::types::Family;
use crate::proto::types::Rate;
use crate::proto::types::Tick;
use crate::proto::types::limits;

use super::DropReason;

/// Time is counted in sixteenths of a nanosecond: fine enough for 100 Gbit/s, and 36 years fit a word.
const UNITS_PER_MS: u64 = 16_000_000;
/// The cost of a byte is counted in 2^-16 of that.
const COST_SHIFT: u32 = 16;
/// The largest IP packet that can be counted.
const PACKET_MAX: u64 = 1 << 17;

const _: () = assert!(PACKET_MAX as usize > limits::DATAGRAM_MAX + 48);
const _: () = assert!(per_byte(limits::BANDWIDTH_BITS_PER_S_MIN).checked_mul(PACKET_MAX).is_some());

/// What one allocation may carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// It alone, by whichever of its relayed addresses; `None` for any amount. Only the worker that owns the allocation
    /// draws from it.
    pub allocation: Option<Bucket>,
    /// All of its user's together, on whichever workers; `None` for any amount.
    pub user: Option<Bucket>,
}

/// A bucket. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Bucket(Arc<Word>);

#[derive(Debug)]
#[repr(C)]
struct Word {
    meter: Meter,
    spoken_for: Place,
    rate: Rate,
}

/// Where the number stands.
#[derive(Debug)]
enum Place {
    /// Here.
    Own(AtomicU64),
    /// In memory that others draw from too, who know it by this number.
    Lent(&'static AtomicU64, u32),
}

impl Place {
    fn word(&self) -> &AtomicU64 {
        match self {
            Self::Own(word) => word,
            Self::Lent(word, _) => word,
        }
    }
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let spoken_for = Place::Own(AtomicU64::new(0));
        Self(Arc::new(Word { rate, meter: Meter::new(rate), spoken_for }))
    }

    /// A bucket whose number is `word`, for a rate that others keep too: a program in the kernel, who knows it as `place`.
    #[must_use]
    pub fn lent(rate: Rate, word: &'static AtomicU64, place: u32) -> Self {
        Self(Arc::new(Word { rate, meter: Meter::new(rate), spoken_for: Place::Lent(word, place) }))
    }

    /// By which number others who draw from it know it; `None` if only this process does.
    #[must_use]
    pub fn place(&self) -> Option<u32> {
        match self.0.spoken_for {
            Place::Own(_) => None,
            Place::Lent(_, place) => Some(place),
        }
    }

    /// Whether this is the only clone that is left.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// What the arithmetic of a rate is done with: the cost of a byte in 2^-16 of a sixteenth of a nanosecond, and the burst
    /// in sixteenths of a nanosecond.
    #[must_use]
    pub fn arithmetic(rate: Rate) -> (u64, u64) {
        let Meter { per_byte, burst } = Meter::new(rate);
        (per_byte, burst)
    }

    /// Its rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.0.rate
    }

    /// When it is full again if nothing more is taken: from then on a new one is as good.
    #[must_use]
    pub fn full_at(&self) -> Deadline {
        Deadline::from_millis(self.0.spoken_for.word().load(Ordering::Relaxed).div_ceil(UNITS_PER_MS))
    }

    /// Takes all that may be used at once.
    #[cfg(test)]
    pub(crate) fn drain(&self, tick: Tick) {
        while self.take(tick, 100) {}
    }

    /// Takes `bytes`, if the bucket lets them pass. Workers may meet here: whoever comes second counts again, and each
    /// time somebody has got on.
    fn take(&self, tick: Tick, bytes: u64) -> bool {
        let Word { meter, spoken_for, .. } = &*self.0;
        let taken = |before| meter.take(before, tick, bytes);
        spoken_for.word().fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// What the word would be once `bytes` are taken; `None` if they may not pass. With [`Self::set`] this is
    /// [`Self::take`] for a bucket that one worker alone draws from: no packet pays for a locked instruction.
    fn after(&self, tick: Tick, bytes: u64) -> Option<u64> {
        self.0.meter.take(self.0.spoken_for.word().load(Ordering::Relaxed), tick, bytes)
    }

    fn set(&self, spoken_for: u64) {
        self.0.spoken_for.word().store(spoken_for, Ordering::Relaxed);
    }
}

/// Whether they are one bucket.
impl PartialEq for Bucket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Bucket {}

/// The buckets that the packets of one relayed address draw from.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    from: Bandwidth,
    header_len: u64,
}

impl Buckets {
    /// Those for a relayed address of `family`.
    pub(super) const fn new(from: Bandwidth, family: Family) -> Self {
        // IP header without options, and UDP header.
        let header_len = match family {
            Family::V4 => 20 + 8,
            Family::V6 => 40 + 8,
        };
        Self { from, header_len }
    }

    /// Them.
    pub(super) const fn bandwidth(&self) -> &Bandwidth {
        &self.from
    }

    /// Reads each bucket's word, and waits for none.
    pub(super) fn fetch(&self) {
        for bucket in [&self.from.allocation, &self.from.user].into_iter().flatten() {
            black_box(bucket.0.spoken_for.word().load(Ordering::Relaxed));
        }
    }

    /// Takes a datagram with `data_len` bytes from each bucket, or from none.
    pub(super) fn take(&self, tick: Tick, data_len: usize) -> Result<(), DropReason> {
        let bytes = data_len as u64 + self.header_len;
        let own = match &self.from.allocation {
            Some(own) => Some((own, own.after(tick, bytes).ok_or(DropReason::AllocationBandwidth)?)),
            None => None,
        };
        if self.from.user.as_ref().is_some_and(|user| !user.take(tick, bytes)) {
            return Err(DropReason::UserBandwidth);
        }
        if let Some((own, after)) = own {
            own.set(after);
        }
        Ok(())
    }
}

/// A rate in the arithmetic's own units.
#[derive(Clone, Copy, Debug)]
struct Meter {
    per_byte: u64,
    burst: u64,
}

impl Meter {
    fn new(rate: Rate) -> Self {
        Self { per_byte: per_byte(rate.bits_per_s()), burst: units(rate.burst()) }
    }

    /// Up to when the rate is spoken for once `bytes` have passed; `None` if they may not. Rounded against the sender.
    fn take(self, spoken_for: u64, tick: Tick, bytes: u64) -> Option<u64> {
        let now = tick.as_millis().saturating_mul(UNITS_PER_MS);
        if spoken_for >= now.saturating_add(self.burst) {
            return None;
        }
        let cost = (bytes.min(PACKET_MAX) * self.per_byte).div_ceil(1 << COST_SHIFT);
        Some(spoken_for.max(now).saturating_add(cost))
    }
}

const fn per_byte(bits_per_s: u64) -> u64 {
    const BITS_PER_BYTE: u64 = 8;
    // 16,000,000 × 1,000 × 8 × 2^16 is less than 2^63.
    ((UNITS_PER_MS * 1_000 * BITS_PER_BYTE) << COST_SHIFT).div_ceil(bits_per_s)
}

fn units(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).saturating_mul(UNITS_PER_MS)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn rate(bits_per_s: u64) -> Rate {
        Rate::new(bits_per_s, SECOND).unwrap()
    }

    fn own(bits_per_s: u64) -> Buckets {
        let bandwidth = Bandwidth { allocation: Some(Bucket::new(rate(bits_per_s))), user: None };
        Buckets::new(bandwidth, Family::V4)
    }

    fn of_user(user: &Bucket) -> Buckets {
        Buckets::new(Bandwidth { allocation: None, user: Some(user.clone()) }, Family::V4)
    }

    /// Bytes on the wire that pass when at `millis` as many packets are tried as can be.
    fn flood(buckets: &Buckets, millis: u64, data_len: usize) -> u64 {
        let passed = (0..10_000_000).take_while(|_| buckets.take(at(millis), data_len).is_ok()).count();
        passed as u64 * (data_len as u64 + 28)
    }

    #[test]
    fn in_the_long_run_the_rate_is_kept_within_a_percent_whatever_the_packets() {
        const LARGEST: u64 = 65_507 + 28;
        for bits_per_s in [8_000, 64_000, 200_000, 2_000_000, 333_333_333, 10_000_000_000] {
            // Long enough for a thousand of the largest packets.
            let step_ms = if bits_per_s < 100_000_000 { 100 } else { 1 };
            let steps = (1_000 * LARGEST * 8_000).div_ceil(bits_per_s * step_ms);
            for data_len in [0, 172, 1_200, 65_507] {
                let buckets = own(bits_per_s);
                flood(&buckets, 1_000, 65_507);
                let passed: u64 =
                    (1..=steps).map(|step| flood(&buckets, 1_000 + step * step_ms, data_len)).sum();
                let due = bits_per_s * steps * step_ms / 8_000;
                assert!(
                    passed.abs_diff(due) <= due / 100,
                    "{bits_per_s} bit/s of {data_len}: {passed} of {due} bytes"
                );
            }
        }
    }

    #[test]
    fn at_once_passes_the_burst_and_not_a_packet_more() {
        // 200 kbit/s: 25,000 bytes in a second; packets of 100 with their headers.
        let buckets = own(200_000);
        assert_eq!(flood(&buckets, 5_000, 72), 25_000);
        assert_eq!(buckets.take(at(5_000), 72), Err(DropReason::AllocationBandwidth));
        // 100 bytes are 4 ms.
        assert_eq!(buckets.take(at(5_003), 72), Ok(()), "what is not quite paid passes on credit");
        assert_eq!(buckets.take(at(5_003), 72), Err(DropReason::AllocationBandwidth));
        assert_eq!(buckets.take(at(5_004), 72), Err(DropReason::AllocationBandwidth));
        assert_eq!(buckets.take(at(5_005), 72), Ok(()));
    }

    #[test]
    fn a_pause_however_long_saves_up_the_burst_only() {
        let buckets = own(200_000);
        for millis in [0, 2_000, 3_600_000, 30 * 365 * 86_400_000] {
            assert_eq!(flood(&buckets, millis, 72), 25_000, "{millis}");
        }
    }

    #[test]
    fn a_packet_larger_than_the_burst_passes_and_is_paid_for_before_the_next() {
        // 65,535 bytes at 8 kbit/s are 65.5 s, the burst is 1 s.
        let buckets = own(8_000);
        assert_eq!(buckets.take(at(0), 65_507), Ok(()));
        assert_eq!(buckets.take(at(64_500), 0), Err(DropReason::AllocationBandwidth));
        assert_eq!(buckets.take(at(64_600), 0), Ok(()));
    }

    #[test]
    fn empty_datagrams_are_not_free() {
        assert_eq!(flood(&own(200_000), 0, 0), 25_004);
    }

    #[test]
    fn over_ipv6_the_header_is_longer() {
        let bandwidth = Bandwidth { allocation: Some(Bucket::new(rate(200_000))), user: None };
        let buckets = Buckets::new(bandwidth, Family::V6);
        let passed = (0..1_000).take_while(|_| buckets.take(at(0), 52).is_ok()).count();
        assert_eq!(passed, 250);
    }

    #[test]
    fn without_a_limit_everything_passes() {
        let buckets = Buckets::new(Bandwidth::default(), Family::V4);
        assert!((0..100_000).all(|_| buckets.take(at(0), 65_507).is_ok()));
    }

    #[test]
    fn allocations_of_one_user_share_and_those_of_another_do_not() {
        let (alice, bob) = (Bucket::new(rate(200_000)), Bucket::new(rate(200_000)));
        let (one, two, other) = (of_user(&alice), of_user(&alice), of_user(&bob));
        for _ in 0..125 {
            assert_eq!((one.take(at(0), 72), two.take(at(0), 72)), (Ok(()), Ok(())));
        }
        assert_eq!(one.take(at(0), 72), Err(DropReason::UserBandwidth));
        assert_eq!(two.take(at(0), 72), Err(DropReason::UserBandwidth));
        assert_eq!(flood(&other, 0, 72), 25_000);
        assert!(alice == alice.clone() && alice != bob);
    }

    #[test]
    fn both_relayed_addresses_of_an_allocation_draw_from_one_bucket() {
        let bandwidth = Bandwidth { allocation: Some(Bucket::new(rate(200_000))), user: None };
        let (v4, v6) = (Buckets::new(bandwidth.clone(), Family::V4), Buckets::new(bandwidth, Family::V6));
        for _ in 0..125 {
            assert_eq!((v4.take(at(0), 72), v6.take(at(0), 52)), (Ok(()), Ok(())));
        }
        assert_eq!(v4.take(at(0), 72), Err(DropReason::AllocationBandwidth));
        assert_eq!(v6.take(at(0), 52), Err(DropReason::AllocationBandwidth));
    }

    #[test]
    fn a_packet_that_one_bucket_refuses_costs_the_other_nothing() {
        let user = Bucket::new(rate(100_000));
        let bandwidth = Bandwidth { allocation: Some(Bucket::new(rate(200_000))), user: Some(user.clone()) };
        let both = Buckets::new(bandwidth, Family::V4);
        assert_eq!(flood(&both, 0, 72), 12_500);
        assert!((0..10_000).all(|_| both.take(at(0), 72) == Err(DropReason::UserBandwidth)));
        // Half a second later the user's bucket is half full, and the allocation's full.
        assert_eq!(flood(&both, 500, 72), 6_300);
        assert_eq!(flood(&of_user(&user), 500, 72), 0);
        let narrow =
            Bandwidth { allocation: Some(Bucket::new(rate(8_000))), user: Some(Bucket::new(rate(80_000))) };
        let user = narrow.user.clone().unwrap();
        let narrow = Buckets::new(narrow, Family::V4);
        assert_eq!(flood(&narrow, 0, 72), 1_000);
        assert!((0..10_000).all(|_| narrow.take(at(0), 72) == Err(DropReason::AllocationBandwidth)));
        assert_eq!(flood(&of_user(&user), 0, 72), 9_000);
    }

    #[test]
    fn threads_that_meet_at_one_word_get_together_what_one_would() {
        // So many bytes, one at a time, that no thread is done before the other begins.
        let user = Bucket::new(rate(16_000_000));
        let begin = Barrier::new(2);
        let flood = || {
            begin.wait();
            (0..).take_while(|_| user.take(at(0), 1)).count()
        };
        let passed: usize = thread::scope(|scope| {
            let takers = [(); 2].map(|()| scope.spawn(flood));
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(passed, 2_000_000);
        assert_eq!(user.full_at(), Deadline::from_millis(1_000));
    }

    #[test]
    fn a_bucket_is_full_again_when_it_says_so() {
        let user = Bucket::new(rate(200_000));
        assert_eq!(user.full_at(), Deadline::PAST);
        flood(&of_user(&user), 4_000, 72);
        assert_eq!(user.full_at(), Deadline::from_millis(5_000));
        assert_eq!(flood(&of_user(&user), 5_000, 72), 25_000);
    }

    proptest! {
        /// The bound of this file's head, from any moment on, in 128 bits.
        #[test]
        fn no_history_exceeds_the_bound(
            bits_per_s in 8_000_u64..10_000_000_000,
            burst_s in 1_u64..60,
            packets in prop::collection::vec((0_u64..50, 0_usize..65_507), 1..200),
        ) {
            let rate = Rate::new(bits_per_s, Duration::from_secs(burst_s)).unwrap();
            let bandwidth = Bandwidth { allocation: Some(Bucket::new(rate)), user: None };
            let buckets = Buckets::new(bandwidth, Family::V4);
            let (mut now, mut passed) = (0, 0);
            for (pause, len) in packets {
                now += pause;
                let before = u128::from(bits_per_s) * u128::from(burst_s * 1_000 + now) / 8_000;
                let may_pass = passed < before;
                if buckets.take(at(now), len).is_ok() {
                    prop_assert!(may_pass, "{passed} bytes had passed, {before} might");
                    passed += len as u128 + 28;
                }
            }
        }

        #[test]
        fn no_tick_and_no_length_is_a_panic(tick: u64, len: u32, spoken_for: u64) {
            let meter = Meter::new(rate(8_000));
            if let Some(then) = meter.take(spoken_for, at(tick), len.into()) {
                prop_assert!(then >= spoken_for);
            }
        }
    }
}
