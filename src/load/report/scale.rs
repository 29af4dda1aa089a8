//! The axes of the plots: linear or logarithmic, with round ticks.

use std::ops::Range;

use plotters::coord::ranged1d::KeyPointHint;
use plotters::coord::ranged1d::NoDefaultFormatting;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::ranged1d::ValueFormatter;

/// One axis: from where to where, how its ticks are written.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    label: fn(f64) -> String,
}

impl Axis {
    /// From zero to a round number that `values` do not exceed.
    pub(super) fn linear(values: impl Iterator<Item = f64>, label: fn(f64) -> String) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let high = if most > 0.0 { most } else { 1.0 };
        Self { low: 0.0, high, is_logarithmic: false, label }
    }

    /// The same, to at least so much.
    pub(super) fn to_at_least(
        values: impl Iterator<Item = f64>,
        high: f64,
        label: fn(f64) -> String,
    ) -> Self {
        Self::linear(values.chain([high]), label)
    }

    /// From the least to the largest of `values`.
    pub(super) fn between(values: impl Iterator<Item = f64> + Clone, label: fn(f64) -> String) -> Self {
        let axis = Self::linear(values.clone(), label);
        let low = values.filter(|value| value.is_finite()).fold(axis.high, f64::min);
        if low < axis.high { Self { low, ..axis } } else { axis }
    }

    /// So that it ends with a tick.
    pub(super) fn rounded(self) -> Self {
        let step = self.step(5);
        Self { high: (self.high / step - 1e-9).ceil() * step, ..self }
    }

    /// Between powers of ten (or their doubles and fives) around `values` that are above zero.
    pub(super) fn logarithmic(values: impl Iterator<Item = f64>, label: fn(f64) -> String) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        let (low, high) = if high > 0.0 { (low, high) } else { (1.0, 10.0) };
        let round = |value: f64, up: bool| {
            let decade = 10f64.powf(value.log10().floor());
            let rungs = [1.0, 2.0, 5.0, 10.0].map(|rung| rung * decade);
            let fits = |rung: &&f64| if up { **rung >= value * 0.999 } else { **rung <= value * 1.001 };
            let found = if up { rungs.iter().find(fits) } else { rungs.iter().rev().find(fits) };
            found.copied().unwrap_or(value)
        };
        let (low, mut high) = (round(low, false), round(high, true));
        if high <= low {
            high = low * 10.0;
        }
        Self { low, high, is_logarithmic: true, label }
    }

    /// Where it begins: the base line of an area.
    pub(super) const fn low(&self) -> f64 {
        self.low
    }

    /// Where it ends.
    pub(super) const fn high(&self) -> f64 {
        self.high
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn ticks(&self, most: usize) -> Vec<f64> {
        if self.is_logarithmic { self.rungs(most) } else { self.steps(most) }
    }

    fn steps(&self, most: usize) -> Vec<f64> {
        let step = self.step(most);
        let (first, last) =
            ((self.low / step - 1e-6).ceil() as i64, (self.high / step + 1e-6).floor() as i64);
        (first..=last.min(first.saturating_add(100))).map(|index| step * index as f64).collect()
    }

    /// 1, 2 or 5 times a power of ten, so that there are at most so many.
    fn step(&self, most: usize) -> f64 {
        let rough = (self.high - self.low) / most.max(1) as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let rungs = [1.0, 2.0, 5.0, 10.0].map(|rung| rung * decade);
        rungs.into_iter().find(|rung| *rung >= rough * 0.999_999).unwrap_or(10.0 * decade)
    }

    /// Powers of ten; their doubles and fives too, where there is room.
    fn rungs(&self, most: usize) -> Vec<f64> {
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let within = |value: &f64| *value >= self.low * 0.999 && *value <= self.high * 1.001;
        let every = |rungs: &[f64]| -> Vec<f64> {
            let all =
                decades.clone().flat_map(|decade| rungs.iter().map(move |rung| rung * 10f64.powi(decade)));
            all.filter(within).collect()
        };
        let finest = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(every);
        let ticks = finest.iter().find(|ticks| ticks.len() <= most).unwrap_or(&finest[2]);
        let thinned = ticks.len().div_ceil(most.max(1));
        ticks.iter().copied().step_by(thinned.max(1)).collect()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (f64::from(to - from) * self.place(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks(hint.max_num_points()) }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.label)(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: f64) -> String {
        value.to_string()
    }

    #[test]
    fn linear_ticks_are_round() {
        let axis = Axis::linear([3.0, 87.0].into_iter(), plain).rounded();
        assert_eq!((axis.high, axis.ticks(5)), (100.0, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]));
        assert_eq!(Axis::linear([].into_iter(), plain).high, 1.0);
        assert_eq!(Axis::to_at_least([0.0].into_iter(), 0.1, plain).high, 0.1);
        let axis = Axis::between([31.0, 42.0].into_iter(), plain);
        assert_eq!((axis.low, axis.ticks(3)), (31.0, vec![35.0, 40.0]));
        assert_eq!(Axis::linear([f64::NAN, 0.0].into_iter(), plain).ticks(1), [0.0, 1.0]);
    }

    #[test]
    fn logarithmic_ticks_are_as_many_as_fit() {
        let axis = Axis::logarithmic([0.000_11, 0.31].into_iter(), plain);
        assert_eq!(axis.low, 0.000_1);
        assert!((axis.high - 0.5).abs() < 1e-9);
        assert_eq!(axis.ticks(4).len(), 4);
        assert_eq!(axis.ticks(8).len(), 8);
        assert!(Axis::logarithmic([0.0].into_iter(), plain).ticks(5).len() >= 2);
        assert_eq!(Axis::logarithmic([1.0].into_iter(), plain).range(), 1.0..10.0);
    }

    #[test]
    fn places_are_within_the_plot() {
        let axis = Axis::logarithmic([1.0, 100.0].into_iter(), plain);
        assert_eq!(
            [0.0, 1.0, 10.0, 100.0, 1e9].map(|value| axis.map(&value, (0, 100))),
            [0, 0, 50, 100, 100]
        );
    }
}
