//! How much users may carry: which bucket the allocations of a user share.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;

use crate::proto::media::Bucket;
use crate::proto::types::Deadline;
use crate::proto::types::QuotaIdentity;
use crate::proto::types::Rate;
use crate::proto::types::Tick;
use crate::proto::types::limits;

/// Lends buckets whose number stands where others draw from it too: a program in the kernel.
pub trait Lender: fmt::Debug + Send {
    /// A full bucket; `None` if there is no place for one more. The server makes one of its own then, and those others leave
    /// its packets to the workers.
    fn lend(&mut self, rate: Rate) -> Option<Bucket>;
}

/// Where buckets come from.
#[derive(Debug, Default)]
pub(super) struct Source(Option<Box<dyn Lender>>);

impl Source {
    pub(super) fn of(lender: Box<dyn Lender>) -> Self {
        Self(Some(lender))
    }

    pub(super) fn bucket(&mut self, rate: Rate) -> Bucket {
        let lent = self.0.as_mut().and_then(|lender| lender.lend(rate));
        lent.unwrap_or_else(|| Bucket::new(rate))
    }
}

/// The buckets of users who have an allocation, and of those whose bucket is not full again since their last one ended:
/// who releases and allocates anew gets no new bucket by that.
#[derive(Debug)]
pub(super) struct UserBuckets {
    rate: Option<Rate>,
    buckets: HashMap<QuotaIdentity, Held, ahash::RandomState>,
    /// Users whose last allocation ended, in the order in which that happened. One who came back stands here all the
    /// same, and is passed over.
    left: VecDeque<(Deadline, QuotaIdentity)>,
}

#[derive(Debug)]
struct Held {
    bucket: Bucket,
    allocations: u32,
}

impl UserBuckets {
    /// No buckets at all where `rate` is `None`.
    pub(super) fn new(rate: Option<Rate>, hasher: ahash::RandomState) -> Self {
        Self { rate, buckets: HashMap::with_hasher(hasher), left: VecDeque::new() }
    }

    /// The bucket for one more allocation of `user`, from `source` if it has none. For each there is one [`Self::release`].
    pub(super) fn hold(&mut self, tick: Tick, user: &QuotaIdentity, source: &mut Source) -> Option<Bucket> {
        let rate = self.rate?;
        self.forget_full(tick);
        let new = || Held { bucket: source.bucket(rate), allocations: 0 };
        let held = self.buckets.entry(user.clone()).or_insert_with(new);
        held.allocations += 1;
        Some(held.bucket.clone())
    }

    /// One allocation of `user`, for which a bucket was held, is over.
    pub(super) fn release(&mut self, tick: Tick, user: &QuotaIdentity) {
        if self.rate.is_none() {
            return;
        }
        let Some(held) = self.buckets.get_mut(user) else {
            debug_assert!(false, "more released than held");
            return;
        };
        held.allocations -= 1;
        if held.allocations == 0 {
            let full = held.bucket.full_at();
            self.left.push_back((full, user.clone()));
        }
        self.forget_full(tick);
    }

    /// Forgets those who left and whose bucket is full, and the oldest where they are too many.
    fn forget_full(&mut self, tick: Tick) {
        while let Some((full, _)) = self.left.front() {
            let too_many = self.left.len() > limits::USER_BUCKETS_KEPT_MAX;
            if !too_many && !full.is_due(tick) {
                return;
            }
            let Some((_, user)) = self.left.pop_front() else { return };
            // Who came back and left again has another place in the line, and a bucket that may not be full.
            let over =
                |held: &Held| held.allocations == 0 && (too_many || held.bucket.full_at().is_due(tick));
            if self.buckets.get(&user).is_some_and(over) {
                self.buckets.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn buckets(limited: bool) -> UserBuckets {
        let rate = Rate::new(200_000, Duration::from_secs(1)).filter(|_| limited);
        UserBuckets::new(rate, ahash::RandomState::with_seeds(1, 2, 3, 4))
    }

    fn user(name: &str) -> QuotaIdentity {
        QuotaIdentity::new(name.as_bytes())
    }

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    #[test]
    fn the_allocations_of_one_user_get_one_bucket() {
        let mut buckets = buckets(true);
        let one = buckets.hold(at(0), &user("alice"), &mut Source::default());
        assert!(one.is_some());
        assert_eq!(buckets.hold(at(0), &user("alice"), &mut Source::default()), one);
        assert_ne!(buckets.hold(at(0), &user("bob"), &mut Source::default()), one);
        buckets.release(at(0), &user("alice"));
        assert_eq!(buckets.hold(at(9_000), &user("alice"), &mut Source::default()), one);
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut buckets = buckets(false);
        assert_eq!(buckets.hold(at(0), &user("alice"), &mut Source::default()), None);
        buckets.release(at(0), &user("alice"));
        assert_eq!((buckets.buckets.len(), buckets.left.len()), (0, 0));
    }

    #[test]
    fn a_full_bucket_goes_with_the_last_allocation() {
        let mut buckets = buckets(true);
        for _ in 0..2 {
            buckets.hold(at(5), &user("alice"), &mut Source::default());
        }
        buckets.release(at(5), &user("alice"));
        assert_eq!(buckets.buckets.len(), 1);
        buckets.release(at(5), &user("alice"));
        assert_eq!((buckets.buckets.len(), buckets.left.len()), (0, 0));
    }

    #[test]
    fn a_bucket_that_was_drained_is_found_again_until_it_is_full() {
        let mut buckets = buckets(true);
        let bucket = buckets.hold(at(5_000), &user("alice"), &mut Source::default());
        bucket.as_ref().unwrap().drain(at(5_000));
        buckets.release(at(5_000), &user("alice"));
        assert_eq!(buckets.hold(at(5_900), &user("alice"), &mut Source::default()), bucket, "allocated anew");
        buckets.release(at(5_900), &user("alice"));
        buckets.hold(at(6_000), &user("bob"), &mut Source::default());
        assert_ne!(
            buckets.hold(at(6_000), &user("alice"), &mut Source::default()),
            bucket,
            "a full one is as good as a new one"
        );
        assert_eq!((buckets.buckets.len(), buckets.left.len()), (2, 0));
    }

    #[test]
    fn who_came_back_keeps_the_bucket_though_the_line_names_him() {
        let mut buckets = buckets(true);
        let bucket = buckets.hold(at(5_000), &user("alice"), &mut Source::default());
        bucket.as_ref().unwrap().drain(at(5_000));
        buckets.release(at(5_000), &user("alice"));
        buckets.hold(at(5_500), &user("alice"), &mut Source::default());
        buckets.hold(at(9_000), &user("bob"), &mut Source::default());
        assert_eq!(buckets.hold(at(9_000), &user("alice"), &mut Source::default()), bucket);
    }

    #[test]
    fn who_left_twice_keeps_the_bucket_though_the_first_time_is_due() {
        let mut buckets = buckets(true);
        let bucket = buckets.hold(at(5_000), &user("alice"), &mut Source::default());
        for left in [5_000, 5_900] {
            bucket.as_ref().unwrap().drain(at(left));
            buckets.release(at(left), &user("alice"));
            if left == 5_000 {
                buckets.hold(at(5_500), &user("alice"), &mut Source::default());
            }
        }
        buckets.hold(at(6_100), &user("bob"), &mut Source::default());
        assert_eq!(buckets.hold(at(6_100), &user("alice"), &mut Source::default()), bucket);
    }

    #[test]
    fn those_who_left_are_bounded() {
        let mut buckets = buckets(true);
        for number in 0..=limits::USER_BUCKETS_KEPT_MAX {
            let name = user(&number.to_string());
            let bucket = buckets.hold(at(5_000), &name, &mut Source::default());
            bucket.as_ref().unwrap().drain(at(5_000));
            buckets.release(at(5_000), &name);
        }
        assert_eq!(buckets.left.len(), limits::USER_BUCKETS_KEPT_MAX);
        assert_eq!(buckets.buckets.len(), limits::USER_BUCKETS_KEPT_MAX);
        assert!(!buckets.buckets.contains_key(&user("0")));
    }
}
