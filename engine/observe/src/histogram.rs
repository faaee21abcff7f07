//! A log-linear histogram of fixed size.
//!
//! Each power of two is cut into 16 equal buckets, so a value is known to 1/16 of itself, over the whole range of
//! u64, in 7.6 KiB. Recording is a shift and three additions; no unit is built in (we record nanoseconds).
//!
//! Does not: forget (a reader who wants the last minute subtracts two snapshots), or keep single values.
//!
//! Invariant: a bucket's highest value is the next one's lowest minus one, and they cover all of u64; a test walks them.

use crate::counter::Counter;
use crate::shards::Observed;
use core::fmt;

const SUB_BITS: u32 = 4;
const SUB_COUNT: usize = 1 << SUB_BITS;
/// Below `SUB_COUNT` every value has a bucket of its own; each of the 60 powers of two above has `SUB_COUNT` buckets.
const BUCKETS_COUNT: usize = (u64::BITS - SUB_BITS) as usize * SUB_COUNT + SUB_COUNT;

/// Values counted by magnitude, with one writer and any number of readers.
///
/// ```
/// use corelane_observe::{Histogram, Observed};
///
/// let latency_ns = Histogram::new();
/// for value in [100, 200, 300, 400, 90_000] {
///     latency_ns.record(value);
/// }
/// let seen = latency_ns.snapshot();
/// assert_eq!(seen.count(), 5);
/// assert!((300..=318).contains(&seen.quantile(0.5))); // to 1/16 of the value
/// assert_eq!(seen.max(), 90_000);
/// ```
pub struct Histogram {
    buckets: [Counter; BUCKETS_COUNT],
    sum: Counter,
    max: Counter,
}

impl Histogram {
    /// A histogram of nothing.
    #[must_use]
    pub const fn new() -> Histogram {
        Histogram {
            buckets: [const { Counter::new() }; BUCKETS_COUNT],
            sum: Counter::new(),
            max: Counter::new(),
        }
    }

    /// Counts one value. For the one writer.
    #[inline]
    pub fn record(&self, value: u64) {
        self.buckets[bucket_of(value)].increment();
        self.sum.add(value);
        self.max.raise_to(value);
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({})", self.snapshot())
    }
}

impl Observed for Histogram {
    type Snapshot = HistogramSnapshot;

    fn add_to(&self, into: &mut HistogramSnapshot) {
        into.buckets.resize(BUCKETS_COUNT, 0);
        for (total, bucket) in into.buckets.iter_mut().zip(&self.buckets) {
            *total = total.wrapping_add(bucket.get());
        }
        into.sum = into.sum.wrapping_add(self.sum.get());
        into.max = into.max.max(self.max.get());
    }
}

/// What histograms held at one moment, summed.
///
/// Its writers may be at work while it is taken, so the sum may be a value ahead of the counts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Empty, or one number for each bucket.
    buckets: Vec<u64>,
    sum: u64,
    max: u64,
}

impl HistogramSnapshot {
    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The buckets that hold anything, from low to high: the highest value that each takes, and how many it holds. For those
    /// who subtract an earlier reading on their side of a wire.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let filled = self.buckets.iter().copied().enumerate().filter(|(_, count)| *count != 0);
        filled.map(|(index, count)| (highest_of(index), count))
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, rounded down; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count()).unwrap_or(0)
    }

    /// The value that a part `q` of all values (0 to 1) does not exceed: the upper end of its bucket, so at most 1/16
    /// too high, and never above the maximum. 0 of nothing.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let count = self.count();
        // Precision is lost above 2^53 values only, where one rank more or less is nothing; the product is not negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = ((count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut below = 0_u64;
        for (index, bucket) in self.buckets.iter().enumerate() {
            below += bucket;
            if below >= rank {
                return highest_of(index).min(self.max);
            }
        }
        self.max
    }
}

impl fmt::Display for HistogramSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count {}, mean {}, p50 {}", self.count(), self.mean(), self.quantile(0.5))?;
        write!(f, ", p99 {}, p999 {}, max {}", self.quantile(0.99), self.quantile(0.999), self.max)
    }
}

impl fmt::Debug for HistogramSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HistogramSnapshot({self})")
    }
}

/// The bucket of a value: its power of two, and the four bits below the leading one.
#[inline]
#[allow(clippy::cast_possible_truncation)] // below SUB_COUNT, or four bits
fn bucket_of(value: u64) -> usize {
    if value < SUB_COUNT as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    // `value >> shift` has its leading one at bit 4; the group's number is therefore one too high, which the row
    // of single values makes up for.
    shift as usize * SUB_COUNT + (value >> shift) as usize
}

/// The largest value of a bucket.
fn highest_of(bucket: usize) -> u64 {
    let (group, sub) = (bucket / SUB_COUNT, bucket % SUB_COUNT);
    if group == 0 {
        return sub as u64;
    }
    let lowest = ((SUB_COUNT + sub) as u64) << (group - 1);
    lowest + ((1 << (group - 1)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_buckets_cover_every_value_without_gap_or_overlap() {
        let mut lowest = 0_u64;
        for bucket in 0..BUCKETS_COUNT {
            let highest = highest_of(bucket);
            assert_eq!((bucket_of(lowest), bucket_of(highest)), (bucket, bucket));
            assert!(highest - lowest <= lowest / 16);
            lowest = highest.wrapping_add(1);
        }
        assert_eq!(lowest, 0, "the last bucket ends at u64::MAX");
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        let nothing = Histogram::new().snapshot();
        assert_eq!((nothing.count(), nothing.mean(), nothing.quantile(0.99), nothing.max()), (0, 0, 0, 0));
        assert_eq!(HistogramSnapshot::default().quantile(0.5), 0);
    }

    #[test]
    fn small_values_are_exact() {
        let histogram = Histogram::new();
        (1..=10).for_each(|value| histogram.record(value));
        let seen = histogram.snapshot();
        assert_eq!([0.0, 0.1, 0.5, 0.91, 1.0].map(|q| seen.quantile(q)), [1, 1, 5, 10, 10]);
        assert_eq!((seen.sum(), seen.mean(), seen.max()), (55, 5, 10));
        assert_eq!(seen.to_string(), "count 10, mean 5, p50 5, p99 10, p999 10, max 10");
    }

    #[test]
    fn the_buckets_that_hold_something_are_told() {
        let histogram = Histogram::new();
        [3, 3, 16, 17, 40].into_iter().for_each(|value| histogram.record(value));
        assert_eq!(histogram.snapshot().buckets().collect::<Vec<_>>(), [(3, 2), (16, 1), (17, 1), (41, 1)]);
        assert_eq!(HistogramSnapshot::default().buckets().count(), 0);
    }

    #[test]
    fn two_shards_read_as_one() {
        let (a, b, both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for value in [3, 70, 900, 1 << 40] {
            a.record(value);
            both.record(value);
        }
        for value in [5, 70, u64::MAX >> 1] {
            b.record(value);
            both.record(value);
        }
        let mut sum = a.snapshot();
        b.add_to(&mut sum);
        assert_eq!(sum, both.snapshot());
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_sixteenth_above_the_true_one(
            mut values in prop::collection::vec((0..64_u32, any::<u64>()).prop_map(|(s, v)| v >> s), 1..200),
            q in 0.0..=1.0_f64,
        ) {
            let histogram = Histogram::new();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let rank = ((values.len() as f64 * q).ceil() as usize).max(1);
            let (truth, told) = (values[rank - 1], histogram.snapshot().quantile(q));
            prop_assert!(told >= truth && told - truth <= truth / 16, "{told} for {truth}");
        }
    }
}
