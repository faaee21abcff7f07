//! What a worker counts: plain cells of one thread, read by it alone.

use std::cell::Cell;

/// See the module.
#[derive(Default)]
pub(crate) struct Counters {
    /// Connections now.
    pub(crate) connections: Cell<usize>,
    /// Connections accepted.
    pub(crate) accepted: Cell<u64>,
    /// Connections closed at once because there were too many.
    pub(crate) refused: Cell<u64>,
    /// Failed accepts.
    pub(crate) accept_errors: Cell<u64>,
    /// Bytes received.
    pub(crate) bytes_received: Cell<u64>,
    /// Bytes sent.
    pub(crate) bytes_sent: Cell<u64>,
}

/// Adds to a counter; they wrap after 584 years of a byte a nanosecond.
pub(crate) fn add(counter: &Cell<u64>, amount: usize) {
    counter.set(counter.get().wrapping_add(amount as u64));
}
