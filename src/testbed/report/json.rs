//! The report for programs. `docs/testbed.md` says what each name means; a name that stands there is not taken back.

use serde_json::Value;
use serde_json::json;

use crate::ice::Kind;
use crate::testbed::Verdict;

use super::Cell;
use super::End;
use super::Flow;
use super::Matrix;
use super::PairTraffic;
use super::Run;
use super::words;

/// Names this form of the report. A name that changes its meaning makes another one.
const FORM: &str = "swingbridge-testbed/1";

/// A matrix as one JSON object, with a newline at its end.
#[must_use]
pub fn json(matrix: &Matrix) -> String {
    let object = json!({
        "form": FORM,
        "version": env!("CARGO_PKG_VERSION"),
        "lab": matrix.lab.word(),
        "clients": { "left": matrix.clients[0], "right": matrix.clients[1] },
        "seed": matrix.seed,
        "seeds": matrix.seeds,
        "links": matrix.links,
        "as_expected": matrix.is_as_expected(),
        "places": matrix.places.iter().map(|place| place.name()).collect::<Vec<_>>(),
        "cells": matrix.cells().iter().map(cell).collect::<Vec<_>>(),
        "left_out": matrix.left_out.iter().map(|out| json!({
            "left": out.left.name(),
            "right": out.right.name(),
            "why": out.why,
        })).collect::<Vec<_>>(),
        "notes": matrix.notes,
    });
    format!("{object:#}\n")
}

/// One call as one JSON object, with a newline at its end.
#[must_use]
pub fn json_of_run(one: &Run) -> String {
    let object = json!({
        "form": FORM,
        "version": env!("CARGO_PKG_VERSION"),
        "left": one.left.name(),
        "right": one.right.name(),
        "expected": one.expected.map(verdict),
        "call": run(one),
    });
    format!("{object:#}\n")
}

fn cell(cell: &Cell<'_>) -> Value {
    let millis = |part| cell.connected_within(part).map(|span| span.as_secs_f64() * 1_000.0);
    json!({
        "left": cell.left.name(),
        "right": cell.right.name(),
        "expected": cell.expected().map(verdict),
        "as_expected": cell.is_as_expected(),
        "connect_median_ms": millis(0.5),
        "connect_p95_ms": millis(0.95),
        "calls": cell.runs.iter().map(|each| run(each)).collect::<Vec<_>>(),
    })
}

fn run(run: &Run) -> Value {
    let mut call = json!({
        "seed": run.seed,
        "verdict": verdict(run.verdict),
        "as_expected": run.is_as_expected(),
        "connect_ms": run.connected.map(|span| span.as_secs_f64() * 1_000.0),
        "traffic": run.traffic.iter().map(pair).collect::<Vec<_>>(),
        "notes": run.notes,
    });
    run.flight.add_to(&mut call);
    call
}

fn pair(pair: &PairTraffic) -> Value {
    json!({
        "route": verdict(pair.route),
        "left": end(pair.left),
        "right": end(pair.right),
        "from_left": flow(pair.from_left),
        "from_right": flow(pair.from_right),
    })
}

fn end(end: End) -> Value {
    json!({
        "kind": end.kind.map(Kind::word),
        "address": end.address.map(|address| address.to_string()),
    })
}

fn flow(flow: Flow) -> Value {
    json!({ "packets": flow.packets, "bytes": flow.bytes })
}

fn verdict(verdict: Verdict) -> Value {
    let (word, relay) = words::verdict(verdict);
    json!({ "word": word, "relay": relay })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn it_is_json_and_says_how_each_call_ended() {
        for (name, matrix) in sample::every() {
            let read: Value = serde_json::from_str(&json(&matrix)).unwrap();
            assert_eq!(read["as_expected"], matrix.is_as_expected(), "{name}");
            assert_eq!(read["cells"].as_array().map(Vec::len), Some(matrix.cells().len()), "{name}");
        }
        let read: Value = serde_json::from_str(&json(&sample::good())).unwrap();
        let last = &read["cells"][80];
        assert_eq!((&last["left"], &last["right"]), (&json!("http-proxy"), &json!("http-proxy")));
        let call = &last["calls"][2];
        assert_eq!(call["verdict"], json!({ "word": "relayed", "relay": "proxy" }));
        assert_eq!(call["traffic"][0]["left"]["kind"], "srflx");
        assert_eq!(call["traffic"][0]["from_left"], json!({ "packets": 150, "bytes": 24_000 }));
        assert_eq!(last["connect_median_ms"], 284.0);
    }

    #[test]
    fn one_call_stands_alone_too() {
        let run = sample::run(crate::testbed::Place::Open, crate::testbed::Place::Cgn, 2);
        let read: Value = serde_json::from_str(&json_of_run(&run)).unwrap();
        assert_eq!((&read["right"], &read["call"]["seed"]), (&json!("cgn"), &json!(2)));
        assert_eq!(read["expected"], json!({ "word": "direct", "relay": null }));
    }
}
