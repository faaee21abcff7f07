//! The half-open breaker: which calls are probes, and what they decide.
//!
//! Does not: touch the window. Probes are counted in the word itself, so the last of them is known to be the last.

use corelane_wire::Instant;

use super::super::atomic::Ordering;
use super::super::outcome::Outcome;
use super::CircuitBreaker;
use super::figures::{BreakerCause, BreakerChange};
use super::permit::{Permit, PermitKind, Rejected};
use super::window::Pace;
use super::word::{Generation, Phase, Probes, Word};

impl CircuitBreaker {
    pub(super) fn begin_probing(&self, word: Word, now: Instant) -> Result<Permit, Word> {
        // Before the word says half-open, so that no one takes the time of an earlier probing for this one's. Relaxed: the
        // swap in `change` releases it to whoever reads the word. Who loses the swap has written nearly the same time.
        self.probing_since.store(now.as_nanos(), Ordering::Relaxed);
        let first = Phase::HalfOpen(Probes { admitted: 1, ..Probes::default() });
        let change = self.change(word, first, now, BreakerCause::OpenForPassed)?;
        Ok(Permit { kind: PermitKind::Probe, generation: word.generation().next(), change: Some(change) })
    }

    pub(super) fn admit_probe(&self, word: Word, probes: Probes) -> Result<Permit, Word> {
        let generation = word.generation();
        self.swap(word, Word::new(Phase::HalfOpen(probes), generation))?;
        Ok(Permit { kind: PermitKind::Probe, generation, change: None })
    }

    /// All probes are out. Rejects, and opens again if they have been out for too long.
    pub(super) fn give_up_probing(&self, word: Word, now: Instant) -> Result<Rejected, Word> {
        let since = Instant::from_nanos(self.probing_since.load(Ordering::Relaxed));
        if now.since(since) < self.config.probes_within {
            return Ok(self.reject(word, None, None));
        }
        let until = now + self.config.open_for;
        let change = self.change(word, Phase::Open { until }, now, BreakerCause::ProbesLate)?;
        Ok(self.reject(
            Word::new(Phase::Open { until }, word.generation().next()),
            Some(until.since(now)),
            Some(change),
        ))
    }

    pub(super) fn record_probe(
        &self,
        generation: Generation,
        now: Instant,
        outcome: Outcome,
        pace: Pace,
    ) -> Option<BreakerChange> {
        let mut word = self.load();
        loop {
            let Phase::HalfOpen(before) = word.phase() else { return None };
            if word.generation() != generation {
                return None;
            }
            let probes = counted(before, outcome, pace);
            let attempt = if let Some(cause) = self.verdict_against(probes) {
                self.change(word, Phase::Open { until: now + self.config.open_for }, now, cause).map(Some)
            } else if probes.done >= self.config.probes {
                self.change(word, Phase::Closed, now, BreakerCause::ProbesSucceeded).map(Some)
            } else {
                self.swap(word, Word::new(Phase::HalfOpen(probes), generation)).map(|()| None)
            };
            match attempt {
                Ok(change) => return change,
                Err(seen) => word = seen,
            }
        }
    }

    /// The verdict as soon as the probes still out cannot change it: rates are taken of all probes, those that ended or
    /// not. A breaker that opens by failures in a row alone wants every probe to succeed: any is
    /// at least none of a hundred.
    fn verdict_against(&self, probes: Probes) -> Option<BreakerCause> {
        let failure_percent = match self.config.consecutive_failures {
            Some(_) => self.config.failure_rate_percent.or(Some(0)),
            None => self.config.failure_rate_percent,
        };
        self.rate_reached(probes.failed, probes.slow, self.config.probes, failure_percent)
            .map(|_| BreakerCause::ProbesFailed)
    }
}

/// `probes` after one more of them ended. One that says nothing gives its place back.
fn counted(probes: Probes, outcome: Outcome, pace: Pace) -> Probes {
    if outcome == Outcome::Ignored {
        return Probes { admitted: probes.admitted.saturating_sub(1), ..probes };
    }
    Probes {
        done: probes.done + 1,
        failed: probes.failed + u32::from(outcome == Outcome::Failure),
        slow: probes.slow + u32::from(pace == Pace::Slow),
        ..probes
    }
}
