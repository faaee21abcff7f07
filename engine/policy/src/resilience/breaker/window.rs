//! How the calls of the last while went, counted by all cores in a ring of buckets.
//!
//! A call that is neither failed nor slow is one addition to one word, the one that all cores share. Each word carries the number of
//! the slot that it counts for beside the count, so a bucket whose slot is over needs no clearing: whoever finds an old
//! number replaces the word, and a sum leaves it out.
//!
//! Does not: forget single calls (a whole bucket leaves at once), or count a call that reports more than a round of the ring late.
//!
//! Invariant: a sum has only counts of the last `span` slots. It need not be of one moment: another core may add in between,
//! which a rate does not mind.
//!
//! Alternative that lost: one word with three counts, one addition for failed calls too; 16 bits for each were
//! too few for a second's calls, and a breaker that stops counting is no breaker.

use crossbeam_utils::CachePadded;

use corelane_wire::Instant;

use super::super::atomic::{AtomicU32, AtomicU64, Ordering};
use super::config::BreakerWindow;

// Every ordering in this file is Relaxed: words are complete in themselves, and additions are read-modify-writes, so none
// is lost. That a cleared window is seen as cleared by whoever counts in it again is the breaker's word's to guarantee.

/// Buckets, a power of two so that a slot finds its own by a mask.
const RING: usize = 16;
/// A word whose slot is ahead of the writer's by less than this is newer; by more, it is from before the numbers wrapped.
const AHEAD_MAX: u32 = 1 << 10;

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) calls: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

/// How fast a call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Fast,
    Slow,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Failed,
}

#[derive(Debug)]
struct Bucket {
    calls: AtomicU64,
    failed: AtomicU64,
    slow: AtomicU64,
}

/// What makes one slot follow another.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many calls.
    Calls(u32),
    /// Two to this power nanoseconds: a shift, where any other width were a division for each call.
    Shift(u32),
}

/// The ring.
#[derive(Debug)]
pub(super) struct Window {
    step: Step,
    /// How many slots make the window, the current one included.
    span: u32,
    /// The current slot, if calls make slots.
    slot: AtomicU32,
    /// The slot that was current when all was forgotten.
    begun: AtomicU32,
    /// Together on their lines: only the current one is written to.
    ring: CachePadded<[Bucket; RING]>,
}

impl Window {
    /// An empty window of a valid size.
    pub(super) fn new(size: BreakerWindow) -> Window {
        const BUCKETS: u32 = RING as u32;
        let (step, span) = match size {
            BreakerWindow::Calls(calls) => {
                let each = calls.div_ceil(BUCKETS).max(1);
                (Step::Calls(each), calls.div_ceil(each).max(1))
            }
            BreakerWindow::Time(time) => {
                let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
                let fits = |shift: &u32| (nanos - 1) >> shift < u64::from(BUCKETS);
                let shift = (0..64).find(fits).expect("a number shifted by 63 is at most 1");
                (Step::Shift(shift), u32::try_from(((nanos - 1) >> shift) + 1).expect("at most the ring"))
            }
        };
        let bucket =
            |_| Bucket { calls: AtomicU64::new(0), failed: AtomicU64::new(0), slow: AtomicU64::new(0) };
        let (slot, begun) = (AtomicU32::new(0), AtomicU32::new(0));
        Window { step, span, slot, begun, ring: CachePadded::new(std::array::from_fn(bucket)) }
    }

    /// Counts one call.
    pub(super) fn add(&self, now: Instant, ended: Ended, pace: Pace) {
        let slot = self.slot_to_count_in(now);
        let bucket = &self.ring[slot as usize % RING];
        add_one(&bucket.calls, slot);
        if ended == Ended::Failed {
            add_one(&bucket.failed, slot);
        }
        if pace == Pace::Slow {
            add_one(&bucket.slow, slot);
        }
    }

    /// What the last `span` slots hold.
    pub(super) fn sums(&self, now: Instant) -> Sums {
        let slot = self.slot_at(now);
        let mut sums = Sums::default();
        for bucket in self.ring.iter() {
            let count = |word: &AtomicU64| {
                let word = word.load(Ordering::Relaxed);
                // A core whose clock is a little ahead has begun the next slot: part of the last while as well.
                let age = slot.wrapping_sub(slot_of(word));
                if age < self.span || age.wrapping_neg() < AHEAD_MAX { count_of(word) } else { 0 }
            };
            sums.calls = sums.calls.saturating_add(count(&bucket.calls));
            sums.failed = sums.failed.saturating_add(count(&bucket.failed));
            sums.slow = sums.slow.saturating_add(count(&bucket.slow));
        }
        sums
    }

    /// Whether it has held all the calls that it was made for: as it moves on it holds up to a slot's less. Never of a window of
    /// time, which is made for no number.
    pub(super) fn was_full(&self) -> bool {
        let turned = || self.slot.load(Ordering::Relaxed).wrapping_sub(self.begun.load(Ordering::Relaxed));
        // The numbers wrap: once in a great many calls it says no for as long as a window takes.
        matches!(self.step, Step::Calls(_)) && turned() >= self.span
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.begun.store(self.slot.load(Ordering::Relaxed), Ordering::Relaxed);
        for bucket in self.ring.iter() {
            for word in [&bucket.calls, &bucket.failed, &bucket.slow] {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Where a call counts: a full slot is left only now that another call comes, so that a window can hold as many calls as it
    /// was made for.
    fn slot_to_count_in(&self, now: Instant) -> u32 {
        let slot = self.slot_at(now);
        let Step::Calls(each) = self.step else { return slot };
        let word = self.ring[slot as usize % RING].calls.load(Ordering::Relaxed);
        if slot_of(word) != slot || count_of(word) < each {
            return slot;
        }
        // All who find it full move on from this very slot, and only one of them succeeds.
        let next = slot.wrapping_add(1);
        self.slot
            .compare_exchange(slot, next, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(|moved| moved, |_| next)
    }

    #[allow(clippy::cast_possible_truncation)] // slots are numbered in 32 bits and wrap
    fn slot_at(&self, now: Instant) -> u32 {
        match self.step {
            Step::Calls(_) => self.slot.load(Ordering::Relaxed),
            Step::Shift(shift) => (now.as_nanos() >> shift) as u32,
        }
    }
}

/// Adds one for `slot`, unless the word is ahead already.
fn add_one(word: &AtomicU64, slot: u32) {
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        if slot_of(seen) == slot {
            // The word may have moved on since; then the call counts for the slot that began just now.
            word.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // A word without a count is vacant, whatever it says of a slot.
        if count_of(seen) != 0 && slot_of(seen).wrapping_sub(slot) < AHEAD_MAX {
            return;
        }
        let first = u64::from(slot) << 32 | 1;
        match word.compare_exchange_weak(seen, first, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // the upper half
fn slot_of(word: u64) -> u32 {
    (word >> 32) as u32
}

#[allow(clippy::cast_possible_truncation)] // the lower half
fn count_of(word: u64) -> u32 {
    word as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::time::Duration;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn calls(window: &Window, now: Instant) -> u32 {
        window.sums(now).calls
    }

    #[test]
    fn failed_and_slow_are_counted_apart() {
        let window = Window::new(BreakerWindow::Calls(10));
        window.add(at(0), Ended::Well, Pace::Fast);
        window.add(at(0), Ended::Failed, Pace::Fast);
        window.add(at(0), Ended::Well, Pace::Slow);
        window.add(at(0), Ended::Failed, Pace::Slow);
        assert_eq!(window.sums(at(0)), Sums { calls: 4, failed: 2, slow: 2 });
        window.clear();
        assert_eq!(window.sums(at(0)), Sums::default());
    }

    #[test]
    fn a_window_of_few_calls_is_exact() {
        let window = Window::new(BreakerWindow::Calls(3));
        window.add(at(0), Ended::Failed, Pace::Fast);
        for _ in 0..2 {
            window.add(at(0), Ended::Well, Pace::Fast);
        }
        assert_eq!(window.sums(at(0)), Sums { calls: 3, failed: 1, slow: 0 });
        assert!(!window.was_full(), "that shows as it moves on");
        window.add(at(0), Ended::Well, Pace::Fast);
        assert_eq!(window.sums(at(0)), Sums { calls: 3, failed: 0, slow: 0 });
        assert!(window.was_full());
        window.clear();
        assert!(!window.was_full());
    }

    #[test]
    fn a_window_of_time_forgets_after_its_length_and_at_most_an_eighth_more() {
        for seconds in [1_u64, 3, 10, 60, 3_600] {
            let window = Window::new(BreakerWindow::Time(Duration::from_secs(seconds)));
            let start = 1_000_000_000;
            window.add(at(start), Ended::Failed, Pace::Fast);
            let span = seconds * 1_000;
            assert_eq!(calls(&window, at(start + span * 7 / 8)), 1, "{seconds} s");
            assert_eq!(calls(&window, at(start + span * 9 / 8 + 1)), 0, "{seconds} s");
        }
    }

    #[test]
    fn a_bucket_of_a_round_ago_starts_anew() {
        let window = Window::new(BreakerWindow::Time(Duration::from_millis(16)));
        for round in 0..1_000 {
            window.add(at(round), Ended::Failed, Pace::Fast);
        }
        assert!((14..=18).contains(&calls(&window, at(999))), "{:?}", window.sums(at(999)));
    }

    /// The slots' numbers have 32 bits: a window of 10 ms comes past half of them after a month.
    #[test]
    fn it_counts_after_the_numbers_of_slots_pass_their_half_and_their_end() {
        let window = Window::new(BreakerWindow::Time(Duration::from_millis(16)));
        for slot in [1_u64 << 31, (1 << 32) - 2, (1 << 32) - 1, 1 << 32, (1 << 32) + 1] {
            let now = Instant::from_nanos(slot << 20);
            window.clear();
            window.add(now, Ended::Failed, Pace::Fast);
            assert_eq!(calls(&window, now), 1, "slot {slot}");
        }
    }

    #[test]
    fn a_core_that_is_a_round_late_spoils_nothing() {
        let window = Window::new(BreakerWindow::Time(Duration::from_millis(16)));
        window.add(at(500), Ended::Well, Pace::Fast);
        let late = Instant::from_nanos(at(500).as_nanos() - (16 << 20));
        window.add(late, Ended::Failed, Pace::Fast);
        assert_eq!(window.sums(at(500)), Sums { calls: 1, failed: 0, slow: 0 });
    }

    proptest! {
        /// A window of calls holds at least the last `size` less a bucket, and at most `size` plus a bucket.
        #[test]
        fn a_window_of_calls_holds_the_last_calls(size in 1_u32..200, total in 0_usize..600, seed in any::<u64>()) {
            let window = Window::new(BreakerWindow::Calls(size));
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut recent = VecDeque::new();
            for _ in 0..total {
                let ended = if rng.bool() { Ended::Failed } else { Ended::Well };
                window.add(at(0), ended, Pace::Fast);
                recent.push_back(ended == Ended::Failed);
            }
            let sums = window.sums(at(0));
            let each = size.div_ceil(16);
            let held = u32::try_from(total).unwrap().min(size.saturating_sub(each));
            prop_assert!((held..=size + each).contains(&sums.calls), "{} of {}", sums.calls, size);
            let failed = recent.iter().rev().take(sums.calls as usize).filter(|failed| **failed).count();
            prop_assert_eq!(sums.failed as usize, failed);
        }
    }
}
