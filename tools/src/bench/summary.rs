//! What is said at the end: the merged recorder as finished figures, from which text, JSON and report are written.
//!
//! Does not: write anything.
//!
//! Invariant: everything shown anywhere is in here, so the three outputs cannot disagree.

use std::time::Duration;

use crate::bench::recorder::{Recorder, Traffic};
use crate::bench::units::ratio;

/// The percentiles that are shown.
pub(crate) const PERCENTILES: [f64; 8] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999];

/// A slot of the series should have this many calls, for its 99th percentile to be more than its maximum.
const SLOT_CALLS: u64 = 200;

/// Points of the curve for each factor of ten towards 100 %.
const CURVE_POINTS: u32 = 20;

/// How a run was set up, in the words of the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) target: String,
    /// `package.Service/Method`.
    pub(crate) method: String,
    /// Calls a second that were wanted; `None` for a closed loop.
    pub(crate) rate: Option<u64>,
    pub(crate) connections: u32,
    pub(crate) streams: u32,
    pub(crate) workers: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Option<Duration>,
    pub(crate) calls: Option<u64>,
    pub(crate) deadline: Option<Duration>,
    /// The other flags that matter, for show.
    pub(crate) details: Vec<(&'static str, String)>,
    /// When the run began, in milliseconds since 1970.
    pub(crate) started_unix_ms: u64,
}

/// The figures. All latencies are in nanoseconds and of calls that succeeded, from their intended time on.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) setup: Setup,
    /// From the start of the measurement to the end of the last call, or to when sending was to end if that was later.
    pub(crate) elapsed: Duration,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) not_sent: u64,
    pub(crate) unfinished: u64,
    pub(crate) traffic: Traffic,
    pub(crate) latency: Latency,
    /// How late calls were sent; `None` for a closed loop, which is never late.
    pub(crate) lateness: Option<Lateness>,
    pub(crate) failures: Vec<Failed>,
    /// Processor time of the client for one call.
    pub(crate) cpu_per_call_ns: u64,
    pub(crate) slot_width: Duration,
    pub(crate) slots: Vec<Point>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    pub(crate) min_ns: u64,
    pub(crate) mean_ns: u64,
    pub(crate) deviation_ns: f64,
    pub(crate) max_ns: u64,
    /// For each of [`PERCENTILES`].
    pub(crate) percentiles_ns: [u64; PERCENTILES.len()],
    /// From 0 % to as near to 100 % as the number of calls supports: percentage and latency.
    pub(crate) curve: Vec<(f64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lateness {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

/// The calls that failed with one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) code: &'static str,
    pub(crate) count: u64,
    pub(crate) latency_mean_ns: u64,
    pub(crate) latency_max_ns: u64,
    pub(crate) text: String,
}

/// A slot of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) bytes: u64,
    /// `None` if no call succeeded.
    pub(crate) latency: Option<PointLatency>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PointLatency {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Summary {
    /// The figures of a run.
    pub(crate) fn new(setup: Setup, mut recorder: Recorder) -> Summary {
        recorder.series.extend_to(recorder.elapsed_ns);
        recorder.series.coarsen_to(SLOT_CALLS);
        recorder.series.fold_tail(recorder.elapsed_ns);
        let failures: Vec<Failed> = recorder
            .failures()
            .map(|(code, failures)| Failed {
                code: code.name(),
                count: failures.count,
                latency_mean_ns: failures.latency_mean_ns(),
                latency_max_ns: failures.latency_max_ns,
                text: failures.text.clone(),
            })
            .collect();
        let (succeeded, failed) = (recorder.latencies.count(), failures.iter().map(|f| f.count).sum());
        Summary {
            elapsed: Duration::from_nanos(recorder.elapsed_ns),
            succeeded,
            failed,
            not_sent: recorder.not_sent,
            unfinished: recorder.unfinished,
            traffic: recorder.traffic,
            latency: latency(&recorder),
            lateness: setup.rate.map(|_| lateness(&recorder)),
            failures,
            cpu_per_call_ns: recorder.cpu_ns / (succeeded + failed).max(1),
            slot_width: Duration::from_nanos(recorder.series.width_ns()),
            slots: points(&recorder),
            setup,
        }
    }

    /// Calls that ended, however they did.
    pub(crate) const fn calls(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// What came to so much in the whole run, for a second.
    pub(crate) fn per_second(&self, amount: u64) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { ratio(amount) / seconds } else { 0.0 }
    }

    /// How long slot `index` lasted: the last one ends with the run, from a quarter to five quarters of a width after it
    /// began.
    pub(crate) fn slot_seconds(&self, index: usize) -> f64 {
        let width = self.slot_width.as_secs_f64();
        if index + 1 < self.slots.len() {
            return width;
        }
        let begin = ratio(u64::try_from(index).expect("slots are few")) * width;
        // A run whose only slot is a blink long would have a rate without meaning.
        (self.elapsed.as_secs_f64() - begin).max(width / 1e3)
    }
}

fn latency(recorder: &Recorder) -> Latency {
    let latencies = &recorder.latencies;
    if latencies.count() == 0 {
        return Latency::default();
    }
    Latency {
        min_ns: latencies.min_ns(),
        mean_ns: latencies.mean_ns(),
        deviation_ns: latencies.deviation_ns(),
        max_ns: latencies.max_ns(),
        percentiles_ns: PERCENTILES.map(|percent| latencies.percentile_ns(percent)),
        curve: curve(latencies.count(), |percent| latencies.percentile_ns(percent)),
    }
}

/// Evenly spaced where each step of the axis is a factor of ten nearer to 100 %, up to the last call, and with all of
/// [`PERCENTILES`] that come before it, so that the curve goes through what the tables say.
fn curve(count: u64, percentile_ns: impl Fn(f64) -> u64) -> Vec<(f64, u64)> {
    let decades = ratio(count).log10();
    let last = 100.0 * (1.0 - 10_f64.powf(-decades));
    let mut percents: Vec<f64> = (0..)
        .map(|step| f64::from(step) / f64::from(CURVE_POINTS))
        .take_while(|at| *at < decades)
        .map(|at| 100.0 * (1.0 - 10_f64.powf(-at)))
        .chain(PERCENTILES.into_iter().filter(|percent| *percent < last))
        .chain([last])
        .collect();
    percents.sort_by(f64::total_cmp);
    percents.into_iter().map(|percent| (percent, percentile_ns(percent))).collect()
}

fn lateness(recorder: &Recorder) -> Lateness {
    let lateness = &recorder.lateness;
    Lateness {
        p50_ns: lateness.percentile_ns(50.0),
        p99_ns: lateness.percentile_ns(99.0),
        max_ns: lateness.max_ns(),
    }
}

fn points(recorder: &Recorder) -> Vec<Point> {
    let slots = recorder.series.slots().iter();
    slots
        .map(|slot| Point {
            calls: slot.calls,
            errors: slot.errors,
            bytes: slot.bytes,
            latency: slot.percentile_ns(50.0).map(|p50_ns| PointLatency {
                p50_ns,
                p99_ns: slot.percentile_ns(99.0).unwrap_or(p50_ns),
                max_ns: slot.max_ns,
            }),
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::recorder::{Call, Failure};
    use corelane::Code;

    const MS: u64 = 1_000_000;

    pub(crate) fn setup() -> Setup {
        Setup {
            target: "127.0.0.1:50051".to_owned(),
            method: "bench.v1.Bench/Unary".to_owned(),
            rate: Some(1_000),
            connections: 2,
            streams: 10,
            workers: 1,
            warm_up: Duration::from_secs(1),
            duration: Some(Duration::from_secs(2)),
            calls: None,
            deadline: None,
            details: vec![("request size", "10 bytes".to_owned())],
            started_unix_ms: 1_800_000_000_000,
        }
    }

    /// 2,000 calls in two seconds; call `n` takes `1 + n / 1000` ms, and four of them fail.
    pub(crate) fn sample() -> Summary {
        let mut recorder = Recorder::new(1_000 * MS);
        for number in 0..2_000_u64 {
            let intended_ns = (1_000 + number) * MS;
            let failure = Failure { code: Code::Unavailable, text: "<the server> \"went\" away" };
            recorder.record(Call {
                intended_ns,
                started_ns: intended_ns + 10_000,
                ended_ns: intended_ns + MS + number * 1_000,
                traffic: Traffic {
                    messages_sent: 1,
                    messages_received: 1,
                    bytes_sent: 12,
                    bytes_received: 100,
                },
                outcome: if number % 500 == 499 { Err(failure) } else { Ok(()) },
            });
        }
        recorder.cpu_ns = 2_000 * 850;
        recorder.not_sent = 3;
        Summary::new(setup(), recorder)
    }

    #[test]
    fn figures_follow_from_the_recorder() {
        let summary = sample();
        assert_eq!((summary.succeeded, summary.failed, summary.calls()), (1_996, 4, 2_000));
        assert_eq!(summary.cpu_per_call_ns, 850);
        assert_eq!(summary.lateness, Some(Lateness { p50_ns: 10_000, p99_ns: 10_000, max_ns: 10_000 }));
        assert_eq!(summary.elapsed, Duration::from_nanos(1_999 * MS + MS + 1_999_000));
        assert_eq!(summary.failures.len(), 1);
        assert_eq!(summary.failures[0].count, 4);
    }

    #[test]
    fn the_series_accounts_for_every_call_in_slots_that_are_full_enough() {
        let summary = sample();
        assert_eq!(summary.slot_width, Duration::from_millis(250));
        assert_eq!(summary.slots.iter().map(|slot| slot.calls + slot.errors).sum::<u64>(), 2_000);
        assert_eq!((summary.slots.len(), summary.slot_seconds(0)), (8, 0.25));
        // The last two milliseconds belong to the slot before.
        assert!((summary.slot_seconds(7) - 0.251_999).abs() < 1e-9);
    }

    #[test]
    fn the_curve_ends_with_the_last_call() {
        let summary = sample();
        let curve = &summary.latency.curve;
        assert_eq!(curve[0].0, 0.0);
        assert_eq!(curve.last().unwrap().1, summary.latency.max_ns);
        assert!(curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        for (percent, ns) in PERCENTILES.iter().zip(summary.latency.percentiles_ns).take(6) {
            assert!(curve.contains(&(*percent, ns)), "{percent}");
        }
        // 1,996 calls are 3.3 factors of ten; six percentiles lie below.
        assert_eq!(curve.len(), 67 + 6 + 1);
    }

    #[test]
    fn a_run_of_nothing_has_figures_too() {
        let summary = Summary::new(Setup { rate: None, ..setup() }, Recorder::new(0));
        assert_eq!((summary.calls(), summary.cpu_per_call_ns, summary.slots.len()), (0, 0, 0));
        assert_eq!(summary.per_second(5), 0.0);
        assert_eq!(summary.lateness, None);
    }
}
