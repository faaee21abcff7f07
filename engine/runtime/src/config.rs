//! What an engine is told at its start.

use crate::backend::Backend;
use crate::limits::Limits;
use crate::listen::PortSharing;
use crate::tls::ServerTls;
use corelane_wire::connection::Config as WireConfig;
use std::time::Duration;

/// How many workers, and on which cores. A worker is a thread that is pinned to its core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that the process may use.
    #[default]
    All,
    /// So many, on the cores that the process may use, in turn; more workers than cores share them.
    Count(usize),
    /// One on each of these cores.
    Cores(Vec<usize>),
}

/// What code above the runtime keeps for later calls on each worker's thread, where the runtime does not see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// What it is, and the most bytes of it: it is counted in [`Memory`](crate::Memory).
    pub lines: &'static [(&'static str, usize)],
    /// Gives back what nobody has needed since this was called last. A worker calls it when it has looked over all of its
    /// connections, about once a second.
    pub trim: Option<fn()>,
}

/// What an engine is told at its start.
///
/// ```
/// use corelane_runtime::{Backend, Config, Workers};
///
/// let config = Config { workers: Workers::Count(2), backend: Backend::Epoll, ..Config::default() };
/// assert_eq!(config.limits.connections_max, 16_384);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How many workers, and where.
    pub workers: Workers,
    /// Which way of doing I/O.
    pub backend: Backend,
    /// Limits of each worker.
    pub limits: Limits,
    /// Limits and settings of each connection.
    pub wire: WireConfig,
    /// What is kept on each worker's thread by code above the runtime.
    pub kept: Kept,
    /// What all listeners secure their connections with; without it they speak plaintext.
    pub tls: Option<ServerTls>,
    /// Whether other processes may listen on the same ports.
    pub port_sharing: PortSharing,
    /// For how long a worker that has just worked asks its kernel for more before it sleeps: not at all unless it is set, and at
    /// most for [`SPIN_MAX`](crate::limits::SPIN_MAX).
    ///
    /// It spares the wake-up, so a ping-pong over loopback takes 10 to 20 us where it took 50. The price is CPU time: a worker
    /// burns up to this much after each piece of work, up to a whole core while work goes on coming. So it is for workers that have
    /// cores of their own. Where server and client share one, each spins while the other could run; under a CPU quota (a
    /// container's limit) the quota is used up by it, and then all are throttled.
    ///
    /// It is adaptive: when nothing has come within this time for several times, the worker sleeps at once, until work comes
    /// more densely again. An idle worker takes no CPU time. The counters `spin_looks`, `spin_hits` and `spin_misses` tell what
    /// it does. Some 50 us is a good beginning.
    pub spin: Duration,
}
