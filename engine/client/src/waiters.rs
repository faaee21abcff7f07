//! Tasks of one worker that wait for something there is not enough of, in the order in which they came.
//!
//! Invariant: a call that is called and does not come (its future was dropped) passes its turn on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// See the module.
#[derive(Default)]
pub(crate) struct Waiters {
    queue: RefCell<VecDeque<Rc<Ticket>>>,
    /// Of them, those that still wait.
    waiting: Cell<usize>,
}

#[derive(Default)]
struct Ticket {
    turn: Cell<Turn>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Waiting,
    Called,
    Gone,
}

impl Waiters {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// A place at the end of the queue.
    pub(crate) fn join(self: &Rc<Self>) -> Wait {
        let ticket = Rc::new(Ticket::default());
        let mut queue = self.queue.borrow_mut();
        // Those that left stay behind as empty places until they come to the front.
        if queue.len() > 2 * self.waiting.get() + 16 {
            queue.retain(|ticket| ticket.turn.get() == Turn::Waiting);
        }
        queue.push_back(ticket.clone());
        drop(queue);
        self.waiting.set(self.waiting.get() + 1);
        Wait { waiters: self.clone(), ticket }
    }

    /// Calls the first; the waker is to be called when nothing is borrowed.
    pub(crate) fn call_one(&self) -> Option<Waker> {
        loop {
            let ticket = self.queue.borrow_mut().pop_front()?;
            if ticket.turn.get() != Turn::Waiting {
                continue;
            }
            ticket.turn.set(Turn::Called);
            self.waiting.set(self.waiting.get() - 1);
            let waker = ticket.waker.take();
            if waker.is_some() {
                return waker;
            }
            // It was made in this very turn and will see that it was called when it is polled.
            return Some(Waker::noop().clone());
        }
    }

    /// Wakes the first, whose turn it is now.
    pub(crate) fn pass_on(&self) {
        if let Some(next) = self.call_one() {
            next.wake();
        }
    }

    /// Calls all.
    pub(crate) fn call_all(&self) {
        // No more than wait now: who comes back is not called again.
        for _ in 0..self.waiting.get() {
            match self.call_one() {
                Some(waker) => waker.wake(),
                None => break,
            }
        }
    }
}

/// One that waits.
pub(crate) struct Wait {
    waiters: Rc<Waiters>,
    ticket: Rc<Ticket>,
}

impl Wait {
    /// Ready when it is this one's turn.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ticket.turn.get() != Turn::Waiting {
            self.ticket.turn.set(Turn::Gone);
            return Poll::Ready(());
        }
        let mut waker = self.ticket.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Wait::poll(&mut self, cx)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        match self.ticket.turn.replace(Turn::Gone) {
            Turn::Waiting => self.waiters.waiting.set(self.waiters.waiting.get() - 1),
            Turn::Called => self.waiters.pass_on(),
            Turn::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_called(wait: &mut Wait) -> bool {
        wait.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn they_are_called_in_order() {
        let waiters = Rc::new(Waiters::default());
        let (mut first, mut second) = (waiters.join(), waiters.join());
        assert!(!is_called(&mut first) && !is_called(&mut second));
        assert!(waiters.call_one().is_some());
        assert!(is_called(&mut first) && !is_called(&mut second));
        assert_eq!(waiters.len(), 1);
        waiters.call_all();
        assert!(is_called(&mut second) && waiters.is_empty());
        assert!(waiters.call_one().is_none());
    }

    #[test]
    fn who_was_called_and_does_not_come_passes_its_turn_on() {
        let waiters = Rc::new(Waiters::default());
        let (first, mut second) = (waiters.join(), waiters.join());
        assert!(waiters.call_one().is_some());
        drop(first);
        assert!(is_called(&mut second));
    }

    #[test]
    fn who_leaves_is_not_called() {
        let waiters = Rc::new(Waiters::default());
        let first = waiters.join();
        let mut second = waiters.join();
        drop(first);
        assert_eq!(waiters.len(), 1);
        assert!(waiters.call_one().is_some());
        assert!(is_called(&mut second));
        for _ in 0..1_000 {
            drop(waiters.join());
        }
        assert!(waiters.queue.borrow().len() <= 17, "places of those who left are given up");
    }
}
