//! One request, one response.

use std::future::poll_fn;

use corelane_call::message::{decode_message, encode_message};
use corelane_call::{Code, Codec, GatherError, ReplyParts, Response, Status, WasCompressed, give_buffer};
use corelane_policy::balance::EndpointKey;
use corelane_policy::resilience::{
    self, Committed, Decision, PUSHBACK_NAME, Pushback, Reach, RetryState, Stop,
};
use corelane_runtime::{now, sleep_until};
use corelane_wire::frame::EndStream;

use super::place::{Placed, place};
use super::plan::Plan;
use crate::error::Failure;
use crate::options::Retries;
use crate::session::{End, Opening, Outcome};
use crate::{Cause, Place};

/// An attempt that failed: what the caller would hear, and what a policy needs to know.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// What the server said, if it did.
    pub(crate) status: Option<Status>,
    pub(crate) reach: Reach,
    pub(crate) endpoint: Option<EndpointKey>,
}

impl Failed {
    /// On this side, before anything left.
    #[cold]
    pub(crate) fn here(failure: Failure, status: Option<Status>) -> Failed {
        // What fails here once fails here again: no retry can help.
        Failed { failure, status, reach: Reach::MaybeExecuted, endpoint: None }
    }

    pub(crate) fn code(&self) -> Code {
        match (self.failure.cause.code(), &self.status) {
            (Some(code), None) => code,
            (_, Some(status)) => status.code(),
            (None, None) => Code::Unknown,
        }
    }

    #[cold]
    pub(crate) fn into_status(self, stop: Option<Stop>) -> Status {
        let mut failure = self.failure;
        // That nothing names a policy is the rule, and that the code is not retryable says the policy itself.
        failure.stop = stop.filter(|stop| !matches!(stop, Stop::NoPolicy | Stop::Code | Stop::Committed));
        failure.into_status(self.status)
    }
}

/// Makes the call.
pub(crate) async fn unary<C: Codec>(
    plan: Plan,
    codec: &C,
    message: &C::Encode,
) -> Result<Response<C::Decode>, Status> {
    let mut failed = match attempt(&plan, codec, message, 1, None, &[]).await {
        Ok(response) => {
            succeeded(&plan);
            return Ok(response);
        }
        Err(failed) => failed,
    };
    let mut retries = RetryState::new();
    let mut avoid = Vec::new();
    loop {
        match decide(&plan, &mut retries, &failed, Committed::No) {
            Decision::Fail(stop) => return Err(failed.into_status(Some(stop))),
            Decision::TransparentRetry => {}
            Decision::Retry { after } => {
                avoid.extend(failed.endpoint);
                let until = now() + after;
                if until >= plan.deadline {
                    sleep_until(plan.deadline).await;
                    let over = plan.expired(Place::Backoff, retries.attempts());
                    return Err(Failed { status: None, failure: over, ..failed }.into_status(None));
                }
                sleep_until(until).await;
            }
        }
        let previous = retries.previous_attempts();
        match attempt(&plan, codec, message, retries.attempts(), previous, &avoid).await {
            Ok(response) => {
                succeeded(&plan);
                return Ok(response);
            }
            Err(again) => failed = again,
        }
    }
}

/// What follows a failed attempt.
pub(crate) fn decide(
    plan: &Plan,
    retries: &mut RetryState,
    failed: &Failed,
    committed: Committed,
) -> Decision {
    let values = failed.status.as_ref().map(|status| status.metadata().get_all(PUSHBACK_NAME));
    let pushback = Pushback::of_values(values.into_iter().flatten().map(str::as_bytes));
    let failure = resilience::Failure { code: failed.code(), pushback, reach: failed.reach, committed };
    let config = plan.settings.method.as_deref();
    let policy = config.and_then(|config| config.retry.as_ref());
    let policy = policy.filter(|_| plan.local.shared.options.retries == Retries::ByPolicy);
    let throttle = plan.settings.config.throttle.as_deref();
    retries.on_attempt_failed(&failure, policy, throttle, &mut plan.local.rng.borrow_mut())
}

#[inline]
pub(crate) fn succeeded(plan: &Plan) {
    if let Some(throttle) = &plan.settings.config.throttle {
        throttle.on_success();
    }
}

/// One attempt.
async fn attempt<C: Codec>(
    plan: &Plan,
    codec: &C,
    message: &C::Encode,
    number: u32,
    previous: Option<&str>,
    avoid: &[EndpointKey],
) -> Result<Response<C::Decode>, Failed> {
    let mut encoded = Ok(());
    let encodings = plan.encodings;
    let placed = place(plan, number, avoid, |session, io, _| {
        let now = io.now;
        plan.with_head(now, previous, |head| {
            let opening = Opening {
                head,
                deadline: plan.deadline,
                receive_max: plan.receive_max,
                accept: encodings.accept,
            };
            let key = session.open_one(io, &opening, EndStream::No)?;
            encoded = session.send(io, key, EndStream::Yes, |out| {
                encode_message(codec, message, encodings.send, plan.send_max, out)
            });
            Ok(key)
        })
    })
    .await;
    let mut placed = placed.map_err(|failure| Failed {
        reach: Reach::MaybeExecuted,
        status: None,
        failure,
        endpoint: None,
    })?;
    if let Err(status) = encoded {
        let cause =
            if status.code() == Code::ResourceExhausted { Cause::RequestTooLarge } else { Cause::Encode };
        return Err(Failed::here(plan.failure(cause, Some(placed.pool.name.clone()), number), Some(status)));
    }
    let key = placed.key;
    let outcome = poll_fn(|cx| placed.link.session(|session| session.poll_one(key, cx))).await;
    placed.settle();
    conclude(plan, &placed, codec, outcome, number)
}

/// From what came to what the caller gets.
pub(crate) fn conclude<C: Codec>(
    plan: &Plan,
    placed: &Placed,
    codec: &C,
    outcome: Outcome,
    number: u32,
) -> Result<Response<C::Decode>, Failed> {
    let failed = |cause, status, reach| Failed {
        failure: plan.failure(cause, Some(placed.pool.name.clone()), number),
        status,
        reach,
        endpoint: Some(placed.pool.key),
    };
    match outcome.end {
        End::Lost(lost) => return Err(failed(lost.cause, None, lost.reach)),
        End::Answered(status) if status.code() != Code::Ok => {
            return Err(failed(Cause::Server, Some(status), Reach::MaybeExecuted));
        }
        End::Answered(_) => {}
    }
    let message = match outcome.message.message() {
        Ok(message) => message,
        Err(GatherError::Missing) => return Err(failed(Cause::MissingMessage, None, Reach::MaybeExecuted)),
        Err(GatherError::Cut) => return Err(failed(Cause::CutMessage, None, Reach::MaybeExecuted)),
        Err(_) => return Err(failed(Cause::Decode, None, Reach::MaybeExecuted)),
    };
    let compressed = message.compressed;
    let item = decode_message(codec, message, outcome.encoding, plan.receive_max).map_err(|status| {
        let cause =
            if status.code() == Code::ResourceExhausted { Cause::ResponseTooLarge } else { Cause::Decode };
        failed(cause, Some(status), Reach::MaybeExecuted)
    })?;
    let mut parts =
        ReplyParts { metadata: outcome.metadata, trailers: outcome.trailers, ..ReplyParts::default() };
    if compressed {
        parts.extensions.insert(WasCompressed);
    }
    give_buffer(outcome.message.into_storage());
    Ok(Response::from_reply(parts, item))
}
