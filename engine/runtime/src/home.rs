//! What other threads may hold of a worker: a mailbox, a bell, and the order to drain.
//!
//! Invariant: after [`Home::post`] and [`Home::drain`] the worker will look: either the bell was rung or an earlier ring is
//! still unread. A full mailbox loses no wake: the worker looks at all flags of calls, and
//! polls all spawned tasks.

use crate::backend::BellRope;
use crate::limits::MAILBOX_MESSAGES_MAX;
use corelane_memory::{Drained, Key, Mailbox, Wake};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// No drain was ordered.
const RUNNING: u64 = u64::MAX;

/// A message to a worker.
pub(crate) enum Letter {
    /// The waker of a connection's call was called.
    Wake { connection: Key, slot: u32 },
    /// The waker of a spawned task was called.
    WakeTask(Key),
    /// To be called on the worker's thread.
    Job(Job),
}

/// What a foreign thread has a worker do.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// See the module.
pub(crate) struct Home {
    /// Unique in the process.
    pub(crate) id: u64,
    mailbox: Mailbox<Letter>,
    rope: BellRope,
    /// A letter found no room.
    overflow: AtomicBool,
    /// The grace of the drain that was ordered, in milliseconds, or [`RUNNING`].
    drain_ms: AtomicU64,
    /// Nobody reads letters any more.
    closed: AtomicBool,
}

impl Home {
    pub(crate) fn new(rope: BellRope) -> Home {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Home {
            // Relaxed: only uniqueness matters.
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            mailbox: Mailbox::new(MAILBOX_MESSAGES_MAX),
            rope,
            overflow: AtomicBool::new(false),
            drain_ms: AtomicU64::new(RUNNING),
            closed: AtomicBool::new(false),
        }
    }

    /// From a foreign thread: leaves a wake.
    pub(crate) fn post(&self, letter: Letter) {
        match self.mailbox.push(letter) {
            Ok(Wake::Ring) => self.rope.pull(),
            Ok(Wake::AlreadyRung) => {}
            Err(_) => {
                // Release pairs with the Acquire in `take_overflow`: the waker's flag, set before, is seen by the scan.
                // The bell is rung whatever its state: the worker looks at this flag only after it has read a ring, so
                // a ring that follows the store is a look that follows it.
                self.overflow.store(true, Ordering::Release);
                self.rope.pull();
            }
        }
    }

    /// From any thread: leaves a job, unless there is no room for it or nobody to do it; then it is dropped here.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Rejected> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Rejected::Ended);
        }
        match self.mailbox.push(Letter::Job(job)) {
            Ok(Wake::Ring) => self.rope.pull(),
            Ok(Wake::AlreadyRung) => {}
            Err(_) => return Err(Rejected::Full),
        }
        // SeqCst here and in `close`: of "push, then look" and "close, then empty" one sees the other, so no job stays
        // behind unheard of. Weaker orders would let both miss.
        if self.closed.load(Ordering::SeqCst) {
            self.empty();
        }
        Ok(())
    }

    /// For the worker, at its end: jobs are refused from now on, and those that wait are dropped.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.empty();
    }

    fn empty(&self) {
        while self.mailbox.pop().is_some() {}
    }

    /// From any thread: orders a drain. Of several orders the shortest grace counts.
    pub(crate) fn drain(&self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(RUNNING).min(RUNNING - 1);
        // Relaxed: the number is all there is to see, and the ring that follows brings the worker to look.
        self.drain_ms.fetch_min(grace_ms, Ordering::Relaxed);
        self.rope.pull();
    }

    /// For the worker: the grace of the drain that was ordered.
    pub(crate) fn drain_ordered(&self) -> Option<Duration> {
        match self.drain_ms.load(Ordering::Relaxed) {
            RUNNING => None,
            grace_ms => Some(Duration::from_millis(grace_ms)),
        }
    }

    /// For the worker, after a ring: hands over what was posted.
    pub(crate) fn letters(&self, take: impl FnMut(Letter)) -> Drained {
        self.mailbox.drain(MAILBOX_MESSAGES_MAX, take)
    }

    /// How many letters wait.
    pub(crate) fn letters_waiting(&self) -> usize {
        self.mailbox.len()
    }

    /// For the worker, after the letters: whether some found no room, so that all flags must be looked at.
    pub(crate) fn take_overflow(&self) -> bool {
        // Relaxed first: on nearly every visit nothing is there, and a swap would take the line for itself.
        self.overflow.load(Ordering::Relaxed) && self.overflow.swap(false, Ordering::Acquire)
    }

    /// For the worker itself: come back for what is left.
    pub(crate) fn ring(&self) {
        self.rope.pull();
    }
}

/// Why a worker does not take a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Its mailbox is full: [`MAILBOX_MESSAGES_MAX`] wait already.
    Full,
    /// It has ended, or is about to.
    Ended,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rejected::Full => {
                write!(f, "the worker's mailbox is full ({MAILBOX_MESSAGES_MAX} messages wait)")
            }
            Rejected::Ended => f.write_str("the worker has ended"),
        }
    }
}

impl std::error::Error for Rejected {}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("id", &self.id).finish_non_exhaustive()
    }
}
