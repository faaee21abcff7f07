//! What one peer may cost: every abuse budget of a connection, each with its reason.
//!
//! A budget that runs out ends the connection with ENHANCE_YOUR_CALM (RFC 9113 section 10.5). Output that the peer does not
//! read is bounded elsewhere: [`super::Connection::wants_input`] stops the reading.

use crate::Instant;

/// Streams reset by either side: the burst, then a rate (CVE-2023-44487 "rapid reset", CVE-2025-8671 "made you reset").
const RESETS_BURST: u32 = 200;
const RESETS_PER_SECOND: u32 = 33;
/// SETTINGS frames (CVE-2019-9515): each may touch every stream.
const SETTINGS_BURST: u32 = 100;
const SETTINGS_PER_SECOND: u32 = 10;
/// Empty DATA frames that end nothing (CVE-2019-9518); a DATA frame with payload gives one back.
const EMPTY_DATA_MAX: u32 = 100;
/// CONTINUATION frames a header block may have beyond what its size needs (CVE-2024-27316 and its kin).
pub(super) const CONTINUATIONS_MIN: u32 = 8;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// A bucket of tokens that refills with time, up to its burst.
#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    tokens: u32,
    burst: u32,
    per_second: u32,
    refilled: Instant,
}

impl TokenBucket {
    const fn new(burst: u32, per_second: u32, now: Instant) -> TokenBucket {
        TokenBucket { tokens: burst, burst, per_second, refilled: now }
    }

    fn take(&mut self, now: Instant) -> Result<(), Exhausted> {
        if self.tokens == 0 {
            self.refill(now);
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(Exhausted)?;
        Ok(())
    }

    /// Refills lazily, when the bucket is empty: an honest peer never pays for the division.
    fn refill(&mut self, now: Instant) {
        let interval = NANOS_PER_SECOND / u64::from(self.per_second);
        let elapsed = now.as_nanos().saturating_sub(self.refilled.as_nanos());
        let earned = elapsed / interval;
        self.tokens = u32::try_from(earned).unwrap_or(u32::MAX).min(self.burst);
        self.refilled = Instant::from_nanos(self.refilled.as_nanos() + earned * interval);
    }
}

/// All budgets of one connection.
#[derive(Debug)]
pub(super) struct Budget {
    resets: TokenBucket,
    settings: TokenBucket,
    empty_data: u32,
}

impl Budget {
    pub(super) const fn new(now: Instant) -> Budget {
        Budget {
            resets: TokenBucket::new(RESETS_BURST, RESETS_PER_SECOND, now),
            settings: TokenBucket::new(SETTINGS_BURST, SETTINGS_PER_SECOND, now),
            empty_data: 0,
        }
    }

    /// A stream was reset by the peer, or by us for the peer's fault.
    pub(super) fn reset(&mut self, now: Instant) -> Result<(), Exhausted> {
        self.resets.take(now)
    }

    /// A SETTINGS frame arrived.
    pub(super) fn settings(&mut self, now: Instant) -> Result<(), Exhausted> {
        self.settings.take(now)
    }

    /// A DATA frame arrived that does not end its stream.
    #[inline]
    pub(super) fn data(&mut self, payload_len: usize) -> Result<(), Exhausted> {
        if payload_len > 0 {
            self.empty_data = self.empty_data.saturating_sub(1);
            return Ok(());
        }
        self.empty_data += 1;
        if self.empty_data > EMPTY_DATA_MAX { Err(Exhausted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn resets_run_out_and_come_back_with_time() {
        let start = Instant::from_nanos(5);
        let mut budget = Budget::new(start);
        for _ in 0..RESETS_BURST {
            budget.reset(start).expect("within the burst");
        }
        assert_eq!(budget.reset(start), Err(Exhausted));
        let later = start + Duration::from_secs(1);
        for _ in 0..RESETS_PER_SECOND {
            budget.reset(later).expect("earned in a second");
        }
        assert_eq!(budget.reset(later), Err(Exhausted));
    }

    #[test]
    fn empty_data_frames_are_paid_back_by_full_ones() {
        let mut budget = Budget::new(Instant::default());
        for _ in 0..1_000 {
            budget.data(0).expect("each is paid back");
            budget.data(5).expect("carries something");
        }
        for _ in 0..EMPTY_DATA_MAX {
            budget.data(0).expect("within the budget");
        }
        assert_eq!(budget.data(0), Err(Exhausted));
    }
}
