//! When the copies of one call are sent (gRFC A6, "Hedging Policy").
//!
//! The contract: after [`HedgeState::new`] and after each event, call [`poll`](HedgeState::poll) until it says something else than
//! [`Hedge::Send`], and again at the time that it names. When a call succeeds or fails as a whole, the caller cancels what is in
//! flight and drops this value.
//!
//! Does not: send, wait, cancel, or choose endpoints (each copy should go to another one).
//!
//! Invariant: copies sent are at most the policy's and [`ATTEMPTS_MAX`]; once no more may be sent, none is; a call is
//! given up exactly when nothing is in flight and nothing will be sent.

use corelane_wire::Instant;

use super::attempt::{ATTEMPTS_MAX, Committed, Failure, Reach, Stop, Transparent, previous_attempts_value};
use super::pushback::Pushback;
use super::throttle::{Budget, RetryThrottle};
use crate::config::HedgingPolicy;

/// What to do now.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// One more copy, now; it is counted already.
    Send,
    /// Nothing before this time.
    WaitUntil(Instant),
    /// No copy will be sent any more; the answers of those in flight decide.
    Exhausted,
    /// No copy will be sent any more and none is in flight: the last failure goes to the caller.
    GiveUp(Stop),
}

/// What follows a copy's failure.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Others may still succeed: poll.
    Continue,
    /// This copy again at once: no handler saw it. Not counted.
    TransparentRetry,
    /// This status goes to the caller, and what is in flight is cancelled.
    Fail(Stop),
}

/// When the next copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    At(Instant),
    Never(Stop),
}

/// The copies of one call.
///
/// ```
/// use corelane_policy::config::HedgingPolicy;
/// use corelane_policy::resilience::{Hedge, HedgeState};
/// use corelane_wire::Instant;
/// use corelane_wire::grpc::Code;
/// use std::time::Duration;
///
/// let delay = Duration::from_millis(10);
/// let policy = HedgingPolicy { max_attempts: 2, hedging_delay: delay, non_fatal: [Code::Unavailable].into_iter().collect() };
/// let start = Instant::from_nanos(0);
/// let mut call = HedgeState::new(policy, start); // the first copy goes out
/// assert_eq!(call.poll(start, None), Hedge::WaitUntil(start + delay));
/// assert_eq!(call.poll(start + delay, None), Hedge::Send);
/// assert_eq!(call.poll(start + delay, None), Hedge::Exhausted);
/// ```
#[derive(Clone, Debug)]
pub struct HedgeState {
    policy: HedgingPolicy,
    sent: u32,
    in_flight: u32,
    next: Next,
    transparent: Transparent,
}

impl HedgeState {
    /// A call whose first copy is sent `now`: that one is always sent, throttled or not.
    #[must_use]
    pub fn new(policy: HedgingPolicy, now: Instant) -> HedgeState {
        let transparent = Transparent::default();
        let mut state = HedgeState { policy, sent: 0, in_flight: 0, next: Next::At(now), transparent };
        state.count_sent(now);
        state
    }

    /// What to do at `now`.
    pub fn poll(&mut self, now: Instant, throttle: Option<&RetryThrottle>) -> Hedge {
        if let Next::At(at) = self.next {
            if now < at {
                return Hedge::WaitUntil(at);
            }
            if throttle.is_none_or(|throttle| throttle.budget() == Budget::Left) {
                self.count_sent(now);
                return Hedge::Send;
            }
            // "The hedged request is cancelled": a later one would be as well, so the schedule ends here.
            self.next = Next::Never(Stop::Throttled);
        }
        match self.next {
            Next::Never(stop) if self.in_flight == 0 => Hedge::GiveUp(stop),
            _ => Hedge::Exhausted,
        }
    }

    /// A copy failed; tells `throttle` if that counts. A call that succeeds tells it itself
    /// ([`RetryThrottle::on_success`]).
    pub fn on_attempt_failed(
        &mut self,
        failure: &Failure,
        now: Instant,
        throttle: Option<&RetryThrottle>,
    ) -> AfterFailure {
        if self.transparent.allows(failure) {
            return AfterFailure::TransparentRetry;
        }
        debug_assert!(self.in_flight > 0, "a copy failed that was not in flight");
        self.in_flight = self.in_flight.saturating_sub(1);
        match (failure.reach, failure.committed) {
            // No server has said anything: those in flight go on, and the next one has its time.
            (Reach::Local, Committed::No) if self.in_flight > 0 => return AfterFailure::Continue,
            // What cannot be sent cannot be sent in any copy.
            (Reach::Local, Committed::Yes) => return AfterFailure::Fail(Stop::Committed),
            _ => {}
        }
        let is_fatal = !self.policy.non_fatal.contains(failure.code);
        let budget = failure.charge(throttle, Some(&self.policy.non_fatal));
        if is_fatal {
            return AfterFailure::Fail(Stop::Code);
        }
        match (self.next, failure.pushback) {
            (Next::Never(_), _) => {}
            (Next::At(_), Some(Pushback::Never)) => self.next = Next::Never(Stop::Pushback),
            (Next::At(_), _) if budget == Budget::Spent => self.next = Next::Never(Stop::Throttled),
            (Next::At(_), Some(Pushback::After(delay))) => self.next = Next::At(now + delay),
            (Next::At(at), None) => self.next = Next::At(at.min(now)),
        }
        match self.next {
            Next::Never(stop) if self.in_flight == 0 => AfterFailure::Fail(stop),
            _ => AfterFailure::Continue,
        }
    }

    /// One copy was chosen (its response headers came, or a part of the request is gone): the caller cancels the others,
    /// and no more are sent.
    pub fn commit(&mut self) {
        self.in_flight = 1;
        self.next = Next::Never(Stop::Committed);
    }

    /// The value of [`PREVIOUS_ATTEMPTS_NAME`](super::PREVIOUS_ATTEMPTS_NAME) for the copy that was counted last; the
    /// first has none.
    #[must_use]
    pub fn previous_attempts(&self) -> Option<&'static str> {
        previous_attempts_value(self.sent - 1)
    }

    /// Copies so far, the first included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.sent
    }

    fn count_sent(&mut self, now: Instant) {
        self.sent += 1;
        self.in_flight += 1;
        self.next = if self.sent < self.policy.max_attempts.min(ATTEMPTS_MAX) {
            Next::At(now + self.policy.hedging_delay)
        } else {
            Next::Never(Stop::Attempts)
        };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::attempt::OwnTime;
    use super::*;
    use crate::config::RetryThrottling;
    use corelane_wire::grpc::Code;
    use std::time::Duration;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn call(max_attempts: u32, delay_ms: u64) -> HedgeState {
        let policy = HedgingPolicy {
            max_attempts,
            hedging_delay: Duration::from_millis(delay_ms),
            non_fatal: [Code::Unavailable].into_iter().collect(),
        };
        HedgeState::new(policy, at(0))
    }

    fn failure(code: Code, pushback: Option<Pushback>) -> Failure {
        let (reach, committed, own_time) = (Reach::MaybeExecuted, Committed::No, OwnTime::Left);
        Failure { code, pushback, reach, committed, own_time }
    }

    fn throttle(tokens: u32) -> RetryThrottle {
        RetryThrottle::new(RetryThrottling { max_milli_tokens: tokens * 1_000, milli_token_ratio: 100 })
    }

    #[test]
    fn copies_go_out_a_delay_apart_until_the_policys_number() {
        let mut call = call(3, 500);
        assert_eq!((call.attempts(), call.previous_attempts()), (1, None));
        assert_eq!(call.poll(at(499), None), Hedge::WaitUntil(at(500)));
        assert_eq!(call.poll(at(501), None), Hedge::Send);
        assert_eq!(call.previous_attempts(), Some("1"));
        assert_eq!(call.poll(at(501), None), Hedge::WaitUntil(at(1_001)));
        assert_eq!(call.poll(at(1_001), None), Hedge::Send);
        assert_eq!(call.poll(at(9_999), None), Hedge::Exhausted);
        assert_eq!((call.attempts(), call.previous_attempts()), (3, Some("2")));
    }

    #[test]
    fn no_delay_sends_all_at_once_and_never_more_than_five() {
        let mut call = call(100, 0);
        assert!((0..4).all(|_| call.poll(at(0), None) == Hedge::Send));
        assert_eq!(call.poll(at(0), None), Hedge::Exhausted);
    }

    #[test]
    fn a_non_fatal_failure_sends_the_next_at_once_and_the_delay_resumes_from_there() {
        let mut call = call(3, 500);
        let unavailable = failure(Code::Unavailable, None);
        assert_eq!(call.on_attempt_failed(&unavailable, at(100), None), AfterFailure::Continue);
        assert_eq!(call.poll(at(100), None), Hedge::Send);
        assert_eq!(call.poll(at(100), None), Hedge::WaitUntil(at(600)));
    }

    #[test]
    fn a_fatal_failure_ends_the_call_though_others_are_in_flight() {
        let mut call = call(3, 0);
        let _ = call.poll(at(0), None);
        let fatal = failure(Code::InvalidArgument, None);
        assert_eq!(call.on_attempt_failed(&fatal, at(1), None), AfterFailure::Fail(Stop::Code));
    }

    #[test]
    fn the_last_failure_ends_the_call_and_only_the_last() {
        let mut call = call(2, 0);
        let unavailable = failure(Code::Unavailable, None);
        assert_eq!(call.poll(at(0), None), Hedge::Send);
        assert_eq!(call.on_attempt_failed(&unavailable, at(1), None), AfterFailure::Continue);
        assert_eq!(call.poll(at(1), None), Hedge::Exhausted);
        assert_eq!(call.on_attempt_failed(&unavailable, at(2), None), AfterFailure::Fail(Stop::Attempts));
    }

    #[test]
    fn a_push_back_moves_the_next_copy_later_or_earlier() {
        for (pushback_ms, next_ms) in [(2_000, 2_100), (10, 110)] {
            let mut call = call(3, 500);
            let pushed =
                failure(Code::Unavailable, Some(Pushback::After(Duration::from_millis(pushback_ms))));
            assert_eq!(call.on_attempt_failed(&pushed, at(100), None), AfterFailure::Continue);
            assert_eq!(call.poll(at(100), None), Hedge::WaitUntil(at(next_ms)));
            assert_eq!(call.poll(at(next_ms), None), Hedge::Send);
            assert_eq!(call.poll(at(next_ms), None), Hedge::WaitUntil(at(next_ms + 500)));
        }
    }

    #[test]
    fn a_server_that_asks_not_to_ends_the_schedule_but_not_what_is_in_flight() {
        let (mut call, throttle) = (call(4, 0), throttle(10));
        assert_eq!(call.poll(at(0), None), Hedge::Send);
        let never = failure(Code::Unavailable, Some(Pushback::Never));
        assert_eq!(call.on_attempt_failed(&never, at(1), Some(&throttle)), AfterFailure::Continue);
        assert_eq!(call.poll(at(1), None), Hedge::Exhausted);
        let unavailable = failure(Code::Unavailable, None);
        assert_eq!(
            call.on_attempt_failed(&unavailable, at(2), Some(&throttle)),
            AfterFailure::Fail(Stop::Pushback)
        );
        assert_eq!((call.attempts(), throttle.milli_tokens()), (2, 8_000));
    }

    #[test]
    fn a_fatal_code_counts_for_the_throttle_only_with_a_push_back() {
        let throttle = throttle(10);
        let _ = call(2, 0).on_attempt_failed(&failure(Code::NotFound, None), at(0), Some(&throttle));
        assert_eq!(throttle.milli_tokens(), 10_000);
        let _ = call(2, 0).on_attempt_failed(
            &failure(Code::NotFound, Some(Pushback::Never)),
            at(0),
            Some(&throttle),
        );
        assert_eq!(throttle.milli_tokens(), 9_000);
    }

    #[test]
    fn a_throttle_stops_copies_but_never_the_first() {
        let throttle = throttle(2);
        assert_eq!(throttle.on_failure(), Budget::Spent);
        let mut call = call(4, 10);
        assert_eq!(call.poll(at(10), Some(&throttle)), Hedge::Exhausted);
        (0..20).for_each(|_| throttle.on_success());
        assert_eq!(
            call.poll(at(20), Some(&throttle)),
            Hedge::Exhausted,
            "a cancelled schedule stays cancelled"
        );
        let unavailable = failure(Code::Unavailable, None);
        assert_eq!(call.on_attempt_failed(&unavailable, at(30), None), AfterFailure::Fail(Stop::Throttled));
    }

    /// The only copy failed and asked for a delay; when it is over, the bucket is empty.
    #[test]
    fn a_call_that_waits_for_a_copy_which_is_then_throttled_is_given_up() {
        let (mut call, throttle) = (call(2, 10), throttle(4));
        let pushed = failure(Code::Unavailable, Some(Pushback::After(Duration::from_millis(50))));
        assert_eq!(call.on_attempt_failed(&pushed, at(0), Some(&throttle)), AfterFailure::Continue);
        assert_eq!(call.poll(at(0), Some(&throttle)), Hedge::WaitUntil(at(50)));
        assert_eq!(throttle.on_failure(), Budget::Spent);
        assert_eq!(call.poll(at(50), Some(&throttle)), Hedge::GiveUp(Stop::Throttled));
    }

    #[test]
    fn a_failure_that_empties_the_bucket_ends_the_schedule() {
        let (mut call, throttle) = (call(4, 10), throttle(2));
        let unavailable = failure(Code::Unavailable, None);
        assert_eq!(
            call.on_attempt_failed(&unavailable, at(0), Some(&throttle)),
            AfterFailure::Fail(Stop::Throttled)
        );
    }

    #[test]
    fn a_copy_that_fails_on_this_side_ends_alone_while_others_are_in_flight() {
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let (mut call, throttle) = (call(3, 10), throttle(2));
            assert_eq!(call.poll(at(10), Some(&throttle)), Hedge::Send);
            let local = Failure { reach: Reach::Local, ..failure(code, None) };
            let after = call.on_attempt_failed(&local, at(11), Some(&throttle));
            assert_eq!((after, throttle.milli_tokens()), (AfterFailure::Continue, 2_000));
            // The next one has its time, as if nothing had happened.
            assert_eq!(call.poll(at(11), Some(&throttle)), Hedge::WaitUntil(at(20)));
            assert_eq!(call.poll(at(20), Some(&throttle)), Hedge::Send);
            // What the server says counts as ever.
            let unavailable = failure(Code::Unavailable, None);
            assert_eq!(call.on_attempt_failed(&unavailable, at(21), None), AfterFailure::Continue);
            assert_eq!(
                call.on_attempt_failed(&unavailable, at(22), None),
                AfterFailure::Fail(Stop::Attempts)
            );
        }
    }

    #[test]
    fn the_only_copy_that_fails_on_this_side_is_judged_by_its_code_and_takes_no_token() {
        let throttle = throttle(2);
        let local = |code| Failure { reach: Reach::Local, ..failure(code, None) };
        let full = local(Code::ResourceExhausted);
        assert_eq!(
            call(2, 10).on_attempt_failed(&full, at(0), Some(&throttle)),
            AfterFailure::Fail(Stop::Code)
        );
        let mut call = call(2, 10);
        let open = local(Code::Unavailable);
        assert_eq!(call.on_attempt_failed(&open, at(0), Some(&throttle)), AfterFailure::Continue);
        assert_eq!(call.poll(at(0), Some(&throttle)), Hedge::Send);
        assert_eq!(call.on_attempt_failed(&open, at(0), Some(&throttle)), AfterFailure::Fail(Stop::Attempts));
        assert_eq!(throttle.milli_tokens(), 2_000);
    }

    #[test]
    fn a_request_that_cannot_be_sent_ends_all_copies_whatever_the_code() {
        let mut call = call(3, 0);
        assert_eq!(call.poll(at(0), None), Hedge::Send);
        let broken =
            Failure { reach: Reach::Local, committed: Committed::Yes, ..failure(Code::Unavailable, None) };
        assert_eq!(call.on_attempt_failed(&broken, at(0), None), AfterFailure::Fail(Stop::Committed));
    }

    #[test]
    fn a_copy_that_no_handler_saw_is_sent_again_uncounted() {
        let (mut call, throttle) = (call(2, 10), throttle(10));
        let unseen = |reach| Failure { reach, ..failure(Code::Unavailable, None) };
        for reach in [Reach::NeverSent, Reach::Refused, Reach::NeverSent] {
            let after = call.on_attempt_failed(&unseen(reach), at(1), Some(&throttle));
            assert_eq!(after, AfterFailure::TransparentRetry);
        }
        assert_eq!((call.attempts(), throttle.milli_tokens()), (1, 10_000));
        assert_eq!(call.on_attempt_failed(&unseen(Reach::Refused), at(1), None), AfterFailure::Continue);
        assert_eq!(call.poll(at(1), None), Hedge::Send);
    }

    #[test]
    fn after_a_commit_nothing_is_sent_and_the_chosen_copy_decides() {
        let mut call = call(5, 0);
        let _ = call.poll(at(0), None);
        call.commit();
        assert_eq!(call.poll(at(1), None), Hedge::Exhausted);
        let lost = Failure { committed: Committed::Yes, ..failure(Code::Unavailable, None) };
        assert_eq!(call.on_attempt_failed(&lost, at(2), None), AfterFailure::Fail(Stop::Committed));
    }
}
