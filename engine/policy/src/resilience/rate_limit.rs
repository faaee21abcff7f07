//! So many calls a second, of all cores together: the generic cell rate algorithm.
//!
//! One number says when the next call would be on time if calls came evenly. Each call that goes out moves it on by the time that one
//! call may take; a call is refused if that would put it further ahead of now than a burst allows. It is the leaky
//! bucket (ITU-T I.371) without a task that leaks.
//!
//! Does not: queue, wait, or tell keys apart.
//!
//! Invariant: in any span of time at most `burst` calls go out and as many more as the rate gives for it, whatever the
//! cores do at once. A clock that is behind another core's only refuses more.
//!
//! Cost: a compare-and-swap on a line that all cores write. That is what one limit for all of them costs; it is off unless
//! asked for.

use std::fmt;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use corelane_wire::Instant;

use super::atomic::{AtomicU64, Ordering};

/// A rate, and how far it may be exceeded for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// So many calls …
    pub calls: u32,
    /// … in so long.
    pub per: Duration,
    /// So many may go out at once after a pause. At least 1.
    pub burst: u32,
}

impl RateLimitConfig {
    /// So many calls a second, of which at most `burst` at once.
    #[must_use]
    pub const fn per_second(calls: u32, burst: u32) -> RateLimitConfig {
        RateLimitConfig { calls, per: Duration::from_secs(1), burst }
    }
}

/// What is wrong with a [`RateLimitConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitError {
    /// `calls` is 0.
    NoCalls,
    /// `burst` is 0.
    NoBurst,
    /// More than one call in a nanosecond.
    TooFast,
    /// `burst` calls at this rate take more than a century.
    TooSlow,
}

impl fmt::Display for RateLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RateLimitError::NoCalls => "rate limit: calls is 0, so none would ever go out; give at least 1",
            RateLimitError::NoBurst => "rate limit: burst is 0, so none would ever go out; give at least 1",
            RateLimitError::TooFast => {
                "rate limit: more than one call in a nanosecond; lower calls or leave the limit out"
            }
            RateLimitError::TooSlow => {
                "rate limit: a burst would take more than a century; lower burst or per"
            }
        })
    }
}

impl std::error::Error for RateLimitError {}

/// A hundred years: far enough below the clock's 584 that sums do not saturate.
const CENTURY_NS: u64 = 100 * 365 * 24 * 3_600 * 1_000_000_000;

/// The limit.
///
/// ```
/// use corelane_policy::resilience::{RateLimit, RateLimitConfig};
/// use corelane_wire::Instant;
/// use std::time::Duration;
///
/// let limit = RateLimit::new(RateLimitConfig::per_second(10, 2))?;
/// let now = Instant::from_nanos(0);
/// assert!(limit.check(now).is_ok() && limit.check(now).is_ok());
/// assert_eq!(limit.check(now), Err(Duration::from_millis(100)));
/// assert!(limit.check(now + Duration::from_millis(100)).is_ok());
/// # Ok::<(), corelane_policy::resilience::RateLimitError>(())
/// ```
#[derive(Debug)]
pub struct RateLimit {
    /// When the next call would be on time (the algorithm's TAT), in nanoseconds.
    on_time: CachePadded<AtomicU64>,
    /// How long one call may take, rounded up: never more than asked for.
    each: u64,
    /// How far ahead of now `on_time` may be after a call.
    ahead_max: u64,
}

impl RateLimit {
    /// A limit that has not been used: a whole burst may go out.
    ///
    /// # Errors
    /// If a number makes no sense.
    pub fn new(config: RateLimitConfig) -> Result<RateLimit, RateLimitError> {
        if config.calls == 0 {
            return Err(RateLimitError::NoCalls);
        }
        if config.burst == 0 {
            return Err(RateLimitError::NoBurst);
        }
        let per = config.per.as_nanos();
        if per < u128::from(config.calls) {
            return Err(RateLimitError::TooFast);
        }
        let each = per.div_ceil(u128::from(config.calls));
        let ahead_max = each.saturating_mul(u128::from(config.burst));
        match (u64::try_from(each), u64::try_from(ahead_max)) {
            (Ok(each), Ok(ahead_max)) if ahead_max <= CENTURY_NS => {
                Ok(RateLimit { on_time: CachePadded::new(AtomicU64::new(0)), each, ahead_max })
            }
            _ => Err(RateLimitError::TooSlow),
        }
    }

    /// Lets one call out, or not.
    ///
    /// # Errors
    /// After how long it would be let out, if no other comes before it.
    pub fn check(&self, now: Instant) -> Result<(), Duration> {
        // Relaxed, all three: the number is all that is shared, and the exchange makes each step from the number it saw.
        let now = now.as_nanos();
        let mut on_time = self.on_time.load(Ordering::Relaxed);
        loop {
            let after = on_time.max(now).saturating_add(self.each);
            let ahead = after - now.min(after);
            if ahead > self.ahead_max {
                return Err(Duration::from_nanos(ahead - self.ahead_max));
            }
            match self.on_time.compare_exchange_weak(on_time, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => on_time = seen,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_burst_goes_out_and_then_one_for_each_interval() {
        let limit = RateLimit::new(RateLimitConfig::per_second(1_000, 3)).unwrap();
        let start = 5_000_000_000;
        let waits = [0, 0, 0, 0, 999_999, 1_000_000, 1_000_000].map(|after| limit.check(at(start + after)));
        let millisecond = Err(Duration::from_millis(1));
        let expected =
            [Ok(()), Ok(()), Ok(()), millisecond, Err(Duration::from_nanos(1)), Ok(()), millisecond];
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_pause_saves_no_more_than_a_burst() {
        let limit = RateLimit::new(RateLimitConfig::per_second(10, 2)).unwrap();
        let later = at(3_600_000_000_000);
        assert!(limit.check(later).is_ok() && limit.check(later).is_ok() && limit.check(later).is_err());
    }

    #[test]
    fn a_refused_call_costs_nothing() {
        let limit = RateLimit::new(RateLimitConfig::per_second(1, 1)).unwrap();
        assert!(limit.check(at(0)).is_ok());
        assert!((0..1_000).all(|_| limit.check(at(1)).is_err()));
        assert!(limit.check(at(1_000_000_000)).is_ok());
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        let refused = |calls, per, burst| RateLimit::new(RateLimitConfig { calls, per, burst }).unwrap_err();
        let second = Duration::from_secs(1);
        assert_eq!(refused(0, second, 1), RateLimitError::NoCalls);
        assert_eq!(refused(1, second, 0), RateLimitError::NoBurst);
        assert_eq!(refused(2, Duration::from_nanos(1), 1), RateLimitError::TooFast);
        assert_eq!(refused(1, Duration::ZERO, 1), RateLimitError::TooFast);
        assert_eq!(refused(1, Duration::MAX, u32::MAX), RateLimitError::TooSlow);
        assert!(RateLimitError::TooFast.to_string().contains("lower calls"));
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        let limit = RateLimit::new(RateLimitConfig::per_second(1, 1)).unwrap();
        let _ = limit.check(Instant::MAX);
        assert!(limit.check(at(0)).is_err());
    }

    proptest! {
        /// In any span at most the burst and what the rate gives for the span's length; and who waits as told is let out.
        #[test]
        fn no_span_has_more_than_the_rate_and_a_burst(
            calls in 1_u32..5_000, burst in 1_u32..20, gaps in prop::collection::vec(0_u64..3_000_000, 1..300)
        ) {
            let limit = RateLimit::new(RateLimitConfig::per_second(calls, burst)).unwrap();
            let (mut now, mut passed) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                match limit.check(at(now)) {
                    Ok(()) => passed.push(now),
                    Err(wait) if gap % 3 == 0 => {
                        now += u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert_eq!(limit.check(at(now)), Ok(()));
                        passed.push(now);
                    }
                    Err(_) => {}
                }
            }
            for (first, start) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let by_rate = (end - start) / 1_000_000_000_u64.div_ceil(u64::from(calls));
                    prop_assert!((last - first + 1) as u64 <= u64::from(burst) + by_rate);
                }
            }
        }
    }
}
