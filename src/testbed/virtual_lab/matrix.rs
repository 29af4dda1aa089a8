//! Calls between all pairs of some places.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use crate::testbed::Place;
use crate::testbed::report::Lab;
use crate::testbed::report::Matrix;
use crate::testbed::scenario::Link;

use super::Plan;
use super::call;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Between which places.
    pub places: Vec<Place>,
    /// The seed of each pair's first call.
    pub seed: u64,
    /// Calls between each pair.
    pub seeds: u32,
    /// What lies between each place and the internet.
    pub link: Link,
}

/// What the figures leave out, for whoever reads them.
const NOTES: [&str; 4] = [
    "Time is virtual: what programs need for thinking counts as nothing.",
    "TCP is an ordered reliable stream whose loss becomes delay, without congestion control; TLS is an opaque tunnel with a \
     handshake of one round trip.",
    "Firewalls and NATs drop in silence: there is no ICMP.",
    "Each client has the server over UDP 3478, TCP 3478, TLS 443, and TLS 443 through an HTTP proxy that lets CONNECT lead to \
     port 443 alone.",
];

/// Makes the calls, on all cores; what comes of each follows from its seed alone.
#[must_use]
pub fn matrix(ask: &Ask) -> Matrix {
    let pairs = ask.places.iter().flat_map(|left| ask.places.iter().map(|right| (*left, *right)));
    let seeds = || (0..u64::from(ask.seeds)).map(|at| ask.seed.wrapping_add(at));
    let plans: Vec<_> =
        pairs.flat_map(|(left, right)| seeds().map(move |seed| (left, right, seed))).collect();
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(vec![None; plans.len()]));
    let cores = thread::available_parallelism().map_or(1, NonZero::get).min(plans.len());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((left, right, seed)) = plans.get(at) else { break };
                    let plan = Plan { links: [ask.link; 2], ..Plan::new(*left, *right, *seed) };
                    let run = call(&plan).run;
                    runs.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(run);
                }
            });
        }
    });
    // A panic of a thread is one of this function by now.
    let runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    Matrix {
        lab: Lab::Virtual,
        clients: [0, 1]
            .map(|_| concat!("swingbridge ", env!("CARGO_PKG_VERSION"), "'s own agent").to_owned()),
        seed: ask.seed,
        seeds: ask.seeds,
        links: words(&ask.link),
        places: ask.places.clone(),
        runs: runs.into_iter().flatten().collect(),
        left_out: Vec::new(),
        notes: NOTES.map(str::to_owned).into(),
    }
}

/// What a link does, for people.
fn words(link: &Link) -> Vec<String> {
    let percent = |ppm: u32| f64::from(ppm) / 10_000.0;
    let mut words =
        vec![format!("each place's link takes {} ms each way", link.delay.as_secs_f64() * 1_000.0)];
    if !link.jitter.is_zero() {
        words.push(format!("up to {} ms more at random", link.jitter.as_secs_f64() * 1_000.0));
    }
    for (ppm, what) in [
        (link.loss_ppm, "of packets lost each way"),
        (link.duplication_ppm, "of packets come twice"),
        (link.reorder_ppm, "of packets are overtaken"),
    ] {
        if ppm > 0 {
            words.push(format!("{} % {what}", percent(ppm)));
        }
    }
    if let Some(rate) = link.rate {
        words.push(format!("{rate} bit/s"));
    }
    words
}
