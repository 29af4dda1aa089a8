//! The door of the control plane's heart: one input in, outputs out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::proto::auth::challenge;
use crate::proto::auth::challenge::Greeting;
use crate::proto::auth::challenge::Proved;
use crate::proto::auth::challenge::Refusal;
use crate::proto::auth::ticket::Tickets;
use crate::proto::peers::LiveRelays;
use crate::proto::types::ClientAddr;
use crate::proto::types::ConnectionId;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::QuotaIdentity;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Request;
use crate::proto::wire::rfc8656::attributes;
use crate::proto::wire::rfc8656::decode;

use super::Config;
use super::Event;
use super::Input;
use super::Output;
use super::allocation::Allocation;
use super::allocation::Allocations;
use super::bandwidth::Lender;
use super::bandwidth::Source;
use super::bandwidth::UserBuckets;
use super::connections::Connections;
use super::input::Command;
use super::ports::PortCensus;
use super::ports::PortPool;
use super::quota::Quota;
use super::rebuild::Rebuilds;
use super::reconfigure::Revoking;
use super::replay::DeadNonces;
use super::replay::Repetition;
use super::reply::Answer;
use super::reply::Asker;
use super::reply::Reject;
use super::retransmit::AnswerCache;
use super::timers::Wheel;

/// The TURN server of RFC 8656, without sockets and clocks.
///
/// After each call of [`Self::handle_input`] or [`Self::handle_timeout`] take every output, then give the next
/// input. What one call puts out is at most [`limits::OUTPUTS_PER_INPUT_MAX`].
#[derive(Debug)]
pub struct Server<E> {
    pub(super) config: Config,
    pub(super) entropy: E,
    pub(super) allocations: Allocations,
    /// Of each relay address the ports of UDP, and then of each those of TCP: see [`super::legs::Leg::pool`].
    pub(super) pools: Vec<PortPool>,
    pub(super) per_user: Quota<QuotaIdentity>,
    pub(super) per_address: Quota<std::net::IpAddr>,
    pub(super) live: LiveRelays,
    pub(super) answers: AnswerCache,
    pub(super) timers: Wheel<Timer>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) hasher: Arc<ahash::RandomState>,
    /// Set while all allocations are being ended: the next slot to look at.
    pub(super) ending: Option<usize>,
    pub(super) dead: DeadNonces,
    pub(super) user_buckets: UserBuckets,
    /// Whether no new allocation is made.
    pub(super) draining: bool,
    /// Set while what a new peer policy denies is being revoked.
    pub(super) revoking: Option<Revoking>,
    pub(super) tickets: Tickets,
    /// Workers that panicked and are being told their tables.
    pub(super) rebuilds: Rebuilds,
    /// Those over which connections run: a port of TCP says nothing of the same port of UDP.
    pub(super) live_tcp: LiveRelays,
    pub(super) connections: Connections,
    pub(super) bucket_source: Source,
}

/// Whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The allocation's lifetime is over, unless it was extended.
    Lifetime(RelayId),
    /// The worker should have said by now whether the relay socket is open.
    Opening(RelayId),
    /// A peer's connection has waited long enough, unless it got on.
    Connection(ConnectionId),
}

/// Why the server wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wake {
    /// Allocations are being ended, and there are more.
    Ending,
    /// Permissions and channels are being revoked, and there are more.
    Revoking,
    /// A lifetime may be over, or a worker late.
    Timer,
    /// An answer need not be kept any longer.
    Answers,
    /// A worker is being told its table, and there is more.
    Rebuilding,
}

/// How full the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Allocations in any phase.
    pub allocations: usize,
    /// Relayed transport addresses in use: two of a dual allocation.
    pub live: usize,
    /// Answers kept for retransmissions.
    pub answers: usize,
    /// Five-tuples whose nonces died with an allocation.
    pub five_tuples_dead: usize,
    /// The ports of each relay address, in the order of the configuration.
    pub ports: Vec<PortCensus>,
    /// Its ports of TCP, likewise.
    pub ports_tcp: Vec<PortCensus>,
    /// Peers' connections with TCP allocations.
    pub connections: usize,
}

impl<E: Entropy> Server<E> {
    /// A server without allocations. `entropy` also seeds its hash tables.
    pub fn new(config: Config, mut entropy: E) -> Self {
        let mut hasher = || {
            let mut seeds = [[0; 8]; 4];
            seeds.iter_mut().for_each(|seed| entropy.fill_secret(seed));
            let [a, b, c, d] = seeds.map(u64::from_le_bytes);
            ahash::RandomState::with_seeds(a, b, c, d)
        };
        Self {
            allocations: Allocations::new(hasher()),
            pools: (0..config.relays.len() * 2).map(|_| PortPool::new(&config.ports)).collect(),
            per_user: Quota::new(config.allocations_per_user, hasher()),
            per_address: Quota::new(config.allocations_per_address, hasher()),
            live: LiveRelays::new(Arc::new(hasher())),
            answers: AnswerCache::new(hasher()),
            timers: Wheel::new(),
            outputs: VecDeque::new(),
            hasher: Arc::new(hasher()),
            ending: None,
            dead: DeadNonces::new(hasher()),
            user_buckets: UserBuckets::new(config.bandwidth_per_user, hasher()),
            live_tcp: LiveRelays::new(Arc::new(hasher())),
            connections: Connections::new(hasher()),
            draining: false,
            revoking: None,
            tickets: Tickets::new(&mut entropy),
            rebuilds: Rebuilds::default(),
            bucket_source: Source::default(),
            config,
            entropy,
        }
    }

    /// Takes buckets of allocations to come, and of users, from `lender`.
    #[must_use]
    pub fn lent_by(mut self, lender: Box<dyn Lender>) -> Self {
        self.bucket_source = Source::of(lender);
        self
    }

    /// Takes in one thing that happened.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Message { worker, from, dialect: _, bytes } => self.message(now, worker, from, bytes),
            Input::RelayOpened { relay, bound } => self.relay_opened(now, relay, bound),
            Input::RelayFailed { relay, why } => self.relay_failed(now, relay, why),
            Input::RelayClosed { worker, relay, counters } => self.relay_closed(now, worker, relay, counters),
            Input::Command(Command::EndAll) => self.end_all(),
            Input::Command(Command::Drain) => self.drain(),
            Input::Reconfigure(to) => self.reconfigure(*to),
            Input::RelayDetached { relay, given } => self.relay_detached(now, relay, given),
            Input::ClientArrived { from } => self.client_arrived(now, from),
            Input::ClientGone { worker, from } => self.client_gone(worker, &from),
            Input::WorkerRestarted { worker, epoch, carried } => {
                self.worker_restarted(worker, epoch, &carried);
            }
            Input::Peer { worker, report } => self.peer_report(now, worker, report),
        }
        debug_assert!(self.outputs.len() <= limits::OUTPUTS_PER_INPUT_MAX);
    }

    /// Does what is due. Where more is due than fits one call, [`Self::poll_timeout`] says "at once".
    pub fn handle_timeout(&mut self, now: Now) {
        self.answers.expire(now);
        self.dead.expire(now.tick(), self.config.challenger.nonce_lifetime);
        // Before all else: what is revoked must not be granted once more.
        if !self.rebuilds.is_empty() {
            return self.rebuild(now);
        }
        if self.ending.is_none() && self.can_revoke() {
            return self.revoke(now);
        }
        for _ in 0..limits::TIMERS_PER_CALL_MAX {
            if self.ending.is_some() {
                self.end_next();
                continue;
            }
            let Some(timer) = self.timers.pop_due(now.tick()) else {
                break;
            };
            match timer {
                Timer::Lifetime(relay) => self.lifetime_due(now, relay),
                Timer::Opening(relay) => self.opening_due(now, relay),
                Timer::Connection(id) => self.connection_due(now, id),
            }
        }
        debug_assert!(self.outputs.len() <= limits::OUTPUTS_PER_INPUT_MAX);
    }

    /// The next thing to be done, in order; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next worth calling, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Deadline, Wake)> {
        let rebuilding = (!self.rebuilds.is_empty()).then_some((Deadline::PAST, Wake::Rebuilding));
        let ending = self.ending.map(|_| (Deadline::PAST, Wake::Ending));
        let revoking = self.can_revoke().then_some((Deadline::PAST, Wake::Revoking));
        let timer = self.timers.next_wake().map(|deadline| (deadline, Wake::Timer));
        let answers = self.answers.next_expiry().map(|deadline| (deadline, Wake::Answers));
        [rebuilding, ending, revoking, timer, answers].into_iter().flatten().min()
    }

    /// How full the server is.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let (udp, tcp) = self.pools.split_at(self.config.relays.len());
        Occupancy {
            allocations: self.allocations.len(),
            live: self.live.len() + self.live_tcp.len(),
            answers: self.answers.len(),
            five_tuples_dead: self.dead.len(),
            ports: udp.iter().map(PortPool::census).collect(),
            ports_tcp: tcp.iter().map(PortPool::census).collect(),
            connections: self.connections.len(),
        }
    }

    fn message(&mut self, now: Now, worker: WorkerId, from: FiveTuple, bytes: &[u8]) {
        match self.dialect_of(&from, bytes) {
            Dialect::Rfc8656 => self.rfc8656_message(now, worker, from, bytes),
            Dialect::MsTurn => self.legacy_message(now, worker, from, bytes),
        }
    }

    fn rfc8656_message(&mut self, now: Now, worker: WorkerId, from: FiveTuple, bytes: &[u8]) {
        let Ok(request) = decode::decode_request(bytes) else {
            return self.event(Event::Discarded);
        };
        let asker = Asker::new(worker, from, &request);
        match request.method {
            Method::Binding => return self.binding(now, &asker, bytes),
            // RFC 8489 § 6.3: a method that is not known is silently discarded.
            Method::Unknown(_) | Method::Send | Method::SetActiveDestination => {
                return self.event(Event::Discarded);
            }
            _ => {}
        }
        let Ok(allocation) = self.concerned(worker, &from, &request) else { return };
        let session = allocation.map(|allocation| &allocation.owner);
        let verdict = challenge::authenticate(
            &self.config.challenger,
            &self.config.credentials,
            now,
            &from,
            &request,
            session,
        );
        let Proved { client: who, algorithm, issued } = match verdict {
            Ok(proved) => proved,
            Err(refusal) => {
                self.note_refusal(&asker, None, refusal.code);
                return self.refuse(now, asker, refusal);
            }
        };
        let asker = asker.signed(who.key.clone(), algorithm);
        if self.repeat_answer(now, &asker) {
            return;
        }
        match self.repetition(now, &asker, &who, issued) {
            Repetition::New => {}
            Repetition::Accepted => return self.event(Event::ReplayDropped),
            Repetition::NonceDead => {
                let refusal = Refusal::stale_nonce(&who.key, algorithm);
                return self.refuse(now, asker, refusal);
            }
        }
        let (quota, user) = (who.quota.clone(), who.username.clone());
        let takes_tokens = self.config.credentials.takes_tokens();
        let answer = check_attributes(&request, takes_tokens).and_then(|()| match request.method {
            Method::Allocate => self.allocate(now, &asker, who, &request),
            Method::Refresh => self.refresh(now, &asker, &who, &request),
            Method::CreatePermission => self.create_permission(now, &asker, &who, &request),
            Method::ChannelBind => self.channel_bind(now, &asker, &who, &request),
            Method::Connect => self.connect(now, &asker, &who, &request),
            Method::ConnectionBind => self.connection_bind(now, &asker, &who, &request),
            Method::Binding | Method::Unknown(_) | Method::Send | Method::SetActiveDestination => {
                unreachable!("answered or discarded above")
            }
        });
        if let Ok(Answer::Now(_)) = answer {
            self.note_request_from(now, &asker, &request);
        }
        self.settle_answer(now, &asker, Some(quota), answer);
        self.keep_transaction(&asker, &user, issued);
    }

    /// The allocation that a request is judged by, if there is one. [`Later`] where nobody can be answered now: the client
    /// asks again.
    fn concerned(
        &self,
        worker: WorkerId,
        from: &FiveTuple,
        request: &Request<'_>,
    ) -> Result<Option<&Allocation>, Later> {
        let allocation = self.allocations.of(from);
        // On its way from worker to worker, the client finds it there.
        if allocation.is_some_and(|allocation| allocation.mobility.transit.is_some()) {
            return Err(Later);
        }
        // Who comes with a ticket is judged as where the ticket comes from; a ticket alone proves nothing.
        let allocation =
            allocation.or_else(|| self.named_by_ticket(request).map(|(allocation, _)| allocation));
        let allocation = allocation.or_else(|| self.named_by_connection(request));
        // What is answered must be so in the table.
        let at = allocation.map(|allocation| allocation.worker);
        let waits = std::iter::once(worker).chain(at).any(|worker| self.is_rebuilding(worker));
        if waits { Err(Later) } else { Ok(allocation) }
    }

    /// RFC 8489 § 7: a Binding request needs no credentials, whoever sends it.
    fn binding(&mut self, now: Now, asker: &Asker, bytes: &[u8]) {
        let mut answer = [0; limits::RESPONSE_MAX];
        match self.config.challenger.greet(now.tick(), &asker.from, bytes, &mut answer) {
            Greeting::Answer { len, code, to } => {
                self.event(Event::Answered { method: Method::Binding, code });
                self.outputs.push_back(Output::Reply {
                    worker: asker.worker,
                    to,
                    bytes: answer[..len].into(),
                });
            }
            Greeting::ToControl | Greeting::Malformed => self.event(Event::Discarded),
        }
    }

    pub(super) fn note_refusal(&mut self, asker: &Asker, user: Option<QuotaIdentity>, code: ErrorCode) {
        // The first 401 and a new nonce are how every honest client begins: no refusal worth a line.
        if asker.method == Method::Allocate && code != ErrorCode::StaleNonce {
            self.event(Event::AllocationRefused { five_tuple: asker.from, user, code });
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn source(client: ClientAddr) -> std::net::IpAddr {
        super::quota::source(client)
    }
}

/// Nobody can be answered now.
struct Later;

/// RFC 8489 § 6.3.1: what must be understood and is not gets 420; what is understood and wrong gets 400.
pub(super) fn check_attributes(request: &Request<'_>, takes_tokens: bool) -> Result<(), Reject> {
    let mut unknown = request.unknown;
    if request.auth.access_token.is_some() && !takes_tokens {
        unknown.push(attributes::ACCESS_TOKEN);
    }
    if !unknown.is_empty() {
        return Err(Reject { code: ErrorCode::UnknownAttribute, unknown });
    }
    match request.bad_attribute {
        Some(_) => Err(ErrorCode::BadRequest.into()),
        None => Ok(()),
    }
}
