//! Many runs: every pair of places, some at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::load::Fault;
use crate::testbed::Place;
use crate::testbed::Verdict;
use crate::testbed::expected;
use crate::testbed::explain::flight_of;
use crate::testbed::report::End;
use crate::testbed::report::Flow;
use crate::testbed::report::Lab;
use crate::testbed::report::Matrix;
use crate::testbed::report::PairTraffic;
use crate::testbed::report::Run;
use crate::testbed::scenario::Link;

use super::addresses::Side;
use super::flow::Road;
use super::gate::Way;
use super::launch::launch;
use super::outcome::Ended;
use super::outcome::Outcome;
use super::plan::NatBy;
use super::plan::Plan;

/// What runs are to be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Each is put with each, itself included.
    pub places: Vec<Place>,
    /// What lies between each side and the internet.
    pub links: [Link; 2],
    /// The two programs.
    pub commands: [Vec<String>; 2],
    /// How long the programs of one run may take.
    pub timeout: Duration,
    /// The seed of each pair's first call; each further one has the next.
    pub seed: u64,
    /// Calls between each pair.
    pub seeds: u32,
    /// Runs that go on at a time.
    pub together: usize,
    /// The folder for a folder of each run: its capture, its logs and what came of it. Without it nothing is kept.
    pub record: Option<PathBuf>,
    /// What the NAT next to each program is made of.
    pub nats: NatBy,
}

/// Carries out all of them. `done` hears of each that has ended.
///
/// # Errors
/// Why one came to nothing; no further ones are begun then.
pub fn matrix(
    wish: &Wish,
    is_stopped: &(dyn Fn() -> bool + Sync),
    done: &(dyn Fn(&Run) + Sync),
) -> Result<Matrix, Fault> {
    let pairs = wish.places.iter().flat_map(|left| wish.places.iter().map(|right| [*left, *right]));
    let seeds = (0..u64::from(wish.seeds)).map(|more| wish.seed.wrapping_add(more));
    let todo = pairs.flat_map(|pair| seeds.clone().map(move |seed| (pair, seed)));
    let runs = each(todo, wish.together, &|(places, seed)| {
        one(wish, places, seed, is_stopped).inspect(|run| done(run))
    })?;
    Ok(Matrix {
        lab: Lab::Real,
        clients: wish.commands.each_ref().map(|words| words.join(" ")),
        seed: wish.seed,
        seeds: wish.seeds,
        links: links(&wish.links),
        places: wish.places.clone(),
        runs,
        left_out: Vec::new(),
        notes: vec![
            "verdicts are what the routers saw; data within TLS is counted in records, and so is what belongs to its control"
                .to_owned(),
        ],
    })
}

/// Has `job` done for each, `together` at a time, and answers in their order.
///
/// # Errors
/// Why one could not be done; no further ones are begun then.
fn each<T: Send, R: Send>(
    todo: impl Iterator<Item = T>,
    together: usize,
    job: &(dyn Fn(T) -> Result<R, Fault> + Sync),
) -> Result<Vec<R>, Fault> {
    let todo = Mutex::new(todo.enumerate().collect::<VecDeque<_>>());
    // A function, so that nobody holds the list while a job is done.
    let next = || lock(&todo).pop_front();
    let (made, failed) = (Mutex::new(Vec::new()), Mutex::new(None));
    let work = || {
        while let Some((at, what)) = next() {
            match job(what) {
                Ok(result) => lock(&made).push((at, result)),
                Err(fault) => {
                    lock(&todo).clear();
                    lock(&failed).get_or_insert(fault);
                }
            }
        }
    };
    thread::scope(|scope| (0..together.max(1)).for_each(|_| drop(scope.spawn(work))));
    if let Some(fault) = lock(&failed).take() {
        return Err(fault);
    }
    let mut made = std::mem::take(&mut *lock(&made));
    made.sort_by_key(|(at, _)| *at);
    Ok(made.into_iter().map(|(_, result)| result).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each change is whole, so a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn one(wish: &Wish, places: [Place; 2], seed: u64, is_stopped: &dyn Fn() -> bool) -> Result<Run, Fault> {
    let [left, right] = places;
    let plan = Plan {
        places,
        links: wish.links,
        commands: wish.commands.clone(),
        timeout: wish.timeout,
        seed,
        logs: None,
        script: None,
        record: wish.record.as_ref().map(|all| all.join(format!("{left}-{right}-{seed}"))),
        nats: wish.nats,
    };
    launch(&plan, is_stopped).map(|outcome| run_of(&plan, &outcome))
}

/// What came of a run, in the words of both laboratories.
#[must_use]
pub fn run_of(plan: &Plan, outcome: &Outcome) -> Run {
    let [left, right] = plan.places;
    let flow = |side: Side, way: Way| &outcome.json["call"][side.index()][way as usize];
    let heard = |side: Side| flow(side, Way::In);
    let has_call = outcome.verdict != Verdict::Failed && heard(Side::Left).is_object();
    let traffic = has_call.then(|| PairTraffic {
        route: outcome.verdict,
        left: end(heard(Side::Left), flow(Side::Right, Way::Out)),
        right: end(heard(Side::Right), flow(Side::Left, Way::Out)),
        from_left: data(heard(Side::Right)),
        from_right: data(heard(Side::Left)),
    });
    let mut notes = Vec::new();
    for side in Side::BOTH {
        notes.extend(match outcome.ended[side.index()] {
            Ended::Exited(0) => None,
            Ended::Exited(code) => Some(format!("{}: ended with exit code {code}", side.name())),
            Ended::Signalled(signal) => Some(format!("{}: ended by signal {signal}", side.name())),
            Ended::Hung => Some(format!("{}: did not end in time", side.name())),
        });
    }
    Run {
        left,
        right,
        seed: plan.seed,
        verdict: outcome.verdict,
        expected: Some(expected(left, right)),
        connected: outcome.connected_after,
        traffic: traffic.into_iter().collect(),
        notes,
        // Our own process wrote it; what cannot be read of it is not known.
        flight: flight_of(&outcome.json).unwrap_or_default(),
    }
}

/// One side's end of the pair: by what comes to it, and what the other side sends. What kind it is nobody says here.
fn end(own: &Value, other: &Value) -> End {
    let address = |flow: &Value, name: &str| flow[name].as_str().and_then(|text| text.parse().ok());
    let to_relay = other["road"] == Road::ToRelay.word();
    let is_direct = own["road"] == Road::Direct.word();
    let address: Option<SocketAddr> = if to_relay {
        address(other, "far")
    } else if is_direct {
        address(own, "near")
    } else {
        None
    };
    End { kind: None, address }
}

/// What arrived at a side.
fn data(flow: &Value) -> Flow {
    let number = |name: &str| flow["in"][name].as_u64().unwrap_or_default();
    Flow { packets: number("data"), bytes: number("data_bytes") }
}

/// What the lines do, in words.
fn links(links: &[Link; 2]) -> Vec<String> {
    let told = Side::BOTH.into_iter().zip(links).filter(|(_, link)| **link != Link::default());
    told.map(|(side, link)| format!("{}: {link:?}", side.name())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;

    use serde_json::json;

    use super::*;
    use crate::load::fault::FaultKind;
    use crate::testbed::Relay;

    /// Where jobs wait until so many are there at the same time. It gives up rather than wait for ever.
    #[derive(Default)]
    struct Meeting {
        here: Mutex<usize>,
        came: Condvar,
    }

    impl Meeting {
        fn of(&self, wanted: usize) -> bool {
            let mut here = lock(&self.here);
            *here += 1;
            self.came.notify_all();
            let (_here, waited) = self
                .came
                .wait_timeout_while(here, Duration::from_secs(20), |here| *here < wanted)
                .expect("nobody panics");
            !waited.timed_out()
        }
    }

    #[test]
    fn so_many_as_were_asked_for_are_under_way_together_and_their_order_stays() {
        let meeting = Meeting::default();
        // The first three have to be there together; then all go on.
        let met = each(0..10, 3, &|number: u32| Ok((number, meeting.of(3))));
        assert_eq!(met, Ok((0..10).map(|number| (number, true)).collect()));
        assert_eq!(each(0..3, 0, &|number: u32| Ok(number)), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn one_that_cannot_be_done_is_told_and_no_further_one_begun() {
        let begun = Mutex::new(Vec::new());
        let told = each(0..10, 1, &|number: u32| {
            lock(&begun).push(number);
            if number == 2 { Err(Fault::new(FaultKind::Machine, "so it is")) } else { Ok(()) }
        });
        assert_eq!(told.expect_err("the third").what, "so it is");
        assert_eq!(*lock(&begun), [0, 1, 2]);
    }

    #[test]
    fn a_run_tells_what_arrived_and_where_as_far_as_the_routers_could_see() {
        let plan = Plan { seed: 3, ..Plan::between([Place::UdpBlocked, Place::Open]) };
        let side = |road: &str, near: &str, far: &str, data: u64| {
            let count = json!({ "data": data, "data_bytes": data * 160 });
            json!({ "road": road, "near": near, "far": far, "in": count })
        };
        let json = json!({ "call": [
            vec![side("server (tcp)", "203.0.113.1:5", "192.0.2.1:3478", 7); 2],
            vec![side("to the other side's relay", "198.51.100.1:6", "192.0.2.1:50001", 9); 2],
        ]});
        let verdict = Verdict::Relayed(Relay::Tcp);
        let ended = [Ended::Exited(0), Ended::Hung];
        let outcome = Outcome { verdict, connected_after: None, ended, json };
        let run = run_of(&plan, &outcome);
        assert!(run.is_as_expected());
        assert_eq!(run.notes, ["right: did not end in time"]);
        let [pair] = &run.traffic[..] else { panic!("{run:?}") };
        assert_eq!(pair.left.address, "192.0.2.1:50001".parse().ok());
        assert_eq!((pair.from_left.packets, pair.from_right.bytes), (9, 7 * 160));
        let failed = Outcome { verdict: Verdict::Failed, ..outcome };
        assert!(run_of(&plan, &failed).traffic.is_empty());
    }
}
