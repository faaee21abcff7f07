//! The one clock: nanoseconds since the process first asked, as the number that `wire` counts with.
//!
//! All workers count from the same origin, so that what they share (a breaker, a rate limit) can hold instants.
//!
//! Invariant: read once a turn, cached by the worker; every other file gets the time handed in. Only a profile that is on reads
//! it at every step.

use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::Instant;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// The process's clock.
    pub(crate) fn start() -> Clock {
        Clock { origin: *ORIGIN.get_or_init(Instant::now) }
    }

    /// The time. A `u64` of nanoseconds lasts 584 years, so the cast loses nothing.
    pub(crate) fn read(&self) -> corelane_wire::Instant {
        corelane_wire::Instant::from_nanos(
            u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX),
        )
    }
}

/// The processor time that this thread has taken so far, in nanoseconds. A system call: for once a second.
pub(crate) fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
