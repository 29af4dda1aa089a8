//! Random histories.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::proto::turn::testing::Dice;
use crate::proto::types::Entropy;

/// Histories of the fixed seeds.
const SEEDS: u64 = 60;

fn an_op() -> impl Strategy<Value = Op> {
    any::<[u8; ops::OP_LEN]>().prop_map(|bytes| Op::decode(&bytes))
}

fn a_setup() -> impl Strategy<Value = Setup> {
    any::<[u8; SETUP_LEN]>().prop_map(|bytes| Setup::decode(&bytes))
}

/// The bytes of a seed's history.
fn bytes_of(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; SETUP_LEN + 150 * ops::OP_LEN];
    Dice::new(seed).fill_secret(&mut bytes);
    bytes
}

#[test]
fn fixed_histories_bring_about_everything() {
    let mut all = Report::default();
    let mut answers = BTreeSet::new();
    for seed in 1..=SEEDS {
        let report =
            run_bytes(&bytes_of(seed)).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
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
