//! What the server says, and what becomes of it ([MS-TURN] § 3.2.5).

use std::time::Duration;

use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Lifetime;
use crate::proto::types::Tick;
use crate::proto::types::limits::ALLOCATION_LIFETIME_DEFAULT;
use crate::proto::types::limits::CLIENT_CHALLENGES_MAX;
use crate::proto::wire::ms_turn::answer::Answer;
use crate::proto::wire::ms_turn::answer::decode_response;

use super::super::Allocated;
use super::super::End;
use super::super::Event;
use super::super::Failure;
use super::super::Proof;
use super::super::challenge::STALE_NONCE;
use super::super::challenge::UNAUTHENTICATED;
use super::super::peers::renewal_of;
use super::super::transaction::Transaction;
use super::Ask;
use super::Challenge;
use super::LegacyClient;
use super::Live;
use super::State;

/// The server has no allocation of this five-tuple.
const MISMATCH: u16 = 437;
/// What a server answers that cannot check who asked, and so cannot sign either.
const UNSIGNED: [u16; 8] = [UNAUTHENTICATED, 431, 432, 434, 435, 436, MISMATCH, STALE_NONCE];
/// A server in trouble is asked again after this.
const SERVER_RETRY: Duration = Duration::from_secs(10);

impl<E: Entropy> LegacyClient<E> {
    pub(super) fn message(&mut self, tick: Tick, bytes: &[u8]) {
        if let Some((peer, data)) = self.read(bytes) {
            return self.event(Event::Data { peer, data: data.into() });
        }
        let Some((false, message)) = self.sort(bytes) else { return };
        let Ok(answer) = decode_response(message) else { return };
        let of_answer =
            |each: &Transaction<Ask>| each.id == answer.transaction && each.ask.method() == answer.method;
        if let Some(at) = self.transactions.iter().position(of_answer) {
            self.answered(tick, at, &answer);
        }
    }

    fn answered(&mut self, tick: Tick, at: usize, answer: &Answer<'_>) {
        let Some(transaction) = self.transactions.get_mut(at) else { return };
        // An error response without a code is still one.
        let code = if answer.success { None } else { Some(answer.error_code.unwrap_or(0)) };
        let is_signed = answer.integrity.algorithm().is_some();
        let is_believed = match (&transaction.signed, code) {
            (Some((key, _)), _) if is_signed => answer.integrity.verify(key),
            (Some(_), Some(code)) => UNSIGNED.contains(&code),
            // Nothing but the transaction is known of who answers, and nothing was granted.
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if !is_believed {
            transaction.violated = true;
            return;
        }
        if let Some(code @ (UNAUTHENTICATED | STALE_NONCE)) = code
            && transaction.ask.method() == super::Method::Allocate
        {
            return self.challenged(tick, at, code, answer);
        }
        let transaction = self.transactions.remove(at);
        match code {
            _ if answer.unknown => self.failed(tick, transaction.ask, Failure::Incomplete),
            None => self.granted(tick, &transaction, answer),
            Some(code) => {
                let alternate = answer.alternate_server;
                self.failed(tick, transaction.ask, Failure::Refused { code, alternate });
            }
        }
    }

    /// Asks again, unless it would be in the same words.
    fn challenged(&mut self, tick: Tick, at: usize, code: u16, answer: &Answer<'_>) {
        let Some(transaction) = self.transactions.get_mut(at) else { return };
        let before = self.challenge.as_ref().filter(|_| transaction.signed.is_some());
        let realm = answer.realm.or(before.map(|before| &*before.realm));
        let (Some(realm), Some(nonce)) = (realm, answer.nonce) else {
            transaction.violated = true;
            return;
        };
        let is_same_realm = before.is_some_and(|before| *before.realm == *realm);
        let is_same_nonce = before.is_some_and(|before| *before.nonce == *nonce);
        let is_refused = match code {
            UNAUTHENTICATED => is_same_realm,
            _ => is_same_realm && is_same_nonce,
        };
        let transaction = self.transactions.remove(at);
        if is_refused || transaction.challenges >= CLIENT_CHALLENGES_MAX {
            let why = Failure::Refused { code, alternate: None };
            return self.failed(tick, transaction.ask, why);
        }
        let credential = &self.config.credential;
        let key = match &credential.proof {
            Proof::Key(key) => (**key).clone(),
            Proof::Password(password) => {
                integrity_key(PasswordAlgorithm::Md5, &credential.username, realm, password.expose())
            }
        };
        self.challenge = Some(Challenge { realm: realm.into(), nonce: nonce.into(), key });
        self.start(tick, transaction.ask, transaction.challenges + 1);
    }

    fn granted(&mut self, tick: Tick, transaction: &Transaction<Ask>, answer: &Answer<'_>) {
        match transaction.ask {
            Ask::Allocate => self.allocated(tick, transaction, answer),
            Ask::Refresh => self.refreshed(tick, transaction, answer),
            Ask::Release => self.over(End::Released),
            Ask::Destination(peer) => {
                if let State::Live(live) = &mut self.state {
                    (live.destination, live.bare_from) = (Some(peer), Some(peer));
                }
                self.event(Event::Destination { peer });
            }
        }
    }

    fn allocated(&mut self, tick: Tick, transaction: &Transaction<Ask>, answer: &Answer<'_>) {
        let (Some(relayed), Some(mapped)) = (answer.relayed_address, answer.mapped_address) else {
            return self.failed(tick, Ask::Allocate, Failure::Incomplete);
        };
        let lifetime = lifetime_of(answer);
        self.state = State::Live(Live {
            until: transaction.began.after(lifetime.as_duration()),
            renew: transaction.began.after(renewal_of(lifetime.as_duration())),
            refreshing: false,
            doubted: false,
            relayed,
            sequence: answer.sequence,
            addresses: std::collections::BTreeSet::new(),
            destination: None,
            bare_from: None,
        });
        self.event(Event::Allocated(Allocated {
            relayed,
            additional: None,
            refused: None,
            mapped,
            lifetime,
            reservation: None,
        }));
    }

    fn refreshed(&mut self, tick: Tick, transaction: &Transaction<Ask>, answer: &Answer<'_>) {
        let State::Live(live) = &mut self.state else { return };
        let connection = |sequence: super::SequenceNumber| sequence.connection;
        let told = answer.sequence.map(connection);
        let is_other = answer.relayed_address.is_some_and(|relayed| relayed != live.relayed)
            || told.is_some() && told != live.sequence.map(connection);
        if is_other {
            // The server had lost the first one.
            self.over(End::Lost(Failure::Expired));
            return self.allocated(tick, transaction, answer);
        }
        let lifetime = lifetime_of(answer).as_duration();
        live.until = transaction.began.after(lifetime);
        live.renew = transaction.began.after(renewal_of(lifetime));
        (live.refreshing, live.doubted) = (false, false);
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
                self.wanted = None;
                self.event(Event::NotAllocated(why));
            }
            Ask::Release => self.over(if is_gone { End::Released } else { End::Unconfirmed }),
            Ask::Refresh => self.not_refreshed(tick, why, refusal),
            Ask::Destination(peer) => {
                if let State::Live(live) = &mut self.state {
                    if refusal.is_none() {
                        // Nobody knows what the server made of it.
                        (live.destination, live.bare_from) = (None, Some(peer));
                    } else if live.destination.is_none() {
                        live.bare_from = None;
                    }
                    // Whether there is an allocation the next refresh shows, which is signed.
                    if is_gone {
                        (live.renew, live.doubted) = (Deadline::PAST, true);
                    }
                }
                self.event(Event::NotBound { peer, why });
            }
        }
    }

    /// While its time lasts, a server that is silent or in trouble is asked again.
    fn not_refreshed(&mut self, tick: Tick, why: Failure, refusal: Option<u16>) {
        let doubted = matches!(&self.state, State::Live(live) if live.doubted);
        if refusal.is_some_and(|code| code < 500 || doubted) || why == Failure::Full {
            return self.over(End::Lost(why));
        }
        let State::Live(live) = &mut self.state else { return };
        live.refreshing = false;
        if refusal.is_some() {
            live.renew = tick.after(SERVER_RETRY);
        }
    }
}

fn lifetime_of(answer: &Answer<'_>) -> Lifetime {
    let default = u32::try_from(ALLOCATION_LIFETIME_DEFAULT.as_secs()).unwrap_or(u32::MAX);
    answer.lifetime.unwrap_or(Lifetime::from_secs(default))
}
