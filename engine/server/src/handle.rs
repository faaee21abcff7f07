//! What outlives the start of a server: where it listens, what it counts, how it ends.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use corelane_observe::{ProfileSwitch, WorkerSnapshot};
use corelane_runtime::{Address, BackendKind, Drainer, Handle, Memory, WorkerPanic};

use crate::admin::Admin;

/// A server that runs on its own threads.
///
/// Dropping it ends the server at once and cuts off the calls in flight; [`shutdown`](Self::shutdown) and then
/// [`join`](Self::join) let them finish.
#[derive(Debug)]
pub struct ServerHandle {
    engine: Handle,
    memory: Memory,
    grace: Duration,
    /// Open until the server has ended.
    admin: Option<Admin>,
}

impl ServerHandle {
    pub(crate) fn new(engine: Handle, memory: Memory, grace: Duration, admin: Option<Admin>) -> ServerHandle {
        ServerHandle { engine, memory, grace, admin }
    }

    /// Where the server listens, in the order in which the addresses were given; a port of 0 has become a number.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        self.engine.addresses()
    }

    /// Where the admin port listens, if there is one; a port of 0 has become a number.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// io_uring or epoll.
    #[must_use]
    pub fn backend(&self) -> BackendKind {
        self.engine.backend()
    }

    /// How many workers run.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.engine.workers()
    }

    /// What one worker may hold at most, windows, streams and handlers not counted.
    #[must_use]
    pub fn memory_per_worker(&self) -> &Memory {
        &self.memory
    }

    /// What the server has done so far, all workers together.
    #[must_use]
    pub fn counters(&self) -> WorkerSnapshot {
        self.engine.counters().snapshot()
    }

    /// What each worker has done so far: for the balance between them.
    pub fn counters_by_worker(&self) -> impl Iterator<Item = WorkerSnapshot> {
        self.engine.counters().snapshots()
    }

    /// What has the workers note where their time goes, or not; they do not unless it is turned on. What they noted is in
    /// [`counters`](Self::counters). A clone may be used from anywhere.
    ///
    /// While it is on, a small call costs some clock readings more, 20 to 30 ns each; while it is off it costs nothing.
    #[must_use]
    pub fn profile(&self) -> &ProfileSwitch {
        self.engine.profile()
    }

    /// Begins to end the server: clients are told to go elsewhere, nothing more is accepted, and calls in flight may finish
    /// within the builder's grace. Comes back at once.
    pub fn shutdown(&self) {
        self.engine.drain(self.grace);
    }

    /// As [`shutdown`](Self::shutdown), with another grace. A later order can only shorten it.
    pub fn shutdown_within(&self, grace: Duration) {
        self.engine.drain(grace);
    }

    /// What can end the server from elsewhere: another thread, one of its own handlers.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { drainer: self.engine.drainer(), grace: self.grace }
    }

    /// Waits until the server has ended.
    ///
    /// # Errors
    /// The first worker that died of a panic, which would be a fault of the engine: handlers' panics are caught.
    pub fn join(self) -> Result<(), WorkerPanic> {
        self.engine.join()
    }
}

/// Ends a server from any thread; see [`ServerHandle::stopper`].
#[derive(Clone)]
pub struct Stopper {
    drainer: Drainer,
    grace: Duration,
}

impl Stopper {
    /// As [`ServerHandle::shutdown`].
    pub fn shutdown(&self) {
        self.drainer.drain(self.grace);
    }

    /// As [`ServerHandle::shutdown_within`].
    pub fn shutdown_within(&self, grace: Duration) {
        self.drainer.drain(grace);
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("grace", &self.grace).finish_non_exhaustive()
    }
}
