//! Axes: where a value lies, and which values get a tick.
//!
//! Ticks are 1, 2 or 5 times a power of ten, so that labels are short and a reader can count between them.
//!
//! Does not: draw, or name units.

/// The factors of ten between which a logarithmic axis still has room for all of 1, 2 and 5.
const DECADES_FINE_MAX: f64 = 2.5;

/// A range and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    pub(crate) ticks: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
}

/// Whether the last tick closes the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The axis goes on to the next tick: for what has room upwards.
    Tick,
    /// The axis ends where the values do: for time.
    Value,
}

impl Axis {
    /// From 0 to `max`, with at most `ticks_max` steps.
    pub(crate) fn linear(max: f64, ticks_max: u32, end: End) -> Axis {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = step(max / f64::from(ticks_max.max(1)));
        // A little less, so that a maximum that is a tick but for rounding does not get another one above it.
        let steps = (max / step - 1e-9).ceil();
        let (high, last) = match end {
            End::Tick => (steps * step, steps),
            End::Value => (max, (max / step + 1e-9).floor()),
        };
        let ticks = (0..).map(f64::from).take_while(|n| *n <= last).map(|n| n * step).collect();
        Axis { scale: Scale::Linear, low: 0.0, high, ticks }
    }

    /// From the tick at or below `min` to the one at or above `max`; both must be above 0.
    pub(crate) fn log(min: f64, max: f64) -> Axis {
        let min = if min > 0.0 { min } else { 1.0 };
        let max = max.max(min);
        let factors: &[f64] = if (max / min).log10() <= DECADES_FINE_MAX { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let all = |from: f64, to: f64| {
            let (first, last) = (from.log10().floor() - 1.0, to.log10().ceil() + 1.0);
            let exponents = (0..).map(move |n| first + f64::from(n)).take_while(move |at| *at <= last);
            exponents.flat_map(|at| factors.iter().map(move |factor| factor * 10_f64.powf(at)))
        };
        let near = 1.0 + 1e-9;
        let low = all(min, max).take_while(|tick| *tick <= min * near).last().unwrap_or(min);
        let high = all(min, max).find(|tick| tick * near >= max && *tick > low * near).unwrap_or(max);
        let ticks = all(min, max).filter(|tick| tick * near >= low && *tick <= high * near).collect();
        Axis { scale: Scale::Log, low, high, ticks }
    }

    /// An axis with ticks of its own.
    pub(crate) const fn with_ticks(high: f64, ticks: Vec<f64>) -> Axis {
        Axis { scale: Scale::Linear, low: 0.0, high, ticks }
    }

    /// Linear where the values are of one size, logarithmic where the largest would crush the others.
    pub(crate) fn for_latencies(min: f64, max: f64) -> Axis {
        /// Above this ratio the smallest would be less than a fifteenth of the plot's height.
        const RATIO_LINEAR_MAX: f64 = 15.0;
        if min > 0.0 && max / min > RATIO_LINEAR_MAX {
            Axis::log(min, max)
        } else {
            Axis::linear(max, 5, End::Tick)
        }
    }

    /// Where a value lies: 0 at the low end, 1 at the high one, and nothing outside.
    pub(crate) fn position(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        part.clamp(0.0, 1.0)
    }

    /// Whether distances stand for factors.
    pub(crate) fn is_log(&self) -> bool {
        self.scale == Scale::Log
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let factor = factors.into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(max: f64, ticks: u32) -> Vec<f64> {
        Axis::linear(max, ticks, End::Tick).ticks
    }

    /// Rounded, for powers of ten are not exact.
    fn log(min: f64, max: f64) -> Vec<f64> {
        Axis::log(min, max).ticks.iter().map(|tick| (tick * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn ticks_are_one_two_or_five_times_a_power_of_ten() {
        assert_eq!(linear(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(linear(11.0, 5), [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(linear(87_123.0, 5), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0, 100_000.0]);
        assert_eq!(linear(0.5, 5), [0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 0.5]);
        assert_eq!(linear(0.0, 5), linear(1.0, 5));
    }

    #[test]
    fn an_axis_of_time_ends_with_the_time() {
        let axis = Axis::linear(9.7, 10, End::Value);
        assert_eq!(axis.ticks, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!((axis.position(9.7), axis.position(0.0), axis.position(11.0)), (1.0, 0.0, 1.0));
        assert_eq!(Axis::linear(10.0, 5, End::Value).ticks.last(), Some(&10.0));
    }

    #[test]
    fn a_logarithmic_axis_has_fine_ticks_where_there_is_room() {
        assert_eq!(log(30.0, 1_500.0), [20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0]);
        assert_eq!(log(3.0, 40_000.0), [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]);
        assert_eq!(log(10.0, 100.0), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(log(5.0, 5.0), [5.0, 10.0]);
    }

    #[test]
    fn a_position_on_a_logarithmic_axis_counts_factors() {
        let axis = Axis::log(1.0, 10_000.0);
        assert!((axis.position(100.0) - 0.5).abs() < 1e-9);
        assert_eq!((axis.position(0.0), axis.position(1e9)), (0.0, 1.0));
    }

    #[test]
    fn latencies_choose_the_scale_that_shows_them() {
        assert!(!Axis::for_latencies(100.0, 1_000.0).is_log());
        assert!(Axis::for_latencies(100.0, 100_000.0).is_log());
        assert!(!Axis::for_latencies(0.0, 0.0).is_log());
    }
}
