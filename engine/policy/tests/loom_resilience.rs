//! Every interleaving of two cores at what they share: the retry budget, a breaker, the sweep of outliers, a rate limit.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p corelane-policy --test loom_resilience`
//!
//! The library itself is built on loom's atomics here (`src/resilience/atomic.rs`), so what runs is what ships.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use corelane_policy::config::{FailurePercentage, OutlierDetectionConfig, RetryThrottling};
use corelane_policy::resilience::{
    BreakerChange, BreakerConfig, BreakerMode, BreakerState, BreakerWindow, Budget, CircuitBreaker, Ejection,
    Outcome, OutlierDetector, OutlierEndpoint, RateLimit, RateLimitConfig, RetryThrottle,
};
use corelane_wire::Instant;
use loom::sync::Arc;
use loom::thread;
use std::time::Duration;

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

/// A breaker that opens after `failures` in a row for a second, and lets `probes` through then.
fn breaker(failures: u32, probes: u32) -> Arc<CircuitBreaker> {
    Arc::new(
        CircuitBreaker::new(BreakerConfig {
            consecutive_failures: Some(failures),
            failure_rate_percent: None,
            probes,
            open_for: Duration::from_secs(1),
            ..BreakerConfig::default()
        })
        .unwrap(),
    )
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn call(breaker: &CircuitBreaker, now: Instant, outcome: Outcome) -> Option<BreakerChange> {
    let permit = breaker.try_acquire(now).ok()?;
    breaker.record(permit, now, outcome, Duration::ZERO)
}

#[test]
fn failures_of_two_cores_open_a_breaker_once() {
    loom::model(|| {
        let breaker = breaker(2, 1);
        let shared = breaker.clone();
        let (theirs, mine) =
            both(move || call(&shared, at(0), Outcome::Failure), || call(&breaker, at(0), Outcome::Failure));
        assert!(theirs.is_some() != mine.is_some(), "exactly one of them is told");
        assert_eq!(breaker.state(), BreakerState::Open);
    });
}

/// Both find it open and its time over. Were the time of probing not published with the word, one of them could see it
/// half-open since the origin, and open it again at once.
#[test]
fn one_probe_goes_out_though_two_cores_ask() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        call(&breaker, at(50), Outcome::Failure).unwrap();
        let shared = breaker.clone();
        let (theirs, mine) = both(move || shared.try_acquire(at(60)), || breaker.try_acquire(at(60)));
        let (permit, rejected) = match (theirs, mine) {
            (Ok(permit), Err(rejected)) | (Err(rejected), Ok(permit)) => (permit, rejected),
            other => panic!("{other:?}"),
        };
        assert_eq!(permit.change().unwrap().to, BreakerState::HalfOpen);
        assert_eq!((rejected.state, rejected.change), (BreakerState::HalfOpen, None));
    });
}

#[test]
fn probes_of_two_cores_decide_once() {
    for (outcome, state) in [(Outcome::Success, BreakerState::Closed), (Outcome::Failure, BreakerState::Open)]
    {
        loom::model(move || {
            let breaker = breaker(1, 2);
            call(&breaker, at(0), Outcome::Failure).unwrap();
            let probes = [breaker.try_acquire(at(1)).unwrap(), breaker.try_acquire(at(1)).unwrap()];
            let [first, second] = probes;
            let shared = breaker.clone();
            let (theirs, mine) = both(
                move || shared.record(first, at(1), outcome, Duration::ZERO),
                || breaker.record(second, at(1), outcome, Duration::ZERO),
            );
            assert!(theirs.is_some() != mine.is_some());
            assert_eq!(breaker.state(), state);
            assert_eq!(breaker.figures(at(1)).changes, 3);
        });
    }
}

/// A failure that opens it and a mode that is set, in any order: each change is told, and none twice.
#[test]
fn a_mode_set_beside_a_call_wins_in_the_end() {
    loom::model(|| {
        let breaker = breaker(1, 1);
        let shared = breaker.clone();
        let (theirs, mine) = both(
            move || call(&shared, at(0), Outcome::Failure),
            || breaker.set_mode(BreakerMode::ForcedOpen, at(0)),
        );
        assert_eq!(mine.unwrap().to, BreakerState::ForcedOpen);
        assert_eq!(breaker.state(), BreakerState::ForcedOpen);
        let told = u64::from(theirs.is_some()) + 1;
        assert_eq!(breaker.figures(at(0)).changes, told);
    });
}

/// The window's words are shared by additions alone: no call is lost, and a bucket that starts anew starts once.
#[test]
fn no_call_of_a_window_is_lost() {
    loom::model(|| {
        let config =
            BreakerConfig { window: BreakerWindow::Time(Duration::from_secs(1)), ..BreakerConfig::default() };
        let breaker = Arc::new(CircuitBreaker::new(config).unwrap());
        call(&breaker, at(0), Outcome::Failure);
        let shared = breaker.clone();
        both(
            move || call(&shared, at(1_000), Outcome::Failure),
            || call(&breaker, at(1_000), Outcome::Success),
        );
        let figures = breaker.figures(at(1_000));
        assert_eq!((figures.calls, figures.failures), (2, 1));
    });
}

/// Both find the slot of the call before full, and go on to the next.
#[test]
fn no_call_of_a_window_of_calls_is_lost() {
    loom::model(|| {
        let config =
            BreakerConfig { window: BreakerWindow::Calls(4), minimum_calls: 4, ..BreakerConfig::default() };
        let breaker = Arc::new(CircuitBreaker::new(config).unwrap());
        call(&breaker, at(0), Outcome::Failure);
        let shared = breaker.clone();
        both(move || call(&shared, at(0), Outcome::Failure), || call(&breaker, at(0), Outcome::Success));
        let figures = breaker.figures(at(0));
        assert_eq!((figures.calls, figures.failures), (3, 2));
    });
}

/// One endpoint that failed, swept at ten seconds by one core and at twenty by another.
#[test]
fn sweeps_come_one_after_the_other_and_see_each_other() {
    loom::model(|| {
        let rule = FailurePercentage {
            threshold: 50,
            enforcement_percentage: 100,
            minimum_hosts: 1,
            request_volume: 1,
        };
        let config = OutlierDetectionConfig {
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(5),
            max_ejection_time: Duration::from_secs(5),
            max_ejection_percent: 100,
            success_rate: None,
            failure_percentage: Some(rule),
        };
        let shared = Arc::new((OutlierDetector::new(config, at(0)), [OutlierEndpoint::new()]));
        shared.1[0].record(Outcome::Failure);
        let sweep = |shared: &(OutlierDetector, [OutlierEndpoint; 1]), seconds| {
            shared.0.sweep(at(seconds), &shared.1, &mut fastrand::Rng::with_seed(0))
        };
        let other = shared.clone();
        // The late one on the other thread: loom looks at fewer orders the other way round, and misses the one that matters.
        let (late, early) = both(move || sweep(&other, 20), || sweep(&shared, 10));
        let late_swept = shared.0.next_sweep() == Some(at(30));
        match (&early[..], &late[..]) {
            ([Ejection::Ejected(0)], [Ejection::Returned(0)]) | ([], [Ejection::Ejected(0)]) => {
                assert!(late_swept)
            }
            // The late one found the early one at work.
            ([Ejection::Ejected(0)], []) => assert!(!late_swept),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn two_cores_together_get_a_burst_and_no_more() {
    for (burst, passed) in [(1, 1), (2, 2)] {
        loom::model(move || {
            let limit = Arc::new(RateLimit::new(RateLimitConfig::per_second(1, burst)).unwrap());
            let shared = limit.clone();
            let (theirs, mine) = both(move || shared.check(at(7)), || limit.check(at(7)));
            assert_eq!(usize::from(theirs.is_ok()) + usize::from(mine.is_ok()), passed);
            assert_eq!(limit.check(at(7)), Err(Duration::from_secs(1)));
        });
    }
}
