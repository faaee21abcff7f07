//! How far a connection has come: its session says it, and whoever keeps the connection waits for it.
//!
//! Invariant: it never goes back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corelane_runtime::Io;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The server's SETTINGS have not come.
    Greeting,
    /// It takes calls.
    Ready,
    /// It takes no new ones.
    Leaving,
    /// It is over.
    Closed,
}

/// What whoever keeps the connection sees of it.
pub(super) struct Standing {
    phase: Cell<Phase>,
    reason: RefCell<String>,
    has_answered: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Standing {
    pub(super) fn new() -> Rc<Standing> {
        let (phase, waker) = (Cell::new(Phase::Greeting), Cell::new(None));
        Rc::new(Standing { phase, reason: RefCell::default(), has_answered: Cell::new(false), waker })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.phase.get() == Phase::Ready
    }

    /// It has come so far at least; whoever waits is woken when the session is no longer in use.
    pub(super) fn reach(&self, phase: Phase, io: &mut Io<'_>) {
        if let Some(waker) = self.go_on(phase) {
            io.wake_after(waker);
        }
    }

    /// It is over; gives whoever waits, to be woken when the session is no longer in use.
    pub(super) fn close(&self, reason: String) -> Option<Waker> {
        *self.reason.borrow_mut() = reason;
        self.go_on(Phase::Closed)
    }

    fn go_on(&self, phase: Phase) -> Option<Waker> {
        if phase <= self.phase.get() {
            return None;
        }
        self.phase.set(phase);
        self.waker.take()
    }

    /// Ready when the connection has come beyond `known`.
    pub(super) fn poll_beyond(&self, known: Phase, cx: &Context<'_>) -> Poll<Phase> {
        if self.phase.get() > known {
            return Poll::Ready(self.phase.get());
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The server has answered a call.
    #[inline]
    pub(super) fn answered(&self) {
        self.has_answered.set(true);
    }

    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.get()
    }

    /// Why it takes no calls.
    pub(super) fn reason(&self) -> String {
        match self.phase.get() {
            Phase::Closed => self.reason.borrow().clone(),
            _ => "the server takes no more calls on the connection".to_owned(),
        }
    }
}
