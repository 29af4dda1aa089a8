//! What goes wrong, and in which words.

use proptest::prelude::*;

use super::super::*;
use super::world::Plan;
use super::world::SECOND;
use super::world::World;
use super::world::credential;
use super::world::turn;
use crate::proto::client;
use crate::proto::types::Dice;
use crate::proto::types::Entropy;
use crate::proto::types::Transport;
use crate::proto::types::limits;

/// What side 0 heard of its server.
fn refusals(world: &World) -> Vec<(Wanted, client::Failure)> {
    let of = |event: &Event| match event {
        Event::NotGathered { wanted, why, .. } => Some((*wanted, *why)),
        _ => None,
    };
    world.sides[0].events.iter().filter_map(|(_, event)| of(event)).collect()
}

const fn refused(code: u16) -> client::Failure {
    client::Failure::Refused { code, alternate: None }
}

#[test]
fn wrong_credentials_are_told_with_their_code() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut plan = Plan::new(Policy::RelayOnly, transport);
        plan.configs[0].servers[0].credential = Some(credential(b"not the password"));
        let mut world = World::new(1, plan);
        world.start();
        assert!(world.run(5 * SECOND, |world| world.failure(0).is_some()));
        assert_eq!(refusals(&world), [(Wanted::Relayed, refused(401))]);
        assert_eq!(world.failure(0).unwrap().1, Failure::NoCandidates);
        world.input(0, Input::Close);
        assert!(matches!(world.sides[0].events.last(), Some((_, Event::Closed { confirmed: true }))));
    }
}

#[test]
fn a_server_that_cannot_be_connected_to_is_told() {
    let mut world = World::new(1, Plan::new(Policy::RelayOnly, Transport::Tls));
    world.input(0, Input::Gather);
    world.input(0, Input::Disconnected { server: 0 });
    assert_eq!(refusals(&world), [(Wanted::Relayed, client::Failure::Disconnected)]);
    assert_eq!(world.failure(0).unwrap().1, Failure::NoCandidates);
}

#[test]
fn a_refusal_for_want_of_room_is_told_with_its_code() {
    let plan = Plan::new(Policy::RelayOnly, Transport::Udp);
    let mut world = World::with(2, plan, |config| config.allocations_total = 1);
    world.start();
    world.run(5 * SECOND, |world| world.failure(0).is_some());
    world.run(5 * SECOND, |world| world.failure(1).is_some());
    let both = [0, 1].map(|side| world.failure(side).map(|(_, why)| why));
    assert!(both.contains(&Some(Failure::NoCandidates)) && both.contains(&None), "{both:?}");
    let codes: Vec<_> = world.sides.iter().flat_map(|side| &side.events).collect();
    assert!(format!("{codes:?}").contains("code: 508"), "{codes:?}");
}

#[test]
fn a_silent_server_is_a_failure_in_bounded_time() {
    let mut world = World::new(3, Plan::new(Policy::RelayOnly, Transport::Udp));
    world.machine.is_silent = true;
    world.start();
    assert!(world.run(60 * SECOND, |world| world.failure(0).is_some()));
    let (at, why) = world.failure(0).unwrap();
    assert_eq!(why, Failure::NoCandidates);
    assert_eq!(refusals(&world), [(Wanted::Relayed, client::Failure::Timeout)]);
    let gather = u64::try_from(limits::ICE_GATHER_DEFAULT.as_micros()).unwrap();
    assert!((gather..=gather + SECOND).contains(&at), "{at}");
    // It is told that it may have granted something, for as long as a request takes.
    (0..2).for_each(|side| world.input(side, Input::Close));
    assert!(world.run(at + 41 * SECOND, World::is_closed));
    assert!(matches!(world.sides[0].events.last(), Some((_, Event::Closed { confirmed: false }))));
}

#[test]
fn a_server_that_wakes_up_late_has_nothing_left_to_keep() {
    let mut world = World::new(4, Plan::new(Policy::RelayOnly, Transport::Udp));
    world.machine.is_silent = true;
    world.start();
    assert!(world.run(60 * SECOND, |world| world.failure(0).is_some()));
    world.machine.is_silent = false;
    world.run(120 * SECOND, |_| false);
    assert_eq!(world.machine.allocations(), 0);
}

#[test]
fn without_a_server_both_sides_connect_by_their_sockets() {
    let mut world = World::new(5, Plan::new(Policy::All, Transport::Udp));
    world.machine.is_silent = true;
    world.start();
    assert!(world.run(5 * SECOND, World::are_connected));
    world.run(15 * SECOND, |_| false);
    let both = [(Wanted::Reflexive, client::Failure::Timeout), (Wanted::Relayed, client::Failure::Timeout)];
    assert_eq!(refusals(&world), both);
    assert_eq!(world.failure(0), None);
}

#[test]
fn a_peer_that_is_not_there_is_a_failure_in_bounded_time() {
    for (tells, expected, until) in [(true, Failure::NoPair, 40), (false, Failure::Timeout, 46)] {
        let mut world = World::new(6, Plan::new(Policy::All, Transport::Udp));
        world.is_deaf = [true; 2];
        world.trickles = tells;
        world.start();
        assert!(world.run(until * SECOND, |world| world.failure(0).is_some()));
        assert_eq!(world.failure(0).unwrap().1, expected);
    }
}

#[test]
fn a_peer_that_falls_silent_has_lost_its_consent() {
    let mut world = World::new(7, Plan::new(Policy::All, Transport::Udp));
    world.start();
    assert!(world.run(5 * SECOND, World::are_connected));
    world.run(10 * SECOND, |_| false);
    world.is_deaf = [true; 2];
    assert!(world.run(70 * SECOND, |world| world.failure(0).is_some()));
    let (at, why) = world.failure(0).unwrap();
    assert_eq!(why, Failure::ConsentLost);
    // RFC 7675 § 5.1 gives 30 seconds from the last answer.
    assert!(at <= 40 * SECOND, "{at}");
    let before = world.digest;
    world.input(0, Input::Send(b"data"));
    assert_eq!(world.digest, before, "nothing is sent without consent");
}

/// The other side asks all the time and never answers: nobody has consented.
#[test]
fn a_peer_that_asks_and_does_not_answer_has_not_consented() {
    for ignores in [false, true] {
        let mut plan = Plan::new(Policy::All, Transport::Udp);
        plan.configs[0].ignores_consent = ignores;
        let mut world = World::new(9, plan);
        world.start();
        assert!(world.run(5 * SECOND, World::are_connected));
        world.run(10 * SECOND, |_| false);
        world.is_unanswered[0] = true;
        assert_eq!(world.run(90 * SECOND, |world| world.failure(0).is_some()), !ignores);
        let before = world.digest;
        world.input(0, Input::Send(b"data"));
        assert_eq!(world.digest != before, ignores, "nothing is sent without consent");
        if let Some((at, why)) = world.failure(0) {
            assert_eq!(why, Failure::ConsentLost);
            assert!((36 * SECOND..=40 * SECOND + 50_000).contains(&at), "{at}");
        }
        assert_eq!(world.failure(1), None, "the other side is answered");
    }
}

/// Consent that is given does not run out, however long the call.
#[test]
fn a_peer_that_answers_keeps_its_consent_over_a_bad_line() {
    let mut world = World::new(10, Plan::new(Policy::All, Transport::Udp));
    world.start();
    assert!(world.run(5 * SECOND, World::are_connected));
    world.loss = 200;
    world.run(600 * SECOND, |world| (0..2).any(|side| world.failure(side).is_some()));
    assert_eq!([world.failure(0), world.failure(1)], [None, None]);
}

#[test]
fn an_allocation_that_is_lost_is_told_and_so_is_the_connection() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut world = World::new(8, Plan::new(Policy::RelayOnly, transport));
        world.start();
        assert!(world.run(5 * SECOND, World::are_connected));
        if transport == Transport::Udp {
            let now = world.now();
            world.machine.end_all(now);
            assert_eq!(world.machine.allocations(), 0);
        } else {
            (0..2).for_each(|side| world.input(side, Input::Disconnected { server: 0 }));
        }
        assert!(world.run(1_000 * SECOND, |world| world.failure(0).is_some()));
        let told = format!("{:?}", world.sides[0].events);
        if transport == Transport::Tcp {
            assert!(told.contains("RelayLost { server: 0, why: Disconnected }"), "{told}");
            assert_eq!(world.failure(0).unwrap().1, Failure::RelayLost);
        } else {
            assert_eq!(world.failure(0).unwrap().1, Failure::ConsentLost);
        }
        (0..2).for_each(|side| world.input(side, Input::Close));
        let until = world.micros() + 60 * SECOND;
        assert!(world.run(until, World::is_closed));
    }
}

#[test]
fn an_allocation_that_the_server_forgot_is_told_when_it_is_next_asked_for() {
    let mut world = World::new(12, Plan::new(Policy::All, Transport::Udp));
    world.start();
    assert!(world.run(5 * SECOND, World::are_connected));
    world.run(10 * SECOND, |_| false);
    let now = world.now();
    world.machine.end_all(now);
    assert!(world.sides[0].agent.description().to_string().contains("typ relay"));
    world.run(700 * SECOND, |_| false);
    for side in &world.sides {
        let told = format!("{:?}", side.events);
        assert!(told.contains("RelayLost { server: 0, why: Refused { code: 437"), "{told}");
        assert!(!side.agent.description().to_string().contains("typ relay"));
    }
    world.exchange();
    assert_eq!(world.failure(0), None);
}

#[test]
fn a_relay_that_is_lost_before_it_connected_anybody_leaves_no_candidates() {
    let mut world = World::new(13, Plan::new(Policy::RelayOnly, Transport::Tcp));
    world.trickles = false;
    world.start();
    world.run(SECOND, |_| false);
    world.input(0, Input::Disconnected { server: 0 });
    assert_eq!(world.failure(0).unwrap().1, Failure::NoCandidates);
}

#[test]
fn a_relay_that_is_lost_is_replaced_by_another_pair() {
    let mut plan = Plan::new(Policy::RelayOnly, Transport::Tcp);
    plan.configs.iter_mut().for_each(|config| config.servers.push(turn(Transport::Udp)));
    let mut world = World::new(9, plan);
    world.start();
    assert!(world.run(5 * SECOND, World::are_connected));
    world.run(10 * SECOND, |_| false);
    world.input(0, Input::Disconnected { server: 0 });
    world.run(15 * SECOND, |_| false);
    world.exchange();
    assert_eq!(world.failure(0), None);
}

#[test]
fn a_peer_that_the_server_forbids_is_told() {
    let mut world = World::with(10, Plan::new(Policy::RelayOnly, Transport::Udp), |_| {});
    world.start();
    assert!(world.run(5 * SECOND, World::are_connected));
    let denied: Candidate = "candidate:1 1 UDP 9 10.9.9.9 7 typ host".parse().unwrap();
    world.input(0, Input::RemoteCandidate(&denied));
    world.run(7 * SECOND, |_| false);
    let told = format!("{:?}", world.sides[0].events);
    let expected = "NotPermitted { server: 0, peer: 10.9.9.9, why: Refused { code: 403";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn candidates_of_another_agent_and_too_many_are_not_taken() {
    let run = |other: Option<&str>| {
        let mut world = World::new(11, Plan::new(Policy::All, Transport::Udp));
        world.trickles = false;
        world.start();
        world.run(SECOND, |_| false);
        if let Some(line) = other {
            world.input(0, Input::RemoteCandidate(&line.parse().unwrap()));
        }
        world.run(3 * SECOND, |_| false);
        world
    };
    let mut world = run(None);
    assert_eq!(run(Some("candidate:1 1 UDP 9 198.51.100.9 5000 typ host ufrag other")).digest, world.digest);
    assert_ne!(run(Some("candidate:1 1 UDP 9 198.51.100.9 5000 typ host")).digest, world.digest);
    for port in 1..=200 {
        let line = format!("candidate:1 1 UDP 9 198.51.100.77 {port} typ host");
        world.input(0, Input::RemoteCandidate(&line.parse().unwrap()));
    }
    world.run(10 * SECOND, |_| false);
    let sent = world.destinations.iter().filter(|to| to.ip() == world.sides[1].local.ip());
    assert!(sent.count() > 0);
    let ports = world.destinations.iter().filter(|to| to.ip().to_string() == "198.51.100.77").count();
    assert!((1..=limits::ICE_CANDIDATES_MAX).contains(&ports), "{ports}");
}

#[test]
fn an_agent_can_be_closed_at_any_time() {
    for millis in (0..400).step_by(7) {
        let mut world = World::new(millis, Plan::new(Policy::All, Transport::Udp));
        world.start();
        world.run(millis * 1_000, |_| false);
        (0..2).for_each(|side| world.input(side, Input::Close));
        let until = world.micros() + 60 * SECOND;
        assert!(world.run(until, World::is_closed), "{millis} ms");
        assert_eq!(world.machine.allocations(), 0, "{millis} ms");
    }
}

#[test]
fn an_agent_that_is_closed_while_nobody_answers_sleeps_until_it_gives_up() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut world = World::new(3, Plan::new(Policy::All, transport));
        world.machine.is_silent = true;
        world.start();
        world.run(SECOND, |_| false);
        (0..2).for_each(|side| world.input(side, Input::Close));
        assert!(world.run(60 * SECOND, World::is_closed), "{transport:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes from the network: noise, and messages of the run with bytes of them changed.
    #[test]
    fn nothing_that_comes_from_the_network_panics(seed: u64, messages in 1_usize..60) {
        let mut world = World::new(seed, Plan::new(Policy::All, Transport::Udp));
        world.start();
        world.run(SECOND / 2, |_| false);
        let mut dice = Dice::new(seed);
        let local = world.sides[0].local;
        for _ in 0..messages {
            let mut bytes = vec![0; usize::try_from(dice.number(120)).unwrap()];
            dice.fill_secret(&mut bytes);
            if bytes.len() > 20 && dice.chance(800) {
                let len = u16::try_from(bytes.len() - 20).unwrap() & !3;
                bytes.truncate(usize::from(len) + 20);
                bytes[..2].copy_from_slice(&[dice.number(2) as u8, [1, 0x11, 3, 0x17][dice.number(4) as usize]]);
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
            }
            let from = [world.sides[1].local, super::relay::LISTEN.parse().unwrap()][dice.number(2) as usize];
            world.input(0, Input::Datagram { local, from, bytes: &bytes });
            let bytes = &bytes;
            world.input(0, Input::Bytes { server: dice.number(3) as usize, bytes });
            world.input(0, Input::Disconnected { server: dice.number(3) as usize });
            world.input(0, Input::Opened { server: dice.number(3) as usize });
        }
        prop_assert!(world.run(20 * SECOND, World::are_connected));
    }
}
