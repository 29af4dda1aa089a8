//! Allocations for connections (RFC 6062) with the server itself.

use super::real::FORBIDDEN;
use super::real::Real;
use super::real::five_tuple;
use super::*;
use crate::proto::types::ConnectionId;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerId;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::RelayProtocol;
use crate::proto::types::Transport;
use crate::proto::wire::TransactionId;
use crate::proto::wire::connection::CONNECTION_ATTEMPT_MAX;
use crate::proto::wire::connection::encode_attempt;

struct Both {
    real: Real,
    client: Client<Count>,
    from: FiveTuple,
    events: Vec<Event>,
    sent: Vec<Box<[u8]>>,
}

impl Both {
    fn live() -> Self {
        let credential = Credential {
            username: (*b"alice").into(),
            proof: Proof::Password(Secret::new(*b"password")),
            token: None,
        };
        let mut config = Config::new(credential).over(Transport::Tcp);
        config.relays = RelayProtocol::Tcp;
        // None of these goes with connections, and all are left out.
        (config.port, config.mobility, config.dont_fragment) = (PortWish::Pair, true, true);
        let mut both = Self {
            real: Real::new(|_| {}),
            client: Client::new(config, Count(0)),
            from: five_tuple(40_000, Transport::Tcp),
            events: Vec::new(),
            sent: Vec::new(),
        };
        both.input(Input::Allocate);
        assert!(matches!(both.events()[..], [Event::Allocated(_)]));
        both
    }

    fn input(&mut self, input: Input<'_>) {
        self.client.handle_input(self.real.now(), input);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            while let Some(output) = self.client.poll_output() {
                match output {
                    Output::Event(event) => self.events.push(event),
                    Output::Transmit(message) => {
                        self.real.hear_client(self.from, Dialect::Rfc8656, &message);
                        self.sent.push(message);
                    }
                }
            }
            let mine = self.real.to_clients.iter().position(|(to, _)| *to == self.from);
            let Some((_, message)) = mine.and_then(|at| self.real.to_clients.remove(at)) else { return };
            self.client.handle_input(self.real.now(), Input::Bytes(&message));
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The connection that the server last had begun.
    fn begun(&self) -> ConnectionId {
        match self.real.orders.last() {
            Some(PeerOrder::Connect { connection, .. }) => *connection,
            other => panic!("{other:?}"),
        }
    }

    fn connected(&mut self) -> ConnectionId {
        self.input(Input::Connect(peer(PEER)));
        let connection = self.begun();
        self.real.report(PeerReport::Connected { connection });
        self.settle();
        assert_eq!(self.events(), [Event::Connected { peer: peer(PEER), connection }]);
        connection
    }

    /// Carries a bind between a connection of its own and the server, in pieces of so many bytes.
    fn carry(
        &mut self,
        bind: &mut ConnectionBind,
        from: FiveTuple,
        piece: usize,
        behind: &[u8],
    ) -> BindProgress {
        let mut progress = BindProgress::Waiting;
        while let Some(request) = bind.poll_transmit() {
            self.real.hear_client(from, Dialect::Rfc8656, &request);
            let mine = self.real.to_clients.iter().position(|(to, _)| *to == from);
            let Some((_, answer)) = mine.and_then(|at| self.real.to_clients.remove(at)) else { break };
            let is_last = answer[0] == 1 && answer[1] == 0x0B;
            let stream = [&answer[..], if is_last { behind } else { b"" }].concat();
            let mut rest = Vec::new();
            for piece in stream.chunks(piece) {
                progress = bind.handle_bytes(piece);
                if let BindProgress::Joined { rest: more } = &progress {
                    rest.extend_from_slice(more);
                }
            }
            if matches!(progress, BindProgress::Joined { .. }) {
                progress = BindProgress::Joined { rest: rest.into() };
            }
        }
        progress
    }
}

#[test]
fn a_connection_is_asked_for_and_joined_with_all_that_follows_the_answer() {
    for piece in [1, 7, 1_000] {
        let mut both = Both::live();
        let request = decode_request(&both.sent[1]).expect("a request");
        assert_eq!(request.requested_transport, Some(6));
        let connection = both.connected();
        let mut bind = both.client.bind_connection(both.real.now(), connection).expect("an allocation");
        // The nonce of the control connection is no good on this one: a 438 comes first.
        let from = five_tuple(41_000, Transport::Tcp);
        let joined = both.carry(&mut bind, from, piece, b"\x00\x01raw");
        assert_eq!(joined, BindProgress::Joined { rest: (*b"\x00\x01raw").into() });
        assert_eq!(both.real.orders.last(), Some(&PeerOrder::Join { connection, client: from }));
        assert_eq!(bind.handle_bytes(b"more"), BindProgress::Joined { rest: (*b"more").into() });
        assert_eq!(bind.poll_timeout(), None);
    }
}

#[test]
fn what_becomes_of_a_connect_is_told() {
    let mut both = Both::live();
    let connection = both.connected();
    both.input(Input::Connect(peer(PEER)));
    both.input(Input::Connect(peer(FORBIDDEN)));
    both.input(Input::Connect(peer("192.0.2.10:7000")));
    let failing = both.begun();
    both.real.report(PeerReport::Ended { connection: failing });
    both.settle();
    let not = |to: &str, code| Event::NotConnected { peer: peer(to), why: refused(code) };
    assert_eq!(both.events(), [not(PEER, 446), not(FORBIDDEN, 403), not("192.0.2.10:7000", 447)]);
    // One that was ended before it was joined is no connection any more.
    both.real.report(PeerReport::Ended { connection });
    let mut bind = both.client.bind_connection(both.real.now(), connection).expect("an allocation");
    let from = five_tuple(41_000, Transport::Tcp);
    assert_eq!(both.carry(&mut bind, from, 1_000, b""), BindProgress::Failed(refused(400)));
    both.input(Input::Connect(peer(PEER)));
    both.real.pass(31_000);
    both.settle();
    assert_eq!(both.events(), [not(PEER, 447)], "nobody answered");
}

#[test]
fn a_peer_that_was_permitted_is_announced_and_no_other() {
    let mut both = Both::live();
    let relay = both.real.relays[0];
    let arrival = PeerId { index: 1, generation: 1 };
    both.real.report(PeerReport::Arrived { relay, peer: peer(PEER), arrival });
    both.settle();
    assert_eq!(both.events(), []);
    both.input(Input::Permit(peer(PEER).ip()));
    assert_eq!(both.events(), [Event::Permitted { peer: peer(PEER).ip() }]);
    both.real.report(PeerReport::Arrived { relay, peer: peer(PEER), arrival });
    both.settle();
    let Some(PeerOrder::Admit { connection, .. }) = both.real.orders.last().copied() else {
        panic!("let in")
    };
    assert_eq!(both.events(), [Event::Attempted { peer: peer(PEER), connection }]);
    // The indication is not signed: one about whom nobody asked for is not passed on.
    let mut out = [0; CONNECTION_ATTEMPT_MAX];
    let stranger = peer("192.0.2.77:1");
    let len = encode_attempt(TransactionId::with_cookie([9; 12]), stranger, connection, &mut out);
    both.input(Input::Bytes(&out[..len]));
    assert_eq!(both.events(), []);
    let mut of_datagrams = World::live(|_| {});
    of_datagrams.input(Input::Permit(stranger.ip()));
    of_datagrams.input(Input::Message(&out[..len]));
    assert_eq!(of_datagrams.events(), []);
}

#[test]
fn datagrams_and_connections_do_not_mix() {
    let mut both = Both::live();
    both.input(Input::Permit(peer(PEER).ip()));
    both.events();
    both.input(Input::Send { peer: peer(PEER), data: b"a datagram" });
    assert_eq!(both.events(), [Event::NotSent { peer: peer(PEER) }]);
    both.input(Input::Bytes(&data_indication(PEER, b"no")));
    assert_eq!(both.events(), []);
    let mut world = World::live(|_| {});
    world.input(Input::Connect(peer(PEER)));
    let why = Failure::Unsupported;
    assert_eq!(world.events(), [Event::NotConnected { peer: peer(PEER), why }]);
    let connection = ConnectionId::from_wire(7);
    assert!(world.client.bind_connection(world.now(), connection).is_none());
}

#[test]
fn more_connects_than_can_be_under_way_are_refused_at_home_and_silence_is_given_up() {
    let mut both = Both::live();
    both.from = five_tuple(9, Transport::Tcp);
    for _ in 0..=limits::CLIENT_TRANSACTIONS_MAX {
        both.client.handle_input(both.real.now(), Input::Connect(peer(PEER)));
        while let Some(output) = both.client.poll_output() {
            if let Output::Event(event) = output {
                both.events.push(event);
            }
        }
    }
    assert_eq!(both.events(), [Event::NotConnected { peer: peer(PEER), why: Failure::Full }]);
    both.real.millis += 39_500;
    both.client.handle_timeout(both.real.now());
    both.settle();
    let timeouts = both.events();
    assert_eq!(timeouts.len(), limits::CLIENT_TRANSACTIONS_MAX);
    assert_eq!(timeouts[0], Event::NotConnected { peer: peer(PEER), why: Failure::Timeout });
}

#[test]
fn a_bind_believes_its_server_alone_and_is_given_up_in_time() {
    let mut both = Both::live();
    let connection = both.connected();
    let now = both.real.now();
    let bind = |both: &mut Both| both.client.bind_connection(now, connection).expect("an allocation");
    let answer = |bind: &mut ConnectionBind, outcome| {
        let request = bind.poll_transmit().expect("a request");
        let request = decode_request(&request).expect("a request");
        let mut out = [0; 200];
        let response = Response::new(request.method, request.transaction, outcome);
        let len = encode_response(&response, None, false, &mut out).expect("it fits");
        out[..len].to_vec()
    };
    for outcome in [Outcome::Success, Outcome::Error(ErrorCode::BadRequest)] {
        let mut unsigned = bind(&mut both);
        let bytes = answer(&mut unsigned, outcome);
        assert_eq!(unsigned.handle_bytes(&bytes), BindProgress::Waiting);
        let at = unsigned.poll_timeout().expect("an end").as_millis();
        let late = Now { since_start: Duration::from_millis(at), ..now };
        assert_eq!(unsigned.handle_timeout(now), BindProgress::Waiting);
        assert_eq!(unsigned.handle_timeout(late), BindProgress::Failed(Failure::Integrity));
    }
    let mut silent = bind(&mut both);
    let at = silent.poll_timeout().expect("an end").as_millis();
    let late = Now { since_start: Duration::from_millis(at), ..now };
    assert_eq!(silent.handle_timeout(late), BindProgress::Failed(Failure::Timeout));
    assert_eq!(bind(&mut both).handle_end(), BindProgress::Failed(Failure::Disconnected));
    assert_eq!(bind(&mut both).handle_bytes(b"\xFF"), BindProgress::Failed(Failure::Incomplete));
}
