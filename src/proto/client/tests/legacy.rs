//! Clients of [MS-TURN] with the server itself, and against what is no server of theirs.

use super::real::FORBIDDEN;
use super::real::Real;
use super::real::five_tuple;
use super::*;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerOrder;
use crate::proto::types::PeerReport;
use crate::proto::types::Transport;
use crate::proto::wire::TransactionId;
use crate::proto::wire::ms_turn::attributes as attribute;
use crate::proto::wire::ms_turn::decode::decode_request as decode_old;
use crate::proto::wire::ms_turn::encode::Writer;
use crate::proto::wire::ms_turn::framing::COOKIE;
use crate::proto::wire::ms_turn::framing::kind;

const OTHER: &str = "192.0.2.9:7001";
const FAR: &str = "192.0.2.10:7000";

/// A client, and the server itself at the other end of a way that loses what the test says.
struct Old {
    real: Real,
    client: LegacyClient<Count>,
    from: FiveTuple,
    events: Vec<Event>,
    sent: Vec<Box<[u8]>>,
    /// What the client says is lost.
    mute: bool,
}

impl Old {
    fn with(transport: Transport, password: &[u8], change: impl FnOnce(&mut Config)) -> Self {
        let credential = Credential {
            username: (*b"alice").into(),
            proof: Proof::Password(Secret::new(password)),
            token: None,
        };
        let mut config = Config::new(credential).over(transport);
        change(&mut config);
        Self {
            real: Real::new(|config| config.legacy.strict_sequence_numbers = true),
            client: LegacyClient::new(config, Count(0)),
            from: five_tuple(40_000, transport),
            events: Vec::new(),
            sent: Vec::new(),
            mute: false,
        }
    }

    fn live(transport: Transport) -> Self {
        let mut old = Self::with(transport, b"password", |_| {});
        old.input(Input::Allocate);
        assert!(matches!(old.events()[..], [Event::Allocated(_)]));
        old
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
                        self.sent.push(message.clone());
                        if !self.mute {
                            self.real.hear_client(self.from, Dialect::MsTurn, &message);
                        }
                    }
                }
            }
            let Some((to, message)) = self.real.to_clients.pop_front() else { return };
            if to == self.from {
                self.client.handle_input(self.real.now(), Input::Message(&message));
            }
        }
    }

    /// Lets time pass, for both.
    fn pass(&mut self, millis: u64) {
        let until = self.real.millis + millis;
        while let Some(at) = self.client.poll_timeout().filter(|at| at.as_millis() <= until) {
            let step = at.as_millis().saturating_sub(self.real.millis);
            self.real.pass(step);
            self.client.handle_timeout(self.real.now());
            self.settle();
        }
        let rest = until - self.real.millis;
        self.real.pass(rest);
        self.settle();
    }

    fn send(&mut self, to: &str, data: &[u8]) {
        self.input(Input::Send { peer: peer(to), data });
    }

    fn comes(&mut self, from: &str, data: &[u8]) {
        let relay = self.real.relays[0];
        if self.from.transport.is_stream() {
            self.real.hear_connection(relay, peer(from), data);
        } else {
            self.real.hear_peer(relay, peer(from), data);
        }
        self.settle();
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn at_peers(&mut self) -> Vec<(PeerAddr, Vec<u8>)> {
        std::mem::take(&mut self.real.to_peers)
    }
}

fn data(from: &str, data: &[u8]) -> Event {
    Event::Data { peer: peer(from), data: data.into() }
}

#[test]
fn a_send_opens_a_destination_is_bare_and_both_ways_pass() {
    let mut old = Old::live(Transport::Udp);
    old.comes(PEER, b"too early");
    assert_eq!(old.events(), [], "nobody was sent to");
    old.send(PEER, b"one");
    assert_eq!(old.at_peers(), [(peer(PEER), b"one".to_vec())]);
    old.comes(PEER, b"odd");
    old.comes(OTHER, b"same address");
    old.comes(FAR, b"another");
    assert_eq!(old.events(), [data(PEER, b"odd"), data(OTHER, b"same address")]);

    old.input(Input::Bind(peer(PEER)));
    assert_eq!(old.events(), [Event::Destination { peer: peer(PEER) }]);
    old.sent.clear();
    let rtp = [&[0x80, 0x60][..], &[7; 40]].concat();
    old.send(PEER, &rtp);
    assert_eq!(*old.sent[0], rtp, "as it is");
    old.comes(PEER, &rtp);
    old.comes(OTHER, b"framed");
    old.send(OTHER, b"framed too");
    assert_eq!(old.at_peers(), [(peer(PEER), rtp.clone()), (peer(OTHER), b"framed too".to_vec())]);
    assert_eq!(old.events(), [data(PEER, &rtp), data(OTHER, b"framed")]);
    assert_eq!(old.client.read(&rtp), Some((peer(PEER), &rtp[..])), "in place");

    old.input(Input::Bind(peer(FAR)));
    old.comes(FAR, b"bare now");
    old.comes(PEER, b"framed again");
    assert_eq!(
        old.events(),
        [Event::Destination { peer: peer(FAR) }, data(FAR, b"bare now"), data(PEER, b"framed again")]
    );
}

#[test]
fn numbers_count_sends_and_destinations_and_a_repeated_request_is_the_same_bytes() {
    let mut old = Old::live(Transport::Udp);
    old.sent.clear();
    old.send(PEER, b"one");
    old.mute = true;
    old.input(Input::Bind(peer(PEER)));
    old.send(FAR, b"lost");
    old.mute = false;
    old.pass(600);
    assert_eq!(old.events(), [Event::Destination { peer: peer(PEER) }]);
    old.send(FAR, b"three");
    let numbers: Vec<_> = old
        .sent
        .iter()
        .map(|message| decode_old(message).expect("a request").legacy.sequence.expect("numbered").number)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 2, 4]);
    assert_eq!(old.sent[1], old.sent[3]);
    assert_eq!(old.at_peers(), [(peer(PEER), b"one".to_vec()), (peer(FAR), b"three".to_vec())]);
}

#[test]
fn while_the_destination_is_in_doubt_every_send_names_its_peer() {
    let mut old = Old::live(Transport::Udp);
    old.input(Input::Bind(peer(PEER)));
    old.mute = true;
    old.input(Input::Bind(peer(FAR)));
    old.mute = false;
    old.at_peers();
    for to in [PEER, FAR] {
        old.send(to, b"which?");
        assert_eq!(old.at_peers(), [(peer(to), b"which?".to_vec())], "whatever the server knows by now");
    }
    old.mute = true;
    old.pass(40_000);
    old.mute = false;
    assert_eq!(
        old.events(),
        [Event::Destination { peer: peer(PEER) }, Event::NotBound { peer: peer(FAR), why: Failure::Timeout }]
    );
    old.send(PEER, b"still named");
    assert_eq!(old.at_peers(), [(peer(PEER), b"still named".to_vec())]);
    old.input(Input::Bind(peer(PEER)));
    assert_eq!(old.events(), [Event::Destination { peer: peer(PEER) }], "asked for anew, it is known again");
}

#[test]
fn a_refused_destination_leaves_the_old_one() {
    let mut old = Old::live(Transport::Udp);
    old.input(Input::Bind(peer(PEER)));
    old.input(Input::Bind(peer(FORBIDDEN)));
    assert_eq!(
        old.events(),
        [
            Event::Destination { peer: peer(PEER) },
            Event::NotBound { peer: peer(FORBIDDEN), why: refused(403) }
        ]
    );
    old.sent.clear();
    old.send(PEER, b"bare");
    assert_eq!(*old.sent[0], *b"bare");
    assert_eq!(old.at_peers(), [(peer(PEER), b"bare".to_vec())]);
}

#[test]
fn data_that_looks_like_a_message_is_framed() {
    let mut old = Old::live(Transport::Udp);
    old.input(Input::Bind(peer(PEER)));
    let nested = old.sent[0].clone();
    old.send(PEER, &nested);
    assert_eq!(old.at_peers(), [(peer(PEER), nested.to_vec())]);
    old.comes(PEER, &nested);
    assert_eq!(old.events()[1..], [data(PEER, &nested)], "a request is no word of the server's");
}

#[test]
fn on_a_stream_the_frame_tells_and_the_server_dials() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut old = Old::live(transport);
        old.send(PEER, b"dial");
        let [PeerOrder::Connect { connection, to, .. }] = old.real.orders[..] else {
            panic!("{:?}", old.real.orders)
        };
        assert_eq!(to, peer(PEER));
        old.real.report(PeerReport::Connected { connection });
        assert_eq!(old.at_peers(), [(peer(PEER), b"dial".to_vec())]);
        old.comes(PEER, b"indicated");
        old.input(Input::Bind(peer(PEER)));
        let nested = old.sent[0].clone();
        for bytes in [&nested[..], b"", b"bare"] {
            old.send(PEER, bytes);
            old.comes(PEER, bytes);
        }
        let bytes = [nested.to_vec(), Vec::new(), b"bare".to_vec()];
        assert_eq!(old.at_peers(), bytes.clone().map(|bytes| (peer(PEER), bytes)));
        let mut expected = vec![data(PEER, b"indicated"), Event::Destination { peer: peer(PEER) }];
        expected.extend(bytes.iter().map(|bytes| data(PEER, bytes)));
        assert_eq!(old.events(), expected);
    }
}

#[test]
fn any_split_of_a_stream_tells_the_same_and_garbage_ends_it() {
    let mut old = Old::live(Transport::Tcp);
    old.input(Input::Bind(peer(PEER)));
    old.events();
    let frames = [&[3, 0, 0, 3, 1, 2, 3][..], &[3, 0, 0, 0], &[3, 0, 0, 1, 9]].concat();
    for piece in [1, 2, 5, 100] {
        frames.chunks(piece).for_each(|piece| old.input(Input::Bytes(piece)));
        assert_eq!(old.events(), [data(PEER, &[1, 2, 3]), data(PEER, &[]), data(PEER, &[9])]);
    }
    old.input(Input::Bytes(&[7, 7]));
    assert_eq!(old.events(), [Event::Broken, Event::Ended(End::Lost(Failure::Disconnected))]);
    old.input(Input::Bytes(&[3, 0, 0, 0]));
    assert_eq!(old.events(), [], "nobody reads on");
}

#[test]
fn it_is_refreshed_to_the_same_address_and_given_back() {
    let mut old = Old::with(Transport::Udp, b"password", |config| {
        config.lifetime = Some(Lifetime::from_secs(600));
    });
    old.input(Input::Allocate);
    old.send(PEER, b"numbered");
    old.input(Input::Bind(peer(PEER)));
    old.pass(3_000_000);
    assert!(matches!(old.events()[..], [Event::Allocated(_), Event::Destination { .. }]), "{:?}", old.events);
    assert!(old.client.is_live());
    old.at_peers();
    old.send(PEER, b"still");
    assert_eq!(old.at_peers(), [(peer(PEER), b"still".to_vec())]);
    old.input(Input::Release);
    assert_eq!(old.events(), [Event::Ended(End::Released)]);
    assert!(old.real.relays.is_empty());
    old.input(Input::Release);
    old.send(PEER, b"late");
    assert_eq!(old.events(), [Event::NotSent { peer: peer(PEER) }]);
    old.input(Input::Allocate);
    assert!(matches!(old.events()[..], [Event::Allocated(_)]), "and again, with the nonce it has");
}

#[test]
fn an_allocation_that_the_server_lost_is_another_one_afterwards() {
    let mut old = Old::live(Transport::Udp);
    old.input(Input::Bind(peer(PEER)));
    old.events();
    old.real.input(crate::proto::turn::Input::Command(crate::proto::turn::Command::EndAll));
    old.real.pass(1_000);
    old.input(Input::Bind(peer(FAR)));
    let events = old.events();
    assert_eq!(events[0], Event::NotBound { peer: peer(FAR), why: refused(437) });
    // A server that leaves makes no other one.
    assert!(matches!(events[1..], [Event::Ended(End::Lost(Failure::Refused { .. }))]), "{events:?}");

    let mut old = Old::live(Transport::Udp);
    old.mute = true;
    old.real.pass(599_000);
    old.mute = false;
    // Its time is over at the server before the client's word is there.
    old.real = Real::new(|config| config.ports = 51_000..=51_100);
    old.real.millis = 540_000;
    old.pass(5_000);
    let events = old.events();
    assert!(
        matches!(events[..], [Event::Ended(End::Lost(Failure::Expired)), Event::Allocated(_)]),
        "{events:?}"
    );
}

#[test]
fn a_wrong_password_is_final_and_an_old_nonce_is_not() {
    let mut old = Old::with(Transport::Udp, b"passw0rd", |_| {});
    old.input(Input::Allocate);
    assert_eq!(old.events(), [Event::NotAllocated(refused(401))]);
    assert_eq!(old.sent.len(), 2);

    let mut old = Old::live(Transport::Udp);
    old.input(Input::Release);
    old.from = five_tuple(40_001, Transport::Udp);
    old.sent.clear();
    old.input(Input::Allocate);
    assert!(
        matches!(old.events()[1..], [Event::Allocated(_)]),
        "a nonce of another five-tuple gets 438 first"
    );
    assert_eq!(old.sent.len(), 2);
}

#[test]
fn silence_is_given_up_and_the_end_of_a_connection_is_the_end() {
    let mut old = Old::with(Transport::Udp, b"password", |_| {});
    old.mute = true;
    old.input(Input::Allocate);
    old.pass(60_000);
    assert_eq!((old.events(), old.sent.len()), (vec![Event::NotAllocated(Failure::Timeout)], 7));

    let mut old = Old::live(Transport::Udp);
    old.mute = true;
    old.pass(600_000);
    assert_eq!(old.events(), [Event::Ended(End::Lost(Failure::Expired))]);

    let mut old = Old::live(Transport::Udp);
    old.mute = true;
    old.input(Input::Release);
    old.pass(60_000);
    assert_eq!(old.events(), [Event::Ended(End::Unconfirmed)]);

    for input in [Input::Disconnected, Input::Moved] {
        let mut old = Old::live(Transport::Tcp);
        old.input(input);
        assert_eq!(old.events(), [Event::Ended(End::Lost(Failure::Disconnected))]);
    }
}

#[test]
fn what_the_dialect_has_not_is_said() {
    let mut old = Old::live(Transport::Udp);
    let ip = peer(PEER).ip();
    old.input(Input::Permit(ip));
    old.input(Input::Connect(peer(PEER)));
    old.send(PEER, &[0; limits::REQUEST_MAX]);
    let why = Failure::Unsupported;
    assert_eq!(
        old.events(),
        [
            Event::NotPermitted { peer: ip, why },
            Event::NotConnected { peer: peer(PEER), why },
            Event::NotSent { peer: peer(PEER) }
        ]
    );
}

#[test]
fn who_was_sent_to_is_bounded() {
    let mut old = Old::live(Transport::Udp);
    old.mute = true;
    let to = |n: usize| SocketAddr::from(([192, 0, (n / 250) as u8, (n % 250) as u8], 7_000));
    for n in 0..limits::PERMISSIONS_PER_ALLOCATION_MAX + 1 {
        old.input(Input::Send { peer: PeerAddr::new(to(n)), data: b"x" });
    }
    let one_more = PeerAddr::new(to(limits::PERMISSIONS_PER_ALLOCATION_MAX));
    assert_eq!(old.events(), [Event::NotSent { peer: one_more }]);
    old.input(Input::Bind(one_more));
    assert_eq!(old.events(), [Event::NotBound { peer: one_more, why: Failure::Full }]);
}

/// An answer to the last request, as a server would write it that knows no key, or another.
fn forged(old: &Old, kind: u16, code: Option<u16>, key: Option<&MacKey>) -> Vec<u8> {
    let last = old.sent.last().expect("a request");
    let mut out = [0; 300];
    let id = TransactionId(last[4..20].try_into().expect("16 bytes"));
    let mut writer = Writer::new(&mut out, kind, id).expect("room");
    if let Some(code) = code {
        let value = [0, 0, (code / 100) as u8, (code % 100) as u8];
        writer.attribute(attribute::ERROR_CODE, &value).expect("room");
        writer.attribute(attribute::REALM, REALM).expect("room");
        writer.attribute(attribute::NONCE, b"another nonce").expect("room");
    }
    writer.address(attribute::MAPPED_ADDRESS, address(RELAYED)).expect("room");
    if let Some(key) = key {
        writer.integrity(key).expect("room");
    }
    let len = writer.finish();
    out[..len].to_vec()
}

#[test]
fn nothing_is_believed_that_a_server_would_have_signed() {
    let wrong = MacKey::new(b"wrong");
    for code in [None, Some(300), Some(400), Some(403), Some(420), Some(486), Some(500), Some(508)] {
        for key in [None, Some(&wrong)] {
            let mut old = Old::live(Transport::Udp);
            old.mute = true;
            old.input(Input::Release);
            let kind = if code.is_none() { kind::ALLOCATE_RESPONSE } else { kind::ALLOCATE_ERROR };
            let answer = forged(&old, kind, code, key);
            old.input(Input::Message(&answer));
            assert_eq!(old.events(), [], "{code:?}");
            old.pass(60_000);
            assert_eq!(old.events(), [Event::Ended(End::Unconfirmed)]);
        }
    }
    // What nobody could sign must not be signed wrong either.
    let mut old = Old::live(Transport::Udp);
    old.mute = true;
    old.input(Input::Release);
    let answer = forged(&old, kind::ALLOCATE_ERROR, Some(437), Some(&wrong));
    old.input(Input::Message(&answer));
    assert_eq!(old.events(), []);
    let answer = forged(&old, kind::ALLOCATE_ERROR, Some(437), None);
    old.input(Input::Message(&answer));
    assert_eq!(old.events(), [Event::Ended(End::Released)]);
}

#[test]
fn a_server_that_challenges_for_ever_is_given_up() {
    let mut old = Old::live(Transport::Udp);
    old.mute = true;
    old.input(Input::Release);
    for n in 0.. {
        let mut answer = forged(&old, kind::ALLOCATE_ERROR, Some(438), None);
        // Another nonce each time.
        let at = answer.windows(5).position(|five| five == b"other").expect("the nonce");
        answer[at] = n;
        old.input(Input::Message(&answer));
        if let [Event::Ended(end)] = old.events()[..] {
            assert_eq!((end, u32::from(n)), (End::Unconfirmed, limits::CLIENT_CHALLENGES_MAX));
            return;
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_client_panic_or_believe(
        messages in prop::collection::vec((any::<Vec<u8>>(), 0x100_u16..0x118), 0..20),
        over_stream in any::<bool>(),
    ) {
        let mut old = Old::live(if over_stream { Transport::Tcp } else { Transport::Udp });
        old.input(Input::Bind(peer(PEER)));
        old.events();
        old.mute = true;
        for (bytes, kind) in messages {
            let control = [&kind.to_be_bytes()[..], &[0, 8], &[7; 16], &COOKIE, &bytes].concat();
            for message in [bytes, control] {
                old.client.handle_input(old.real.now(), Input::Message(&message));
                old.client.handle_input(old.real.now(), Input::Bytes(&message));
            }
        }
        old.settle();
        let harmless = |event: &Event| {
            matches!(event, Event::Data { .. } | Event::Broken | Event::Ended(End::Lost(Failure::Disconnected)))
        };
        prop_assert!(old.events.iter().all(harmless), "{:?}", old.events);
    }
}
