//! What a packet costs in the program alone. It judges no time; it tells it, and sees that every run relayed its packet.

use std::time::Duration;
use std::time::Instant;

use aya::programs::TestRunOptions;
use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::Counters;
use swingbridge::proto::types::Rate;
use swingbridge::proto::types::RelayId;
use swingbridge::relay::kernel::Mode;

use crate::cases::MODES;
use crate::frame::Plain;
use crate::frame::channel_data;
use crate::lab;
use crate::world;
use crate::world::LATER_MS;
use crate::world::NEVER;
use crate::world::World;

/// Runs of the program in one call. The kernel gives each run what the one before has left, so a packet is relayed on and on,
/// between two allocations that take it for each other's; in front of one that grows there is room for so many headers.
const RUNS: u32 = 40;
const CALLS: usize = 400;
const DATA_LEN: usize = 172;

/// Two ends each, of IPv4 and of IPv6: where a client is and where it sends to, the other being the relay port and the peer.
const ENDS: [[[&str; 2]; 2]; 3] = [
    [["192.0.2.1:50000", "203.0.113.5:3478"], ["192.0.2.2:50010", "203.0.113.6:3478"]],
    [["[2001:db8:a::1]:50000", "[2001:db8:1::5]:3478"], ["[2001:db8:a::2]:50010", "[2001:db8:1::6]:3478"]],
    [["192.0.2.1:50020", "203.0.113.5:3479"], ["[2001:db8:a::2]:50030", "[2001:db8:1::6]:3479"]],
];

#[test]
fn what_loading_costs() {
    lab::alone(|| {
        world::network();
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").expect("it is there");
            statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4
        };
        for mode in MODES {
            let (began, before) = (Instant::now(), resident());
            let world = World::new(mode, NEVER);
            println!(
                "{mode:?}: loaded in {:?}, {} kB more resident",
                began.elapsed(),
                resident().saturating_sub(before)
            );
            drop(world);
        }
    });
}

#[test]
fn what_a_packet_costs_in_the_program_alone() {
    lab::alone(|| {
        world::network();
        for mode in MODES {
            let relays = ["192.0.2.1", "192.0.2.2", "2001:db8:a::1", "2001:db8:a::2"];
            for limited in [false, true] {
                let mut world = World::with(mode, NEVER, &relays);
                for (number, [one, other]) in (0..).zip(ENDS) {
                    end(&mut world, 2 * number, one, other, limited);
                    end(&mut world, 2 * number + 1, other, one, limited);
                }
                for (name, [[relay, peer], _]) in ["IPv4", "IPv6", "IPv4 and IPv6 in turn"].iter().zip(ENDS) {
                    // TC leaves the frame's own header to the kernel, so what left cannot come again as another family.
                    if mode == Mode::Tc && name.contains("turn") {
                        continue;
                    }
                    let limits = if limited { "with bandwidth limits" } else { "without limits" };
                    // The same frame is what one allocation's client sends, and what the other's peer does.
                    let down = Plain { hops: 255, ..Plain::new(peer, relay, &[7; DATA_LEN]) };
                    let mut nested = vec![7; DATA_LEN];
                    (0..RUNS).for_each(|_| nested = channel_data(0x4000, &nested));
                    let up = Plain { hops: 255, ..Plain::new(relay, peer, &nested) };
                    for (way, plain) in [("client to peer", up), ("peer to client", down)] {
                        let (least, median) = cost(&world, &plain.frame());
                        println!("{mode:?}, {name}, {way}, {limits}: {median} ns (least {least})");
                    }
                }
            }
        }
    });
}

/// An allocation whose client is at `[at, to]` and whose relay port and peer are the other's.
fn end(world: &mut World, index: u32, at: [&str; 2], other: [&str; 2], limited: bool) {
    let rate = Rate::new(100_000_000_000, Duration::from_secs(60)).expect("a rate");
    let mut lend = || limited.then(|| world.buckets.lend(rate).expect("a place"));
    let bandwidth = Bandwidth { allocation: lend(), user: lend() };
    world.allocate_at(index, at[0], at[1], other[0], bandwidth);
    world.bind(index, 0x4000, other[1], [LATER_MS, LATER_MS]);
}

/// Nanoseconds of one run: the least and the median of all calls.
fn cost(world: &World, frame: &[u8]) -> (u128, u128) {
    let carried = |world: &World| {
        let all = (0..6).map(|index| world.writer.statistics(RelayId { index, generation: 1 }));
        all.map(|Counters { to_peer_packets, to_client_packets, .. }| to_peer_packets + to_client_packets)
            .sum::<u64>()
    };
    let before = carried(world);
    let mut costs: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut out = vec![0; 4_096];
            let options = TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                repeat: RUNS,
                ..TestRunOptions::new()
            };
            world.test(options).duration.as_nanos()
        })
        .collect();
    assert_eq!(carried(world) - before, CALLS as u64 * u64::from(RUNS), "every run relayed");
    costs.sort_unstable();
    (costs[0], costs[CALLS / 2])
}
