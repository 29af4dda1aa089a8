//! Answers kept for retransmissions (RFC 8489 § 6.3.1): a request that comes again is not carried out again, it
//! gets the same bytes. An answer is looked up only after the request's MAC was found right.

use std::collections::HashMap;
use std::collections::VecDeque;

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

/// The answers of the last 40 s, at most [`limits::ANSWERS_KEPT_MAX`]; when full the oldest goes.
#[derive(Debug)]
pub(super) struct AnswerCache {
    answers: HashMap<Key, Box<[u8]>, ahash::RandomState>,
    oldest_first: VecDeque<(Deadline, Key)>,
}

impl AnswerCache {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { answers: HashMap::with_hasher(hasher), oldest_first: VecDeque::new() }
    }

    /// The answer that this request got, if that is not 40 s ago.
    pub(super) fn find(&mut self, now: Now, key: &Key) -> Option<&[u8]> {
        self.expire(now);
        self.answers.get(key).map(AsRef::as_ref)
    }

    /// Keeps an answer. The first answer of a request stays the one.
    pub(super) fn keep(&mut self, now: Now, key: Key, bytes: &[u8]) {
        self.expire(now);
        if self.answers.contains_key(&key) {
            return;
        }
        if self.answers.len() >= limits::ANSWERS_KEPT_MAX {
            self.drop_oldest();
        }
        self.answers.insert(key, bytes.into());
        self.oldest_first.push_back((now.after(limits::ANSWER_KEPT), key));
    }

    /// How many answers are kept.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// When the oldest answer may go.
    pub(super) fn next_expiry(&self) -> Option<Deadline> {
        self.oldest_first.front().map(|(until, _)| *until)
    }

    pub(super) fn expire(&mut self, now: Now) {
        while self.oldest_first.front().is_some_and(|(until, _)| until.is_due(now.tick())) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.oldest_first.pop_front() {
            self.answers.remove(&key);
        }
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
        assert_eq!(cache.find(at(39), &key(1)), Some(&b"one"[..]));
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
        assert_eq!(cache.find(at(39), &key(1)), Some(&b"one"[..]));
        assert_eq!(cache.find(at(41), &key(1)), None);
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
