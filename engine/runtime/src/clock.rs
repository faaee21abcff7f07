//! The one clock: nanoseconds since the worker's start, as the number that `wire` counts with.
//!
//! Invariant: read once a turn, cached by the worker; every other file gets the time handed in.

use std::time::Instant;

/// A monotonic clock with an origin of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts at 0 now.
    pub(crate) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// The time. A `u64` of nanoseconds lasts 584 years, so the cast loses nothing.
    pub(crate) fn read(&self) -> corelane_wire::Instant {
        corelane_wire::Instant::from_nanos(
            u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX),
        )
    }
}
