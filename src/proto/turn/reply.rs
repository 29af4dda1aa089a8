//! Answers on their way out.

use std::net::SocketAddr;

use crate::proto::auth::challenge::Refusal;
use crate::proto::auth::integrity_key::OFFERED;
use crate::proto::auth::legacy;
use crate::proto::auth::ticket::Ticket;
use crate::proto::types::ConnectionId;
use crate::proto::types::Dialect;
use crate::proto::types::Entropy;
use crate::proto::types::Family;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::QuotaIdentity;
use crate::proto::types::RelayAddr;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::LegacyAttributes;
use crate::proto::wire::Method;
use crate::proto::wire::Outcome;
use crate::proto::wire::Request;
use crate::proto::wire::Response;
use crate::proto::wire::TransactionId;
use crate::proto::wire::UnknownAttributes;
use crate::proto::wire::ms_turn;
use crate::proto::wire::rfc8656::encode;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

use super::Event;
use super::Output;
use super::Server;
use super::drain::Elsewhere;
use super::retransmit::Key;

/// The bare product name: what a client may know, and an attacker cannot use (RFC 8656 § 21.1.6).
const SOFTWARE: &str = "Swingbridge";

/// Whom an answer goes to, and how it is signed.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) worker: WorkerId,
    pub(super) from: FiveTuple,
    pub(super) method: Method,
    pub(super) transaction: TransactionId,
    pub(super) fingerprint: bool,
    /// `None` for a request that was not authenticated.
    pub(super) signature: Option<(MacKey, Algorithm)>,
    pub(super) dialect: Dialect,
    /// What the answer tells of [MS-TURN]: the version, and the number of the request.
    pub(super) legacy: LegacyAttributes,
}

impl Asker {
    pub(super) fn new(worker: WorkerId, from: FiveTuple, request: &Request<'_>) -> Self {
        Self {
            worker,
            from,
            method: request.method,
            transaction: request.transaction,
            fingerprint: request.fingerprint,
            signature: None,
            dialect: request.dialect,
            legacy: LegacyAttributes {
                version: (request.method == Method::Allocate).then(|| legacy::version_for(request)),
                sequence: request.legacy.sequence,
                ..LegacyAttributes::default()
            },
        }
    }

    pub(super) fn signed(self, key: MacKey, algorithm: Algorithm) -> Self {
        Self { signature: Some((key, algorithm)), ..self }
    }

    pub(super) const fn key(&self) -> Key {
        Key { from: self.from, method: self.method, transaction: self.transaction }
    }
}

/// What a success response carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) relayed: Option<RelayAddr>,
    pub(super) mapped: Option<SocketAddr>,
    pub(super) lifetime: Option<Lifetime>,
    pub(super) reservation_token: Option<[u8; 8]>,
    /// The second address of a dual allocation.
    pub(super) additional: Option<RelayAddr>,
    /// The family that a dual allocation did not get, and why.
    pub(super) address_error: Option<(Family, ErrorCode)>,
    pub(super) ticket: Option<Ticket>,
    /// A peer's connection.
    pub(super) connection: Option<ConnectionId>,
}

/// A request that is well understood and refused: always answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reject {
    pub(super) code: ErrorCode,
    pub(super) unknown: UnknownAttributes,
}

impl From<ErrorCode> for Reject {
    fn from(code: ErrorCode) -> Self {
        Self { code, unknown: UnknownAttributes::default() }
    }
}

/// What a method makes of a request.
pub(super) enum Answer {
    /// Answered at once.
    Now(Grant),
    /// Answered when the worker has spoken, or not at all because an earlier copy will be.
    Later,
}

/// Whether an answer may be given again to a repeated request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Yes,
    /// The request did not pass authentication: its repetition is judged anew.
    No,
}

impl<E: Entropy> Server<E> {
    pub(super) fn succeed(&mut self, now: Now, asker: &Asker, grant: Grant) {
        self.send(now, asker, Outcome::Success, grant, UnknownAttributes::default(), Keep::Yes);
    }

    pub(super) fn reject(&mut self, now: Now, asker: &Asker, reject: Reject) {
        self.send(now, asker, Outcome::Error(reject.code), Grant::default(), reject.unknown, Keep::Yes);
    }

    /// Sends what a method made of a request of whom `quota` counts, unless the answer comes later.
    pub(super) fn settle_answer(
        &mut self,
        now: Now,
        asker: &Asker,
        quota: Option<QuotaIdentity>,
        answer: Result<Answer, Reject>,
    ) {
        match answer {
            Ok(Answer::Now(grant)) => self.succeed(now, asker, grant),
            Ok(Answer::Later) => {}
            Err(reject) => {
                self.note_refusal(asker, quota, reject.code);
                self.reject(now, asker, reject);
            }
        }
    }

    /// Answers a request that did not pass authentication.
    pub(super) fn refuse(&mut self, now: Now, asker: Asker, refusal: Refusal) {
        let asker = Asker { signature: refusal.signature, ..asker };
        let outcome = Outcome::Error(refusal.code);
        self.send(now, &asker, outcome, Grant::default(), UnknownAttributes::default(), Keep::No);
    }

    /// Gives the answer again that this very request got a moment ago.
    pub(super) fn repeat_answer(&mut self, now: Now, asker: &Asker) -> bool {
        let Some(mut bytes) = self.answers.find(now, &asker.key()) else { return false };
        if bytes.is_empty() {
            // What `send` left out.
            let mut buffer = [0; limits::RESPONSE_MAX];
            let (nothing, none) = (Grant::default(), UnknownAttributes::default());
            let len = self.encode(now, asker, Outcome::Success, &nothing, none, &mut buffer);
            bytes = buffer[..len].into();
        }
        self.event(Event::AnswerRepeated);
        self.outputs.push_back(Output::Reply { worker: asker.worker, to: asker.from, bytes });
        true
    }

    fn send(
        &mut self,
        now: Now,
        asker: &Asker,
        outcome: Outcome,
        grant: Grant,
        unknown_attributes: UnknownAttributes,
        keep: Keep,
    ) {
        let code = match outcome {
            Outcome::Success => None,
            Outcome::Error(code) => Some(code),
        };
        let mut buffer = [0; limits::RESPONSE_MAX];
        let len = match asker.dialect {
            Dialect::Rfc8656 => self.encode(now, asker, outcome, &grant, unknown_attributes, &mut buffer),
            Dialect::MsTurn => {
                self.encode_legacy(now, asker, outcome, &grant, unknown_attributes, &mut buffer)
            }
        };
        if keep == Keep::Yes {
            // A success that grants nothing new is made from the request and its key alone, and so can be made again.
            let is_plain = outcome == Outcome::Success && grant == Grant::default();
            let kept = if is_plain && asker.dialect == Dialect::Rfc8656 { 0 } else { len };
            self.answers.keep(now, asker.key(), &buffer[..kept]);
        }
        self.event(Event::Answered { method: asker.method, code });
        self.outputs.push_back(Output::Reply {
            worker: asker.worker,
            to: asker.from,
            bytes: buffer[..len].into(),
        });
    }

    fn encode(
        &self,
        now: Now,
        asker: &Asker,
        outcome: Outcome,
        grant: &Grant,
        unknown_attributes: UnknownAttributes,
        out: &mut [u8],
    ) -> usize {
        let code = match outcome {
            Outcome::Success => None,
            Outcome::Error(code) => Some(code),
        };
        let challenger = &self.config.challenger;
        let challenge = matches!(code, Some(ErrorCode::Unauthenticated | ErrorCode::StaleNonce));
        let nonce = challenge.then(|| self.mint_nonce(now, &asker.from));
        // RFC 8656 § 5: SHOULD be in Allocate and Refresh answers; a stranger does not learn it.
        let told = matches!(asker.method, Method::Allocate | Method::Refresh) && asker.signature.is_some();
        let elsewhere = match code {
            Some(ErrorCode::TryAlternate) => self.elsewhere(&asker.from),
            _ => Elsewhere::default(),
        };
        let response = Response {
            method: asker.method,
            transaction: asker.transaction,
            outcome,
            mapped_address: grant.mapped,
            relayed_address: grant.relayed,
            lifetime: grant.lifetime,
            reservation_token: grant.reservation_token,
            unknown_attributes,
            realm: challenge.then_some(challenger.realm.as_bytes()),
            nonce: nonce.as_ref().map(|nonce| &nonce.0[..]),
            password_algorithms: challenge.then_some(&OFFERED),
            software: told.then_some(SOFTWARE),
            third_party: challenger.third_party_for(outcome),
            alternate_server: elsewhere.first,
            additional_relayed_address: grant.additional,
            address_error: grant.address_error,
            mobility_ticket: grant.ticket.as_ref().map(|ticket| &ticket.0[..]),
            additional_alternate_server: elsewhere.other_family,
            legacy: LegacyAttributes::default(),
            connection_id: grant.connection,
        };
        let signature =
            asker.signature.as_ref().map(|(key, algorithm)| Signature { key, algorithm: *algorithm });
        encode::encode_response(&response, signature, asker.fingerprint, out)
            .expect("the longest realm and nonce fit RESPONSE_MAX")
    }

    /// In [MS-TURN] what could not be proved is not signed and carries a challenge; all else is signed.
    fn encode_legacy(
        &self,
        now: Now,
        asker: &Asker,
        outcome: Outcome,
        grant: &Grant,
        unknown_attributes: UnknownAttributes,
        out: &mut [u8],
    ) -> usize {
        let challenge = asker.signature.is_none() && asker.method == Method::Allocate;
        let nonce = challenge.then(|| self.mint_nonce(now, &asker.from));
        let mut response = Response::new(asker.method, asker.transaction, outcome);
        response.unknown_attributes = unknown_attributes;
        response.mapped_address = grant.mapped;
        response.relayed_address = grant.relayed;
        response.lifetime = grant.lifetime;
        response.realm = challenge.then_some(self.config.challenger.realm.as_bytes());
        response.nonce = nonce.as_ref().map(|nonce| &nonce.0[..]);
        response.legacy = asker.legacy;
        if outcome == Outcome::Success && asker.method == Method::Allocate {
            let rate = self.config.bandwidth_per_allocation;
            response.legacy.bandwidth_kbit_s =
                rate.and_then(|rate| u32::try_from(rate.bits_per_s() / 1_000).ok());
            if let Some(allocation) = self.allocations.of(&asker.from) {
                response.legacy.sequence = allocation.sequence_told(asker.legacy.sequence);
            }
        }
        if outcome == Outcome::Error(ErrorCode::TryAlternate) {
            response.alternate_server = self.elsewhere(&asker.from).first;
        }
        let key = asker.signature.as_ref().map(|(key, _)| key);
        ms_turn::encode::encode_response(&response, key, out)
            .expect("only what is answered in this dialect comes here, and it fits RESPONSE_MAX")
    }
}
