//! What retries and hedges both need to know of an attempt that failed, and what both rules share (gRFC A6).
//!
//! Does not: decide; `retry.rs` and `hedge.rs` do.

use std::fmt;

use corelane_wire::grpc::Code;

use super::pushback::Pushback;
use super::throttle::{Budget, RetryThrottle};
use crate::config::CodeSet;

/// The most attempts of one call, whatever its policy says (gRFC A6, "Limits on Retries and Hedges"): a service config
/// may come from DNS, and must not make clients attack.
pub const ATTEMPTS_MAX: u32 = 5;

/// The name of the metadata that says how many attempts went before this one.
pub const PREVIOUS_ATTEMPTS_NAME: &str = "grpc-previous-rpc-attempts";

/// How far an attempt came: the first three in the words of gRFC A6, "Transparent Retries".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No byte of it left, as its connection broke or began to drain before HEADERS were written.
    NeverSent,
    /// It left, and the server says that it did nothing with it: `REFUSED_STREAM`, or a GOAWAY below its stream.
    Refused,
    /// A handler may have seen it.
    MaybeExecuted,
    /// It failed on this side, whatever came before: it got no stream (a full line, an open breaker, no endpoint that is ready), or
    /// its request cannot be sent. That says nothing about the server, and to begin again at once would come to the same.
    Local,
}

/// Whether a call can still be begun anew (gRFC A6, "When Retries are Valid").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// No response headers came, and all that was sent is still there to send again.
    No,
    /// Response headers were handed on, or a part of the request is gone.
    Yes,
}

/// Whether an attempt's own time is over: the policy's `perAttemptRecvTimeout`, which is not the call's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTime {
    /// No, or it had none.
    Left,
    /// Yes, and that is why it failed.
    Over,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its status.
    pub code: Code,
    /// What the server asked for.
    pub pushback: Option<Pushback>,
    /// How far it came.
    pub reach: Reach,
    /// Whether the call can be begun anew.
    pub committed: Committed,
    /// Whether it ran out of its own time. A policy that gives it one has such an attempt tried again, and counted for the
    /// throttle, whatever codes the policy names: no server has said this one. C-core does the same. Copies of a hedged call have
    /// no time of their own.
    pub own_time: OwnTime,
}

impl Failure {
    /// Whether a policy that names these codes means this failure.
    pub(crate) fn is_meant_by(&self, named: &CodeSet) -> bool {
        self.own_time == OwnTime::Over || named.contains(self.code)
    }

    /// Takes a token from `throttle` if it counts, and answers what is left. By gRFC A6 a failure counts if the policy names its
    /// code or the server asked not to retry; so does an attempt that ran out of its own time. What no server has got counts never:
    /// tokens measure how servers do.
    pub fn charge(&self, throttle: Option<&RetryThrottle>, named: Option<&CodeSet>) -> Budget {
        let Some(throttle) = throttle else { return Budget::Left };
        let was_sent = matches!(self.reach, Reach::Refused | Reach::MaybeExecuted);
        let is_meant = named.is_some_and(|named| self.is_meant_by(named));
        if was_sent && (is_meant || self.pushback == Some(Pushback::Never)) {
            throttle.on_failure()
        } else {
            throttle.budget()
        }
    }
}

/// Why no further attempt is made, for the text of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing says that this method is retried or hedged.
    NoPolicy,
    /// The response has begun, or a part of the request is gone.
    Committed,
    /// The policy does not name this code, and the attempt had not run out of its own time.
    Code,
    /// The server asked not to.
    Pushback,
    /// Too many calls to this server fail.
    Throttled,
    /// All attempts were made.
    Attempts,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stop::NoPolicy => "no retry or hedging policy names this method",
            Stop::Committed => "the response had begun, or the request no longer fitted in the retry buffer",
            Stop::Code => "the policy does not retry this code",
            Stop::Pushback => "the server asked not to retry (grpc-retry-pushback-ms)",
            Stop::Throttled => "retries to this server are throttled, since too many of its calls fail",
            Stop::Attempts => "all attempts that the policy allows were made",
        })
    }
}

/// The attempts that no policy has to allow, since no handler saw the ones before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transparent {
    refused_once: bool,
}

impl Transparent {
    /// Whether the call is sent again at once, and uncounted. What never left costs the server nothing, so any number of
    /// times (the deadline ends it); what was refused loads the wire, so once.
    pub(crate) fn allows(&mut self, failure: &Failure) -> bool {
        match (failure.committed, failure.reach) {
            (Committed::Yes, _) | (_, Reach::MaybeExecuted | Reach::Local) => false,
            (Committed::No, Reach::NeverSent) => true,
            (Committed::No, Reach::Refused) => !std::mem::replace(&mut self.refused_once, true),
        }
    }
}

/// The value of [`PREVIOUS_ATTEMPTS_NAME`] for an attempt that `previous` counted ones went before; nothing for the first.
pub(crate) fn previous_attempts_value(previous: u32) -> Option<&'static str> {
    const VALUES: [&str; ATTEMPTS_MAX as usize - 1] = ["1", "2", "3", "4"];
    let index = usize::try_from(previous.checked_sub(1)?).expect("at most five attempts");
    Some(VALUES[index])
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn failure(reach: Reach, committed: Committed) -> Failure {
        Failure { code: Code::Unavailable, pushback: None, reach, committed, own_time: OwnTime::Left }
    }

    #[test]
    fn what_never_left_is_sent_again_any_number_of_times() {
        let mut transparent = Transparent::default();
        assert!((0..100).all(|_| transparent.allows(&failure(Reach::NeverSent, Committed::No))));
    }

    #[test]
    fn what_was_refused_is_sent_again_once() {
        let mut transparent = Transparent::default();
        assert!(transparent.allows(&failure(Reach::Refused, Committed::No)));
        assert!(!transparent.allows(&failure(Reach::Refused, Committed::No)));
        assert!(transparent.allows(&failure(Reach::NeverSent, Committed::No)));
    }

    #[test]
    fn what_may_have_run_or_cannot_be_repeated_is_not() {
        let mut transparent = Transparent::default();
        assert!(!transparent.allows(&failure(Reach::MaybeExecuted, Committed::No)));
        assert!(!transparent.allows(&failure(Reach::Local, Committed::No)));
        assert!(!transparent.allows(&failure(Reach::NeverSent, Committed::Yes)));
        assert!(!transparent.allows(&failure(Reach::Refused, Committed::Yes)));
    }

    #[test]
    fn the_first_attempt_says_nothing_of_previous_ones() {
        assert_eq!(
            (0..5).map(previous_attempts_value).collect::<Vec<_>>(),
            [None, Some("1"), Some("2"), Some("3"), Some("4")]
        );
    }
}
