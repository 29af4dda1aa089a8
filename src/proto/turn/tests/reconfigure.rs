//! A new configuration for a server at work.

use super::*;
use crate::proto::auth::credential::mint;
use crate::proto::peers::PeerPolicy;
use crate::proto::peers::Unlisted;
use crate::proto::types::limits;

const ANOTHER_SECRET: &[u8] = b"the secret that comes after it";

/// What the world's server runs with, for a test to change.
fn live_part(world: &World) -> Reconfiguration {
    let config = &world.server.config;
    Reconfiguration {
        credentials: Arc::clone(&config.credentials),
        policy: Arc::clone(&config.policy),
        nonce_lifetime: config.challenger.nonce_lifetime,
        lifetime_default: config.lifetime_default,
        lifetime_max: config.lifetime_max,
        permission_lifetime: config.permission_lifetime,
        channel_number_max: config.channel_number_max,
        channel_lifetime: config.channel_lifetime,
        session_lifetime_max: config.session_lifetime_max,
        allocations_per_user: config.allocations_per_user,
        allocations_per_address: config.allocations_per_address,
        mobility: config.mobility,
        legacy: config.legacy,
    }
}

pub(super) fn reconfigure(world: &mut World, change: impl FnOnce(&mut Reconfiguration)) {
    let mut to = live_part(world);
    change(&mut to);
    world.changes.clear();
    world.input(Input::Reconfigure(Box::new(to)));
}

/// The walk, to its end, without any time passing.
fn walk(world: &mut World) {
    while world.server.poll_timeout().is_some_and(|(at, _)| at.is_due(world.now().tick())) {
        world.server.handle_timeout(world.now());
        world.drain();
    }
}

fn policy(default: Unlisted, allow: &[&str], deny: &[&str]) -> Arc<PeerPolicy> {
    let rules = |rules: &[&str]| rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
    let own = vec![ip("203.0.113.7"), ip("2001:db8::7")];
    let builder = PolicyBuilder { default, allow: rules(allow), deny: rules(deny), relay: own.clone(), own };
    Arc::new(builder.build())
}

pub(super) fn deny(world: &mut World, deny: &[&str]) {
    let policy = policy(Unlisted::Public, &[], deny);
    reconfigure(world, |to| to.policy = policy);
    walk(world);
}

fn credentials(users: &[&str], secrets: &[&[u8]]) -> Arc<Credentials> {
    Arc::new(Credentials::new(CredentialConfig {
        realm: REALM.into(),
        users: users.iter().map(|name| (Username::new(name.as_bytes()), Secret::new(*b"password"))).collect(),
        secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(),
        lifetime_max_s: 8 * 3_600,
        tokens: TokenConfig::default(),
        mras: Vec::new(),
    }))
}

fn minted(world: &World, number: u16, secret: &[u8]) -> Client {
    let (name, password) = mint(&Secret::new(secret), "carol", world.now().unix + 3_600);
    Client::named(world, number, &name, &password)
}

/// What was taken back, as "forbid ADDRESS" and "unbind NUMBER".
fn taken(world: &World) -> Vec<String> {
    let told = |change: &TableChange| match change {
        TableChange::Forbid { peer, .. } => Some(format!("forbid {peer}")),
        TableChange::Unbind { channel, .. } => Some(format!("unbind {:#x}", channel.get())),
        _ => None,
    };
    let mut taken: Vec<_> = world.changes.iter().filter_map(told).collect();
    taken.sort();
    taken.dedup();
    taken
}

/// The counts of the last walk.
fn revoked(world: &World) -> Option<(u64, u64)> {
    world.events.iter().rev().find_map(|event| match event {
        Event::Reconfigured { permissions, channels } => Some((*permissions, *channels)),
        _ => None,
    })
}

#[test]
fn a_secret_that_changes_in_mid_call_ends_no_call_and_opens_no_new_one() {
    let mut world = World::new();
    let mut old = minted(&world, 1, SECRET);
    assert_eq!(old.allocate(&mut world).code, 0);
    reconfigure(&mut world, |to| to.credentials = credentials(&[], &[ANOTHER_SECRET]));
    walk(&mut world);
    assert_eq!(old.refresh(&mut world, Some(900)).code, 0);
    assert_eq!(old.permit(&mut world, &["8.8.8.8:1"]).code, 0);
    assert_eq!(old.bind(&mut world, 0x4000, "8.8.8.8:1").code, 0);
    let mut late = minted(&world, 2, SECRET);
    let request = late.request(Method::Allocate, udp);
    let reply = world.send(late.from, &request).expect("an answer");
    assert_eq!(told(&reply).code, 401);
    assert_eq!(minted(&world, 3, ANOTHER_SECRET).allocate(&mut world).code, 0);
    assert_eq!(world.ends(), []);
}

#[test]
fn while_both_secrets_stand_both_are_good() {
    let mut world = World::new();
    reconfigure(&mut world, |to| to.credentials = credentials(&[], &[ANOTHER_SECRET, SECRET]));
    assert_eq!(minted(&world, 1, SECRET).allocate(&mut world).code, 0);
    assert_eq!(minted(&world, 2, ANOTHER_SECRET).allocate(&mut world).code, 0);
}

// proves rfc8656:6-2, rfc8656:6-3
#[test]
fn a_user_that_is_removed_keeps_the_call_and_gets_no_other() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    reconfigure(&mut world, |to| to.credentials = credentials(&["bob"], &[SECRET]));
    assert_eq!(alice.refresh(&mut world, None).code, 0);
    let mut again = Client::alice(&world, 2);
    let request = again.request(Method::Allocate, udp);
    assert_eq!(told(&world.send(again.from, &request).expect("an answer")).code, 401);
    assert_eq!(Client::named(&world, 3, "bob", "password").allocate(&mut world).code, 0);
    alice.refresh(&mut world, Some(0));
    let request = alice.request(Method::Allocate, udp);
    let code = told(&world.send(alice.from, &request).expect("an answer")).code;
    assert!(matches!(code, 401 | 438), "with the call the stored key is gone: {code}");
}

#[test]
fn limits_below_what_is_in_use_take_nothing_and_give_nothing() {
    let mut world = World::new();
    let mut calls: Vec<_> = (0..4).map(|number| Client::alice(&world, number)).collect();
    calls.iter_mut().for_each(|call| assert_eq!(call.allocate(&mut world).code, 0));
    reconfigure(&mut world, |to| to.allocations_per_user = 2);
    walk(&mut world);
    assert_eq!(world.server.occupancy().live, 4);
    assert_eq!(Client::alice(&world, 9).allocate(&mut world).code, 486);
    for call in &mut calls[..2] {
        assert_eq!(call.refresh(&mut world, Some(0)).code, 0);
    }
    assert_eq!(Client::alice(&world, 10).allocate(&mut world).code, 486);
    assert_eq!(calls[2].refresh(&mut world, Some(0)).code, 0);
    assert_eq!(Client::alice(&world, 11).allocate(&mut world).code, 0);
    reconfigure(&mut world, |to| (to.allocations_per_user, to.allocations_per_address) = (0, 2));
    assert_eq!(Client::alice(&world, 12).allocate(&mut world).code, 486, "of the address there are two");
}

#[test]
fn lifetimes_count_for_what_is_asked_from_then_on() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    assert_eq!(alice.allocate(&mut world).lifetime, Some(600));
    reconfigure(&mut world, |to| {
        to.lifetime_max = Lifetime::from_secs(300);
        to.lifetime_default = Lifetime::from_secs(200);
        to.permission_lifetime = Duration::from_secs(7);
        to.channel_lifetime = Duration::from_secs(9);
        to.channel_number_max = ChannelNumber::MAX_RFC5766;
    });
    world.changes.clear();
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:1"]).code, 0);
    assert_eq!(alice.bind(&mut world, 0x7000, "8.8.4.4:1").code, 0);
    let after = |seconds| world.now().after(Duration::from_secs(seconds));
    assert!(
        world
            .changes
            .iter()
            .any(|change| matches!(change, TableChange::Permit { until, .. } if *until == after(7)))
    );
    assert!(
        world
            .changes
            .iter()
            .any(|change| matches!(change, TableChange::Bind { until, .. } if *until == after(9)))
    );
    assert_eq!(alice.refresh(&mut world, Some(3_000)).lifetime, Some(300));
    assert_eq!(Client::alice(&world, 2).allocate(&mut world).lifetime, Some(200));
}

#[test]
fn a_shorter_nonce_lifetime_counts_for_nonces_that_are_out() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    world.pass(60);
    assert_eq!(alice.refresh(&mut world, None).code, 0);
    reconfigure(&mut world, |to| to.nonce_lifetime = Duration::from_secs(30));
    assert_eq!(alice.refresh(&mut world, None).code, 438);
    assert_eq!(Client::alice(&world, 2).allocate(&mut world).code, 0);
}

#[test]
fn a_session_made_before_keeps_its_end_and_one_made_after_gets_the_new_one() {
    let mut world = World::new();
    let (mut before, hour) = (minted(&world, 1, SECRET), 3_600);
    before.allocate(&mut world);
    reconfigure(&mut world, |to| to.session_lifetime_max = Duration::ZERO);
    let mut after = minted(&world, 2, SECRET);
    after.allocate(&mut world);
    for call in [&mut before, &mut after] {
        assert_eq!(call.refresh(&mut world, Some(hour)).code, 0);
    }
    world.seconds += u64::from(hour) - 1;
    let nonce_of = |world: &World, call: &mut Client| {
        call.nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &call.from).0.to_vec();
    };
    world.seconds += 0;
    nonce_of(&world, &mut before);
    assert_eq!(before.refresh(&mut world, Some(hour)).code, 0);
    nonce_of(&world, &mut after);
    assert_eq!(after.refresh(&mut world, Some(hour)).code, 0, "a second is left");
    world.seconds += 2;
    assert_eq!(before.refresh(&mut world, Some(hour)).code, 0);
    let request = after.request(Method::Refresh, |_| {});
    assert_eq!(told(&world.send(after.from, &request).expect("an answer")).code, 401);
}

#[test]
fn workers_get_the_new_policy_before_anything_is_taken_back_and_people_hear_of_it_last() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.permit(&mut world, &["8.8.8.8:1"]);
    let policy = policy(Unlisted::None, &[], &[]);
    let to = Reconfiguration { policy, ..live_part(&world) };
    world.server.handle_input(world.now(), Input::Reconfigure(Box::new(to)));
    let mut told = Vec::new();
    loop {
        while let Some(output) = world.server.poll_output() {
            told.push(match output {
                Output::TableOfAll { change: TableChange::Policy(_) } => "policy",
                Output::Table { change: TableChange::Forbid { .. }, .. } => "forbid",
                Output::Event(Event::Reconfigured { .. }) => "done",
                other => panic!("{other:?}"),
            });
        }
        let Some((_, Wake::Revoking)) = world.server.poll_timeout() else { break };
        assert!(world.server.is_reconfiguring());
        world.server.handle_timeout(world.now());
    }
    assert_eq!(told, ["policy", "forbid", "done"]);
    assert!(!world.server.is_reconfiguring());
}

#[test]
fn a_peer_newly_denied_loses_permission_and_channel_at_once_and_the_others_stay() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.permit(&mut world, &["8.8.8.8:1", "9.9.9.9:1"]);
    alice.bind(&mut world, 0x4000, "8.8.8.8:1");
    alice.bind(&mut world, 0x4001, "9.9.9.9:1");
    alice.bind(&mut world, 0x4002, "1.1.1.1:1");
    deny(&mut world, &["8.8.8.0/24", "1.1.1.1/32"]);
    assert_eq!(taken(&world), ["forbid 1.1.1.1", "forbid 8.8.8.8", "unbind 0x4000", "unbind 0x4002"]);
    assert_eq!(revoked(&world), Some((2, 2)));
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:1"]).code, 403);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:1").code, 403);
    assert_eq!(alice.bind(&mut world, 0x4001, "9.9.9.9:1").code, 0);
    assert_eq!(alice.permit(&mut world, &["9.9.9.9:1"]).code, 0);
    assert_eq!(world.ends(), [], "the allocation itself lives");
}

#[test]
fn a_channel_that_outlived_its_permission_takes_the_address_with_it() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, "8.8.8.8:1");
    world.pass(400);
    deny(&mut world, &["8.8.8.8/32"]);
    assert_eq!(taken(&world), ["forbid 8.8.8.8", "unbind 0x4000"]);
    assert_eq!(revoked(&world), Some((0, 1)), "the permission had run out by itself");
}

#[test]
fn a_port_newly_denied_takes_its_channel_and_leaves_the_address() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, "8.8.8.8:53");
    alice.bind(&mut world, 0x4001, "8.8.8.8:54");
    deny(&mut world, &["8.8.8.8:53"]);
    assert_eq!(taken(&world), ["unbind 0x4000"]);
    assert_eq!(alice.permit(&mut world, &["8.8.8.8:53"]).code, 0, "a permission is by address");
}

#[test]
fn what_was_granted_for_longer_than_is_granted_now_is_taken_back_in_full() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.permit(&mut world, &["8.8.8.8:1"]);
    alice.bind(&mut world, 0x4000, "9.9.9.9:1");
    reconfigure(&mut world, |to| {
        to.permission_lifetime = Duration::from_secs(10);
        to.channel_lifetime = Duration::from_secs(10);
    });
    walk(&mut world);
    // Asked for again, both last as long as they did: workers take back nothing by themselves.
    alice.permit(&mut world, &["8.8.8.8:1"]);
    alice.bind(&mut world, 0x4000, "9.9.9.9:1");
    world.pass(20);
    deny(&mut world, &["8.8.8.8", "9.9.9.9"]);
    assert_eq!(taken(&world), ["forbid 8.8.8.8", "forbid 9.9.9.9", "unbind 0x4000"]);
    // Nor is the number anybody else's before the time of the first grant is over.
    let mut bob = Client::named(&world, 2, "bob", "password");
    bob.allocate(&mut world);
    reconfigure(&mut world, |to| to.channel_lifetime = Duration::from_secs(600));
    bob.bind(&mut world, 0x4001, "8.8.4.4:1");
    reconfigure(&mut world, |to| to.channel_lifetime = Duration::from_secs(10));
    bob.bind(&mut world, 0x4001, "8.8.4.4:1");
    world.pass(400);
    assert_eq!(bob.bind(&mut world, 0x4001, "8.8.4.5:1").code, 400);
}

#[test]
fn what_is_over_is_not_taken_back_nor_is_anything_twice() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.bind(&mut world, 0x4000, "8.8.8.8:1");
    alice.refresh(&mut world, Some(3_000));
    world.pass(700);
    deny(&mut world, &["8.8.8.8/32"]);
    assert_eq!((taken(&world), revoked(&world)), (vec![], Some((0, 0))));
    alice.bind(&mut world, 0x4001, "9.9.9.9:1");
    deny(&mut world, &["9.9.9.9/32"]);
    assert_eq!(revoked(&world), Some((1, 1)));
    deny(&mut world, &["9.9.9.9/32"]);
    assert_eq!((taken(&world), revoked(&world)), (vec![], Some((0, 0))));
}

#[test]
fn the_number_of_a_revoked_channel_stays_tied_to_its_peer_for_five_minutes() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.refresh(&mut world, Some(3_000));
    alice.bind(&mut world, 0x4000, "8.8.8.8:1");
    deny(&mut world, &["8.8.8.8/32"]);
    world.pass(299);
    assert_eq!(alice.bind(&mut world, 0x4000, "9.9.9.9:1").code, 400, "late packets may be under way");
    world.pass(1);
    assert_eq!(alice.bind(&mut world, 0x4000, "9.9.9.9:1").code, 0);
}

#[test]
fn a_peer_newly_allowed_is_reached_also_by_the_channel_that_was_revoked() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.permit(&mut world, &["10.1.2.3:1"]).code, 403);
    let open = policy(Unlisted::Public, &["10.1.0.0/16"], &[]);
    reconfigure(&mut world, |to| to.policy = Arc::clone(&open));
    walk(&mut world);
    assert_eq!(alice.permit(&mut world, &["10.1.2.3:1"]).code, 0);
    assert_eq!(alice.bind(&mut world, 0x4000, "10.1.2.3:1").code, 0);
    deny(&mut world, &[]);
    assert_eq!(taken(&world), ["forbid 10.1.2.3", "unbind 0x4000"]);
    reconfigure(&mut world, |to| to.policy = open);
    walk(&mut world);
    assert_eq!(alice.bind(&mut world, 0x4000, "10.1.2.3:1").code, 0);
    deny(&mut world, &[]);
    assert_eq!(taken(&world), ["forbid 10.1.2.3", "unbind 0x4000"], "bound anew, it can be revoked anew");
}

#[test]
fn the_same_configuration_again_takes_nothing() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Client::alice(&world, 1), Client::named(&world, 2, "bob", "password"));
    alice.allocate(&mut world);
    let to_bob = bob.allocate(&mut world).relayed.expect("an address").to_string();
    alice.bind(&mut world, 0x4000, "8.8.8.8:1");
    alice.bind(&mut world, 0x4001, &to_bob);
    bob.refresh(&mut world, Some(0));
    reconfigure(&mut world, |_| {});
    walk(&mut world);
    assert_eq!((taken(&world), revoked(&world)), (vec![], Some((0, 0))));
}

#[test]
fn an_own_relay_that_is_named_to_be_denied_is_taken_back() {
    let mut world = World::new();
    let (mut alice, mut bob) = (Client::alice(&world, 1), Client::named(&world, 2, "bob", "password"));
    alice.allocate(&mut world);
    let to_bob = bob.allocate(&mut world).relayed.expect("an address").to_string();
    assert_eq!(alice.bind(&mut world, 0x4001, &to_bob).code, 0);
    deny(&mut world, &["203.0.113.7/32"]);
    assert_eq!(taken(&world), ["forbid 203.0.113.7", "unbind 0x4001"]);
}

#[test]
fn three_hundred_allocations_lose_all_they_have_in_bounded_steps() {
    let mut world = World::with(|config| config.allocations_per_user = 0);
    for number in 0..300 {
        let mut client = Client::alice(&world, number);
        client.allocate(&mut world);
        client.permit(&mut world, &["8.8.8.8:1", "8.8.4.4:1", "9.9.9.9:1"]);
        client.bind(&mut world, 0x4000, "1.1.1.1:1");
    }
    let to = Reconfiguration { policy: policy(Unlisted::None, &["9.9.9.9/32"], &[]), ..live_part(&world) };
    world.changes.clear();
    world.server.handle_input(world.now(), Input::Reconfigure(Box::new(to)));
    let mut steps = 0;
    loop {
        assert!(world.server.outputs.len() <= limits::OUTPUTS_PER_INPUT_MAX);
        world.drain();
        if !world.server.is_reconfiguring() {
            break;
        }
        world.server.handle_timeout(world.now());
        steps += 1;
    }
    assert_eq!(revoked(&world), Some((3 * 300, 300)), "1.1.1.1 is permitted by its channel");
    let forbidden =
        world.changes.iter().filter(|change| matches!(change, TableChange::Forbid { .. })).count();
    assert_eq!(forbidden, 4 * 300, "once for its permission, once for its channel's sake");
    assert!(steps >= 1_200 / limits::REVOCATIONS_PER_CALL_MAX, "{steps}");
    assert_eq!(world.server.occupancy().live, 300);
}

#[test]
fn a_walk_over_many_that_lose_nothing_stops_in_between_for_other_work() {
    let mut world = World::with(|config| config.allocations_per_user = 0);
    let peers: Vec<String> = (1..=250).map(|n| format!("9.9.9.{n}:1")).collect();
    for number in 0..40 {
        let mut client = Client::alice(&world, number);
        client.allocate(&mut world);
        for some in peers.chunks(limits::PEERS_PER_REQUEST_MAX) {
            client.permit(&mut world, &some.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
    reconfigure(&mut world, |_| {});
    let mut steps = 0;
    while world.server.is_reconfiguring() {
        world.server.handle_timeout(world.now());
        world.drain();
        steps += 1;
    }
    assert!(steps >= 40 * 250 / (limits::REVOCATION_LOOKS_PER_CALL_MAX + 251), "{steps}");
    assert_eq!(revoked(&world), Some((0, 0)));
}

#[test]
fn a_second_configuration_in_mid_walk_begins_the_walk_anew() {
    let mut world = World::with(|config| config.allocations_per_user = 0);
    for number in 0..100 {
        let mut client = Client::alice(&world, number);
        client.allocate(&mut world);
        client.permit(&mut world, &["8.8.8.8:1", "9.9.9.9:1"]);
    }
    let first = policy(Unlisted::Public, &[], &["8.8.8.8/32"]);
    reconfigure(&mut world, |to| to.policy = first);
    world.server.handle_timeout(world.now());
    world.drain();
    assert!(world.server.is_reconfiguring(), "the walk is half way");
    deny(&mut world, &["9.9.9.9/32"]);
    let (permissions, _) = revoked(&world).expect("the walk ended");
    assert_eq!(permissions, 100 + limits::REVOCATIONS_PER_CALL_MAX as u64);
}

#[test]
fn a_call_that_ends_and_a_server_that_leaves_in_mid_walk_are_no_trouble() {
    let mut world = World::with(|config| config.allocations_per_user = 0);
    for number in 0..100 {
        let mut client = Client::alice(&world, number);
        client.allocate(&mut world);
        client.permit(&mut world, &["8.8.8.8:1"]);
    }
    let none = policy(Unlisted::None, &[], &[]);
    reconfigure(&mut world, |to| to.policy = none);
    world.input(Input::Command(Command::EndAll));
    walk(&mut world);
    assert_eq!(world.ends(), [EndReason::Shutdown; 100]);
    assert_eq!(world.server.poll_timeout().filter(|(_, wake)| *wake == Wake::Revoking), None);
}

#[test]
fn workers_hear_when_userhash_will_do_no_longer() {
    let mut world = World::with(|config| {
        config.credentials = credentials(&["alice"], &[]);
        config.challenger.nonce_key = config.challenger.nonce_key.clone().with_username_anonymity(true);
    });
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    for (secrets, announced) in [(&[][..], vec![]), (&[SECRET][..], vec![false]), (&[][..], vec![true])] {
        let to = Reconfiguration { credentials: credentials(&["alice"], secrets), ..live_part(&world) };
        world.server.handle_input(world.now(), Input::Reconfigure(Box::new(to)));
        let mut told = Vec::new();
        while let Some(output) = world.server.poll_output() {
            if let Output::Announce { username_anonymity } = output {
                told.push(username_anonymity);
            }
        }
        assert_eq!(told, announced);
        walk(&mut world);
    }
    reconfigure(&mut world, |to| to.credentials = credentials(&["alice"], &[SECRET]));
    assert_eq!(alice.refresh(&mut world, None).code, 438, "a nonce says what it was minted with");
    alice.nonce = Client::alice(&world, 1).nonce;
    assert_eq!(alice.refresh(&mut world, None).code, 0, "the call goes on with a new nonce");
}

#[test]
fn one_allocation_that_has_more_than_fits_a_step_loses_all_of_it() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let peers: Vec<String> = (1..=200).map(|n| format!("9.9.9.{n}:1")).collect();
    for some in peers.chunks(limits::PEERS_PER_REQUEST_MAX) {
        alice.permit(&mut world, &some.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for number in 0..100 {
        alice.bind(&mut world, 0x4000 + number, &format!("9.9.9.1:{}", 1 + number));
    }
    deny(&mut world, &["9.9.9.0/24"]);
    assert_eq!(revoked(&world), Some((200, 100)));
    assert_eq!(taken(&world).len(), 300);
}
