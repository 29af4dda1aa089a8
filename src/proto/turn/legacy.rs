//! Requests of clients that speak [MS-TURN], from their bytes to their method.
//!
//! ```text
//!  Allocate ──▶ credentials, nonce ──▶ answered before? ──▶ number or transaction id met before? ──▶ a new allocation,
//!                                                                                                    a refresh, an end
//!  Send, Set Active Destination ──▶ the allocation's own key ──▶ answered before? ──▶ met before? ──▶ carried out
//! ```
//!
//! A Send is never answered, whatever is wrong with it ([MS-TURN] § 2.2.1).

use crate::proto::auth::challenge::Refusal;
use crate::proto::auth::legacy;
use crate::proto::auth::legacy::LegacySession;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::Tick;
use crate::proto::types::Username;
use crate::proto::types::WorkerId;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Request;
use crate::proto::wire::SequenceNumber;
use crate::proto::wire::StreamKind;
use crate::proto::wire::ms_turn::decode;
use crate::proto::wire::rfc8656::integrity::Algorithm;

use super::Event;
use super::Server;
use super::allocation::Allocation;
use super::replay::Repetition;
use super::reply::Asker;
use super::sequence::Order;
use super::sequence::Window;
use super::server::check_attributes;

/// What an allocation of this dialect keeps besides.
#[derive(Debug)]
pub(super) struct Legacy {
    /// The nonce of its Allocate, good as long as the allocation, or a newer one of a refresh.
    pub(super) nonce: Box<[u8]>,
    /// When that was minted.
    pub(super) issued: Tick,
    /// Which numbers were met.
    pub(super) window: Window,
    /// What it is for.
    pub(super) stream: StreamKind,
    /// Where bare data goes to: told again to a worker that panicked.
    pub(super) destination: Option<PeerAddr>,
}

impl Legacy {
    /// Of an allocation that is just being made by `request`.
    pub(super) fn new(request: &Request<'_>, issued: Tick, entropy: &mut impl Entropy) -> Self {
        let mut connection = [0; 20];
        entropy.fill_secret(&mut connection);
        let nonce = request.auth.nonce.unwrap_or_default().into();
        let stream = StreamKind::of(request.legacy.service_quality);
        Self { nonce, issued, window: Window::new(connection), stream, destination: None }
    }
}

/// Whether a request, whose MAC is right, was met before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    No,
    Before,
    /// The transactions that an allocation can tell apart are used up: another nonce is needed.
    NoRoom,
}

impl<E: Entropy> Server<E> {
    pub(super) fn legacy_message(&mut self, now: Now, worker: WorkerId, from: FiveTuple, bytes: &[u8]) {
        let Ok(request) = decode::decode_request(bytes) else {
            return self.event(Event::Discarded);
        };
        let asker = Asker::new(worker, from, &request);
        match request.method {
            Method::Allocate => self.legacy_allocate_asked(now, asker, &request),
            _ => self.legacy_within(now, asker, &request),
        }
    }

    /// An Allocate: whoever asks must prove who they are.
    fn legacy_allocate_asked(&mut self, now: Now, asker: Asker, request: &Request<'_>) {
        let allocation = self.allocations.of(&asker.from);
        let session = allocation.and_then(|allocation| {
            let Legacy { nonce, issued, .. } = allocation.legacy.as_deref()?;
            Some(LegacySession { key: &allocation.owner, nonce: (nonce, *issued) })
        });
        let judged = legacy::authenticate(
            &self.config.challenger,
            &self.config.credentials,
            now,
            &asker.from,
            request,
            session,
            self.config.legacy.wrong_mac,
        );
        let (who, issued) = match judged {
            Ok(proved) => proved,
            Err(code) => {
                self.note_refusal(&asker, None, code);
                return self.refuse(now, asker, Refusal::unsigned(code));
            }
        };
        let asker = asker.signed(who.key.clone(), Algorithm::Sha1);
        if self.repeat_answer(now, &asker) {
            return;
        }
        let met = match self.allocations.of(&asker.from) {
            None if self.is_nonce_dead(&asker.from, issued) => Met::NoRoom,
            None => Met::No,
            // Another user's request on this five-tuple changes nothing, however often it comes.
            Some(allocation) if allocation.owner.username != who.username => Met::No,
            Some(_) => self.met(now, &asker, request, issued),
        };
        match met {
            Met::No => {}
            Met::Before => return self.event(Event::ReplayDropped),
            Met::NoRoom => return self.refuse(now, asker, Refusal::unsigned(ErrorCode::StaleNonce)),
        }
        let (quota, user) = (who.quota.clone(), who.username.clone());
        let answer = check_attributes(request, false)
            .and_then(|()| self.legacy_allocate(now, &asker, who, request, issued));
        self.settle_answer(now, &asker, Some(quota), answer);
        self.keep_legacy_nonce(&asker, &user, request, issued);
        self.keep_transaction(&asker, &user, issued);
    }

    /// A request that means something within an allocation alone, and is judged by what that keeps.
    fn legacy_within(&mut self, now: Now, asker: Asker, request: &Request<'_>) {
        let challenger = &self.config.challenger;
        let owner = match self.allocations.of(&asker.from) {
            Some(allocation) if allocation.legacy.is_some() => {
                let session = &allocation.owner;
                legacy::is_of_session(challenger, session, request).then(|| session.clone())
            }
            _ => return self.legacy_refuse(now, asker, ErrorCode::AllocationMismatch),
        };
        let Some(owner) = owner else {
            return self.legacy_refuse(now, asker, self.config.legacy.wrong_mac.code());
        };
        let asker = asker.signed(owner.key.clone(), Algorithm::Sha1);
        if self.repeat_answer(now, &asker) {
            return;
        }
        let issued = self.legacy_of(&asker.from).map_or(Tick::from_millis(0), |legacy| legacy.issued);
        // Without a number nothing but the transaction id is left to tell it by, unless that is not enough.
        let lenient = !self.config.legacy.strict_sequence_numbers;
        let unnumbered = request.legacy.sequence.is_none();
        let counts = self.legacy_of(&asker.from).is_some_and(|legacy| legacy.window.is_used());
        if unnumbered && (counts || !lenient) {
            return self.event(Event::ReplayDropped);
        }
        if self.met(now, &asker, request, issued) != Met::No {
            return self.event(Event::ReplayDropped);
        }
        let answer = check_attributes(request, false).and_then(|()| match request.method {
            Method::Send => self.legacy_send(now, &asker, request),
            _ => self.set_active_destination(now, &asker, request),
        });
        match (request.method, answer) {
            (Method::Send, Ok(_)) => {}
            (Method::Send, Err(_)) => self.event(Event::Discarded),
            (_, answer) => self.settle_answer(now, &asker, Some(owner.quota), answer),
        }
        if unnumbered {
            self.keep_transaction(&asker, &owner.username, issued);
        }
    }

    /// Refuses what could not be proved, but for a Send.
    fn legacy_refuse(&mut self, now: Now, asker: Asker, code: ErrorCode) {
        match asker.method {
            Method::Send => self.event(Event::Discarded),
            _ => self.refuse(now, asker, Refusal::unsigned(code)),
        }
    }

    /// Judges a request of a five-tuple that has an allocation: by its number if it has one, else by its transaction. A
    /// new number is noted.
    fn met(&mut self, now: Now, asker: &Asker, request: &Request<'_>, issued: Tick) -> Met {
        let Some(allocation) = self.allocations.of_mut(&asker.from) else { return Met::No };
        let Some(sequence) = request.legacy.sequence else {
            return allocation.met_transaction(now, asker, issued);
        };
        let Some(legacy) = allocation.legacy.as_deref_mut() else { return Met::Before };
        match legacy.window.judge(sequence) {
            Order::New => {
                legacy.window.note(sequence.number);
                Met::No
            }
            Order::Repeated | Order::TooOld | Order::Foreign | Order::Last => Met::Before,
        }
    }

    /// A refresh of the same user under a newer nonce makes that the allocation's.
    fn keep_legacy_nonce(&mut self, asker: &Asker, user: &Username, request: &Request<'_>, issued: Tick) {
        let allocation = self.allocations.of_mut(&asker.from);
        let Some(allocation) = allocation.filter(|allocation| allocation.owner.username == *user) else {
            return;
        };
        if let Some(legacy) = allocation.legacy.as_deref_mut().filter(|legacy| issued > legacy.issued) {
            legacy.nonce = request.auth.nonce.unwrap_or_default().into();
            legacy.issued = issued;
        }
    }

    /// What `from` is granted. On a stream a client of [MS-TURN] that names no time is told how long its connection may last,
    /// so that it need not refresh ([`Allocation::until`]).
    pub(super) fn lifetime_for(
        &self,
        now: Now,
        from: &FiveTuple,
        request: &Request<'_>,
        session_ends: Deadline,
    ) -> Lifetime {
        if request.dialect == Dialect::MsTurn && from.transport.is_stream() && request.lifetime.is_none() {
            let longest = session_ends.remaining(now.tick()).min(self.config.session_lifetime_max);
            return Lifetime::from_secs(u32::try_from(longest.as_secs()).unwrap_or(u32::MAX));
        }
        Lifetime::granted(request.lifetime, self.config.lifetime_default, self.config.lifetime_max)
    }

    fn legacy_of(&self, from: &FiveTuple) -> Option<&Legacy> {
        self.allocations.of(from).and_then(|allocation| allocation.legacy.as_deref())
    }

    /// The dialect that a message from `from` is in: that of its allocation, else what its first bytes say.
    pub(super) fn dialect_of(&self, from: &FiveTuple, bytes: &[u8]) -> Dialect {
        use crate::proto::wire::classify::Class;
        use crate::proto::wire::classify::classify;
        match self.allocations.of(from) {
            Some(allocation) => allocation.dialect,
            None if self.config.challenger.legacy && classify(bytes, None) == Class::Legacy => {
                Dialect::MsTurn
            }
            None => Dialect::Rfc8656,
        }
    }
}

impl Allocation {
    /// When an allocation ends that `lifetime` is granted to now. On a stream one of [MS-TURN] lives as long as its connection
    /// and its session, whatever the client was told: libnice loses its way among the bytes over the answer to a refresh
    /// there, and behind the hellos of pseudo-TLS it sends none.
    pub(super) fn until(&self, now: Now, lifetime: Lifetime) -> Deadline {
        match self.dialect {
            Dialect::MsTurn if self.five_tuple.transport.is_stream() => self.session_ends,
            _ => now.after(lifetime.as_duration()),
        }
    }

    /// What the answer to an Allocate tells of the number: that of the request, if it was this allocation's; else the
    /// one that a client begins with, as long as it has used none.
    pub(super) fn sequence_told(&self, asked: Option<SequenceNumber>) -> Option<SequenceNumber> {
        let window = &self.legacy.as_deref()?.window;
        let first = window.first();
        let asked = asked.filter(|asked| asked.connection == first.connection);
        asked.or_else(|| (!window.is_used()).then_some(first))
    }

    fn met_transaction(&mut self, now: Now, asker: &Asker, issued: Tick) -> Met {
        match self.transactions.judge(now.tick(), issued, asker.transaction) {
            Repetition::New => Met::No,
            // Not a replay: its answer waits for the worker, and will serve for this copy too.
            Repetition::Accepted if self.owes(&asker.key()) => Met::No,
            Repetition::Accepted => Met::Before,
            Repetition::NonceDead => Met::NoRoom,
        }
    }
}
