//! What other threads may hold of a worker: a mailbox, a bell, and the order to drain.
//!
//! Invariant: after [`Home::post`] and [`Home::drain`] the worker will look: either the bell was rung or an earlier ring is
//! still unread. A full mailbox loses no wake: the worker looks at all flags of calls, and
//! polls all spawned tasks. A worker whose drain ends has no connection on its way to it.

use crate::backend::{Accepted, BellRope};
use crate::limits::MAILBOX_MESSAGES_MAX;
use corelane_memory::{Drained, Key, Mailbox, Wake};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
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
    /// A connection that another worker has accepted, and counted here. Boxed: letters are many, and small.
    Connection(Box<Accepted>),
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
    /// Connections that were accepted for this worker: those that it serves, and those on their way to it. Not padded: it changes
    /// with connections, not with calls.
    connections: AtomicU32,
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
            connections: AtomicU32::new(0),
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
        // The ring that follows brings the worker to look; SeqCst is for `take_in`.
        self.drain_ms.fetch_min(grace_ms, Ordering::SeqCst);
        self.rope.pull();
    }

    /// From another worker: leaves a connection, which is this one's from here on.
    ///
    /// # Errors
    /// Gives the connection back when this worker drains, has ended, or has no room in its mailbox.
    pub(crate) fn take_in(&self, accepted: Accepted) -> Result<(), Accepted> {
        // SeqCst here, in `drain` and in `drain_ordered`: of "count, then look for the order" and "see the order, then look at the
        // count" one sees the other, so a worker does not end while a connection is on its way. Weaker orders would let both miss.
        self.connections.fetch_add(1, Ordering::SeqCst);
        if !self.is_open() {
            self.take_back();
            return Err(accepted);
        }
        match self.mailbox.push(Letter::Connection(Box::new(accepted))) {
            Ok(Wake::Ring) => self.rope.pull(),
            Ok(Wake::AlreadyRung) => {}
            Err(Letter::Connection(accepted)) => {
                self.take_back();
                return Err(*accepted);
            }
            Err(_) => unreachable!("a full mailbox gives back what it was given"),
        }
        // As in `submit`. Only a worker that died, and not one that drained, loses a connection here.
        if self.closed.load(Ordering::SeqCst) {
            self.empty();
        }
        Ok(())
    }

    /// A connection that was counted does not come. The worker may have stayed for it alone, so it must look.
    fn take_back(&self) {
        self.uncount_connection();
        self.rope.pull();
    }

    /// Whether connections may be left: it neither drains nor has ended.
    pub(crate) fn is_open(&self) -> bool {
        // SeqCst: see `take_in`.
        self.drain_ms.load(Ordering::SeqCst) == RUNNING && !self.closed.load(Ordering::SeqCst)
    }

    /// How many connections were accepted for this worker and are not over.
    pub(crate) fn connections(&self) -> u32 {
        // SeqCst: see `take_in`. To others it is a hint, for which any order would do.
        self.connections.load(Ordering::SeqCst)
    }

    /// For the worker: keeps a connection that it has accepted.
    pub(crate) fn count_connection(&self) {
        // Relaxed: what is seen with it is this thread's own.
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is over. In an ending worker a look at the count follows.
    pub(crate) fn uncount_connection(&self) {
        // SeqCst: in `take_back` it comes before the ring that has the worker look.
        let before = self.connections.fetch_sub(1, Ordering::SeqCst);
        debug_assert_ne!(before, 0, "a connection was counted once and is over twice");
    }

    /// For the worker: the grace of the drain that was ordered.
    pub(crate) fn drain_ordered(&self) -> Option<Duration> {
        // SeqCst: see `take_in`.
        match self.drain_ms.load(Ordering::SeqCst) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    fn home() -> (Home, UnixStream) {
        let (rope, bell) = BellRope::pair().unwrap();
        (Home::new(rope), bell)
    }

    fn accepted() -> (TcpStream, Accepted) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, remote) = listener.accept().unwrap();
        (client, Accepted::Tcp(stream, remote))
    }

    #[test]
    fn a_connection_counts_from_the_moment_it_is_left() {
        let (home, _bell) = home();
        let (_client, accepted) = accepted();
        assert!(home.take_in(accepted).is_ok());
        assert_eq!(home.connections(), 1);
        let mut came = 0;
        let drained = home.letters(|letter| came += u32::from(matches!(letter, Letter::Connection(_))));
        assert_eq!((drained, came, home.connections()), (Drained::Empty, 1, 1));
    }

    #[test]
    fn a_draining_worker_takes_no_connection_in() {
        let (home, _bell) = home();
        home.drain(Duration::from_secs(1));
        assert!(home.take_in(accepted().1).is_err());
        assert_eq!(home.connections(), 0);
    }

    #[test]
    fn an_ended_worker_takes_no_connection_in() {
        let (home, _bell) = home();
        home.close();
        assert!(home.take_in(accepted().1).is_err());
        assert_eq!(home.connections(), 0);
    }

    #[test]
    fn a_full_mailbox_gives_a_connection_back() {
        let (home, _bell) = home();
        for _ in 0..MAILBOX_MESSAGES_MAX {
            home.submit(Box::new(|| ())).unwrap();
        }
        assert_eq!(home.submit(Box::new(|| ())), Err(Rejected::Full));
        assert!(home.take_in(accepted().1).is_err());
        assert_eq!(home.connections(), 0);
    }
}
