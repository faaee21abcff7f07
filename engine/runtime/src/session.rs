//! What lives above the protocol on one connection, and what it may ask of the connection under it.

use crate::inbox::Inbox;
use crate::listen::Address;
use crate::timers::Target;
use crate::tls::TlsError;
use crate::waker::CallSlots;
use crate::worker::Worker;
use corelane_observe::{CallKind, WorkerCounters};
use corelane_wire::Instant;
use corelane_wire::connection::{Connection, ConnectionError, Event};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

/// What answers a connection's events: the server's calls today, the client's later.
///
/// All methods are called from the connection's own task, one at a time. A *slot* is a number of the session's own, small
/// and reused, one for each call in flight: wakers and timers are named by it. A wake or a timer may come for a call that is
/// gone; every method must bear that.
pub trait Session: 'static {
    /// Something arrived. The event's payload lies in the receive buffer.
    fn event(&mut self, io: &mut Io<'_>, event: &Event<'_>);

    /// The waker made for `slot` was called, or [`Io::wake_later`] asked for this: poll that call.
    fn wake(&mut self, io: &mut Io<'_>, slot: u32);

    /// The timer set for `slot` went off.
    fn timer(&mut self, io: &mut Io<'_>, slot: u32);

    /// The stream with this tag has room again for what its producer could not send.
    fn writable(&mut self, io: &mut Io<'_>, tag: u32);

    /// The worker drains: the peer has been told already, and new calls may still arrive for a moment.
    fn drain(&mut self, io: &mut Io<'_>);

    /// There has been no call for a while: give back what only a busy connection needs.
    fn quiet(&mut self) {}

    /// The connection is over: drop all calls. Nothing is called after this. Who is to hear of it goes into `woken`, and is called
    /// when the session is no longer in use, as with [`Io::wake_after`].
    fn closed(&mut self, reason: &CloseReason, woken: &mut Vec<Waker>);
}

/// Makes the sessions of one worker, on its thread.
pub trait SessionFactory: 'static {
    /// What it makes.
    type Session: Session;

    /// The session of a new connection.
    fn session(&self, peer: &Rc<PeerInfo>) -> Self::Session;
}

/// The two ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Where it comes from.
    pub remote: Address,
    /// Where it leads to.
    pub local: Address,
}

impl PeerInfo {
    /// The peer's IP address and port, for a TCP connection.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.remote.as_tcp()
    }

    /// Our IP address and port, for a TCP connection.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local.as_tcp()
    }
}

/// Why a connection is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// One side went away, and what was in flight has been served.
    Finished,
    /// The peer closed.
    PeerClosed,
    /// A protocol error, whose GOAWAY is on its way.
    Protocol(ConnectionError),
    /// The connection could not be secured, or the peer broke TLS.
    Tls(TlsError),
    /// The peer speaks TLS, and this connection is a plaintext one.
    TlsPeer,
    /// The socket failed.
    Io(io::Error),
    /// The peer did not read for too long.
    WriteStalled,
    /// The peer took too long over a frame, while others waited for the buffer that it lies in.
    FrameHeld,
    /// The grace of a drain was over, or the worker ended.
    Shutdown,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Finished => f.write_str("the connection has served what it had to"),
            CloseReason::PeerClosed => f.write_str("the peer closed the connection"),
            CloseReason::Protocol(error) => write!(f, "protocol error: {error}"),
            CloseReason::Tls(error) => error.fmt(f),
            CloseReason::TlsPeer => {
                f.write_str("the peer speaks TLS, and this connection is a plaintext one")
            }
            CloseReason::Io(error) => write!(f, "the socket failed: {error}"),
            CloseReason::WriteStalled => f.write_str("the peer did not read what it was sent"),
            CloseReason::FrameHeld => f.write_str("the peer held a receive buffer that others needed"),
            CloseReason::Shutdown => f.write_str("the worker shut down"),
        }
    }
}

/// A session's view of its connection, for the duration of one call.
pub struct Io<'a> {
    /// The protocol.
    pub wire: &'a mut Connection,
    /// The time of this turn.
    pub now: Instant,
    pub(crate) calls: &'a mut CallSlots,
    pub(crate) later: &'a mut Vec<u32>,
    pub(crate) inbox: &'a Rc<Inbox>,
    pub(crate) worker: &'a Worker,
    pub(crate) peer: &'a Rc<PeerInfo>,
    pub(crate) woken: &'a mut Vec<Waker>,
}

impl Io<'_> {
    /// The waker that leads to [`Session::wake`] of `slot`. It may be sent to any thread and kept for any time.
    #[must_use]
    pub fn waker(&mut self, slot: u32) -> Waker {
        self.waker_ref(slot).clone()
    }

    /// Like [`waker`](Self::waker), for one poll: without touching its reference count.
    #[must_use]
    pub fn waker_ref(&mut self, slot: u32) -> &Waker {
        self.calls.waker(slot, self.inbox.key, &self.worker.home)
    }

    /// The protocol, and the waker of `slot`: for one poll of a call that answers as it goes.
    #[inline]
    #[must_use]
    pub fn poll_parts(&mut self, slot: u32) -> (&mut Connection, &Waker) {
        (self.wire, self.calls.waker(slot, self.inbox.key, &self.worker.home))
    }

    /// Has [`Session::timer`] called for `slot` at `at`, and not at an earlier choice of `at`. Instants never reached
    /// ([`Instant::MAX`]) are fine.
    pub fn set_timer(&mut self, slot: u32, at: Instant) {
        self.clear_timer(slot);
        let connection = self.inbox.key;
        self.calls.set_timer(slot, |serial| {
            self.worker.timers.insert(self.now, at, Target::Call { connection, slot, serial })
        });
    }

    /// Forgets the timer of `slot`, if one is set.
    pub fn clear_timer(&mut self, slot: u32) {
        if let Some(timer) = self.calls.take_timer(slot) {
            self.worker.timers.cancel(timer);
        }
    }

    /// Has [`Session::wake`] called for `slot` a turn later, when everybody else has had theirs: a fair yield.
    pub fn wake_later(&mut self, slot: u32) {
        self.later.push(slot);
    }

    /// Calls `waker` when the session and the connection are no longer in use: it is foreign code, which may come back to them.
    #[inline]
    pub fn wake_after(&mut self, waker: Waker) {
        self.woken.push(waker);
    }

    /// What this worker counts: the session's own figures go there too.
    #[must_use]
    pub fn counters(&self) -> &WorkerCounters {
        &self.worker.counters
    }

    /// While the worker's profile is on: notes that a call which began then has just been answered.
    #[inline]
    pub fn profile_call(&self, started: Instant, kind: impl FnOnce() -> CallKind) {
        if self.worker.profile.is_on() {
            self.worker.profile.answered(kind(), started);
        }
    }

    /// The two ends of the connection.
    #[must_use]
    pub fn peer(&self) -> &Rc<PeerInfo> {
        self.peer
    }
}
