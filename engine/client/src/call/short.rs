//! A unary call as its caller's future, and the short way through it: planned at once, sent at once, answered at the first attempt.
//!
//! Nearly all calls go that way, so it is written as one future. As async functions, each would keep a copy of what it is given, and
//! the task that comes back with the answer would go through all of them. The long way, which is whatever must be waited for
//! before a call is sent, the cache, hedging and retries, is the async functions of this module's neighbours, boxed when it begins.
//!
//! Invariant: whichever way a call goes, its interceptors hear of its end once, unless one of them has refused it.

use std::pin::Pin;
use std::task::{Context, Poll};

use corelane_call::{Codec, Extensions, Request, Response, Status};

use super::place::{Line, Placed, place_at_once};
use super::plan::Plan;
use super::unary::{Failed, answer, check, opener, retrying, succeeded, taken, unary, unsendable};
use crate::end::Outcome;
use crate::{Caller, Method};

/// What a call comes to.
type Answer<T> = Result<Response<T>, Status>;

/// See the module.
pub(crate) struct UnaryCall<'a, C: Codec> {
    caller: &'a Caller,
    method: Method,
    codec: C,
    stage: Stage<'a, C>,
}

/// Nothing in it is pinned: what must be is boxed.
impl<C: Codec> Unpin for UnaryCall<'_, C> {}

/// How far a call is.
#[allow(
    clippy::large_enum_variant,
    reason = "each call is sent, and waits for its answer nearly all of its time"
)]
enum Stage<'a, C: Codec> {
    /// Nobody has asked for it yet.
    New(Request<C::Encode>),
    Sent(Sent<C::Encode>),
    Long(Pin<Box<dyn Future<Output = Answer<C::Decode>> + 'a>>),
    Over,
}

/// A call whose first attempt is on its way; the request is kept for others.
struct Sent<M> {
    placed: Placed,
    plan: Plan,
    message: M,
    /// They live as long as the call: an interceptor may have put something there that is to end with it.
    extensions: Extensions,
}

/// What a call has come to where the short way ends.
enum SoFar {
    /// No attempt was made.
    Planned,
    /// The first attempt waits for a stream.
    InLine(Line),
    /// The first attempt has failed.
    Failed(Failed),
}

impl<'a, C: Codec> UnaryCall<'a, C> {
    #[inline]
    pub(crate) fn new(
        caller: &'a Caller,
        method: Method,
        codec: C,
        request: Request<C::Encode>,
    ) -> UnaryCall<'a, C> {
        UnaryCall { caller, method, codec, stage: Stage::New(request) }
    }

    /// Sends the call, or says what it has come to already.
    #[inline]
    fn begin(&mut self) -> Option<Answer<C::Decode>> {
        let Stage::New(request) = &mut self.stage else { return None };
        let plan = match self.caller.plan_at_once(self.method, request.call_mut()) {
            Ok(Some(plan)) => plan,
            Ok(None) => {
                self.plan_first();
                return None;
            }
            Err(refusal) => {
                self.stage = Stage::Over;
                return Some(Err(refusal));
            }
        };
        if !plan.is_simple() {
            self.go_on(plan, SoFar::Planned);
            return None;
        }
        if let Err(status) = plan.check_rate() {
            self.stage = Stage::Over;
            return Some(self.caller.ended(self.method, Err(status)));
        }
        let mut encoded = Ok(());
        let message = request.get_ref();
        let placed =
            place_at_once(&plan, 1, &[], &mut opener(&plan, &self.codec, message, None, &mut encoded));
        let so_far = match (placed, encoded) {
            (Ok(Ok(placed)), Ok(())) => {
                self.sent(plan, placed);
                return None;
            }
            (Ok(Ok(placed)), Err(status)) => SoFar::Failed(unsendable(&plan, &placed, status, 1)),
            (Ok(Err(line)), _) => SoFar::InLine(line),
            (Err(failure), _) => SoFar::Failed(Failed::here(failure, None)),
        };
        self.go_on(plan, so_far);
        None
    }

    /// Takes what is left of a request whose call has a plan.
    #[inline]
    fn request(&mut self) -> Option<(C::Encode, Extensions)> {
        let Stage::New(mut request) = std::mem::replace(&mut self.stage, Stage::Over) else { return None };
        let extensions = std::mem::take(request.extensions_mut());
        Some((request.into_inner(), extensions))
    }

    #[inline]
    fn sent(&mut self, plan: Plan, placed: Placed) {
        let Some((message, extensions)) = self.request() else { return };
        self.stage = Stage::Sent(Sent { placed, plan, message, extensions });
    }

    /// Takes what came of the first attempt; if that is no success, the call goes on.
    #[inline]
    fn take(&mut self, outcome: Outcome) -> Option<Answer<C::Decode>> {
        let Stage::Sent(sent) = &mut self.stage else {
            unreachable!("only a call that was sent is answered")
        };
        let Sent { placed, plan, .. } = sent;
        placed.settle(&outcome.end);
        plan.local.answered(&placed.pool, &outcome.trailers);
        if outcome.is_success() {
            succeeded(plan);
            let answer = taken(plan, &self.codec, outcome, &placed.pool, 1);
            self.stage = Stage::Over;
            return Some(self.caller.ended(self.method, answer));
        }
        self.failed(outcome);
        None
    }

    #[cold]
    fn failed(&mut self, outcome: Outcome) {
        let Stage::Sent(Sent { placed, plan, message, extensions }) =
            std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return;
        };
        if let Err(failed) = check(&plan, outcome, &placed.pool, 1) {
            drop(placed);
            self.go_long(plan, message, extensions, SoFar::Failed(failed));
        }
    }

    /// The long way of a call that must wait before it has a plan.
    #[cold]
    fn plan_first(&mut self) {
        let Stage::New(request) = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        let (mut parts, message) = request.into_call();
        let (caller, method, codec) = (self.caller, self.method, self.codec.clone());
        self.stage = Stage::Long(Box::pin(async move {
            let answer = match caller.plan(method, &mut parts).await? {
                Ok(plan) => unary(&plan, &codec, &message).await,
                Err(status) => Err(status),
            };
            caller.ended(method, answer)
        }));
    }

    /// The long way of a call that has a plan, and is new otherwise.
    #[cold]
    fn go_on(&mut self, plan: Plan, so_far: SoFar) {
        let Some((message, extensions)) = self.request() else { return };
        self.go_long(plan, message, extensions, so_far);
    }

    #[cold]
    fn go_long(&mut self, plan: Plan, message: C::Encode, extensions: Extensions, so_far: SoFar) {
        let (caller, method, codec) = (self.caller, self.method, self.codec.clone());
        self.stage = Stage::Long(Box::pin(async move {
            let answer = caller.ended(method, rest(plan, codec, message, so_far).await);
            drop(extensions);
            answer
        }));
    }
}

/// What remains of a call.
async fn rest<C: Codec>(plan: Plan, codec: C, message: C::Encode, so_far: SoFar) -> Answer<C::Decode> {
    let first = match so_far {
        SoFar::Planned => return unary(&plan, &codec, &message).await,
        SoFar::Failed(failed) => Err(failed),
        SoFar::InLine(line) => {
            let mut encoded = Ok(());
            let placed =
                line.wait(&plan, &[], &mut opener(&plan, &codec, &message, None, &mut encoded)).await;
            match placed {
                Ok(placed) => answer(&plan, placed, encoded, 1).await,
                Err(failure) => Err(Failed::here(failure, None)),
            }
        }
    };
    let got = retrying(&plan, &codec, &message, first).await?;
    super::unary::decode(&plan, &codec, got)
}

impl<C: Codec> Future for UnaryCall<'_, C> {
    type Output = Answer<C::Decode>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.get_mut();
        if let Some(answer) = call.begin() {
            return Poll::Ready(answer);
        }
        if let Stage::Sent(Sent { placed, .. }) = &mut call.stage {
            let key = placed.key;
            let Poll::Ready(outcome) = placed.link.session(|session| session.poll_one(key, cx)) else {
                return Poll::Pending;
            };
            if let Some(answer) = call.take(outcome) {
                return Poll::Ready(answer);
            }
        }
        match &mut call.stage {
            Stage::Long(rest) => rest.as_mut().poll(cx),
            _ => panic!("a call was polled after its end"),
        }
    }
}
