//! What control hands to the data plane of bandwidth limits.

use crate::proto::media::Bandwidth;
use crate::proto::media::Bucket;
use crate::proto::types::Rate;

use super::*;

fn rate(bits_per_s: u64) -> Option<Rate> {
    Some(Rate::new(bits_per_s, Duration::from_secs(1)).expect("in range"))
}

fn limited() -> World {
    World::with(|config| {
        config.bandwidth_per_allocation = rate(2_000_000);
        config.bandwidth_per_user = rate(8_000_000);
    })
}

/// What came with each allocation so far.
fn granted(world: &World) -> Vec<Bandwidth> {
    let of = |change: &TableChange| match change {
        TableChange::Insert(new) => Some(new.bandwidth.clone()),
        _ => None,
    };
    world.changes.iter().filter_map(of).collect()
}

// proves rfc8656:5-21
#[test]
fn each_allocation_gets_its_own_rate_and_all_of_a_user_get_one_bucket() {
    let mut world = limited();
    Client::alice(&world, 1).allocate(&mut world);
    Client::alice(&world, 2).allocate(&mut world);
    Client::named(&world, 3, "bob", "password").allocate(&mut world);
    let granted = granted(&world);
    let own: Vec<_> =
        granted.iter().map(|bandwidth| bandwidth.allocation.clone().expect("a limit is set")).collect();
    assert!(own.iter().all(|bucket| Some(bucket.rate()) == rate(2_000_000)));
    assert!(own[0] != own[1] && own[1] != own[2]);
    assert_eq!(granted[0].user.as_ref().map(Bucket::rate), rate(8_000_000));
    assert!(granted[0].user.is_some() && granted[0].user == granted[1].user);
    assert!(granted[2].user.is_some() && granted[2].user != granted[0].user);
}

#[test]
fn without_limits_nothing_is_handed_over() {
    let mut world = World::new();
    Client::alice(&world, 1).allocate(&mut world);
    assert_eq!(granted(&world), [Bandwidth::default()]);
}

#[test]
fn the_bucket_goes_with_the_last_allocation_but_not_before_it_is_full() {
    let mut world = limited();
    let mut clients = [1, 2].map(|number| Client::alice(&world, number));
    for client in &mut clients {
        client.allocate(&mut world);
    }
    let bucket = granted(&world)[0].user.clone().expect("a limit is set");
    clients[0].refresh(&mut world, Some(0));
    let mut third = Client::alice(&world, 3);
    third.allocate(&mut world);
    assert_eq!(granted(&world)[2].user.as_ref(), Some(&bucket), "one allocation was left");
    // Everything ends, with the bucket drained: who comes back at once gets the same.
    bucket.drain(world.now().tick());
    clients[1].refresh(&mut world, Some(0));
    third.refresh(&mut world, Some(0));
    assert_eq!(world.server.occupancy().allocations, 0);
    Client::alice(&world, 4).allocate(&mut world);
    assert_eq!(granted(&world)[3].user.as_ref(), Some(&bucket), "no new bucket by allocating anew");
    world.pass(600);
    assert_eq!(world.server.occupancy().allocations, 0);
    Client::alice(&world, 5).allocate(&mut world);
    let anew = granted(&world)[4].user.clone();
    assert!(anew.is_some() && anew.as_ref() != Some(&bucket), "it was full long since");
}

#[test]
fn an_allocation_that_never_was_holds_no_bucket() {
    let mut world = limited();
    world.opens = Opens::Never(OpenFailure::NoRoom);
    assert_eq!(Client::alice(&world, 1).allocate(&mut world).code, 508);
    world.opens = Opens::Silent;
    let mut late = Client::alice(&world, 2);
    assert_eq!(late.ask(&mut world, Method::Allocate, udp), None);
    world.pass(3);
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!(granted(&world), []);
}
