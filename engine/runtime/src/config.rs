//! What an engine is told at its start.

use crate::backend::Backend;
use crate::limits::Limits;
use crate::listen::PortSharing;
use crate::tls::ServerTls;
use corelane_wire::connection::Config as WireConfig;

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
    /// What all listeners secure their connections with; without it they speak plaintext.
    pub tls: Option<ServerTls>,
    /// Whether other processes may listen on the same ports.
    pub port_sharing: PortSharing,
}
