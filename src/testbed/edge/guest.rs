//! One client, and its server behind the saboteur.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::auth::nonce::NonceKey;
use crate::proto::types::ClientAddr;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Transport;
use crate::proto::types::limits::TESTBED_LATER_MAX;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::testbed::scenario::Do;
use crate::testbed::scenario::Moment;
use crate::testbed::scenario::Scenario;

use super::Kind;
use super::Setup;
use super::core::Core;
use super::core::Leaves;
use super::core::challenger;
use super::judge::Judge;
use super::sabotage::Occasion;
use super::sabotage::Sabotage;
use super::source::Source;

/// Requests whose keys are remembered until their answers leave.
const SIGNATURES: usize = 64;
/// Five-tuples that a client is remembered to have had.
const ALIASES: usize = 64;

/// What leaves, for the edge to carry out.
#[derive(Debug)]
pub(super) enum Out {
    Tell {
        to: FiveTuple,
        bytes: Box<[u8]>,
    },
    ToPeer {
        at: SocketAddr,
        to: SocketAddr,
        bytes: Box<[u8]>,
    },
    Bind {
        at: SocketAddr,
    },
    Unbind {
        at: SocketAddr,
    },
    /// The client's connections are cut.
    Cut,
    Note {
        kind: Kind,
        from: Option<SocketAddr>,
        words: String,
    },
}

/// Something that comes later.
#[derive(Debug)]
pub(super) enum Late {
    Request { from: FiveTuple, bytes: Box<[u8]> },
    Answer { to: FiveTuple, bytes: Box<[u8]> },
    ToPeer { relay: RelayId, to: SocketAddr, bytes: Box<[u8]> },
    FromPeer { relay: RelayId, from: SocketAddr, bytes: Box<[u8]> },
}

/// A relay socket.
#[derive(Debug)]
pub(super) struct Port {
    /// The port as the core knows it.
    wanted: RelayAddr,
    /// Where it is bound.
    pub(super) at: SocketAddr,
    is_bound: bool,
    /// Where it is about to go.
    pub(super) next: Option<SocketAddr>,
}

/// One client, and its server.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) name: Arc<str>,
    pub(super) scenario: Arc<Scenario>,
    pub(super) core: Core,
    pub(super) sabotage: Sabotage,
    pub(super) judge: Judge,
    pub(super) relays: BTreeMap<RelayId, Port>,
    pub(super) out: VecDeque<Out>,
    pub(super) dice: Source,
    setup: Arc<Setup>,
    signatures: VecDeque<(TransactionId, MacKey, Algorithm)>,
    /// Refusals of the saboteur: who repeats the same request gets the same answer.
    refused: VecDeque<(TransactionId, Box<[u8]>)>,
    later: BTreeMap<(Deadline, u64), Late>,
    number: u64,
    mtu: Option<u16>,
    /// How often its NAT has taken another port, and whose real five-tuple each shown one is.
    rebinds: u32,
    real: HashMap<FiveTuple, FiveTuple>,
    /// When the saboteur ends its allocation.
    pub(super) ends: Option<Deadline>,
    /// Nonces that the saboteur has called stale: they stay so.
    pub(super) stale: VecDeque<Box<[u8]>>,
}

impl Guest {
    pub(super) fn new(
        name: Arc<str>,
        scenario: Arc<Scenario>,
        setup: Arc<Setup>,
        nonce_key: NonceKey,
        entropy: &mut impl Entropy,
    ) -> Self {
        let challenger = challenger(&setup, &setup.realm, nonce_key);
        let core = Core::new(&setup, challenger, name.as_bytes(), Source::from(entropy));
        Self {
            sabotage: Sabotage::new(Arc::clone(&scenario)),
            judge: Judge::new(scenario.expect.clone()),
            name,
            scenario,
            core,
            relays: BTreeMap::new(),
            out: VecDeque::new(),
            dice: Source::from(entropy),
            setup,
            signatures: VecDeque::new(),
            refused: VecDeque::new(),
            later: BTreeMap::new(),
            number: 0,
            mtu: None,
            rebinds: 0,
            real: HashMap::new(),
            ends: None,
            stale: VecDeque::new(),
        }
    }

    pub(super) fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    /// Whether it has an allocation.
    pub(super) fn is_live(&self) -> bool {
        self.relays.values().any(|port| port.is_bound)
    }

    pub(super) fn note(&mut self, kind: Kind, from: Option<SocketAddr>, words: impl Into<String>) {
        self.out.push_back(Out::Note { kind, from, words: words.into() });
    }

    /// A request that came from `real`.
    pub(super) fn request(&mut self, now: Now, real: FiveTuple, bytes: &[u8]) {
        if self.is_swallowed(real, bytes.len()) {
            return;
        }
        let shown = self.shown(real);
        let Ok(request) = decode_request(bytes) else { return };
        let Some((key, algorithm)) = self.core.key_of(now, &shown, &request) else {
            return self.take_in(now, shown, bytes);
        };
        self.sabotage.moment(Moment::Start, now.tick());
        self.judge.request(request.method, request.transaction);
        self.note(Kind::Request, Some(real.client.socket()), super::words::request(&request));
        self.signatures.push_back((request.transaction, key.clone(), algorithm));
        if self.signatures.len() > SIGNATURES {
            self.signatures.pop_front();
        }
        if let Some((_, answer)) = self.refused.iter().find(|(id, _)| *id == request.transaction) {
            let answer = answer.clone();
            return self.answer(now, shown, answer);
        }
        let struck = self.sabotage.strike(Occasion::Request(request.method));
        let is_stale =
            request.auth.nonce.is_some_and(|nonce| self.stale.iter().any(|stale| **stale == *nonce));
        match struck.or_else(|| is_stale.then_some(Do::StaleNonce)) {
            None => self.take_in(now, shown, bytes),
            Some(what) => self.befall_request(now, (real, shown), (&request, bytes), (key, algorithm), &what),
        }
    }

    /// Gives a request to the core.
    pub(super) fn take_in(&mut self, now: Now, shown: FiveTuple, bytes: &[u8]) {
        self.core.request(now, shown, bytes);
        self.drain(now);
    }

    /// A message that is no request came from `real`.
    pub(super) fn data(&mut self, now: Now, real: FiveTuple, bytes: &[u8]) {
        if self.is_swallowed(real, bytes.len()) {
            return;
        }
        let shown = self.shown(real);
        self.core.data(now, shown, bytes);
        self.drain(now);
    }

    /// A datagram came to the relay socket of `relay`.
    pub(super) fn of_peer(&mut self, now: Now, relay: RelayId, from: SocketAddr, bytes: &[u8]) {
        self.sabotage.moment(Moment::Media, now.tick());
        match self.sabotage.strike(Occasion::ToClient) {
            None => self.hear_peer(now, relay, from, bytes),
            Some(what) => {
                let late = Late::FromPeer { relay, from, bytes: bytes.into() };
                if let Some(late) = self.befall(now, None, &what, late) {
                    self.happen(now, late);
                }
            }
        }
    }

    fn hear_peer(&mut self, now: Now, relay: RelayId, from: SocketAddr, bytes: &[u8]) {
        self.core.hear_peer(now, relay, from, bytes);
        self.drain(now);
    }

    /// A connection of the client ended.
    pub(super) fn gone(&mut self, now: Now, real: FiveTuple) {
        let shown = self.shown(real);
        self.core.gone(now, shown);
        self.drain(now);
    }

    /// What the core wants.
    pub(super) fn drain(&mut self, now: Now) {
        while let Some(leaves) = self.core.poll() {
            match leaves {
                Leaves::Answer { to, bytes } => self.answer(now, to, bytes),
                Leaves::Frame { to, bytes } => self.tell(to, bytes),
                Leaves::ToPeer { relay, to, bytes } => {
                    self.sabotage.moment(Moment::Media, now.tick());
                    let late = Late::ToPeer { relay, to, bytes };
                    let late = match self.sabotage.strike(Occasion::ToPeer) {
                        None => Some(late),
                        Some(what) => self.befall(now, None, &what, late),
                    };
                    if let Some(late) = late {
                        self.happen(now, late);
                    }
                }
                Leaves::Open { relay, bind } => {
                    let at = bind.socket();
                    self.relays.insert(relay, Port { wanted: bind, at, is_bound: false, next: None });
                    self.out.push_back(Out::Bind { at });
                }
                Leaves::Close { relay } => {
                    if let Some(port) = self.relays.remove(&relay) {
                        self.unbind(&port);
                    }
                }
                Leaves::Event(event) => {
                    if let Some(words) = super::words::event(&event) {
                        self.note(Kind::Allocation, None, words);
                    }
                }
            }
        }
    }

    fn unbind(&mut self, port: &Port) {
        self.out.push_back(Out::Unbind { at: port.at });
        self.out.extend(port.next.map(|at| Out::Unbind { at }));
    }

    /// A relay socket that was asked for is there, or is not.
    pub(super) fn bound(&mut self, now: Now, at: SocketAddr, is_there: bool) {
        let asked = |port: &Port| (port.at == at && !port.is_bound) || port.next == Some(at);
        let Some((relay, port)) = self.relays.iter_mut().find(|(_, port)| asked(port)) else { return };
        let relay = *relay;
        if port.next == Some(at) {
            port.next = None;
            let before = if is_there { std::mem::replace(&mut port.at, at) } else { return };
            self.out.push_back(Out::Unbind { at: before });
            return self.note(Kind::Fault, None, format!("the relayed port is {at} now, and was {before}"));
        }
        let wanted = port.wanted.socket();
        port.is_bound = is_there;
        if !is_there {
            self.relays.remove(&relay);
        }
        self.core.opened(now, relay, is_there.then_some(wanted));
        self.drain(now);
    }

    /// Sends to the client, if its way is known and wide enough.
    pub(super) fn tell(&mut self, shown: FiveTuple, bytes: Box<[u8]>) {
        let real = if self.rebinds == 0 { Some(shown) } else { self.real.get(&shown).copied() };
        // The mapping that this is for is gone.
        let Some(to) = real else { return };
        if !self.is_swallowed(to, bytes.len()) {
            self.out.push_back(Out::Tell { to, bytes });
        }
    }

    /// Whether a datagram of `len` bytes is too long for the way.
    fn is_swallowed(&mut self, real: FiveTuple, len: usize) -> bool {
        let headers = if real.client.ip().is_ipv4() { 28 } else { 48 };
        let Some(mtu) = self.mtu.filter(|_| real.transport == Transport::Udp) else { return false };
        let swallowed = len + headers > usize::from(mtu);
        if swallowed {
            let words = format!("{} bytes are more than {mtu}: swallowed", len + headers);
            self.note(Kind::Fault, Some(real.client.socket()), words);
        }
        swallowed
    }

    /// The five-tuple as the core sees it.
    fn shown(&mut self, real: FiveTuple) -> FiveTuple {
        if self.rebinds == 0 {
            return real;
        }
        let moved = (u64::from(real.client.port()) + 4_099 * u64::from(self.rebinds)) % 64_512;
        let port = 1_024 + u16::try_from(moved).unwrap_or_default();
        let client = ClientAddr::new(SocketAddr::new(real.client.ip(), port));
        let shown = FiveTuple { client, ..real };
        if self.real.len() >= ALIASES {
            self.real.clear();
        }
        self.real.insert(shown, real);
        shown
    }

    /// Refuses a request, whenever it comes.
    pub(super) fn refuse(&mut self, now: Now, shown: FiveTuple, id: TransactionId, answer: Box<[u8]>) {
        self.refused.push_back((id, answer.clone()));
        if self.refused.len() > SIGNATURES {
            self.refused.pop_front();
        }
        self.answer(now, shown, answer);
    }

    /// The key that the request of this transaction proved to know.
    pub(super) fn signature(&self, transaction: TransactionId) -> Option<(MacKey, Algorithm)> {
        let found = self.signatures.iter().rev().find(|(id, ..)| *id == transaction);
        found.map(|(_, key, algorithm)| (key.clone(), *algorithm))
    }

    /// Keeps `late` until `at`.
    pub(super) fn keep(&mut self, at: Deadline, late: Late) {
        if self.later.len() < TESTBED_LATER_MAX {
            self.number += 1;
            self.later.insert((at, self.number), late);
        }
    }

    pub(super) fn happen(&mut self, now: Now, late: Late) {
        match late {
            Late::Request { from, bytes } => self.take_in(now, from, &bytes),
            Late::Answer { to, bytes } => self.leave(to, bytes),
            Late::ToPeer { relay, to, bytes } => {
                if let Some(port) = self.relays.get(&relay) {
                    let at = port.at;
                    self.out.push_back(Out::ToPeer { at, to, bytes });
                }
            }
            Late::FromPeer { relay, from, bytes } => self.hear_peer(now, relay, from, &bytes),
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let later = self.later.first_key_value().map(|((at, _), _)| *at);
        [later, self.core.poll_timeout(), self.sabotage.deadline(), self.judge.deadline(), self.ends]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        let tick = now.tick();
        // Before what is due since: an allocation that ended then is not asked any more.
        if self.ends.is_some_and(|at| at.is_due(tick)) {
            self.note(Kind::Fault, None, "the lifetime that was granted is over: the allocation ends");
            self.forget();
        }
        while let Some(what) = self.sabotage.due(tick) {
            self.act(now, None, &what);
        }
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0.is_due(tick)) {
            let late = first.remove();
            self.happen(now, late);
        }
        if self.core.poll_timeout().is_some_and(|at| at.is_due(tick)) {
            self.core.handle_timeout(now);
            self.drain(now);
        }
        if self.judge.due(tick, self.is_live()) {
            self.tell_judged();
        }
    }

    /// The client sends nothing more.
    pub(super) fn finish(&mut self) {
        if self.judge.finish(self.is_live()) {
            self.note(Kind::Judged, None, "before the deadline: the client sends nothing more");
            self.tell_judged();
        }
    }

    fn tell_judged(&mut self) {
        let words = self.judge.judgement.to_string();
        self.note(Kind::Judged, None, words);
    }

    /// What every fault does that changes a state, at once.
    pub(super) fn act(&mut self, now: Now, method: Option<Method>, what: &Do) {
        self.judge.strike(now.tick(), method);
        match what {
            Do::MovePort => return self.move_port(),
            Do::Vanish => self.forget(),
            Do::Restart => {
                self.core.challenger.nonce_key = NonceKey::generate(&mut self.dice);
                self.forget();
            }
            Do::Realm(realm) => {
                self.core.challenger.realm = realm.clone();
                self.forget();
            }
            Do::Rebind => {
                self.rebinds += 1;
                self.real.clear();
                self.out.push_back(Out::Cut);
            }
            Do::Mtu(mtu) => self.mtu = Some(*mtu),
            _ => return,
        }
        self.note(Kind::Fault, None, super::words::done(what));
    }

    /// The server knows nothing any more.
    fn forget(&mut self) {
        for port in std::mem::take(&mut self.relays).into_values() {
            self.unbind(&port);
        }
        self.ends = None;
        let challenger = self.core.challenger.clone();
        let dice = Source::from(&mut self.dice);
        self.core = Core::new(&self.setup, challenger, self.name.as_bytes(), dice);
    }

    fn move_port(&mut self) {
        let ports = self.setup.ports.clone();
        let count = u32::from(ports.end() - ports.start()) + 1;
        let taken: Vec<SocketAddr> = self.relays.values().map(|port| port.at).collect();
        for port in self.relays.values_mut().filter(|port| port.is_bound && port.next.is_none()) {
            let drawn = u16::try_from(self.dice.below(count)).unwrap_or_default();
            let mut next = SocketAddr::new(port.at.ip(), ports.start() + drawn);
            if taken.contains(&next) {
                let other = if next.port() == *ports.end() { *ports.start() } else { next.port() + 1 };
                next.set_port(other);
            }
            port.next = Some(next);
            self.out.push_back(Out::Bind { at: next });
        }
    }
}
