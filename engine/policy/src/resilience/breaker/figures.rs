//! What a breaker shows of itself: states, changes between them with their causes, and figures.

use std::fmt;

use corelane_wire::Instant;

use super::super::atomic::Ordering;
use super::CircuitBreaker;
use super::word::Phase;

/// What a breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go out and are counted.
    Closed,
    /// Calls are rejected, for a while.
    Open,
    /// A few calls go out to decide.
    HalfOpen,
    /// Calls are rejected until the mode changes.
    ForcedOpen,
    /// Calls go out and are not counted.
    Disabled,
}

impl BreakerState {
    pub(super) fn of(phase: Phase) -> BreakerState {
        match phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen(_) => BreakerState::HalfOpen,
            Phase::ForcedOpen => BreakerState::ForcedOpen,
            Phase::Disabled => BreakerState::Disabled,
        }
    }

    /// Its name in figures and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
            BreakerState::ForcedOpen => "forced open",
            BreakerState::Disabled => "disabled",
        }
    }
}

/// Who decides what a breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerMode {
    /// The breaker.
    Automatic,
    /// Nobody: all calls are rejected.
    ForcedOpen,
    /// Nobody: all calls go out.
    Disabled,
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerCause {
    /// So many failures in a row.
    ConsecutiveFailures,
    /// The share of failures.
    FailureRate,
    /// The share of slow calls.
    SlowCallRate,
    /// It was open for long enough.
    OpenForPassed,
    /// The probes went well.
    ProbesSucceeded,
    /// They did not.
    ProbesFailed,
    /// They did not end in time.
    ProbesLate,
    /// Someone set its mode.
    Mode,
}

impl fmt::Display for BreakerCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BreakerCause::ConsecutiveFailures => "too many failures in a row",
            BreakerCause::FailureRate => "too large a share of calls failed",
            BreakerCause::SlowCallRate => "too large a share of calls was slow",
            BreakerCause::OpenForPassed => "it was open for long enough",
            BreakerCause::ProbesSucceeded => "enough probes succeeded",
            BreakerCause::ProbesFailed => "too many probes failed or were slow",
            BreakerCause::ProbesLate => "the probes did not end in time",
            BreakerCause::Mode => "its mode was set",
        })
    }
}

/// One change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// Before.
    pub from: BreakerState,
    /// After.
    pub to: BreakerState,
    /// Why.
    pub cause: BreakerCause,
    /// When.
    pub at: Instant,
}

impl fmt::Display for BreakerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}: {}", self.from.name(), self.to.name(), self.cause)
    }
}

/// What a breaker has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerFigures {
    /// What it does.
    pub state: BreakerState,
    /// Calls in the window.
    pub calls: u32,
    /// Of those, failed.
    pub failures: u32,
    /// Of those, slow.
    pub slow: u32,
    /// Calls rejected since it was made.
    pub rejected: u64,
    /// Changes of state since it was made.
    pub changes: u64,
}

impl CircuitBreaker {
    /// What it has seen. The numbers need not be of one moment.
    #[must_use]
    pub fn figures(&self, now: Instant) -> BreakerFigures {
        let sums = self.window.sums(now);
        BreakerFigures {
            state: self.state(),
            calls: sums.calls,
            failures: sums.failed,
            slow: sums.slow,
            // Relaxed, both: figures.
            rejected: self.rejected.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
        }
    }

    /// What it does. An open breaker whose time is over is open until a call asks.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        BreakerState::of(self.load().phase())
    }
}
