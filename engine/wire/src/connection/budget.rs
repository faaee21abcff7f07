//! What one peer may cost: every abuse budget of a connection, each with its reason.
//!
//! A budget that runs out ends the connection with ENHANCE_YOUR_CALM (RFC 9113 section 10.5). Output that the peer does not
//! read is bounded elsewhere: [`super::Connection::wants_input`] stops the reading.

use super::{Cause, Config, ConnectionError};
use crate::Instant;

/// Streams that the peer resets while we serve them (CVE-2023-44487 "rapid reset"): twice as many as it may have open, then so many a
/// second for each that it may have open, and one more for each stream that ends in another way. A client whose deadlines pass, or
/// that hedges, resets streams too; ones that live for a tenth of a second each, all of them reset, stay within this.
const RESETS_BURST_MIN: u32 = 200;
const RESETS_BURST_PER_STREAM: u32 = 2;
const RESETS_PER_STREAM_SECOND: u32 = 10;
/// Streams that we reset for the peer's fault (CVE-2025-8671 "made you reset"), ones too many included: nobody honest makes many.
const FAULTS: Rate = Rate { burst: 200, per_second: 33 };
/// SETTINGS frames (CVE-2019-9515): each may touch every stream.
const SETTINGS: Rate = Rate { burst: 100, per_second: 10 };
/// Settings of one frame: there are six, and more that nobody knows do no harm. A window's new size is a step for each stream.
const SETTINGS_ENTRIES_MAX: usize = 32;
/// Empty DATA frames that end nothing (CVE-2019-9518); a DATA frame with payload gives one back.
const EMPTY_DATA_MAX: u32 = 100;
/// CONTINUATION frames a header block may have beyond what its size needs (CVE-2024-27316 and its kin).
pub(super) const CONTINUATIONS_MIN: u32 = 8;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// The unit of time of a bucket, 65,536 ns, as a shift.
const TICK: u32 = 16;

/// How many tokens a bucket holds and earns.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    per_second: u32,
}

impl Rate {
    fn of_resets(config: &Config) -> Rate {
        let streams = config.max_concurrent_streams;
        Rate {
            burst: streams.saturating_mul(RESETS_BURST_PER_STREAM).max(RESETS_BURST_MIN),
            per_second: streams.saturating_mul(RESETS_PER_STREAM_SECOND),
        }
    }
}

/// A bucket of tokens that refills with time. Small, since each idle connection has some.
#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    tokens: u32,
    /// Ticks. They come round after 78 hours; whoever waits for so long may find fewer tokens than it earned.
    refilled: u32,
}

impl TokenBucket {
    fn new(rate: Rate, now: Instant) -> TokenBucket {
        TokenBucket { tokens: rate.burst, refilled: ticks(now) }
    }

    fn take(&mut self, rate: Rate, now: Instant, cause: Cause) -> Result<(), ConnectionError> {
        if self.tokens == 0 {
            self.refill(rate, now);
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(ConnectionError::calm(cause))?;
        Ok(())
    }

    /// Refills lazily, when the bucket is empty: an honest peer never pays for the division.
    fn refill(&mut self, rate: Rate, now: Instant) {
        let per_second = u64::from(rate.per_second);
        let elapsed = u64::from(ticks(now).wrapping_sub(self.refilled)) << TICK;
        let earned = elapsed.saturating_mul(per_second) / NANOS_PER_SECOND;
        // Rounded up, so that no instant pays twice; at most what has elapsed, so it fits.
        let paid = earned.saturating_mul(NANOS_PER_SECOND).div_ceil(per_second << TICK).min(elapsed >> TICK);
        self.refilled = self.refilled.wrapping_add(paid as u32);
        self.earn(earned, rate);
    }

    fn earn(&mut self, tokens: u64, rate: Rate) {
        let all = tokens.saturating_add(u64::from(self.tokens));
        self.tokens = u32::try_from(all).unwrap_or(u32::MAX).min(rate.burst);
    }
}

/// Cut to the bits that a bucket keeps.
fn ticks(now: Instant) -> u32 {
    (now.as_nanos() >> TICK) as u32
}

/// All budgets of one connection.
#[derive(Debug)]
pub(super) struct Budget {
    resets: TokenBucket,
    faults: TokenBucket,
    settings: TokenBucket,
    empty_data: u32,
    /// Streams that have ended as the peer's fault or wish.
    bad_ends: u64,
    /// How many of those that ended otherwise were given back to `resets`.
    given_back: u64,
}

impl Budget {
    pub(super) fn new(config: &Config, now: Instant) -> Budget {
        Budget {
            resets: TokenBucket::new(Rate::of_resets(config), now),
            faults: TokenBucket::new(FAULTS, now),
            settings: TokenBucket::new(SETTINGS, now),
            empty_data: 0,
            bad_ends: 0,
            given_back: 0,
        }
    }

    /// The peer has ended, before its time, a stream that it had opened.
    pub(super) fn bad_end(&mut self) {
        self.bad_ends += 1;
    }

    /// RST_STREAM arrived, when so many streams had ended.
    pub(super) fn reset(&mut self, config: &Config, now: Instant, ended: u64) -> Result<(), ConnectionError> {
        let rate = Rate::of_resets(config);
        if self.resets.tokens == 0 {
            let good = ended.saturating_sub(self.bad_ends);
            self.resets.earn(good.saturating_sub(self.given_back), rate);
            self.given_back = self.given_back.max(good);
        }
        self.resets.take(rate, now, Cause::Resets)
    }

    /// A stream was reset for the peer's fault.
    pub(super) fn fault(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.bad_end();
        self.faults.take(FAULTS, now, Cause::Faults)
    }

    /// A SETTINGS frame arrived that has so many entries.
    pub(super) fn settings(&mut self, now: Instant, entries: usize) -> Result<(), ConnectionError> {
        if entries > SETTINGS_ENTRIES_MAX {
            return Err(ConnectionError::calm(Cause::Settings));
        }
        self.settings.take(SETTINGS, now, Cause::Settings)
    }

    /// A DATA frame arrived that does not end its stream.
    #[inline]
    pub(super) fn data(&mut self, payload_len: usize) -> Result<(), ConnectionError> {
        if payload_len > 0 {
            self.empty_data = self.empty_data.saturating_sub(1);
            return Ok(());
        }
        self.empty_data += 1;
        if self.empty_data > EMPTY_DATA_MAX { Err(ConnectionError::calm(Cause::EmptyData)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const CALM: fn(Cause) -> Result<(), ConnectionError> = |cause| Err(ConnectionError::calm(cause));

    #[test]
    fn faults_run_out_and_come_back_with_time() {
        let start = Instant::from_nanos(5);
        let mut budget = Budget::new(&Config::default(), start);
        for _ in 0..FAULTS.burst {
            budget.fault(start).expect("within the burst");
        }
        assert_eq!(budget.fault(start), CALM(Cause::Faults));
        let later = start + Duration::from_millis(1_001);
        for _ in 0..FAULTS.per_second {
            budget.fault(later).expect("earned in a second");
        }
        assert_eq!(budget.fault(later), CALM(Cause::Faults));
    }

    #[test]
    fn what_a_wait_earns_is_not_rounded_away() {
        let mut now = Instant::default();
        let mut budget = Budget::new(&Config::default(), now);
        (0..FAULTS.burst).for_each(|_| budget.fault(now).expect("within the burst"));
        let mut earned = 0;
        for _ in 0..10_000 {
            now = now + Duration::from_millis(1);
            earned += u32::from(budget.fault(now).is_ok());
        }
        assert_eq!(earned, 329, "33 a second, but for what the unit of time takes");
    }

    #[test]
    fn no_instant_pays_twice() {
        let config = Config { max_concurrent_streams: 5_000, ..Config::default() };
        let (mut now, mut earned) = (Instant::default(), 0);
        let mut budget = Budget::new(&config, now);
        (0..10_000).for_each(|_| budget.reset(&config, now, 0).expect("within the burst"));
        for _ in 0..1_000 {
            now = now + Duration::from_micros(30);
            while budget.reset(&config, now, 0).is_ok() {
                earned += 1;
            }
        }
        assert!((1_300..=1_500).contains(&earned), "{earned} in 30 ms at 50,000 a second");
    }

    #[test]
    fn resets_come_back_with_time_and_with_streams_that_end_well() {
        let config = Config { max_concurrent_streams: 150, ..Config::default() };
        let now = Instant::from_nanos(5);
        let mut budget = Budget::new(&config, now);
        let mut ended = 0;
        let mut reset = |budget: &mut Budget, now, good: u64| {
            ended += 1 + good;
            budget.bad_end();
            budget.reset(&config, now, ended)
        };
        for _ in 0..300 {
            reset(&mut budget, now, 0).expect("within the burst");
        }
        assert_eq!(reset(&mut budget, now, 0), CALM(Cause::Resets));
        for _ in 0..10_000 {
            reset(&mut budget, now, 1).expect("a good one for each");
        }
        assert_eq!(reset(&mut budget, now, 0), CALM(Cause::Resets));
        let later = now + Duration::from_micros(100_060); // whole ticks of it
        for _ in 0..150 {
            reset(&mut budget, later, 0).expect("each stream once in a tenth of a second");
        }
        assert_eq!(reset(&mut budget, later, 0), CALM(Cause::Resets));
        // However many ended well before: no more than the burst.
        reset(&mut budget, later, 1_000_000).expect("there are good ones");
        for _ in 1..300 {
            reset(&mut budget, later, 0).expect("within the burst");
        }
        assert_eq!(reset(&mut budget, later, 0), CALM(Cause::Resets));
    }

    #[test]
    fn settings_run_out() {
        let mut budget = Budget::new(&Config::default(), Instant::default());
        for _ in 0..SETTINGS.burst {
            budget.settings(Instant::default(), SETTINGS_ENTRIES_MAX).expect("within the burst");
        }
        assert_eq!(budget.settings(Instant::default(), 0), CALM(Cause::Settings));
    }

    #[test]
    fn empty_data_frames_are_paid_back_by_full_ones() {
        let mut budget = Budget::new(&Config::default(), Instant::default());
        for _ in 0..1_000 {
            budget.data(0).expect("each is paid back");
            budget.data(5).expect("carries something");
        }
        for _ in 0..EMPTY_DATA_MAX {
            budget.data(0).expect("within the budget");
        }
        assert_eq!(budget.data(0), CALM(Cause::EmptyData));
    }
}
