//! What outlier detection keeps of one endpoint: how its calls went since the last sweep, and whether it is ejected.
//!
//! All cores count in one word, and a sweep takes it by a swap. The two buckets of the gRFC, of which one rests while it is
//! read, are the same thing for counts that cannot be taken at once; they lose a call that straddles the exchange, a swap
//! does not.
//!
//! Does not: decide; `mod.rs` does, in one sweep at a time.

use crossbeam_utils::CachePadded;

use corelane_wire::Instant;

use super::super::atomic::{AtomicU32, AtomicU64, Ordering};
use super::super::outcome::Outcome;

// Every ordering in this file is Relaxed. Counts are read-modify-writes, of which none is lost, and nothing else is read
// because of them. The rest is written by sweeps alone, and those are ordered by the detector's own word; a core that
// reads `is_ejected` a moment late sends one more call there, as it would have a moment earlier.

/// One call that succeeded; failures are counted below it, by ones.
const SUCCESS: u64 = 1 << 32;

/// How an endpoint's calls went since the last sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) successes: u32,
    pub(super) failures: u32,
}

impl Tally {
    pub(super) fn volume(self) -> u64 {
        u64::from(self.successes) + u64::from(self.failures)
    }
}

/// What all cores share about one endpoint of an [`OutlierDetector`](super::OutlierDetector).
#[derive(Debug)]
pub struct OutlierEndpoint {
    /// Written by every call.
    counts: CachePadded<AtomicU64>,
    /// When it was ejected, in nanoseconds; 0 if it is not.
    ejected_at: AtomicU64,
    /// How often it was ejected of late: the factor of the ejection's length.
    multiplier: AtomicU32,
}

impl Default for OutlierEndpoint {
    fn default() -> OutlierEndpoint {
        OutlierEndpoint::new()
    }
}

impl OutlierEndpoint {
    /// An endpoint that nobody called yet.
    #[must_use]
    pub fn new() -> OutlierEndpoint {
        OutlierEndpoint {
            counts: CachePadded::new(AtomicU64::new(0)),
            ejected_at: AtomicU64::new(0),
            multiplier: AtomicU32::new(0),
        }
    }

    /// Counts one call. From any core.
    #[inline]
    pub fn record(&self, outcome: Outcome) {
        // 2^32 calls between two sweeps would carry from one count into the other: an hour at a million a second.
        let one = match outcome {
            Outcome::Success => SUCCESS,
            Outcome::Failure => 1,
            Outcome::Ignored => return,
        };
        self.counts.fetch_add(one, Ordering::Relaxed);
    }

    /// Whether it is left out of picks.
    #[inline]
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected_at.load(Ordering::Relaxed) != 0
    }

    /// How often it was ejected of late, for figures.
    #[must_use]
    pub fn multiplier(&self) -> u32 {
        self.multiplier.load(Ordering::Relaxed)
    }

    /// Takes the counts and leaves zeros.
    #[allow(clippy::cast_possible_truncation)] // the two halves
    pub(super) fn take(&self) -> Tally {
        let counts = self.counts.swap(0, Ordering::Relaxed);
        Tally { successes: (counts >> 32) as u32, failures: counts as u32 }
    }

    /// For the sweep.
    pub(super) fn ejected_at(&self) -> Option<Instant> {
        let nanos = self.ejected_at.load(Ordering::Relaxed);
        (nanos != 0).then(|| Instant::from_nanos(nanos))
    }

    /// For the sweep.
    pub(super) fn eject(&self, now: Instant) {
        self.ejected_at.store(now.as_nanos().max(1), Ordering::Relaxed);
        self.set_multiplier(self.multiplier().saturating_add(1));
    }

    /// For the sweep.
    pub(super) fn restore(&self) {
        self.ejected_at.store(0, Ordering::Relaxed);
    }

    /// For the sweep.
    pub(super) fn set_multiplier(&self, multiplier: u32) {
        self.multiplier.store(multiplier, Ordering::Relaxed);
    }
}

impl AsRef<OutlierEndpoint> for OutlierEndpoint {
    fn as_ref(&self) -> &OutlierEndpoint {
        self
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_take_has_each_call_once() {
        let endpoint = OutlierEndpoint::new();
        for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Success] {
            endpoint.record(outcome);
        }
        let tally = endpoint.take();
        assert_eq!((tally, tally.volume()), (Tally { successes: 2, failures: 1 }, 3));
        assert_eq!(endpoint.take(), Tally::default());
    }

    #[test]
    fn an_ejection_at_the_origin_is_one() {
        let endpoint = OutlierEndpoint::new();
        endpoint.eject(Instant::from_nanos(0));
        assert!(endpoint.is_ejected());
        endpoint.restore();
        assert_eq!((endpoint.is_ejected(), endpoint.multiplier()), (false, 1));
    }
}
