//! The report for programs. `docs/load.md` says what each name means; a name that stands there is not taken back.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::load::nats::Nats;
use crate::load::outcome::Capacity;
use crate::load::outcome::Comparison;
use crate::load::outcome::Flow;
use crate::load::outcome::IceOutcome;
use crate::load::outcome::Latency;
use crate::load::outcome::Moment;
use crate::load::outcome::NatOutcome;
use crate::load::outcome::Report;
use crate::load::outcome::Setup;
use crate::load::outcome::Side;
use crate::load::outcome::Step;
use crate::load::outcome::Verdict;
use crate::load::plan::Direction;
use crate::load::plan::Framing;
use crate::load::plan::Mode;
use crate::load::plan::PeerPlace;
use crate::load::plan::Plan;
use crate::load::plan::Profile;
use crate::load::plan::Server;
use crate::load::plan::Traffic;
use crate::place::Verdict as Ending;

use super::sum;
use super::words;

/// Names this form of the report. A name that changes its meaning makes another one.
const FORM: &str = "swingbridge-load/1";

/// The report as one JSON object, with a newline at its end.
#[must_use]
pub fn json(report: &Report) -> String {
    let verdict = verdict(&report.verdict);
    let object = json!({
        "form": FORM,
        "verdict": verdict.0,
        "why": verdict.1,
        "began_unix": report.began_unix,
        "took_s": report.took.as_secs_f64(),
        "version": env!("CARGO_PKG_VERSION"),
        "machine": { "cores": report.machine.cores, "kernel": report.machine.kernel },
        "plan": plan(&report.plan),
        "servers": report.sides.iter().map(|side| one_side(side, sum::limited(report).is_some())).collect::<Vec<_>>(),
        "comparison": report.comparison.as_ref().map(comparison),
        "notes": report.notes,
    });
    format!("{object:#}\n")
}

fn verdict(verdict: &Verdict) -> (&'static str, Vec<String>) {
    match verdict {
        Verdict::Done => ("done", Vec::new()),
        Verdict::Met => ("met", Vec::new()),
        Verdict::Broken(why) => ("broken", why.clone()),
        Verdict::GeneratorLimited(why) => ("generator-limited", vec![why.clone()]),
        Verdict::Stopped => ("stopped", Vec::new()),
    }
}

/// Names every field that may be shown, so that a credential can never be among them.
fn plan(plan: &Plan) -> Value {
    json!({
        "servers": plan.servers.iter().map(server).collect::<Vec<_>>(),
        "mode": mode(&plan.mode),
        "traffic": traffic(&plan.traffic),
        "peer": peer(&plan.peer),
        "framing": match plan.framing {
            Framing::Channel => "channel",
            Framing::Indication => "indication",
        },
        "objective": words::objective(&plan.objective),
        "warm_up_s": plan.warm_up.as_secs_f64(),
        "threads": plan.generator.threads,
        "sources": plan.generator.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "segments": plan.generator.segments,
        // As text, for a number of JSON holds 53 bits in most readers.
        "seed": plan.generator.seed.to_string(),
        "nats": plan.nats.as_ref().map(nats),
    })
}

fn server(server: &Server) -> Value {
    json!({
        "uri": server.uri,
        "address": server.address.to_string(),
        "carrier": server.carrier.to_string(),
        // Without its user and password, which are not shown.
        "proxy": server.proxy.as_ref().map(|proxy| proxy.url.to_string()),
    })
}

fn nats(nats: &Nats) -> Value {
    json!({
        "places": nats.places.iter().map(|[left, right]| format!("{left}:{right}")).collect::<Vec<_>>(),
        "ways": nats.ways.iter().map(server).collect::<Vec<_>>(),
        "settle_s": nats.settling.as_secs_f64(),
    })
}

fn mode(mode: &Mode) -> Value {
    let mut object = match *mode {
        Mode::Soak { calls, length } => json!({ "calls": calls, "length_s": length.as_secs_f64() }),
        Mode::Ramp { from, step, to, hold } => {
            json!({ "from_calls": from, "step_calls": step, "to_calls": to, "hold_s": hold.as_secs_f64() })
        }
        Mode::Capacity { from, to, hold, precision } => json!({
            "from_calls": from, "to_calls": to, "hold_s": hold.as_secs_f64(), "precision_ratio": precision,
        }),
        Mode::Churn { at_once, rate, length } => {
            json!({ "at_once": at_once, "cycles_per_s": rate, "length_s": length.as_secs_f64() })
        }
        Mode::Storm { calls, rounds, hold } => {
            json!({ "calls": calls, "rounds": rounds, "hold_s": hold.as_secs_f64() })
        }
        Mode::Compare { calls, hold, rounds } => {
            json!({ "calls": calls, "rounds": rounds, "hold_s": hold.as_secs_f64() })
        }
        Mode::Ice { pairs, rate, relay_only, patience } => json!({
            "pairs": pairs, "pairs_per_s": rate, "relay_only": relay_only, "patience_s": patience.as_secs_f64(),
        }),
    };
    object["name"] = words::mode_word(mode).into();
    object
}

fn traffic(traffic: &Traffic) -> Value {
    let mut object = json!({
        "profile": words::profile_word(&traffic.profile),
        "direction": match traffic.direction {
            Direction::Both => "both",
            Direction::Up => "up",
            Direction::Down => "down",
        },
    });
    if let Profile::Even { rate, size, burst } = traffic.profile {
        object["packets_per_s"] = rate.into();
        object["payload_bytes"] = size.into();
        object["burst_packets"] = burst.into();
    }
    object
}

fn peer(place: &PeerPlace) -> String {
    match place {
        PeerPlace::Relay => "relay".to_owned(),
        PeerPlace::Local(None) => "local".to_owned(),
        PeerPlace::Local(Some(address)) => format!("local:{address}"),
        PeerPlace::Remote(address) => address.to_string(),
    }
}

fn comparison(comparison: &Comparison) -> Value {
    let ratios = comparison.ratios.iter().map(|ratio| {
        json!({
            "what": ratio.what,
            "median_ratio": ratio.median,
            "least_ratio": ratio.least,
            "most_ratio": ratio.most,
            "each_ratio": ratio.each,
        })
    });
    json!({ "pairs": comparison.pairs, "ratios": ratios.collect::<Vec<_>>() })
}

fn one_side(side: &Side, limited: bool) -> Value {
    json!({
        "uri": side.server,
        "steps": side.steps.iter().map(step).collect::<Vec<_>>(),
        "capacity": side.capacity.as_ref().filter(|_| !limited).map(capacity),
        "ice": side.ice.as_ref().map(ice),
    })
}

fn step(step: &Step) -> Value {
    let own = &step.own;
    json!({
        "calls": step.calls,
        "length_s": step.length.as_secs_f64(),
        "offered_packets_per_s": step.offered,
        "arrived_packets_per_s": sum::arrived(step),
        "arrived_payload_bits_per_s": sum::arrived_bits(step),
        "up": flow(&step.up),
        "down": flow(&step.down),
        "round_trip": latency(&step.round_trip),
        "setup": setup(&step.setup),
        "generator": {
            "cpu_s": own.cpu.as_secs_f64(),
            "cpu_ns_per_packet": own.cpu_per_packet_ns,
            "late_packets": own.late,
            "unsent_packets": own.unsent,
            "dropped_packets": own.dropped,
        },
        "server": step.server.as_ref().map(|cost| json!({
            "cpu_s": cost.cpu.as_secs_f64(),
            "cpu_ns_per_packet": cost.cpu_per_packet_ns,
            "memory_bytes": cost.memory,
            "memory_bytes_per_allocation": cost.memory_per_allocation,
            "dropped_packets": cost.dropped,
            "host_cpu_ns_per_packet": cost.host_cpu_per_packet_ns,
        })),
        "broken": step.broken,
        "stranger_packets": step.strangers,
        "timeline": step.timeline.iter().map(moment).collect::<Vec<_>>(),
    })
}

fn flow(flow: &Flow) -> Value {
    json!({
        "sent_packets": flow.sent,
        "sent_bytes": flow.sent_bytes,
        "received_packets": flow.received,
        "received_bytes": flow.received_bytes,
        "lost_packets": flow.lost,
        "loss_ratio": words::loss(flow),
        "duplicated_packets": flow.duplicated,
        "reordered_packets": flow.reordered,
        "jitter_mean_us": 1e6 * flow.jitter.mean,
        "jitter_worst_us": 1e6 * flow.jitter.worst,
        "latency": latency(&flow.latency),
    })
}

/// The usual quantiles, and the whole histogram as `[at most µs, count]`.
fn latency(latency: &Latency) -> Value {
    let at = |part| micros(latency.quantile(part));
    let histogram: Vec<_> = latency
        .0
        .iter_recorded()
        .map(|bucket| json!([bucket.value_iterated_to(), bucket.count_at_value()]))
        .collect();
    json!({
        "count": latency.count(),
        "mean_us": micros(latency.mean()),
        "p50_us": at(0.5),
        "p90_us": at(0.9),
        "p95_us": at(0.95),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
        "max_us": micros(latency.max()),
        "histogram_us": histogram,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn setup(setup: &Setup) -> Value {
    json!({
        "asked_clients": setup.asked,
        "served_clients": setup.served,
        "cycles": setup.cycles,
        "took_s": setup.took.as_secs_f64(),
        "connect": latency(&setup.connect),
        "binding": latency(&setup.binding),
        "allocate": latency(&setup.allocate),
        "permit": latency(&setup.permit),
        "failures": setup.failures,
    })
}

fn moment(moment: &Moment) -> Value {
    json!({
        "at_s": moment.at.as_secs_f64(),
        "calls": moment.calls,
        "sent_packets": moment.sent,
        "received_packets": moment.received,
        "lost_packets": moment.lost,
        "p50_us": (1e6 * moment.p50).round(),
        "p99_us": (1e6 * moment.p99).round(),
        "max_us": (1e6 * moment.max).round(),
        "generator_cores": moment.own_cpu,
        "server_cores": moment.server_cpu,
    })
}

fn capacity(capacity: &Capacity) -> Value {
    match capacity {
        Capacity::Found { calls, packets, bits, breaks_at, why } => json!({
            "kind": "found",
            "calls": calls,
            "packets_per_s": packets,
            "payload_bits_per_s": bits,
            "breaks_at_calls": breaks_at,
            "why": why,
        }),
        Capacity::LessThan(calls, why) => json!({ "kind": "less_than", "calls": calls, "why": why }),
        Capacity::AtLeast(calls) => json!({ "kind": "at_least", "calls": calls }),
        Capacity::Unknown(why) => json!({ "kind": "unknown", "why": why }),
    }
}

fn ice(ice: &IceOutcome) -> Value {
    let success = if ice.pairs == 0 { None } else { Some(ice.connected as f64 / ice.pairs as f64) };
    json!({
        "pairs": ice.pairs,
        "connected_pairs": ice.connected,
        "success_ratio": success,
        "connect": latency(&ice.time),
        "gathering": latency(&ice.gathering),
        "connected_by_kind": ice.by_kind,
        "failures": ice.failures,
        "longest_turn_us": micros(ice.longest_turn),
        "nats": ice.nats.iter().map(nat).collect::<Vec<_>>(),
    })
}

fn nat(nat: &NatOutcome) -> Value {
    let tried = nat.tried();
    let success = if tried == 0 { None } else { Some(nat.connected() as f64 / tried as f64) };
    let ended = |(ending, count): (&Ending, &u64)| json!({ "verdict": ending.to_string(), "pairs": count });
    json!({
        "left": nat.places[0].name(),
        "right": nat.places[1].name(),
        "pairs": tried,
        "connected_pairs": nat.connected(),
        "success_ratio": success,
        "expected": nat.expected.to_string(),
        "as_expected_pairs": nat.as_expected(),
        "ended": nat.ended.iter().map(ended).collect::<Vec<_>>(),
        "connect": latency(&nat.time),
        "failures": nat.failures,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn read(report: &Report) -> Value {
        serde_json::from_str(&json(report)).expect("JSON")
    }

    #[test]
    fn no_credential_is_part_of_it() {
        for (name, report) in sample::every() {
            let text = json(&report);
            assert!(!text.contains(sample::PASSWORD) && !text.contains("someone"), "{name}");
            assert_eq!(read(&report)["form"], FORM);
        }
    }

    #[test]
    fn the_figures_are_there_under_names_with_units() {
        let object = read(&sample::soak());
        let step = &object["servers"][0]["steps"][0];
        assert_eq!((&object["verdict"], &object["plan"]["mode"]["name"]), (&json!("met"), &json!("soak")));
        assert_eq!(step["up"]["sent_packets"], 300_000);
        assert_eq!(step["up"]["latency"]["count"], 300_000);
        assert_eq!(step["offered_packets_per_s"], 10_000.0);
        assert_eq!(step["timeline"].as_array().map(Vec::len), Some(60));
        let histogram = step["up"]["latency"]["histogram_us"].as_array().expect("a list");
        let counted: u64 = histogram.iter().filter_map(|pair| pair[1].as_u64()).sum();
        assert_eq!(counted, 300_000);
        let longest = histogram.last().and_then(|pair| pair[0].as_u64());
        assert_eq!(longest, step["up"]["latency"]["max_us"].as_u64());
    }

    #[test]
    fn each_pair_of_places_has_its_figures() {
        let object = read(&sample::nats());
        let nats = &object["servers"][0]["ice"]["nats"];
        let all: Vec<_> = nats.as_array().expect("a list").iter().collect();
        assert_eq!(all.len(), 3);
        for (nat, (left, pairs, connected, right)) in all.iter().zip([
            ("address-restricted", 10, 10, 10),
            ("port-restricted", 10, 9, 8),
            ("only-443", 10, 0, 10),
        ]) {
            assert_eq!((&nat["left"], &nat["pairs"]), (&json!(left), &json!(pairs)));
            assert_eq!(
                (&nat["connected_pairs"], &nat["connect"]["count"]),
                (&json!(connected), &json!(connected))
            );
            assert_eq!(
                (&nat["as_expected_pairs"], nat["success_ratio"].as_f64()),
                (&json!(right), Some(f64::from(connected) / 10.0))
            );
        }
        let wrong = all[1];
        assert_eq!(
            (&wrong["expected"], &wrong["failures"]["no pair works"]),
            (&json!("relayed (udp)"), &json!(1))
        );
        assert_eq!(wrong["ended"][0], json!({ "verdict": "direct", "pairs": 1 }));
        let plan = &object["plan"]["nats"];
        assert_eq!(
            (&plan["places"][1], &plan["settle_s"]),
            (&json!("port-restricted:symmetric"), &json!(25.0))
        );
        assert_eq!(plan["ways"][0]["carrier"], "tcp");
        assert_eq!(read(&sample::ice())["plan"]["nats"], Value::Null);
    }

    #[test]
    fn a_generator_at_its_limit_gives_no_capacity() {
        let limited = read(&sample::limited());
        assert_eq!(limited["verdict"], "generator-limited");
        assert_eq!(limited["servers"][0]["capacity"], Value::Null);
        assert_eq!(read(&sample::capacity())["servers"][0]["capacity"]["calls"], 625);
    }

    #[test]
    fn every_name_stands_in_the_manual() {
        let manual = include_str!("../../../docs/load.md");
        let mut names = std::collections::BTreeSet::new();
        for (_, report) in sample::every() {
            collect(&read(&report), &mut names);
        }
        for failure in ["Allocate 486", "relay-relay", "no pair in 15s", "no pair works"] {
            names.remove(failure);
        }
        let missing: Vec<_> = names.iter().filter(|name| !manual.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "docs/load.md does not explain {missing:?}");
    }

    fn collect(value: &Value, names: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                names.extend(object.keys().cloned());
                object.values().for_each(|value| collect(value, names));
            }
            Value::Array(array) => array.iter().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
}
