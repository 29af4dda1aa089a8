//! The door: what happens to a client, and when it wants to be woken.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::proto::types::ConnectionId;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayProtocol;
use crate::proto::types::Tick;
use crate::proto::types::limits::CLIENT_CHALLENGES_MAX;
use crate::proto::types::limits::CLIENT_TRANSACTIONS_MAX;
use crate::proto::wire::TransactionId;
use crate::proto::wire::channel_data;
use crate::proto::wire::indication;

use super::Config;
use super::ConnectionBind;
use super::End;
use super::Event;
use super::Failure;
use super::Output;
use super::challenge::Challenge;
use super::message;
use super::peers::Peers;
use super::transaction::Ask;
use super::transaction::Due;
use super::transaction::Transaction;

/// One thing that happens to a client.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A message came from the server: a datagram, or a whole frame of a stream.
    Message(&'a [u8]),
    /// Ask for an allocation, unless there is one.
    Allocate,
    /// Let data pass to and from any port of this address, for as long as the allocation lasts. Before there is an
    /// allocation it is noted.
    Permit(IpAddr),
    /// Let data to and from this peer go by a channel, which permits its address too. Before there is an allocation it
    /// is noted.
    Bind(PeerAddr),
    /// Send data to a peer: by its channel, else by a Send indication if its address is permitted.
    Send {
        /// To whom.
        peer: PeerAddr,
        /// What.
        data: &'a [u8],
    },
    /// The client's own address has changed, or its connection is another one; messages leave from there from here on,
    /// and what comes over a stream begins with its first byte. An allocation that was made to move is taken along
    /// (RFC 8016), another one cannot be.
    Moved,
    /// Give the allocation back.
    Release,
    /// The next bytes of the stream from the server, however they were split. Over UDP a datagram.
    Bytes(&'a [u8]),
    /// The connection to the server ended, at whichever end. An allocation that was made to move outlives it: connect
    /// anew, and say [`Input::Moved`]. Any other one is over, because the server ends it too.
    Disconnected,
    /// Have the relayed address of a TCP allocation connect to this peer (RFC 6062 § 4.3). The server answers when it is
    /// there, or will not be, by [`Event::Connected`] or [`Event::NotConnected`].
    Connect(PeerAddr),
}

/// A TURN client. After each call of [`Self::handle_input`] or [`Self::handle_timeout`] take every output, then give the
/// next input.
#[derive(Debug)]
pub struct Client<E> {
    pub(super) config: Config,
    entropy: E,
    pub(super) state: State,
    pub(super) challenge: Option<Challenge>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) peers: Peers,
    pub(super) outputs: VecDeque<Output>,
    /// The beginning of a frame of the stream.
    pub(super) inbox: Vec<u8>,
    /// The stream has ended, and no other one has taken its place.
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Allocating,
    Live(Live),
    /// With the ticket of a client that the server does not know where it is yet.
    Releasing(Option<Box<[u8]>>),
}

/// An allocation as its client knows it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) until: Deadline,
    /// When it is to be refreshed, unless it is being refreshed.
    pub(super) renew: Deadline,
    pub(super) refreshing: bool,
    /// The last ticket, if it may move.
    pub(super) ticket: Option<Box<[u8]>>,
    /// The server has yet to say that it knows where the client is. Nothing else is asked meanwhile.
    pub(super) moving: bool,
}

impl<E: Entropy> Client<E> {
    /// A client that has done nothing yet.
    #[must_use]
    pub fn new(config: Config, entropy: E) -> Self {
        Self {
            config,
            entropy,
            state: State::Idle,
            challenge: None,
            transactions: Vec::new(),
            peers: Peers::default(),
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
            Input::Allocate => self.allocate(tick),
            Input::Permit(peer) => {
                if self.peers.want_permission(peer).is_err() {
                    self.event(Event::NotPermitted { peer, why: Failure::Full });
                }
            }
            Input::Bind(peer) => {
                if self.peers.want_channel(peer).is_err() {
                    self.event(Event::NotBound { peer, why: Failure::Full });
                }
            }
            Input::Send { peer, data } => self.send(tick, peer, data),
            Input::Moved => self.moved(tick),
            Input::Release => self.release(tick),
            Input::Bytes(bytes) => self.bytes(tick, bytes),
            Input::Disconnected => self.disconnected(),
            Input::Connect(peer) => self.connect(tick, peer),
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
            State::Live(live) => [
                Some(live.until),
                (!live.refreshing && !live.moving).then_some(live.renew),
                // What waits for its turn is looked at when a transaction ends.
                if self.may_ask() { self.peers.next_due() } else { None },
            ],
            State::Idle | State::Allocating | State::Releasing(_) => [None; 3],
        };
        transactions.chain(live.into_iter().flatten()).min()
    }

    /// What a peer sent, if `message` carries that; for whoever would rather read it in place than be told of it by
    /// [`Event::Data`].
    #[must_use]
    pub fn read<'a>(&self, message: &'a [u8]) -> Option<(PeerAddr, &'a [u8])> {
        if !matches!(self.state, State::Live(_)) || self.relays_connections() {
            return None;
        }
        if let Ok((channel, data)) = channel_data::decode(message) {
            return self.peers.peer_of(channel).map(|peer| (peer, data));
        }
        indication::decode_data(message).ok().filter(|(peer, _)| self.peers.expects(*peer))
    }

    /// Whether there is an allocation.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    fn allocate(&mut self, tick: Tick) {
        if matches!(self.state, State::Idle) {
            self.cut = false;
            self.state = State::Allocating;
            self.start(tick, Ask::Allocate, 0);
        }
    }

    fn send(&mut self, tick: Tick, peer: PeerAddr, data: &[u8]) {
        let id = self.draw();
        let transport = self.config.transport;
        let by_channel =
            self.peers.channel_to(tick, peer).map(|channel| message::channel_data(channel, data, transport));
        let message = match by_channel {
            _ if !self.is_live() || self.cut || self.relays_connections() => None,
            Some(message) => message.ok(),
            None if self.peers.may_send_to(tick, peer.ip()) => {
                message::send(id, peer, data, self.config.dont_fragment).ok()
            }
            None => None,
        };
        match message {
            Some(message) => self.outputs.push_back(Output::Transmit(message)),
            None => self.event(Event::NotSent { peer }),
        }
    }

    /// Whether it is for connections, not for datagrams.
    pub(super) const fn relays_connections(&self) -> bool {
        matches!(self.config.relays, RelayProtocol::Tcp)
    }

    fn connect(&mut self, tick: Tick, peer: PeerAddr) {
        let why = match &self.state {
            _ if !self.relays_connections() => Failure::Unsupported,
            State::Live(_) if self.may_ask() => return self.start(tick, Ask::Connect(peer), 0),
            State::Live(_) => Failure::Full,
            State::Idle | State::Allocating | State::Releasing(_) => Failure::Unsupported,
        };
        self.event(Event::NotConnected { peer, why });
    }

    /// The second half of [`Event::Connected`] or [`Event::Attempted`]: what a fresh connection to the server has to say to
    /// become that to the peer. `None` without an allocation for connections.
    pub fn bind_connection(&mut self, now: Now, connection: ConnectionId) -> Option<ConnectionBind> {
        let challenge = self.challenge.clone().filter(|_| self.is_live() && self.relays_connections())?;
        let ids = [(); 1 + CLIENT_CHALLENGES_MAX as usize].map(|()| self.draw());
        let Config { credential, timing, .. } = &self.config;
        Some(ConnectionBind::new(now.tick(), connection, credential.clone(), *timing, challenge, ids))
    }

    fn moved(&mut self, tick: Tick) {
        self.connect_anew();
        match &mut self.state {
            State::Idle | State::Releasing(_) => {}
            // What may come of the request from the old address nobody will hear.
            State::Allocating => {
                self.transactions.clear();
                self.start(tick, Ask::Allocate, 0);
            }
            State::Live(live) if live.ticket.is_some() => {
                live.moving = true;
                live.refreshing = false;
                self.transactions.clear();
                self.peers.unask();
                self.start(tick, Ask::Move, 0);
            }
            State::Live(_) if self.config.transport.is_stream() => {
                self.over(End::Lost(Failure::Disconnected));
            }
            State::Live(_) => {}
        }
    }

    fn release(&mut self, tick: Tick) {
        let ticket = match &mut self.state {
            State::Idle | State::Releasing(_) => return,
            State::Allocating => None,
            State::Live(live) => live.ticket.take().filter(|_| live.moving),
        };
        if self.cut {
            return self.over(End::Unconfirmed);
        }
        self.transactions.clear();
        self.peers = Peers::default();
        self.state = State::Releasing(ticket);
        self.start(tick, Ask::Release, 0);
    }

    /// Asks for what is due, as far as there is room.
    fn pump(&mut self, tick: Tick) {
        let State::Live(live) = &mut self.state else { return };
        if live.until.is_due(tick) {
            return self.over(End::Lost(Failure::Expired));
        }
        let (permissions, channels) = self.peers.expire(tick);
        let why = Failure::Expired;
        permissions.into_iter().for_each(|peer| self.event(Event::NotPermitted { peer, why }));
        channels.into_iter().for_each(|peer| self.event(Event::NotBound { peer, why }));
        let State::Live(live) = &mut self.state else { return };
        if live.moving {
            return;
        }
        if !live.refreshing && live.renew.is_due(tick) {
            live.refreshing = true;
            self.start(tick, Ask::Refresh, 0);
        }
        while self.may_ask()
            && let Some(ask) = self.peers.next_ask(tick)
        {
            self.start(tick, ask, 0);
        }
    }

    fn may_ask(&self) -> bool {
        let moving = matches!(&self.state, State::Live(live) if live.moving);
        !moving && self.transactions.len() < CLIENT_TRANSACTIONS_MAX
    }

    /// Sends a request in a transaction of its own.
    pub(super) fn start(&mut self, tick: Tick, ask: Ask, challenges: u32) {
        let id = self.draw();
        let ticket = match &self.state {
            State::Live(live) => live.ticket.as_deref(),
            State::Releasing(ticket) => ticket.as_deref(),
            State::Idle | State::Allocating => None,
        };
        let challenge = self.challenge.as_ref();
        // Only credentials beyond all bounds do not fit.
        let Ok(bytes) = message::request(&self.config, &ask, id, challenge, ticket) else {
            return self.failed(tick, ask, Failure::Full);
        };
        let signed = challenge.map(|challenge| (challenge.key.clone(), challenge.signing()));
        self.outputs.push_back(Output::Transmit(bytes.clone()));
        let timing = &self.config.timing;
        self.transactions.push(Transaction::new(tick, timing, ask, id, bytes, signed, challenges));
    }

    /// The allocation is no more; another may be asked for.
    pub(super) fn over(&mut self, end: End) {
        self.state = State::Idle;
        self.transactions.clear();
        self.peers = Peers::default();
        self.event(Event::Ended(end));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn draw(&mut self) -> TransactionId {
        let mut id = [0; 12];
        self.entropy.fill_secret(&mut id);
        TransactionId::with_cookie(id)
    }
}
