//! Every interleaving of two cores at what they share: the retry budget, a breaker, the sweep of outliers, a rate limit.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p corelane-policy --release --test loom_resilience`
//!
//! The library itself is built on loom's atomics here (`src/resilience/atomic.rs`), so what runs is what ships.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use corelane_policy::config::RetryThrottling;
use corelane_policy::resilience::{Budget, RetryThrottle};
use loom::sync::Arc;
use loom::thread;

/// Runs both at once, in every order, and gives what they returned.
fn both<A: 'static, B>(first: impl FnOnce() -> A + 'static, second: impl FnOnce() -> B) -> (A, B) {
    let other = thread::spawn(first);
    let mine = second();
    (other.join().unwrap(), mine)
}

#[test]
fn no_failure_of_a_retry_budget_is_lost() {
    loom::model(|| {
        let throttle = Arc::new(RetryThrottle::new(RetryThrottling {
            max_milli_tokens: 3_000,
            milli_token_ratio: 1_000,
        }));
        let shared = throttle.clone();
        let (theirs, mine) = both(move || shared.on_failure(), || throttle.on_failure());
        assert_eq!(throttle.milli_tokens(), 1_000);
        // Two of three are more than half, one is not; and only one of the two can have been the second.
        assert!(matches!((theirs, mine), (Budget::Left, Budget::Spent) | (Budget::Spent, Budget::Left)));
    });
}

#[test]
fn a_success_beside_a_failure_neither_overfills_nor_is_lost() {
    loom::model(|| {
        let throttle =
            Arc::new(RetryThrottle::new(RetryThrottling { max_milli_tokens: 2_000, milli_token_ratio: 500 }));
        let shared = throttle.clone();
        both(move || _ = shared.on_failure(), || throttle.on_success());
        // The success first: it found a full bucket. The failure first: half a token came back.
        assert!(matches!(throttle.milli_tokens(), 1_000 | 1_500));
    });
}
