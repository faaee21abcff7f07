//! Tasks of one worker that wait for something there is not enough of, in the order in which they came.
//!
//! Whoever is called and finds nothing left comes back to its old place. Invariants: a call that is called and does not come (its
//! future was dropped) passes its turn on; the queue is in the order of its numbers.

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
    /// Those that wait, and those that were called and have not come yet, in all lines of the channel together.
    pending: Rc<Cell<usize>>,
    /// The next one's.
    number: Cell<Number>,
}

/// A place in line: the lower, the earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(u64);

struct Ticket {
    number: Number,
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
    /// A line whose waiters count in `pending`, too.
    pub(crate) fn new(pending: Rc<Cell<usize>>) -> Rc<Waiters> {
        Rc::new(Waiters { pending, ..Waiters::default() })
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// How many wait in all lines of the channel, those included that were called and have not come yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.get()
    }

    /// A place at the end of the queue.
    pub(crate) fn join(self: &Rc<Self>) -> Wait {
        let number = self.number.get();
        self.number.set(Number(number.0 + 1));
        self.rejoin(number)
    }

    /// The place that somebody had who was called too early.
    pub(crate) fn rejoin(self: &Rc<Self>, number: Number) -> Wait {
        let ticket = Rc::new(Ticket { number, turn: Cell::default(), waker: RefCell::default() });
        let mut queue = self.queue.borrow_mut();
        // Those that left stay behind as empty places until they come to the front.
        if queue.len() > 2 * self.waiting.get() + 16 {
            queue.retain(|ticket| ticket.turn.get() == Turn::Waiting);
        }
        let place = queue.partition_point(|other| other.number < number);
        queue.insert(place, ticket.clone());
        drop(queue);
        self.waiting.set(self.waiting.get() + 1);
        self.pending.set(self.pending.get() + 1);
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

    /// One that was called has come, or one has left.
    fn is_gone(&self) {
        self.pending.set(self.pending.get() - 1);
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
    pub(crate) fn number(&self) -> Number {
        self.ticket.number
    }

    /// Ready when it is this one's turn.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.ticket.turn.get() {
            Turn::Waiting => {}
            Turn::Called => {
                self.ticket.turn.set(Turn::Gone);
                self.waiters.is_gone();
                return Poll::Ready(());
            }
            Turn::Gone => return Poll::Ready(()),
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
        let turn = self.ticket.turn.replace(Turn::Gone);
        if turn != Turn::Gone {
            self.waiters.is_gone();
        }
        match turn {
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
    fn those_who_were_called_too_early_get_their_places_back() {
        let waiters = Rc::new(Waiters::default());
        let (mut first, mut second, mut third) = (waiters.join(), waiters.join(), waiters.join());
        for wait in [&mut first, &mut second] {
            assert!(waiters.call_one().is_some());
            assert!(is_called(wait));
        }
        let mut first = waiters.rejoin(first.number());
        let mut second = waiters.rejoin(second.number());
        for wait in [&mut first, &mut second, &mut third] {
            assert!(!is_called(wait));
            assert!(waiters.call_one().is_some());
            assert!(is_called(wait));
        }
    }

    #[test]
    fn who_was_called_is_there_until_it_comes_or_leaves() {
        let pending = Rc::new(Cell::new(0));
        let (waiters, others) = (Waiters::new(pending.clone()), Waiters::new(pending.clone()));
        let (mut comes, leaves, _waits) = (waiters.join(), waiters.join(), others.join());
        waiters.call_all();
        assert_eq!((waiters.len(), pending.get()), (0, 3));
        assert!(is_called(&mut comes) && is_called(&mut comes));
        drop(comes);
        assert_eq!(pending.get(), 2);
        drop(leaves);
        assert_eq!(pending.get(), 1);
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
