//! Reads what `--json` of `testbed run` and of `testbed matrix` wrote. What is absent is not known, what is wrong is told.

use std::time::Duration;

use serde_json::Value;

use crate::ice::Kind;
use crate::testbed::Place;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::real_lab::Ended;
use crate::testbed::real_lab::Road;
use crate::testbed::real_lab::Side;
use crate::testbed::real_lab::Way;
use crate::testbed::report::Befallen;
use crate::testbed::report::End;
use crate::testbed::report::Flight;
use crate::testbed::report::Flow;
use crate::testbed::report::GateTally;
use crate::testbed::report::Happening;
use crate::testbed::report::LeftOut;
use crate::testbed::report::PairTraffic;
use crate::testbed::report::RoadTally;
use crate::testbed::report::Run;
use crate::testbed::report::What;

use super::field::Field;
use super::field::Problem;

/// The form of the report that `testbed matrix` writes.
const FORM: &str = "swingbridge-testbed/1";

/// What a report tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// One call.
    Run(Box<Run>),
    /// Many.
    Matrix {
        /// The calls, pair after pair.
        runs: Vec<Run>,
        /// Pairs of places that no call was made between.
        left_out: Vec<LeftOut>,
    },
}

/// Reads a report.
///
/// # Errors
/// What is wrong with it, and in which field.
pub fn read(text: &str) -> Result<Report, Problem> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Problem { field: String::new(), what: format!("it is no JSON: {error}") })?;
    let root = Field::root(&value);
    if !value.is_object() {
        return Err(root.wrong("an object"));
    }
    let form = root.get("form").may(Field::text)?;
    match form {
        Some(FORM) if root.get("cells").is_there() => matrix(&root),
        Some(FORM) => {
            let call = root.get("call");
            Ok(Report::Run(Box::new(run(&root, &call, &root.get("expected"))?)))
        }
        Some(_) => Err(root.get("form").wrong(&format!("`{FORM}`"))),
        None if root.get("left").is_there() || root.get("verdict").is_there() => {
            Ok(Report::Run(Box::new(real_run(&root)?)))
        }
        None => Err(Problem {
            field: String::new(),
            what:
                "it is no report of `testbed run` or `testbed matrix`: it has no `form`, `left` or `verdict`"
                    .to_owned(),
        }),
    }
}

fn matrix(root: &Field<'_>) -> Result<Report, Problem> {
    let mut runs = Vec::new();
    for cell in root.get("cells").list()? {
        for call in cell.get("calls").list()? {
            runs.push(run(&cell, &call, &cell.get("expected"))?);
        }
    }
    let out = root.get("left_out").list_or_none()?;
    let left_out = out.iter().map(|out| {
        let (left, right) = (place(&out.get("left"))?, place(&out.get("right"))?);
        Ok(LeftOut { left, right, why: out.get("why").text()?.to_owned() })
    });
    Ok(Report::Matrix { runs, left_out: left_out.collect::<Result<_, _>>()? })
}

/// A call of either laboratory, as `testbed matrix` writes it; `around` has its places.
fn run(around: &Field<'_>, call: &Field<'_>, expected: &Field<'_>) -> Result<Run, Problem> {
    let traffic = call.get("traffic").list_or_none()?;
    Ok(Run {
        left: place(&around.get("left"))?,
        right: place(&around.get("right"))?,
        seed: call.get("seed").count()?,
        verdict: verdict(&call.get("verdict"))?,
        expected: expected.may(verdict)?,
        connected: call.get("connect_ms").may(span)?,
        traffic: traffic.iter().map(pair).collect::<Result<_, _>>()?,
        notes: texts(&call.get("notes"))?,
        flight: flight(call)?,
    })
}

/// A call as `testbed run` writes it.
fn real_run(root: &Field<'_>) -> Result<Run, Problem> {
    Ok(Run {
        left: place(&root.get("left"))?,
        right: place(&root.get("right"))?,
        seed: root.get("seed").may(Field::count)?.unwrap_or_default(),
        verdict: verdict(&root.get("verdict"))?,
        expected: root.get("expected").may(verdict)?,
        connected: root.get("connected_after_ms").may(span)?,
        traffic: Vec::new(),
        notes: Vec::new(),
        flight: flight(root)?,
    })
}

/// What is known of a call beyond its verdict, of either laboratory.
///
/// # Errors
/// What is wrong with it, and in which field.
pub fn flight_of(call: &Value) -> Result<Flight, Problem> {
    flight(&Field::root(call))
}

fn flight(call: &Field<'_>) -> Result<Flight, Problem> {
    let mut ended = [None; 2];
    for program in call.get("programs").list_or_none()? {
        ended[side(&program.get("side"))?.index()] = program.get("ended").may(end_of_program)?;
    }
    let each = |name: &str| call.get(name).list_or_none();
    let mut roads = each("roads")?.iter().map(road).collect::<Result<Vec<_>, _>>()?;
    for flow in each("flows")? {
        add_flow(&mut roads, &flow)?;
    }
    Ok(Flight {
        ended,
        seen: call.get("seen").may(verdict)?,
        roads,
        gates: each("gates")?.iter().map(gate).collect::<Result<_, _>>()?,
        lost: call.get("lost_on_the_lines").may(lost)?,
        events: each("events")?.iter().map(event).collect::<Result<_, _>>()?,
        faults: each("faults")?.iter().map(befallen).collect::<Result<_, _>>()?,
    })
}

fn place(field: &Field<'_>) -> Result<Place, Problem> {
    field.one_of(&Place::ALL.map(|place| (place.name(), place)))
}

fn side(field: &Field<'_>) -> Result<Side, Problem> {
    field.one_of(&Side::BOTH.map(|side| (side.name(), side)))
}

fn some_side(field: &Field<'_>) -> Result<Option<Side>, Problem> {
    field.may(side)
}

/// As a text (`relayed (udp)`), or as an object with `word` and `relay`.
fn verdict(field: &Field<'_>) -> Result<Verdict, Problem> {
    if !field.value().is_object() {
        let all = Verdict::ALL.map(|verdict| (verdict, verdict.to_string()));
        let words: Vec<_> = all.iter().map(|(verdict, word)| (word.as_str(), *verdict)).collect();
        return field.one_of(&words);
    }
    let relay = || field.get("relay").one_of(&Relay::ALL.map(|relay| (relay.word(), relay)));
    match field.get("word").one_of(&[("direct", 0), ("relayed", 1), ("failed", 2)])? {
        0 => Ok(Verdict::Direct),
        1 => relay().map(Verdict::Relayed),
        _ => Ok(Verdict::Failed),
    }
}

fn span(field: &Field<'_>) -> Result<Duration, Problem> {
    field.millis().map(|ms| Duration::from_secs_f64(ms / 1_000.0))
}

fn texts(field: &Field<'_>) -> Result<Vec<String>, Problem> {
    field.list_or_none()?.iter().map(|text| text.text().map(str::to_owned)).collect()
}

fn pair(field: &Field<'_>) -> Result<PairTraffic, Problem> {
    let end = |name| end(&field.get(name));
    let flow = |name| flow(&field.get(name));
    Ok(PairTraffic {
        route: verdict(&field.get("route"))?,
        left: end("left")?,
        right: end("right")?,
        from_left: flow("from_left")?,
        from_right: flow("from_right")?,
    })
}

fn end(field: &Field<'_>) -> Result<End, Problem> {
    let kinds = Kind::ALL.map(|kind| (kind.word(), kind));
    let address = |field: &Field<'_>| {
        field.text()?.parse().map_err(|_| field.wrong("an address with its port, such as 192.0.2.1:3478"))
    };
    Ok(End {
        kind: field.get("kind").may(|kind| kind.one_of(&kinds))?,
        address: field.get("address").may(address)?,
    })
}

fn flow(field: &Field<'_>) -> Result<Flow, Problem> {
    Ok(Flow { packets: field.get("packets").count()?, bytes: field.get("bytes").count()? })
}

fn end_of_program(field: &Field<'_>) -> Result<Ended, Problem> {
    Ended::from_json(field.value())
        .ok_or_else(|| field.wrong("{\"exit\": CODE}, {\"signal\": NUMBER} or \"hung\""))
}

fn is_udp(field: &Field<'_>) -> Result<bool, Problem> {
    field.one_of(&[("udp", true), ("tcp", false)])
}

fn road_word(field: &Field<'_>) -> Result<Road, Problem> {
    field.one_of(&Road::ALL.map(|road| (road.word(), road)))
}

fn road(field: &Field<'_>) -> Result<RoadTally, Problem> {
    Ok(RoadTally {
        side: side(&field.get("side"))?,
        is_udp: is_udp(&field.get("protocol"))?,
        road: road_word(&field.get("road"))?,
        out: field.get("out").count()?,
        inward: field.get("in").count()?,
    })
}

/// Flows of the real laboratory, added up.
fn add_flow(roads: &mut Vec<RoadTally>, flow: &Field<'_>) -> Result<(), Problem> {
    let packets = |way: &str| flow.get(way).get("packets").may(Field::count).map(Option::unwrap_or_default);
    let flow = RoadTally {
        side: side(&flow.get("side"))?,
        is_udp: is_udp(&flow.get("protocol"))?,
        road: road_word(&flow.get("road"))?,
        out: packets("out")?,
        inward: packets("in")?,
    };
    let is_it =
        |road: &&mut RoadTally| (road.side, road.is_udp, road.road) == (flow.side, flow.is_udp, flow.road);
    match roads.iter_mut().find(is_it) {
        Some(road) => {
            road.out = road.out.saturating_add(flow.out);
            road.inward = road.inward.saturating_add(flow.inward);
        }
        None => roads.push(flow),
    }
    Ok(())
}

fn gate(field: &Field<'_>) -> Result<GateTally, Problem> {
    Ok(GateTally {
        side: side(&field.get("side"))?,
        way: field.get("way").one_of(&[("out", Way::Out), ("in", Way::In)])?,
        fate: field.get("fate").text()?.to_owned(),
        packets: field.get("packets").count()?,
    })
}

fn lost(field: &Field<'_>) -> Result<[u64; 2], Problem> {
    match field.list()?.as_slice() {
        [left, right] => Ok([left.count()?, right.count()?]),
        _ => Err(field.wrong("a list of two numbers: the left line, the right one")),
    }
}

fn event(field: &Field<'_>) -> Result<Happening, Problem> {
    let word = field.get("what").text()?;
    let detail = field.get("detail").may(Field::text)?.unwrap_or_default();
    // A later version may know of more.
    let (what, detail) = match What::ALL.into_iter().find(|what| what.word() == word) {
        Some(what) => (what, detail.to_owned()),
        None => (What::Other, if detail.is_empty() { word.to_owned() } else { format!("{word}: {detail}") }),
    };
    let times = field.get("times").may(Field::count)?.unwrap_or(1);
    Ok(Happening {
        at: span(&field.get("at_ms"))?,
        side: some_side(&field.get("side"))?,
        what,
        detail,
        times,
    })
}

fn befallen(field: &Field<'_>) -> Result<Befallen, Problem> {
    let events = field.get("events").list_or_none()?;
    let words = |event: &Field<'_>| match event.value() {
        Value::String(text) => text.clone(),
        other => other["words"].as_str().map_or_else(|| other.to_string(), str::to_owned),
    };
    // Counted, or told.
    let befallen = field.get("befallen");
    let befallen = match befallen.value() {
        Value::Number(_) => Some(befallen.count()? > 0),
        Value::Array(all) => Some(!all.is_empty()),
        _ => befallen.may(Field::flag)?,
    };
    Ok(Befallen {
        side: some_side(&field.get("side"))?,
        scenario: field.get("scenario").text()?.to_owned(),
        passed: field.get("passed").may(Field::flag)?,
        befallen,
        why: field.get("why").may(Field::text)?.unwrap_or_default().to_owned(),
        events: events.iter().map(words).collect(),
    })
}
