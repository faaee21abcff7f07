//! The three plots: latency by percentile, latency over time, throughput over time.
//!
//! Does not: lay out the page.

use crate::bench::report::axis::{Axis, End};
use crate::bench::report::svg::{Chart, Point};
use crate::bench::summary::{PointLatency, Summary};
use crate::bench::units::{count, duration, ratio, rounded};

/// Up to here a run's time is told in seconds.
const SECONDS_MAX: f64 = 600.0;

/// Up to here in minutes.
const MINUTES_MAX: f64 = 36_000.0;

/// A figure with its legend: class and words of each line.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) note: &'static str,
    pub(crate) legend: Vec<(&'static str, &'static str)>,
    pub(crate) svg: String,
}

/// Latency by percentile; each step to the right is ten times nearer to 100 %.
pub(crate) fn percentiles(summary: &Summary) -> Option<Plot> {
    let latency = &summary.latency;
    let (last, _) = latency.curve.last()?;
    let decades = nines(*last).max(0.5);
    let ticks: Vec<f64> = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999]
        .into_iter()
        .filter(|percent| nines(*percent) <= decades + 1e-9)
        .collect();
    let x = Axis::with_ticks(decades, ticks.iter().map(|percent| nines(*percent)).collect());
    let y = Axis::for_latencies(ratio(latency.min_ns), ratio(latency.max_ns));
    let is_log = y.is_log();
    let mut chart = Chart::new(x, y, "percentile", percent_label, tick_duration);
    let at = |&(percent, ns): &(f64, u64)| (nines(percent).min(decades), ratio(ns));
    let points: Vec<Option<Point>> = latency.curve.iter().map(|point| Some(at(point))).collect();
    chart.curve("p50", &points);
    for tick in ticks.iter().filter(|tick| **tick > 0.0) {
        // The curve has a point at each tick, which may have been rounded up.
        if let Some(point) = latency.curve.iter().find(|(percent, _)| nines(*percent) >= nines(*tick) - 1e-9)
        {
            chart.mark("p50", (nines(*tick), ratio(point.1)), &duration(point.1));
        }
    }
    // The maximum has its label unless that would lie on the last tick's: it is an eighth of the plot wide.
    if ticks.last().is_some_and(|tick| decades - nines(*tick) > decades / 8.0) {
        chart.mark("p50", (decades, ratio(latency.max_ns)), &format!("max {}", duration(latency.max_ns)));
    }
    for pair in latency.curve.windows(2) {
        let [from, to] = [at(&pair[0]), at(&pair[1])];
        chart.hover(from.0, to.0, &format!("{} % within {}", percent_text(pair[1].0), duration(pair[1].1)));
    }
    Some(Plot {
        title: "Latency by percentile",
        note: scale_note(is_log),
        legend: Vec::new(),
        svg: chart.finish("latency by percentile"),
    })
}

/// Median, 99th percentile and maximum of each slot.
pub(crate) fn latency_over_time(summary: &Summary) -> Option<Plot> {
    let latencies = || summary.slots.iter().filter_map(|slot| slot.latency);
    let low = latencies().map(|latency| latency.p50_ns).min()?;
    let high = latencies().map(|latency| latency.max_ns).max()?;
    let time = Time::of(summary);
    let y = Axis::for_latencies(ratio(low), ratio(high));
    let is_log = y.is_log();
    let mut chart = Chart::new(time.axis(), y, time.name, rounded_tick, tick_duration);
    let lines: [Line; 3] = [("max", |at| at.max_ns), ("p99", |at| at.p99_ns), ("p50", |at| at.p50_ns)];
    for (class, of) in lines {
        let points: Vec<Option<Point>> = summary
            .slots
            .iter()
            .enumerate()
            .map(|(index, slot)| slot.latency.map(|latency| (time.middle(index), ratio(of(latency)))))
            .collect();
        chart.curve(class, &points);
    }
    hovers(&mut chart, summary, &time);
    Some(Plot {
        title: "Latency over time",
        note: scale_note(is_log),
        legend: vec![("p50", "p50"), ("p99", "p99"), ("max", "max")],
        svg: chart.finish("latency over time"),
    })
}

/// Calls that succeeded and failed in each slot, and the rate that was wanted.
pub(crate) fn throughput(summary: &Summary) -> Option<Plot> {
    if summary.slots.is_empty() {
        return None;
    }
    let time = Time::of(summary);
    let rates = |of: fn(&crate::bench::summary::Point) -> u64| -> Vec<f64> {
        let slots = summary.slots.iter().enumerate();
        slots.map(|(index, slot)| ratio(of(slot)) / summary.slot_seconds(index)).collect()
    };
    let (succeeded, failed) = (rates(|slot| slot.calls), rates(|slot| slot.errors));
    let wanted = summary.setup.rate.map(ratio);
    let high = succeeded.iter().chain(&failed).chain(&wanted).copied().fold(0.0, f64::max);
    let y = Axis::linear(high, 5, End::Tick);
    let mut chart = Chart::new(time.axis(), y, time.name, rounded_tick, rounded_tick);
    let edges: Vec<f64> = (0..=summary.slots.len()).map(|index| time.edge(index)).collect();
    let mut legend = vec![("ok", "succeeded, calls/s")];
    chart.steps("ok", &edges, &succeeded);
    if summary.failed > 0 {
        chart.steps("bad", &edges, &failed);
        legend.push(("bad", "failed, calls/s"));
    }
    if let Some(wanted) = wanted {
        chart.level("wanted", wanted);
        legend.push(("wanted", "wanted, calls/s"));
    }
    hovers(&mut chart, summary, &time);
    Some(Plot { title: "Throughput over time", note: "", legend, svg: chart.finish("throughput over time") })
}

/// A line's class, and what it shows of a slot.
type Line = (&'static str, fn(PointLatency) -> u64);

/// What each slot says under the pointer, the same in both plots over time.
fn hovers(chart: &mut Chart, summary: &Summary, time: &Time) {
    for (index, slot) in summary.slots.iter().enumerate() {
        let rate = |number: u64| rounded(ratio(number) / summary.slot_seconds(index));
        let mut text =
            format!("at {} {}: {} calls/s", rounded(time.edge(index)), time.unit, rate(slot.calls));
        if let Some(PointLatency { p50_ns, p99_ns, max_ns }) = slot.latency {
            let [p50, p99, max] = [p50_ns, p99_ns, max_ns].map(duration);
            text.push_str(&format!(", p50 {p50}, p99 {p99}, max {max}"));
        }
        if slot.errors > 0 {
            text.push_str(&format!(", {} errors", count(slot.errors)));
        }
        chart.hover(time.edge(index), time.edge(index + 1), &text);
    }
}

/// The time axis of a run, in a unit that suits its length.
#[derive(Debug)]
struct Time {
    /// The run's length, in the unit.
    length: f64,
    /// A slot's width, in the unit.
    width: f64,
    slots: usize,
    unit: &'static str,
    name: &'static str,
}

impl Time {
    fn of(summary: &Summary) -> Time {
        let seconds = summary.elapsed.as_secs_f64();
        let (divisor, unit, name) = match seconds {
            ..=SECONDS_MAX => (1.0, "s", "time, seconds"),
            ..=MINUTES_MAX => (60.0, "min", "time, minutes"),
            _ => (3_600.0, "h", "time, hours"),
        };
        let width = summary.slot_width.as_secs_f64() / divisor;
        Time { length: seconds / divisor, width, slots: summary.slots.len(), unit, name }
    }

    fn axis(&self) -> Axis {
        Axis::linear(self.length, 10, End::Value)
    }

    /// Where a slot begins; the one behind the last is where the run ends.
    fn edge(&self, index: usize) -> f64 {
        if index == self.slots {
            self.length
        } else {
            ratio(u64::try_from(index).expect("slots are few")) * self.width
        }
    }

    fn middle(&self, index: usize) -> f64 {
        f64::midpoint(self.edge(index), self.edge(index + 1))
    }
}

/// How many factors of ten a percentile is away from everything: 90 is 1, 99 is 2.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).max(1e-12).log10()
}

/// The label of a tick at so many nines.
fn percent_label(nines: f64) -> String {
    percent_text(100.0 * (1.0 - 10_f64.powf(-nines))) + " %"
}

/// A percentage with as many digits as it needs to differ from 100.
fn percent_text(percent: f64) -> String {
    let text = match nines(percent) {
        ..2.0 => format!("{percent:.1}"),
        ..3.0 => format!("{percent:.2}"),
        ..4.0 => format!("{percent:.3}"),
        ..5.0 => format!("{percent:.4}"),
        ..6.0 => format!("{percent:.5}"),
        _ => format!("{percent:.6}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A latency at a tick: a round number, so without the zeros that only show precision.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and casts saturate"
)]
fn tick_duration(ns: f64) -> String {
    let text = duration(ns.round() as u64);
    if ns < 0.5 {
        return "0".to_owned();
    }
    let Some((number, unit)) = text.split_once(' ') else { return text };
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}")
}

/// A number at a tick.
fn rounded_tick(number: f64) -> String {
    let text = rounded(number);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

const fn scale_note(is_log: bool) -> &'static str {
    if is_log { "logarithmic scale" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::tests::sample;

    #[test]
    fn percentages_have_the_digits_that_they_need() {
        let shown: Vec<String> =
            [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.95].into_iter().map(percent_text).collect();
        assert_eq!(shown, ["0", "50", "90", "99", "99.9", "99.99", "99.95"]);
        assert_eq!([percent_label(1.0), percent_label(3.0)], ["90 %", "99.9 %"]);
    }

    #[test]
    fn ticks_have_no_needless_zeros() {
        let shown: Vec<String> =
            [0.0, 50.0, 500_000.0, 1_000_000.0, 2_500_000.0, 10e9].into_iter().map(tick_duration).collect();
        assert_eq!(shown, ["0", "50 ns", "500 µs", "1 ms", "2.5 ms", "10 s"]);
        assert_eq!([rounded_tick(0.0), rounded_tick(0.5), rounded_tick(20_000.0)], ["0", "0.5", "20,000"]);
    }

    #[test]
    fn the_curve_of_percentiles_marks_those_that_the_number_of_calls_supports() {
        let plot = percentiles(&sample()).unwrap();
        for label in [">0 %<", ">50 %<", ">90 %<", ">99 %<", ">99.9 %<"] {
            assert!(plot.svg.contains(label), "{label}");
        }
        assert!(!plot.svg.contains("99.99 %<"));
        // 50, 90, 99 and 99.9 %; the maximum is too near to the last.
        assert_eq!(plot.svg.matches("<circle").count(), 4);
        assert!(plot.svg.contains(">2.00 ms</text>") && plot.svg.contains(">2.80 ms</text>"));
    }

    #[test]
    fn failures_and_the_wanted_rate_are_in_the_throughput() {
        let plot = throughput(&sample()).unwrap();
        let classes: Vec<_> = plot.legend.iter().map(|(class, _)| *class).collect();
        assert_eq!(classes, ["ok", "bad", "wanted"]);
        assert!(plot.svg.contains("class=\"wanted\"") && plot.svg.contains("area bad"));
    }

    #[test]
    fn every_slot_answers_to_the_pointer() {
        let summary = sample();
        let plot = latency_over_time(&summary).unwrap();
        assert_eq!(plot.svg.matches("class=\"hover\"").count(), summary.slots.len());
        assert!(plot.svg.contains("<title>at 0.25 s: 1,000 calls/s, p50 "), "{}", plot.svg);
    }

    #[test]
    fn a_run_without_calls_has_no_plots() {
        let mut summary = sample();
        summary.slots.clear();
        summary.latency.curve.clear();
        assert!(percentiles(&summary).is_none());
        assert!(latency_over_time(&summary).is_none());
        assert!(throughput(&summary).is_none());
    }
}
