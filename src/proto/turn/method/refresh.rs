//! Refresh (RFC 8656 § 8.2).

use crate::proto::auth::credential::Authenticated;
use crate::proto::media::TableChange;
use crate::proto::turn::EndReason;
use crate::proto::turn::Output;
use crate::proto::turn::allocation::State;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Grant;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::turn::server::Timer;
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
            return self.release(asker, who, request);
        }
        let (default, max) = (self.config.lifetime_default, self.config.lifetime_max);
        let lifetime = Lifetime::granted(request.lifetime, default, max);
        let lifetime = self.within_token(now, asker, lifetime);
        let until = now.after(lifetime.as_duration());
        let allocation = live_allocation(&mut self.allocations, now, asker, who)?;
        let family = Family::of(self.config.relays[allocation.address].bind);
        check_family(request, family)?;
        let (relay, worker) = (allocation.relay, allocation.worker);
        let State::Live(live) = &mut allocation.state else {
            return Err(ErrorCode::AllocationMismatch.into());
        };
        live.until = until;
        if until < live.armed {
            live.armed = until;
            self.timers.arm(until, Timer::Lifetime(relay));
        }
        self.outputs.push_back(Output::Table { worker, change: TableChange::Extend { relay, until } });
        Ok(Answer::Now(Grant { lifetime: Some(lifetime), ..Grant::default() }))
    }

    /// LIFETIME 0 deletes the allocation. The answer leaves when the port is closed.
    fn release(
        &mut self,
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
        check_family(request, Family::of(self.config.relays[allocation.address].bind))?;
        let relay = allocation.relay;
        let waiting = match &allocation.state {
            State::Opening(opening) => opening.unwanted.as_ref().map(|(_, asker)| asker),
            State::Live(_) => None,
            State::Draining(draining) => Some(&draining.asker),
        };
        match waiting {
            None => self.end(relay, EndReason::Released, Some(asker.clone())),
            // The same request again: one answer will do for both.
            Some(Some(first)) if first.key() == asker.key() => {}
            Some(_) => return Err(ErrorCode::AllocationMismatch.into()),
        }
        Ok(Answer::Later)
    }
}

/// RFC 8656 § 8.2: a REQUESTED-ADDRESS-FAMILY that is not the allocation's gets 443.
fn check_family(request: &Request<'_>, family: Family) -> Result<(), Reject> {
    match request.requested_family {
        Some(code) if Family::from_code(code) != Some(family) => {
            Err(ErrorCode::PeerAddressFamilyMismatch.into())
        }
        _ => Ok(()),
    }
}
