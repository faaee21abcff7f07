//! What the rest of a worker knows of one connection: where wakes, timers and signals for it are put, and what the
//! sweep looks at.
//!
//! A connection's state belongs to its task alone. Wakers, the timer wheel, the ticker and the sweep never reach into
//! it: they put a note into the inbox and wake the task, which reads the notes in its next turn.
//!
//! Invariant: while the task runs it is not woken, since monoio would put it in front of all others; it looks at its
//! inbox once more before it ends its turn.

use crate::backend::Cord;
use corelane_memory::Key;
use std::cell::{Cell, OnceCell, RefCell};
use std::task::Waker;

/// Notes of the worker to a connection, as bits of [`Inbox::signals`].
pub(crate) mod signal {
    /// The worker drains.
    pub(crate) const DRAIN: u8 = 1;
    /// The grace of a drain is over.
    pub(crate) const FORCE: u8 = 2;
    /// A write made no progress for too long.
    pub(crate) const STALLED: u8 = 4;
    /// Somebody needs the receive buffer more.
    pub(crate) const RECLAIM: u8 = 8;
    /// Wakes were left in their flags: look through all calls.
    pub(crate) const SCAN: u8 = 16;
    /// A buffer lies ready in [`super::Inbox::granted`].
    pub(crate) const GRANTED: u8 = 32;
    /// A large buffer that others wait for has held a partial frame for too long.
    pub(crate) const HOLDS: u8 = 128;
    /// Nothing has come for a while: give back what only a busy connection needs.
    pub(crate) const QUIET: u8 = 64;
}

/// A timer that went off for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A call's, with the number under which it was set.
    Call { slot: u32, serial: u32 },
    /// The connection's own.
    Connection,
}

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The peer.
    Accepted,
    /// We.
    Dialed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Nothing of ours has woken it since its last turn.
    Asleep,
    /// Its turn will come.
    Woken,
    /// It has its turn.
    Running,
}

/// See the module.
pub(crate) struct Inbox {
    pub(crate) key: Key,
    pub(crate) origin: Origin,
    task: Cell<Task>,
    waker: OnceCell<Waker>,
    /// Calls whose waker was called.
    pub(crate) ready: RefCell<Vec<u32>>,
    pub(crate) due: RefCell<Vec<Due>>,
    signals: Cell<u8>,
    /// A receive buffer that was waited for.
    pub(crate) granted: Cell<Option<Vec<u8>>>,
    /// On the ticker's list.
    pub(crate) busy: Cell<bool>,
    /// When the last bytes came, in nanoseconds.
    pub(crate) received_ns: Cell<u64>,
    /// A large receive buffer is held.
    pub(crate) large: Cell<bool>,
    /// Since when a frame has lain in the buffer in part; 0 without one.
    pub(crate) partial_since_ns: Cell<u64>,
    /// Since when a write has made no progress; 0 without a write.
    pub(crate) writing_since_ns: Cell<u64>,
    /// No call is in flight.
    pub(crate) idle: Cell<bool>,
    /// It was told that it is quiet, and nothing has come since.
    pub(crate) quiet: Cell<bool>,
    /// A large receive buffer lies empty in a receive.
    pub(crate) reclaimable: Cell<bool>,
    /// What ends the connection if its worker dies.
    pub(crate) cord: OnceCell<Cord>,
}

impl Inbox {
    pub(crate) fn new(key: Key, origin: Origin) -> Inbox {
        Inbox {
            key,
            origin,
            task: Cell::new(Task::Asleep),
            waker: OnceCell::new(),
            ready: RefCell::default(),
            due: RefCell::default(),
            signals: Cell::new(0),
            granted: Cell::default(),
            busy: Cell::new(false),
            received_ns: Cell::new(0),
            large: Cell::new(false),
            partial_since_ns: Cell::new(0),
            writing_since_ns: Cell::new(0),
            idle: Cell::new(false),
            quiet: Cell::new(false),
            reclaimable: Cell::new(false),
            cord: OnceCell::new(),
        }
    }

    /// The task begins a turn.
    pub(crate) fn enter(&self, waker: &Waker) {
        self.task.set(Task::Running);
        self.waker.get_or_init(|| waker.clone());
    }

    /// The task ends its turn.
    pub(crate) fn leave(&self) {
        debug_assert!(self.task.get() == Task::Running);
        self.task.set(Task::Asleep);
    }

    /// Has the task read its notes: at once if it is running, else in the turn that this brings about.
    pub(crate) fn notify(&self) {
        if self.task.get() == Task::Asleep {
            self.task.set(Task::Woken);
            // A task that has not run yet is about to.
            if let Some(waker) = self.waker.get() {
                waker.wake_by_ref();
            }
        }
    }

    /// Leaves a [`signal`].
    pub(crate) fn signal(&self, signal: u8) {
        self.signals.set(self.signals.get() | signal);
        self.notify();
    }

    /// Whether a buffer lies ready.
    pub(crate) fn is_granted(&self) -> bool {
        let granted = self.granted.take();
        let is_granted = granted.is_some();
        self.granted.set(granted);
        is_granted
    }

    /// Takes all signals.
    pub(crate) fn take_signals(&self) -> u8 {
        self.signals.replace(0)
    }

    /// For a connection that is over: throws notes away; says whether its own timer had gone off.
    pub(crate) fn discard_notes(&self) -> bool {
        self.ready.borrow_mut().clear();
        let mut due = self.due.borrow_mut();
        let own = due.contains(&Due::Connection);
        due.clear();
        own
    }

    /// Gives back the room for notes, where there are none.
    pub(crate) fn shrink(&self) {
        self.ready.borrow_mut().shrink_to_fit();
        self.due.borrow_mut().shrink_to_fit();
    }

    /// Whether anything lies here that wants a turn.
    pub(crate) fn has_notes(&self) -> bool {
        self.signals.get() != 0 || !self.ready.borrow().is_empty() || !self.due.borrow().is_empty()
    }
}
