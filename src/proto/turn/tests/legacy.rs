//! Clients that speak [MS-TURN].

use crate::proto::auth::legacy::WrongMac;
use crate::proto::types::Deadline;
use crate::proto::types::Transport;
use crate::proto::wire::SequenceNumber;
use crate::proto::wire::ms_turn::attributes as attribute;
use crate::proto::wire::ms_turn::encode::Writer;
use crate::proto::wire::ms_turn::framing::COOKIE;
use crate::proto::wire::ms_turn::framing::kind;

use super::*;

mod dialling;
mod edges;

/// A legacy client: what a message carries is what the test says, and the key signs it.
struct Old {
    from: FiveTuple,
    username: Vec<u8>,
    key: MacKey,
    nonce: Vec<u8>,
    transactions: u32,
    /// What the server handed out, and the last number used.
    sequence: Option<SequenceNumber>,
}

/// An answer, attribute by attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    kind: u16,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Heard {
    fn read(message: &[u8]) -> Self {
        assert_eq!(message[20..28], COOKIE);
        assert_eq!(usize::from(u16::from_be_bytes([message[2], message[3]])), message.len() - 20);
        let mut attributes = Vec::new();
        let mut rest = &message[28..];
        while let [t0, t1, l0, l1, value @ ..] = rest {
            let (value, behind) = value.split_at(usize::from(u16::from_be_bytes([*l0, *l1])));
            attributes.push((u16::from_be_bytes([*t0, *t1]), value.to_vec()));
            rest = behind;
        }
        Self { kind: u16::from_be_bytes([message[0], message[1]]), attributes }
    }

    fn value(&self, kind: u16) -> Option<&[u8]> {
        let mut of_kind = self.attributes.iter().filter(|(this, _)| *this == kind);
        let value = of_kind.next().map(|(_, value)| value.as_slice());
        assert!(of_kind.next().is_none(), "once");
        value
    }

    /// 0 for a success.
    fn code(&self) -> u16 {
        match self.value(attribute::ERROR_CODE) {
            Some(value) => u16::from(value[2]) * 100 + u16::from(value[3]),
            None => 0,
        }
    }

    fn number(&self, kind: u16) -> Option<u32> {
        self.value(kind).map(|value| u32::from_be_bytes(value.try_into().expect("four bytes")))
    }

    fn sequence(&self) -> Option<SequenceNumber> {
        self.value(attribute::MS_SEQUENCE_NUMBER).map(|value| SequenceNumber::read(value).expect("24 bytes"))
    }
}

/// What a legacy client puts on the wire: the last attribute is signed over all before it.
type Body<'a> = Vec<(u16, &'a [u8])>;

impl Old {
    fn alice(world: &World, number: u16) -> Self {
        Self::named(world, number, "alice", "password")
    }

    fn named(world: &World, number: u16, username: &str, password: &str) -> Self {
        let client = Client::named(world, number, username, password);
        let Client { from, username, key, nonce, .. } = client;
        Self { from, username, key, nonce, transactions: 0, sequence: None }
    }

    /// The same client on another transport, with a nonce for it.
    fn over(self, world: &World, transport: Transport) -> Self {
        let from = FiveTuple { transport, ..self.from };
        let nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &from);
        Self { from, nonce: nonce.0.to_vec(), ..self }
    }

    fn message(&mut self, kind: u16, body: &Body<'_>, signed: bool) -> Vec<u8> {
        self.transactions += 1;
        let mut id = [9; 16];
        id[12..].copy_from_slice(&self.transactions.to_be_bytes());
        let mut buffer = [0; 2_000];
        let mut writer = Writer::new(&mut buffer, kind, TransactionId(id)).expect("room");
        for (kind, value) in body {
            writer.attribute(*kind, value).expect("room");
        }
        if signed {
            writer.integrity(&self.key).expect("room");
        }
        let len = writer.finish();
        buffer[..len].to_vec()
    }

    /// A whole Allocate: a new one, a refresh, or with LIFETIME 0 the end.
    fn allocate_message(&mut self, lifetime: Option<u32>) -> Vec<u8> {
        let (user, nonce) = (self.username.clone(), self.nonce.clone());
        let lifetime = lifetime.map(u32::to_be_bytes);
        let mut body: Body<'_> = vec![(attribute::MS_VERSION, &[0, 0, 0, 1])];
        body.extend(lifetime.iter().map(|lifetime| (attribute::LIFETIME, &lifetime[..])));
        body.extend([
            (attribute::REALM, REALM.as_bytes()),
            (attribute::NONCE, &nonce[..]),
            (attribute::USERNAME, &user[..]),
        ]);
        self.message(kind::ALLOCATE, &body, true)
    }

    fn allocate(&mut self, world: &mut World, lifetime: Option<u32>) -> Heard {
        let message = self.allocate_message(lifetime);
        let heard = self.ask(world, &message).expect("an answer");
        self.sequence = heard.sequence().or(self.sequence);
        heard
    }

    /// Sends, and reads what came back; what is signed must be signed with the user's key.
    fn ask(&self, world: &mut World, message: &[u8]) -> Option<Heard> {
        let reply = world.send(self.from, message)?;
        assert_eq!(reply[4..20], message[4..20], "the transaction is echoed");
        let heard = Heard::read(&reply);
        if heard.value(attribute::MESSAGE_INTEGRITY).is_some() {
            assert_eq!(heard.attributes.last().map(|(kind, _)| *kind), Some(attribute::MESSAGE_INTEGRITY));
            // The decoder of requests reads the MAC of any message once its type is a request's; the type is covered,
            // so a copy is signed and compared.
            let covered = reply.len() - 24;
            let mut copy = [0; 2_000];
            let mut writer =
                Writer::new(&mut copy, heard.kind, TransactionId(reply[4..20].try_into().unwrap()))
                    .expect("room");
            for (kind, value) in &heard.attributes[..heard.attributes.len() - 1] {
                writer.attribute(*kind, value).expect("room");
            }
            writer.integrity(&self.key).expect("room");
            let len = writer.finish();
            assert_eq!((&copy[..len], len), (&reply[..], covered + 24), "signed with the user's key");
        }
        Some(heard)
    }

    /// The next number, as the server handed it out.
    fn next_number(&mut self) -> [u8; 24] {
        let sequence = self.sequence.as_mut().expect("the Allocate handed one out");
        sequence.number += 1;
        sequence.to_bytes()
    }

    fn within(&mut self, kind: u16, to: &str, data: Option<&[u8]>, sequence: Option<[u8; 24]>) -> Vec<u8> {
        let user = self.username.clone();
        let peer = peer(to).socket();
        let std::net::IpAddr::V4(ip) = peer.ip() else { panic!("IPv4") };
        let address = [&[0, 1][..], &peer.port().to_be_bytes(), &ip.octets()].concat();
        let mut body: Body<'_> = Vec::new();
        body.extend(sequence.iter().map(|number| (attribute::MS_SEQUENCE_NUMBER, &number[..])));
        body.extend([(attribute::USERNAME, &user[..]), (attribute::DESTINATION_ADDRESS, &address[..])]);
        body.extend(data.map(|data| (attribute::DATA, data)));
        self.message(kind, &body, true)
    }

    fn send(&mut self, world: &mut World, to: &str, data: &[u8]) -> Option<Heard> {
        let number = self.next_number();
        let message = self.within(kind::SEND, to, Some(data), Some(number));
        self.ask(world, &message)
    }

    fn set_destination(&mut self, world: &mut World, to: &str) -> Heard {
        let number = self.next_number();
        let message = self.within(kind::SET_ACTIVE_DESTINATION, to, None, Some(number));
        self.ask(world, &message).expect("an answer")
    }
}

fn dropped_as_replays(world: &World) -> usize {
    world.events.iter().filter(|event| matches!(event, Event::ReplayDropped)).count()
}

// proves ms_turn:4-13, ms_turn:6.1-4, ms_turn:6.2-1, ms_turn:7-1, ms_turn:7-4
#[test]
fn an_allocation_is_made_told_in_the_dialect_s_own_attributes_and_refreshed_to_the_same_address() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    let made = alice.allocate(&mut world, None);
    assert_eq!((made.kind, made.code()), (kind::ALLOCATE_RESPONSE, 0));
    let (_, relayed) = world.opened[0];
    let expected = [&[0, 1][..], &relayed.socket().port().to_be_bytes(), &[203, 0, 113, 7]].concat();
    assert_eq!(made.value(attribute::MAPPED_ADDRESS), Some(&expected[..]));
    assert!(made.value(attribute::XOR_MAPPED_ADDRESS).is_some());
    assert_eq!(made.number(attribute::LIFETIME), Some(600));
    assert_eq!(made.number(attribute::MS_VERSION), Some(1));
    assert_eq!(made.sequence().map(|sequence| sequence.number), Some(0), "libnice reads its top byte alone");
    let kinds: Vec<u16> = made.attributes.iter().map(|(kind, _)| *kind).collect();
    assert!(!kinds.contains(&attribute::REALM) && !kinds.contains(&attribute::NONCE));
    world.pass(540);
    let refreshed = alice.allocate(&mut world, None);
    assert_eq!((refreshed.code(), refreshed.value(attribute::MAPPED_ADDRESS)), (0, Some(&expected[..])));
    assert!(refreshed.value(attribute::XOR_MAPPED_ADDRESS).is_some());
    assert_eq!(refreshed.number(attribute::LIFETIME), Some(600));
    world.pass(599);
    assert_eq!(world.ends(), []);
    world.pass(1);
    assert_eq!(world.ends(), [EndReason::Expired]);
}

// proves ms_turn:6.2-2, ms_turn:8-2
#[test]
fn lifetime_0_releases_and_the_nonce_is_dead_with_the_allocation() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    let made = alice.allocate_message(None);
    alice.ask(&mut world, &made).expect("an answer");
    world.pass(41);
    let released = alice.allocate(&mut world, Some(0));
    assert_eq!((released.code(), released.number(attribute::LIFETIME)), (0, Some(0)));
    assert_eq!(world.ends(), [EndReason::Released]);
    let again = alice.ask(&mut world, &made).expect("an answer");
    assert_eq!(again.code(), 438, "the captured Allocate makes nothing");
    assert!(again.value(attribute::MESSAGE_INTEGRITY).is_none());
    alice.nonce = again.value(attribute::NONCE).expect("a new one").to_vec();
    assert_eq!(alice.allocate(&mut world, None).code(), 0);
}

// proves ms_turn:6.2-4
#[test]
fn a_nonce_is_good_as_long_as_its_allocation_and_every_refresh_counts_once() {
    let mut world = World::with(|config| config.session_lifetime_max = Duration::from_secs(24 * 3_600));
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let mut captured = Vec::new();
    for _ in 0..40 {
        world.pass(540);
        let message = alice.allocate_message(None);
        assert_eq!(
            alice.ask(&mut world, &message).expect("an answer").code(),
            0,
            "six hours under one nonce"
        );
        captured.push(message);
    }
    world.pass(41);
    for message in &captured[..39] {
        assert_eq!(alice.ask(&mut world, message), None);
    }
    assert_eq!(dropped_as_replays(&world), 39);
    world.pass(560);
    assert_eq!(world.ends(), [EndReason::Expired], "no captured refresh kept it alive");
}

// proves ms_turn:3-3, ms_turn:5-6, ms_turn:6.3-1, ms_turn:6.3-2
#[test]
fn a_send_permits_its_peer_reaches_it_and_is_never_answered() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    world.changes.clear();
    assert_eq!(alice.send(&mut world, "8.8.8.8:53", b"odd"), None);
    let relay = world.opened[0].0;
    let permit = TableChange::Permit { relay, peer: ip("8.8.8.8"), until: Deadline::NEVER };
    assert_eq!(world.changes, [permit]);
    assert_eq!(world.sent, [(relay, peer("8.8.8.8:53"), b"odd".to_vec())]);
}

// proves ms_turn:3-2, ms_turn:3-6, ms_turn:6.5-1, ms_turn:6.5-2, ms_turn:7-3
#[test]
fn a_destination_is_set_before_its_answer_and_an_error_leaves_the_old_one() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    world.changes.clear();
    let set = alice.set_destination(&mut world, "8.8.8.8:53");
    assert_eq!((set.kind, set.code()), (kind::SET_ACTIVE_DESTINATION_RESPONSE, 0));
    assert!(set.value(attribute::MESSAGE_INTEGRITY).is_some());
    assert_eq!(set.sequence(), alice.sequence, "the number of the request");
    let relay = world.opened[0].0;
    assert_eq!(world.changes[1..], [TableChange::Destination { relay, peer: peer("8.8.8.8:53") }]);
    world.changes.clear();
    let refused = alice.set_destination(&mut world, "127.0.0.1:53");
    assert_eq!((refused.kind, refused.code()), (kind::SET_ACTIVE_DESTINATION_ERROR, 403));
    assert!(refused.value(attribute::MESSAGE_INTEGRITY).is_some());
    let number = alice.next_number();
    let user = alice.username.clone();
    let nowhere = alice.message(
        kind::SET_ACTIVE_DESTINATION,
        &vec![(attribute::MS_SEQUENCE_NUMBER, &number[..]), (attribute::USERNAME, &user[..])],
        true,
    );
    assert_eq!(alice.ask(&mut world, &nowhere).expect("an answer").code(), 400);
    assert_eq!(world.changes, []);
}

// proves ms_turn:6.5-3
#[test]
fn a_destination_may_change_at_once() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let relay = world.opened[0].0;
    for to in ["8.8.8.8:53", "8.8.8.8:54", "9.9.9.9:53", "8.8.8.8:53"] {
        assert_eq!(alice.set_destination(&mut world, to).code(), 0);
        let destination = TableChange::Destination { relay, peer: peer(to) };
        assert_eq!(world.changes.last(), Some(&destination), "without three seconds of transition");
    }
}

// proves ms_turn:6.5-4, ms_turn:8-2
#[test]
fn without_an_allocation_a_destination_gets_437_and_a_send_nothing() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    let message = alice.within(kind::SET_ACTIVE_DESTINATION, "8.8.8.8:53", None, None);
    assert_eq!(alice.ask(&mut world, &message).expect("an answer").code(), 437);
    let message = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), None);
    assert_eq!(alice.ask(&mut world, &message), None);
    assert_eq!(world.sent, []);
}

// proves ms_turn:6.3-2
#[test]
fn a_forbidden_peer_gets_nothing_from_a_send_however_it_is_asked() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    for to in
        ["127.0.0.1:80", "0.0.0.0:80", "169.254.169.254:80", "10.0.0.1:80", "224.0.0.1:80", "203.0.113.7:80"]
    {
        world.changes.clear();
        assert_eq!(alice.send(&mut world, to, b"x"), None, "{to}");
        assert_eq!((world.changes.len(), world.sent.len()), (0, 0), "{to}");
        assert!(matches!(world.events.last(), Some(Event::Discarded)), "and it is counted");
    }
    let reached = "8.8.8.8:9";
    alice.send(&mut world, reached, b"x");
    assert_eq!(world.sent.len(), 1);
}

// proves ms_turn:7-2
#[test]
fn of_ten_thousand_replays_none_has_an_effect() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let mut captured = Vec::new();
    for number in 0..100_u16 {
        let sequence = alice.next_number();
        let to = format!("8.8.8.8:{}", 1_000 + number);
        let message = alice.within(kind::SEND, &to, Some(b"x"), Some(sequence));
        alice.ask(&mut world, &message);
        captured.push(message);
    }
    assert_eq!(world.sent.len(), 100);
    world.changes.clear();
    for round in 0..100 {
        for message in &captured {
            assert_eq!(alice.ask(&mut world, message), None, "{round}");
        }
    }
    assert_eq!((world.sent.len(), world.changes.len()), (100, 0));
    assert_eq!(dropped_as_replays(&world), 10_000);
}

// proves ms_turn:7-2
#[test]
fn a_message_that_127_others_overtook_has_its_effect_once_and_an_older_one_none() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let messages: Vec<_> = (0..129_u16)
        .map(|number| {
            let sequence = alice.next_number();
            alice.within(kind::SEND, &format!("8.8.8.8:{}", 1_000 + number), Some(b"x"), Some(sequence))
        })
        .collect();
    for message in messages.iter().rev() {
        alice.ask(&mut world, message);
        alice.ask(&mut world, message);
    }
    let ports: Vec<u16> = world.sent.iter().map(|(_, peer, _)| peer.port()).collect();
    assert_eq!(ports, (1_001..1_129).rev().collect::<Vec<_>>(), "128 of 129, each once");
}

// proves ms_turn:7-2
#[test]
fn a_repeated_destination_gets_its_answer_again_and_its_number_with_another_transaction_nothing() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let number = alice.next_number();
    let first = alice.within(kind::SET_ACTIVE_DESTINATION, "8.8.8.8:53", None, Some(number));
    let answer = alice.ask(&mut world, &first);
    assert_eq!(answer.as_ref().map(Heard::code), Some(0));
    world.changes.clear();
    assert_eq!(alice.ask(&mut world, &first), answer);
    let other = alice.within(kind::SET_ACTIVE_DESTINATION, "9.9.9.9:53", None, Some(number));
    assert_eq!(alice.ask(&mut world, &other), None);
    assert_eq!((world.changes.len(), dropped_as_replays(&world)), (0, 1));
}

// proves ms_turn:6.3-1
#[test]
fn a_number_of_another_connection_and_a_wrong_mac_change_nothing_and_do_not_move_the_window() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let handed = alice.sequence.expect("handed out");
    let foreign = SequenceNumber { connection: [1; 20], number: 1 };
    let message = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), Some(foreign.to_bytes()));
    assert_eq!(alice.ask(&mut world, &message), None);
    assert_eq!(dropped_as_replays(&world), 1);
    let far = SequenceNumber { number: u32::MAX - 1, ..handed };
    let mut forged = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), Some(far.to_bytes()));
    *forged.last_mut().expect("a MAC") ^= 1;
    assert_eq!(alice.ask(&mut world, &forged), None);
    assert_eq!(world.sent, []);
    alice.send(&mut world, "8.8.8.8:53", b"x");
    assert_eq!(world.sent.len(), 1, "the window stands where it stood");
    let last = SequenceNumber { number: u32::MAX, ..handed };
    let message = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), Some(last.to_bytes()));
    alice.ask(&mut world, &message);
    assert_eq!(world.sent.len(), 1, "numbers do not wrap");
}

#[test]
fn without_numbers_transaction_ids_count_until_a_number_was_used_and_never_where_they_are_demanded() {
    for strict in [false, true] {
        let mut world = World::with(|config| config.legacy.strict_sequence_numbers = strict);
        let mut alice = Old::alice(&world, 1);
        alice.allocate(&mut world, None);
        let bare = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), None);
        alice.ask(&mut world, &bare);
        alice.ask(&mut world, &bare);
        assert_eq!(world.sent.len(), usize::from(!strict));
        alice.send(&mut world, "8.8.8.8:53", b"y");
        let numbered = world.sent.len();
        assert_eq!(numbered, 1 + usize::from(!strict));
        let bare = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), None);
        alice.ask(&mut world, &bare);
        assert_eq!(world.sent.len(), numbered, "whoever counts goes on counting");
        let refreshed = alice.allocate(&mut world, None);
        assert_eq!(refreshed.code(), 0, "libnice refreshes without a number");
    }
}

#[test]
fn a_wrong_password_gets_401_at_once_or_431_where_the_operator_wants_it() {
    for (wrong_mac, code) in [(WrongMac::Unauthenticated, 401), (WrongMac::IntegrityCheckFailure, 431)] {
        let mut world = World::with(|config| config.legacy.wrong_mac = wrong_mac);
        let mut mallory = Old::named(&world, 1, "alice", "wrong");
        let refused = mallory.allocate(&mut world, None);
        assert_eq!((refused.kind, refused.code()), (kind::ALLOCATE_ERROR, code));
        assert!(refused.value(attribute::MESSAGE_INTEGRITY).is_none());
        assert_eq!(refused.value(attribute::REALM), Some(REALM.as_bytes()));
    }
}

#[test]
fn each_dialect_keeps_to_its_own_allocation() {
    let mut world = World::new();
    let mut old = Old::alice(&world, 1);
    old.allocate(&mut world, None);
    let mut new = Client::alice(&world, 1);
    let request = new.request(Method::Refresh, |_| {});
    assert_eq!(world.send(new.from, &request), None, "on this five-tuple it is no message at all");
    assert!(matches!(world.events.last(), Some(Event::Discarded)));
    let mut new = Client::alice(&world, 2);
    new.allocate(&mut world);
    let mut old = Old::alice(&world, 2);
    let message = old.allocate_message(Some(0));
    assert_eq!(world.send(old.from, &message), None);
    assert_eq!(world.ends(), []);
}

#[test]
fn another_user_can_neither_send_nor_end_what_is_alice_s() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let mut bob = Old::named(&world, 1, "bob", "password");
    bob.sequence = alice.sequence;
    assert_eq!(bob.send(&mut world, "8.8.8.8:53", b"x"), None);
    assert_eq!(world.sent, []);
    let ended = bob.allocate_message(Some(0));
    assert_eq!(bob.ask(&mut world, &ended).expect("an answer").code(), 441);
    assert_eq!(world.ends(), []);
}

// proves ms_turn:4-3
#[test]
fn mandatory_attributes_that_are_not_known_get_420_and_in_a_send_silence() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let (user, number) = (alice.username.clone(), alice.next_number());
    for (kind, answered) in [(kind::SET_ACTIVE_DESTINATION, Some(420)), (kind::SEND, None)] {
        let number = if answered.is_some() { number } else { alice.next_number() };
        let body = vec![
            (attribute::MS_SEQUENCE_NUMBER, &number[..]),
            (attribute::USERNAME, &user[..]),
            (attribute::DESTINATION_ADDRESS, &[0, 1, 0, 53, 8, 8, 8, 8]),
            (attribute::DATA, b"x"),
            (0x7FFF, b"?"),
        ];
        let message = alice.message(kind, &body, true);
        let heard = alice.ask(&mut world, &message);
        assert_eq!(heard.as_ref().map(Heard::code), answered);
        if let Some(heard) = heard {
            assert_eq!(heard.value(attribute::UNKNOWN_ATTRIBUTES), Some(&[0x7F, 0xFF][..]));
        }
    }
    assert_eq!(world.sent, []);
}

#[test]
fn permissions_of_one_allocation_are_bounded_and_stay() {
    let mut world = World::with(|config| config.permissions_per_allocation = 3);
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    for last in 1..=5 {
        alice.send(&mut world, &format!("8.8.8.{last}:53"), b"x");
    }
    assert_eq!(world.sent.len(), 3);
    assert_eq!(alice.set_destination(&mut world, "8.8.8.9:53").code(), 508);
    world.pass(599);
    assert_eq!(alice.set_destination(&mut world, "8.8.8.1:54").code(), 0);
}

#[test]
fn a_worker_that_panicked_is_told_what_is_permitted_and_the_destination_again() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    alice.set_destination(&mut world, "8.8.8.8:53");
    alice.set_destination(&mut world, "9.9.9.9:53");
    world.changes.clear();
    world.input(Input::WorkerRestarted { worker: WorkerId(0), epoch: 1, carried: Box::default() });
    while world.server.is_rebuilding(WorkerId(0)) {
        world.server.handle_timeout(world.now());
        world.drain();
    }
    let relay = world.opened[0].0;
    let permit = |peer| TableChange::Permit { relay, peer: ip(peer), until: Deadline::NEVER };
    assert!(world.changes.contains(&permit("8.8.8.8")) && world.changes.contains(&permit("9.9.9.9")));
    let destination = TableChange::Destination { relay, peer: peer("9.9.9.9:53") };
    assert_eq!(world.changes.last(), Some(&destination), "the last one that was set");
}
