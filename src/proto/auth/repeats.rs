//! Who has asked the same before. A client that gets no answer sends the same request again (RFC 8489 § 6.2.1), while
//! a flood is wide: most of its datagrams come once. So the bytes of a request and its repetitions are added up, and a
//! request that has paid for its answer is served first, however much else comes from its address.
//!
//! ```text
//!   set (by hash)   │ newest │ … │ … │ … │ … │ … │ … │ oldest │   each: 16 bits of hash, bytes not yet answered
//!   a new request goes in at the left; out goes the one that paid least, of equals the oldest
//! ```
//!
//! Constant memory: [`STRANGER_REPEATS`] requests are remembered in all. The hash is keyed, so nobody can choose whose
//! place to take; somebody forgotten has only to begin again.

use crate::proto::types::limits::STRANGER_REPEATS;

/// Requests that share a place to stand.
const WAYS: usize = 8;
const SETS: usize = STRANGER_REPEATS / WAYS;

const _: () = assert!(SETS.is_power_of_two() && SETS <= 1 << 16);

/// The requests that came and were not answered.
#[derive(Debug)]
pub(super) struct Repeats {
    sets: Box<[[Entry; WAYS]]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    tag: u16,
    /// Bytes of the request and its repetitions, less those of its answers.
    paid: u16,
}

impl Repeats {
    /// Nobody has asked.
    pub(super) fn new() -> Self {
        Self { sets: vec![[Entry::default(); WAYS]; SETS].into() }
    }

    /// Notes that a request with this keyed hash came in `received` bytes. Answers what it and its repetitions have
    /// paid by now.
    pub(super) fn pay(&mut self, hash: u64, received: u32) -> u32 {
        let (set, tag) = self.place(hash);
        let known = set.iter().position(|entry| entry.tag == tag && entry.paid > 0);
        let at = known.unwrap_or_else(|| least(set));
        let before = if known.is_some() { set[at].paid } else { 0 };
        let paid = u16::try_from(received).unwrap_or(u16::MAX).saturating_add(before);
        set[..=at].rotate_right(1);
        set[0] = Entry { tag, paid };
        paid.into()
    }

    /// Takes the bytes of an answer off what the request has paid.
    pub(super) fn take(&mut self, hash: u64, answer: u32) {
        let (set, tag) = self.place(hash);
        if let Some(entry) = set.iter_mut().find(|entry| entry.tag == tag) {
            entry.paid = entry.paid.saturating_sub(u16::try_from(answer).unwrap_or(u16::MAX));
        }
    }

    fn place(&mut self, hash: u64) -> (&mut [Entry; WAYS], u16) {
        let [a, b, c, d, ..] = hash.to_le_bytes();
        let set = usize::from(u16::from_le_bytes([a, b])) & (SETS - 1);
        (&mut self.sets[set], u16::from_le_bytes([c, d]))
    }
}

/// Whose place is taken: the one that paid least, of equals the oldest.
fn least(set: &[Entry; WAYS]) -> usize {
    let paid = |at: &usize| set[*at].paid;
    (0..WAYS).rev().min_by_key(paid).expect("a set has places")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_add_up_and_answers_take_away() {
        let mut repeats = Repeats::new();
        assert_eq!(repeats.pay(7, 28), 28);
        assert_eq!(repeats.pay(7, 28), 56);
        assert_eq!(repeats.pay(7 | 1 << 16, 28), 28, "another request of the same set");
        repeats.take(7, 50);
        assert_eq!(repeats.pay(7, 28), 34);
        repeats.take(7, u32::MAX);
        assert_eq!(repeats.pay(7, 100_000), 65_535);
        assert_eq!(repeats.pay(7, 100_000), 65_535);
        repeats.take(8, 1);
    }

    #[test]
    fn who_asked_twice_stays_while_those_who_asked_once_come_and_go() {
        let mut repeats = Repeats::new();
        repeats.pay(0, 28);
        repeats.pay(0, 28);
        for tag in 1..10_000_u64 {
            repeats.pay(tag << 16, 28);
        }
        assert_eq!(repeats.pay(0, 28), 84);
    }

    #[test]
    fn of_those_who_asked_once_the_oldest_goes() {
        let mut repeats = Repeats::new();
        for tag in 1..=8_u64 {
            repeats.pay(tag << 16, 28);
        }
        repeats.pay(9 << 16, 28);
        assert_eq!(repeats.pay(2 << 16, 28), 56, "the second oldest stayed");
        assert_eq!(repeats.pay(1 << 16, 28), 28, "the oldest went");
    }
}
