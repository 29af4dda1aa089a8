//! What a packet costs in the program alone. It judges no time; it tells it, and sees that every run relayed its packet.

use std::time::Instant;

use swingbridge::relay::kernel::Mode;

use crate::cases::MODES;
use crate::cost::Ends;
use crate::cost::Ground;
use crate::lab;
use crate::world;
use crate::world::NEVER;
use crate::world::World;

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
            for limited in [false, true] {
                let ground = Ground::new(mode, limited).unwrap_or_else(|refused| panic!("{refused}"));
                let kinds = [("IPv4", Ends::V4), ("IPv6", Ends::V6), ("IPv4 and IPv6 in turn", Ends::Both)];
                for (name, ends) in kinds {
                    if mode == Mode::Tc && ends == Ends::Both {
                        continue;
                    }
                    let limits = if limited { "with bandwidth limits" } else { "without limits" };
                    for (way, frame) in ends.frames() {
                        let cost =
                            ground.cost(&frame).unwrap_or_else(|why| panic!("{mode:?} {name} {way}: {why}"));
                        println!(
                            "{mode:?}, {name}, {way}, {limits}: {} ns (least {})",
                            cost.median_ns, cost.least_ns
                        );
                    }
                }
            }
        }
    });
}
