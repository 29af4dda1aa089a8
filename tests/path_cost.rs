//! What a relayed packet costs the worker on each tier, in one run whose rounds take turns. It judges nothing: figures of
//! one machine say nothing about another, and only their ratio says something about this one.
//!
//! `cargo test --release --test path_cost -- --ignored --nocapture`
#![cfg(feature = "server")]

#[allow(dead_code, reason = "shared with the socket tests, which use all of it")]
#[path = "socket/message.rs"]
mod message;
#[allow(dead_code, reason = "shared with the socket tests, which use all of it")]
#[path = "socket/plane.rs"]
mod plane;

use std::fs;
use std::sync::Arc;
use std::thread;

use swingbridge::relay::Stats;
use swingbridge::relay::Tier;

use plane::Allocation;
use plane::CHANNEL;
use plane::Client;
use plane::Plane;

const ROUNDS: usize = 5;
const BURSTS: usize = 40;
const BURST: usize = 128;
const BYTES: usize = 172;

/// One data plane with its calls.
struct Bench {
    tier: Tier,
    _plane: Plane,
    stats: Arc<Stats>,
    calls: Vec<(Client, Allocation)>,
    peer: Client,
    thread: String,
    dice: u64,
}

impl Bench {
    fn new(tier: Tier, count: usize) -> Self {
        let known = workers();
        let mut config = plane::config(1, &["127.0.0.1:0"]);
        config.path = plane::wish_for(tier);
        let mut plane = Plane::start_with(&config);
        let server = plane.server(0);
        let peer = Client::new(server.ip(), server);
        let calls = (0..count)
            .map(|_| {
                let client = Client::new(server.ip(), server);
                let allocation = plane.open(&client, peer.address());
                (client, allocation)
            })
            .collect();
        let thread = workers().into_iter().find(|one| !known.contains(one)).expect("a worker runs");
        Self { tier, stats: plane.stats(0), _plane: plane, calls, peer, thread, dice: 1 }
    }

    fn any(&mut self) -> usize {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) as usize % self.calls.len()
    }

    /// Nanoseconds of the worker for each packet of a round: to peers, or to clients.
    fn round(&mut self, to_peers: bool) -> f64 {
        let frame = message::channel_data(CHANNEL, &[7; BYTES]);
        let before = run_time(&self.thread);
        for _ in 0..BURSTS {
            let chosen: Vec<usize> = (0..BURST).map(|_| self.any()).collect();
            let done = self.counted(to_peers) + BURST as u64;
            for &index in &chosen {
                let (client, allocation) = &self.calls[index];
                if to_peers {
                    client.send(&frame)
                } else {
                    self.peer.send_to(&[7; BYTES], allocation.relayed)
                }
            }
            while self.counted(to_peers) < done {
                thread::yield_now();
            }
            if to_peers {
                while self.peer.poll().is_some() {}
            } else {
                chosen.iter().for_each(|index| drop(self.calls[*index].0.poll()));
            }
        }
        (run_time(&self.thread) - before) as f64 / (BURSTS * BURST) as f64
    }

    fn counted(&self, to_peers: bool) -> u64 {
        if to_peers { self.stats.to_peers.packets.get() } else { self.stats.to_clients.packets.get() }
    }
}

/// The threads of this process that are workers.
fn workers() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("this is Linux");
    tasks
        .filter_map(|task| Some(task.ok()?.path().to_str()?.to_owned()))
        .filter(|task| {
            fs::read_to_string(format!("{task}/comm")).is_ok_and(|name| name.starts_with("worker-"))
        })
        .collect()
}

/// Nanoseconds on a processor.
fn run_time(task: &str) -> u64 {
    let text = fs::read_to_string(format!("{task}/schedstat")).expect("the thread lives");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[test]
#[ignore = "measures, and judges nothing"]
fn a_packet_on_each_tier() {
    for count in [128, 2_048] {
        let mut benches = [Tier::Sockets, Tier::SkLookup].map(|tier| Bench::new(tier, count));
        for to_peers in [true, false] {
            let mut figures = [Vec::new(), Vec::new()];
            for _ in 0..ROUNDS {
                for (bench, figures) in benches.iter_mut().zip(&mut figures) {
                    figures.push(bench.round(to_peers));
                }
            }
            let [sockets, steered] = figures.map(median);
            let way = if to_peers { "client to peer" } else { "peer to client" };
            println!(
                "{count:>5} allocations, {way}: {} {sockets:.0} ns, {} {steered:.0} ns, ratio {:.2}",
                benches[0].tier.word(),
                benches[1].tier.word(),
                steered / sockets
            );
        }
    }
}
