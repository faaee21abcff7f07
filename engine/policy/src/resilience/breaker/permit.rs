//! What a breaker answers to a call that wants to go out.

use std::time::Duration;

use super::figures::{BreakerChange, BreakerState};
use super::word::Generation;

/// A call that may go out. Give it to [`CircuitBreaker::record`](super::CircuitBreaker::record) when the call ends, with [`Outcome::Ignored`](super::super::Outcome::Ignored) if it ended
/// without saying anything; a probe's permit that is lost holds its place until `probes_within` has passed.
#[must_use = "a probe that is not recorded holds its place"]
#[derive(Debug)]
pub struct Permit {
    pub(super) kind: PermitKind,
    pub(super) generation: Generation,
    pub(super) change: Option<BreakerChange>,
}

/// What a call's end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PermitKind {
    /// Counts in the window.
    Metered,
    /// Decides whether the breaker closes.
    Probe,
    /// Of a disabled breaker.
    Unmetered,
}

impl Permit {
    /// The change of state that this call caused: the first probe's does.
    #[must_use]
    pub fn change(&self) -> Option<BreakerChange> {
        self.change
    }
}

/// A call that may not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When calls will be let through again, from now; nothing if that depends on something else than time.
    pub retry_after: Option<Duration>,
    /// What it is.
    pub state: BreakerState,
    /// The change of state that this call caused: probes that do not come back make one.
    pub change: Option<BreakerChange>,
}
