//! What can go wrong, with its place: typed causes under a [`Status`](corelane_call::Status).

use std::fmt;

/// A channel that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The target is none.
    Target(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Target(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BuildError {}

/// Why a call failed in this process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Placeholder.
    Cancelled,
}

/// A cause with its place.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
}
