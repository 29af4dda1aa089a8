//! The simulation's budget, and the replay of single seeds. `tests/README.md` says how to use it.
//!
//! | variable | means |
//! |---|---|
//! | `SIM_SEED=n` | this seed alone, and a trace if it fails |
//! | `SIM_STEPS=n` | with `SIM_SEED`: steps of its chaos, 20,000 if not given; else steps in all, 1,000,000 if not given |
//! | `SIM_SEED_BASE=n` | where fresh seeds begin; the shell draws it |
//! | `SIM_PCAP=file` | with `SIM_SEED`: a capture of what goes in and out at the server |
//!
//! It exits with 1 if something happened that must not, or if something did not happen that must.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::panic;
use std::process::ExitCode;

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

fn main() -> ExitCode {
    let done = match variable("SIM_SEED") {
        Some(seed) => replay(seed),
        None => known_seeds().and_then(|()| repeats()).and_then(|()| fresh_seeds()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(told) => {
            println!("{told}");
            ExitCode::FAILURE
        }
    }
}

/// Every seed that found something is clean.
fn known_seeds() -> Result<(), String> {
    let text = include_str!("seeds.txt");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut count = 0;
    for line in lines.filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace().map(|word| word.parse().expect("seeds.txt holds numbers"));
        let seed = words.next().expect("a line that is not empty has a word");
        simulate(seed, words.next().unwrap_or(STEPS_PER_SEED))?;
        count += 1;
    }
    println!("{count} seeds that found something once: clean");
    Ok(())
}

/// A seed is the same run twice, and another seed is another run.
fn repeats() -> Result<(), String> {
    let digest = |seed| simulate(seed, 5_000).map(|report| report.digest);
    if digest(7)? != digest(7)? {
        return Err("seed 7 is not the same run twice".to_owned());
    }
    if digest(7)? == digest(8)? {
        return Err("seeds 7 and 8 are the same run".to_owned());
    }
    println!("a seed is the same run twice");
    Ok(())
}

/// Fresh seeds are clean, and all that can happen happens.
fn fresh_seeds() -> Result<(), String> {
    let budget = variable("SIM_STEPS").unwrap_or(STEPS);
    let base = variable("SIM_SEED_BASE").unwrap_or(SEED_BASE);
    let mut coverage = Coverage::default();
    let mut tallies = BTreeMap::new();
    let (mut steps, mut seed) = (0, base);
    println!("fresh seeds from {base} on");
    while steps < budget {
        let report = simulate(seed, STEPS_PER_SEED)?;
        steps += report.steps;
        coverage.add(&report.coverage);
        for (name, count) in report.tallies {
            *tallies.entry(name).or_insert(0_u64) += count;
        }
        seed = seed.wrapping_add(1);
    }
    println!("seeds {base} to {}: {steps} steps without a violation", seed.wrapping_sub(1));
    tallies.iter().for_each(|(name, count)| println!("  {count:>10} {name}"));
    let missing = coverage.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let told = format!("in {steps} steps these never came about: {missing:#?}");
    if budget < STEPS {
        println!("{told}");
        return Ok(());
    }
    Err(told)
}

fn simulate(seed: u64, steps: u64) -> Result<Report, String> {
    let how = format!("SIM_SEED={seed} SIM_STEPS={steps} tests/run sim");
    let ran = panic::catch_unwind(|| run(Plan { seed, steps, capture: false }));
    let ran = ran.map_err(|_| format!("seed {seed}: a panic, which is a bug\nreplay: {how}"))?;
    ran.map_err(|violation| match run(Plan { seed, steps, capture: true }) {
        Err(told) => format!("{told}\nreplay: {how}"),
        Ok(_) => format!("{violation}\nand not when run again: {how}"),
    })
}

fn replay(seed: u64) -> Result<(), String> {
    let steps = variable("SIM_STEPS").unwrap_or(STEPS_PER_SEED);
    let (capture, told) = match run(Plan { seed, steps, capture: true }) {
        Ok(report) => {
            println!("seed {seed}: {} steps, digest {:016x}", report.steps, report.digest);
            report.tallies.iter().for_each(|(name, count)| println!("  {count:>10} {name}"));
            (report.capture, Ok(()))
        }
        Err(mut violation) => (violation.capture.take(), Err(violation.to_string())),
    };
    if let (Ok(path), Some(bytes)) = (env::var("SIM_PCAP"), capture) {
        fs::write(&path, bytes).map_err(|error| format!("{path}: {error}"))?;
        println!("capture: {path}");
    }
    told
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}
