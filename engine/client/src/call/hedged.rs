//! One request, sent in copies that do not wait for one another to fail (gRFC A6). The first good answer counts, and the other
//! copies are cancelled.
//!
//! Does not: hedge streams. Each copy would have to be kept until one of them is chosen.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use corelane_call::{Codec, Status};
use corelane_policy::balance::EndpointKey;
use corelane_policy::config::HedgingPolicy;
use corelane_policy::resilience::{AfterFailure, Committed, Hedge, HedgeState, Stop};
use corelane_runtime::{Sleep, now, sleep_until};

use super::plan::Plan;
use super::unary::{Failed, Got, attempt};
use crate::Place;
use crate::error::Failure;

type Copy<'a> = Pin<Box<dyn Future<Output = Result<Got, Failed>> + 'a>>;

/// Makes the call.
pub(crate) async fn fetch<C: Codec>(
    plan: &Plan,
    policy: &HedgingPolicy,
    codec: &C,
    message: &C::Encode,
) -> Result<Got, Status> {
    // Each copy should go to another endpoint.
    let used = RefCell::new(Vec::new());
    let send = |number: u32, previous: Option<&'static str>| -> Copy<'_> {
        let avoid: Vec<EndpointKey> = used.borrow().clone();
        let used = &used;
        Box::pin(async move { attempt(plan, codec, message, number, previous, &avoid, Some(used)).await })
    };
    let mut call = Hedged {
        state: HedgeState::new(policy.clone(), now()),
        copies: vec![send(1, None)],
        last: None,
        alarm: None,
    };
    poll_fn(|cx| call.poll(plan, &send, cx)).await
}

struct Hedged<'a> {
    state: HedgeState,
    copies: Vec<Copy<'a>>,
    /// The failure that the caller hears if no copy succeeds.
    last: Option<Failed>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<'a> Hedged<'a> {
    fn poll(
        &mut self,
        plan: &Plan,
        send: &impl Fn(u32, Option<&'static str>) -> Copy<'a>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Got, Status>> {
        let throttle = plan.settings.config.throttle.as_deref();
        loop {
            if let Poll::Ready(ended) = self.poll_copies(plan, send, cx) {
                return Poll::Ready(ended);
            }
            if now() >= plan.deadline {
                // Copies that are under way end by themselves.
                return if self.copies.is_empty() {
                    Poll::Ready(Err(self.expired(plan)))
                } else {
                    Poll::Pending
                };
            }
            match self.state.poll(now(), throttle) {
                Hedge::Send => {
                    self.copies.push(send(self.state.attempts(), self.state.previous_attempts()));
                }
                Hedge::WaitUntil(at) => {
                    let at = at.min(plan.deadline);
                    let stale = self.alarm.as_ref().is_none_or(|alarm| alarm.deadline() != at);
                    if stale {
                        self.alarm = Some(Box::pin(sleep_until(at)));
                    }
                    let alarm = self.alarm.as_mut().expect("it was set just now");
                    if alarm.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.alarm = None;
                }
                Hedge::Exhausted => return Poll::Pending,
                Hedge::GiveUp(stop) => return Poll::Ready(Err(self.give_up(plan, stop))),
            }
        }
    }

    /// Ready when a copy has decided the call.
    fn poll_copies(
        &mut self,
        plan: &Plan,
        send: &impl Fn(u32, Option<&'static str>) -> Copy<'a>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Got, Status>> {
        let throttle = plan.settings.config.throttle.as_deref();
        let mut index = 0;
        while index < self.copies.len() {
            let failed = match self.copies[index].as_mut().poll(cx) {
                Poll::Pending => {
                    index += 1;
                    continue;
                }
                Poll::Ready(Ok(got)) => {
                    self.copies.clear();
                    return Poll::Ready(Ok(got));
                }
                Poll::Ready(Err(failed)) => failed,
            };
            drop(self.copies.swap_remove(index));
            if now() >= plan.deadline {
                // Whatever the policy says of the code: nothing can be answered in time any more.
                self.copies.clear();
                return Poll::Ready(Err(failed.into_status(None)));
            }
            match self.state.on_attempt_failed(&failed.as_policy(Committed::No), now(), throttle) {
                AfterFailure::Continue => self.last = Some(failed),
                AfterFailure::TransparentRetry => {
                    self.copies.push(send(failed.failure.attempt, self.state.previous_attempts()));
                }
                AfterFailure::Fail(stop) => {
                    self.last = Some(failed);
                    return Poll::Ready(Err(self.give_up(plan, stop)));
                }
            }
        }
        Poll::Pending
    }

    fn give_up(&mut self, plan: &Plan, stop: Stop) -> Status {
        self.copies.clear();
        match self.last.take() {
            Some(failed) => failed.into_status(Some(stop)),
            None => self.expired(plan),
        }
    }

    /// The deadline is over, and no copy is under way.
    fn expired(&mut self, plan: &Plan) -> Status {
        let before = self.last.take().map(|failed| Arc::new(failed.failure));
        Failure { before, ..plan.expired(Place::Backoff, self.state.attempts()) }.into_status(None)
    }
}
