//! Why a server did not start, for the person who reads the message.

use std::error::Error;
use std::fmt;
use std::io;

use corelane_runtime::WorkerPanic;
use corelane_wire::connection::ConfigError;

use crate::admin::AdminAddress;

/// Why a server did not start. Nothing runs then.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The text names no address.
    NoAddress {
        /// What was given.
        text: String,
    },
    /// A local server listens at one address.
    OneAddress {
        /// How many were given.
        count: usize,
    },
    /// A service of this name was added twice.
    DuplicateService {
        /// The service.
        name: &'static str,
    },
    /// Two methods have the same path.
    DuplicateMethod {
        /// The path.
        path: &'static str,
    },
    /// The function that makes a service or an interceptor has panicked.
    ServicePanicked {
        /// What the panic said.
        message: String,
    },
    /// The admin port could not be opened.
    Admin {
        /// Where.
        address: AdminAddress,
        /// What the system says.
        source: io::Error,
    },
    /// A number is outside of what HTTP/2 allows.
    Config(ConfigError),
    /// The workers could not be started: a busy port, a core that is not there, no io_uring, …
    Runtime(corelane_runtime::StartError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoAddress { text } => {
                write!(f, "{text:?} is not an address: give an IP address and a port, or unix:/path")
            }
            StartError::OneAddress { count } => {
                write!(f, "a server inside another runtime listens at one address, and {count} were given")
            }
            StartError::DuplicateService { name } => write!(f, "the service {name} was added twice"),
            StartError::DuplicateMethod { path } => write!(f, "the method {path} was added twice"),
            StartError::ServicePanicked { message } => {
                write!(f, "the services could not be made: panicked: {message}")
            }
            StartError::Admin { address, source } => {
                write!(f, "the admin port cannot be opened at {address}: {source}")
            }
            StartError::Config(error) => error.fmt(f),
            StartError::Runtime(error) => error.fmt(f),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StartError::Runtime(error) => error.source(),
            StartError::Admin { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<corelane_runtime::StartError> for StartError {
    fn from(error: corelane_runtime::StartError) -> StartError {
        StartError::Runtime(error)
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> StartError {
        StartError::Config(error)
    }
}

/// Why a server that blocks came back.
#[derive(Debug)]
pub enum ServeError {
    /// It did not start.
    Start(StartError),
    /// One of its workers died.
    Worker(WorkerPanic),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Start(error) => error.fmt(f),
            ServeError::Worker(panic) => panic.fmt(f),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ServeError::Start(error) => error.source(),
            ServeError::Worker(_) => None,
        }
    }
}

impl From<StartError> for ServeError {
    fn from(error: StartError) -> ServeError {
        ServeError::Start(error)
    }
}

impl From<WorkerPanic> for ServeError {
    fn from(panic: WorkerPanic) -> ServeError {
        ServeError::Worker(panic)
    }
}
