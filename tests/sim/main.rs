//! The simulation's budget, and the replay of single seeds. `tests/README.md` says how to use it.
//!
//! | variable | means |
//! |---|---|
//! | `SIM_SEED=n` | this seed alone, and a trace if it fails |
//! | `SIM_STEPS=n` | steps in all; 1,000,000 if not given |
//! | `SIM_SEED_BASE=n` | where fresh seeds begin; the shell draws it |
//! | `SIM_PCAP=file` | with `SIM_SEED`: a capture of what goes in and out at the server |

use std::env;
use std::fs;

use swingbridge::sim::Coverage;
use swingbridge::sim::Plan;
use swingbridge::sim::Report;
use swingbridge::sim::run;

/// Steps of one seed's chaos.
const STEPS_PER_SEED: u64 = 20_000;
/// Steps of a budget that nobody set.
const STEPS: u64 = 1_000_000;
/// Where fresh seeds begin if nobody says so: the same every time.
const SEED_BASE: u64 = 1;

#[test]
fn every_seed_that_found_something_is_clean() {
    if variable("SIM_SEED").is_some() {
        return;
    }
    let text = include_str!("seeds.txt");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    for line in lines.filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace().map(|word| word.parse().expect("numbers"));
        let seed = words.next().expect("a seed");
        simulate(seed, words.next().unwrap_or(STEPS_PER_SEED));
    }
}

#[test]
fn fresh_seeds_are_clean_and_see_everything() {
    if let Some(seed) = variable("SIM_SEED") {
        return replay(seed);
    }
    let budget = variable("SIM_STEPS").unwrap_or(STEPS);
    let base = variable("SIM_SEED_BASE").unwrap_or(SEED_BASE);
    let mut coverage = Coverage::default();
    let mut tallies = std::collections::BTreeMap::new();
    let (mut steps, mut seed) = (0, base);
    while steps < budget {
        let report = simulate(seed, STEPS_PER_SEED);
        steps += report.steps;
        coverage.add(&report.coverage);
        for (name, count) in report.tallies {
            *tallies.entry(name).or_insert(0_u64) += count;
        }
        seed = seed.wrapping_add(1);
    }
    println!("seeds {base} to {}: {steps} steps without a violation", seed.wrapping_sub(1));
    println!("{tallies:?}");
    let missing = coverage.missing();
    assert!(missing.is_empty() || budget < STEPS, "in {steps} steps these never came about: {missing:#?}");
}

#[test]
fn a_seed_is_the_same_run_twice_and_another_seed_is_another() {
    let digest = |seed| simulate(seed, 5_000).digest;
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

fn simulate(seed: u64, steps: u64) -> Report {
    match run(Plan { seed, steps, capture: false }) {
        Ok(report) => report,
        Err(violation) => {
            let told = run(Plan { seed, steps, capture: true }).expect_err("a seed is the same run twice");
            panic!("{told}\n\n{}\n\nreplay: SIM_SEED={seed} SIM_STEPS={steps}", violation.what);
        }
    }
}

fn replay(seed: u64) {
    let steps = variable("SIM_STEPS").unwrap_or(STEPS_PER_SEED);
    let outcome = run(Plan { seed, steps, capture: true });
    let (capture, told) = match outcome {
        Ok(report) => {
            println!("seed {seed}: {} steps, digest {:016x}, {:?}", report.steps, report.digest, report.tallies);
            (report.capture, None)
        }
        Err(mut violation) => (violation.capture.take(), Some(violation)),
    };
    if let (Ok(path), Some(bytes)) = (env::var("SIM_PCAP"), capture) {
        fs::write(&path, bytes).expect("the capture can be written");
        println!("capture: {path}");
    }
    if let Some(violation) = told {
        panic!("{violation}");
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}
