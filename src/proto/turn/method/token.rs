//! What an access token means for an allocation (RFC 7635 § 9): nothing outlives the token, and a newer token carries an
//! allocation on.

use std::time::Duration;

use crate::proto::auth::credential::Authenticated;
use crate::proto::turn::allocation::Allocation;
use crate::proto::turn::allocation::State;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::server::Server;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;

impl<E: Entropy> Server<E> {
    /// Until when the stored key suffices: the credential's expiry, carried over to the monotonic clock once, so that
    /// a later step of the wall clock does not matter, and the grace for sessions under way. A token has no grace.
    pub(in crate::proto::turn) fn session_ends(&self, now: Now, who: &Authenticated) -> Deadline {
        let Some(expires) = who.expires_unix else {
            return Deadline::NEVER;
        };
        let left = Duration::from_secs(expires.saturating_sub(now.unix));
        let grace = if who.token.is_some() { Duration::ZERO } else { self.config.session_lifetime_max };
        now.after(left + grace)
    }

    /// Lets a Refresh with another good token carry on an allocation that was made with one: from here on it has the new
    /// token's key, end and USERNAME, since the key id changes when the keys are rotated. Whom it counts for
    /// stays, so that a quota cannot be escaped.
    pub(in crate::proto::turn) fn adopt_token(&mut self, now: Now, asker: &Asker, who: &Authenticated) {
        let session_ends = self.session_ends(now, who);
        let Some(allocation) = self.allocations.of_mut(&asker.from) else { return };
        let is_live = matches!(allocation.state, State::Live(_));
        let owner = &mut allocation.owner;
        if !is_live || owner.token.is_none() || who.token.is_none() || owner.token == who.token {
            return;
        }
        owner.username = who.username.clone();
        owner.key = who.key.clone();
        owner.expires_unix = who.expires_unix;
        owner.token = who.token;
        allocation.session_ends = session_ends;
    }
}

/// `lifetime`, but no longer than the token of `allocation`.
pub(super) fn within(now: Now, allocation: &Allocation, lifetime: Lifetime) -> Lifetime {
    match allocation.owner.token {
        Some(_) => until(now, allocation.session_ends, lifetime),
        None => lifetime,
    }
}

/// `lifetime`, but not beyond `end`, where a token says so. What is left of its last second counts as a whole one.
pub(super) fn until(now: Now, end: Deadline, lifetime: Lifetime) -> Lifetime {
    let left_s = end.remaining(now.tick()).as_secs().max(1);
    lifetime.min(Lifetime::from_secs(u32::try_from(left_s).unwrap_or(u32::MAX)))
}
