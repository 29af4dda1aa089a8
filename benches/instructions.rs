//! Thin callers of `swingbridge::internals::bench`. Valgrind counts the instructions of each body alone; what `setup` does
//! is not counted. A number at the end of a name is that of the allocations in the table.
#![allow(missing_docs, reason = "each name is the name of its figure")]

use std::hint::black_box;

use gungraun::library_benchmark;
use gungraun::library_benchmark_group;
use gungraun::main;
use swingbridge::internals::bench::control;
use swingbridge::internals::bench::control::Cycles;
use swingbridge::internals::bench::messages;
use swingbridge::internals::bench::messages::Messages;
use swingbridge::internals::bench::packets;
use swingbridge::internals::bench::packets::Relay;

/// What is done with a table.
type Packets = fn(&mut Relay) -> usize;

fn with_a_table(body: Packets, allocations: u32) -> (Packets, Relay) {
    (body, packets::relay(allocations))
}

#[library_benchmark(setup = with_a_table)]
#[bench::channel_to_peer_1(packets::channel_to_peer, 1)]
#[bench::channel_to_peer_1000(packets::channel_to_peer, 1_000)]
#[bench::channel_to_peer_100000(packets::channel_to_peer, 100_000)]
#[bench::send_to_peer_1(packets::send_to_peer, 1)]
#[bench::send_to_peer_1000(packets::send_to_peer, 1_000)]
#[bench::send_to_peer_100000(packets::send_to_peer, 100_000)]
#[bench::peer_to_channel_1(packets::peer_to_channel, 1)]
#[bench::peer_to_channel_1000(packets::peer_to_channel, 1_000)]
#[bench::peer_to_channel_100000(packets::peer_to_channel, 100_000)]
#[bench::peer_to_data_1(packets::peer_to_data, 1)]
#[bench::peer_to_data_1000(packets::peer_to_data, 1_000)]
#[bench::peer_to_data_100000(packets::peer_to_data, 100_000)]
#[bench::peer_unpermitted_1(packets::peer_unpermitted, 1)]
#[bench::peer_unpermitted_1000(packets::peer_unpermitted, 1_000)]
#[bench::peer_unpermitted_100000(packets::peer_unpermitted, 100_000)]
#[bench::come_and_go_1(packets::come_and_go, 1)]
#[bench::come_and_go_1000(packets::come_and_go, 1_000)]
#[bench::come_and_go_100000(packets::come_and_go, 100_000)]
fn packet((body, mut relay): (Packets, Relay)) -> Relay {
    black_box(body(black_box(&mut relay)));
    relay
}

/// What is done with messages.
type Read = fn(&Messages) -> usize;

fn with_messages(body: Read) -> (Read, Messages) {
    (body, messages::messages())
}

#[library_benchmark(setup = with_messages)]
#[bench::parse_binding(messages::parse_binding)]
#[bench::parse_allocate(messages::parse_allocate)]
#[bench::verify_sha1(messages::verify_sha1)]
#[bench::verify_sha256(messages::verify_sha256)]
#[bench::answer_allocate(messages::answer_allocate)]
#[bench::key_of_password(messages::key_of_password)]
fn message((body, messages): (Read, Messages)) -> Messages {
    black_box(body(black_box(&messages)));
    messages
}

#[library_benchmark(setup = control::cycles)]
#[bench::held_1(1)]
#[bench::held_1000(1_000)]
fn cycle(mut cycles: Cycles) -> Cycles {
    black_box(control::come_and_go(black_box(&mut cycles)));
    cycles
}

library_benchmark_group!(name = instructions; benchmarks = packet, message, cycle);
main!(library_benchmark_groups = instructions);
