//! Calls with a stream in either direction.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use corelane_call::message::encode_gathered;
use corelane_call::{
    CallParts, Codec, CompressionSwitch, Inbound, ReplyParts, Response, Source, Status, Stream, Streaming,
};
use corelane_policy::balance::EndpointKey;
use corelane_policy::resilience::{Committed, Reach, RetryState};
use corelane_wire::connection::StreamKey;
use corelane_wire::frame::EndStream;

use super::feed::Feed;
use super::hedged::{Attempt, race};
use super::place::{Placed, place};
use super::plan::Plan;
use super::pump::{self, Packing};
use super::unary::{Failed, check, decode, ended_behind_head, succeeded, too_late, unsendable, until_next};
use crate::Cause;
use crate::end::Outcome;
use crate::session::{ClientLink, ClientSession, Opening, Origin};
use crate::time::by;

/// What is sent.
pub(crate) enum Requests<'a, M> {
    One(&'a M),
    Many(Rc<Feed>),
}

/// Starts the pump of a stream of requests.
pub(crate) fn feed<C, S>(plan: &Plan, codec: C, requests: S, parts: &mut CallParts) -> Rc<Feed>
where
    C: Codec,
    S: Stream<Item = C::Encode> + 'static,
{
    let switch = parts.extensions.remove::<CompressionSwitch>();
    let packing = Packing { encoding: plan.encodings.send, switch, size_max: plan.send_max };
    pump::start(requests, codec, packing, plan.local.shared.options.retry_buffer_bytes)
}

impl<M> Requests<'_, M> {
    fn feed(&self) -> Option<&Rc<Feed>> {
        match self {
            Requests::One(_) => None,
            Requests::Many(feed) => Some(feed),
        }
    }

    fn committed(&self) -> Committed {
        self.feed().map_or(Committed::No, |feed| feed.committed())
    }
}

/// Ends the pump with the call.
struct Fed<'a, 'm, M>(&'a Requests<'m, M>);

impl<M> Drop for Fed<'_, '_, M> {
    fn drop(&mut self) {
        if let Some(feed) = self.0.feed() {
            feed.end();
        }
    }
}

/// A stream of requests, one response.
pub(crate) async fn one_of_many<C: Codec>(
    plan: Plan,
    codec: &C,
    feed: Rc<Feed>,
) -> Result<Response<C::Decode>, Status> {
    let requests: Requests<'_, C::Encode> = Requests::Many(feed.clone());
    let _fed = Fed(&requests);
    plan.check_rate()?;
    let got = attempts(&plan, &requests, async |attempt| {
        let mut placed = open(&plan, &attempt, None, &requests, codec).await?;
        let (key, number) = (placed.key, attempt.number);
        let outcome = poll_fn(|cx| placed.link.session(|session| session.poll_one(key, cx)));
        let Some(outcome) = in_time(&plan, &requests, outcome).await else {
            return Err(too_late(&plan, &mut placed, number));
        };
        placed.settle(&outcome.end);
        plan.local.answered(&placed.pool, &outcome.trailers);
        check(&plan, outcome, &placed.pool, number)
    })
    .await?;
    succeeded(&plan);
    decode(&plan, codec, got)
}

/// A stream of responses, to one request or many.
pub(crate) async fn many<C: Codec>(
    plan: Plan,
    codec: &C,
    requests: Requests<'_, C::Encode>,
) -> Result<Response<Streaming<C::Decode>>, Status> {
    plan.check_rate()?;
    let plan = Rc::new(plan);
    let mut fed = Some(Fed(&requests));
    let opened = attempts(&plan, &requests, async |attempt| {
        let reader = Rc::new(Reader::default());
        let inbound = Rc::new(Inbound::with_source(reader.clone()));
        let mut placed = open(&plan, &attempt, Some(&inbound), &requests, codec).await?;
        let (key, number) = (placed.key, attempt.number);
        let head = poll_fn(|cx| placed.link.session(|session| session.poll_head(key, cx)));
        match in_time(&plan, &requests, head).await {
            None => Err(too_late(&plan, &mut placed, number)),
            Some(Ok((encoding, metadata))) => {
                reader.attach(&plan, placed, &requests, number);
                let mut parts = ReplyParts::default();
                parts.metadata = metadata;
                let messages = Streaming::new(codec.clone(), inbound, encoding, plan.receive_max);
                Ok(Response::from_reply(parts, messages))
            }
            Some(Err(outcome)) => {
                placed.settle(&outcome.end);
                plan.local.answered(&placed.pool, &outcome.trailers);
                Err(ended(&plan, &placed, outcome, number))
            }
        }
    })
    .await;
    if opened.is_ok() {
        // The reader ends the pump now.
        std::mem::forget(fed.take());
    }
    opened
}

/// What an attempt waits for, as long as it may (`perAttemptRecvTimeout`). One that cannot be made again, since not all of its
/// requests are kept, may take its time.
async fn in_time<M, T>(
    plan: &Plan,
    requests: &Requests<'_, M>,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let Some(deadline) = plan.attempt_deadline() else { return Some(answer.await) };
    let mut answer = pin!(answer);
    match by(deadline, answer.as_mut()).await {
        None if requests.committed() == Committed::Yes => Some(answer.await),
        in_time => in_time,
    }
}

/// Makes as many attempts as the call's policy allows, one after the other or not.
async fn attempts<M, T>(
    plan: &Plan,
    requests: &Requests<'_, M>,
    attempt: impl AsyncFn(Attempt<'_>) -> Result<T, Failed>,
) -> Result<T, Status> {
    match plan.hedging() {
        None => retrying(plan, requests, attempt).await,
        Some(policy) => {
            let feed = requests.feed().map(|feed| &**feed);
            Box::pin(race(plan, policy, feed, attempt)).await
        }
    }
}

/// Makes attempts until one succeeds or no further one is allowed.
async fn retrying<M, T>(
    plan: &Plan,
    requests: &Requests<'_, M>,
    attempt: impl AsyncFn(Attempt<'_>) -> Result<T, Failed>,
) -> Result<T, Status> {
    let mut retries = RetryState::new();
    let mut avoid: Vec<EndpointKey> = Vec::new();
    loop {
        let (number, previous) = (retries.attempts(), retries.previous_attempts());
        let failed = match attempt(Attempt { number, previous, avoid: &avoid, used: None }).await {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        until_next(plan, &mut retries, &mut avoid, failed, requests.committed()).await?;
    }
}

/// Opens the stream of an attempt, and has the requests sent there. Responses go to `inbound`, or are one.
async fn open<C: Codec>(
    plan: &Plan,
    attempt: &Attempt<'_>,
    inbound: Option<&Rc<Inbound>>,
    requests: &Requests<'_, C::Encode>,
    codec: &C,
) -> Result<Placed, Failed> {
    let &Attempt { number, previous, avoid, .. } = attempt;
    let mut encoded = Ok(());
    let encodings = plan.encodings;
    let placed = place(plan, number, avoid, |session, io, pool| {
        let now = io.now;
        plan.with_head(now, previous, |head, more| {
            let opening = Opening {
                head,
                more,
                deadline: plan.deadline,
                receive_max: plan.receive_max,
                accept: encodings.accept,
            };
            let key = match inbound {
                None => session.open_one(io, &opening, EndStream::No)?,
                Some(inbound) => {
                    let origin = Origin { endpoint: pool.name.clone(), attempt: number, began: plan.began };
                    session.open_many(io, &opening, EndStream::No, inbound.clone(), Rc::new(origin))?
                }
            };
            if let Requests::One(message) = requests {
                encoded = session.send(io, key, EndStream::Yes, |out| {
                    encode_gathered(codec, message, encodings.send, plan.send_max, out)
                });
            }
            Ok(key)
        })
    })
    .await;
    let placed = placed.map_err(|failure| Failed::here(failure, None))?;
    attempt.note(placed.pool.key);
    if let Err(status) = encoded {
        return Err(unsendable(plan, &placed, status, number));
    }
    if let Some(feed) = requests.feed() {
        feed.aim(number, placed.link.clone(), placed.key);
    }
    Ok(placed)
}

/// A call that ended before its response began.
#[cold]
fn ended(plan: &Plan, placed: &Placed, outcome: Outcome, number: u32) -> Failed {
    match check(plan, outcome, &placed.pool, number) {
        Err(failed) => failed,
        // An end without a response, and yet a success, is the head of an empty stream, and was taken for that.
        Ok(_) => {
            let failure = plan.failure(Cause::MissingStatus, Some(placed.pool.name.clone()), number);
            Failed { reach: Reach::MaybeExecuted, ..Failed::here(failure, None) }
        }
    }
}

/// What the reader of responses does to the call: it frees the window, and ends the call when it goes.
#[derive(Default)]
struct Reader {
    stream: OnceCell<(ClientLink, StreamKey)>,
    held: RefCell<Option<Held>>,
}

/// What lives as long as the reader.
struct Held {
    placed: Placed,
    plan: Rc<Plan>,
    feed: Option<Rc<Feed>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(feed) = &self.feed {
            feed.end();
        }
        // Not when its response began: what the server makes of the call is not known before it has ended (gRFC A6).
        if let Some(code) = self.placed.conclude() {
            ended_behind_head(&self.plan, code);
        }
    }
}

impl Reader {
    /// The response of an attempt has begun, and it goes on.
    fn attach<M>(&self, plan: &Rc<Plan>, placed: Placed, requests: &Requests<'_, M>, number: u32) {
        let stream = placed.link.session(|session| session.stream_of(placed.key));
        if let Some(stream) = stream {
            let _ = self.stream.set((placed.link.clone(), stream));
        }
        let feed = requests.feed().cloned();
        if let Some(feed) = &feed {
            feed.commit(number);
        }
        *self.held.borrow_mut() = Some(Held { placed, plan: plan.clone(), feed });
    }
}

impl Source for Reader {
    fn consumed(&self, bytes: u32) {
        if let Some((link, stream)) = self.stream.get() {
            link.with(|_, io| ClientSession::credit(io, *stream, bytes));
        }
    }

    fn abandoned(&self) {
        let held = self.held.take();
        drop(held);
    }
}
