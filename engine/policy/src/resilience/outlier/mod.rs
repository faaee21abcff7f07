//! Endpoints that do worse than the others are left out for a while (gRFC A50).
//!
//! Every core counts how calls went ([`OutlierEndpoint::record`]) and asks before a pick ([`OutlierEndpoint::is_ejected`]). Once
//! an interval one of them compares all endpoints: whichever comes first after the time, the others go on.
//!
//! Does not: own the endpoints (a resolver's update is a new list for the next sweep), have a timer, or tell connections.
//!
//! Invariant: one sweep runs at a time, and sees all that the one before wrote. An endpoint that is ejected is not
//! ejected again; so much are ejected that the next is below `max_ejection_percent`, or one.
//!
//! That one may always be ejected is A50's word ("will eject at least one address regardless of the value"), in which it
//! differs from grpc-go; without it, ten percent of nine endpoints would be none.

mod endpoint;
mod rules;

pub use endpoint::OutlierEndpoint;

use std::time::Duration;

use crossbeam_utils::CachePadded;
use fastrand::Rng;

use corelane_wire::Instant;

use super::atomic::{AtomicU64, Ordering};
use crate::config::OutlierDetectionConfig;
use endpoint::Tally;

/// The shortest interval; a shorter one in a config is taken for this.
pub const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// The next sweep's time while one is under way, or if there will be none.
const NOT_NOW: u64 = u64::MAX;

/// What a sweep changed: the endpoint is an index into the list that was swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ejection {
    /// Left out from now on.
    Ejected(usize),
    /// Back again.
    Returned(usize),
}

/// Who compares a list of endpoints, and when.
///
/// ```
/// use corelane_policy::config::{FailurePercentage, OutlierDetectionConfig};
/// use corelane_policy::resilience::{Ejection, Outcome, OutlierDetector, OutlierEndpoint};
/// use corelane_wire::Instant;
/// use std::time::Duration;
///
/// let seconds = Duration::from_secs;
/// let config = OutlierDetectionConfig {
///     interval: seconds(10),
///     base_ejection_time: seconds(30),
///     max_ejection_time: seconds(300),
///     max_ejection_percent: 10,
///     success_rate: None,
///     failure_percentage: Some(FailurePercentage {
///         threshold: 85,
///         enforcement_percentage: 100,
///         minimum_hosts: 1,
///         request_volume: 1,
///     }),
/// };
/// let (start, mut rng) = (Instant::from_nanos(0), fastrand::Rng::with_seed(1));
/// let detector = OutlierDetector::new(config, start);
/// let endpoints = [OutlierEndpoint::new(), OutlierEndpoint::new()];
/// endpoints[1].record(Outcome::Failure);
///
/// assert_eq!(detector.sweep(start + seconds(9), &endpoints, &mut rng), []); // not yet
/// assert_eq!(detector.sweep(start + seconds(10), &endpoints, &mut rng), [Ejection::Ejected(1)]);
/// assert!(endpoints[1].is_ejected());
/// assert_eq!(detector.sweep(start + seconds(41), &endpoints, &mut rng), [Ejection::Returned(1)]);
/// ```
#[derive(Debug)]
pub struct OutlierDetector {
    config: OutlierDetectionConfig,
    /// When the next sweep is due, in nanoseconds. Every core looks at it, nobody writes it between sweeps.
    next_sweep: CachePadded<AtomicU64>,
}

impl OutlierDetector {
    /// A detector whose first sweep is one interval from `now`, or that never sweeps if neither algorithm is configured.
    #[must_use]
    pub fn new(config: OutlierDetectionConfig, now: Instant) -> OutlierDetector {
        let next_sweep = if is_active(&config) { due(now, &config) } else { NOT_NOW };
        OutlierDetector { config, next_sweep: CachePadded::new(AtomicU64::new(next_sweep)) }
    }

    /// The detector for a new config of the same endpoints. Its first sweep is due when it would have been had the new interval
    /// held since the last one, but not in the past. If the old one never swept, the endpoints begin anew.
    #[must_use]
    pub fn successor<E: AsRef<OutlierEndpoint>>(
        &self,
        config: OutlierDetectionConfig,
        now: Instant,
        endpoints: &[E],
    ) -> OutlierDetector {
        if !is_active(&self.config) {
            endpoints.iter().for_each(|endpoint| _ = endpoint.as_ref().take());
            return OutlierDetector::new(config, now);
        }
        // Relaxed: a time is all that is wanted. A sweep under way shows none: then the last one is now.
        let last = match self.next_sweep.load(Ordering::Relaxed) {
            NOT_NOW => now,
            next => Instant::from_nanos(next.saturating_sub(nanos(interval(&self.config)))),
        };
        let successor = OutlierDetector::new(config, last);
        if is_active(&successor.config) {
            // Relaxed: nobody else has it yet.
            successor.next_sweep.fetch_max(now.as_nanos(), Ordering::Relaxed);
        }
        successor
    }

    /// When the next sweep is due, for a timer; nothing while one is under way, or if there will be none.
    #[must_use]
    pub fn next_sweep(&self) -> Option<Instant> {
        // Relaxed: whoever acts on it claims the sweep first.
        let next = self.next_sweep.load(Ordering::Relaxed);
        (next != NOT_NOW).then(|| Instant::from_nanos(next))
    }

    /// Whether calls need to be counted at all (A50: "the picker should not do that counting").
    #[must_use]
    pub fn is_active(&self) -> bool {
        is_active(&self.config)
    }

    /// Compares `endpoints` if that is due and nobody else does; otherwise a load and nothing.
    pub fn sweep<E: AsRef<OutlierEndpoint>>(
        &self,
        now: Instant,
        endpoints: &[E],
        rng: &mut Rng,
    ) -> Vec<Ejection> {
        let Some(claim) = self.claim(now) else { return Vec::new() };
        let tallies: Vec<Tally> = endpoints.iter().map(|endpoint| endpoint.as_ref().take()).collect();
        let mut changes = Vec::new();
        if let Some(rule) = self.config.success_rate {
            let outliers = rules::by_success_rate(&tallies, rule);
            self.eject(endpoints, &outliers, rule.enforcement_percentage, now, rng, &mut changes);
        }
        if let Some(rule) = self.config.failure_percentage {
            let outliers = rules::by_failure_percentage(&tallies, rule);
            self.eject(endpoints, &outliers, rule.enforcement_percentage, now, rng, &mut changes);
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            if self.recovers(endpoint.as_ref(), now) {
                changes.push(Ejection::Returned(index));
            }
        }
        drop(claim);
        changes
    }

    /// Returns all endpoints, for a config without algorithms.
    pub fn return_all<E: AsRef<OutlierEndpoint>>(endpoints: &[E]) -> Vec<Ejection> {
        let mut changes = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let endpoint = endpoint.as_ref();
            endpoint.set_multiplier(0);
            if endpoint.is_ejected() {
                endpoint.restore();
                changes.push(Ejection::Returned(index));
            }
        }
        changes
    }

    fn claim(&self, now: Instant) -> Option<Claim<'_>> {
        // Relaxed: the exchange below decides.
        let next = self.next_sweep.load(Ordering::Relaxed);
        if now.as_nanos() < next || next == NOT_NOW {
            return None;
        }
        // Acquire pairs with the Release of the claim before: what its sweep wrote to the endpoints is seen by this one.
        // Weaker, an endpoint just ejected could look as if it never was, and be ejected twice.
        self.next_sweep.compare_exchange(next, NOT_NOW, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Claim { word: &self.next_sweep, next: due(now, &self.config) })
    }

    fn eject<E: AsRef<OutlierEndpoint>>(
        &self,
        endpoints: &[E],
        outliers: &[usize],
        enforcement_percentage: u32,
        now: Instant,
        rng: &mut Rng,
        changes: &mut Vec<Ejection>,
    ) {
        let mut ejected = endpoints.iter().filter(|endpoint| endpoint.as_ref().is_ejected()).count();
        for &index in outliers {
            if ejected > 0 && ejected * 100 >= endpoints.len() * self.config.max_ejection_percent as usize {
                return;
            }
            let endpoint = endpoints[index].as_ref();
            if !endpoint.is_ejected() && rng.u32(0..100) < enforcement_percentage {
                endpoint.eject(now);
                ejected += 1;
                changes.push(Ejection::Ejected(index));
            }
        }
    }

    /// The last step for each endpoint: one that is not ejected is trusted a little more, one whose time is over returns.
    fn recovers(&self, endpoint: &OutlierEndpoint, now: Instant) -> bool {
        let multiplier = endpoint.multiplier();
        let Some(ejected_at) = endpoint.ejected_at() else {
            endpoint.set_multiplier(multiplier.saturating_sub(1));
            return false;
        };
        let base = self.config.base_ejection_time;
        let length = base.saturating_mul(multiplier).min(base.max(self.config.max_ejection_time));
        let is_over = now > ejected_at + length;
        if is_over {
            endpoint.restore();
        }
        is_over
    }
}

/// The right to sweep; the next sweep is due once it is gone, also if the sweep panics.
struct Claim<'d> {
    word: &'d AtomicU64,
    next: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Release: see `claim`.
        self.word.store(self.next, Ordering::Release);
    }
}

fn is_active(config: &OutlierDetectionConfig) -> bool {
    config.success_rate.is_some() || config.failure_percentage.is_some()
}

fn interval(config: &OutlierDetectionConfig) -> Duration {
    config.interval.max(SWEEP_INTERVAL_MIN)
}

fn due(last: Instant, config: &OutlierDetectionConfig) -> u64 {
    // Below `NOT_NOW`, so that an interval of centuries is not taken for a sweep under way.
    (last + interval(config)).as_nanos().min(NOT_NOW - 1)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests;
