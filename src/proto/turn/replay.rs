//! What keeps a captured request from being carried out twice.
//!
//! Transaction ids have no order, so no window applies to them. An allocation therefore keeps the ids of the requests
//! that it accepted under its nonce, and when it ends, every nonce that its five-tuple was given up to then is dead:
//!
//! ```text
//!  a request, MAC and nonce right ──▶ answered within 40 s?  ──▶ the same answer
//!                                 ──▶ nonce dead?            ──▶ 438 with a new nonce
//!                                 ──▶ id accepted before?    ──▶ dropped, counted
//!                                 ──▶ 256 ids accepted?      ──▶ the nonce is dead: 438 with a new nonce
//!                                 ──▶ carried out, and its id kept
//! ```
//!
//! A nonce that follows a dead one is minted later than it, ahead of the clock if need be, so a client that begins
//! anew within the same millisecond pays one round trip like any other.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Duration;

use crate::proto::auth::credential::Authenticated;
use crate::proto::auth::nonce::Nonce;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::Tick;
use crate::proto::types::Username;
use crate::proto::types::limits;
use crate::proto::wire::TransactionId;

use super::Server;
use super::allocation::Allocation;
use super::reply::Asker;

/// What a request with a right MAC and a fresh nonce is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    /// A request that was not met before.
    New,
    /// One that was accepted before, and whose answer is no longer kept.
    Accepted,
    /// One whose nonce is dead, so that nothing can be said: 438.
    NonceDead,
}

impl<E: Entropy> Server<E> {
    /// Judges a request that passed authentication with the nonce of `issued`, and has no kept answer.
    pub(super) fn repetition(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        issued: Tick,
    ) -> Repetition {
        let Some(allocation) = self.allocations.of_mut(&asker.from) else {
            let dead = self.is_nonce_dead(&asker.from, issued);
            return if dead { Repetition::NonceDead } else { Repetition::New };
        };
        // Another user's request on this five-tuple changes nothing, however often it comes.
        if allocation.owner.username != who.username {
            return Repetition::New;
        }
        match allocation.transactions.judge(now.tick(), issued, asker.transaction) {
            // Not a replay: its answer waits for the worker, and will serve for this copy too.
            Repetition::Accepted if allocation.owes(&asker.key()) => Repetition::New,
            judged => judged,
        }
    }

    /// Whether the nonce that `from` was given at `issued` died with an allocation.
    pub(super) fn is_nonce_dead(&self, from: &FiveTuple, issued: Tick) -> bool {
        self.dead.through(from) >= Some(issued)
    }

    /// Keeps the transaction id of a request of `user` that was judged new and carried out, if its five-tuple has an
    /// allocation of that user.
    pub(super) fn keep_transaction(&mut self, asker: &Asker, user: &Username, issued: Tick) {
        if let Some(allocation) = self.allocations.of_mut(&asker.from)
            && allocation.owner.username == *user
        {
            allocation.transactions.accept(issued, asker.transaction);
        }
    }

    /// Every nonce that the five-tuple of an allocation that is over was given up to now is dead.
    pub(super) fn bury_nonces(&mut self, now: Now, gone: &Allocation) {
        let through = gone.transactions.next_nonce();
        self.bury_nonces_of(now, gone.five_tuple, through);
        if let Some(awaited) = gone.mobility.next() {
            self.bury_nonces_of(now, awaited, through);
        }
    }

    /// Every nonce that `left` was given up to now, or up to `through`, is dead: an allocation that goes on elsewhere has
    /// it no longer.
    pub(super) fn bury_nonces_of(&mut self, now: Now, left: FiveTuple, through: Tick) {
        self.dead.expire(now.tick(), self.config.challenger.nonce_lifetime);
        self.dead.bury(left, through.max(now.tick()));
    }

    /// A nonce for `from`.
    pub(super) fn mint_nonce(&self, now: Now, from: &FiveTuple) -> Nonce {
        self.config.challenger.nonce_key.mint(self.nonce_moment(now, from), from)
    }

    /// When the next nonce for `from` is minted: now, or as soon after the dead ones as it may be.
    fn nonce_moment(&self, now: Now, from: &FiveTuple) -> Tick {
        let earliest = match self.allocations.of(from) {
            Some(allocation) => Some(allocation.transactions.next_nonce()),
            None => self.dead.through(from).map(just_after),
        };
        let latest = Tick::from_millis(now.after(limits::NONCE_AHEAD_MAX).as_millis());
        earliest.unwrap_or(now.tick()).clamp(now.tick(), latest)
    }
}

/// The accepted transactions of one allocation.
#[derive(Debug)]
pub(super) struct Transactions {
    /// When the nonce in use was minted: older ones are dead.
    nonce: Tick,
    /// Nonces minted up to then are dead, the one in use among them.
    dead_through: Option<Tick>,
    /// Accepted under the nonce in use, at most [`limits::TRANSACTIONS_PER_NONCE_MAX`].
    accepted: Vec<TransactionId>,
}

impl Transactions {
    /// Of an allocation whose Allocate is still to be kept.
    pub(super) const fn new() -> Self {
        Self { nonce: Tick::from_millis(0), dead_through: None, accepted: Vec::new() }
    }

    pub(super) fn judge(&mut self, tick: Tick, issued: Tick, transaction: TransactionId) -> Repetition {
        if issued < self.nonce || Some(issued) <= self.dead_through {
            return Repetition::NonceDead;
        }
        if issued > self.nonce {
            return Repetition::New;
        }
        if self.accepted.contains(&transaction) {
            return Repetition::Accepted;
        }
        if self.accepted.len() >= limits::TRANSACTIONS_PER_NONCE_MAX {
            self.dead_through = Some(tick.max(self.nonce));
            self.accepted = Vec::new();
            return Repetition::NonceDead;
        }
        Repetition::New
    }

    fn accept(&mut self, issued: Tick, transaction: TransactionId) {
        if issued > self.nonce {
            self.nonce = issued;
            self.accepted.clear();
        }
        // A client that moves shows its ticket under the first nonce of its new five-tuple, which nobody here has judged:
        // one that is older than the nonce in use is dead from here on, and so is one that has no room left.
        if issued < self.nonce || self.accepted.contains(&transaction) {
            return;
        }
        if self.accepted.len() >= limits::TRANSACTIONS_PER_NONCE_MAX {
            self.dead_through = self.dead_through.max(Some(self.nonce));
            self.accepted = Vec::new();
            return;
        }
        self.accepted.push(transaction);
    }

    /// How many transactions are kept.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn len(&self) -> usize {
        self.accepted.len()
    }

    /// The earliest moment whose nonce would be accepted.
    pub(super) fn next_nonce(&self) -> Tick {
        self.dead_through.map_or(self.nonce, just_after).max(self.nonce)
    }
}

/// The nonces that died with the allocations of their five-tuples, as long as they would be fresh. A five-tuple stands here
/// by its keyed hash: of two of one hash, which nobody can contrive, what the later end says holds for both.
#[derive(Debug)]
pub(super) struct DeadNonces {
    through: HashMap<u64, Tick, ahash::RandomState>,
    /// At most [`limits::FIVE_TUPLES_DEAD_MAX`]; a five-tuple that ended several allocations stands here several times.
    oldest_first: VecDeque<(u64, Tick)>,
    /// Nonces minted up to then are dead for every five-tuple without an allocation: what stands for the entries that
    /// are gone.
    through_for_all: Option<Tick>,
}

impl DeadNonces {
    pub(super) fn new(hasher: ahash::RandomState) -> Self {
        Self { through: HashMap::with_hasher(hasher), oldest_first: VecDeque::new(), through_for_all: None }
    }

    /// Nonces of `from` minted up to `through` are dead.
    fn bury(&mut self, from: FiveTuple, through: Tick) {
        if self.oldest_first.len() >= limits::FIVE_TUPLES_DEAD_MAX {
            self.drop_oldest();
        }
        let hash = self.hash(&from);
        self.through.insert(hash, through);
        self.oldest_first.push_back((hash, through));
    }

    /// Until when the nonces of `from` are dead.
    fn through(&self, from: &FiveTuple) -> Option<Tick> {
        self.through.get(&self.hash(from)).copied().max(self.through_for_all)
    }

    fn hash(&self, from: &FiveTuple) -> u64 {
        self.through.hasher().hash_one(from)
    }

    /// How many five-tuples are remembered.
    pub(super) fn len(&self) -> usize {
        self.through.len()
    }

    /// Forgets what no nonce of `lifetime` can be that old for.
    pub(super) fn expire(&mut self, tick: Tick, lifetime: Duration) {
        while self.oldest_first.front().is_some_and(|(_, through)| through.after(lifetime).is_due(tick)) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((hash, through)) = self.oldest_first.pop_front() else { return };
        // An older end of a five-tuple that has ended another allocation since is covered by the newer one.
        if self.through.get(&hash) == Some(&through) {
            self.through.remove(&hash);
            self.through_for_all = self.through_for_all.max(Some(through));
        }
    }
}

fn just_after(tick: Tick) -> Tick {
    Tick::from_millis(tick.as_millis().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::turn::testing::five_tuple;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn id(number: u16) -> TransactionId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        TransactionId(bytes)
    }

    fn dead() -> DeadNonces {
        DeadNonces::new(ahash::RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn a_transaction_is_accepted_once_under_one_nonce() {
        let mut transactions = Transactions::new();
        assert_eq!(transactions.judge(at(9), at(5), id(1)), Repetition::New);
        transactions.accept(at(5), id(1));
        assert_eq!(transactions.judge(at(9), at(5), id(1)), Repetition::Accepted);
        assert_eq!(transactions.judge(at(9), at(5), id(2)), Repetition::New);
        assert_eq!(transactions.judge(at(9), at(4), id(2)), Repetition::NonceDead, "an older nonce");
    }

    #[test]
    fn a_full_list_ends_every_nonce_up_to_now_and_the_next_one_is_later() {
        for now in [3, 5, 9] {
            let mut transactions = Transactions::new();
            for number in 0..limits::TRANSACTIONS_PER_NONCE_MAX {
                transactions.accept(at(5), id(u16::try_from(number).expect("a small number")));
            }
            assert_eq!(transactions.judge(at(now), at(5), id(3)), Repetition::Accepted);
            assert_eq!(transactions.judge(at(now), at(5), id(9_999)), Repetition::NonceDead);
            assert_eq!(transactions.judge(at(now), at(5), id(3)), Repetition::NonceDead);
            let next = at(now.max(5) + 1);
            assert_eq!(transactions.next_nonce(), next);
            assert_eq!(transactions.judge(at(now), next, id(3)), Repetition::New);
        }
    }

    #[test]
    fn a_five_tuple_s_nonces_are_dead_up_to_its_latest_end() {
        let mut dead = dead();
        dead.bury(five_tuple(1), at(100));
        dead.bury(five_tuple(2), at(150));
        dead.bury(five_tuple(1), at(200));
        assert_eq!(dead.through(&five_tuple(1)), Some(at(200)));
        assert_eq!(dead.through(&five_tuple(2)), Some(at(150)));
        assert_eq!(dead.through(&five_tuple(3)), None);
    }

    #[test]
    fn when_full_the_oldest_is_covered_by_one_moment_for_all() {
        let mut dead = dead();
        let client = |number: usize| {
            let mut from = five_tuple(0);
            let ip = std::net::Ipv4Addr::from_bits(u32::try_from(number).expect("a small number"));
            from.client = crate::proto::types::ClientAddr::new((ip, 9).into());
            from
        };
        for number in 0..=limits::FIVE_TUPLES_DEAD_MAX {
            dead.bury(client(number), at(1_000 + number as u64));
        }
        assert_eq!(dead.len(), limits::FIVE_TUPLES_DEAD_MAX);
        assert_eq!(dead.oldest_first.len(), limits::FIVE_TUPLES_DEAD_MAX);
        assert_eq!(dead.through(&client(0)), Some(at(1_000)), "forgotten and still dead");
        assert_eq!(dead.through(&five_tuple(7)), Some(at(1_000)), "at the price of everybody's round trip");
        assert_eq!(dead.through(&client(1)), Some(at(1_001)));
        for again in 0..limits::FIVE_TUPLES_DEAD_MAX as u64 {
            dead.bury(client(0), at(100_000 + again));
        }
        assert_eq!((dead.len(), dead.oldest_first.len()), (1, limits::FIVE_TUPLES_DEAD_MAX));
        let longest = at(1_000 + limits::FIVE_TUPLES_DEAD_MAX as u64);
        assert_eq!(dead.through(&five_tuple(7)), Some(longest));
    }

    #[test]
    fn what_vanishes_by_age_stays_dead_should_the_lifetime_grow() {
        let mut dead = dead();
        dead.bury(five_tuple(1), at(1_000));
        dead.bury(five_tuple(2), at(2_000));
        dead.expire(at(1_000 + 3_599_999), HOUR);
        assert_eq!(dead.len(), 2);
        dead.expire(at(1_000 + 3_600_000), HOUR);
        assert_eq!((dead.len(), dead.through(&five_tuple(1))), (1, Some(at(1_000))));
    }
}
