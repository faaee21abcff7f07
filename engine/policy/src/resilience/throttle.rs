//! How much may be retried while a server fails (gRFC A6, "Throttling Retry Attempts and Hedged RPCs").
//!
//! One bucket for each server name, shared by all cores: retries are held back because the *server* suffers, and it
//! suffers from all cores together.
//!
//! Does not: hold back first attempts, wait, or know codes: `retry.rs` and `hedge.rs` say what counts as a failure.
//!
//! Invariant: the count is never above its maximum, and never wraps below 0.
//!
//! Cost: while the bucket is full, which is all the time when calls succeed, a success is a load and no store, so the
//! line stays in every core's cache.

use crossbeam_utils::CachePadded;

use super::atomic::{AtomicU32, Ordering};
use crate::config::RetryThrottling;

/// One token, in the bucket's unit.
const TOKEN: u32 = 1_000;

// Every ordering in this file is Relaxed: the count is all that is shared, nothing else is read because of its value.
// Additions and subtractions are read-modify-writes, so none is lost.

/// What is left of the budget of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// More than half: retries and hedges are sent.
    Left,
    /// Half or less: they are not, until enough calls succeeded.
    Spent,
}

/// The token bucket of one server name.
///
/// ```
/// use corelane_policy::config::RetryThrottling;
/// use corelane_policy::resilience::{Budget, RetryThrottle};
///
/// // Two tokens, and each success gives back a tenth of one.
/// let throttle = RetryThrottle::new(RetryThrottling { max_milli_tokens: 2_000, milli_token_ratio: 100 });
/// assert_eq!(throttle.budget(), Budget::Left);
/// assert_eq!(throttle.on_failure(), Budget::Spent); // one left of two is not more than half
/// throttle.on_success();
/// assert_eq!(throttle.budget(), Budget::Left);
/// ```
#[derive(Debug)]
pub struct RetryThrottle {
    milli_tokens: CachePadded<AtomicU32>,
    config: RetryThrottling,
}

impl RetryThrottle {
    /// A full bucket.
    #[must_use]
    pub fn new(config: RetryThrottling) -> RetryThrottle {
        RetryThrottle { milli_tokens: CachePadded::new(AtomicU32::new(config.max_milli_tokens)), config }
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> RetryThrottling {
        self.config
    }

    /// A call ended with OK.
    pub fn on_success(&self) {
        let max = self.config.max_milli_tokens;
        let mut seen = self.milli_tokens.load(Ordering::Relaxed);
        while seen < max {
            let more = seen.saturating_add(self.config.milli_token_ratio).min(max);
            match self.milli_tokens.compare_exchange_weak(seen, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// An attempt failed with a code that the policy retries (or calls non-fatal), or the server asked not to retry.
    /// Answers what is left after it.
    pub fn on_failure(&self) -> Budget {
        let mut seen = self.milli_tokens.load(Ordering::Relaxed);
        while seen > 0 {
            let less = seen.saturating_sub(TOKEN);
            match self.milli_tokens.compare_exchange_weak(seen, less, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return self.judge(less),
                Err(now) => seen = now,
            }
        }
        self.judge(0)
    }

    /// Whether retries and hedges are sent.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.judge(self.milli_tokens())
    }

    /// Thousandths of a token that are there, for figures.
    #[must_use]
    pub fn milli_tokens(&self) -> u32 {
        self.milli_tokens.load(Ordering::Relaxed)
    }

    fn judge(&self, milli_tokens: u32) -> Budget {
        // Doubled in u64 rather than the maximum halved: half of an odd number is not a whole one.
        if u64::from(milli_tokens) * 2 > u64::from(self.config.max_milli_tokens) {
            Budget::Left
        } else {
            Budget::Spent
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn throttle(max_milli_tokens: u32, milli_token_ratio: u32) -> RetryThrottle {
        RetryThrottle::new(RetryThrottling { max_milli_tokens, milli_token_ratio })
    }

    #[test]
    fn it_starts_full_and_stops_retries_at_half() {
        let throttle = throttle(10_000, 100);
        for left in (6..10).rev() {
            assert_eq!(throttle.on_failure(), Budget::Left);
            assert_eq!(throttle.milli_tokens(), left * 1_000);
        }
        assert_eq!(throttle.on_failure(), Budget::Spent);
        assert_eq!(throttle.milli_tokens(), 5_000);
        throttle.on_success();
        assert_eq!(throttle.budget(), Budget::Left);
    }

    #[test]
    fn an_empty_bucket_owes_nothing() {
        let throttle = throttle(3_000, 1_000);
        (0..10).for_each(|_| _ = throttle.on_failure());
        assert_eq!(throttle.milli_tokens(), 0);
        throttle.on_success();
        assert_eq!((throttle.milli_tokens(), throttle.budget()), (1_000, Budget::Spent));
        throttle.on_success();
        assert_eq!(throttle.budget(), Budget::Left);
    }

    #[test]
    fn a_full_bucket_takes_no_more() {
        let throttle = throttle(1_500, u32::MAX);
        throttle.on_success();
        assert_eq!(throttle.milli_tokens(), 1_500);
        assert_eq!(throttle.on_failure(), Budget::Spent);
        throttle.on_success();
        assert_eq!(throttle.milli_tokens(), 1_500);
    }

    proptest! {
        /// The bucket is what the gRFC's sentences say, in whole numbers.
        #[test]
        fn the_bucket_follows_the_text(max in 1_u32..1_000_000, ratio in 1_u32..5_000, calls in prop::collection::vec(any::<bool>(), 0..200)) {
            let throttle = throttle(max, ratio);
            let mut tokens = i64::from(max);
            for succeeded in calls {
                if succeeded {
                    throttle.on_success();
                    tokens = (tokens + i64::from(ratio)).min(i64::from(max));
                } else {
                    let budget = throttle.on_failure();
                    tokens = (tokens - 1_000).max(0);
                    prop_assert_eq!(budget, throttle.budget());
                }
                prop_assert_eq!(i64::from(throttle.milli_tokens()), tokens);
                prop_assert_eq!(throttle.budget() == Budget::Left, tokens > i64::from(max) / 2);
            }
        }
    }
}
