//! What all workers know about one endpoint together: calls in flight, the weight of its load reports, whether it is ejected.
//!
//! Every field is an atomic of its own and every reader can live with one that is a moment old; what a reader must never see
//! is the time of a report without its weight. No lock, no loop: an operation is a fixed number of instructions.
//!
//! Does not: decide. Policies read it, `Ledger` batches the counting.

// `tests/loom_balance.rs` compiles this file on loom's atomics.
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use std::time::Duration;

use corelane_wire::Instant;

/// In place of an instant: there was no report.
const NEVER: u64 = u64::MAX;

/// Shared by all workers of a channel, for as long as the endpoint stays published.
#[derive(Debug)]
pub struct EndpointStats {
    /// Calls in flight, as far as the workers have told.
    outstanding: AtomicU32,
    /// Workers that have a ready connection.
    workers_ready: AtomicU32,
    ejected: AtomicBool,
    /// The bits of an `f32`.
    weight: AtomicU32,
    /// When the last report came, in nanoseconds.
    reported_at: AtomicU64,
    /// When the first report came after a pause, in nanoseconds.
    reports_since: AtomicU64,
}

impl Default for EndpointStats {
    fn default() -> EndpointStats {
        EndpointStats {
            outstanding: AtomicU32::new(0),
            workers_ready: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            weight: AtomicU32::new(0),
            reported_at: AtomicU64::new(NEVER),
            reports_since: AtomicU64::new(NEVER),
        }
    }
}

impl EndpointStats {
    /// Calls in flight on all workers, each at most a millisecond old while it makes calls.
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        // Relaxed: a figure, from which nothing about other memory follows.
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Adds `change` to the calls in flight and returns how many there were before.
    pub(super) fn change_outstanding(&self, change: i32) -> u32 {
        // Relaxed: additions of one variable are totally ordered whatever the ordering, so none is lost, and no other memory
        // is published by them. Wrapping addition of a negative number is the subtraction.
        self.outstanding.fetch_add(change.cast_unsigned(), Ordering::Relaxed)
    }

    /// Whether the endpoint is left out for doing worse than the others.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        // Relaxed: whoever must act upon it has read the version first, which orders this (`version.rs`).
        self.ejected.load(Ordering::Relaxed)
    }

    /// Ejects the endpoint or takes it back; returns whether that changes anything.
    pub(super) fn set_ejected(&self, ejected: bool) -> bool {
        // Relaxed: the version's bump that follows publishes it.
        self.ejected.swap(ejected, Ordering::Relaxed) != ejected
    }

    /// A worker has a ready connection. The first after none was starts the blackout period anew (gRFC A58): what the endpoint
    /// reported before it went away says nothing about what it is now.
    pub(super) fn worker_is_ready(&self) {
        // Relaxed, both: the count decides who is first by itself, and a report that is read once more, or once less, is an
        // old weight for one more period, or a blackout a little longer.
        if self.workers_ready.fetch_add(1, Ordering::Relaxed) == 0 {
            self.reported_at.store(NEVER, Ordering::Relaxed);
        }
    }

    /// A worker lost its last ready connection.
    pub(super) fn worker_is_not_ready(&self) {
        // Relaxed: as above.
        let before = self.workers_ready.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a worker takes back only what it said");
    }

    /// Takes the weight of a load report.
    pub(super) fn report(&self, weight: f32, now: Instant, expiration: Duration) {
        // Relaxed: two workers that report at once may both find a pause; then the later one's start counts.
        let last = self.reported_at.load(Ordering::Relaxed);
        if last == NEVER || now.since(Instant::from_nanos(last)) >= expiration {
            self.reports_since.store(now.as_nanos(), Ordering::Relaxed);
        }
        self.weight.store(weight.to_bits(), Ordering::Relaxed);
        // Release pairs with the Acquire in `weight`: whoever sees this time sees this weight, or a later one, and the start
        // of the reports. Relaxed would let a first report be read with the weight 0 of no report.
        self.reported_at.store(now.as_nanos(), Ordering::Release);
    }

    /// The weight that counts at `now`: none before reports have come for `blackout`, none `expiration` after the last.
    #[must_use]
    pub fn weight(&self, now: Instant, blackout: Duration, expiration: Duration) -> Option<f32> {
        // Acquire: see `report`. The two others may be newer than it, never older.
        let last = self.reported_at.load(Ordering::Acquire);
        if last == NEVER || now.since(Instant::from_nanos(last)) >= expiration {
            return None;
        }
        let since = Instant::from_nanos(self.reports_since.load(Ordering::Relaxed));
        let weight = f32::from_bits(self.weight.load(Ordering::Relaxed));
        (now.since(since) >= blackout).then_some(weight)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_weight_counts_after_the_blackout_and_until_it_expires() {
        let stats = EndpointStats::default();
        let weight = |now| stats.weight(at(now), 10 * SECOND, 60 * SECOND);
        assert_eq!(weight(5), None);
        stats.report(2.0, at(5), 60 * SECOND);
        assert_eq!(weight(14), None);
        assert_eq!(weight(15), Some(2.0));
        stats.report(3.0, at(20), 60 * SECOND);
        assert_eq!(weight(79), Some(3.0));
        assert_eq!(weight(80), None);
        stats.report(4.0, at(90), 60 * SECOND); // after a pause the blackout begins anew
        assert_eq!((weight(99), weight(100)), (None, Some(4.0)));
    }

    #[test]
    fn the_first_ready_connection_begins_the_blackout_and_the_second_does_not() {
        let stats = EndpointStats::default();
        let weight = || stats.weight(at(10), Duration::ZERO, 60 * SECOND);
        stats.worker_is_ready();
        stats.report(2.0, at(5), 60 * SECOND);
        stats.worker_is_ready();
        assert_eq!(weight(), Some(2.0));
        stats.worker_is_not_ready();
        stats.worker_is_not_ready();
        stats.worker_is_ready();
        assert_eq!(weight(), None);
    }

    #[test]
    fn an_ejection_that_changes_nothing_says_so() {
        let stats = EndpointStats::default();
        assert!(!stats.set_ejected(false));
        assert!(stats.set_ejected(true) && stats.is_ejected());
        assert!(!stats.set_ejected(true));
    }
}
