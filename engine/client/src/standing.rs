//! What a worker's pool sees of one of its connections without touching it: how far it has come, how many calls it carries.
//!
//! Shared by the connection's session, which writes it, and the pool, which reads it. Invariant: phases only go forward.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use corelane_wire::Instant;
use corelane_wire::frame::ErrorCode;

use crate::Cause;
use crate::waiters::Waiters;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The server's SETTINGS have not come yet.
    Greeting,
    /// It takes calls.
    Ready,
    /// It takes no new ones, and finishes those that it has.
    Leaving,
    /// It is over.
    Closed,
}

/// See the module.
pub(crate) struct Standing {
    phase: Cell<Phase>,
    /// Calls whose streams are open.
    calls: Cell<u32>,
    /// Of them, the channel's own.
    asides: Cell<u32>,
    /// Streams that the server allows, open ones included.
    allowed: Cell<usize>,
    /// When the last of them ended.
    idle_since: Cell<Instant>,
    /// The code of the server's GOAWAY.
    goaway: Cell<ErrorCode>,
    pinged_too_much: Cell<bool>,
    /// The time of its keepalive; zero without.
    keepalive: Duration,
    /// Why it is over.
    loss: RefCell<Option<Cause>>,
    /// The tasks that watch the phase: the pool's, and one for load reports.
    watchers: RefCell<Vec<Waker>>,
    /// Calls that wait for a stream, on this connection or another one to the same endpoint.
    waiters: Rc<Waiters>,
}

impl Standing {
    pub(crate) fn new(waiters: Rc<Waiters>, keepalive: Duration) -> Rc<Standing> {
        Rc::new(Standing {
            phase: Cell::new(Phase::Greeting),
            calls: Cell::new(0),
            asides: Cell::new(0),
            allowed: Cell::new(usize::MAX),
            idle_since: Cell::new(corelane_runtime::now()),
            goaway: Cell::new(ErrorCode::NO_ERROR),
            pinged_too_much: Cell::new(false),
            keepalive,
            loss: RefCell::default(),
            watchers: RefCell::default(),
            waiters,
        })
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Goes forward to `phase`, and has the watcher told by `wake`.
    pub(crate) fn set_phase(&self, phase: Phase, wake: impl FnMut(Waker)) {
        if phase > self.phase.get() {
            self.phase.set(phase);
            self.watchers.take().into_iter().for_each(wake);
        }
    }

    /// Ready when the phase is beyond `known`.
    pub(crate) fn poll_beyond(&self, known: Phase, cx: &Context<'_>) -> Poll<Phase> {
        if self.phase.get() > known {
            return Poll::Ready(self.phase.get());
        }
        let mut watchers = self.watchers.borrow_mut();
        if !watchers.iter().any(|known| known.will_wake(cx.waker())) {
            watchers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Calls of the channel's users.
    #[inline]
    pub(crate) fn calls(&self) -> u32 {
        self.calls.get().saturating_sub(self.asides.get())
    }

    /// Those, and the channel's own streams.
    pub(crate) fn streams(&self) -> u32 {
        self.calls.get()
    }

    /// Counts a stream of the channel's own.
    pub(crate) fn aside(&self, change: i32) {
        self.asides.set(self.asides.get().saturating_add_signed(change));
    }

    /// Since when there is no call, if there is none.
    pub(crate) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    #[inline]
    pub(crate) fn opened(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    pub(crate) fn set_allowed(&self, streams: usize) {
        self.allowed.set(streams);
    }

    /// Whether so many hundredths of the streams that the server allows are in use.
    #[inline]
    pub(crate) fn is_crowded(&self, percent: u64) -> bool {
        let allowed = u64::try_from(self.allowed.get()).unwrap_or(u64::MAX);
        u64::from(self.calls.get()) * 100 >= allowed.saturating_mul(percent)
    }

    /// A stream is free; gives the task that may have it. Nobody may where no more calls are taken.
    #[inline]
    #[must_use = "a task whose turn it is and that is not woken waits for ever"]
    pub(crate) fn closed(&self) -> Option<Waker> {
        self.calls.set(self.calls.get() - 1);
        if self.calls() == 0 {
            self.idle_since.set(corelane_runtime::now());
        }
        if self.waiters.is_empty() || self.phase.get() != Phase::Ready {
            None
        } else {
            self.waiters.call_one()
        }
    }

    /// There is room for so many streams.
    pub(crate) fn room(&self, streams: usize, mut wake: impl FnMut(Waker)) {
        for _ in 0..streams.min(self.waiters.len()) {
            match self.waiters.call_one() {
                Some(waker) => wake(waker),
                None => break,
            }
        }
    }

    /// The server says goodbye.
    pub(crate) fn goaway(&self, code: ErrorCode, debug: &[u8]) {
        self.goaway.set(code);
        // gRFC A8: whoever hears this pings less often from now on.
        self.pinged_too_much.set(code == ErrorCode::ENHANCE_YOUR_CALM && debug == b"too_many_pings");
    }

    pub(crate) fn goaway_code(&self) -> ErrorCode {
        self.goaway.get()
    }

    /// The time of keepalive that the server did not bear, if it said so.
    pub(crate) fn pinged_too_often(&self) -> Option<Duration> {
        self.pinged_too_much.get().then_some(self.keepalive)
    }

    /// Notes why the connection is over; the first word counts.
    pub(crate) fn lose(&self, cause: Cause) {
        self.loss.borrow_mut().get_or_insert(cause);
    }

    pub(crate) fn loss(&self) -> Option<Cause> {
        self.loss.borrow().clone()
    }
}
