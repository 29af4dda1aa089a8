//! Allocate (RFC 8656 § 7.2).

use std::time::Duration;

use crate::proto::auth::credential::Authenticated;
use crate::proto::turn::allocation::Allocation;
use crate::proto::turn::allocation::Opening;
use crate::proto::turn::allocation::State;
use crate::proto::turn::channel::Channels;
use crate::proto::turn::permission::Permissions;
use crate::proto::turn::ports::Wish;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

/// Protocol number of UDP.
const UDP: u8 = 17;

/// Where the relay socket shall be, and what else the answer carries.
struct Place {
    address: usize,
    port: u16,
    reservation_token: Option<[u8; 8]>,
}

impl<E: Entropy> Server<E> {
    pub(in crate::proto::turn) fn allocate(
        &mut self,
        now: Now,
        asker: &Asker,
        who: Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        // 1. Authentication is done. 2. A five-tuple has one allocation.
        if let Some(allocation) = self.allocations.of(&asker.from) {
            return match &allocation.state {
                // The same request again, while the socket is being opened: one answer will do for both.
                State::Opening(opening) if opening.asker.key() == asker.key() => Ok(Answer::Later),
                _ => Err(ErrorCode::AllocationMismatch.into()),
            };
        }
        let wish = check_request(request)?;
        // The quota is step 10; it stands before anything is taken from the pool.
        let source = Self::source(asker.from.client);
        if self.per_user.is_reached(&who.quota) || self.per_address.is_reached(&source) {
            return Err(ErrorCode::AllocationQuotaReached.into());
        }
        let relay = self.allocations.name().ok_or(ErrorCode::InsufficientCapacity)?;
        let place = match self.place(now, request, wish) {
            Ok(place) => place,
            Err(reject) => {
                self.allocations.unname(relay);
                return Err(reject);
            }
        };
        let default = self.config.lifetime_default;
        let lifetime = Lifetime::granted(request.lifetime, default, self.config.lifetime_max);
        self.per_user.add(&who.quota);
        self.per_address.add(&source);
        self.allocations.insert(Allocation {
            relay,
            worker: asker.worker,
            five_tuple: asker.from,
            dialect: Dialect::Rfc8656,
            session_ends: self.session_ends(now, who.expires_unix),
            owner: who.into(),
            address: place.address,
            port: place.port,
            state: State::Opening(Box::new(Opening {
                asker: asker.clone(),
                lifetime,
                tries: 0,
                deadline: Deadline::NEVER,
                reservation_token: place.reservation_token,
                unwanted: None,
            })),
            permissions: Permissions::new(self.hasher.clone()),
            channels: Channels::new(self.hasher.clone()),
        });
        self.open(now, relay);
        Ok(Answer::Later)
    }

    /// Draws or redeems the port: steps 5 to 8.
    fn place(&mut self, now: Now, request: &Request<'_>, wish: Wish) -> Result<Place, Reject> {
        if let Some(token) = request.reservation_token {
            let redeemed = self.pools.iter_mut().map(|pool| pool.redeem(now, token)).enumerate();
            let found = redeemed.filter_map(|(address, port)| Some((address, port?))).next();
            let (address, port) = found.ok_or(ErrorCode::InsufficientCapacity)?;
            return Ok(Place { address, port, reservation_token: None });
        }
        let family = match request.requested_family {
            None => Family::V4,
            Some(code) => Family::from_code(code).ok_or(ErrorCode::AddressFamilyNotSupported)?,
        };
        let mut configured = self.config.relays.iter();
        let address = configured
            .position(|relay| Family::of(relay.bind) == family)
            .ok_or(ErrorCode::AddressFamilyNotSupported)?;
        let pool = &mut self.pools[address];
        let port = pool.draw(now, wish, &mut self.entropy).ok_or(ErrorCode::InsufficientCapacity)?;
        let mut reservation_token = None;
        if wish == Wish::Pair {
            let mut token = [0; 8];
            self.entropy.fill_secret(&mut token);
            let reserved = pool.reserve_next(now, port, token);
            debug_assert!(reserved, "a pair was drawn, so its upper half is free");
            reservation_token = Some(token);
        }
        Ok(Place { address, port, reservation_token })
    }

    /// Until when the stored key suffices: the credential's expiry, carried over to the monotonic clock once, so that
    /// a later step of the wall clock does not matter, and the grace for sessions under way.
    fn session_ends(&self, now: Now, expires_unix: Option<u64>) -> Deadline {
        let Some(expires) = expires_unix else {
            return Deadline::NEVER;
        };
        let left = Duration::from_secs(expires.saturating_sub(now.unix));
        now.after(left + self.config.session_lifetime_max)
    }
}

/// Steps 3 to 8, as far as they concern the request alone.
fn check_request(request: &Request<'_>) -> Result<Wish, Reject> {
    // 3. REQUESTED-TRANSPORT must be there, and UDP.
    match request.requested_transport {
        None => return Err(ErrorCode::BadRequest.into()),
        Some(UDP) => {}
        Some(_) => return Err(ErrorCode::UnsupportedTransportProtocol.into()),
    }
    // 4. DONT-FRAGMENT asks whether Send indications may carry it; they may.
    // 5. A reservation has been made with all that these would choose.
    if request.reservation_token.is_some()
        && (request.even_port.is_some()
            || request.requested_family.is_some()
            || request.additional_family.is_some())
    {
        return Err(ErrorCode::BadRequest.into());
    }
    // 6. One family, or IPv6 in addition to the default, but not both ways of asking.
    if request.requested_family.is_some() && request.additional_family.is_some() {
        return Err(ErrorCode::BadRequest.into());
    }
    // 7. follows with the choice of the address. 9. The additional family can only be IPv6; a second relayed address is not
    // given yet, and ADDITIONAL-ADDRESS-FAMILY may be ignored by a server that does not know it.
    if request.additional_family == Some(Family::V4.code())
        || (request.additional_family.is_some() && request.even_port == Some(true))
    {
        return Err(ErrorCode::BadRequest.into());
    }
    // 8. EVEN-PORT, with or without the reservation of the next port.
    Ok(match request.even_port {
        None => Wish::Any,
        Some(false) => Wish::Even,
        Some(true) => Wish::Pair,
    })
}
