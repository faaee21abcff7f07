//! What happened when: calls, errors and latencies in slots of equal width.
//!
//! A run may last a second or a week. The slots are narrow at first; when they run out, each two become one and the
//! width doubles, so the memory has a maximum and there are always between 128 and 256 points of a full run.
//!
//! Does not: read a clock, or keep which call was which.
//!
//! Invariant: slot `n` holds the calls that ended from `n` to `n + 1` widths after the start of the measurement.

use hdrhistogram::Histogram;

/// The most slots. A slot's histogram has 14 KB, so a worker's series stays below 4 MB.
const SLOTS_MAX: usize = 256;

/// 256 of these are 32 seconds; from 256 seconds on slots are longer than a second.
const WIDTH_NS_MIN: u64 = 125_000_000;

/// Latencies above this count as this.
pub(crate) const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Latencies below this are told apart no further in a slot; it saves eight doublings of the range.
const LATENCY_NS_MIN: u64 = 256;

/// Two digits are enough for a plot.
const DIGITS: u8 = 2;

/// What ended in one slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    latencies: Histogram<u32>,
    /// The largest latency as it was, not as the histogram rounds it.
    pub(crate) max_ns: u64,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// Payload bytes, both ways.
    pub(crate) bytes: u64,
}

impl Slot {
    fn new() -> Slot {
        let latencies = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, DIGITS)
            .expect("the bounds are apart and the digits few");
        Slot { latencies, max_ns: 0, calls: 0, errors: 0, bytes: 0 }
    }

    fn add(&mut self, other: &Slot) {
        self.latencies.add(&other.latencies).expect("all slots have the same bounds");
        self.max_ns = self.max_ns.max(other.max_ns);
        self.calls += other.calls;
        self.errors += other.errors;
        self.bytes += other.bytes;
    }

    /// The latency that this percentage of the calls that succeeded did not exceed; `None` if none did.
    pub(crate) fn percentile_ns(&self, percent: f64) -> Option<u64> {
        (!self.latencies.is_empty()).then(|| self.latencies.value_at_percentile(percent).min(self.max_ns))
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    width_ns: u64,
    slots: Vec<Slot>,
}

impl Series {
    pub(crate) const fn new() -> Series {
        Series { width_ns: WIDTH_NS_MIN, slots: Vec::new() }
    }

    /// A call that succeeded `after_ns` after the start of the measurement.
    pub(crate) fn succeeded(&mut self, after_ns: u64, latency_ns: u64, bytes: u64) {
        let slot = self.slot(after_ns);
        slot.latencies.saturating_record(latency_ns);
        slot.max_ns = slot.max_ns.max(latency_ns);
        slot.calls += 1;
        slot.bytes += bytes;
    }

    /// A call that failed then.
    pub(crate) fn failed(&mut self, after_ns: u64, bytes: u64) {
        let slot = self.slot(after_ns);
        slot.errors += 1;
        slot.bytes += bytes;
    }

    /// Makes sure that there are slots up to this time, empty ones if nothing ended there.
    pub(crate) fn extend_to(&mut self, after_ns: u64) {
        if let Some(last_ns) = after_ns.checked_sub(1) {
            self.slot(last_ns);
        }
    }

    /// Gives the last slot's calls to the one before if the run ended in its first quarter: a rate over so short a time
    /// says nothing.
    pub(crate) fn fold_tail(&mut self, end_ns: u64) {
        let Some(begins_before) = self.slots.len().checked_sub(1).filter(|count| *count > 0) else { return };
        let begin_ns = self.width_ns.saturating_mul(u64::try_from(begins_before).expect("slots are few"));
        if end_ns.saturating_sub(begin_ns) < self.width_ns / 4
            && let Some(tail) = self.slots.pop()
            && let Some(last) = self.slots.last_mut()
        {
            last.add(&tail);
        }
    }

    /// The width of a slot.
    pub(crate) const fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// The slots, from the start of the measurement on.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Adds what another worker saw since the same start.
    pub(crate) fn merge(&mut self, mut other: Series) {
        while self.width_ns < other.width_ns {
            self.coarsen();
        }
        while other.width_ns < self.width_ns {
            other.coarsen();
        }
        let common = self.slots.len().min(other.slots.len());
        for (slot, theirs) in self.slots.iter_mut().zip(&other.slots) {
            slot.add(theirs);
        }
        self.slots.extend(other.slots.drain(common..));
    }

    /// Makes slots wider while they are narrower than a second and have fewer than `calls` calls on average: a
    /// percentile of a handful says nothing.
    pub(crate) fn coarsen_to(&mut self, calls: u64) {
        let total: u64 = self.slots.iter().map(|slot| slot.calls).sum();
        while self.width_ns < 1_000_000_000
            && total < calls.saturating_mul(u64::try_from(self.slots.len()).expect("slots are few"))
        {
            self.coarsen();
        }
    }

    fn slot(&mut self, after_ns: u64) -> &mut Slot {
        loop {
            let index = usize::try_from(after_ns / self.width_ns).unwrap_or(usize::MAX);
            if index < SLOTS_MAX {
                if index >= self.slots.len() {
                    self.slots.resize_with(index + 1, Slot::new);
                }
                return &mut self.slots[index];
            }
            self.coarsen();
        }
    }

    /// Each two slots become one.
    fn coarsen(&mut self) {
        self.width_ns *= 2;
        let mut kept = Vec::with_capacity(self.slots.len().div_ceil(2));
        let mut slots = self.slots.drain(..);
        while let Some(mut first) = slots.next() {
            if let Some(second) = slots.next() {
                first.add(&second);
            }
            kept.push(first);
        }
        drop(slots);
        self.slots = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn calls(series: &Series) -> Vec<u64> {
        series.slots().iter().map(|slot| slot.calls).collect()
    }

    #[test]
    fn a_call_lands_in_the_slot_it_ended_in() {
        let mut series = Series::new();
        series.succeeded(0, 1_000, 10);
        series.succeeded(WIDTH_NS_MIN - 1, 3_000, 10);
        series.succeeded(2 * WIDTH_NS_MIN, 5_000, 10);
        series.failed(2 * WIDTH_NS_MIN, 7);
        assert_eq!(calls(&series), [2, 0, 1]);
        let last = &series.slots()[2];
        assert_eq!((last.errors, last.bytes, last.max_ns), (1, 17, 5_000));
        assert_eq!(series.slots()[1].percentile_ns(50.0), None);
        assert_eq!(series.slots()[2].percentile_ns(99.0), Some(5_000));
    }

    #[test]
    fn slots_never_outnumber_their_maximum_and_lose_nothing() {
        let mut series = Series::new();
        for second in 0..10_000 {
            series.succeeded(second * SECOND, 1_000 + second, 1);
        }
        assert!(series.slots().len() <= SLOTS_MAX);
        assert_eq!(series.width_ns(), 64 * SECOND);
        assert_eq!(series.slots().len(), 157);
        assert_eq!(calls(&series)[..2], [64, 64]);
        assert_eq!(calls(&series).iter().sum::<u64>(), 10_000);
        assert_eq!(series.slots()[156].max_ns, 10_999);
    }

    #[test]
    fn the_longest_time_there_is_fits() {
        let mut series = Series::new();
        series.failed(0, 0);
        series.failed(u64::MAX, 0);
        assert_eq!(series.slots().iter().map(|slot| slot.errors).sum::<u64>(), 2);
        assert!(series.slots().len() <= SLOTS_MAX);
    }

    #[test]
    fn series_of_different_widths_merge_to_the_wider_one() {
        let (mut long, mut short) = (Series::new(), Series::new());
        long.succeeded(60 * SECOND, 2_000, 0);
        short.succeeded(0, 1_000, 0);
        short.succeeded(SECOND / 4, 1_000, 0);
        let mut merged = short.clone();
        merged.merge(long.clone());
        long.merge(short);
        assert_eq!(merged.width_ns(), SECOND / 4);
        assert_eq!(calls(&merged), calls(&long));
        assert_eq!(calls(&merged)[..2], [1, 1]);
        assert_eq!(calls(&merged)[240], 1);
    }

    #[test]
    fn a_time_in_which_nothing_ended_has_slots_too() {
        let mut series = Series::new();
        series.extend_to(0);
        assert!(series.slots().is_empty());
        series.extend_to(3 * WIDTH_NS_MIN);
        assert_eq!(calls(&series), [0, 0, 0]);
    }

    #[test]
    fn a_tail_is_folded_if_it_is_short_and_not_all_there_is() {
        let mut series = Series::new();
        series.succeeded(0, 1_000, 0);
        series.fold_tail(1);
        assert_eq!(calls(&series), [1]);
        series.succeeded(WIDTH_NS_MIN, 1_000, 0);
        series.fold_tail(WIDTH_NS_MIN + WIDTH_NS_MIN / 4);
        assert_eq!(calls(&series), [1, 1]);
        series.fold_tail(WIDTH_NS_MIN + WIDTH_NS_MIN / 4 - 1);
        assert_eq!(calls(&series), [2]);
    }

    #[test]
    fn thin_slots_are_widened_up_to_a_second() {
        let mut series = Series::new();
        for eighth in 0..16 {
            series.succeeded(eighth * WIDTH_NS_MIN, 1_000, 0);
        }
        let mut thin = series.clone();
        thin.coarsen_to(2);
        assert_eq!(calls(&thin), [2; 8]);
        thin.coarsen_to(1_000_000);
        assert_eq!(calls(&thin), [8; 2]);
        assert_eq!(thin.width_ns(), SECOND);
    }
}
