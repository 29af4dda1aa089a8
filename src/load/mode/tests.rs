//! The modes against servers that are computed, whose limits are known beforehand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::*;
use crate::load::nats::Nats;
use crate::load::outcome::Flow;
use crate::load::outcome::IceOutcome;
use crate::load::outcome::NatOutcome;
use crate::load::outcome::Own;
use crate::load::plan::Carrier;
use crate::load::plan::Direction;
use crate::load::plan::Framing;
use crate::load::plan::Generator;
use crate::load::plan::Lab;
use crate::load::plan::Profile;
use crate::load::plan::Traffic;
use crate::load::plan::Trust;
use crate::load::plan::Who;
use crate::load::profile::mix;
use crate::place::Place;
use crate::place::Relay;
use crate::place::Verdict as Ending;
use crate::proto::client::Credential;
use crate::proto::client::Proof;
use crate::proto::types::Secret;

const HOLD: Duration = Duration::from_secs(10);

/// A server whose limits are known, under a generator whose limits are known.
#[derive(Clone, Debug)]
struct Fake {
    name: &'static str,
    /// Packets that it carries each second.
    carries: f64,
    /// Packets that it can keep waiting before it drops any.
    room: f64,
    /// One in so many packets is lost.
    loses_every: Option<u64>,
    /// Of a hundred measurements so many are spoilt by somebody else.
    noise: u64,
    /// Packets that the generator sends each second at the most.
    generator_max: f64,
    /// Allocations that it grants.
    quota: u32,
    /// With so many calls it does not answer any more.
    dies_at: u32,
    latency: Duration,
    /// What fails while it is measured.
    meanwhile: u64,
    calls: u32,
    measured: u64,
    log: Rc<RefCell<Vec<String>>>,
    /// How pairs of agents between NATs end.
    nats: Vec<NatOutcome>,
    /// How long agents wait.
    turn: Duration,
}

impl Fake {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            carries: f64::INFINITY,
            room: 0.0,
            loses_every: None,
            noise: 0,
            generator_max: f64::INFINITY,
            quota: u32::MAX,
            dies_at: u32::MAX,
            latency: Duration::from_millis(1),
            meanwhile: 0,
            calls: 0,
            measured: 0,
            log: Rc::default(),
            nats: Vec::new(),
            turn: Duration::ZERO,
        }
    }

    fn log(&self, what: &str) {
        self.log.borrow_mut().push(format!("{} {what}", self.name));
    }

    fn grant(&mut self, calls: u32) -> Setup {
        let mut setup = Setup { asked: u64::from(calls.saturating_sub(self.calls)), ..Setup::default() };
        let before = self.calls;
        self.calls = calls.min(self.quota);
        setup.served = u64::from(self.calls.saturating_sub(before));
        if setup.served < setup.asked {
            setup.failures.insert("Allocate 486".to_owned(), setup.asked - setup.served);
        }
        setup.allocate.note(self.latency * 2);
        setup
    }

    fn flow(&self, packets: f64, lost: f64) -> Flow {
        let (sent, lost) = (packets.round() as u64, lost.round() as u64);
        let mut flow = Flow { sent, lost, received: sent - lost, ..Flow::default() };
        flow.sent_bytes = sent * 166;
        flow.received_bytes = flow.received * 166;
        for _ in 0..100 {
            flow.latency.note(self.latency);
        }
        flow
    }
}

impl Rig for Fake {
    fn hold(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault> {
        self.log(&format!("hold {calls}"));
        watch.moment(&Moment::default());
        if calls >= self.dies_at || (calls > 0 && self.quota == 0) {
            self.calls = 0;
            return Err(Fault::new(FaultKind::Server, "no call came to be: Allocate timeout"));
        }
        Ok(self.grant(calls))
    }

    fn idle(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<(), Fault> {
        self.log(&format!("idle {length:?}"));
        watch.moment(&Moment::default());
        Ok(())
    }

    fn measure(&mut self, length: Duration, watch: &mut dyn Watcher) -> Result<Step, Fault> {
        self.log(&format!("measure {} for {length:?}", self.calls));
        let stopped = watch.moment(&Moment::default()) == GoOn::No;
        let length = if stopped { length / 2 } else { length };
        self.measured += 1;
        let offered = f64::from(self.calls) * 100.0;
        let seconds = length.as_secs_f64();
        let sent = offered.min(self.generator_max) * seconds;
        let mut lost = (sent - self.carries * seconds - self.room).max(0.0);
        lost += self.loses_every.map_or(0.0, |every| sent / every as f64);
        if mix(self.measured * 77) % 100 < self.noise {
            lost += sent * 0.02;
        }
        Ok(Step {
            calls: self.calls,
            length,
            offered,
            up: self.flow(sent / 2.0, lost / 2.0),
            down: self.flow(sent / 2.0, lost / 2.0),
            setup: Setup {
                failures: (self.meanwhile > 0)
                    .then(|| ("Refresh timeout".to_owned(), self.meanwhile))
                    .into_iter()
                    .collect(),
                ..Setup::default()
            },
            own: Own { unsent: ((offered * seconds) - sent) as u64, ..Own::default() },
            ..Step::default()
        })
    }

    fn churn(
        &mut self,
        at_once: u32,
        rate: Option<f64>,
        length: Duration,
        watch: &mut dyn Watcher,
    ) -> Result<Step, Fault> {
        self.log(&format!("churn {at_once} {rate:?} for {length:?}"));
        watch.moment(&Moment::default());
        let cycles = length.as_secs() * 100;
        let failed = self.loses_every.map_or(0, |every| cycles / every);
        let failures = BTreeMap::from([("Allocate timeout".to_owned(), failed)]);
        let setup = Setup { asked: cycles, served: cycles - failed, cycles, failures, ..Setup::default() };
        Ok(Step { calls: at_once, length, setup, ..Step::default() })
    }

    fn storm(&mut self, calls: u32, watch: &mut dyn Watcher) -> Result<Setup, Fault> {
        self.log(&format!("storm {calls}"));
        watch.moment(&Moment::default());
        self.calls = 0;
        Ok(self.grant(calls))
    }

    fn ice(
        &mut self,
        pairs: u32,
        _: f64,
        _: bool,
        _: Duration,
        _: &mut dyn Watcher,
    ) -> Result<IceOutcome, Fault> {
        let failed = self.loses_every.map_or(0, |every| u64::from(pairs) / every);
        Ok(IceOutcome {
            pairs: pairs.into(),
            connected: u64::from(pairs) - failed,
            nats: self.nats.clone(),
            longest_turn: self.turn,
            ..IceOutcome::default()
        })
    }
}

/// Stops a run after so many looks at it.
struct Looks(u32);

impl Watcher for Looks {
    fn moment(&mut self, _: &Moment) -> GoOn {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { GoOn::No } else { GoOn::Yes }
    }
}

#[test]
fn a_soak_holds_warms_up_measures_and_judges() {
    let fake = Fake { loses_every: Some(10_000), ..Fake::new("A") };
    let report = done(&mut plan(SOAK, "loss<0.1%"), &fake);
    assert_eq!(report.verdict, Verdict::Met);
    assert_eq!(*fake.log.borrow(), ["A hold 100", "A idle 2s", "A measure 100 for 10s"]);
    let step = &report.sides[0].steps[0];
    assert_eq!((step.up.sent, step.up.lost, step.setup.served), (50_000, 5, 100));

    let fake = Fake { loses_every: Some(100), ..Fake::new("A") };
    let report = done(&mut plan(SOAK, "loss<0.1%"), &fake);
    assert_eq!(report.verdict, Verdict::Broken(vec!["loss up is 1 %, above 0.1 %".to_owned()]));
    assert_eq!(done(&mut plan(SOAK, ""), &fake).verdict, Verdict::Done);
}

#[test]
fn a_soak_beyond_the_generator_says_nothing_of_the_server() {
    let fake = Fake { generator_max: 9_980.0, loses_every: Some(2), ..Fake::new("A") };
    let report = done(&mut plan(SOAK, "loss<0.1%"), &fake);
    let wanted = "200 packets (0.20 %) found no room in the generator's own queues";
    assert_eq!(report.verdict, Verdict::GeneratorLimited(wanted.to_owned()));
    let fake = Fake { generator_max: 9_995.0, ..fake };
    assert!(
        matches!(done(&mut plan(SOAK, "loss<0.1%"), &fake).verdict, Verdict::Broken(_)),
        "0.05 % is borne"
    );
}

#[test]
fn calls_that_did_not_come_to_be_are_told() {
    let fake = Fake { quota: 40, ..Fake::new("A") };
    let report = done(&mut plan(SOAK, "loss<0.1%"), &fake);
    let why = "only 40 of 100 calls came to be (Allocate 486: 60)";
    assert_eq!(report.verdict, Verdict::Broken(vec![why.to_owned()]));
    let note = "Of 100 calls, 40 were in being while it was measured (Allocate 486: 60).";
    assert!(report.notes.iter().any(|each| each == note), "{:?}", report.notes);
}

#[test]
fn what_fails_while_it_is_measured_is_told_with_what_failed_before() {
    let fake = Fake { meanwhile: 7, quota: 98, ..Fake::new("A") };
    let report = done(&mut plan(SOAK, "failures<3%"), &fake);
    let wanted = [("Allocate 486".to_owned(), 2), ("Refresh timeout".to_owned(), 7)];
    assert_eq!(report.sides[0].steps[0].setup.failures, BTreeMap::from(wanted));
    assert!(matches!(report.verdict, Verdict::Broken(_)), "{:?}", report.verdict);
}

#[test]
fn a_server_that_refuses_all_is_a_fault() {
    let fake = Fake { quota: 0, ..Fake::new("A") };
    for mode in [SOAK, capacity(10, 100), RAMP] {
        let fault =
            run(plan(mode, ""), |_, _| Ok(fake.clone()), &mut Looks(u32::MAX)).expect_err("it refuses all");
        assert_eq!(fault.what, "no call came to be: Allocate timeout");
    }
}

#[test]
fn a_rig_that_cannot_be_made_is_a_fault() {
    let fault = Fault::new(FaultKind::Machine, "no descriptors");
    let is = run(plan(SOAK, ""), |_, _| Err::<Fake, _>(fault.clone()), &mut Looks(u32::MAX));
    assert_eq!(is.map(|_| ()), Err(fault));
}

#[test]
fn a_ramp_goes_up_until_it_breaks_twice() {
    let fake = Fake { carries: 3_550.0, ..Fake::new("A") };
    let report = done(&mut plan(RAMP, "loss<0.1%"), &fake);
    let Some(Capacity::Found { calls, packets, breaks_at, why, .. }) = &report.sides[0].capacity else {
        panic!("{:?}", report.sides[0].capacity);
    };
    assert_eq!((*calls, *breaks_at, *packets), (35, 40, 3_500.0));
    assert_eq!(why, "loss up is 11.25 %, above 0.1 %");
    assert_eq!(report.verdict, Verdict::Met);
    let loads: Vec<_> = report.sides[0].steps.iter().map(|step| step.calls).collect();
    assert_eq!(loads, [10, 15, 20, 25, 30, 35, 40, 40]);
}

#[test]
fn a_ramp_that_never_breaks_or_breaks_at_once_says_so() {
    let report = done(&mut plan(RAMP, "loss<0.1%"), &Fake::new("A"));
    assert_eq!(
        report.sides[0].capacity,
        Some(Capacity::AtLeast(52)),
        "the last step is cut to what was asked"
    );
    let report = done(&mut plan(RAMP, "loss<0.1%"), &Fake { carries: 500.0, ..Fake::new("A") });
    assert!(matches!(&report.sides[0].capacity, Some(Capacity::LessThan(10, _))));
    assert!(matches!(report.verdict, Verdict::Broken(_)));
    let report = done(&mut plan(RAMP, "loss<0.1%"), &Fake { generator_max: 3_550.0, ..Fake::new("A") });
    let why = "35 calls hold the objective; with 40 calls, 4500 packets (12.68 %) found no room in the generator's own queues";
    assert_eq!(report.sides[0].capacity, Some(Capacity::Unknown(why.to_owned())));
    assert_eq!(report.verdict, Verdict::GeneratorLimited(why.to_owned()));
}

#[test]
fn capacity_finds_what_a_server_carries() {
    for carries in [150.0, 700.0, 3_210.0, 9_999.0, 52_345.0, 640_000.0] {
        let fake = Fake { carries, ..Fake::new("A") };
        let report = done(&mut plan(capacity(10, 100_000), "loss<0.1%"), &fake);
        let (calls, breaks_at) = found(&report);
        let most = (carries * 1.001 / 100.0) as u32;
        assert!(calls <= most && breaks_at > most, "{carries}: {calls} hold, {breaks_at} do not");
        assert!(
            f64::from(breaks_at - calls) <= (f64::from(calls) * 0.02).max(1.0),
            "{carries}: {calls}, {breaks_at}"
        );
        assert!(report.sides[0].steps.len() < 40, "{carries}: {} steps", report.sides[0].steps.len());
        assert_eq!(report.verdict, Verdict::Met);
    }
}

#[test]
fn capacity_says_what_it_cannot_say() {
    let report = done(&mut plan(capacity(10, 500), "loss<0.1%"), &Fake::new("A"));
    assert_eq!(report.sides[0].capacity, Some(Capacity::AtLeast(500)));
    let report = done(&mut plan(capacity(64, 500), "loss<0.1%"), &Fake { carries: 50.0, ..Fake::new("A") });
    assert!(
        matches!(&report.sides[0].capacity, Some(Capacity::LessThan(1, _))),
        "it looks below the first load too"
    );
    assert!(matches!(report.verdict, Verdict::Broken(_)));
}

#[test]
fn the_generators_limit_is_no_capacity_but_bounds_the_search() {
    let fake = Fake { generator_max: 10_000.0, ..Fake::new("A") };
    let report = done(&mut plan(capacity(10, 5_000), "loss<0.1%"), &fake);
    let Verdict::GeneratorLimited(why) = &report.verdict else { panic!("{:?}", report.verdict) };
    assert!(why.starts_with("100 calls hold the objective; with 102 calls, "), "{why}");
    assert!(matches!(report.sides[0].capacity, Some(Capacity::Unknown(_))));
    // The server ends before the generator does, though the search first meets the generator's limit.
    let fake = Fake { carries: 9_000.0, generator_max: 10_000.0, ..fake };
    assert_eq!(found(&done(&mut plan(capacity(10, 5_000), "loss<0.1%"), &fake)).0, 90);
}

#[test]
fn what_others_spoil_is_no_limit() {
    for seed in 0..20 {
        let fake = Fake { carries: 5_000.0, noise: 10, measured: seed * 1000, ..Fake::new("A") };
        let report = done(&mut plan(capacity(10, 5_000), "loss<0.1%"), &fake);
        let (calls, _) = found(&report);
        assert!((45..=50).contains(&calls), "seed {seed}: {calls}");
    }
}

#[test]
fn a_queue_that_hides_an_overload_for_a_while_is_seen_through() {
    // 10 s at 54 calls fit into the queue; 20 s do not.
    let fake = Fake { carries: 5_000.0, room: 4_000.0, ..Fake::new("A") };
    let report = done(&mut plan(capacity(10, 5_000), "loss<0.1%"), &fake);
    let (calls, _) = found(&report);
    assert!((50..=52).contains(&calls), "{calls}");
    assert!(fake.log.borrow().iter().any(|each| each.ends_with("for 20s")));
}

#[test]
fn a_server_that_dies_under_load_has_a_limit() {
    let fake = Fake { dies_at: 77, ..Fake::new("A") };
    let report = done(&mut plan(capacity(10, 5_000), "loss<0.1%"), &fake);
    assert_eq!(found(&report), (76, 77));
    let Some(Capacity::Found { why, .. }) = &report.sides[0].capacity else { unreachable!("it was found") };
    assert_eq!(why, "no call came to be: Allocate timeout");
}

#[test]
fn a_quota_is_a_limit() {
    let fake = Fake { quota: 64, ..Fake::new("A") };
    let report = done(&mut plan(capacity(10, 5_000), "loss<0.1%"), &fake);
    assert!((64..=65).contains(&found(&report).0), "{:?}", report.sides[0].capacity);
}

#[test]
fn a_capacity_without_an_objective_has_the_usual_one() {
    let fake = Fake { carries: 5_000.0, ..Fake::new("A") };
    let report = done(&mut plan(capacity(10, 5_000), ""), &fake);
    assert_eq!(found(&report).0, 50);
    assert_eq!(report.plan.objective, Objective::usual());
    assert!(
        report.notes[0].ends_with("the usual one was taken: loss<0.1%,p99<20ms,failures<1%."),
        "{:?}",
        report.notes
    );
}

#[test]
fn churn_is_judged_by_its_failures() {
    let mode = Mode::Churn { at_once: 10, rate: Some(50.0), length: HOLD };
    let fake = Fake::new("A");
    assert_eq!(done(&mut plan(mode, "failures<1%,loss<0.1%"), &fake).verdict, Verdict::Met);
    assert_eq!(*fake.log.borrow(), ["A churn 10 Some(50.0) for 2s", "A churn 10 Some(50.0) for 10s"]);
    let fake = Fake { loses_every: Some(20), ..fake };
    let why = "failures are 5 %, above 1 % (Allocate timeout: 50)";
    assert_eq!(done(&mut plan(mode, "failures<1%"), &fake).verdict, Verdict::Broken(vec![why.to_owned()]));
}

#[test]
fn a_storm_comes_as_often_as_it_was_asked() {
    let mode = Mode::Storm { calls: 30, rounds: 2, hold: HOLD };
    let fake = Fake { quota: 20, ..Fake::new("A") };
    let report = done(&mut plan(mode, "failures<1%"), &fake);
    assert_eq!(
        *fake.log.borrow(),
        ["A storm 30", "A measure 20 for 10s", "A storm 30", "A measure 20 for 10s"]
    );
    let Verdict::Broken(why) = &report.verdict else { panic!("{:?}", report.verdict) };
    assert_eq!(why[1], "round 2: failures are 33.333 %, above 1 % (Allocate 486: 10)");
}

#[test]
fn a_comparison_takes_turns_in_both_orders() {
    let (one, log) = (Fake::new("A"), Rc::<RefCell<Vec<String>>>::default());
    let mut rigs = vec![
        Fake { name: "B", latency: Duration::from_millis(3), log: log.clone(), ..one.clone() },
        Fake { log: log.clone(), ..one },
    ];
    let mut plan = plan(Mode::Compare { calls: 5, hold: HOLD, rounds: 3 }, "p99<2ms");
    plan.servers = vec![server("turn:a"), server("turn:b")];
    let make = |_: &Plan, _: &Server| Ok(rigs.pop().expect("one for each server"));
    let report = run(plan, make, &mut Looks(u32::MAX)).expect("it goes through");
    let turns: Vec<_> = log
        .borrow()
        .iter()
        .filter(|each| each.contains("measure"))
        .map(|each| each[..1].to_owned())
        .collect();
    assert_eq!(turns.concat(), "ABBAAB");
    let turn = ["A hold 5", "A idle 2s", "A measure 5 for 10s", "A hold 0"];
    assert_eq!(log.borrow()[..4], turn, "nobody has calls while the other one is measured");
    let comparison = report.comparison.expect("they were compared");
    let ratio =
        comparison.ratios.iter().find(|ratio| ratio.what == "latency p99").expect("it is known of both");
    assert_eq!((comparison.pairs, ratio.each.len()), (3, 3));
    assert!((ratio.median - 3.0).abs() < 0.1 && ratio.least <= ratio.median && ratio.median <= ratio.most);
    let Verdict::Broken(why) = report.verdict else { panic!("{:?}", report.verdict) };
    assert_eq!(why[0], "turn:b: round 1: p99 up is 3.0ms, above 2ms");
    assert_eq!(why.len(), 3, "the first one holds");
}

#[test]
fn a_comparison_takes_two() {
    let mode = Mode::Compare { calls: 5, hold: HOLD, rounds: 3 };
    let fault =
        run(plan(mode, ""), |_, _| Ok(Fake::new("A")), &mut Looks(u32::MAX)).expect_err("one is no pair");
    assert_eq!(fault.what, "a comparison takes two servers");
}

#[test]
fn pairs_that_do_not_connect_break_a_run() {
    let mode = Mode::Ice { pairs: 200, rate: 50.0, relay_only: true, patience: HOLD };
    assert_eq!(done(&mut plan(mode, ""), &Fake::new("A")).verdict, Verdict::Done);
    let fake = Fake { loses_every: Some(100), ..Fake::new("A") };
    let wanted = Verdict::Broken(vec!["2 of 200 pairs did not connect".to_owned()]);
    assert_eq!(done(&mut plan(mode, ""), &fake).verdict, wanted);
    assert_eq!(done(&mut plan(mode, "failures<1%"), &fake).verdict, Verdict::Met);
    // One that let its agents wait says nothing of the server; but what went well, did.
    let late = Fake { turn: Duration::from_millis(1_500), ..fake };
    let verdict = done(&mut plan(mode, ""), &late).verdict;
    assert!(matches!(&verdict, Verdict::GeneratorLimited(why) if why.contains("up to 1.5 s")), "{verdict:?}");
    assert_eq!(done(&mut plan(mode, "failures<1%"), &late).verdict, Verdict::Met);
}

#[test]
fn between_nats_every_pair_must_end_as_the_standards_have_it() {
    let mode = Mode::Ice { pairs: 100, rate: 50.0, relay_only: false, patience: HOLD };
    let (restricted, only) = ([Place::PortRestricted, Place::Symmetric], [Place::Only443, Place::Open]);
    let relayed = Ending::Relayed(Relay::Udp);
    let fake = |ended: &[(Ending, u64)]| {
        let one =
            NatOutcome { ended: ended.iter().copied().collect(), ..NatOutcome::new(restricted, relayed) };
        let failed = BTreeMap::from([(Ending::Failed, 50)]);
        let other = NatOutcome { ended: failed, ..NatOutcome::new(only, Ending::Failed) };
        // Those that have to fail are no failures.
        Fake { loses_every: Some(2), nats: vec![one, other], ..Fake::new("A") }
    };
    let with = |objective: &str| {
        let mut plan = plan(mode, objective);
        let places = vec![restricted, only];
        plan.nats = Some(Nats { places, ways: vec![], settling: HOLD, is_unfiltered: false });
        plan
    };
    let report = done(&mut with(""), &fake(&[(relayed, 50)]));
    assert_eq!(report.verdict, Verdict::Met);
    assert!(
        report.notes.iter().any(|note| note.contains("only-443 is let out to none")),
        "{:?}",
        report.notes
    );
    assert!(report.notes.iter().any(|note| note.contains("of connections only the firewalls")));
    let wrong = fake(&[(relayed, 48), (Ending::Direct, 1), (Ending::Failed, 1)]);
    let told =
        "port-restricted × symmetric: 1 direct, 48 relayed (udp), 1 failed, and has to be relayed (udp)";
    assert_eq!(done(&mut with(""), &wrong).verdict, Verdict::Broken(vec![told.to_owned()]));
    assert_eq!(done(&mut with("failures<1%"), &wrong).verdict, Verdict::Broken(vec![told.to_owned()]));
    assert_eq!(done(&mut with("failures<2%"), &wrong).verdict, Verdict::Met);
}

/// Ctrl-C at any moment of any mode: the run ends soon, and what there is until then is told.
#[test]
fn an_early_end_is_tidy_whenever_it_comes() {
    let compare = Mode::Compare { calls: 5, hold: HOLD, rounds: 3 };
    let churn = Mode::Churn { at_once: 10, rate: None, length: HOLD };
    let storm = Mode::Storm { calls: 30, rounds: 20, hold: HOLD };
    for mode in [SOAK, RAMP, capacity(10, 5_000), churn, storm, compare] {
        for looks in 1..=20 {
            let mut plan = plan(mode, "loss<0.1%");
            if mode == compare {
                plan.servers = vec![server("turn:a"), server("turn:b")];
            }
            let fake = Fake { carries: 50_000.0, ..Fake::new("A") };
            let report = run(plan, |_, _| Ok(fake.clone()), &mut Looks(looks)).expect("it ends tidily");
            let steps: usize = report.sides.iter().map(|side| side.steps.len()).sum();
            let calls = fake.log.borrow().len();
            if report.verdict == Verdict::Stopped {
                assert!(calls <= looks as usize + 1, "{mode:?}, {looks}: {:?}", fake.log.borrow());
                assert!(report.sides.iter().all(|side| side.capacity.is_none()));
            } else {
                assert!(looks > 2 && steps > 0, "{mode:?}, {looks}");
            }
        }
    }
}

const SOAK: Mode = Mode::Soak { calls: 100, length: HOLD };
const RAMP: Mode = Mode::Ramp { from: 10, step: 5, to: 52, hold: HOLD };

const fn capacity(from: u32, to: u32) -> Mode {
    Mode::Capacity { from, to, hold: HOLD, precision: 0.02 }
}

fn done(plan: &mut Plan, fake: &Fake) -> Report {
    run(plan.clone(), |_, _| Ok(fake.clone()), &mut Looks(u32::MAX)).expect("it goes through")
}

fn found(report: &Report) -> (u32, u32) {
    match &report.sides[0].capacity {
        Some(Capacity::Found { calls, breaks_at, .. }) => (*calls, *breaks_at),
        other => panic!("{other:?}"),
    }
}

fn plan(mode: Mode, objective: &str) -> Plan {
    let objective = if objective.is_empty() { Ok(Objective::default()) } else { Objective::parse(objective) };
    Plan {
        servers: vec![server("turn:a")],
        mode,
        traffic: Traffic { profile: Profile::Audio, direction: Direction::Both },
        peer: PeerPlace::Relay,
        framing: Framing::Channel,
        objective: objective.expect("it is right"),
        warm_up: Duration::from_secs(2),
        generator: Generator {
            threads: 1,
            sources: Vec::new(),
            segments: false,
            seed: 1,
            lab: Lab::default(),
        },
        nats: None,
    }
}

fn server(uri: &str) -> Server {
    let who = Credential {
        username: b"alice".as_slice().into(),
        proof: Proof::Password(Secret::new(b"secret".to_vec())),
        token: None,
    };
    Server {
        uri: uri.to_owned(),
        host: "a".to_owned(),
        address: ([192, 0, 2, 1], 3478).into(),
        carrier: Carrier::Udp,
        who: Who::One(who),
        trust: Trust::System,
        watch: None,
        proxy: None,
    }
}
