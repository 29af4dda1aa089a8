//! Many calls, and what they come to for each pair of places.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::testbed::Place;
use crate::testbed::Verdict;

use super::run::Run;

/// Which laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lab {
    /// In virtual time.
    Virtual,
    /// In network namespaces.
    Real,
}

impl Lab {
    /// What it is called on the command line and in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Real => "real",
        }
    }
}

/// Calls between places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Where they were made.
    pub lab: Lab,
    /// What was run at the left and at the right.
    pub clients: [String; 2],
    /// The seed of each pair's first call; each further one has the next.
    pub seed: u64,
    /// Calls between each pair of places.
    pub seeds: u32,
    /// What the links do, in words.
    pub links: Vec<String>,
    /// The places, in the order in which they are shown.
    pub places: Vec<Place>,
    /// What came of the calls, pair after pair.
    pub runs: Vec<Run>,
    /// Pairs of places that no call was made between, and why.
    pub left_out: Vec<LeftOut>,
    /// What whoever reads the figures has to know.
    pub notes: Vec<String>,
}

/// A pair of places that no call was made between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The left place.
    pub left: Place,
    /// The right one.
    pub right: Place,
    /// Why, in words.
    pub why: String,
}

/// The calls between two places.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// The left place.
    pub left: Place,
    /// The right one.
    pub right: Place,
    /// The calls; none where the pair was left out.
    pub runs: Vec<&'a Run>,
}

impl Matrix {
    /// Whether every call ended as it had to.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.runs.iter().all(Run::is_as_expected)
    }

    /// Every pair of places, the left one by the left one.
    #[must_use]
    pub fn cells(&self) -> Vec<Cell<'_>> {
        let mut runs: BTreeMap<(Place, Place), Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            runs.entry((run.left, run.right)).or_default().push(run);
        }
        let pairs = self.places.iter().flat_map(|left| self.places.iter().map(|right| (*left, *right)));
        pairs
            .map(|(left, right)| Cell { left, right, runs: runs.remove(&(left, right)).unwrap_or_default() })
            .collect()
    }

    /// Why a pair was left out.
    #[must_use]
    pub fn why_left_out(&self, left: Place, right: Place) -> Option<&str> {
        let out = self.left_out.iter().find(|out| (out.left, out.right) == (left, right))?;
        Some(&out.why)
    }
}

impl Cell<'_> {
    /// Whether every call ended as it had to.
    #[must_use]
    pub fn is_as_expected(&self) -> bool {
        self.runs.iter().all(|run| run.is_as_expected())
    }

    /// How the calls ended and how often, the most frequent first.
    #[must_use]
    pub fn verdicts(&self) -> Vec<(Verdict, usize)> {
        let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
        for run in &self.runs {
            *counts.entry(run.verdict).or_default() += 1;
        }
        let mut verdicts: Vec<_> = counts.into_iter().collect();
        verdicts.sort_by_key(|(verdict, count)| (std::cmp::Reverse(*count), *verdict));
        verdicts
    }

    /// How they have to end, where something says so.
    #[must_use]
    pub fn expected(&self) -> Option<Verdict> {
        self.runs.first().and_then(|run| run.expected)
    }

    /// What `part` of those that connected took at most, `part` from 0 to 1: the nearest rank.
    #[must_use]
    pub fn connected_within(&self, part: f64) -> Option<Duration> {
        let mut times: Vec<_> = self.runs.iter().filter_map(|run| run.connected).collect();
        times.sort_unstable();
        let rank = (part * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn every_pair_has_a_cell_and_its_calls() {
        let matrix = sample::mixed();
        let cells = matrix.cells();
        assert_eq!(cells.len(), matrix.places.len() * matrix.places.len());
        assert_eq!(cells.iter().map(|cell| cell.runs.len()).sum::<usize>(), matrix.runs.len());
        assert!(!matrix.is_as_expected() && sample::good().is_as_expected());
        let empty = cells.iter().find(|cell| cell.runs.is_empty()).unwrap();
        assert!(empty.is_as_expected() && empty.verdicts().is_empty() && empty.expected().is_none());
        assert!(matrix.why_left_out(empty.left, empty.right).is_some());
    }

    #[test]
    fn the_rank_is_the_nearest() {
        let matrix = sample::of_times(&[5, 1, 4, 2, 3]);
        let cells = matrix.cells();
        let within = |part| cells[0].connected_within(part).map(|span| span.as_millis());
        assert_eq!([within(0.0), within(0.5), within(0.6), within(0.95)], [1, 3, 3, 5].map(Some));
        assert_eq!(sample::of_times(&[]).cells()[0].connected_within(0.5), None);
    }

    #[test]
    fn what_happened_most_is_told_first() {
        let matrix = sample::mixed();
        let cells = matrix.cells();
        let split = cells.iter().find(|cell| cell.verdicts().len() > 1).unwrap();
        let counts: Vec<_> = split.verdicts().iter().map(|(_, count)| *count).collect();
        assert!(counts.is_sorted_by(|one, other| one >= other), "{counts:?}");
    }
}
