//! Whether one call is tried again, and when (gRFC A6).
//!
//! Does not: send, wait, buffer, or know the deadline: whoever acts on [`Decision::Retry`] compares `after` with what is left.
//!
//! Invariant: an attempt that a handler may have seen is repeated only if a policy names its code, or gave it a time of its own
//! that is over; attempts that are counted are at most [`ATTEMPTS_MAX`].
//!
//! The back-off is the one of the gRFC as amended, "Jitter of plus or minus 0.2": retry n waits
//! `min(initialBackoff * backoffMultiplier^(n-1), maxBackoff) * random(0.8, 1.2)`, where the first version had
//! `random(0, …)`.

use std::time::Duration;

use fastrand::Rng;

use super::attempt::{ATTEMPTS_MAX, Committed, Failure, Stop, Transparent, previous_attempts_value};
use super::pushback::Pushback;
use super::scale;
use super::throttle::{Budget, RetryThrottle};
use crate::config::RetryPolicy;

/// The share by which a back-off is longer or shorter (gRFC A6).
const JITTER: f64 = 0.2;

/// What follows a failed attempt.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One more attempt, this long from now; it is counted already.
    Retry {
        /// Back-off, or what the server asked for.
        after: Duration,
    },
    /// Again at once: no handler saw it. Not counted, and not a failure for the throttle.
    TransparentRetry,
    /// The status goes to the caller.
    Fail(Stop),
}

/// The retries of one call.
///
/// ```
/// use corelane_policy::config::RetryPolicy;
/// use corelane_policy::resilience::{Committed, Decision, Failure, OwnTime, Reach, RetryState, Stop};
/// use corelane_wire::grpc::Code;
/// use std::time::Duration;
///
/// let policy = RetryPolicy {
///     max_attempts: 2,
///     initial_backoff: Duration::from_millis(100),
///     max_backoff: Duration::from_secs(1),
///     backoff_multiplier: 2.0,
///     retryable: [Code::Unavailable].into_iter().collect(),
///     per_attempt_recv_timeout: None,
/// };
/// let failure = Failure {
///     code: Code::Unavailable,
///     pushback: None,
///     reach: Reach::MaybeExecuted,
///     committed: Committed::No,
///     own_time: OwnTime::Left,
/// };
/// let (mut call, mut rng) = (RetryState::new(), fastrand::Rng::with_seed(1));
/// assert_eq!(call.previous_attempts(), None);
/// let Decision::Retry { after } = call.on_attempt_failed(&failure, Some(&policy), None, &mut rng) else { panic!() };
/// assert!((80..=120).contains(&after.as_millis()));
/// assert_eq!(call.previous_attempts(), Some("1")); // of grpc-previous-rpc-attempts
/// assert_eq!(call.on_attempt_failed(&failure, Some(&policy), None, &mut rng), Decision::Fail(Stop::Attempts));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RetryState {
    /// Retries that were decided upon; transparent ones are not among them.
    retries: u32,
    /// The retries since the server last asked for a delay: the back-off's exponent.
    backoffs: u32,
    transparent: Transparent,
}

impl RetryState {
    /// A call whose first attempt is under way.
    #[must_use]
    pub fn new() -> RetryState {
        RetryState::default()
    }

    /// Decides after an attempt failed, and tells `throttle` if the failure counts. A call that succeeds tells
    /// it itself ([`RetryThrottle::on_success`]).
    pub fn on_attempt_failed(
        &mut self,
        failure: &Failure,
        policy: Option<&RetryPolicy>,
        throttle: Option<&RetryThrottle>,
        rng: &mut Rng,
    ) -> Decision {
        if self.transparent.allows(failure) {
            return Decision::TransparentRetry;
        }
        // Whether or not a retry could follow: gRFC A6 has every call that a server fails take a token, and one that answers with a
        // head first is no better off.
        let budget = failure.charge(throttle, policy.map(|policy| &policy.retryable));
        match self.permitted(failure, policy, budget) {
            Err(stop) => Decision::Fail(stop),
            Ok(policy) => Decision::Retry { after: self.count_retry(failure.pushback, policy, rng) },
        }
    }

    /// The value of [`PREVIOUS_ATTEMPTS_NAME`](super::PREVIOUS_ATTEMPTS_NAME) for the attempt to be sent; the first
    /// has none.
    #[must_use]
    pub fn previous_attempts(&self) -> Option<&'static str> {
        previous_attempts_value(self.retries)
    }

    /// Attempts so far, the first included and transparent ones not.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.retries + 1
    }

    fn permitted<'p>(
        &self,
        failure: &Failure,
        policy: Option<&'p RetryPolicy>,
        budget: Budget,
    ) -> Result<&'p RetryPolicy, Stop> {
        if failure.committed == Committed::Yes {
            return Err(Stop::Committed);
        }
        if failure.pushback == Some(Pushback::Never) {
            return Err(Stop::Pushback);
        }
        let policy = policy.ok_or(Stop::NoPolicy)?;
        if !failure.is_meant_by(&policy.retryable) {
            return Err(Stop::Code);
        }
        if budget == Budget::Spent {
            return Err(Stop::Throttled);
        }
        if self.attempts() >= policy.max_attempts.min(ATTEMPTS_MAX) {
            return Err(Stop::Attempts);
        }
        Ok(policy)
    }

    fn count_retry(&mut self, pushback: Option<Pushback>, policy: &RetryPolicy, rng: &mut Rng) -> Duration {
        self.retries += 1;
        if let Some(Pushback::After(delay)) = pushback {
            // "the delay period will be reset to the initialBackoff setting" for the retries that follow.
            self.backoffs = 0;
            return delay;
        }
        let exponent = i32::try_from(self.backoffs).expect("at most five attempts");
        self.backoffs += 1;
        let bound = scale::times(policy.initial_backoff, policy.backoff_multiplier.powi(exponent));
        scale::jittered(bound.min(policy.max_backoff), JITTER, rng)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::attempt::{OwnTime, Reach};
    use super::*;
    use crate::config::{CodeSet, RetryThrottling};
    use corelane_wire::grpc::Code;

    fn policy(max_attempts: u32) -> RetryPolicy {
        RetryPolicy {
            max_attempts,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(350),
            backoff_multiplier: 2.0,
            retryable: [Code::Unavailable].into_iter().collect(),
            per_attempt_recv_timeout: None,
        }
    }

    fn failure(code: Code) -> Failure {
        let (reach, committed, own_time) = (Reach::MaybeExecuted, Committed::No, OwnTime::Left);
        Failure { code, pushback: None, reach, committed, own_time }
    }

    fn throttle(tokens: u32) -> RetryThrottle {
        RetryThrottle::new(RetryThrottling { max_milli_tokens: tokens * 1_000, milli_token_ratio: 100 })
    }

    /// The decision, with the delay's milliseconds instead of a duration.
    fn retried(decision: Decision) -> u128 {
        match decision {
            Decision::Retry { after } => after.as_millis(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn back_offs_grow_to_the_maximum_with_a_fifth_of_jitter() {
        for seed in 0..200 {
            let (mut call, mut rng) = (RetryState::new(), Rng::with_seed(seed));
            for bounds in [80..=120, 160..=240, 280..=420, 280..=420] {
                let decision =
                    call.on_attempt_failed(&failure(Code::Unavailable), Some(&policy(5)), None, &mut rng);
                assert!(bounds.contains(&retried(decision)), "{decision:?}");
            }
        }
    }

    #[test]
    fn attempts_end_at_the_policys_number_and_never_pass_five() {
        for (max_attempts, retries) in [(2, 1), (4, 3), (5, 4), (6, 4), (u32::MAX, 4)] {
            let (mut call, mut rng) = (RetryState::new(), Rng::with_seed(0));
            let mut fail = || {
                call.on_attempt_failed(
                    &failure(Code::Unavailable),
                    Some(&policy(max_attempts)),
                    None,
                    &mut rng,
                )
            };
            assert!((0..retries).all(|_| matches!(fail(), Decision::Retry { .. })));
            assert_eq!(fail(), Decision::Fail(Stop::Attempts));
            assert_eq!(call.attempts(), retries + 1);
        }
    }

    #[test]
    fn what_may_have_run_is_not_retried_unless_the_policy_names_the_code() {
        let (mut call, mut rng) = (RetryState::new(), Rng::with_seed(0));
        for code in Code::ALL.into_iter().filter(|code| *code != Code::Unavailable) {
            let decision = call.on_attempt_failed(&failure(code), Some(&policy(5)), None, &mut rng);
            assert_eq!(decision, Decision::Fail(Stop::Code));
            assert_eq!(
                call.on_attempt_failed(&failure(code), None, None, &mut rng),
                Decision::Fail(Stop::NoPolicy)
            );
        }
    }

    /// The policy of a service config that sets `perAttemptRecvTimeout` and names no code.
    fn impatient(max_attempts: u32) -> RetryPolicy {
        let timeout = Some(Duration::from_millis(20));
        RetryPolicy { retryable: CodeSet::EMPTY, per_attempt_recv_timeout: timeout, ..policy(max_attempts) }
    }

    fn too_late() -> Failure {
        Failure { own_time: OwnTime::Over, ..failure(Code::DeadlineExceeded) }
    }

    #[test]
    fn an_attempt_that_ran_out_of_its_own_time_is_retried_whatever_codes_are_named() {
        for policy in [impatient(3), policy(3)] {
            let (mut call, mut rng) = (RetryState::new(), Rng::with_seed(0));
            let mut fail = |failure: &Failure| call.on_attempt_failed(failure, Some(&policy), None, &mut rng);
            assert_eq!(
                fail(&failure(Code::DeadlineExceeded)),
                Decision::Fail(Stop::Code),
                "the server's own"
            );
            assert!((80..=120).contains(&retried(fail(&too_late()))));
            assert!((160..=240).contains(&retried(fail(&too_late()))));
            assert_eq!(fail(&too_late()), Decision::Fail(Stop::Attempts));
        }
    }

    #[test]
    fn an_attempt_that_ran_out_of_its_own_time_takes_a_token_and_is_held_back_like_any_other() {
        let (mut call, mut rng, throttle) = (RetryState::new(), Rng::with_seed(0), throttle(4));
        let mut fail = |failure: &Failure| {
            call.on_attempt_failed(failure, Some(&impatient(5)), Some(&throttle), &mut rng)
        };
        retried(fail(&too_late()));
        assert_eq!(throttle.milli_tokens(), 3_000);
        let committed = Failure { committed: Committed::Yes, ..too_late() };
        assert_eq!(fail(&committed), Decision::Fail(Stop::Committed));
        assert_eq!(throttle.milli_tokens(), 2_000);
        assert_eq!(fail(&too_late()), Decision::Fail(Stop::Throttled));
        assert_eq!(throttle.milli_tokens(), 1_000);
    }

    /// "Every failed RPC will decrement the token_count by 1" (gRFC A6), and it counts as failed by its code: that it cannot be sent
    /// again does not help the server. What never got there is none of its failures.
    #[test]
    fn a_committed_call_is_never_sent_again_and_takes_a_token_if_a_server_had_it() {
        let (mut call, mut rng, throttle) = (RetryState::new(), Rng::with_seed(0), throttle(10));
        for reach in [Reach::NeverSent, Reach::Local, Reach::Refused, Reach::MaybeExecuted] {
            let failure = Failure { reach, committed: Committed::Yes, ..failure(Code::Unavailable) };
            let decision = call.on_attempt_failed(&failure, Some(&policy(5)), Some(&throttle), &mut rng);
            assert_eq!(decision, Decision::Fail(Stop::Committed));
        }
        assert_eq!(throttle.milli_tokens(), 8_000);
        let own = Failure { committed: Committed::Yes, ..failure(Code::InvalidArgument) };
        let decision = call.on_attempt_failed(&own, Some(&policy(5)), Some(&throttle), &mut rng);
        assert_eq!((decision, throttle.milli_tokens()), (Decision::Fail(Stop::Committed), 8_000));
    }

    #[test]
    fn transparent_retries_need_no_policy_and_are_not_counted() {
        let (mut call, mut rng, throttle) = (RetryState::new(), Rng::with_seed(0), throttle(10));
        let never_sent = Failure { reach: Reach::NeverSent, ..failure(Code::Unavailable) };
        let refused = Failure { reach: Reach::Refused, ..failure(Code::Unavailable) };
        for failure in [&never_sent, &never_sent, &refused, &never_sent] {
            let decision = call.on_attempt_failed(failure, None, Some(&throttle), &mut rng);
            assert_eq!(decision, Decision::TransparentRetry);
        }
        assert_eq!((call.attempts(), call.previous_attempts(), throttle.milli_tokens()), (1, None, 10_000));
        // Refused a second time: now the policy decides, if there is one.
        assert_eq!(
            call.on_attempt_failed(&refused, None, Some(&throttle), &mut rng),
            Decision::Fail(Stop::NoPolicy)
        );
        retried(call.on_attempt_failed(&refused, Some(&policy(2)), Some(&throttle), &mut rng));
        assert_eq!((call.attempts(), throttle.milli_tokens()), (2, 9_000));
    }

    #[test]
    fn a_push_back_is_kept_exactly_and_the_back_off_begins_again_after_it() {
        let (mut call, mut rng) = (RetryState::new(), Rng::with_seed(0));
        let pushed = Failure {
            pushback: Some(Pushback::After(Duration::from_millis(1_234))),
            ..failure(Code::Unavailable)
        };
        let mut fail =
            |failure: &Failure| retried(call.on_attempt_failed(failure, Some(&policy(5)), None, &mut rng));
        assert!((80..=120).contains(&fail(&failure(Code::Unavailable))));
        assert!((160..=240).contains(&fail(&failure(Code::Unavailable))));
        assert_eq!(fail(&pushed), 1_234);
        assert!((80..=120).contains(&fail(&failure(Code::Unavailable))));
    }

    #[test]
    fn a_push_back_does_not_make_other_codes_retryable_nor_add_attempts() {
        let (mut call, mut rng) = (RetryState::new(), Rng::with_seed(0));
        let pushed = |code| Failure { pushback: Some(Pushback::After(Duration::ZERO)), ..failure(code) };
        let mut fail = |code| call.on_attempt_failed(&pushed(code), Some(&policy(2)), None, &mut rng);
        assert_eq!(fail(Code::NotFound), Decision::Fail(Stop::Code));
        assert_eq!(retried(fail(Code::Unavailable)), 0);
        assert_eq!(fail(Code::Unavailable), Decision::Fail(Stop::Attempts));
    }

    #[test]
    fn a_server_that_asks_not_to_is_obeyed_and_counts_as_failing_whatever_the_code() {
        let (mut call, mut rng, throttle) = (RetryState::new(), Rng::with_seed(0), throttle(10));
        for code in [Code::Unavailable, Code::NotFound] {
            let failure = Failure { pushback: Some(Pushback::Never), ..failure(code) };
            let decision = call.on_attempt_failed(&failure, Some(&policy(5)), Some(&throttle), &mut rng);
            assert_eq!(decision, Decision::Fail(Stop::Pushback));
        }
        assert_eq!(throttle.milli_tokens(), 8_000);
    }

    #[test]
    fn failures_that_are_the_callers_own_do_not_empty_the_bucket() {
        let (mut call, mut rng, throttle) = (RetryState::new(), Rng::with_seed(0), throttle(10));
        let invalid = failure(Code::InvalidArgument);
        let decision = call.on_attempt_failed(&invalid, Some(&policy(5)), Some(&throttle), &mut rng);
        assert_eq!((decision, throttle.milli_tokens()), (Decision::Fail(Stop::Code), 10_000));
    }

    #[test]
    fn what_fails_on_this_side_is_retried_by_its_code_and_takes_no_token() {
        let (mut call, mut rng, throttle) = (RetryState::new(), Rng::with_seed(0), throttle(4));
        let local = Failure { reach: Reach::Local, ..failure(Code::Unavailable) };
        let mut fail = |throttle| call.on_attempt_failed(&local, Some(&policy(3)), Some(throttle), &mut rng);
        retried(fail(&throttle));
        assert_eq!(throttle.milli_tokens(), 4_000);
        (0..2).for_each(|_| _ = throttle.on_failure());
        assert_eq!(fail(&throttle), Decision::Fail(Stop::Throttled), "it is a retry all the same");
        assert_eq!(throttle.milli_tokens(), 2_000);
    }

    #[test]
    fn an_empty_bucket_stops_retries_and_the_last_attempt_is_counted_too() {
        let (mut rng, throttle) = (Rng::with_seed(0), throttle(4));
        let mut call = RetryState::new();
        let mut fail = || {
            call.on_attempt_failed(&failure(Code::Unavailable), Some(&policy(2)), Some(&throttle), &mut rng)
        };
        retried(fail());
        assert_eq!(fail(), Decision::Fail(Stop::Throttled)); // two of four left
        assert_eq!(fail(), Decision::Fail(Stop::Throttled));
        assert_eq!(throttle.milli_tokens(), 1_000);
    }

    #[test]
    fn numbers_that_a_config_should_not_have_let_through_do_not_panic() {
        let mut rng = Rng::with_seed(0);
        for backoff_multiplier in [f64::NAN, f64::INFINITY, f64::MAX, -1.0, 0.0] {
            let policy = RetryPolicy { backoff_multiplier, max_backoff: Duration::MAX, ..policy(5) };
            let mut call = RetryState::new();
            for _ in 0..4 {
                retried(call.on_attempt_failed(&failure(Code::Unavailable), Some(&policy), None, &mut rng));
            }
        }
    }
}
