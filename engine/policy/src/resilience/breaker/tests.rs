//! A breaker's life, told by one core.

use super::*;
use crate::config::CodeSet;
use proptest::prelude::*;

const TOOK: Duration = Duration::from_millis(1);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn breaker(change: impl FnOnce(&mut BreakerConfig)) -> CircuitBreaker {
    let mut config = BreakerConfig {
        window: BreakerWindow::Calls(10),
        minimum_calls: 4,
        open_for: Duration::from_secs(1),
        probes: 2,
        ..BreakerConfig::default()
    };
    change(&mut config);
    CircuitBreaker::new(config).expect("a good config")
}

/// One call, admitted and ended at `now`.
fn call(breaker: &CircuitBreaker, now: Instant, outcome: Outcome) -> Option<BreakerChange> {
    let permit = breaker.try_acquire(now).expect("it lets calls through");
    breaker.record(permit, now, outcome, TOOK)
}

fn open(breaker: &CircuitBreaker, now: Instant) {
    while breaker.state() == BreakerState::Closed {
        call(breaker, now, Outcome::Failure);
    }
}

#[test]
fn it_opens_at_the_failure_rate_once_there_are_enough_calls() {
    let breaker = breaker(|_| ());
    assert_eq!(call(&breaker, at(0), Outcome::Failure), None);
    assert_eq!(call(&breaker, at(0), Outcome::Success), None);
    assert_eq!(call(&breaker, at(0), Outcome::Success), None);
    let change = call(&breaker, at(7), Outcome::Failure).unwrap();
    let expected = BreakerChange {
        from: BreakerState::Closed,
        to: BreakerState::Open,
        cause: BreakerCause::FailureRate,
        at: at(7),
    };
    assert_eq!(change, expected);
    assert_eq!(change.to_string(), "closed -> open: too large a share of calls failed");
}

/// A window of calls that is full is judged, with as many calls as it was given, and with none fewer.
#[test]
fn it_opens_when_a_window_of_calls_is_full_though_no_fewer_are_enough() {
    for size in [1, 10, 20, 33, 1_000] {
        let breaker = breaker(|config| {
            config.window = BreakerWindow::Calls(size);
            config.minimum_calls = size;
        });
        for _ in 1..size {
            assert_eq!(call(&breaker, at(0), Outcome::Failure), None, "{size} calls");
        }
        let change = call(&breaker, at(0), Outcome::Failure).unwrap();
        assert_eq!((change.to, change.cause), (BreakerState::Open, BreakerCause::FailureRate));
    }
}

/// A window that moves on by a slot of several calls holds a few less than its size for a while; it is judged all the same.
#[test]
fn a_window_that_was_full_is_judged_whichever_call_fails() {
    for (size, first) in [(20, Outcome::Success), (20, Outcome::Failure), (1_000, Outcome::Success)] {
        let breaker = breaker(|config| {
            config.window = BreakerWindow::Calls(size);
            config.minimum_calls = size;
        });
        let mut opened_at = None;
        for number in 0..2 * size {
            let failed = (first == Outcome::Failure) == (number % 2 == 0);
            let outcome = if failed { Outcome::Failure } else { Outcome::Success };
            if call(&breaker, at(0), outcome).is_some() {
                opened_at = Some(number);
                break;
            }
        }
        assert!(opened_at.is_some_and(|number| number + 1 >= size), "{opened_at:?} of {size}");
    }
}

#[test]
fn below_the_rate_it_stays_closed() {
    let breaker = breaker(|_| ());
    for _ in 0..100 {
        for outcome in [Outcome::Success, Outcome::Success, Outcome::Failure] {
            assert_eq!(call(&breaker, at(0), outcome), None);
        }
    }
}

#[test]
fn failures_in_a_row_open_it_whatever_the_window_holds_and_a_success_breaks_the_row() {
    let breaker = breaker(|config| {
        config.failure_rate_percent = None;
        config.consecutive_failures = Some(3);
    });
    for outcome in [Outcome::Failure, Outcome::Failure, Outcome::Success, Outcome::Failure, Outcome::Failure]
    {
        assert_eq!(call(&breaker, at(0), outcome), None);
    }
    assert_eq!(call(&breaker, at(0), Outcome::Ignored), None);
    assert_eq!(call(&breaker, at(0), Outcome::Failure).unwrap().cause, BreakerCause::ConsecutiveFailures);
}

#[test]
fn slow_calls_open_it_though_they_succeed() {
    let breaker = breaker(|config| {
        config.slow_calls = Some(SlowCalls { at_least: Duration::from_millis(100), rate_percent: 75 });
    });
    let slow = |took: u64| {
        let permit = breaker.try_acquire(at(0)).unwrap();
        breaker.record(permit, at(0), Outcome::Success, Duration::from_millis(took))
    };
    assert_eq!([slow(99), slow(100), slow(200)], [None; 3]);
    assert_eq!(slow(300).unwrap().cause, BreakerCause::SlowCallRate);
}

#[test]
fn old_failures_leave_a_window_of_time() {
    let breaker = breaker(|config| config.window = BreakerWindow::Time(Duration::from_secs(1)));
    for _ in 0..3 {
        call(&breaker, at(0), Outcome::Failure);
    }
    assert_eq!(breaker.figures(at(500)).failures, 3);
    for _ in 0..3 {
        call(&breaker, at(2_000), Outcome::Success);
    }
    assert_eq!(call(&breaker, at(2_000), Outcome::Failure), None);
}

#[test]
fn an_open_breaker_rejects_and_says_for_how_long() {
    let breaker = breaker(|_| ());
    open(&breaker, at(100));
    let rejected = breaker.try_acquire(at(350)).unwrap_err();
    assert_eq!(rejected.retry_after, Some(Duration::from_millis(750)));
    assert_eq!((rejected.state, rejected.change), (BreakerState::Open, None));
    assert_eq!(breaker.figures(at(350)).rejected, 1);
}

#[test]
fn after_its_time_only_probes_go_out_and_they_close_it() {
    let breaker = breaker(|_| ());
    open(&breaker, at(0));
    let first = breaker.try_acquire(at(1_000)).unwrap();
    let change = first.change().unwrap();
    assert_eq!((change.to, change.cause), (BreakerState::HalfOpen, BreakerCause::OpenForPassed));
    let second = breaker.try_acquire(at(1_000)).unwrap();
    assert_eq!(second.change(), None);
    let rejected = breaker.try_acquire(at(1_000)).unwrap_err();
    assert_eq!((rejected.state, rejected.retry_after), (BreakerState::HalfOpen, None));

    assert_eq!(breaker.record(first, at(1_001), Outcome::Success, TOOK), None);
    assert!(breaker.try_acquire(at(1_001)).is_err(), "a probe that ended leaves no place");
    let change = breaker.record(second, at(1_002), Outcome::Success, TOOK).unwrap();
    assert_eq!((change.to, change.cause), (BreakerState::Closed, BreakerCause::ProbesSucceeded));
    let figures = breaker.figures(at(1_002));
    assert_eq!((figures.calls, figures.failures, figures.changes), (0, 0, 3), "it begins anew");
}

#[test]
fn probes_that_fail_open_it_again_before_the_rest_has_ended() {
    let breaker = breaker(|config| config.probes = 4);
    open(&breaker, at(0));
    let probes: Vec<_> = (0..4).map(|_| breaker.try_acquire(at(1_000)).unwrap()).collect();
    let mut changes =
        probes.into_iter().map(|probe| breaker.record(probe, at(1_100), Outcome::Failure, TOOK));
    assert_eq!(changes.next(), Some(None));
    let change = changes.next().unwrap().unwrap(); // two of four are half
    assert_eq!((change.to, change.cause), (BreakerState::Open, BreakerCause::ProbesFailed));
    assert_eq!(changes.collect::<Vec<_>>(), [None, None], "late probes change nothing");
    assert_eq!(breaker.try_acquire(at(1_200)).unwrap_err().retry_after, Some(Duration::from_millis(900)));
}

#[test]
fn one_failed_probe_of_many_opens_it_again_if_only_rows_of_failures_count() {
    let breaker = breaker(|config| {
        config.failure_rate_percent = None;
        config.consecutive_failures = Some(1);
        config.probes = PROBES_MAX;
    });
    open(&breaker, at(0));
    assert_eq!(call(&breaker, at(1_000), Outcome::Failure).unwrap().cause, BreakerCause::ProbesFailed);
}

#[test]
fn slow_probes_open_it_again() {
    let breaker = breaker(|config| {
        config.slow_calls = Some(SlowCalls { at_least: Duration::from_secs(1), rate_percent: 50 });
    });
    open(&breaker, at(0));
    let probe = breaker.try_acquire(at(1_000)).unwrap();
    let change = breaker.record(probe, at(3_000), Outcome::Success, Duration::from_secs(2)).unwrap();
    assert_eq!(change.cause, BreakerCause::ProbesFailed);
}

#[test]
fn a_probe_that_says_nothing_gives_its_place_back() {
    let breaker = breaker(|config| config.probes = 1);
    open(&breaker, at(0));
    for _ in 0..5 {
        assert_eq!(call(&breaker, at(1_000), Outcome::Ignored), None);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
    assert_eq!(call(&breaker, at(1_000), Outcome::Success).unwrap().to, BreakerState::Closed);
}

#[test]
fn probes_that_never_end_do_not_keep_it_half_open_for_ever() {
    let breaker = breaker(|config| config.probes_within = Duration::from_secs(10));
    open(&breaker, at(0));
    let lost = [breaker.try_acquire(at(1_000)).unwrap(), breaker.try_acquire(at(5_000)).unwrap()];
    assert_eq!(breaker.try_acquire(at(10_999)).unwrap_err().change, None);
    let rejected = breaker.try_acquire(at(11_000)).unwrap_err();
    let change = rejected.change.unwrap();
    assert_eq!((change.from, change.to), (BreakerState::HalfOpen, BreakerState::Open));
    assert_eq!(
        (change.cause, rejected.retry_after),
        (BreakerCause::ProbesLate, Some(Duration::from_secs(1)))
    );

    assert_eq!(breaker.try_acquire(at(12_000)).unwrap().change().unwrap().to, BreakerState::HalfOpen);
    for probe in lost {
        assert_eq!(breaker.record(probe, at(12_000), Outcome::Failure, TOOK), None);
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "of an earlier probing");
}

#[test]
fn a_call_from_before_a_change_is_not_counted_after_it() {
    let breaker = breaker(|config| config.probes = 1);
    let early: Vec<_> = (0..8).map(|_| breaker.try_acquire(at(0)).unwrap()).collect();
    open(&breaker, at(0));
    call(&breaker, at(1_000), Outcome::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
    for permit in early {
        assert_eq!(breaker.record(permit, at(1_001), Outcome::Failure, TOOK), None);
    }
    assert_eq!(breaker.figures(at(1_001)).calls, 0);
}

#[test]
fn a_mode_overrides_and_giving_it_back_begins_anew() {
    let breaker = breaker(|_| ());
    assert_eq!(breaker.set_mode(BreakerMode::Automatic, at(0)), None);
    call(&breaker, at(0), Outcome::Failure);
    let change = breaker.set_mode(BreakerMode::ForcedOpen, at(1)).unwrap();
    assert_eq!((change.to, change.cause), (BreakerState::ForcedOpen, BreakerCause::Mode));
    assert_eq!(breaker.set_mode(BreakerMode::ForcedOpen, at(1)), None);
    assert_eq!(breaker.try_acquire(at(999_999)).unwrap_err().retry_after, None);

    assert_eq!(breaker.set_mode(BreakerMode::Disabled, at(2)).unwrap().from, BreakerState::ForcedOpen);
    for _ in 0..20 {
        assert_eq!(call(&breaker, at(2), Outcome::Failure), None);
    }
    assert_eq!(breaker.set_mode(BreakerMode::Automatic, at(3)).unwrap().to, BreakerState::Closed);
    assert_eq!(breaker.figures(at(3)).calls, 0);
}

#[test]
fn a_breaker_for_slow_calls_alone_needs_no_failure_codes() {
    let breaker = breaker(|config| {
        config.failure_rate_percent = None;
        config.failure_codes = CodeSet::EMPTY;
        config.slow_calls = Some(SlowCalls { at_least: Duration::from_secs(1), rate_percent: 100 });
    });
    for _ in 0..20 {
        assert_eq!(call(&breaker, at(0), Outcome::Failure), None);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Record(usize, Outcome, bool),
    Pass(u64),
    Mode(BreakerMode),
}

fn steps() -> impl Strategy<Value = Step> {
    let outcomes = prop_oneof![Just(Outcome::Success), Just(Outcome::Failure), Just(Outcome::Ignored)];
    let modes = prop_oneof![
        4 => Just(BreakerMode::Automatic), 1 => Just(BreakerMode::ForcedOpen), 1 => Just(BreakerMode::Disabled)
    ];
    prop_oneof![
        8 => Just(Step::Acquire),
        8 => (any::<usize>(), outcomes, any::<bool>()).prop_map(|(which, outcome, slow)| Step::Record(which, outcome, slow)),
        2 => (0_u64..2_000).prop_map(Step::Pass),
        1 => modes.prop_map(Step::Mode),
    ]
}

proptest! {
    /// Whatever happens: every change follows the diagram, begins where the last one ended, and is told once; probes never
    /// exceed their number; and a breaker that decides itself lets a call through again after a while.
    #[test]
    fn every_life_follows_the_diagram(steps in prop::collection::vec(steps(), 0..200), probes in 1_u32..4) {
        let breaker = breaker(|config| {
            config.probes = probes;
            config.consecutive_failures = Some(3);
            config.slow_calls = Some(SlowCalls { at_least: Duration::from_millis(500), rate_percent: 60 });
            config.probes_within = Duration::from_secs(3);
        });
        let (mut now, mut state, mut changes, mut permits) = (0, BreakerState::Closed, 0, Vec::new());
        for step in steps {
            let change = match step {
                Step::Pass(millis) => { now += millis; None }
                Step::Mode(mode) => breaker.set_mode(mode, at(now)),
                Step::Acquire => match breaker.try_acquire(at(now)) {
                    Ok(permit) => { let change = permit.change(); permits.push(permit); change }
                    Err(rejected) => rejected.change,
                },
                Step::Record(..) if permits.is_empty() => None,
                Step::Record(which, outcome, slow) => {
                    let permit = permits.swap_remove(which % permits.len());
                    let took = Duration::from_millis(if slow { 600 } else { 1 });
                    breaker.record(permit, at(now), outcome, took)
                }
            };
            if let Some(change) = change {
                use BreakerState::{Closed, Disabled, ForcedOpen, HalfOpen, Open};
                prop_assert_eq!(change.from, state);
                let allowed = match (change.from, change.to) {
                    (Closed, Open) | (Open, HalfOpen) | (HalfOpen, Open | Closed) => change.cause != BreakerCause::Mode,
                    (ForcedOpen | Disabled, Closed) | (_, ForcedOpen | Disabled) => change.cause == BreakerCause::Mode,
                    _ => false,
                };
                prop_assert!(allowed, "{change}");
                state = change.to;
                changes += 1;
            }
            prop_assert_eq!(breaker.state(), state);
            if let Phase::HalfOpen(counts) = breaker.load().phase() {
                prop_assert!(counts.done <= counts.admitted && counts.admitted <= probes);
                prop_assert!(counts.failed.max(counts.slow) <= counts.done);
            }
        }
        prop_assert_eq!(breaker.figures(at(now)).changes, changes);
        if !matches!(state, BreakerState::ForcedOpen) {
            let passes = |wait: u64| breaker.try_acquire(at(now + wait)).is_ok();
            prop_assert!(passes(0) || passes(5_000) || passes(10_000));
        }
    }
}
