//! What came of the calls, one recorder for each worker, merged when all have ended.
//!
//! Latencies count from the time a call was intended for, and only those of calls that succeeded make the percentiles: a
//! call refused in a microsecond would flatter them. Failures are counted by code, each with its own latencies and the text
//! of the first.
//!
//! Does not: read a clock, lock, or allocate for a call that succeeds, but for the first one of a slot of time.
//!
//! Invariant: what was intended before the measurement began is in no figure.

use corelane::Code;
use hdrhistogram::Histogram;

use crate::bench::series::{LATENCY_NS_MAX, Series};

/// Three digits: what is shown is right to a thousandth.
const DIGITS: u8 = 3;

/// A server's text is kept up to here.
const TEXT_BYTES_MAX: usize = 240;

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// When the schedule wanted it sent.
    pub(crate) intended_ns: u64,
    /// When it was sent.
    pub(crate) started_ns: u64,
    /// When its status arrived.
    pub(crate) ended_ns: u64,
    pub(crate) traffic: Traffic,
    pub(crate) outcome: Result<(), Failure<'a>>,
}

/// The messages of one call, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) messages_sent: u64,
    pub(crate) messages_received: u64,
    /// Encoded messages, without frames and headers.
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

impl Traffic {
    fn add(&mut self, other: Traffic) {
        self.messages_sent += other.messages_sent;
        self.messages_received += other.messages_received;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }
}

/// Why a call failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) code: Code,
    pub(crate) text: &'a str,
}

/// The failures with one code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    pub(crate) latency_sum_ns: u128,
    pub(crate) latency_max_ns: u64,
    /// What the first one said.
    pub(crate) text: String,
}

/// Latencies: a histogram, and beside it what must not be rounded.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS)
            .expect("the bounds are apart, the digits few");
        Latencies { histogram, sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }

    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.histogram.saturating_record(latency_ns);
        self.sum_ns += u128::from(latency_ns);
        self.min_ns = self.min_ns.min(latency_ns);
        self.max_ns = self.max_ns.max(latency_ns);
    }

    fn add(&mut self, other: &Latencies) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The fastest, exactly; 0 if there was none.
    pub(crate) fn min_ns(&self) -> u64 {
        if self.count() == 0 { 0 } else { self.min_ns }
    }

    /// The slowest, exactly.
    pub(crate) const fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The mean, rounded to a nanosecond.
    pub(crate) fn mean_ns(&self) -> u64 {
        let count = u128::from(self.count().max(1));
        u64::try_from((self.sum_ns + count / 2) / count).unwrap_or(u64::MAX)
    }

    /// The standard deviation, of the histogram's values.
    pub(crate) fn deviation_ns(&self) -> f64 {
        self.histogram.stdev()
    }

    /// The latency that `percent` of the calls did not exceed; 0 if there was none.
    pub(crate) fn percentile_ns(&self, percent: f64) -> u64 {
        self.histogram.value_at_percentile(percent).min(self.max_ns)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    measured_from_ns: u64,
    /// From the intended time to the end, of calls that succeeded.
    pub(crate) latencies: Latencies,
    /// From the intended time to the sending, of all calls.
    pub(crate) lateness: Latencies,
    pub(crate) traffic: Traffic,
    /// By number of the code.
    failures: [Failures; Code::ALL.len()],
    pub(crate) series: Series,
    /// How long after the start of the measurement the last call ended.
    pub(crate) elapsed_ns: u64,
    /// Calls that came due and found no slot in time.
    pub(crate) not_sent: u64,
    /// Calls that had not ended when the waiting did.
    pub(crate) unfinished: u64,
    /// What the user is to be told beside the figures.
    pub(crate) notes: Vec<String>,
    /// Processor time of the workers during the measurement.
    pub(crate) cpu_ns: u64,
}

impl Recorder {
    /// A recorder for calls intended from this time on.
    pub(crate) fn new(measured_from_ns: u64) -> Recorder {
        Recorder {
            measured_from_ns,
            latencies: Latencies::new(),
            lateness: Latencies::new(),
            traffic: Traffic::default(),
            failures: Default::default(),
            series: Series::new(),
            elapsed_ns: 0,
            not_sent: 0,
            unfinished: 0,
            notes: Vec::new(),
            cpu_ns: 0,
        }
    }

    /// Takes a call into account, if it is measured.
    pub(crate) fn record(&mut self, call: Call<'_>) {
        if call.intended_ns < self.measured_from_ns {
            return;
        }
        let latency_ns = call.ended_ns.saturating_sub(call.intended_ns);
        let after_ns = call.ended_ns.saturating_sub(self.measured_from_ns);
        self.elapsed_ns = self.elapsed_ns.max(after_ns);
        self.lateness.record(call.started_ns.saturating_sub(call.intended_ns));
        self.traffic.add(call.traffic);
        match call.outcome {
            Ok(()) => {
                self.latencies.record(latency_ns);
                self.series.succeeded(after_ns, latency_ns, call.traffic.bytes());
            }
            Err(failure) => {
                self.series.failed(after_ns, call.traffic.bytes());
                self.failures[failure.code as usize].add_one(latency_ns, failure.text);
            }
        }
    }

    /// A call that was due then found no slot in time.
    pub(crate) fn not_sent(&mut self, intended_ns: u64) {
        self.not_sent += u64::from(intended_ns >= self.measured_from_ns);
    }

    /// Adds what another worker recorded; both measured from the same moment on.
    pub(crate) fn merge(&mut self, other: Recorder) {
        self.latencies.add(&other.latencies);
        self.lateness.add(&other.lateness);
        self.traffic.add(other.traffic);
        for (own, theirs) in self.failures.iter_mut().zip(other.failures) {
            own.add(theirs);
        }
        self.series.merge(other.series);
        self.elapsed_ns = self.elapsed_ns.max(other.elapsed_ns);
        self.not_sent += other.not_sent;
        self.unfinished += other.unfinished;
        let new: Vec<String> = other.notes.into_iter().filter(|note| !self.notes.contains(note)).collect();
        self.notes.extend(new);
        self.cpu_ns += other.cpu_ns;
    }

    /// The codes that calls failed with, by number.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (Code, &Failures)> {
        Code::ALL.into_iter().zip(&self.failures).filter(|(_, failures)| failures.count > 0)
    }
}

impl Failures {
    fn add_one(&mut self, latency_ns: u64, text: &str) {
        if self.count == 0 {
            self.text = shortened(text);
        }
        self.count += 1;
        self.latency_sum_ns += u128::from(latency_ns);
        self.latency_max_ns = self.latency_max_ns.max(latency_ns);
    }

    fn add(&mut self, other: Failures) {
        if self.count == 0 {
            self.text = other.text;
        }
        self.count += other.count;
        self.latency_sum_ns += other.latency_sum_ns;
        self.latency_max_ns = self.latency_max_ns.max(other.latency_max_ns);
    }

    pub(crate) fn latency_mean_ns(&self) -> u64 {
        u64::try_from(self.latency_sum_ns / u128::from(self.count.max(1))).unwrap_or(u64::MAX)
    }
}

/// One line of at most [`TEXT_BYTES_MAX`]: it goes to terminals, and comes from a server.
fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let mut line: String = text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if end < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAFFIC: Traffic =
        Traffic { messages_sent: 1, messages_received: 2, bytes_sent: 10, bytes_received: 20 };

    fn call(intended_ns: u64, started_ns: u64, ended_ns: u64) -> Call<'static> {
        Call { intended_ns, started_ns, ended_ns, traffic: TRAFFIC, outcome: Ok(()) }
    }

    fn failed(code: Code, text: &str) -> Call<'_> {
        Call { outcome: Err(Failure { code, text }), ..call(1_000, 1_000, 1_500) }
    }

    #[test]
    fn latencies_count_from_the_intended_time() {
        let mut recorder = Recorder::new(1_000);
        recorder.record(call(1_000, 1_300, 1_400));
        assert_eq!(recorder.latencies.max_ns(), 400);
        assert_eq!(recorder.lateness.max_ns(), 300);
        assert_eq!(recorder.elapsed_ns, 400);
        assert_eq!(recorder.traffic, TRAFFIC);
    }

    #[test]
    fn the_warm_up_is_in_no_figure_even_if_it_ends_late() {
        let mut recorder = Recorder::new(1_000);
        recorder.record(call(999, 999, 5_000));
        assert_eq!(recorder.latencies.count(), 0);
        assert_eq!((recorder.elapsed_ns, recorder.traffic), (0, Traffic::default()));
        assert_eq!(recorder.series.slots().len(), 0);
        assert_eq!((recorder.latencies.min_ns(), recorder.latencies.mean_ns()), (0, 0));
    }

    #[test]
    fn percentiles_of_known_numbers_are_right_to_a_thousandth() {
        let mut latencies = Latencies::new();
        for us in 1..=10_000_u64 {
            latencies.record(us * 1_000);
        }
        for (percent, us) in [(50.0, 5_000), (90.0, 9_000), (99.0, 9_900), (99.9, 9_990), (100.0, 10_000)] {
            let (got, want) = (latencies.percentile_ns(percent), us * 1_000);
            assert!(got >= want && got <= want + want / 1_000, "p{percent}: {got}");
        }
        assert_eq!((latencies.min_ns(), latencies.max_ns()), (1_000, 10_000_000));
        assert_eq!(latencies.mean_ns(), 5_000_500);
    }

    #[test]
    fn a_latency_beyond_the_histogram_counts_and_its_maximum_is_exact() {
        let mut latencies = Latencies::new();
        latencies.record(2 * LATENCY_NS_MAX);
        assert_eq!((latencies.count(), latencies.max_ns()), (1, 2 * LATENCY_NS_MAX));
    }

    #[test]
    fn failures_are_sorted_by_code_and_keep_the_first_text() {
        let mut recorder = Recorder::new(0);
        recorder.record(failed(Code::Unavailable, "first"));
        recorder.record(failed(Code::Unavailable, "second"));
        recorder.record(failed(Code::NotFound, "a\u{1b}[31mb\nc"));
        let seen: Vec<_> = recorder.failures().map(|(code, f)| (code, f.count, f.text.as_str())).collect();
        assert_eq!(seen, [(Code::NotFound, 1, "a [31mb c"), (Code::Unavailable, 2, "first")]);
        assert_eq!(recorder.latencies.count(), 0);
        assert_eq!(recorder.failures().next().unwrap().1.latency_mean_ns(), 500);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut recorder = Recorder::new(0);
        recorder.record(failed(Code::Internal, &"ü".repeat(1_000)));
        assert_eq!(recorder.failures().next().unwrap().1.text, format!("{}…", "ü".repeat(120)));
    }

    #[test]
    fn merged_recorders_say_what_one_would_have() {
        let (mut whole, mut left, mut right) = (Recorder::new(0), Recorder::new(0), Recorder::new(0));
        for number in 0..1_000 {
            let call = call(number, number, number * 1_000);
            whole.record(call);
            if number % 3 == 0 { left.record(call) } else { right.record(call) }
        }
        whole.record(failed(Code::Aborted, "x"));
        right.record(failed(Code::Aborted, "x"));
        left.notes = vec!["one".to_owned()];
        right.notes = vec!["one".to_owned(), "two".to_owned()];
        left.merge(right);
        assert_eq!(left.notes, ["one", "two"]);
        assert_eq!(left.latencies.histogram, whole.latencies.histogram);
        assert_eq!(left.latencies.mean_ns(), whole.latencies.mean_ns());
        assert_eq!((left.traffic, left.elapsed_ns), (whole.traffic, whole.elapsed_ns));
        assert_eq!(left.failures, whole.failures);
    }
}
