//! What the server says, and what becomes of it (RFC 8489 §§ 6.3.3, 6.3.4 and 9.2.5).

use std::time::Duration;

use crate::proto::types::ConnectionId;
use crate::proto::types::Entropy;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::Tick;
use crate::proto::types::limits::ALLOCATION_LIFETIME_DEFAULT;
use crate::proto::types::limits::CLIENT_CHALLENGES_MAX;
use crate::proto::wire::connection::decode_attempt;
use crate::proto::wire::rfc8656::decode::Answer;
use crate::proto::wire::rfc8656::decode::decode_response;

use super::Allocated;
use super::Client;
use super::End;
use super::Event;
use super::Failure;
use super::challenge::Heard;
use super::challenge::Unmet;
use super::challenge::challenge;
use super::challenge::hear;
use super::client::Live;
use super::client::State;
use super::peers::renewal_of;
use super::transaction::Ask;
use super::transaction::Transaction;

/// The server has no allocation of this five-tuple (RFC 8656 § 19).
const MISMATCH: u16 = 437;
/// A server in trouble is asked again after this.
const SERVER_RETRY: Duration = Duration::from_secs(10);

impl<E: Entropy> Client<E> {
    pub(super) fn message(&mut self, tick: Tick, bytes: &[u8]) {
        if let Some((peer, data)) = self.read(bytes) {
            return self.event(Event::Data { peer, data: data.into() });
        }
        if let Some((peer, connection)) = decode_attempt(bytes) {
            return self.attempted(peer, connection);
        }
        let Ok(answer) = decode_response(bytes) else { return };
        let of_answer =
            |each: &Transaction| each.id == answer.transaction && each.ask.method() == answer.method;
        if let Some(at) = self.transactions.iter().position(of_answer) {
            self.answered(tick, at, &answer);
        }
    }

    fn answered(&mut self, tick: Tick, at: usize, answer: &Answer<'_>) {
        let Some(transaction) = self.transactions.get_mut(at) else { return };
        let code = if answer.success { None } else { answer.error_code };
        match hear(transaction.signed.as_ref(), answer) {
            Heard::Trusted => {}
            Heard::Challenged(code) => return self.challenged(tick, at, code, answer),
            Heard::Distrusted => {
                transaction.violated = true;
                return;
            }
        }
        let transaction = self.transactions.remove(at);
        if !answer.unknown.is_empty() {
            return self.failed(tick, transaction.ask, Failure::Incomplete);
        }
        match code {
            None if answer.success => self.granted(tick, &transaction, answer),
            // An error response without a code is still one.
            _ => {
                let alternate = answer.alternate_server;
                self.failed(tick, transaction.ask, Failure::Refused { code: code.unwrap_or(0), alternate });
            }
        }
    }

    fn challenged(&mut self, tick: Tick, at: usize, code: u16, answer: &Answer<'_>) {
        let Some(transaction) = self.transactions.get_mut(at) else { return };
        let before = self.challenge.as_ref().filter(|_| transaction.signed.is_some());
        match challenge(&self.config.credential, code, answer, before) {
            Err(Unmet::Ignore) => transaction.violated = true,
            Err(Unmet::Fail(why)) => {
                let transaction = self.transactions.remove(at);
                self.failed(tick, transaction.ask, why);
            }
            Ok(challenge) => {
                let transaction = self.transactions.remove(at);
                if transaction.challenges >= CLIENT_CHALLENGES_MAX {
                    let why = Failure::Refused { code, alternate: None };
                    return self.failed(tick, transaction.ask, why);
                }
                self.challenge = Some(challenge);
                self.start(tick, transaction.ask, transaction.challenges + 1);
            }
        }
    }

    fn granted(&mut self, tick: Tick, transaction: &Transaction, answer: &Answer<'_>) {
        let began = transaction.began;
        match &transaction.ask {
            Ask::Allocate => self.allocated(tick, began, answer),
            Ask::Refresh => self.refreshed(began, answer),
            Ask::Move => {
                self.refreshed(began, answer);
                if let State::Live(live) = &mut self.state {
                    live.ticket = answer.mobility_ticket.map(Into::into);
                    live.moving = false;
                }
                self.event(Event::Moved);
            }
            Ask::Release => self.over(End::Released),
            Ask::Connect(peer) => self.connected(*peer, answer),
            Ask::Permit(peers) => {
                for peer in peers {
                    if self.peers.permitted(began, *peer, self.config.permission_lifetime) {
                        self.event(Event::Permitted { peer: *peer });
                    }
                }
            }
            Ask::Bind(channel, peer) => {
                let lifetimes = [self.config.channel_lifetime, self.config.permission_lifetime];
                let (is_new, permitted) = self.peers.bound(began, *channel, lifetimes);
                if permitted {
                    self.event(Event::Permitted { peer: peer.ip() });
                }
                if is_new {
                    self.event(Event::Bound { peer: *peer, channel: *channel });
                }
            }
        }
    }

    /// A peer is said to have connected.
    fn attempted(&mut self, peer: PeerAddr, connection: ConnectionId) {
        if self.is_live() && self.relays_connections() && self.peers.expects(peer) {
            self.event(Event::Attempted { peer, connection });
        }
    }

    fn connected(&mut self, peer: PeerAddr, answer: &Answer<'_>) {
        self.event(match answer.connection_id {
            Some(connection) => Event::Connected { peer, connection },
            None => Event::NotConnected { peer, why: Failure::Incomplete },
        });
    }

    fn allocated(&mut self, tick: Tick, began: Tick, answer: &Answer<'_>) {
        let (Some(relayed), Some(mapped)) = (answer.relayed_address, answer.mapped_address) else {
            return self.failed(tick, Ask::Allocate, Failure::Incomplete);
        };
        let lifetime = lifetime_of(answer);
        self.state = State::Live(Live {
            until: began.after(lifetime.as_duration()),
            renew: began.after(renewal_of(lifetime.as_duration())),
            refreshing: false,
            ticket: answer.mobility_ticket.map(Into::into),
            moving: false,
        });
        self.event(Event::Allocated(Allocated {
            relayed,
            additional: answer.additional_relayed_address,
            refused: answer.address_error,
            mapped,
            lifetime,
            reservation: answer.reservation_token,
        }));
    }

    fn refreshed(&mut self, began: Tick, answer: &Answer<'_>) {
        let lifetime = lifetime_of(answer).as_duration();
        if let State::Live(live) = &mut self.state {
            live.until = began.after(lifetime);
            live.renew = began.after(renewal_of(lifetime));
            live.refreshing = false;
        }
    }

    /// Nothing will come of `ask` in this attempt.
    pub(super) fn failed(&mut self, tick: Tick, ask: Ask, why: Failure) {
        let refusal = match why {
            Failure::Refused { code, .. } => Some(code),
            _ => None,
        };
        let is_gone = refusal == Some(MISMATCH);
        match ask {
            Ask::Allocate => {
                self.state = State::Idle;
                self.event(Event::NotAllocated(why));
            }
            Ask::Release => {
                self.over(if is_gone { End::Released } else { End::Unconfirmed });
            }
            Ask::Refresh | Ask::Move => self.not_refreshed(tick, ask, why, refusal),
            Ask::Permit(_) | Ask::Bind(..) | Ask::Connect(_) if is_gone => self.over(End::Lost(why)),
            Ask::Permit(peers) => {
                for peer in self.peers.not_permitted(&peers, refusal.is_some()) {
                    self.event(Event::NotPermitted { peer, why });
                }
            }
            Ask::Connect(peer) => self.event(Event::NotConnected { peer, why }),
            Ask::Bind(channel, _) => {
                if let Some(peer) = self.peers.not_bound(channel, refusal.is_some()) {
                    self.event(Event::NotBound { peer, why });
                }
            }
        }
    }

    /// While its time lasts, a server that is silent or in trouble is asked again.
    fn not_refreshed(&mut self, tick: Tick, ask: Ask, why: Failure, refusal: Option<u16>) {
        if refusal.is_some_and(|code| code < 500) || why == Failure::Full {
            return self.over(End::Lost(why));
        }
        let State::Live(live) = &mut self.state else { return };
        match ask {
            Ask::Move if !live.until.is_due(tick) => self.start(tick, Ask::Move, 0),
            Ask::Move => {}
            _ => {
                live.refreshing = false;
                if refusal.is_some() {
                    live.renew = tick.after(SERVER_RETRY);
                }
            }
        }
    }
}

fn lifetime_of(answer: &Answer<'_>) -> Lifetime {
    // RFC 8656 § 7.3 demands it; a server that forgets it means the default.
    let default = u32::try_from(ALLOCATION_LIFETIME_DEFAULT.as_secs()).unwrap_or(u32::MAX);
    answer.lifetime.unwrap_or(Lifetime::from_secs(default))
}
