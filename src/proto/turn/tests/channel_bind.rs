//! ChannelBind, as a client meets it.

use super::*;

fn ready() -> (World, Client) {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    (world, alice)
}

// proves rfc8656:12-7, rfc8656:12.2-5
#[test]
fn a_channel_is_bound_for_ten_minutes_and_its_peer_permitted_for_five() {
    let (mut world, mut alice) = ready();
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, 0);
    let bound = world.changes.iter().find_map(|change| match change {
        TableChange::Bind { channel, peer, until, .. } => {
            Some((channel.get(), peer.socket().to_string(), until.as_millis()))
        }
        _ => None,
    });
    assert_eq!(bound, Some((0x4000, "8.8.8.8:53".into(), 700_000)));
    let permitted = |change: &TableChange| {
        matches!(change, TableChange::Permit { peer, until, .. }
            if *peer == ip("8.8.8.8") && until.as_millis() == 400_000)
    };
    assert!(world.changes.iter().any(permitted));
}

// proves rfc8656:12-1, rfc8656:12.2-1
#[test]
fn numbers_outside_the_range_and_missing_parts_are_bad_requests() {
    let (mut world, mut alice) = ready();
    for number in [0x0000, 0x3FFF, 0x5000, 0x7FFF, 0xFFFF] {
        assert_eq!(alice.bind(&mut world, number, "8.8.8.8:53").code, 400, "{number:#x}");
    }
    let mut code = |body: &dyn Fn(&mut MessageWriter<'_>)| {
        alice.ask(&mut world, Method::ChannelBind, |writer| body(writer)).expect("an answer").code
    };
    let peer = |writer: &mut MessageWriter<'_>| {
        writer.peer(peer("8.8.8.8:53"));
    };
    assert_eq!(code(&peer), 400);
    assert_eq!(
        code(&|writer| {
            writer.attribute(attribute::CHANNEL_NUMBER, &channel_value(0x4000));
        }),
        400
    );
    // A CHANNEL-NUMBER without a value once ended another server's process.
    for value in [&[][..], &[0x40], &[0x40, 0]] {
        assert_eq!(
            code(&|writer| {
                writer.attribute(attribute::CHANNEL_NUMBER, value);
                peer(writer);
            }),
            400
        );
    }
}

// proves rfc8656:12-1
#[test]
fn the_range_of_rfc_5766_is_granted_where_the_operator_says_so() {
    let mut world = World::with(|config| config.channel_number_max = ChannelNumber::MAX_RFC5766);
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    assert_eq!(alice.bind(&mut world, 0x5000, "8.8.8.8:53").code, 0);
    assert_eq!(alice.bind(&mut world, 0x7FFE, "8.8.8.8:54").code, 0);
    assert_eq!(alice.bind(&mut world, 0x7FFF, "8.8.8.8:55").code, 400);
}

// proves rfc8656:12-6, rfc8656:12.2-1
#[test]
fn a_number_and_a_peer_belong_to_each_other() {
    let (mut world, mut alice) = ready();
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, 0);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, 0, "refreshed");
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:54").code, 400);
    assert_eq!(alice.bind(&mut world, 0x4001, "8.8.8.8:53").code, 400);
    assert_eq!(alice.bind(&mut world, 0x4001, "8.8.8.8:54").code, 0);
}

// proves rfc8656:12.2-2, rfc8656:12.2-3
#[test]
fn forbidden_peers_and_other_families_are_refused() {
    let (mut world, mut alice) = ready();
    assert_eq!(alice.bind(&mut world, 0x4000, "127.0.0.1:53").code, 403);
    assert_eq!(alice.bind(&mut world, 0x4000, "[2001:4860::1]:53").code, 443);
    assert_eq!(alice.bind(&mut world, 0x4000, "203.0.113.7:22").code, 403, "our own address");
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, 0, "a refusal ties nothing");
}

#[test]
fn of_our_own_address_only_a_live_relay_can_be_bound() {
    let (mut world, mut alice) = ready();
    let mut bob = Client::named(&world, 2, "bob", "password");
    let relayed = bob.allocate(&mut world).relayed.expect("an address").to_string();
    assert_eq!(alice.bind(&mut world, 0x4000, &relayed).code, 0);
    bob.refresh(&mut world, Some(0));
    assert_eq!(alice.bind(&mut world, 0x4000, &relayed).code, 403);
}

// proves rfc8656:12-7
#[test]
fn binding_again_makes_it_ten_minutes_from_then() {
    let (mut world, mut alice) = ready();
    alice.bind(&mut world, 0x4000, "8.8.8.8:53");
    world.pass(500);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:53").code, 0);
    let ends = world.changes.iter().filter_map(|change| match change {
        TableChange::Bind { until, .. } => Some(until.as_millis() / 1_000),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [700, 1_200]);
}

// proves rfc8656:12-8
#[test]
fn when_a_channel_is_over_for_five_minutes_its_number_and_peer_are_free_for_others() {
    let (mut world, mut alice) = ready();
    alice.refresh(&mut world, Some(3_600));
    alice.bind(&mut world, 0x4000, "8.8.8.8:53");
    world.pass(599 + 300);
    assert_eq!(
        alice.bind(&mut world, 0x4000, "8.8.8.8:54").code,
        400,
        "the standard has clients wait so long"
    );
    assert_eq!(alice.bind(&mut world, 0x4001, "8.8.8.8:53").code, 400);
    world.pass(1);
    assert_eq!(alice.bind(&mut world, 0x4000, "8.8.8.8:54").code, 0);
    assert_eq!(alice.bind(&mut world, 0x4001, "8.8.8.8:53").code, 0);
}
