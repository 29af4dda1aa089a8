//! A client of [MS-TURN], the dialect of the office communicators of 2007, sans I/O: the same inputs, outputs and events as
//! [`super::Client`] has, over datagrams, TCP, and TCP behind the hellos of pseudo-TLS, which whoever owns the connection
//! exchanges ([`crate::proto::wire::pseudo_tls`]).
//!
//! What is otherwise in this dialect:
//!
//! - **A Send opens.** [`Input::Send`] is a request, numbered and signed, which nobody answers. What was once sent to may
//!   send back, from any of its ports, as long as the allocation lasts. There is no other way to permit a peer, so
//!   [`Input::Permit`] is [`Failure::Unsupported`].
//! - **One destination instead of channels.** [`Input::Bind`] makes a peer the active destination; data to it goes bare
//!   from [`Event::Destination`] on, and data from it comes bare. There is one: the last that was asked for. While it
//!   changes, and where it is not known what the server made of it, data goes by Send requests, which name their peer.
//! - **Bare data has no sender.** It is taken for the active destination's. Over UDP that peer can write what looks like
//!   the server's word about another peer's data; what must be sure of its sender does not trust the relay for it.
//! - **A refresh is an Allocate.** If the server had lost the allocation, it makes another one: the client is told that
//!   the first ended, and of the new one.
//! - **It neither moves nor connects**: [`Input::Moved`] ends it on a stream, [`Input::Connect`] is unsupported. On a
//!   stream the relayed address is one of TCP, and the server connects to whom is sent to by itself.
//!
//! An error that a server can give only where it could not check who asked (401, 431–438) is believed without a
//! signature; it has none to give. Everything else must be signed with the key of the request.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::net::IpAddr;

use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Entropy;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayAddr;
use crate::proto::types::Tick;
use crate::proto::types::limits::PERMISSIONS_PER_ALLOCATION_MAX;
use crate::proto::wire::Malformed;
use crate::proto::wire::Method;
use crate::proto::wire::SequenceNumber;
use crate::proto::wire::TransactionId;
use crate::proto::wire::ms_turn::answer::decode_data;
use crate::proto::wire::ms_turn::answer::is_of_server;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::ms_turn::framing::is_control;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::Config;
use super::End;
use super::Event;
use super::Failure;
use super::Input;
use super::Output;
use super::stream::Came;
use super::stream::next_whole;
use super::transaction::Due;
use super::transaction::Transaction;

mod answer;
mod message;

/// A client of [MS-TURN]. After each call of [`Self::handle_input`] or [`Self::handle_timeout`] take every output, then give
/// the next input. Of its [`Config`] it heeds credential (raw bytes here), lifetime, timing and transport.
#[derive(Debug)]
pub struct LegacyClient<E> {
    config: Config,
    entropy: E,
    state: State,
    challenge: Option<Challenge>,
    transactions: Vec<Transaction<Ask>>,
    /// The active destination that is wanted next.
    wanted: Option<PeerAddr>,
    outputs: VecDeque<Output>,
    /// The beginning of a frame of the stream.
    inbox: Vec<u8>,
    /// The stream has ended, and no other one has taken its place.
    cut: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Allocating,
    Live(Live),
    Releasing,
}

/// An allocation as its client knows it.
#[derive(Debug)]
struct Live {
    until: Deadline,
    /// When it is to be refreshed, unless it is being refreshed.
    renew: Deadline,
    refreshing: bool,
    /// The server said, without a signature, that there is none.
    doubted: bool,
    relayed: RelayAddr,
    /// What the server calls the allocation, and the last number that was used. A server may know neither.
    sequence: Option<SequenceNumber>,
    /// Whoever was sent to, and may send back.
    addresses: BTreeSet<IpAddr>,
    /// The active destination, where the server's is known.
    destination: Option<PeerAddr>,
    /// Whom bare data is from, as far as can be said.
    bare_from: Option<PeerAddr>,
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Allocate,
    Refresh,
    /// Allocate with LIFETIME 0.
    Release,
    Destination(PeerAddr),
}

impl Ask {
    const fn method(self) -> Method {
        match self {
            Self::Allocate | Self::Refresh | Self::Release => Method::Allocate,
            Self::Destination(_) => Method::SetActiveDestination,
        }
    }
}

/// What the server asked for, and the key that follows from it.
#[derive(Clone, Debug)]
struct Challenge {
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    key: MacKey,
}

impl<E: Entropy> LegacyClient<E> {
    /// A client that has done nothing yet.
    #[must_use]
    pub const fn new(config: Config, entropy: E) -> Self {
        Self {
            config,
            entropy,
            state: State::Idle,
            challenge: None,
            transactions: Vec::new(),
            wanted: None,
            outputs: VecDeque::new(),
            inbox: Vec::new(),
            cut: false,
        }
    }

    /// Takes in one thing that happened.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        let tick = now.tick();
        match input {
            Input::Message(bytes) => self.message(tick, bytes),
            Input::Bytes(bytes) => self.bytes(tick, bytes),
            Input::Allocate => {
                if matches!(self.state, State::Idle) {
                    self.cut = false;
                    self.state = State::Allocating;
                    self.start(tick, Ask::Allocate, 0);
                }
            }
            Input::Permit(peer) => self.event(Event::NotPermitted { peer, why: Failure::Unsupported }),
            Input::Connect(peer) => self.event(Event::NotConnected { peer, why: Failure::Unsupported }),
            Input::Bind(peer) => self.wanted = Some(peer),
            Input::Send { peer, data } => {
                if self.send(peer, data).is_err() {
                    self.event(Event::NotSent { peer });
                }
            }
            Input::Moved => self.moved(tick),
            Input::Release => self.release(tick),
            Input::Disconnected => self.disconnected(),
        }
        self.pump(tick);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let tick = now.tick();
        let mut given_up = Vec::new();
        for (at, transaction) in self.transactions.iter_mut().enumerate() {
            match transaction.due(tick, &self.config.timing) {
                Due::Nothing => {}
                Due::Repeat => self.outputs.push_back(Output::Transmit(transaction.bytes.clone())),
                Due::GiveUp => given_up.push(at),
            }
        }
        // From behind, so that the places in front stay.
        let given_up: Vec<_> = given_up.into_iter().rev().map(|at| self.transactions.remove(at)).collect();
        for transaction in given_up.into_iter().rev() {
            let why = if transaction.violated { Failure::Integrity } else { Failure::Timeout };
            self.failed(tick, transaction.ask, why);
        }
        self.pump(tick);
    }

    /// The next thing to be done; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next worth calling.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let transactions = self.transactions.iter().map(Transaction::next);
        let live = match &self.state {
            State::Live(live) => [Some(live.until), (!live.refreshing).then_some(live.renew)],
            State::Idle | State::Allocating | State::Releasing => [None; 2],
        };
        transactions.chain(live.into_iter().flatten()).min()
    }

    /// What a peer sent, if `message` carries that: a datagram, or a whole frame of a stream. For whoever would rather
    /// read it in place than be told of it by [`Event::Data`].
    #[must_use]
    pub fn read<'a>(&self, message: &'a [u8]) -> Option<(PeerAddr, &'a [u8])> {
        let State::Live(live) = &self.state else { return None };
        let (is_bare, payload) = self.sort(message)?;
        if is_bare {
            return live.bare_from.map(|peer| (peer, payload));
        }
        decode_data(payload).filter(|(peer, _)| live.addresses.contains(&peer.ip()))
    }

    /// Whether there is an allocation.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// Whether `message` is bare data, and it without its frame. Over UDP the cookie tells; on a stream the frame.
    fn sort<'a>(&self, message: &'a [u8]) -> Option<(bool, &'a [u8])> {
        if !self.config.transport.is_stream() {
            return Some((!is_of_server(message), message));
        }
        let (header, payload) = message.split_first_chunk::<FRAME_HEADER_LEN>()?;
        StreamFrame::read(*header).map(|(kind, _)| (kind == StreamFrame::Data, payload))
    }

    fn bytes(&mut self, tick: Tick, mut bytes: &[u8]) {
        if !self.config.transport.is_stream() {
            return self.message(tick, bytes);
        }
        while !self.cut {
            match next_whole(Dialect::MsTurn, &mut self.inbox, &mut bytes) {
                Came::Nothing => return,
                Came::Frame(frame) => self.message(tick, &frame),
                Came::Broken => {
                    self.event(Event::Broken);
                    self.disconnected();
                }
            }
        }
    }

    fn send(&mut self, peer: PeerAddr, data: &[u8]) -> Result<(), Malformed> {
        let transport = self.config.transport;
        let is_changing = self.changing().is_some();
        let (State::Live(live), false) = (&mut self.state, self.cut) else { return Err(Malformed::NoRoom) };
        // Over UDP what has the cookie would be taken for a message of ours.
        let passes_bare = transport.is_stream() || !is_control(data);
        let message = if live.destination == Some(peer) && !is_changing && passes_bare {
            message::bare(transport, data)?
        } else {
            let Some(challenge) = &self.challenge else { return Err(Malformed::NoRoom) };
            if !live.has_room_for(peer.ip()) {
                return Err(Malformed::NoRoom);
            }
            let id = draw(&mut self.entropy);
            let proof = challenge.proof(&self.config);
            let sequence = live.next_number().ok_or(Malformed::NoRoom)?;
            let message = message::send(id, transport, peer, data, sequence, proof)?;
            live.sequence = sequence;
            live.addresses.insert(peer.ip());
            message
        };
        self.outputs.push_back(Output::Transmit(message));
        Ok(())
    }

    /// What is being made the active destination.
    fn changing(&self) -> Option<PeerAddr> {
        self.transactions.iter().find_map(|each| match each.ask {
            Ask::Destination(peer) => Some(peer),
            _ => None,
        })
    }

    fn moved(&mut self, tick: Tick) {
        self.cut = false;
        self.inbox = Vec::new();
        match &self.state {
            State::Idle | State::Releasing => {}
            // What may come of the request from the old address nobody will hear.
            State::Allocating => {
                self.transactions.clear();
                self.start(tick, Ask::Allocate, 0);
            }
            State::Live(_) if self.config.transport.is_stream() => {
                self.over(End::Lost(Failure::Disconnected));
            }
            State::Live(_) => {}
        }
    }

    fn release(&mut self, tick: Tick) {
        if matches!(self.state, State::Idle | State::Releasing) {
            return;
        }
        if self.cut {
            return self.over(End::Unconfirmed);
        }
        self.transactions.clear();
        self.wanted = None;
        self.state = State::Releasing;
        self.start(tick, Ask::Release, 0);
    }

    fn disconnected(&mut self) {
        self.cut = true;
        self.inbox = Vec::new();
        match &self.state {
            State::Idle => {}
            State::Allocating => {
                self.transactions.clear();
                self.state = State::Idle;
                self.event(Event::NotAllocated(Failure::Disconnected));
            }
            State::Live(_) => self.over(End::Lost(Failure::Disconnected)),
            State::Releasing => self.over(End::Unconfirmed),
        }
    }

    /// Asks for what is due.
    fn pump(&mut self, tick: Tick) {
        let State::Live(live) = &mut self.state else { return };
        if live.until.is_due(tick) {
            return self.over(End::Lost(Failure::Expired));
        }
        if !live.refreshing && live.renew.is_due(tick) {
            live.refreshing = true;
            self.start(tick, Ask::Refresh, 0);
        }
        self.ask_for_destination(tick);
    }

    /// One after the other, so that it is known which was the last.
    fn ask_for_destination(&mut self, tick: Tick) {
        if self.changing().is_some() {
            return;
        }
        let (State::Live(live), Some(peer)) = (&mut self.state, self.wanted.take()) else { return };
        if live.destination == Some(peer) {
            return;
        }
        if !live.has_room_for(peer.ip()) {
            return self.event(Event::NotBound { peer, why: Failure::Full });
        }
        live.addresses.insert(peer.ip());
        if live.destination.is_none() {
            live.bare_from = Some(peer);
        }
        self.start(tick, Ask::Destination(peer), 0);
    }

    /// Sends a request in a transaction of its own.
    fn start(&mut self, tick: Tick, ask: Ask, challenges: u32) {
        let id = draw(&mut self.entropy);
        let Ok(bytes) = self.write(id, ask) else { return self.failed(tick, ask, Failure::Full) };
        let signed = self.challenge.as_ref().map(|challenge| (challenge.key.clone(), Algorithm::Sha1));
        self.outputs.push_back(Output::Transmit(bytes.clone()));
        let timing = &self.config.timing;
        self.transactions.push(Transaction::new(tick, timing, ask, id, bytes, signed, challenges));
    }

    /// A number that is given to a request is used up, whatever becomes of that.
    fn write(&mut self, id: TransactionId, ask: Ask) -> Result<Box<[u8]>, Malformed> {
        let transport = self.config.transport;
        let proof = self.challenge.as_ref().map(|challenge| challenge.proof(&self.config));
        match ask {
            Ask::Allocate | Ask::Refresh => message::allocate(id, transport, self.config.lifetime, proof),
            Ask::Release => message::allocate(id, transport, Some(Lifetime::ZERO), proof),
            Ask::Destination(peer) => {
                let (State::Live(live), Some(proof)) = (&mut self.state, proof) else {
                    return Err(Malformed::NoRoom);
                };
                let sequence = live.next_number().ok_or(Malformed::NoRoom)?;
                live.sequence = sequence;
                message::set_destination(id, transport, peer, sequence, proof)
            }
        }
    }

    /// The allocation is no more; another may be asked for.
    fn over(&mut self, end: End) {
        self.state = State::Idle;
        self.transactions.clear();
        self.wanted = None;
        self.event(Event::Ended(end));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

impl Live {
    fn has_room_for(&self, peer: IpAddr) -> bool {
        self.addresses.contains(&peer) || self.addresses.len() < PERMISSIONS_PER_ALLOCATION_MAX
    }

    /// What the next request within the allocation is numbered; `None` where the numbers are used up.
    fn next_number(&self) -> Option<Option<SequenceNumber>> {
        let Some(last) = self.sequence else { return Some(None) };
        // The last of all is the server's sign for the end.
        let number = last.number.checked_add(1).filter(|number| *number < u32::MAX)?;
        Some(Some(SequenceNumber { number, ..last }))
    }
}

impl Challenge {
    fn proof<'a>(&'a self, config: &'a Config) -> message::Proof<'a> {
        message::Proof {
            username: &config.credential.username,
            realm: &self.realm,
            nonce: &self.nonce,
            key: &self.key,
        }
    }
}

fn draw(entropy: &mut impl Entropy) -> TransactionId {
    let mut id = [0; 16];
    entropy.fill_secret(&mut id);
    TransactionId(id)
}
