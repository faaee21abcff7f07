//! Numbers with one writer and any number of readers.
//!
//! Does not: keep its sum right if two threads write at once (one of the two additions may get lost; nothing worse
//! can happen). `ShardSet` hands each shard to one writer, so that cannot come about by accident.
//!
//! Alternative that lost: `fetch_add`, right for any number of writers, at about 20 cycles for the lock prefix where
//! load, add and store are 1 to 2, and a call counts a dozen things.

use core::sync::atomic::{AtomicU64, Ordering};

// Every ordering in this file is Relaxed, for one reason: a number is all that is shared. Nothing else is read because
// of its value, so it has nothing to publish or to wait for; being atomic keeps it from tearing, and its one writer
// reads back its own last store under any ordering.

/// A count that only rises.
///
/// ```
/// use corelane_observe::Counter;
///
/// let calls = Counter::new();
/// calls.increment();
/// calls.add(2);
/// assert_eq!(calls.get(), 3);
/// ```
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at 0.
    #[must_use]
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Counts one. For the one writer.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `amount`. For the one writer. After 2^64 it begins again, which takes centuries of bytes.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The count, from any thread.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Raises the count to `value` if it is below. For the one writer.
    #[inline]
    pub(crate) fn raise_to(&self, value: u64) {
        if value > self.get() {
            self.0.store(value, Ordering::Relaxed);
        }
    }
}

/// A level that rises and falls.
///
/// ```
/// use corelane_observe::Gauge;
///
/// let open = Gauge::new();
/// open.increment();
/// open.increment();
/// open.decrement();
/// assert_eq!(open.get(), 1);
/// ```
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// A gauge at 0.
    #[must_use]
    pub const fn new() -> Gauge {
        Gauge(AtomicU64::new(0))
    }

    /// One more. For the one writer.
    #[inline]
    pub fn increment(&self) {
        self.set(self.get().saturating_add(1));
    }

    /// One less. For the one writer.
    ///
    /// # Panics
    /// In debug builds, if the level is 0 already: something was let go that never came. Otherwise it stays 0.
    #[inline]
    pub fn decrement(&self) {
        debug_assert!(self.get() > 0, "a gauge fell below 0");
        self.set(self.get().saturating_sub(1));
    }

    /// Sets the level. For the one writer.
    #[inline]
    pub fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// The level, from any thread.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_goes_round_rather_than_panic() {
        let counter = Counter::new();
        counter.add(u64::MAX);
        counter.add(2);
        assert_eq!(counter.get(), 1);
    }

    #[test]
    fn raising_never_lowers() {
        let counter = Counter::new();
        counter.raise_to(5);
        counter.raise_to(3);
        assert_eq!(counter.get(), 5);
    }

    #[test]
    fn a_gauge_follows() {
        let gauge = Gauge::default();
        gauge.set(7);
        gauge.decrement();
        assert_eq!(gauge.get(), 6);
    }

    #[test]
    #[should_panic(expected = "below 0")]
    #[cfg(debug_assertions)]
    fn a_gauge_below_zero_is_a_bug() {
        Gauge::new().decrement();
    }

    #[test]
    fn a_reader_sees_every_count_once_the_writer_is_done() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10_000).for_each(|_| counter.increment()));
            let mut last = 0;
            while last < 10_000 {
                let now = counter.get();
                assert!(now >= last && now <= 10_000, "a count never falls");
                last = now;
            }
        });
        assert_eq!(counter.get(), 10_000);
    }
}
