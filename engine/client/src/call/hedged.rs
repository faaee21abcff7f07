//! A call sent in copies that do not wait for one another to fail (gRFC A6). The first one that is answered well goes on, and the
//! others are cancelled.
//!
//! One response counts when it has come whole, a stream of them when it has begun. Each copy gets all requests, from the first. Once
//! more of them were sent than are kept, no further copy could have them all: the call is committed to the one that has the most, and
//! the others are cancelled.
//!
//! Does not: know what a copy does. Those of unary calls are made here, those of streams beside their retries.

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

use super::feed::Feed;
use super::plan::Plan;
use super::unary::{self, Failed, Got};
use crate::Place;
use crate::error::Failure;

/// Which attempt of a call it is, and where it should not go.
pub(super) struct Attempt<'a> {
    pub(super) number: u32,
    /// How many went before, in words.
    pub(super) previous: Option<&'a str>,
    pub(super) avoid: &'a [EndpointKey],
    /// Where its endpoint is noted for those that follow before it has failed.
    pub(super) used: Option<&'a RefCell<Vec<EndpointKey>>>,
}

impl Attempt<'_> {
    /// It goes to this endpoint.
    pub(super) fn note(&self, endpoint: EndpointKey) {
        if let Some(used) = self.used {
            used.borrow_mut().push(endpoint);
        }
    }
}

/// An attempt by its number.
type Copy<'a, T> = (u32, Pin<Box<dyn Future<Output = Result<T, Failed>> + 'a>>);

/// Makes a unary call.
pub(crate) async fn fetch<C: Codec>(
    plan: &Plan,
    policy: &HedgingPolicy,
    codec: &C,
    message: &C::Encode,
) -> Result<Got, Status> {
    race(plan, policy, None, async |copy| unary::attempt(plan, codec, message, copy).await).await
}

/// Makes a call whose copies `attempt` makes. A stream of requests comes from `feed`.
pub(super) async fn race<T>(
    plan: &Plan,
    policy: &HedgingPolicy,
    feed: Option<&Feed>,
    attempt: impl AsyncFn(Attempt<'_>) -> Result<T, Failed>,
) -> Result<T, Status> {
    // Each copy should go to another endpoint.
    let used = RefCell::new(Vec::new());
    let (attempt, used) = (&attempt, &used);
    let send = |number: u32, previous: Option<&'static str>| -> Copy<'_, T> {
        let avoid: Vec<EndpointKey> = used.borrow().clone();
        let copy = async move {
            let used = Some(used);
            attempt(Attempt { number, previous, avoid: &avoid, used }).await
        };
        (number, Box::pin(copy))
    };
    let state = HedgeState::new(policy.clone(), now());
    let copies = vec![send(1, None)];
    let mut call = Hedged { state, feed, committed: Committed::No, copies, last: None, alarm: None };
    poll_fn(|cx| call.poll(plan, &send, cx)).await
}

struct Hedged<'a, T> {
    state: HedgeState,
    feed: Option<&'a Feed>,
    /// Whether the requests are not all kept, and only one copy can go on.
    committed: Committed,
    copies: Vec<Copy<'a, T>>,
    /// The failure that the caller hears if no copy succeeds.
    last: Option<Failed>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<'a, T> Hedged<'a, T> {
    fn poll(
        &mut self,
        plan: &Plan,
        send: &impl Fn(u32, Option<&'static str>) -> Copy<'a, T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Status>> {
        let throttle = plan.settings.config.throttle.as_deref();
        loop {
            // Before they are polled: those that get no more requests must not be heard.
            self.heed_commit(cx);
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
        send: &impl Fn(u32, Option<&'static str>) -> Copy<'a, T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Status>> {
        let throttle = plan.settings.config.throttle.as_deref();
        let mut index = 0;
        while index < self.copies.len() {
            let failed = match self.copies[index].1.as_mut().poll(cx) {
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
            match self.state.on_attempt_failed(&failed.as_policy(self.committed), now(), throttle) {
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

    /// Cancels the copies that cannot go on since the requests are not all kept any more.
    fn heed_commit(&mut self, cx: &mut Context<'_>) {
        let Some(feed) = self.feed.filter(|_| self.committed == Committed::No) else { return };
        if let Poll::Ready(chosen) = feed.poll_committed(cx) {
            self.committed = Committed::Yes;
            self.state.commit();
            self.copies.retain(|(number, _)| chosen.is_none_or(|chosen| chosen == *number));
        }
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
