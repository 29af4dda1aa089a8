//! Refresh (RFC 8656 § 8.2).

use crate::proto::auth::credential::Authenticated;
use crate::proto::turn::EndReason;
use crate::proto::turn::allocation::Allocation;
use crate::proto::turn::allocation::State;
use crate::proto::turn::legs::Leg;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Grant;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

use super::is_owner;
use super::live_allocation;

impl<E: Entropy> Server<E> {
    pub(in crate::proto::turn) fn refresh(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        self.adopt_token(now, asker, who);
        if request.lifetime == Some(Lifetime::ZERO) {
            return self.release(now, asker, who, request);
        }
        let (default, max) = (self.config.lifetime_default, self.config.lifetime_max);
        let lifetime = Lifetime::granted(request.lifetime, default, max);
        let lifetime = self.within_token(now, asker, lifetime);
        let until = now.after(lifetime.as_duration());
        let allocation = live_allocation(&mut self.allocations, now, asker, who)?;
        // Without a family the request means all that is there (RFC 8656 § 8.1).
        let relays = match request.requested_family {
            None => [Family::V4, Family::V6].map(|family| Some(allocation.leg_to(now, family)?.relay)),
            Some(code) => [Some(leg_named_by(code, allocation, now)?.relay), None],
        };
        for relay in relays.into_iter().flatten() {
            self.extend(relay, until);
        }
        Ok(Answer::Now(Grant { lifetime: Some(lifetime), ..Grant::default() }))
    }

    /// LIFETIME 0 deletes the allocation, or one of its two relayed addresses. The answer leaves when the ports are
    /// closed.
    fn release(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        let Some(allocation) = self.allocations.of(&asker.from) else {
            return Err(ErrorCode::AllocationMismatch.into());
        };
        if !is_owner(allocation, who) {
            return Err(ErrorCode::WrongCredentials.into());
        }
        // The same request again: one answer will do for both.
        if allocation.is_awaited_by(&asker.key()) {
            return Ok(Answer::Later);
        }
        if request.requested_family.is_some_and(|code| !allocation.legs.have(code)) {
            return Err(ErrorCode::PeerAddressFamilyMismatch.into());
        }
        let relay = allocation.relay;
        match (&allocation.state, request.requested_family) {
            // The client does not know yet which families it got: of two it cannot give back one.
            (State::Opening(opening), family)
                if opening.unwanted.is_none() && family.is_none_or(|code| allocation.legs.are_only(code)) =>
            {
                self.end(relay, EndReason::Released, Some(asker.clone()));
            }
            (State::Opening(_) | State::Draining(_), _) => return Err(ErrorCode::AllocationMismatch.into()),
            (State::Live(_), None) => self.end(relay, EndReason::Released, Some(asker.clone())),
            (State::Live(_), Some(code)) => {
                let leg = leg_named_by(code, allocation, now)?.relay;
                self.end_leg(leg, EndReason::Released, Some(asker.clone()));
            }
        }
        Ok(Answer::Later)
    }
}

/// RFC 8656 § 8.2: a REQUESTED-ADDRESS-FAMILY that the allocation does not have gets 443.
fn leg_named_by(code: u8, allocation: &Allocation, now: Now) -> Result<&Leg, Reject> {
    let leg = Family::from_code(code).and_then(|family| allocation.leg_to(now, family));
    leg.ok_or_else(|| ErrorCode::PeerAddressFamilyMismatch.into())
}
