//! The two ways to be part of a call that is made once for many: to make it, or to wait for it.
//!
//! Does not: hold a borrow of anything; both may live across an await.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corelane_wire::Instant;

use super::Shared;
use super::flight::{Flight, Left, Look};

/// Whoever makes the call. Dropped without a response (the call failed, or was given up), it leaves the call to the follower that
/// waited longest.
#[must_use = "dropping it makes another one lead"]
pub struct Leader<V: Clone> {
    shared: Rc<Shared<V>>,
    /// Taken when the response is there.
    flight: Option<Rc<Flight<V>>>,
}

impl<V: Clone> Leader<V> {
    pub(super) fn new(shared: Rc<Shared<V>>, flight: Rc<Flight<V>>) -> Leader<V> {
        Leader { shared, flight: Some(flight) }
    }

    /// Gives the response to all who wait, and keeps it for the cache's time.
    pub fn finish(mut self, value: V, now: Instant) {
        let Some(flight) = self.flight.take() else { return };
        if self.shared.end(&flight) {
            let bytes = (self.shared.size)(&value);
            let (key, ttl) = (flight.key.clone(), self.shared.config.ttl);
            self.shared.inner.borrow_mut().store.insert(flight.hash, key, value.clone(), bytes, now, ttl);
        }
        flight.land(value);
    }

    /// Gives the response to all who wait, and does not keep it.
    pub fn share(mut self, value: V) {
        let Some(flight) = self.flight.take() else { return };
        self.shared.end(&flight);
        flight.land(value);
    }
}

impl<V: Clone> Drop for Leader<V> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take()
            && flight.vacate() == Left::ToNobody
        {
            self.shared.end(&flight);
        }
    }
}

impl<V: Clone> fmt::Debug for Leader<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").finish_non_exhaustive()
    }
}

/// What waiting came to.
#[derive(Debug)]
pub enum Followed<V: Clone> {
    /// The response.
    Value(V),
    /// The leader is gone: make the call.
    Lead(Leader<V>),
}

/// Whoever waits for a call that another makes: a future.
#[must_use = "a future does nothing unless it is polled"]
pub struct Follower<V: Clone> {
    shared: Rc<Shared<V>>,
    /// Taken when it found something.
    flight: Option<Rc<Flight<V>>>,
    ticket: u64,
}

impl<V: Clone> Follower<V> {
    pub(super) fn new(shared: Rc<Shared<V>>, flight: Rc<Flight<V>>, ticket: u64) -> Follower<V> {
        Follower { shared, flight: Some(flight), ticket }
    }
}

impl<V: Clone> Future for Follower<V> {
    type Output = Followed<V>;

    /// # Panics
    /// If it is polled after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Followed<V>> {
        let this = self.get_mut();
        let flight = this.flight.take().expect("a future is not polled after it was ready");
        match flight.look(this.ticket, context.waker()) {
            Look::Wait => {
                this.flight = Some(flight);
                Poll::Pending
            }
            Look::Value(value) => Poll::Ready(Followed::Value(value)),
            Look::Lead => Poll::Ready(Followed::Lead(Leader::new(this.shared.clone(), flight))),
        }
    }
}

impl<V: Clone> Drop for Follower<V> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take()
            && flight.give_up(self.ticket) == Left::ToNobody
        {
            self.shared.end(&flight);
        }
    }
}

impl<V: Clone> fmt::Debug for Follower<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
