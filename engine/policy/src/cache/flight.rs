//! One call for all that want the same: the first makes it, the others wait for what it brings.
//!
//! A leader that fails or is dropped leaves the flight vacant; the follower that waited longest is woken and leads. One that is woken and
//! dropped before it looks passes the wake-up on, so a vacant flight always has someone on the way or nobody waiting.
//!
//! Does not: keep values, bound flights, or know time; a follower's deadline is its call's.
//!
//! Invariant: at most one leader at a time; no waker is called while something here is borrowed, since it may come back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use super::key::OwnedKey;

/// How a flight stands.
#[derive(Debug)]
enum State<V> {
    Led,
    /// The leader is gone, and whoever looks next leads.
    Vacant,
    Landed(V),
}

/// What a follower finds.
#[derive(Debug)]
pub(super) enum Look<V> {
    Value(V),
    /// The flight was vacant, and is led by who looked.
    Lead,
    Wait,
}

/// Whether anyone waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Someone will look and lead.
    ToFollowers,
    /// Nobody: the flight is over.
    ToNobody,
}

#[derive(Debug)]
struct Waiters<V> {
    state: State<V>,
    /// In order of arrival, so with rising tickets; without a waker until its first poll.
    queue: VecDeque<(u64, Option<Waker>)>,
    next_ticket: u64,
}

impl<V> Waiters<V> {
    /// Where in the queue; nowhere once the flight has landed.
    fn place(&self, ticket: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&ticket, |(number, _)| *number).ok()
    }

    fn leave(&mut self, ticket: u64) {
        if let Some(place) = self.place(ticket) {
            self.queue.remove(place);
        }
    }
}

/// A call under way, and who waits for it.
#[derive(Debug)]
pub(super) struct Flight<V> {
    pub(super) hash: u64,
    pub(super) key: Rc<OwnedKey>,
    inner: RefCell<Waiters<V>>,
}

impl<V: Clone> Flight<V> {
    /// A flight with a leader.
    pub(super) fn new(hash: u64, key: Rc<OwnedKey>) -> Flight<V> {
        let inner = RefCell::new(Waiters { state: State::Led, queue: VecDeque::new(), next_ticket: 0 });
        Flight { hash, key, inner }
    }

    /// Leads it if it is vacant; says whether it does.
    pub(super) fn lead_if_vacant(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        let is_vacant = matches!(inner.state, State::Vacant);
        if is_vacant {
            inner.state = State::Led;
        }
        is_vacant
    }

    /// A place in the queue, if there are fewer than `followers_max` in it.
    pub(super) fn join(&self, followers_max: usize) -> Option<u64> {
        let mut inner = self.inner.borrow_mut();
        if inner.queue.len() >= followers_max {
            return None;
        }
        let ticket = inner.next_ticket;
        inner.next_ticket += 1;
        inner.queue.push_back((ticket, None));
        Some(ticket)
    }

    /// A follower's poll. Anything but [`Look::Wait`] ends its place in the queue.
    pub(super) fn look(&self, ticket: u64, waker: &Waker) -> Look<V> {
        let mut inner = self.inner.borrow_mut();
        let found = match &inner.state {
            State::Led => {
                let place = inner.place(ticket).expect("a follower that waits is in the queue");
                match &mut inner.queue[place].1 {
                    Some(kept) => kept.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
                return Look::Wait;
            }
            State::Landed(value) => Look::Value(value.clone()),
            State::Vacant => {
                inner.state = State::Led;
                Look::Lead
            }
        };
        inner.leave(ticket);
        found
    }

    /// A follower that is dropped before it found anything.
    pub(super) fn give_up(&self, ticket: u64) -> Left {
        let mut inner = self.inner.borrow_mut();
        inner.leave(ticket);
        if !matches!(inner.state, State::Vacant) {
            return Left::ToFollowers;
        }
        // It may have been the one who was woken to lead.
        drop(inner);
        self.vacate()
    }

    /// The leader brings `value` to all.
    pub(super) fn land(&self, value: V) {
        let mut inner = self.inner.borrow_mut();
        inner.state = State::Landed(value);
        let queue = std::mem::take(&mut inner.queue);
        drop(inner);
        queue.into_iter().filter_map(|(_, waker)| waker).for_each(Waker::wake);
    }

    /// The leader is gone without a value.
    pub(super) fn vacate(&self) -> Left {
        let mut inner = self.inner.borrow_mut();
        inner.state = State::Vacant;
        // One that was never polled has no waker and needs none: it looks at its first poll.
        let waker = inner.queue.iter_mut().find_map(|(_, waker)| waker.take());
        let left = if inner.queue.is_empty() { Left::ToNobody } else { Left::ToFollowers };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        left
    }
}
