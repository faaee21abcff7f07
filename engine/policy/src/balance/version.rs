//! The number that says whether a worker must look again: one load a pick while nothing changes.
//!
//! The protocol: whoever changes something shared changes it, then [`bump`](Version::bump)s. A worker loads the version first
//! and looks second, so what it sees is at least as new as the number that it remembers; what comes in between is seen too
//! early, which does no harm, and announced once more.
//!
//! Does not: hold what changed.

// `tests/loom_balance.rs` compiles this file on loom's atomics.
#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts changes.
#[derive(Debug, Default)]
pub(super) struct Version(AtomicU64);

impl Version {
    /// For whoever changed something: call it *after* the change.
    pub(super) fn bump(&self) {
        // Release pairs with the Acquire in `current`: whoever sees this number sees the change. An addition, not a store,
        // since publisher and outlier detection both bump: a read-modify-write goes on with the other's release sequence.
        self.0.fetch_add(1, Ordering::Release);
    }

    /// For a worker: call it *before* looking.
    pub(super) fn current(&self) -> u64 {
        // Acquire: see `bump`. Relaxed would let a worker remember the new number with the old list, for ever.
        self.0.load(Ordering::Acquire)
    }
}
