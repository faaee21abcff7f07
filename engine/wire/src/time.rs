//! Time as a number: nanoseconds since an origin that the caller chose.

use core::ops::Add;
use core::time::Duration;

/// A point in time, in nanoseconds since an origin of the caller's choice.
///
/// `wire` has no clock: whoever drives it reads one once a turn and hands the value in, so that a recorded run can be
/// replayed to the nanosecond.
///
/// ```
/// use core::time::Duration;
/// use corelane_wire::Instant;
///
/// let started = Instant::from_nanos(1_000);
/// let later = started + Duration::from_micros(2);
/// assert_eq!(later.since(started), Duration::from_nanos(2_000));
/// assert_eq!(started.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The furthest instant: about 584 years after the origin.
    pub const MAX: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self + duration`, or `None` past [`Instant::MAX`].
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Instant> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Instant)
    }
}

/// Saturates at [`Instant::MAX`], so that a deadline beyond it means "never".
impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        self.checked_add(duration).unwrap_or(Instant::MAX)
    }
}
