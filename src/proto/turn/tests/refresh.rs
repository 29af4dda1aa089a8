//! Refresh, as a client meets it.

use super::*;

#[test]
fn a_refresh_counts_from_now_and_is_capped() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    world.pass(500);
    assert_eq!(alice.refresh(&mut world, Some(u32::MAX)).lifetime, Some(3_600));
    let until = world.now().after(Duration::from_secs(3_600));
    let extended =
        |change: &TableChange| matches!(change, TableChange::Extend { until: at, .. } if *at == until);
    assert!(world.changes.iter().any(extended));
    world.pass(3_599);
    assert_eq!(world.server.occupancy().live, 1);
    world.pass(1);
    assert_eq!(world.server.occupancy().live, 0);
}

#[test]
fn a_shorter_lifetime_ends_it_sooner() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    alice.refresh(&mut world, Some(3_600));
    assert_eq!(alice.refresh(&mut world, Some(1)).lifetime, Some(600));
    world.pass(601);
    assert_eq!(world.ends(), [EndReason::Expired]);
}

#[test]
fn lengthening_and_shortening_by_turns_arms_no_more_timers() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    for _ in 0..100 {
        alice.refresh(&mut world, Some(3_600));
        alice.refresh(&mut world, Some(600));
    }
    assert!(world.server.timers.len() <= 3, "{} timers", world.server.timers.len());
}

#[test]
fn an_expired_allocation_frees_its_port_and_tells_why() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    world.pass(599);
    assert!(world.closed.is_empty());
    world.pass(1);
    assert_eq!(world.closed.len(), 1);
    assert_eq!(world.ends(), [EndReason::Expired]);
    assert_eq!(world.server.occupancy().ports[0].used, 0);
    alice.renew(&mut world);
    assert_eq!(alice.refresh(&mut world, None).code, 437);
}

#[test]
fn lifetime_zero_is_answered_when_the_port_is_closed() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    world.hold_closes = true;
    let release = alice.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(world.send(alice.from, &release), None);
    assert_eq!(world.send(alice.from, &release), None, "the same request waits for the same answer");
    assert_eq!(alice.refresh(&mut world, Some(0)).code, 437, "another one comes too late");
    let relay = world.closed[0];
    world.replies.clear();
    world.input(Input::RelayClosed { worker: WorkerId(0), relay, counters: Counters::default() });
    let (to, reply) = world.replies.pop().expect("an answer");
    assert_eq!((to, alice.read(&reply).lifetime), (alice.from, Some(0)));
    assert_eq!(world.ends(), [EndReason::Released]);
    assert_eq!(world.server.occupancy().ports[0].used, 0);
}

#[test]
fn a_repeated_release_gets_the_same_answer_after_the_allocation_is_gone() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let release = alice.request(Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    let first = world.send(alice.from, &release).expect("an answer");
    assert_eq!(world.send(alice.from, &release), Some(first));
}

#[test]
fn a_family_that_is_not_the_allocation_s_is_a_mismatch() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    for lifetime in [0, 600_u32] {
        let told = alice.ask(&mut world, Method::Refresh, |writer| {
            writer
                .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])
                .attribute(attribute::LIFETIME, &lifetime.to_be_bytes());
        });
        assert_eq!(told.expect("an answer").code, 443);
    }
    assert_eq!(world.server.occupancy().live, 1);
}

#[test]
fn nothing_to_refresh_is_a_mismatch() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    assert_eq!(alice.refresh(&mut world, None).code, 437);
    assert_eq!(alice.refresh(&mut world, Some(0)).code, 437);
}

#[test]
fn the_same_five_tuple_can_allocate_again_right_after_a_release() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    for _ in 0..50 {
        assert_eq!(alice.allocate(&mut world).code, 0);
        assert_eq!(alice.refresh(&mut world, Some(0)).lifetime, Some(0));
        alice.renew(&mut world);
    }
    assert_eq!(world.server.occupancy().allocations, 0);
}
