//! What can go wrong while an engine starts or ends, for the person who reads the message.

use crate::listen::Address;
use corelane_wire::connection::ConfigError;
use std::error::Error;
use std::fmt;
use std::io;

/// Why an engine did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// No address to listen on was given.
    NoAddress,
    /// Somebody else listens there.
    AddressInUse {
        /// The address that is taken.
        address: Address,
    },
    /// The address could not be bound, or not be listened on.
    Bind {
        /// The address in question.
        address: Address,
        /// What the kernel said.
        source: io::Error,
    },
    /// The configuration asks for no worker at all.
    NoWorkers,
    /// The configuration names a core that this process may not use.
    NoSuchCore {
        /// The core that was asked for.
        core: usize,
        /// The cores of the affinity mask.
        available: Vec<usize>,
    },
    /// io_uring was forced, and the kernel (or the container's policy) refuses it.
    UringUnavailable(io::Error),
    /// `CORELANE_BACKEND` has a value that means nothing.
    UnknownBackend {
        /// The value found.
        value: String,
    },
    /// The settings of connections are not what RFC 9113 allows.
    Wire(ConfigError),
    /// A worker's thread could not be made.
    Thread(io::Error),
    /// A worker could not be set up.
    Worker {
        /// Which one, counted from 0.
        index: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// A worker panicked before it served: the factory did, most likely.
    Panic(WorkerPanic),
    /// This thread already runs a worker; a thread has room for one.
    WorkerExists,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoAddress => f.write_str("there is no address to listen on"),
            StartError::AddressInUse { address } => write!(f, "{address} is in use"),
            StartError::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
            StartError::NoWorkers => f.write_str("the configuration asks for no worker"),
            StartError::NoSuchCore { core, available } => {
                write!(f, "core {core} is not one of the cores {available:?} that this process may use")
            }
            StartError::UringUnavailable(source) => {
                write!(f, "io_uring was asked for, and is not available here: {source}")
            }
            StartError::UnknownBackend { value } => {
                write!(f, "CORELANE_BACKEND is {value:?}, which is neither \"uring\" nor \"epoll\"")
            }
            StartError::Wire(source) => write!(f, "the settings of connections are invalid: {source}"),
            StartError::Thread(source) => write!(f, "cannot start a worker's thread: {source}"),
            StartError::Worker { index, source } => write!(f, "cannot set up worker {index}: {source}"),
            StartError::Panic(panic) => panic.fmt(f),
            StartError::WorkerExists => f.write_str("this thread already runs a worker"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StartError::Bind { source, .. }
            | StartError::UringUnavailable(source)
            | StartError::Thread(source)
            | StartError::Worker { source, .. } => Some(source),
            StartError::Wire(source) => Some(source),
            StartError::Panic(panic) => Some(panic),
            _ => None,
        }
    }
}

/// A worker ended by a panic; the others went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPanic {
    /// Which worker, counted from 0.
    pub index: usize,
    /// What it said.
    pub message: String,
}

impl fmt::Display for WorkerPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} panicked: {}", self.index, self.message)
    }
}

impl Error for WorkerPanic {}
