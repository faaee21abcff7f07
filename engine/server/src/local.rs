//! A server as a future, inside a monoio runtime that somebody else owns.

use std::fmt;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::time::Duration;

use corelane_observe::{ProfileSwitch, ShardSet, WorkerCounters};
use corelane_runtime::{Address, LocalListener, run_local};

use crate::admin::Admin;
use crate::error::StartError;
use crate::factory::Sessions;

/// A server that is bound and runs when its future does; see [`crate::Builder::bind_local`].
pub struct LocalServer {
    listener: LocalListener,
    sessions: Sessions,
    grace: Duration,
    /// Open as long as the server's future is there.
    admin: Option<Admin>,
}

impl fmt::Debug for LocalServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalServer").field("address", self.address()).finish_non_exhaustive()
    }
}

impl LocalServer {
    pub(crate) fn new(
        listener: LocalListener,
        sessions: Sessions,
        grace: Duration,
        admin: Option<Admin>,
    ) -> LocalServer {
        LocalServer { listener, sessions, grace, admin }
    }

    /// Where it listens; a port of 0 has become a number.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// As [`crate::ServerHandle::admin_address`].
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// The server's counters: a clone reads them from any thread while the server runs.
    #[must_use]
    pub fn counters(&self) -> &ShardSet<WorkerCounters> {
        self.listener.counters()
    }

    /// As [`crate::ServerHandle::profile`].
    #[must_use]
    pub fn profile(&self) -> &ProfileSwitch {
        self.listener.profile()
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// When the worker cannot be set up on this thread.
    pub async fn serve(self) -> Result<(), StartError> {
        self.serve_with_shutdown(pending()).await
    }

    /// Serves until `shutdown` is ready and the calls in flight have finished, within the builder's grace.
    ///
    /// # Errors
    /// When the worker cannot be set up on this thread.
    pub async fn serve_with_shutdown(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let grace = self.grace;
        let _admin = self.admin;
        let shutdown = async move {
            shutdown.await;
            grace
        };
        Ok(run_local(self.listener, self.sessions, shutdown).await?)
    }
}
