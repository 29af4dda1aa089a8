//! What came of a run. It comes from the process that carried it out as JSON, and is what `--json` writes.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::testbed::Place;
use crate::testbed::Verdict;

use super::addresses::Side;
use super::faults;
use super::flow::Count;
use super::flow::Flow;
use super::flow::Road;
use super::judge::judge;
use super::plan::NatBy;
use super::plan::Plan;
use super::router::Seen;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal, which was not the laboratory's.
    Signalled(i32),
    /// It did not end in time, and was ended.
    Hung,
}

impl Ended {
    /// In the report for programs.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::Exited(code) => json!({ "exit": code }),
            Self::Signalled(signal) => json!({ "signal": signal }),
            Self::Hung => json!("hung"),
        }
    }

    /// What [`Self::to_json`] wrote; `None`: that is something else.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_i64().and_then(|number| i32::try_from(number).ok());
        match (number("exit"), number("signal")) {
            (Some(code), _) => Some(Self::Exited(code)),
            (None, Some(signal)) => Some(Self::Signalled(signal)),
            (None, None) => (value == "hung").then_some(Self::Hung),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How the call ended, by what the routers saw; failed also where a program says so.
    pub verdict: Verdict,
    /// From the start of the programs until data had passed both ways, where that can be seen.
    pub connected_after: Option<Duration>,
    /// How each program ended: left, right.
    pub ended: [Ended; 2],
    /// All of it, for programs.
    pub json: Value,
}

impl Outcome {
    /// Judges what was seen. `said` is the last line of each program's output, if that is JSON.
    /// `told` is what else is to be known: its fields are added to the others.
    pub(super) fn of(
        plan: &Plan,
        seen: &Seen,
        ended: [Ended; 2],
        said: [Option<Value>; 2],
        told: &[(&str, Value)],
    ) -> Self {
        let (by_flows, connected_after) = judge(&seen.flows);
        let has_refused = |ended: &Ended| matches!(ended, Ended::Exited(1..) | Ended::Signalled(_));
        let verdict = if ended.iter().any(has_refused) { Verdict::Failed } else { by_flows };
        let fates = seen.fates.iter().map(|((side, way, fate), count)| {
            let way = if *way == super::gate::Way::Out { "out" } else { "in" };
            json!({ "side": side.name(), "way": way, "fate": fate.word(), "packets": count })
        });
        let mut json = json!({
            "left": plan.places[0].name(),
            "right": plan.places[1].name(),
            "seed": plan.seed,
            "nats": plan.nats.name(),
            "verdict": verdict.to_string(),
            "seen": by_flows.to_string(),
            "expected": crate::testbed::expected(plan.places[0], plan.places[1]).to_string(),
            "connected_after_ms": connected_after.map(|after| after.as_secs_f64() * 1e3),
            "programs": Side::BOTH.map(|side| json!({
                "side": side.name(),
                "ended": ended[side.index()].to_json(),
                "said": said[side.index()],
            })),
            "call": Side::BOTH.map(|side| seen.flows.main(side).map(|flows| flows.map(flow_to_json))),
            "flows": seen.flows.iter().map(flow_to_json).collect::<Vec<_>>(),
            "gates": fates.collect::<Vec<_>>(),
            "lost_on_the_lines": seen.lost,
        });
        for (name, value) in told {
            json[*name] = value.clone();
        }
        Self { verdict, connected_after, ended, json }
    }

    /// Reads what the process of the run wrote: what came of it, or why nothing did.
    ///
    /// # Errors
    /// Why nothing came of it.
    pub(super) fn read(json: Value) -> Result<Self, Fault> {
        if let Some(fault) = fault_from_json(&json["fault"]) {
            return Err(fault);
        }
        let parsed = || {
            let ended = |at: usize| Ended::from_json(&json["programs"][at]["ended"]);
            let verdict = verdict_of(json["verdict"].as_str()?)?;
            let after = json["connected_after_ms"].as_f64().map(|ms| Duration::from_secs_f64(ms / 1e3));
            Some((verdict, after, [ended(0)?, ended(1)?]))
        };
        let Some((verdict, connected_after, ended)) = parsed() else {
            return Err(Fault::new(FaultKind::Machine, "the laboratory ended without an outcome"));
        };
        Ok(Self { verdict, connected_after, ended, json })
    }

    /// Whether the call connected, both programs ended by themselves and well, and no fault of the server was too much.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.has_connected() && faults::are_borne(&self.json)
    }

    fn has_connected(&self) -> bool {
        self.verdict != Verdict::Failed && self.ended == [Ended::Exited(0); 2]
    }
}

/// Every verdict by its name.
#[must_use]
pub fn verdict_of(text: &str) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|verdict| verdict.to_string() == text)
}

fn flow_to_json(flow: &Flow) -> Value {
    let count = |count: Count| {
        let Count { packets, bytes, media, media_bytes } = count;
        json!({ "packets": packets, "bytes": bytes, "data": media, "data_bytes": media_bytes })
    };
    json!({
        "side": flow.side.name(),
        "protocol": if flow.is_udp { "udp" } else { "tcp" },
        "near": flow.near.to_string(),
        "far": flow.far.to_string(),
        "road": flow.road.word(),
        "out": count(flow.out),
        "in": count(flow.inward),
    })
}

/// For the file of the outcome.
pub(super) fn fault_to_json(fault: &Fault) -> Value {
    let kind = match fault.kind {
        FaultKind::Request => "request",
        FaultKind::Server => "server",
        FaultKind::Machine => "machine",
    };
    json!({ "fault": { "kind": kind, "what": fault.what, "cure": fault.cure } })
}

fn fault_from_json(value: &Value) -> Option<Fault> {
    let kind = match value["kind"].as_str()? {
        "request" => FaultKind::Request,
        "server" => FaultKind::Server,
        _ => FaultKind::Machine,
    };
    let cure = value["cure"].as_str().map(str::to_owned);
    Some(Fault { kind, what: value["what"].as_str()?.to_owned(), cure })
}

/// For people: the verdict, and the flows that had anything to do with it.
#[must_use]
pub fn summary(places: [Place; 2], outcome: &Outcome) -> String {
    let expected = crate::testbed::expected(places[0], places[1]);
    let mut text = format!("{} - {}: {}", places[0], places[1], outcome.verdict);
    if let Some(after) = outcome.connected_after {
        text += &format!(" after {:.0} ms", after.as_secs_f64() * 1e3);
    }
    text += &if outcome.verdict == expected { "\n".to_owned() } else { format!(" (expected: {expected})\n") };
    for (side, ended) in Side::BOTH.into_iter().zip(outcome.ended) {
        text += &match ended {
            Ended::Exited(0) => continue,
            Ended::Exited(code) => format!("  {}: ended with exit code {code}\n", side.name()),
            Ended::Signalled(signal) => format!("  {}: ended by signal {signal}\n", side.name()),
            Ended::Hung => format!("  {}: did not end in time, and was ended\n", side.name()),
        };
    }
    if outcome.json["nats"] == NatBy::Kernel.name() {
        text += "  the NATs next to the programs are the kernel's\n";
    }
    text += &faults::summary(&outcome.json, outcome.has_connected());
    let flows = outcome.json["flows"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Names that are asked for, and addresses that lead nowhere, would hide the rest.
    for flow in flows.iter().filter(|flow| flow["road"] != Road::Other.word()) {
        let word = |name: &str| flow[name].as_str().unwrap_or_default().to_owned();
        let count = |way: &str, name: &str| flow[way][name].as_u64().unwrap_or_default();
        text += &format!(
            "  {:<5} {} {:>21} - {:<21} {:<26} out {:>6} packets {:>8} bytes, in {:>6} packets {:>8} bytes\n",
            word("side"),
            word("protocol"),
            word("near"),
            word("far"),
            word("road"),
            count("out", "packets"),
            count("out", "bytes"),
            count("in", "packets"),
            count("in", "bytes"),
        );
    }
    text += &super::recorder::summary(&outcome.json);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::Relay;

    #[test]
    fn every_way_to_end_comes_back_as_it_was() {
        let plan = Plan::between([Place::Open, Place::Symmetric]);
        for ended in [Ended::Exited(0), Ended::Exited(3), Ended::Signalled(9), Ended::Hung] {
            let outcome = Outcome::of(&plan, &Seen::default(), [ended, Ended::Exited(0)], [None, None], &[]);
            let text = outcome.json.to_string();
            let read = Outcome::read(text.parse().expect("JSON")).expect("an outcome");
            assert_eq!((read.verdict, read.ended), (Verdict::Failed, [ended, Ended::Exited(0)]));
            assert!(!read.is_good());
        }
        for relay in [Relay::Udp, Relay::Tcp, Relay::Tls, Relay::Proxy] {
            let verdict = Verdict::Relayed(relay);
            assert_eq!(verdict_of(&verdict.to_string()), Some(verdict));
        }
    }

    #[test]
    fn a_fault_comes_back_with_its_kind_and_garbage_is_one() {
        for kind in [FaultKind::Request, FaultKind::Server, FaultKind::Machine] {
            let fault = Fault::new(kind, "so it is").cure("do this");
            assert_eq!(Outcome::read(fault_to_json(&fault)).expect_err("a fault"), fault);
        }
        assert_eq!(Outcome::read(json!({})).expect_err("nothing").kind, FaultKind::Machine);
    }
}
