//! Every pair of places and every end has its words; telling cases are told as they stand in `snapshots/`.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::nat::Refused;
use crate::testbed::Relay;
use crate::testbed::expected;
use crate::testbed::real_lab::Ended;
use crate::testbed::real_lab::Road;
use crate::testbed::real_lab::Side;
use crate::testbed::real_lab::Way;
use crate::testbed::report;
use crate::testbed::report::Befallen;
use crate::testbed::report::Flight;
use crate::testbed::report::GateTally;
use crate::testbed::report::Happening;
use crate::testbed::report::RoadTally;
use crate::testbed::report::What;
use crate::testbed::virtual_lab;
use crate::testbed::virtual_lab::Ask;
use crate::testbed::virtual_lab::Plan;

/// A call of which nothing is known but how it ended.
fn bare(left: Place, right: Place, verdict: Verdict) -> Run {
    Run {
        left,
        right,
        seed: 7,
        verdict,
        expected: Some(expected(left, right)),
        connected: (verdict != Verdict::Failed).then(|| Duration::from_millis(420)),
        traffic: Vec::new(),
        notes: Vec::new(),
        flight: Flight::default(),
    }
}

fn road(side: Side, is_udp: bool, road: Road, out: u64, inward: u64) -> RoadTally {
    RoadTally { side, is_udp, road, out, inward }
}

fn gate(side: Side, way: Way, why: Refused, packets: u64) -> GateTally {
    GateTally { side, way, fate: why.word().to_owned(), packets }
}

fn event(ms: u64, side: Side, what: What, detail: &str, times: u64) -> Happening {
    Happening { at: Duration::from_millis(ms), side: Some(side), what, detail: detail.to_owned(), times }
}

/// A call of two programs between these places that failed, with what was known of it.
fn failed(left: Place, right: Place, flight: Flight) -> Run {
    Run { flight, ..bare(left, right, Verdict::Failed) }
}

const UDP: Road = Road::Server(Relay::Udp);
const TCP: Road = Road::Server(Relay::Tcp);
const TLS: Road = Road::Server(Relay::Tls);

/// Calls that went wrong in ways of their own, each with what its first cause has to say.
fn telling() -> Vec<(&'static str, Run, &'static str)> {
    let (left, right) = (Side::Left, Side::Right);
    let well = [Some(Ended::Exited(0)); 2];
    let talk = |side| road(side, true, UDP, 12, 12);
    vec![
        ("direct", bare(Place::FullCone, Place::PortRestricted, Verdict::Direct), ""),
        ("relayed", bare(Place::Symmetric, Place::Cgn, Verdict::Relayed(Relay::Udp)), ""),
        (
            "udp_blocked_and_only_udp_tried",
            failed(
                Place::UdpBlocked,
                Place::Open,
                Flight {
                    ended: [Some(Ended::Exited(1)), Some(Ended::Hung)],
                    roads: vec![talk(right)],
                    gates: vec![gate(left, Way::Out, Refused::Firewall, 40)],
                    lost: Some([0, 0]),
                    ..Flight::default()
                },
            ),
            "TCP, port 3478 is the only way out of the left place, and the program tried nothing that its firewall lets out.",
        ),
        (
            "only_443_and_tcp_tried",
            failed(
                Place::Only443,
                Place::Open,
                Flight {
                    ended: well,
                    roads: vec![talk(right), road(left, false, Road::Other, 1, 0)],
                    gates: vec![gate(left, Way::Out, Refused::Firewall, 9)],
                    ..Flight::default()
                },
            ),
            "TLS, port 443 is the only way out of the left place",
        ),
        (
            "tls_without_an_answer",
            failed(
                Place::Open,
                Place::Only443,
                Flight {
                    ended: well,
                    roads: vec![talk(left), road(right, false, TLS, 6, 0)],
                    ..Flight::default()
                },
            ),
            "The right client asked over TLS, port 443, and nothing came back.",
        ),
        (
            "code_3_before_a_packet",
            failed(
                Place::Open,
                Place::Cgn,
                Flight {
                    ended: [Some(Ended::Exited(3)), Some(Ended::Hung)],
                    roads: vec![talk(right)],
                    ..Flight::default()
                },
            ),
            "The left program ended with code 3 before it sent a packet.",
        ),
        (
            "crashed_before_candidates",
            failed(
                Place::Open,
                Place::Cgn,
                Flight {
                    ended: [Some(Ended::Exited(0)), Some(Ended::Signalled(11))],
                    roads: vec![talk(left), road(right, true, UDP, 2, 1)],
                    events: vec![event(3, right, What::FirstPacket, "udp to 192.0.2.1:3478", 1)],
                    ..Flight::default()
                },
            ),
            "The right program was ended by SIGSEGV (signal 11) before any candidate was gathered.",
        ),
        (
            "wrong_password",
            failed(
                Place::Symmetric,
                Place::Symmetric,
                Flight {
                    ended: well,
                    roads: vec![talk(left), talk(right)],
                    events: vec![
                        event(20, left, What::Answer, "allocate: 401", 2),
                        event(
                            21,
                            right,
                            What::Answer,
                            "Allocate: 401: the first request carries no integrity",
                            1,
                        ),
                        event(41, right, What::Answer, "Allocate: granted", 1),
                        event(60, right, What::Answer, "CreatePermission: granted", 1),
                    ],
                    ..Flight::default()
                },
            ),
            "Authentication failed at the left: the server answered 401 2 times.",
        ),
        (
            "hung_after_the_call",
            Run {
                flight: Flight {
                    ended: [Some(Ended::Exited(0)), Some(Ended::Hung)],
                    seen: Some(Verdict::Direct),
                    ..Flight::default()
                },
                ..bare(Place::Open, Place::Open, Verdict::Direct)
            },
            "The right program did not end in time, and was ended by the laboratory although the call was there.",
        ),
        (
            "relayed_though_direct_works",
            Run {
                flight: Flight {
                    ended: well,
                    roads: vec![
                        talk(left),
                        talk(right),
                        road(left, true, Road::Direct, 30, 0),
                        road(right, true, Road::Direct, 4, 0),
                    ],
                    gates: vec![
                        gate(right, Way::In, Refused::Filtered, 28),
                        gate(left, Way::In, Refused::NoMapping, 4),
                    ],
                    lost: Some([2, 0]),
                    ..Flight::default()
                },
                ..bare(Place::PortRestricted, Place::PortRestricted, Verdict::Relayed(Relay::Udp))
            },
            "No check of the left client came through to the right one.",
        ),
        (
            "relays_alone",
            Run {
                flight: Flight { ended: well, roads: vec![talk(left), talk(right)], ..Flight::default() },
                ..bare(Place::Open, Place::FullCone, Verdict::Relayed(Relay::Udp))
            },
            "The left client never tried the direct way",
        ),
        (
            "prflx_not_used",
            Run {
                flight: Flight {
                    roads: vec![road(left, true, Road::Direct, 9, 3), road(right, true, Road::Direct, 3, 9)],
                    ..Flight::default()
                },
                ..bare(Place::Symmetric, Place::AddressRestricted, Verdict::Relayed(Relay::Udp))
            },
            "The right client made no peer-reflexive candidate",
        ),
        (
            "tcp_though_udp_works",
            Run {
                flight: Flight {
                    roads: vec![talk(left), road(left, false, TCP, 30, 30)],
                    ..Flight::default()
                },
                ..bare(Place::Symmetric, Place::Symmetric, Verdict::Relayed(Relay::Tcp))
            },
            "A less direct relay was used: tcp in place of udp.",
        ),
        (
            "consent_lost_on_a_bad_line",
            failed(
                Place::Open,
                Place::Open,
                Flight {
                    roads: vec![
                        road(left, true, Road::Direct, 90, 40),
                        road(right, true, Road::Direct, 80, 50),
                    ],
                    gates: vec![GateTally {
                        side: left,
                        way: Way::Out,
                        fate: "passed".to_owned(),
                        packets: 90,
                    }],
                    lost: Some([60, 0]),
                    events: vec![
                        event(80, left, What::Connected, "host 203.0.113.1:5 to host 198.51.100.1:5", 1),
                        event(90, left, What::Media, "the first data of the other side", 1),
                        event(31_000, left, What::Failed, "consent lost", 1),
                    ],
                    ..Flight::default()
                },
            ),
            "The left line lost 40 % of its packets.",
        ),
        (
            "a_fault_not_borne",
            failed(
                Place::Open,
                Place::Symmetric,
                Flight {
                    ended: well,
                    faults: vec![Befallen {
                        side: Some(left),
                        scenario: "stale-nonce".to_owned(),
                        passed: Some(false),
                        befallen: Some(true),
                        why: "no refresh was granted within 5s".to_owned(),
                        events: vec!["refresh: 438".to_owned(), "the allocation has ended".to_owned()],
                    }],
                    ..Flight::default()
                },
            ),
            "The left client failed the scenario `stale-nonce`: no refresh was granted within 5s.",
        ),
        (
            "quota",
            failed(
                Place::UdpBlocked,
                Place::Open,
                Flight {
                    roads: vec![talk(right), road(left, false, TCP, 5, 5)],
                    events: vec![
                        event(20, left, What::Answer, "allocate: 486", 1),
                        event(21, left, What::Gathered, "no further candidates", 1),
                    ],
                    ..Flight::default()
                },
            ),
            "The server gave the left client no relay: this user has as many allocations as allowed.",
        ),
    ]
}

/// What every explanation has to be.
fn is_told(one: &Explanation, of: &str) {
    let sentences = [&one.summary, &one.theory.why].into_iter().chain(&one.standing).chain(&one.seen);
    let causes = one.causes.iter().flat_map(|cause| [&cause.what, &cause.because, &cause.next]);
    for sentence in sentences.chain(causes) {
        for placeholder in ["{", "}", "None", "Some(", "  ", "..", "?", "unknown", " ,", " ."] {
            // The one question mark is that of a URI.
            let text = sentence.replace("?transport", "").replace("{\"done\": true}", "");
            assert!(!text.contains(placeholder), "{of}: {placeholder:?} in {sentence:?}");
        }
        assert!(sentence.ends_with('.'), "{of}: {sentence:?}");
        assert!(sentence.starts_with(|first: char| !first.is_whitespace()), "{of}: {sentence:?}");
    }
    assert_eq!(one.is_fine, one.causes.is_empty(), "{of}");
}

/// The same of both its forms.
fn is_written(one: &Explanation, of: &str) {
    is_told(one, of);
    for line in text(one).lines() {
        assert!(line.chars().count() <= 130 && line.trim_end() == line, "{of}: {line:?}");
    }
    let read: Value = serde_json::from_str(&json(one)).unwrap();
    assert_eq!(read["call"]["causes"].as_array().map(Vec::len), Some(one.causes.len()), "{of}");
}

#[test]
fn every_pair_of_places_and_every_end_has_its_words() {
    let flights: Vec<_> = telling().into_iter().map(|(_, run, _)| run.flight).collect();
    for left in Place::ALL {
        for right in Place::ALL {
            for verdict in Verdict::ALL {
                for (at, flight) in flights.iter().enumerate() {
                    let run = Run { flight: flight.clone(), ..bare(left, right, verdict) };
                    let one = explain(&run);
                    is_told(&one, &format!("{left} {right} {verdict}, flight {at}"));
                    let is_right = verdict == expected(left, right);
                    assert!(is_right || !one.causes.is_empty(), "{left} {right} {verdict}");
                }
            }
        }
    }
}

#[test]
fn what_went_wrong_is_told_first() {
    for (name, run, first) in telling() {
        let one = explain(&run);
        is_written(&one, name);
        match one.causes.first() {
            None => assert_eq!(first, "", "{name}"),
            Some(cause) => assert!(!first.is_empty() && cause.what.contains(first), "{name}: {cause:?}"),
        }
        insta::assert_snapshot!(name, text(&one));
    }
}

/// A matrix of the virtual laboratory.
fn matrix(places: &[Place]) -> report::Matrix {
    let link = Plan::new(Place::Open, Place::Open, 0).links[0];
    virtual_lab::matrix(&Ask { places: places.to_vec(), seed: 1, seeds: 1, link })
}

#[test]
fn what_the_virtual_laboratory_writes_is_read_as_it_was() {
    let mut matrix = matrix(&[Place::Open, Place::Symmetric, Place::HttpProxy]);
    matrix.runs[0].flight.faults = telling().into_iter().flat_map(|(_, run, _)| run.flight.faults).collect();
    matrix.runs[1].flight.ended = [Some(Ended::Hung), Some(Ended::Signalled(6))];
    matrix.runs[2].flight.seen = Some(Verdict::Relayed(Relay::Proxy));
    let out = report::LeftOut { left: Place::Open, right: Place::Cgn, why: "so it is".to_owned() };
    matrix.left_out.push(out);
    let Report::Matrix { runs, left_out } = read(&report::json(&matrix)).unwrap() else { panic!("a matrix") };
    assert_eq!(runs, matrix.runs);
    assert_eq!(left_out, matrix.left_out);
    let one = read(&report::json_of_run(&matrix.runs[3])).unwrap();
    assert_eq!(one, Report::Run(Box::new(matrix.runs[3].clone())));
}

#[test]
fn the_virtual_laboratory_writes_down_what_happened_when() {
    for run in matrix(&[Place::PortRestricted, Place::Symmetric, Place::Only443]).runs {
        let (left, right) = (run.left, run.right);
        let told = |side: Side, what: What| {
            let mut events = run.flight.events.iter();
            events.find(|event| event.side == Some(side) && event.what == what).map(|event| event.at)
        };
        for (side, place) in Side::BOTH.into_iter().zip([left, right]) {
            let at = |what| told(side, what).unwrap_or_else(|| panic!("{left} {right} {side:?} {what:?}"));
            let order = [What::FirstPacket, What::Candidate, What::Connected, What::Media].map(at);
            assert!(order[0] <= order[2] && order[1] <= order[2], "{left} {right}: {order:?}");
            at(What::Answer);
            at(What::Allocation);
            assert!(at(What::CheckAnswered) <= order[2], "{left} {right}: {order:?}");
            let stopped =
                run.flight.gates.iter().filter(|gate| gate.side == side && gate.fate.contains("firewall"));
            assert_eq!(stopped.count() > 0, !place.has_udp(), "{left} {right}");
        }
        assert!(run.flight.events.is_sorted_by_key(|event| event.at), "{left} {right}");
        let one = explain(&run);
        assert!(one.is_fine && one.causes.is_empty() && !one.timeline.is_empty(), "{one:?}");
    }
}

#[test]
fn a_program_that_cannot_be_heard_is_found_in_the_virtual_laboratory_too() {
    let mut plan = Plan::new(Place::HttpProxy, Place::Open, 2);
    plan.proxy = crate::proto::client::ProxyLogin::new("alice", "looking glass");
    let one = explain(&virtual_lab::call(&plan).run);
    is_told(&one, "a proxy that lets nobody in");
    let whats: Vec<_> = one.causes.iter().map(|cause| cause.what.as_str()).collect();
    assert!(whats[0].starts_with("The left client has no relayed candidate"), "{whats:#?}");
}

/// As `testbed run` writes it.
fn of_real_run() -> Value {
    json!({
        "left": "udp-blocked", "right": "open", "seed": 4, "verdict": "failed", "seen": "failed",
        "expected": "relayed (tcp)", "connected_after_ms": null,
        "programs": [
            { "side": "left", "ended": { "exit": 0 }, "said": null },
            { "side": "right", "ended": "hung", "said": { "some": "thing" } },
        ],
        "call": [null, null],
        "flows": [
            { "side": "right", "protocol": "udp", "near": "198.51.100.1:5", "far": "192.0.2.1:3478", "road": "server (udp)",
              "out": { "packets": 4, "bytes": 9 }, "in": { "packets": 3, "bytes": 9 } },
            { "side": "right", "protocol": "udp", "near": "198.51.100.1:6", "far": "192.0.2.1:3478", "road": "server (udp)",
              "out": { "packets": 2, "bytes": 9 }, "in": { "packets": 1, "bytes": 9 } },
        ],
        "gates": [{ "side": "left", "way": "out", "fate": "the firewall lets it not out", "packets": 12 }],
        "lost_on_the_lines": [0, 3],
        "faults": [
            { "side": "left", "scenario": "drop-answer", "passed": null, "befallen": 0, "why": null, "events": [] },
            { "side": "right", "scenario": "quota", "passed": true, "befallen": true,
              "events": ["asked", { "words": "refused", "at_ms": 5 }, 5] },
        ],
    })
}

#[test]
fn what_testbed_run_writes_is_read() {
    let Report::Run(run) = read(&of_real_run().to_string()).unwrap() else { panic!("one call") };
    assert_eq!(run.flight.roads, [road(Side::Right, true, UDP, 6, 4)]);
    assert_eq!(run.flight.ended, [Some(Ended::Exited(0)), Some(Ended::Hung)]);
    assert_eq!(run.flight.lost, Some([0, 3]));
    assert_eq!(run.flight.faults[0].befallen, Some(false));
    assert_eq!(run.flight.faults[1].events, ["asked", "refused", "5"]);
    let one = explain(&run);
    is_told(&one, "of testbed run");
    assert!(
        one.seen.iter().any(|line| line.contains("12 on the way out (the firewall lets it not out)")),
        "{one:#?}"
    );
    assert!(
        one.causes.iter().any(|cause| cause.what.starts_with("TCP, port 3478 is the only way out")),
        "{one:#?}"
    );
    for name in
        ["seed", "seen", "expected", "connected_after_ms", "programs", "call", "flows", "gates", "faults"]
    {
        let mut less = of_real_run();
        less.as_object_mut().unwrap().remove(name);
        let Report::Run(run) = read(&less.to_string()).unwrap() else { panic!("one call") };
        is_told(&explain(&run), name);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    let changed = |pointer: &str, to: Value| {
        let mut value: Value = serde_json::from_str(&report::json(&small())).unwrap();
        *value.pointer_mut(pointer).unwrap() = to;
        read(&value.to_string()).expect_err(pointer).to_string()
    };
    let cases = [
        (
            "/form",
            json!("swingbridge-testbed/9"),
            "`form` is \"swingbridge-testbed/9\"; it has to be `swingbridge-testbed/1`",
        ),
        ("/cells", json!(5), "`cells` is 5; it has to be a list"),
        ("/cells/0/left", json!("moon"), "`cells[0].left` is \"moon\"; it has to be one of: open, full-cone"),
        (
            "/cells/0/calls/0/seed",
            json!(-1),
            "`cells[0].calls[0].seed` is -1; it has to be a number from 0 on",
        ),
        ("/cells/0/calls/0/seed", Value::Null, "`cells[0].calls[0].seed` is missing; it has to be a number"),
        (
            "/cells/0/calls/0/verdict/word",
            json!("odd"),
            "`cells[0].calls[0].verdict.word` is \"odd\"; it has to be one of: direct",
        ),
        (
            "/cells/0/calls/0/connect_ms",
            json!(-5),
            "`cells[0].calls[0].connect_ms` is -5; it has to be a number of milliseconds",
        ),
        (
            "/cells/0/calls/0/connect_ms",
            json!(1e300),
            "`cells[0].calls[0].connect_ms` is 1e+300; it has to be",
        ),
        ("/cells/0/calls/0/events", json!([{ "at_ms": 1 }]), "`cells[0].calls[0].events[0].what` is missing"),
        (
            "/cells/0/calls/0/traffic/0/left/address",
            json!("x"),
            "`cells[0].calls[0].traffic[0].left.address` is \"x\"",
        ),
    ];
    for (pointer, to, expected) in cases {
        let told = changed(pointer, to);
        assert!(told.starts_with(expected), "{told}");
    }
    for (text, expected) in [
        ("", "it is no JSON"),
        ("[]", "is []; it has to be an object"),
        ("{}", "it is no report of `testbed run`"),
        ("{\"verdict\": \"failed\"}", "`left` is missing; it has to be one of"),
        (
            "{\"left\": \"open\", \"right\": \"open\", \"verdict\": \"late\"}",
            "`verdict` is \"late\"; it has to be one of: direct",
        ),
    ] {
        let told = read(text).expect_err(text).to_string();
        assert!(told.starts_with(expected), "{text}: {told}");
    }
}

fn small() -> report::Matrix {
    matrix(&[Place::Open])
}

#[test]
fn of_a_matrix_each_pair_that_went_wrong_is_explained_once() {
    let mut matrix = matrix(&[Place::Open, Place::FullCone]);
    let again: Vec<_> = matrix.runs.iter().cloned().map(|run| Run { seed: run.seed + 1, ..run }).collect();
    matrix.runs.extend(again);
    assert!(text_of_many(&explain_many(&matrix.runs, &[])).contains("every call ended as it has to"));
    for run in matrix.runs.iter_mut().filter(|run| (run.left, run.right) == (Place::Open, Place::FullCone)) {
        run.verdict = Verdict::Failed;
    }
    let many = explain_many(&matrix.runs, &matrix.left_out);
    assert_eq!((many.calls, many.wrong, many.pairs, many.explained.len()), (8, 2, 4, 1));
    let told = text_of_many(&many);
    assert!(
        told.starts_with("4 pairs of places, 8 calls: 2 calls of 1 pair did not end as it has to"),
        "{told}"
    );
    assert!(told.contains("open calls full-cone, seed 1: failed; expected was direct"), "{told}");
    let read: Value = serde_json::from_str(&json_of_many(&many)).unwrap();
    assert_eq!(read["not_as_expected"], 2);
    let (good, bad) = ([Place::Open, Place::Open], [Place::Open, Place::FullCone]);
    assert_eq!(choose(&matrix.runs, bad).unwrap().verdict, Verdict::Failed);
    assert_eq!(
        choose(&matrix.runs, good).unwrap().verdict,
        Verdict::Direct,
        "one that is fine, where all are"
    );
    assert!(choose(&matrix.runs, [Place::Cgn, Place::Open]).is_none());
}

#[test]
fn a_good_call_whose_client_did_not_bear_the_fault_is_not_fine() {
    let mut run = bare(Place::Open, Place::Open, Verdict::Direct);
    for (passed, is_fine) in [(Some(true), true), (None, true), (Some(false), false)] {
        let scenario = "quota".to_owned();
        run.flight.faults = vec![Befallen {
            side: Some(Side::Left),
            scenario,
            passed,
            befallen: Some(true),
            why: String::new(),
            events: Vec::new(),
        }];
        assert_eq!(explain(&run).is_fine, is_fine, "{passed:?}");
    }
}

#[test]
fn words_of_others_move_no_cursor() {
    let mut run = bare(Place::Open, Place::Open, Verdict::Failed);
    run.notes.push("the client said: \u{1b}[2J\nroot#".to_owned());
    run.flight.events.push(event(1, Side::Left, What::Other, "\u{1b}[2J\r", 1));
    let told = text(&explain(&run));
    assert!(told.chars().all(|each| each == '\n' || !each.is_control()), "{told:?}");
}

/// Changes one value somewhere in a report.
fn spoil(value: &mut Value, steps: &[usize], with: &Value) {
    let Some((step, rest)) = steps.split_first() else {
        *value = with.clone();
        return;
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            let at = step % members.len();
            if let Some(member) = members.values_mut().nth(at) {
                spoil(member, rest, with);
            }
        }
        Value::Array(all) if !all.is_empty() => {
            let at = step % all.len();
            spoil(&mut all[at], rest, with);
        }
        other => *other = with.clone(),
    }
}

proptest! {
    #[test]
    fn whatever_a_report_says_it_is_explained_or_told_to_be_wrong(
        steps in prop::collection::vec(0..40_usize, 1..7),
        with in prop_oneof![
            Just(json!(null)), Just(json!(0)), Just(json!(u64::MAX)), Just(json!(-1.5)), Just(json!("x")),
            Just(json!("failed")), Just(json!([])), Just(json!({})), Just(json!([null, 1])), Just(json!(true)),
        ],
    ) {
        let mut value = of_real_run();
        spoil(&mut value, &steps, &with);
        match read(&value.to_string()) {
            Ok(Report::Run(run)) => drop(text(&explain(&run))),
            Ok(Report::Matrix { .. }) => panic!("it was of one call"),
            Err(problem) => prop_assert!(!problem.to_string().is_empty()),
        }
    }
}
