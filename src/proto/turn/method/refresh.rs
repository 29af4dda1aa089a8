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
use crate::proto::types::RelayId;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

use super::is_owner;
use super::live_allocation;
use super::token;

impl<E: Entropy> Server<E> {
    pub(in crate::proto::turn) fn refresh(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        self.adopt_token(now, asker, who);
        if request.mobility_ticket.is_some() {
            return self.refresh_with_ticket(now, asker, who, request);
        }
        if request.lifetime == Some(Lifetime::ZERO) {
            let relay = self.allocations.of(&asker.from).ok_or(ErrorCode::AllocationMismatch)?.relay;
            return self.release(now, asker, who, request, relay);
        }
        let relay = live_allocation(&mut self.allocations, now, asker, who)?.relay;
        let lifetime = self.extend_legs(now, request, relay)?;
        Ok(Answer::Now(Grant { lifetime: Some(lifetime), ..Grant::default() }))
    }

    /// Lets the legs that the request means, of the live allocation `relay`, go on. Answers for how long.
    pub(super) fn extend_legs(
        &mut self,
        now: Now,
        request: &Request<'_>,
        relay: RelayId,
    ) -> Result<Lifetime, Reject> {
        let allocation = self.allocations.named(relay).ok_or(ErrorCode::AllocationMismatch)?;
        let lifetime = self.lifetime_for(now, &allocation.five_tuple, request, allocation.session_ends);
        let lifetime = token::within(now, allocation, lifetime);
        let until = allocation.until(now, lifetime);
        // Without a family the request means all that is there (RFC 8656 § 8.1).
        let relays = match request.requested_family {
            None => [Family::V4, Family::V6].map(|family| Some(allocation.leg_to(now, family)?.relay)),
            Some(code) => [Some(leg_named_by(code, allocation, now)?.relay), None],
        };
        for relay in relays.into_iter().flatten() {
            self.extend(relay, until);
        }
        Ok(lifetime)
    }

    /// LIFETIME 0 deletes the allocation, or one of its two relayed addresses. The answer leaves when the ports are
    /// closed.
    pub(super) fn release(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
        relay: RelayId,
    ) -> Result<Answer, Reject> {
        let Some(allocation) = self.allocations.named(relay) else {
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
