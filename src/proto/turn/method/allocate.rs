//! Allocate (RFC 8656 § 7.2).

use std::net::IpAddr;
use std::sync::Arc;

use crate::proto::auth::credential::Authenticated;
use crate::proto::media::Counters;
use crate::proto::turn::allocation::Allocation;
use crate::proto::turn::allocation::Opening;
use crate::proto::turn::allocation::State;
use crate::proto::turn::channel::Channels;
use crate::proto::turn::legs::Leg;
use crate::proto::turn::legs::Legs;
use crate::proto::turn::legs::pool;
use crate::proto::turn::mobility::Mobility;
use crate::proto::turn::permission::Permissions;
use crate::proto::turn::ports::Wish;
use crate::proto::turn::replay::Transactions;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::Now;
use crate::proto::types::RelayProtocol;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Request;

use super::mobility::wants_mobility;
use super::refuse_tunnelled;
use super::token;

/// Protocol number of UDP.
pub(super) const UDP: u8 = 17;
/// Protocol number of TCP.
pub(super) const TCP: u8 = 6;

/// Where the relay sockets shall be, and what else the answer carries.
struct Places {
    /// One, or two of a dual allocation, IPv4 first.
    legs: [Option<Leg>; 2],
    refused: [Option<ErrorCode>; 2],
    reservation_token: Option<[u8; 8]>,
    wish: Option<Wish>,
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
        let (protocol, wish) = check_request(asker, request, self.config.connections_per_allocation > 0)?;
        refuse_tunnelled(asker)?;
        if let Some(code) = self.refusal_while_draining(&asker.from) {
            return Err(code.into());
        }
        // Its connections could not follow: with the client's own they end.
        let may_move = self.config.mobility && protocol == RelayProtocol::Udp;
        let mobile = wants_mobility(request, may_move)?;
        let source = Self::source(asker.from.client);
        self.check_quotas(&who, &source)?;
        let places = self.places(now, request, protocol, wish)?;
        let session_ends = self.session_ends(now, &who);
        let mut lifetime = self.lifetime_for(now, &asker.from, request, session_ends);
        if who.token.is_some() {
            lifetime = token::until(now, session_ends, lifetime);
        }
        let relays = places.legs.each_ref().map(|leg| Some(leg.as_ref()?.relay));
        let Some(relay) = relays.into_iter().flatten().next() else {
            return Err(ErrorCode::InsufficientCapacity.into());
        };
        let mut legs = Legs::default();
        places.legs.into_iter().flatten().for_each(|leg| legs.insert(leg));
        self.per_user.add(&who.quota);
        self.per_address.add(&source);
        self.allocations.insert(Allocation {
            relay,
            worker: asker.worker,
            five_tuple: asker.from,
            dialect: asker.dialect,
            session_ends,
            owner: who.into(),
            legs,
            state: State::Opening(Box::new(Opening {
                asker: asker.clone(),
                lifetime,
                reservation_token: places.reservation_token,
                unwanted: None,
                refused: places.refused,
                wish: places.wish,
                mobile,
            })),
            permissions: Permissions::new(Arc::clone(&self.hasher)),
            channels: Channels::new(Arc::clone(&self.hasher)),
            carried: Counters::default(),
            transactions: Transactions::new(),
            mobility: Mobility::default(),
            legacy: None,
            connections: Vec::new(),
        });
        for relay in relays.into_iter().flatten() {
            self.open(now, relay);
        }
        Ok(Answer::Later)
    }

    /// The quota is step 10; it stands before anything is taken from the pool.
    fn check_quotas(&self, who: &Authenticated, source: &IpAddr) -> Result<(), ErrorCode> {
        if self.per_user.is_reached(&who.quota) || self.per_address.is_reached(source) {
            return Err(ErrorCode::AllocationQuotaReached);
        }
        // Not somebody's quota but the server's own capacity: 508.
        let total = usize::try_from(self.config.allocations_total).unwrap_or(usize::MAX);
        if total != 0 && self.allocations.len() >= total {
            return Err(ErrorCode::InsufficientCapacity);
        }
        Ok(())
    }

    /// Draws or redeems the ports: steps 5 to 9.
    fn places(
        &mut self,
        now: Now,
        request: &Request<'_>,
        protocol: RelayProtocol,
        wish: Wish,
    ) -> Result<Places, Reject> {
        if let Some(token) = request.reservation_token {
            // 5. This port or none: another would not be the one that the token stands for.
            let leg = self.redeem(now, token)?;
            let (legs, refused) = ([Some(leg), None], [None; 2]);
            return Ok(Places { legs, refused, reservation_token: None, wish: None });
        }
        let family = match request.requested_family {
            None => Family::V4,
            Some(code) => Family::from_code(code).ok_or(ErrorCode::AddressFamilyNotSupported)?,
        };
        if request.additional_family.is_none() {
            // 7. and 8.
            let (leg, reservation_token) = self.draw(now, family, protocol, wish)?;
            let (legs, refused) = ([Some(leg), None], [None; 2]);
            return Ok(Places { legs, refused, reservation_token, wish: Some(wish) });
        }
        // 7. stands before 9.: without IPv4 there is nothing that IPv6 could be additional to.
        let drawn = match self.draw(now, Family::V4, protocol, wish) {
            Err(ErrorCode::AddressFamilyNotSupported) => {
                return Err(ErrorCode::AddressFamilyNotSupported.into());
            }
            v4 => [v4, self.draw(now, Family::V6, protocol, wish)],
        };
        // 9. One of the two is a success, with an ADDRESS-ERROR-CODE for the other.
        let refused = drawn.each_ref().map(|drawn| drawn.as_ref().err().copied());
        let legs = drawn.map(|drawn| drawn.ok().map(|(leg, _)| leg));
        if legs.iter().all(Option::is_none) {
            return Err(ErrorCode::InsufficientCapacity.into());
        }
        Ok(Places { legs, refused, reservation_token: None, wish: Some(wish) })
    }

    /// A leg with a port that was reserved under `token`. Reservations are the whole server's: whoever shows the token
    /// gets the port, from whatever five-tuple and on whatever worker.
    fn redeem(&mut self, now: Now, token: [u8; 8]) -> Result<Leg, ErrorCode> {
        let relay = self.allocations.name().ok_or(ErrorCode::InsufficientCapacity)?;
        let udp = self.pools.iter_mut().take(self.config.relays.len());
        let redeemed = udp.map(|pool| pool.redeem(now, token)).enumerate();
        let Some((address, port)) = redeemed.filter_map(|(at, port)| Some((at, port?))).next() else {
            self.allocations.unname(relay);
            return Err(ErrorCode::InsufficientCapacity);
        };
        Ok(Leg::new(relay, Family::of(self.config.relays[address].bind), address, port))
    }

    /// A leg of `family` with a port that fits `wish`, and the token of the port beside it if one was reserved.
    fn draw(
        &mut self,
        now: Now,
        family: Family,
        protocol: RelayProtocol,
        wish: Wish,
    ) -> Result<(Leg, Option<[u8; 8]>), ErrorCode> {
        let mut configured = self.config.relays.iter();
        let address = configured
            .position(|relay| Family::of(relay.bind) == family)
            .ok_or(ErrorCode::AddressFamilyNotSupported)?;
        let relay = self.allocations.name().ok_or(ErrorCode::InsufficientCapacity)?;
        let pool = pool(address, protocol, self.config.relays.len());
        let Some((port, token)) = self.pools[pool].draw_reserving(now, wish, &mut self.entropy) else {
            self.allocations.unname(relay);
            return Err(ErrorCode::InsufficientCapacity);
        };
        Ok((Leg::new(relay, family, address, port).over(protocol), token))
    }
}

/// Steps 3 to 8, as far as they concern the request alone.
fn check_request(
    asker: &Asker,
    request: &Request<'_>,
    tcp_allowed: bool,
) -> Result<(RelayProtocol, Wish), Reject> {
    // 3. REQUESTED-TRANSPORT must be there, and UDP, or TCP as RFC 6062 § 5.1 has it.
    let protocol = match request.requested_transport {
        None => return Err(ErrorCode::BadRequest.into()),
        Some(UDP) => RelayProtocol::Udp,
        Some(TCP) => check_tcp(asker, request, tcp_allowed)?,
        Some(_) => return Err(ErrorCode::UnsupportedTransportProtocol.into()),
    };
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
    // 7. follows with the choice of the address. 8. and 9. The additional family can only be IPv6 (§ 18.11), and no
    // port is reserved beside one of two.
    if request.additional_family.is_some_and(|code| code != Family::V6.code())
        || (request.additional_family.is_some() && request.even_port == Some(true))
    {
        return Err(ErrorCode::BadRequest.into());
    }
    // 8. EVEN-PORT, with or without the reservation of the next port.
    let wish = match request.even_port {
        None => Wish::Any,
        Some(false) => Wish::Even,
        Some(true) => Wish::Pair,
    };
    Ok((protocol, wish))
}

/// RFC 6062 § 5.1: connections are relayed for who came by one, and nothing that speaks of datagrams is asked beside.
fn check_tcp(asker: &Asker, request: &Request<'_>, allowed: bool) -> Result<RelayProtocol, Reject> {
    let of_datagrams =
        request.dont_fragment || request.even_port.is_some() || request.reservation_token.is_some();
    if !asker.from.transport.is_stream() || of_datagrams {
        return Err(ErrorCode::BadRequest.into());
    }
    if allowed { Ok(RelayProtocol::Tcp) } else { Err(ErrorCode::UnsupportedTransportProtocol.into()) }
}
