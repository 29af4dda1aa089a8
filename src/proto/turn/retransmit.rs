//! Answers kept for retransmissions (RFC 8489 § 6.3.1): a request that comes again is not carried out again, it
//! gets the same bytes. An answer is looked up only after the request's MAC was found right.
//!
//! ```text
//!   kept:    │ until, hash, lengths │ whose │ answer │ until, … │   one after the other, the oldest first
//!                 ▲
//!   places:  hash ┘   in bytes since the beginning
//! ```

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::types::Deadline;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::limits;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;

/// What makes two requests the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) from: FiveTuple,
    pub(super) method: Method,
    pub(super) transaction: TransactionId,
}

impl Key {
    /// Itself in as few bytes as will do.
    fn written(&self, out: &mut Vec<u8>) {
        out.push(self.from.transport as u8);
        write_address(self.from.client.socket(), out);
        write_address(self.from.server.socket(), out);
        out.extend_from_slice(&self.method.number().to_be_bytes());
        out.extend_from_slice(&self.transaction.0);
    }
}

fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(v4) => {
            out.push(4);
            out.extend_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            out.push(6);
            out.extend_from_slice(&v6.ip().octets());
            out.extend_from_slice(&v6.scope_id().to_be_bytes());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// What stands in front of each answer.
#[derive(Clone, Copy, Debug)]
struct Head {
    until: Deadline,
    hash: u64,
    key_len: u16,
    len: u16,
}

impl Head {
    const LEN: usize = 20;

    fn write(self, out: &mut VecDeque<u8>) {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.until.as_millis().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.hash.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.key_len.to_le_bytes());
        bytes[18..].copy_from_slice(&self.len.to_le_bytes());
        out.extend(&bytes);
    }

    fn all(self) -> usize {
        Self::LEN + usize::from(self.key_len) + usize::from(self.len)
    }
}

/// The answers of the last 40 s, at most [`limits::ANSWERS_KEPT_MAX`]; when full the oldest goes.
#[derive(Debug)]
pub(super) struct AnswerCache {
    /// Where the answer of each request begins, by the request's keyed hash.
    places: HashMap<u64, u64, ahash::RandomState>,
    kept: VecDeque<u8>,
    /// Bytes that were kept once and are no more.
    gone: u64,
    /// The key that is looked for, written.
    key: Vec<u8>,
}

impl AnswerCache {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { places: HashMap::with_hasher(hasher), kept: VecDeque::new(), gone: 0, key: Vec::new() }
    }

    /// What was kept for this request, if that is not 40 s ago.
    pub(super) fn find(&mut self, now: Now, key: &Key) -> Option<Box<[u8]>> {
        self.expire(now);
        let place = *self.places.get(&self.hash(key))?;
        let head = self.head(place)?;
        self.key.clear();
        key.written(&mut self.key);
        let begin = usize::try_from(place - self.gone).ok()? + Head::LEN;
        let (whose, answer) = (begin + usize::from(head.key_len), usize::from(head.len));
        let is_its = self.kept.range(begin..whose).eq(&self.key);
        is_its.then(|| self.kept.range(whose..whose + answer).copied().collect())
    }

    /// Keeps an answer. The first answer of a request stays the one. Of two requests of one hash, which nobody can
    /// contrive, the second has to do without.
    pub(super) fn keep(&mut self, now: Now, key: Key, bytes: &[u8]) {
        self.expire(now);
        let hash = self.hash(&key);
        let Ok(len) = u16::try_from(bytes.len()) else { return };
        if self.places.contains_key(&hash) {
            return;
        }
        if self.places.len() >= limits::ANSWERS_KEPT_MAX {
            self.drop_oldest();
        }
        self.key.clear();
        key.written(&mut self.key);
        self.places.insert(hash, self.gone + self.kept.len() as u64);
        let until = now.after(limits::ANSWER_KEPT);
        Head { until, hash, key_len: self.key.len() as u16, len }.write(&mut self.kept);
        self.kept.extend(&self.key);
        self.kept.extend(bytes);
    }

    /// How many answers are kept.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// When the oldest answer may go.
    pub(super) fn next_expiry(&self) -> Option<Deadline> {
        self.head(self.gone).map(|head| head.until)
    }

    pub(super) fn expire(&mut self, now: Now) {
        let mut went = false;
        while self.next_expiry().is_some_and(|until| until.is_due(now.tick())) {
            self.drop_oldest();
            went = true;
        }
        if went && self.kept.len() < self.kept.capacity() / 4 {
            self.kept.shrink_to(self.kept.len() * 2);
            self.places.shrink_to(self.places.len() * 2);
        }
    }

    fn hash(&self, key: &Key) -> u64 {
        self.places.hasher().hash_one(key)
    }

    fn head(&self, place: u64) -> Option<Head> {
        let begin = usize::try_from(place.checked_sub(self.gone)?).ok()?;
        let mut bytes = [0; Head::LEN];
        let end = begin.checked_add(Head::LEN).filter(|end| *end <= self.kept.len())?;
        // Each request has the oldest looked at, and byte by byte that would take longer than all else here.
        match self.kept.as_slices() {
            (front, _) if end <= front.len() => bytes.copy_from_slice(&front[begin..end]),
            (front, back) if begin >= front.len() => {
                bytes.copy_from_slice(&back[begin - front.len()..end - front.len()]);
            }
            (front, back) => {
                let (first, rest) = bytes.split_at_mut(front.len() - begin);
                first.copy_from_slice(&front[begin..]);
                rest.copy_from_slice(&back[..rest.len()]);
            }
        }
        let [until, hash, lens] = [&bytes[..8], &bytes[8..16], &bytes[16..]];
        Some(Head {
            until: Deadline::from_millis(u64::from_le_bytes(until.try_into().ok()?)),
            hash: u64::from_le_bytes(hash.try_into().ok()?),
            key_len: u16::from_le_bytes(lens[..2].try_into().ok()?),
            len: u16::from_le_bytes(lens[2..].try_into().ok()?),
        })
    }

    fn drop_oldest(&mut self) {
        let Some(head) = self.head(self.gone) else { return };
        self.places.remove(&head.hash);
        drop(self.kept.drain(..head.all().min(self.kept.len())));
        self.gone += head.all() as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::turn::testing::five_tuple;

    fn at(seconds: u64) -> Now {
        Now { since_start: Duration::from_secs(seconds), unix: 0 }
    }

    fn key(number: u32) -> Key {
        let mut transaction = [0; 16];
        transaction[..4].copy_from_slice(&number.to_be_bytes());
        Key { from: five_tuple(1), method: Method::Refresh, transaction: TransactionId(transaction) }
    }

    fn cache() -> AnswerCache {
        AnswerCache::new(ahash::RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn an_answer_is_found_for_forty_seconds() {
        let mut cache = cache();
        cache.keep(at(0), key(1), b"one");
        assert_eq!(cache.find(at(39), &key(1)), Some((*b"one").into()));
        assert_eq!(cache.find(at(40), &key(1)), None);
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn another_five_tuple_or_method_is_another_request() {
        let mut cache = cache();
        cache.keep(at(0), key(1), b"one");
        assert_eq!(cache.find(at(0), &Key { from: five_tuple(2), ..key(1) }), None);
        assert_eq!(cache.find(at(0), &Key { method: Method::Allocate, ..key(1) }), None);
    }

    #[test]
    fn the_first_answer_stays_and_is_not_renewed_by_a_second() {
        let mut cache = cache();
        cache.keep(at(0), key(1), b"one");
        cache.keep(at(20), key(1), b"two");
        assert_eq!(cache.find(at(39), &key(1)), Some((*b"one").into()));
        assert_eq!(cache.find(at(41), &key(1)), None);
    }

    #[test]
    fn answers_of_every_length_are_found_whole_while_others_go() {
        let mut cache = cache();
        let answer = |number: u32| vec![number as u8; number as usize % 1_700];
        for number in 0..5_000 {
            // A hundred of them at a time.
            let now = Now { since_start: Duration::from_millis(u64::from(number) * 400), unix: 0 };
            cache.keep(now, key(number), &answer(number));
            for there in number.saturating_sub(99)..=number {
                assert_eq!(cache.find(now, &key(there)), Some(answer(there).into()), "{there} at {number}");
            }
            assert_eq!(cache.find(now, &key(number.wrapping_sub(100))), None);
        }
        cache.expire(at(1_000_000));
        assert_eq!((cache.len(), cache.kept.capacity(), cache.next_expiry()), (0, 0, None));
    }

    #[test]
    fn an_answer_is_found_whose_head_lies_where_the_ring_of_bytes_turns() {
        let (mut cache, mut across) = (cache(), 0);
        let answer = |number: u32| vec![number as u8; number as usize % 13];
        for number in 0..2_000 {
            // Ten of them at a time.
            let now = Now { since_start: Duration::from_secs(u64::from(number) * 4), unix: 0 };
            cache.keep(now, key(number), &answer(number));
            for there in number.saturating_sub(9)..=number {
                assert_eq!(cache.find(now, &key(there)), Some(answer(there).into()), "{there} at {number}");
            }
            let place = cache.places[&cache.hash(&key(number))] - cache.gone;
            let turn = cache.kept.as_slices().0.len() as u64;
            across += u32::from((place + 1..place + Head::LEN as u64).contains(&turn));
        }
        assert!(across > 10, "{across} lie across");
    }

    #[test]
    fn addresses_that_differ_in_anything_are_written_differently() {
        let addresses =
            ["1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:5", "[::1.2.3.4]:5", "[fe80::1]:5", "[fe80::1%2]:5"];
        let written = addresses.map(|address| {
            let mut out = Vec::new();
            write_address(address.parse().unwrap(), &mut out);
            out
        });
        assert!((0..6).all(|one| (0..one).all(|other| written[one] != written[other])));
    }

    #[test]
    fn when_full_the_oldest_goes() {
        let mut cache = cache();
        let max = u32::try_from(limits::ANSWERS_KEPT_MAX).expect("a small number");
        for number in 0..=max {
            cache.keep(at(0), key(number), b"x");
        }
        assert_eq!(cache.len(), limits::ANSWERS_KEPT_MAX);
        assert_eq!(cache.find(at(0), &key(0)), None);
        assert!(cache.find(at(0), &key(max)).is_some());
    }
}
