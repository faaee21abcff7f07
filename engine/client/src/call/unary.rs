//! One request, one response: attempts one after the other, as retries go. A call that is planned and sent at once
//! comes here when its first attempt has failed: see `short`.

use std::future::poll_fn;
use std::rc::Rc;

use corelane_call::message::{decode_gathered, encode_gathered};
use corelane_call::{Code, Codec, Encoding, Gathered, Metadata, ReplyParts, Response, Status, WasCompressed};
use corelane_memory::Key;
use corelane_policy::balance::EndpointKey;
use corelane_policy::resilience::{
    self, Committed, Decision, OwnTime, PUSHBACK_NAME, Pushback, Reach, RetryState, Stop,
};
use corelane_runtime::{Io, now, sleep_until};

use super::hedged::Attempt;
use super::place::{Placed, place_at_once};
use super::plan::Plan;
use super::{cached, hedged};
use crate::end::{Begun, End, Lost, Outcome};
use crate::error::Failure;
use crate::pool::Pool;
use crate::session::{ClientSession, Opening, Unopened};
use crate::time::by;
use crate::{Cause, Place};

/// An attempt that failed: what the caller would hear, and what a policy needs to know.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// What the server said, if it did.
    pub(crate) status: Option<Status>,
    pub(crate) reach: Reach,
    pub(crate) endpoint: Option<EndpointKey>,
    /// The response had begun: gRFC A6 allows no further attempt then.
    pub(crate) begun: Begun,
}

impl Failed {
    /// On this side, with what says why.
    #[cold]
    pub(crate) fn here(failure: Failure, status: Option<Status>) -> Failed {
        // It says nothing about an endpoint.
        Failed { failure, status, reach: Reach::Local, endpoint: None, begun: Begun::No }
    }

    pub(crate) fn code(&self) -> Code {
        match (self.failure.cause.code(), &self.status) {
            (Some(code), None) => code,
            (_, Some(status)) => status.code(),
            (None, None) => Code::Unknown,
        }
    }

    /// What a policy looks at.
    pub(crate) fn as_policy(&self, committed: Committed) -> resilience::Failure {
        let values = self.status.as_ref().map(|status| status.metadata().get_all(PUSHBACK_NAME));
        let pushback = Pushback::of_values(values.into_iter().flatten().map(str::as_bytes));
        let committed = if self.begun == Begun::Yes { Committed::Yes } else { committed };
        let own_time = match self.failure.cause {
            Cause::Deadline(Place::Attempt) => OwnTime::Over,
            _ => OwnTime::Left,
        };
        resilience::Failure { code: self.code(), pushback, reach: self.reach, committed, own_time }
    }

    #[cold]
    pub(crate) fn into_status(self, stop: Option<Stop>) -> Status {
        let mut failure = self.failure;
        // That no policy names the method is the rule, and that the code is not retryable says the policy itself.
        failure.stop = stop.filter(|stop| !matches!(stop, Stop::NoPolicy | Stop::Code | Stop::Committed));
        failure.into_status(self.status)
    }
}

/// A successful answer that is not decoded yet.
pub(crate) struct Got {
    pub(crate) outcome: Outcome,
    pub(crate) pool: Rc<Pool>,
    pub(crate) number: u32,
}

/// Makes the call.
pub(crate) async fn unary<C: Codec>(
    plan: &Plan,
    codec: &C,
    message: &C::Encode,
) -> Result<Response<C::Decode>, Status> {
    if let Some(cache) = plan.cache() {
        return Box::pin(cached::unary(plan, cache, codec, message)).await;
    }
    let got = fetch(plan, codec, message).await?;
    decode(plan, codec, got)
}

/// Makes the call, with as many attempts as its policy allows.
pub(crate) async fn fetch<C: Codec>(plan: &Plan, codec: &C, message: &C::Encode) -> Result<Got, Status> {
    plan.check_rate()?;
    if let Some(policy) = plan.hedging() {
        let got = Box::pin(hedged::fetch(plan, policy, codec, message)).await?;
        succeeded(plan);
        return Ok(got);
    }
    let first =
        attempt(plan, codec, message, Attempt { number: 1, previous: None, avoid: &[], used: None }).await;
    retrying(plan, codec, message, first).await
}

/// Makes further attempts, as long as the last one has failed and the policy allows another.
pub(super) async fn retrying<C: Codec>(
    plan: &Plan,
    codec: &C,
    message: &C::Encode,
    mut last: Result<Got, Failed>,
) -> Result<Got, Status> {
    let mut retries = RetryState::new();
    let mut avoid = Vec::new();
    loop {
        let failed = match last {
            Ok(got) => {
                succeeded(plan);
                return Ok(got);
            }
            Err(failed) => failed,
        };
        until_next(plan, &mut retries, &mut avoid, failed, Committed::No).await?;
        let (number, previous) = (retries.attempts(), retries.previous_attempts());
        last = attempt(plan, codec, message, Attempt { number, previous, avoid: &avoid, used: None }).await;
    }
}

/// Waits until the attempt after a failed one may be made.
///
/// # Errors
/// There is to be none: what the caller hears.
pub(crate) async fn until_next(
    plan: &Plan,
    retries: &mut RetryState,
    avoid: &mut Vec<EndpointKey>,
    failed: Failed,
    committed: Committed,
) -> Result<(), Status> {
    let number = retries.attempts();
    match decide(plan, retries, &failed, committed) {
        Decision::Fail(stop) => Err(failed.into_status(Some(stop))),
        Decision::TransparentRetry => Ok(()),
        // Whatever the policy says of the code: nothing can be answered in time any more.
        Decision::Retry { .. } if now() >= plan.deadline => Err(failed.into_status(None)),
        Decision::Retry { after } => {
            avoid.extend(failed.endpoint);
            let until = now() + after;
            sleep_until(until.min(plan.deadline)).await;
            if until >= plan.deadline {
                let expired = plan.expired(Place::Backoff, number);
                return Err(Failure { before: Some(failed.failure.into()), ..expired }.into_status(None));
            }
            Ok(())
        }
    }
}

/// What follows a failed attempt.
fn decide(plan: &Plan, retries: &mut RetryState, failed: &Failed, committed: Committed) -> Decision {
    let throttle = plan.settings.config.throttle.as_deref();
    retries.on_attempt_failed(
        &failed.as_policy(committed),
        plan.retry(),
        throttle,
        &mut plan.local.rng.borrow_mut(),
    )
}

#[inline]
pub(crate) fn succeeded(plan: &Plan) {
    if let Some(throttle) = &plan.settings.config.throttle {
        throttle.on_success();
    }
}

/// A call whose response had begun has ended with this code.
pub(crate) fn ended_behind_head(plan: &Plan, code: Code) {
    if code == Code::Ok {
        return succeeded(plan);
    }
    let named = plan.retry().map(|policy| policy.retryable);
    let named = named.or_else(|| plan.hedging().map(|policy| policy.non_fatal));
    let (reach, committed, own_time) = (Reach::MaybeExecuted, Committed::Yes, OwnTime::Left);
    let failure = resilience::Failure { code, pushback: None, reach, committed, own_time };
    let _ = failure.charge(plan.settings.config.throttle.as_deref(), named.as_ref());
}

/// One attempt.
pub(super) async fn attempt<C: Codec>(
    plan: &Plan,
    codec: &C,
    message: &C::Encode,
    attempt: Attempt<'_>,
) -> Result<Got, Failed> {
    let Attempt { number, previous, avoid, .. } = attempt;
    let mut encoded = Ok(());
    let mut open = opener(plan, codec, message, previous, &mut encoded);
    let placed = match place_at_once(plan, number, avoid, &mut open) {
        Ok(Ok(placed)) => Ok(placed),
        Ok(Err(line)) => Box::pin(line.wait(plan, avoid, &mut open)).await,
        Err(failure) => Err(failure),
    };
    drop(open);
    let placed = placed.map_err(|failure| Failed::here(failure, None))?;
    attempt.note(placed.pool.key);
    answer(plan, placed, encoded, number).await
}

/// What opens the stream of an attempt and sends its request; whether that could be encoded is noted in `encoded`.
#[inline]
pub(super) fn opener<C: Codec>(
    plan: &Plan,
    codec: &C,
    message: &C::Encode,
    previous: Option<&str>,
    encoded: &mut Result<(), Status>,
) -> impl FnMut(&mut ClientSession, &mut Io<'_>, &Rc<Pool>) -> Result<Key, Unopened> {
    move |session, io, _| {
        let (now, encodings) = (io.now, plan.encodings);
        plan.with_head(now, previous, |head, more| {
            let (deadline, receive_max) = (plan.deadline, plan.receive_max);
            let opening = Opening { head, more, deadline, receive_max, accept: encodings.accept };
            let (key, sent) = session.open_unary(io, &opening, |out| {
                encode_gathered(codec, message, encodings.send, plan.send_max, out)
            })?;
            *encoded = sent;
            Ok(key)
        })
    }
}

/// Waits for the answer to an attempt that was placed, if its request could be encoded.
pub(super) async fn answer(
    plan: &Plan,
    mut placed: Placed,
    encoded: Result<(), Status>,
    number: u32,
) -> Result<Got, Failed> {
    if let Err(status) = encoded {
        return Err(unsendable(plan, &placed, status, number));
    }
    let key = placed.key;
    let answer = poll_fn(|cx| placed.link.session(|session| session.poll_one(key, cx)));
    let outcome = match plan.attempt_deadline() {
        None => Some(answer.await),
        Some(deadline) => Box::pin(by(deadline, answer)).await,
    };
    let Some(outcome) = outcome else { return Err(too_late(plan, &mut placed, number)) };
    placed.settle(&outcome.end);
    plan.local.answered(&placed.pool, &outcome.trailers);
    check(plan, outcome, &placed.pool, number)
}

/// An attempt whose own time is over (`perAttemptRecvTimeout`): its endpoint is to blame for that.
#[cold]
pub(crate) fn too_late(plan: &Plan, placed: &mut Placed, number: u32) -> Failed {
    placed.judge(Code::DeadlineExceeded);
    let failure = plan.failure(Cause::Deadline(Place::Attempt), Some(placed.pool.name.clone()), number);
    let (endpoint, reach) = (Some(placed.pool.key), Reach::MaybeExecuted);
    Failed { endpoint, reach, ..Failed::here(failure, None) }
}

/// Why a request cannot be sent.
#[cold]
pub(crate) fn cause_of(status: &Status) -> Cause {
    if status.code() == Code::ResourceExhausted { Cause::RequestTooLarge } else { Cause::Encode }
}

/// A request could not be encoded, or is too large.
#[cold]
pub(crate) fn unsendable(plan: &Plan, placed: &Placed, status: Status, number: u32) -> Failed {
    let failure = plan.failure(cause_of(&status), Some(placed.pool.name.clone()), number);
    // No other attempt could send it either, whatever the policy says of the code.
    Failed { begun: Begun::Yes, ..Failed::here(failure, Some(status)) }
}

/// Whether an attempt has succeeded.
pub(crate) fn check(plan: &Plan, outcome: Outcome, pool: &Rc<Pool>, number: u32) -> Result<Got, Failed> {
    let begun = outcome.begun;
    let is_own_fault = outcome.end.verdict().is_none();
    let (cause, status, reach) = match outcome.end {
        End::Answered(ref status) if status.code() == Code::Ok => {
            return Ok(Got { outcome, pool: pool.clone(), number });
        }
        End::Answered(mut status) => {
            // A failed call has no response whose leading metadata could be asked for.
            if !outcome.metadata.is_empty() {
                status.metadata_mut().merge(&outcome.metadata);
            }
            (Cause::Server, Some(status), Reach::MaybeExecuted)
        }
        End::Lost(lost) => {
            let Lost { cause, status, reach } = *lost;
            (cause, status, if is_own_fault { Reach::Local } else { reach })
        }
    };
    let failure = plan.failure(cause, Some(pool.name.clone()), number);
    Err(Failed { failure, status, reach, endpoint: Some(pool.key), begun })
}

/// From what came to what the caller gets.
pub(crate) fn decode<C: Codec>(plan: &Plan, codec: &C, got: Got) -> Result<Response<C::Decode>, Status> {
    let Got { outcome, pool, number } = got;
    taken(plan, codec, outcome, &pool, number)
}

/// As `decode`, with what came and where it came from.
#[inline]
pub(super) fn taken<C: Codec>(
    plan: &Plan,
    codec: &C,
    outcome: Outcome,
    pool: &Pool,
    number: u32,
) -> Result<Response<C::Decode>, Status> {
    let item = unpack(plan, codec, outcome.message, outcome.encoding);
    let (item, compressed) = item.map_err(|(cause, status)| {
        plan.failure(cause, Some(pool.name.clone()), number).into_status(status)
    })?;
    Ok(respond(item, compressed, outcome.metadata, outcome.trailers))
}

/// The message that came, and whether it was compressed.
fn unpack<C: Codec>(
    plan: &Plan,
    codec: &C,
    gathered: Gathered,
    encoding: Encoding,
) -> Result<(C::Decode, bool), (Cause, Option<Status>)> {
    let message = gathered.message().map_err(|error| (Cause::from(error), None))?;
    let compressed = message.compressed;
    let item = decode_gathered(codec, gathered, encoding, plan.receive_max);
    item.map(|item| (item, compressed)).map_err(|status| undecoded(plan, status))
}

/// Why a message that came is of no use.
pub(crate) fn undecoded(plan: &Plan, status: Status) -> (Cause, Option<Status>) {
    let is_large = status.code() == Code::ResourceExhausted;
    let too_large = Cause::ResponseTooLarge { len: None, max: plan.receive_max };
    (if is_large { too_large } else { Cause::Decode }, Some(status))
}

pub(crate) fn respond<T>(item: T, compressed: bool, metadata: Metadata, trailers: Metadata) -> Response<T> {
    let mut parts = ReplyParts::default();
    (parts.metadata, parts.trailers) = (metadata, trailers);
    if compressed {
        parts.extensions.insert(WasCompressed);
    }
    Response::from_reply(parts, item)
}
