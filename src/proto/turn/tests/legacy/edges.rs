//! Where clients of [MS-TURN] meet the rest of the server: other users, other dialects, limits, new configurations.

use std::net::SocketAddr;

use crate::proto::auth::credential::mint;
use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::auth::mras::MrasKey;
use crate::proto::auth::mras::TokenVersion;
use crate::proto::peers::PolicyBuilder;
use crate::proto::turn::tests::reconfigure::reconfigure;
use crate::proto::types::Rate;
use crate::proto::wire::StreamKind;

use super::*;

/// An Allocate with these attributes besides.
fn allocate_with(old: &mut Old, world: &mut World, more: &Body<'_>) -> Heard {
    let (user, nonce) = (old.username.clone(), old.nonce.clone());
    let mut body = more.clone();
    body.extend([
        (attribute::REALM, REALM.as_bytes()),
        (attribute::NONCE, &nonce[..]),
        (attribute::USERNAME, &user[..]),
    ]);
    let message = old.message(kind::ALLOCATE, &body, true);
    let heard = old.ask(world, &message).expect("an answer");
    old.sequence = heard.sequence().or(old.sequence);
    heard
}

fn streams(world: &World) -> Vec<StreamKind> {
    let stream = |event: &Event| match event {
        Event::LegacyMade { stream } => Some(*stream),
        _ => None,
    };
    world.events.iter().filter_map(stream).collect()
}

fn relayed(heard: &Heard) -> SocketAddr {
    match heard.value(attribute::MAPPED_ADDRESS).expect("a relayed address") {
        [0, 1, p0, p1, a, b, c, d] => {
            (std::net::Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*p0, *p1])).into()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_user_s_allocate_on_the_five_tuple_moves_neither_the_nonce_nor_the_window() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, Some(3_600));
    world.pass(3_000);
    let mut bob = Old::named(&world, 1, "bob", "password");
    let number = SequenceNumber { number: 1_000, ..alice.sequence.expect("handed out") }.to_bytes();
    let refused = allocate_with(&mut bob, &mut world, &vec![(attribute::MS_SEQUENCE_NUMBER, &number)]);
    assert_eq!(refused.code(), 441);
    alice.send(&mut world, "8.8.8.8:53", b"x");
    assert_eq!(world.sent.len(), 1, "the window stands where it stood");
    world.pass(599);
    assert_eq!(alice.allocate(&mut world, Some(3_600)).code(), 0);
    world.pass(1_000);
    assert_eq!(alice.allocate(&mut world, None).code(), 0, "her nonce is older than an hour, and hers");
    assert_eq!(world.ends(), []);
}

// proves ms_turn:5-7, ms_turn:7-1
#[test]
fn a_new_allocation_has_a_new_connection_whatever_the_client_remembers() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    let first = alice.allocate(&mut world, None).sequence().expect("handed out");
    alice.send(&mut world, "8.8.8.8:53", b"x");
    assert_eq!(alice.allocate(&mut world, None).sequence(), None, "who counts is not told to begin anew");
    let mut other = Old::alice(&world, 2);
    let number = first.to_bytes();
    let made = allocate_with(&mut other, &mut world, &vec![(attribute::MS_SEQUENCE_NUMBER, &number)]);
    let second = made.sequence().expect("handed out");
    assert_ne!(second.connection, first.connection);
    assert_eq!(second.number, 0);
    assert_eq!(other.send(&mut world, "8.8.8.8:53", b"y"), None);
    assert_eq!(world.sent.len(), 2);
}

// proves ms_turn:7-3
#[test]
fn a_refresh_with_a_number_is_answered_with_it_and_counts_once() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let number = alice.next_number();
    let (user, nonce) = (alice.username.clone(), alice.nonce.clone());
    let body: Body<'_> = vec![
        (attribute::MS_SEQUENCE_NUMBER, &number),
        (attribute::REALM, REALM.as_bytes()),
        (attribute::NONCE, &nonce),
        (attribute::USERNAME, &user),
    ];
    let message = alice.message(kind::ALLOCATE, &body, true);
    let answer = alice.ask(&mut world, &message).expect("an answer");
    assert_eq!((answer.code(), answer.sequence()), (0, alice.sequence));
    assert_eq!(alice.ask(&mut world, &message), Some(answer), "a retransmission");
    let repeated = alice.message(kind::ALLOCATE, &body, true);
    assert_eq!(alice.ask(&mut world, &repeated), None, "the number with another transaction");
    world.pass(41);
    assert_eq!(alice.ask(&mut world, &message), None, "captured, and sent when the answer is forgotten");
    assert_eq!(dropped_as_replays(&world), 2);
}

// proves ms_turn:4-8
#[test]
fn a_server_that_leaves_sends_newcomers_elsewhere_and_keeps_whom_it_has() {
    let elsewhere: SocketAddr = "203.0.113.9:3478".parse().expect("an address");
    let mut world = World::with(|config| config.alternate_servers = vec![elsewhere]);
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    world.input(Input::Command(Command::Drain));
    let refused = Old::alice(&world, 2).allocate(&mut world, None);
    assert_eq!(refused.code(), 300);
    let expected = [0, 1, 0x0D, 0x96, 203, 0, 113, 9];
    assert_eq!(refused.value(attribute::ALTERNATE_SERVER), Some(&expected[..]));
    assert!(refused.value(attribute::MESSAGE_INTEGRITY).is_some());
    world.pass(300);
    assert_eq!(alice.allocate(&mut world, None).code(), 0);
    assert_eq!(alice.set_destination(&mut world, "8.8.8.8:53").code(), 0);
    assert_eq!(alice.allocate(&mut world, Some(0)).code(), 0);
    assert_eq!(world.ends(), [EndReason::Released]);
}

#[test]
fn quotas_count_both_dialects_together() {
    let mut world = World::with(|config| config.allocations_per_user = 2);
    assert_eq!(Client::alice(&world, 1).allocate(&mut world).code, 0);
    let mut old = Old::alice(&world, 2);
    assert_eq!(old.allocate(&mut world, None).code(), 0);
    assert_eq!(Old::alice(&world, 3).allocate(&mut world, None).code(), 486);
    assert_eq!(Client::alice(&world, 4).allocate(&mut world).code, 486);
    assert_eq!(old.allocate(&mut world, Some(0)).code(), 0);
    assert_eq!(Old::alice(&world, 5).allocate(&mut world, None).code(), 0);
}

// proves ms_turn:4-14, ms_turn:4-15
#[test]
fn a_destination_of_ipv6_cannot_be_reached_from_the_ipv4_address_that_every_client_gets() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    let family = [2, 0, 0, 0];
    let wishes: Body<'_> =
        vec![(attribute::MS_VERSION, &[0, 0, 0, 6]), (attribute::REQUESTED_ADDRESS_FAMILY, &family)];
    let made = allocate_with(&mut alice, &mut world, &wishes);
    assert_eq!((made.code(), made.number(attribute::MS_VERSION)), (0, Some(2)));
    assert!(relayed(&made).is_ipv4(), "version 2 has nothing else");
    let refreshed = allocate_with(&mut alice, &mut world, &wishes);
    assert_eq!((refreshed.code(), relayed(&refreshed)), (0, relayed(&made)));
    world.changes.clear();
    let address = [&[0, 2, 0, 53, 0x26, 0x06, 0x47][..], &[0; 12], &[1]].concat();
    let user = alice.username.clone();
    for (kind, answered) in [(kind::SET_ACTIVE_DESTINATION, Some(443)), (kind::SEND, None)] {
        let number = alice.next_number();
        let body: Body<'_> = vec![
            (attribute::MS_SEQUENCE_NUMBER, &number),
            (attribute::USERNAME, &user),
            (attribute::DESTINATION_ADDRESS, &address),
            (attribute::DATA, b"x"),
        ];
        let message = alice.message(kind, &body, true);
        assert_eq!(alice.ask(&mut world, &message).map(|heard| heard.code()), answered);
    }
    assert_eq!((world.changes.len(), world.sent.len()), (0, 0));
}

// proves ms_turn:4-3, ms_turn:4-18
#[test]
fn bandwidth_management_is_ignored_and_the_kind_of_stream_is_told() {
    let mut world = World::new();
    for (number, quality, stream) in [
        (1, None, StreamKind::Audio),
        (2, Some([0, 2, 0, 0]), StreamKind::Video),
        (3, Some([0, 9, 0, 1]), StreamKind::Other),
    ] {
        let bytes = [7; 16];
        let managed = (0x8056..=0x8068).map(|kind| (kind, &bytes[..usize::from(kind) % 17]));
        let mut body: Body<'_> = managed.collect();
        body.extend(quality.iter().map(|value| (attribute::MS_SERVICE_QUALITY, &value[..])));
        let made = allocate_with(&mut Old::alice(&world, number), &mut world, &body);
        assert_eq!(made.code(), 0);
        let theirs = made.attributes.iter().any(|(kind, _)| (0x8055..=0x8068).contains(kind));
        assert!(!theirs, "nothing of it is answered");
        assert_eq!(streams(&world).last(), Some(&stream));
    }
    assert_eq!(Client::alice(&world, 4).allocate(&mut world).code, 0);
    assert_eq!(streams(&world).len(), 3, "of the other dialect nothing is told");
}

// proves ms_turn:6.1-4
#[test]
fn a_bandwidth_is_told_in_kbit_a_second_where_one_is_set() {
    for (rate, told) in [(None, None), (Rate::new(750_000, Duration::from_secs(1)), Some(750))] {
        let mut world = World::with(|config| config.bandwidth_per_allocation = rate);
        let mut alice = Old::alice(&world, 1);
        assert_eq!(alice.allocate(&mut world, None).number(attribute::BANDWIDTH), told);
        assert_eq!(alice.allocate(&mut world, None).number(attribute::BANDWIDTH), told, "also of a refresh");
    }
}

#[test]
fn a_new_policy_that_denies_the_destination_takes_its_permission_and_the_next_one_is_refused() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    alice.set_destination(&mut world, "8.8.8.8:53");
    alice.send(&mut world, "9.9.9.9:53", b"x");
    let relay = world.opened[0].0;
    let own = vec![ip("203.0.113.7")];
    let deny = vec!["8.8.8.0/24".parse().expect("a rule")];
    let policy = PolicyBuilder { deny, own: own.clone(), relay: own, ..PolicyBuilder::default() }.build();
    reconfigure(&mut world, |to| to.policy = Arc::new(policy));
    world.pass(1);
    let forbidden: Vec<_> =
        world.changes.iter().filter(|change| matches!(change, TableChange::Forbid { .. })).collect();
    assert_eq!(forbidden, [&TableChange::Forbid { relay, peer: ip("8.8.8.8") }]);
    assert_eq!(alice.set_destination(&mut world, "8.8.8.8:54").code(), 403);
    alice.send(&mut world, "8.8.8.8:53", b"x");
    alice.send(&mut world, "9.9.9.9:53", b"y");
    assert_eq!(world.sent.len(), 2, "the other peer is still there");
}

#[test]
fn clients_of_both_dialects_may_be_each_other_s_peers() {
    let mut world = World::new();
    let mut old = Old::alice(&world, 1);
    let old_relay = relayed(&old.allocate(&mut world, None)).to_string();
    let mut new = Client::alice(&world, 2);
    new.allocate(&mut world);
    let new_relay = world.opened[1].1.socket().to_string();
    assert_eq!(old.send(&mut world, &new_relay, b"check"), None);
    assert_eq!(world.sent, [(world.opened[0].0, peer(&new_relay), b"check".to_vec())]);
    assert_eq!(old.set_destination(&mut world, &new_relay).code(), 0);
    assert_eq!(new.permit(&mut world, &[&old_relay]).code, 0);
    assert_eq!(new.bind(&mut world, 0x4000, &old_relay).code, 0);
    assert_eq!(new.refresh(&mut world, Some(0)).code, 0);
    assert_eq!(old.set_destination(&mut world, &new_relay).code(), 403, "nobody's port any longer");
}

#[test]
fn when_the_session_is_over_nothing_goes_on() {
    let mut world = World::with(|config| config.session_lifetime_max = Duration::from_secs(600));
    let (name, password) = mint(&Secret::new(SECRET), "carol", world.now().unix + 60);
    let mut carol = Old::named(&world, 1, &name, &password);
    assert_eq!(carol.allocate(&mut world, None).code(), 0);
    world.pass(500);
    assert_eq!(carol.allocate(&mut world, None).code(), 0, "the name is over, the session is not");
    world.pass(160);
    assert_eq!(carol.set_destination(&mut world, "8.8.8.8:53").code(), 401);
    carol.send(&mut world, "8.8.8.8:53", b"x");
    assert_eq!(world.sent, []);
    assert_eq!(carol.allocate(&mut world, None).code(), 401);
}

// proves ms_turn:6.7-3
#[test]
fn on_a_stream_an_allocation_lives_as_long_as_its_connection_and_its_session() {
    let mut world = World::with(|config| config.session_lifetime_max = Duration::from_secs(24 * 3_600));
    let (name, password) = mint(&Secret::new(SECRET), "carol", world.now().unix + 60);
    let mut carol = Old::named(&world, 1, &name, &password).over(&world, Transport::Tcp);
    let mut alice = Old::alice(&world, 2).over(&world, Transport::Tls);
    assert_eq!(carol.allocate(&mut world, None).number(attribute::LIFETIME), Some(86_400));
    assert_eq!(alice.allocate(&mut world, Some(700)).number(attribute::LIFETIME), Some(700));
    for _ in 0..23 {
        world.pass(3_600);
        for old in [&mut carol, &mut alice] {
            old.send(&mut world, "8.8.8.8:53", b"still here");
        }
    }
    assert_eq!((world.sent.len(), world.ends()), (46, Vec::new()), "nobody refreshed");
    let left = carol.allocate(&mut world, None).number(attribute::LIFETIME);
    assert_eq!(left, Some(24 * 3_600 + 60 - 23 * 3_600), "what is left of the session");
    world.pass(3_700);
    assert_eq!(world.ends(), [EndReason::Expired], "the session is over");
    world.input(Input::ClientGone { worker: world.worker, from: alice.from });
    assert_eq!(world.ends(), [EndReason::Expired, EndReason::Disconnected]);
    let mut bob = Old::named(&world, 3, "bob", "password").over(&world, Transport::Tcp);
    bob.allocate(&mut world, None);
    assert_eq!(bob.allocate(&mut world, Some(0)).code(), 0);
    assert_eq!(world.ends().last(), Some(&EndReason::Released));
}

fn mras_keys(number: u8) -> MrasKey {
    MrasKey::new(&Secret::new([number; 20]), &Secret::new([number + 100; 20]))
}

fn with_mras(keys: &[u8]) -> Arc<Credentials> {
    Arc::new(Credentials::new(CredentialConfig {
        realm: REALM.into(),
        users: Vec::new(),
        secrets: Vec::new(),
        lifetime_max_s: 8 * 3_600,
        tokens: TokenConfig::default(),
        mras: keys.iter().map(|number| mras_keys(*number)).collect(),
    }))
}

/// A client with a token of the keys `number`, good for `seconds` from now.
fn bearer(world: &World, at: u16, number: u8, identity: &[u8], seconds: u64) -> Old {
    let token = mras_keys(number).mint(TokenVersion::V2, identity, world.now().unix + seconds);
    let old = Old::alice(world, at);
    let key = integrity_key(PasswordAlgorithm::Md5, &token.username, REALM.as_bytes(), &token.password);
    Old { username: token.username.into(), key, ..old }
}

#[test]
fn a_token_is_good_for_new_allocations_until_it_ends_and_for_what_it_made_thereafter() {
    let mut world = World::with(|config| config.credentials = with_mras(&[1]));
    let mut alice = bearer(&world, 1, 1, b"alice", 480 * 60);
    assert_eq!(alice.allocate(&mut world, None).code(), 0);
    assert_eq!(alice.set_destination(&mut world, "8.8.8.8:53").code(), 0);
    let mut short = bearer(&world, 2, 1, b"alice", 0);
    assert_eq!(short.allocate(&mut world, None).code(), 0);
    let leeway = limits::CREDENTIAL_CLOCK_LEEWAY.as_secs();
    world.pass(leeway + 1);
    assert_eq!(short.allocate(&mut world, None).code(), 0, "a refresh is judged by the key it has");
    let mut late = bearer(&world, 3, 1, b"alice", 0);
    world.pass(leeway + 1);
    assert_eq!(late.allocate(&mut world, None).code(), 401);
    assert_eq!(bearer(&world, 4, 1, b"alice", 480 * 60 + leeway + 1).allocate(&mut world, None).code(), 401);
    assert_eq!(bearer(&world, 5, 2, b"alice", 60).allocate(&mut world, None).code(), 401, "foreign keys");
}

#[test]
fn tokens_of_one_identity_share_its_quota() {
    let mut world = World::with(|config| {
        config.credentials = with_mras(&[1]);
        config.allocations_per_user = 1;
    });
    assert_eq!(bearer(&world, 1, 1, b"alice", 600).allocate(&mut world, None).code(), 0);
    assert_eq!(bearer(&world, 2, 1, b"alice", 900).allocate(&mut world, None).code(), 486);
    assert_eq!(bearer(&world, 3, 1, b"bob", 600).allocate(&mut world, None).code(), 0);
}

#[test]
fn a_new_configuration_brings_new_keys_and_leaves_live_what_lives() {
    let mut world = World::with(|config| config.credentials = with_mras(&[1]));
    let mut alice = bearer(&world, 1, 1, b"alice", 6_000);
    assert_eq!(alice.allocate(&mut world, None).code(), 0);
    let new = with_mras(&[2]);
    reconfigure(&mut world, |to| {
        to.credentials = new;
        to.legacy.wrong_mac = WrongMac::IntegrityCheckFailure;
    });
    assert_eq!(alice.allocate(&mut world, None).code(), 0);
    assert_eq!(bearer(&world, 2, 1, b"alice", 600).allocate(&mut world, None).code(), 431);
    assert_eq!(bearer(&world, 3, 2, b"alice", 600).allocate(&mut world, None).code(), 0);
}

#[test]
fn a_token_is_no_credential_of_the_other_dialect() {
    let mut world = World::with(|config| config.credentials = with_mras(&[1]));
    let Old { username, key, .. } = bearer(&world, 1, 1, b"alice", 600);
    let mut client = Client { username, key, ..Client::alice(&world, 1) };
    let request = client.request(Method::Allocate, udp);
    let reply = world.send(client.from, &request).expect("an answer");
    assert_eq!(told(&reply).code, 401);
}

#[test]
fn where_the_dialect_is_off_nothing_is_understood() {
    let mut world = World::with(|config| config.challenger.legacy = false);
    let message = Old::alice(&world, 1).allocate_message(None);
    let from = Client::alice(&world, 1).from;
    assert_eq!(world.send(from, &message), None);
    assert!(matches!(world.events[..], [Event::Discarded]));
}

// proves ms_turn:8-2
#[test]
fn while_the_port_is_being_opened_one_answer_does_for_copies_and_nothing_else_is_made() {
    let mut world = World::with(|_| {});
    world.opens = Opens::Silent;
    let mut alice = Old::alice(&world, 1);
    let message = alice.allocate_message(None);
    assert_eq!(alice.ask(&mut world, &message), None);
    assert_eq!(alice.ask(&mut world, &message), None);
    assert_eq!(dropped_as_replays(&world), 0, "it is no replay");
    assert_eq!(alice.allocate(&mut world, None).code(), 437);
    let within = alice.within(kind::SET_ACTIVE_DESTINATION, "8.8.8.8:53", None, None);
    assert_eq!(alice.ask(&mut world, &within).expect("an answer").code(), 437, "it does not live yet");
    assert_eq!(world.server.occupancy().allocations, 1);
    world.replies.clear();
    world.pass(3);
    let codes: Vec<_> = world.replies.iter().map(|(_, reply)| Heard::read(reply).code()).collect();
    assert_eq!(codes, [500], "when the worker says nothing");
}

#[test]
fn who_never_counts_has_a_bounded_number_of_requests_under_one_nonce() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let many = limits::TRANSACTIONS_PER_NONCE_MAX + 10;
    for _ in 0..many {
        let message = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), None);
        alice.ask(&mut world, &message);
    }
    assert_eq!(world.sent.len(), limits::TRANSACTIONS_PER_NONCE_MAX - 1, "the Allocate was one, too");
    let stale = alice.allocate(&mut world, None);
    assert_eq!(stale.code(), 438);
    alice.nonce = stale.value(attribute::NONCE).expect("a new one").to_vec();
    assert_eq!(alice.allocate(&mut world, None).code(), 0);
    let message = alice.within(kind::SEND, "8.8.8.8:53", Some(b"x"), None);
    alice.ask(&mut world, &message);
    assert_eq!(world.sent.len(), limits::TRANSACTIONS_PER_NONCE_MAX);
}

#[test]
fn a_newer_nonce_stays_the_allocation_s_whatever_is_sent_with_an_older_one() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, Some(3_600));
    let older = alice.nonce.clone();
    world.pass(600);
    let newer = Old::alice(&world, 1).nonce;
    alice.nonce.clone_from(&newer);
    assert_eq!(alice.allocate(&mut world, Some(3_600)).code(), 0);
    world.pass(2_900);
    alice.nonce = older;
    let number = alice.next_number();
    let numbered = vec![(attribute::MS_SEQUENCE_NUMBER, &number[..]), (attribute::LIFETIME, &[0, 0, 14, 16])];
    assert_eq!(allocate_with(&mut alice, &mut world, &numbered).code(), 0, "it is younger than an hour");
    world.pass(800);
    alice.nonce = newer;
    assert_eq!(alice.allocate(&mut world, None).code(), 0, "it is older than an hour, and the allocation's");
}

#[test]
fn what_an_allocate_must_not_say_is_answered_and_makes_nothing() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    let unknown = allocate_with(&mut alice, &mut world, &vec![(0x0019, &[17, 0, 0, 0])]);
    assert_eq!((unknown.code(), unknown.value(attribute::UNKNOWN_ATTRIBUTES)), (420, Some(&[0, 0x19][..])));
    let bad = allocate_with(&mut alice, &mut world, &vec![(attribute::LIFETIME, &[1, 2])]);
    assert_eq!(bad.code(), 400);
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!(alice.allocate(&mut world, None).code(), 0);
}

// proves ms_turn:6.5-1
#[test]
fn a_send_without_data_sends_nothing_and_a_wrong_mac_gets_no_new_nonce() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    alice.allocate(&mut world, None);
    let number = alice.next_number();
    let empty = alice.within(kind::SEND, "8.8.8.8:53", None, Some(number));
    assert_eq!(alice.ask(&mut world, &empty), None);
    assert_eq!(world.sent, []);
    let number = alice.next_number();
    let mut forged = alice.within(kind::SET_ACTIVE_DESTINATION, "8.8.8.8:53", None, Some(number));
    *forged.last_mut().expect("a MAC") ^= 1;
    let refused = alice.ask(&mut world, &forged).expect("an answer");
    assert_eq!((refused.kind, refused.code()), (kind::SET_ACTIVE_DESTINATION_ERROR, 401));
    assert_eq!(refused.value(attribute::NONCE), None, "within an allocation there is no use for one");
}

#[test]
fn a_release_without_an_allocation_gets_437() {
    let mut world = World::new();
    let mut alice = Old::alice(&world, 1);
    assert_eq!(alice.allocate(&mut world, Some(0)).code(), 437);
    assert_eq!(world.server.occupancy().allocations, 0);
}
