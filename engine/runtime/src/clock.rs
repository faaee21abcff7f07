//! The one clock: nanoseconds since the process first asked, as the number that `wire` counts with.
//!
//! All workers count from the same origin, so that what they share (a breaker, a rate limit) can hold instants.
//!
//! Invariant: read once a turn, cached by the worker; every other file gets the time handed in. Only a profile that is on reads
//! it at every step.

use std::fs::File;
use std::io::Read as _;
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

/// The processor time that this thread has taken so far, in nanoseconds, to a tick of the scheduler; `None` where the kernel does
/// not tell. Three system calls: for now and then.
///
/// From a file and not from the clock of the thread: rustix finds that one through the vDSO, which is not there under valgrind, and
/// reads where it should be.
pub(crate) fn thread_cpu_ns() -> Option<u64> {
    let mut text = [0; 64];
    let read = File::open("/proc/thread-self/schedstat").and_then(|mut file| file.read(&mut text)).ok()?;
    let text = std::str::from_utf8(text.get(..read)?).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
