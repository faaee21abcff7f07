//! A circuit breaker: stops calling what fails, and tries again later. One for each endpoint and method, shared by all cores.
//!
//! ```text
//!              failures in a row, failure rate or slow-call rate reached
//!      closed ────────────────────────────────────────────────────────────► open ◄──┐
//!        ▲                                                                    │     │ enough probes failed or were
//!        │ all probes ended, too few of them failed or slow     open_for passed │     │ slow, or probes_within passed
//!        └─────────────────────────────── half-open ◄───────────────────────────┘     │
//!                                              └──────────────────────────────────────┘
//!      from each to forced open and disabled by `set_mode`, and from those back to closed
//! ```
//!
//! The states are resilience4j's; it is the model that users know. Unlike there, a success never opens a breaker: rates
//! are judged when a call failed or was slow.
//!
//! Does not: know codes or calls ([`BreakerConfig::outcome_of`] maps them), wait, or tell anyone: whoever caused a change
//! of state gets it as a [`BreakerChange`], exactly one caller for each.
//!
//! Invariant: at most `probes` calls are under way while half-open, and no call that was admitted before a change of state
//! counts after it.
//!
//! Cost: while closed, a call is two loads of a line that nobody writes, and one addition to a line that all cores share.

mod config;
mod figures;
mod permit;
mod probing;
mod window;
mod word;

pub use config::{
    BreakerConfig, BreakerError, BreakerWindow, PROBES_MAX, SlowCalls, WINDOW_CALLS_MAX, WINDOW_TIME_MAX,
    WINDOW_TIME_MIN,
};
pub use figures::{BreakerCause, BreakerChange, BreakerFigures, BreakerMode, BreakerState};
pub use permit::{Permit, Rejected};

use std::time::Duration;

use crossbeam_utils::CachePadded;

use corelane_wire::Instant;

use super::atomic::{AtomicU32, AtomicU64, Ordering};
use super::outcome::Outcome;
use permit::PermitKind;
use window::{Ended, Pace, Window};
use word::{Generation, Phase, Probes, Word};

/// The breaker of one endpoint and method.
///
/// ```
/// use corelane_policy::resilience::{BreakerConfig, BreakerState, CircuitBreaker, Outcome};
/// use corelane_wire::Instant;
/// use std::time::Duration;
///
/// let config = BreakerConfig { consecutive_failures: Some(1), probes: 1, ..BreakerConfig::default() };
/// let breaker = CircuitBreaker::new(config)?;
/// let (start, took) = (Instant::from_nanos(0), Duration::from_millis(1));
///
/// let call = breaker.try_acquire(start).unwrap();
/// let change = breaker.record(call, start, Outcome::Failure, took).unwrap();
/// assert_eq!((change.from, change.to), (BreakerState::Closed, BreakerState::Open));
/// assert_eq!(breaker.try_acquire(start).unwrap_err().retry_after, Some(Duration::from_secs(5)));
///
/// let later = start + Duration::from_secs(5);
/// let probe = breaker.try_acquire(later).unwrap();
/// let change = breaker.record(probe, later, Outcome::Success, took).unwrap();
/// assert_eq!(change.to, BreakerState::Closed);
/// # Ok::<(), corelane_policy::resilience::BreakerError>(())
/// ```
#[derive(Debug)]
pub struct CircuitBreaker {
    config: BreakerConfig,
    /// [`Word`]. Read by every call, so nothing that calls write may share its line.
    word: CachePadded<AtomicU64>,
    /// Failures since the last success; only counted if a limit is set.
    consecutive: CachePadded<AtomicU32>,
    window: Window,
    /// When probing began, for `probes_within`.
    probing_since: AtomicU64,
    changes: AtomicU64,
    rejected: CachePadded<AtomicU64>,
}

impl CircuitBreaker {
    /// A closed breaker.
    ///
    /// # Errors
    /// If the numbers make no sense together.
    pub fn new(config: BreakerConfig) -> Result<CircuitBreaker, BreakerError> {
        config.validate()?;
        Ok(CircuitBreaker {
            window: Window::new(config.window),
            config,
            word: CachePadded::new(AtomicU64::new(Word::INITIAL.0)),
            consecutive: CachePadded::new(AtomicU32::new(0)),
            probing_since: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            rejected: CachePadded::new(AtomicU64::new(0)),
        })
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &BreakerConfig {
        &self.config
    }

    /// Asks whether a call may go out.
    ///
    /// # Errors
    /// If it may not; nothing needs to be recorded then.
    #[inline]
    pub fn try_acquire(&self, now: Instant) -> Result<Permit, Rejected> {
        let word = self.load();
        if word.is_closed() {
            return Ok(Permit { kind: PermitKind::Metered, generation: word.generation(), change: None });
        }
        self.try_acquire_unless_closed(word, now)
    }

    /// Tells how a call went that took `elapsed`.
    #[inline]
    pub fn record(
        &self,
        permit: Permit,
        now: Instant,
        outcome: Outcome,
        elapsed: Duration,
    ) -> Option<BreakerChange> {
        let is_slow = self.config.slow_calls.is_some_and(|slow| elapsed >= slow.at_least);
        let pace = if is_slow { Pace::Slow } else { Pace::Fast };
        match permit.kind {
            PermitKind::Metered => self.record_metered(permit.generation, now, outcome, pace),
            PermitKind::Probe => self.record_probe(permit.generation, now, outcome, pace),
            PermitKind::Unmetered => None,
        }
    }

    /// Forces it open or out of the way, or lets it decide again: then it is closed and knows nothing of before.
    pub fn set_mode(&self, mode: BreakerMode, now: Instant) -> Option<BreakerChange> {
        let mut word = self.load();
        loop {
            let phase = word.phase();
            let is_forced = matches!(phase, Phase::ForcedOpen | Phase::Disabled);
            let wanted = match mode {
                BreakerMode::Automatic if !is_forced => return None,
                BreakerMode::Automatic => Phase::Closed,
                BreakerMode::ForcedOpen => Phase::ForcedOpen,
                BreakerMode::Disabled => Phase::Disabled,
            };
            if wanted == phase {
                return None;
            }
            match self.change(word, wanted, now, BreakerCause::Mode) {
                Ok(change) => return Some(change),
                Err(seen) => word = seen,
            }
        }
    }

    fn try_acquire_unless_closed(&self, mut word: Word, now: Instant) -> Result<Permit, Rejected> {
        loop {
            let generation = word.generation();
            let attempt = match word.phase() {
                Phase::Closed => return Ok(Permit { kind: PermitKind::Metered, generation, change: None }),
                Phase::Disabled => {
                    return Ok(Permit { kind: PermitKind::Unmetered, generation, change: None });
                }
                Phase::ForcedOpen => return Err(self.reject(word, None, None)),
                Phase::Open { until } if now < until => {
                    return Err(self.reject(word, Some(until.since(now)), None));
                }
                Phase::Open { .. } => self.begin_probing(word, now),
                Phase::HalfOpen(probes) if probes.admitted < self.config.probes => {
                    self.admit_probe(word, Probes { admitted: probes.admitted + 1, ..probes })
                }
                Phase::HalfOpen(_) => match self.give_up_probing(word, now) {
                    Ok(rejected) => return Err(rejected),
                    Err(seen) => Err(seen),
                },
            };
            match attempt {
                Ok(permit) => return Ok(permit),
                Err(seen) => word = seen,
            }
        }
    }

    fn reject(&self, word: Word, retry_after: Option<Duration>, change: Option<BreakerChange>) -> Rejected {
        // Relaxed: a figure.
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Rejected { retry_after, state: BreakerState::of(word.phase()), change }
    }

    fn record_metered(
        &self,
        generation: Generation,
        now: Instant,
        outcome: Outcome,
        pace: Pace,
    ) -> Option<BreakerChange> {
        let word = self.load();
        // A call from before the last change says nothing about the endpoint as it is now.
        if outcome == Outcome::Ignored || !word.is_closed() || word.generation() != generation {
            return None;
        }
        let ended = if outcome == Outcome::Failure { Ended::Failed } else { Ended::Well };
        self.window.add(now, ended, pace);
        let in_a_row = self.count_consecutive(ended);
        if ended == Ended::Well && pace == Pace::Fast {
            return None;
        }
        let cause = self.cause_to_open(in_a_row, now)?;
        let until = now + self.config.open_for;
        // Whoever fails the swap came after someone else's, and then this call is one from before a change.
        self.change(word, Phase::Open { until }, now, cause).ok()
    }

    fn count_consecutive(&self, ended: Ended) -> u32 {
        if self.config.consecutive_failures.is_none() {
            return 0;
        }
        // Relaxed, here and below: the number is all that is shared. "In a row" has no exact meaning between cores; a
        // success that resets it beside a failure that counts may come before or after it.
        match ended {
            Ended::Failed => self.consecutive.fetch_add(1, Ordering::Relaxed).saturating_add(1),
            Ended::Well => {
                // Looked at first: while all is well nobody writes the line.
                if self.consecutive.load(Ordering::Relaxed) != 0 {
                    self.consecutive.store(0, Ordering::Relaxed);
                }
                0
            }
        }
    }

    fn cause_to_open(&self, in_a_row: u32, now: Instant) -> Option<BreakerCause> {
        let config = &self.config;
        if config.consecutive_failures.is_some_and(|limit| in_a_row >= limit) {
            return Some(BreakerCause::ConsecutiveFailures);
        }
        if config.failure_rate_percent.is_none() && config.slow_calls.is_none() {
            return None;
        }
        let sums = self.window.sums(now);
        if sums.calls < config.minimum_calls && !self.window.was_full() {
            return None;
        }
        self.rate_reached(sums.failed, sums.slow, sums.calls, config.failure_rate_percent)
    }

    fn rate_reached(
        &self,
        failed: u32,
        slow: u32,
        calls: u32,
        failure_percent: Option<u32>,
    ) -> Option<BreakerCause> {
        let reached = |part: u32, percent: u32| {
            part > 0 && u64::from(part) * 100 >= u64::from(percent) * u64::from(calls)
        };
        if failure_percent.is_some_and(|percent| reached(failed, percent)) {
            return Some(BreakerCause::FailureRate);
        }
        let slow_percent = self.config.slow_calls.map(|slow| slow.rate_percent);
        slow_percent.is_some_and(|percent| reached(slow, percent)).then_some(BreakerCause::SlowCallRate)
    }

    /// The one way from state to state.
    fn change(
        &self,
        from: Word,
        to: Phase,
        now: Instant,
        cause: BreakerCause,
    ) -> Result<BreakerChange, Word> {
        self.swap(from, Word::new(to, from.generation().next()))?;
        // Relaxed: a figure.
        self.changes.fetch_add(1, Ordering::Relaxed);
        if from.is_closed() {
            // Nobody counts while it is not closed. A call that looked just before the swap may count itself after
            // this: one call of a generation too old for each core, among the minimum of the next.
            self.window.clear();
            self.consecutive.store(0, Ordering::Relaxed);
        }
        Ok(BreakerChange { from: BreakerState::of(from.phase()), to: BreakerState::of(to), cause, at: now })
    }

    fn swap(&self, from: Word, to: Word) -> Result<(), Word> {
        // Release: whoever acts on the new word sees what was written before it (`probing_since`). Acquire, also on failure: what the
        // word that is read was released with is needed at once.
        self.word
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(Word)
    }

    fn load(&self) -> Word {
        // Acquire pairs with the Release in `swap`; Relaxed could show half-open with the time of an earlier probing,
        // which would be given up at once.
        Word(self.word.load(Ordering::Acquire))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
