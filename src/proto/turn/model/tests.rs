//! Random histories: of fixed seeds, and of fresh ones.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::proto::turn::testing::Dice;
use crate::proto::types::Entropy;

/// Histories of the fixed seeds, unless SWINGBRIDGE_MODEL_SEEDS says how many, or `FROM..TO`.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=150;

#[allow(clippy::disallowed_methods, reason = "how long a test takes is no part of what it tests")]
fn seeds() -> std::ops::RangeInclusive<u64> {
    let Ok(text) = std::env::var("SWINGBRIDGE_MODEL_SEEDS") else { return SEEDS };
    let number = |text: &str| text.parse::<u64>().expect("SWINGBRIDGE_MODEL_SEEDS: N or FROM..TO");
    match text.split_once("..") {
        Some((from, to)) => number(from)..=number(to),
        None => 1..=number(&text),
    }
}

fn an_op() -> impl Strategy<Value = Op> {
    any::<[u8; ops::OP_LEN]>().prop_map(|bytes| Op::decode(&bytes))
}

fn a_setup() -> impl Strategy<Value = Setup> {
    any::<[u8; SETUP_LEN]>().prop_map(|bytes| Setup::decode(&bytes))
}

/// The history of a seed.
fn history(seed: u64) -> (Setup, Vec<Op>) {
    let mut bytes = vec![0; SETUP_LEN + 150 * ops::OP_LEN];
    Dice::new(seed).fill_secret(&mut bytes);
    decode(&bytes)
}

/// What goes wrong, in the shortest history that is found by leaving operations out.
fn shortest(setup: &Setup, ops: &[Op]) -> String {
    let mut ops = ops.to_vec();
    let mut violation = run(setup, &ops).expect_err("it goes wrong");
    let mut chunk = ops.len();
    while chunk > 0 {
        let mut at = 0;
        while at < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(at..ops.len().min(at + chunk));
            match run(setup, &fewer) {
                Err(other) => (ops, violation) = (fewer, other),
                Ok(_) => at += chunk,
            }
        }
        chunk /= 2;
    }
    let lines: Vec<_> = ops.iter().enumerate().map(|(step, op)| format!("{step:3} {op:?}")).collect();
    format!("{violation}\n{setup:?}\n{}", lines.join("\n"))
}

#[test]
fn fixed_histories_bring_about_everything() {
    let mut all = Report::default();
    let mut answers = BTreeSet::new();
    for seed in seeds() {
        let (setup, ops) = history(seed);
        let Ok(report) = run(&setup, &ops) else { panic!("seed {seed}: {}", shortest(&setup, &ops)) };
        answers.extend(report.answers);
        all.repeated += report.repeated;
        all.dropped += report.dropped;
        all.moved += report.moved;
        all.carried += report.carried;
        all.passed += report.passed;
        all.stayed += report.stayed;
        all.inputs += report.inputs;
    }
    eprintln!("{all:?} {answers:?}");
}

proptest! {
    #[test]
    fn server_tables_and_reference_agree(setup in a_setup(), ops in prop::collection::vec(an_op(), 1..80)) {
        if let Err(violation) = run(&setup, &ops) {
            prop_assert!(false, "{violation}");
        }
    }
}
