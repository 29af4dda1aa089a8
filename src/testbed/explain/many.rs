//! Many calls: which of them have to be explained.

use std::collections::BTreeMap;

use crate::testbed::Place;
use crate::testbed::report::LeftOut;
use crate::testbed::report::Run;

use super::Explanation;
use super::explain;
use super::facts::Facts;

/// What a matrix comes to, with those calls that have to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many {
    /// The calls of it.
    pub calls: usize,
    /// Of them those that did not end as they have to.
    pub wrong: usize,
    /// The pairs of places.
    pub pairs: usize,
    /// Pairs that were left out: which, and why.
    pub left_out: Vec<String>,
    /// One call of each pair that has something to be mended, with how many of its calls have.
    pub explained: Vec<(usize, usize, Explanation)>,
}

/// Explains of each pair of places the first call that has something to be mended.
#[must_use]
pub fn explain_many(runs: &[Run], left_out: &[LeftOut]) -> Many {
    let mut pairs: BTreeMap<(Place, Place), Vec<&Run>> = BTreeMap::new();
    for run in runs {
        pairs.entry((run.left, run.right)).or_default().push(run);
    }
    let is_wrong = |run: &&&Run| !Facts { run }.is_fine();
    let explained = pairs.values().filter_map(|calls| {
        let first = calls.iter().find(is_wrong)?;
        Some((calls.iter().filter(is_wrong).count(), calls.len(), explain(first)))
    });
    let explained: Vec<_> = explained.collect();
    Many {
        calls: runs.len(),
        wrong: explained.iter().map(|(wrong, ..)| wrong).sum(),
        pairs: pairs.len(),
        left_out: left_out
            .iter()
            .map(|out| format!("{} calls {}: {}", out.left, out.right, out.why))
            .collect(),
        explained,
    }
}

/// Of a pair's calls the first that has something to be mended, else the first.
#[must_use]
pub fn choose(runs: &[Run], pair: [Place; 2]) -> Option<&Run> {
    let mut calls = runs.iter().filter(|run| [run.left, run.right] == pair);
    let first = calls.clone().next();
    calls.find(|run| !Facts { run }.is_fine()).or(first)
}
