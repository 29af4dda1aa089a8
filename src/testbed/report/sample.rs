//! Reports made by hand, for tests of how they are shown.

use std::time::Duration;

use crate::ice::Kind;
use crate::testbed::Place;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::expected;

use super::End;
use super::Flight;
use super::Flow;
use super::Lab;
use super::LeftOut;
use super::Matrix;
use super::PairTraffic;
use super::Run;

/// Text of others that must not become markup, or move a cursor.
pub(super) const NASTY: &str = "<script>alert('&\"')</script>\u{1b}[2J";

pub(super) fn every() -> [(&'static str, Matrix); 3] {
    [("good", good()), ("mixed", mixed()), ("none", of_times(&[]))]
}

pub(super) fn run(left: Place, right: Place, seed: u64) -> Run {
    let verdict = expected(left, right);
    let end = |host: u8, kind| End { kind: Some(kind), address: Some(([203, 0, 113, host], 50_000).into()) };
    let flow = Flow { packets: 150, bytes: 24_000 };
    Run {
        left,
        right,
        seed,
        verdict,
        expected: Some(verdict),
        connected: Some(Duration::from_millis(210 + 37 * (seed % 5))),
        traffic: vec![PairTraffic {
            route: verdict,
            left: end(1, Kind::ServerReflexive),
            right: end(2, Kind::PeerReflexive),
            from_left: flow,
            from_right: flow,
        }],
        notes: Vec::new(),
        flight: Flight::default(),
    }
}

fn of(places: Vec<Place>, runs: Vec<Run>) -> Matrix {
    Matrix {
        lab: Lab::Virtual,
        clients: ["our agent".to_owned(), "our agent".to_owned()],
        seed: 1,
        seeds: 3,
        links: vec!["10 ms each way".to_owned()],
        places,
        runs,
        left_out: Vec::new(),
        notes: vec!["TLS is an opaque tunnel.".to_owned()],
    }
}

pub(super) fn good() -> Matrix {
    let pairs = Place::ALL.into_iter().flat_map(|left| Place::ALL.map(|right| (left, right)));
    let runs = pairs.flat_map(|(left, right)| (1..=3).map(move |seed| run(left, right, seed))).collect();
    of(Place::ALL.to_vec(), runs)
}

/// One cell fails now and then, one always and with nasty words, one was left out.
pub(super) fn mixed() -> Matrix {
    let mut matrix = good();
    matrix.clients[1] = NASTY.to_owned();
    let (left, right) = (Place::Symmetric, Place::PortRestricted);
    matrix.runs.retain(|run| (run.left, run.right) != (Place::Cgn, Place::HttpProxy));
    matrix.left_out =
        vec![LeftOut { left: Place::Cgn, right: Place::HttpProxy, why: format!("no proxy {NASTY}") }];
    for run in &mut matrix.runs {
        if (run.left, run.right) == (left, right) && run.seed == 2 {
            run.verdict = Verdict::Relayed(Relay::Tls);
        }
        if (run.left, run.right) == (Place::Open, Place::Open) {
            run.verdict = Verdict::Failed;
            run.connected = None;
            run.traffic = Vec::new();
            run.notes = vec![format!("the right client said: {NASTY}")];
        }
    }
    matrix
}

/// One pair of places, and a call of each of these milliseconds.
pub(super) fn of_times(times: &[u64]) -> Matrix {
    let calls = times.iter().map(|millis| Run {
        connected: Some(Duration::from_millis(*millis)),
        ..run(Place::Open, Place::Open, 1)
    });
    of(vec![Place::Open], calls.collect())
}
