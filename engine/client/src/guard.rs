//! What watches how the calls to an endpoint go: the circuit breakers of its methods, and outlier detection. Both are off unless
//! asked for.
//!
//! All workers share them. A breaker is made when a method is first called at an endpoint; each worker remembers where it is.
//!
//! Does not: choose endpoints. Invariant: every permit of a breaker is given back, with what became of the call or as ignored.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corelane_call::Code;
use corelane_policy::balance::{self, EndpointKey, Endpoints};
use corelane_policy::config::{BalancerConfig, OutlierDetectionConfig};
use corelane_policy::resilience::{
    BreakerChange, BreakerConfig, BreakerFigures, BreakerMode, CircuitBreaker, Ejection, Outcome,
    OutlierDetector, OutlierEndpoint, Permit, Rejected,
};
use corelane_wire::Instant;

/// Breakers of one channel at most: endpoints times methods. What is above goes without.
const BREAKERS_MAX: usize = 65_536;

/// A change of a breaker's state.
#[derive(Clone, Debug)]
pub struct BreakerEvent {
    /// The endpoint's address.
    pub endpoint: Arc<str>,
    /// The method's path.
    pub method: &'static str,
    /// From what to what, and why.
    pub change: BreakerChange,
}

/// Who is told of changes; called on the worker where the change was caused, so it must not block.
pub(crate) type BreakerObserver = Arc<dyn Fn(&BreakerEvent) + Send + Sync>;

/// Breakers by endpoint and method.
type Known = HashMap<(Arc<str>, &'static str), Arc<CircuitBreaker>>;

/// The breakers of one channel.
pub(crate) struct Breakers {
    config: BreakerConfig,
    observer: Option<BreakerObserver>,
    known: Mutex<Known>,
}

impl Breakers {
    pub(crate) fn new(config: BreakerConfig, observer: Option<BreakerObserver>) -> Breakers {
        Breakers { config, observer, known: Mutex::default() }
    }

    fn get(&self, endpoint: &Arc<str>, method: &'static str) -> Option<Arc<CircuitBreaker>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.len();
        if let Some(breaker) = known.get(&(endpoint.clone(), method)) {
            return Some(breaker.clone());
        }
        if count >= BREAKERS_MAX {
            return None;
        }
        let breaker = CircuitBreaker::new(self.config.clone()).expect("the builder has checked the config");
        let breaker = Arc::new(breaker);
        known.insert((endpoint.clone(), method), breaker.clone());
        Some(breaker)
    }

    /// Forgets the breakers of endpoints that are gone.
    pub(crate) fn retain(&self, endpoints: &Endpoints) {
        // Before the lock: calls may wait for it.
        let kept: HashSet<&str> = endpoints.iter().map(|endpoint| &*endpoint.info().address).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(endpoint, _), _| kept.contains(&**endpoint));
    }

    /// What all breakers have seen.
    pub(crate) fn figures(&self, now: Instant) -> Vec<(Arc<str>, &'static str, BreakerFigures)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .map(|((endpoint, method), breaker)| (endpoint.clone(), *method, breaker.figures(now)))
            .collect()
    }

    /// Forces the breaker of one endpoint and method.
    pub(crate) fn set_mode(&self, endpoint: &str, method: &'static str, mode: BreakerMode, now: Instant) {
        let endpoint: Arc<str> = endpoint.into();
        if let Some(breaker) = self.get(&endpoint, method) {
            self.tell(&endpoint, method, breaker.set_mode(mode, now));
        }
    }

    fn tell(&self, endpoint: &Arc<str>, method: &'static str, change: Option<BreakerChange>) {
        let Some(change) = change else { return };
        tracing::info!(%endpoint, method, %change, "a circuit breaker has changed");
        if let Some(observer) = &self.observer {
            observer(&BreakerEvent { endpoint: endpoint.clone(), method, change });
        }
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The outlier detection of one published list.
pub(crate) struct Outliers {
    detector: OutlierDetector,
    endpoints: Vec<Watched>,
    /// Where in `endpoints` it is, by the slots of keys.
    places: Vec<Option<usize>>,
    /// Held while it is changed who is ejected.
    term: Mutex<Term>,
}

/// Whether a detection may still eject: workers have one for a moment longer than the config that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    Current,
    Over,
}

struct Watched {
    key: EndpointKey,
    endpoint: Arc<OutlierEndpoint>,
}

impl AsRef<OutlierEndpoint> for Watched {
    fn as_ref(&self) -> &OutlierEndpoint {
        &self.endpoint
    }
}

impl Outliers {
    /// The detection for a list, with what is known of its endpoints from `before`, which ends: two detections would each see some
    /// of the calls, or both eject.
    pub(crate) fn new(
        config: OutlierDetectionConfig,
        endpoints: &Endpoints,
        before: Option<&Outliers>,
        now: Instant,
    ) -> Outliers {
        if let Some(before) = before {
            drop(before.end());
        }
        let known = |key| before?.find(key).cloned();
        let mut places = vec![None; endpoints.slots_count()];
        let mut watched = Vec::with_capacity(endpoints.order().len());
        for endpoint in endpoints.iter() {
            let key = endpoint.key();
            places[key.slot()] = Some(watched.len());
            watched.push(Watched { key, endpoint: known(key).unwrap_or_default() });
        }
        let detector = match before {
            Some(before) => before.detector.successor(config, now, &watched),
            None => OutlierDetector::new(config, now),
        };
        Outliers { detector, endpoints: watched, places, term: Mutex::new(Term::Current) }
    }

    /// Whether it ever ejects.
    pub(crate) fn is_active(&self) -> bool {
        self.detector.is_active()
    }

    pub(crate) fn find(&self, key: EndpointKey) -> Option<&Arc<OutlierEndpoint>> {
        let place = (*self.places.get(key.slot())?)?;
        self.endpoints.get(place).filter(|watched| watched.key == key).map(|watched| &watched.endpoint)
    }

    /// Compares the endpoints, if that is due; tells the balancer what has changed.
    pub(crate) fn sweep(&self, now: Instant, balancer: &balance::Shared, rng: &mut fastrand::Rng) {
        if self.detector.next_sweep().is_none_or(|next| next > now) {
            return;
        }
        // Whoever comes second goes on, as the detector has it.
        let Ok(term) = self.term.try_lock() else { return };
        if *term == Term::Current {
            self.tell(balancer, self.detector.sweep(now, &self.endpoints, rng));
        }
    }

    /// Nothing watches the endpoints any more: all are back, and this detection ejects none of them again.
    pub(crate) fn return_all(&self, balancer: &balance::Shared) {
        let _term = self.end();
        self.tell(balancer, OutlierDetector::return_all(&self.endpoints));
    }

    /// No sweep begins any more, and none is under way.
    fn end(&self) -> MutexGuard<'_, Term> {
        let mut term = self.term.lock().unwrap_or_else(PoisonError::into_inner);
        *term = Term::Over;
        term
    }

    fn tell(&self, balancer: &balance::Shared, changes: Vec<Ejection>) {
        for change in changes {
            let (index, ejection) = match change {
                Ejection::Ejected(index) => (index, balance::Ejection::Ejected),
                Ejection::Returned(index) => (index, balance::Ejection::None),
            };
            balancer.set_ejection(self.endpoints[index].key, ejection);
            tracing::info!(endpoint = ?self.endpoints[index].key, ?ejection, "outlier detection");
        }
    }
}

impl fmt::Debug for Outliers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outliers").field("detector", &self.detector).finish_non_exhaustive()
    }
}

/// The outlier detection that a policy asks for, wherever it stands in it.
pub(crate) fn outlier_config(mut policy: &BalancerConfig) -> Option<&OutlierDetectionConfig> {
    loop {
        match policy {
            BalancerConfig::OutlierDetection { config, .. } => return Some(config),
            BalancerConfig::RandomSubsetting { child, .. } => policy = child,
            _ => return None,
        }
    }
}

/// The guards of one endpoint on one worker.
#[derive(Default)]
pub(crate) struct Guards {
    breakers: RefCell<Vec<(&'static str, Arc<CircuitBreaker>)>>,
    outlier: RefCell<Option<Arc<OutlierEndpoint>>>,
}

/// A breaker that has let an attempt through.
struct Admitted {
    breaker: Arc<CircuitBreaker>,
    permit: Permit,
    method: &'static str,
}

/// One attempt, watched.
pub(crate) struct Watch {
    permit: Option<Admitted>,
    outlier: Option<Arc<OutlierEndpoint>>,
    began: Instant,
}

impl Guards {
    pub(crate) fn set_outlier(&self, outlier: Option<Arc<OutlierEndpoint>>) {
        *self.outlier.borrow_mut() = outlier;
    }

    /// Asks whether a call may go out.
    #[inline]
    pub(crate) fn admit(
        &self,
        breakers: Option<&Breakers>,
        endpoint: &Arc<str>,
        method: &'static str,
        now: Instant,
    ) -> Result<Watch, Option<Duration>> {
        let permit = match breakers {
            None => None,
            Some(breakers) => self.permit(breakers, endpoint, method, now)?,
        };
        Ok(Watch { permit, outlier: self.outlier.borrow().clone(), began: now })
    }

    fn permit(
        &self,
        breakers: &Breakers,
        endpoint: &Arc<str>,
        method: &'static str,
        now: Instant,
    ) -> Result<Option<Admitted>, Option<Duration>> {
        // Paths are the same bytes at the same place for each use of one stub, and few.
        let known = self.breakers.borrow().iter().find(|(path, _)| *path == method).map(|(_, it)| it.clone());
        let breaker = match known {
            Some(breaker) => breaker,
            None => {
                let Some(breaker) = breakers.get(endpoint, method) else { return Ok(None) };
                self.breakers.borrow_mut().push((method, breaker.clone()));
                breaker
            }
        };
        match breaker.try_acquire(now) {
            Ok(permit) => {
                breakers.tell(endpoint, method, permit.change());
                Ok(Some(Admitted { breaker, permit, method }))
            }
            Err(Rejected { retry_after, change, .. }) => {
                breakers.tell(endpoint, method, change);
                Err(retry_after)
            }
        }
    }
}

impl Watch {
    /// The attempt is over: with this code, or without a word about the endpoint.
    #[inline]
    pub(crate) fn end(
        self,
        breakers: Option<&Breakers>,
        endpoint: &Arc<str>,
        code: Option<Code>,
        now: Instant,
    ) {
        if let Some(outlier) = &self.outlier {
            outlier.record(match code {
                Some(Code::Ok) => Outcome::Success,
                Some(_) => Outcome::Failure,
                None => Outcome::Ignored,
            });
        }
        if let (Some(Admitted { breaker, permit, method }), Some(breakers)) = (self.permit, breakers) {
            let outcome = code.map_or(Outcome::Ignored, |code| breaker.config().outcome_of(code));
            let change = breaker.record(permit, now, outcome, now.since(self.began));
            breakers.tell(endpoint, method, change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_policy::balance::{EndpointInfo, Publisher};
    use corelane_policy::config::ServiceConfig;

    /// What `addresses` are published as.
    fn publish(publisher: &mut Publisher, addresses: &[&str]) -> Arc<Endpoints> {
        let list = addresses.iter().map(|address| EndpointInfo::new(*address)).collect();
        publisher.publish(&BalancerConfig::RoundRobin.into(), list).unwrap();
        publisher.shared().endpoints()
    }

    fn detection() -> OutlierDetectionConfig {
        let service = ServiceConfig::from_json(
            r#"{"loadBalancingConfig": [{"outlier_detection": {
                "failurePercentageEjection": {}, "childPolicy": [{"round_robin": {}}]
            }}]}"#,
        );
        let balancer = service.unwrap().balancer.unwrap();
        outlier_config(&balancer).unwrap().clone()
    }

    #[test]
    fn an_endpoint_that_stays_is_found_with_what_is_known_of_it_and_one_that_is_gone_is_not() {
        let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
        let first = publish(&mut publisher, &["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        let now = Instant::from_nanos(0);
        let before = Outliers::new(detection(), &first, None, now);
        // The last one's slot is another's now, and the order is not that of the slots.
        let second = publish(&mut publisher, &["10.0.0.4:1", "10.0.0.2:1", "10.0.0.1:1"]);
        let after = Outliers::new(detection(), &second, Some(&before), now);
        let [one, two, three] = *first.order() else { panic!("{first:?}") };
        for key in [one, two] {
            assert!(Arc::ptr_eq(before.find(key).unwrap(), after.find(key).unwrap()));
        }
        assert!(!Arc::ptr_eq(before.find(one).unwrap(), before.find(two).unwrap()));
        let four = second.order()[0];
        assert_eq!(four.slot(), three.slot());
        assert!(after.find(three).is_none() && before.find(four).is_none());
        assert!(!Arc::ptr_eq(after.find(four).unwrap(), before.find(three).unwrap()));
    }

    #[test]
    fn breakers_of_endpoints_that_are_gone_are_forgotten_and_no_others() {
        let config = BreakerConfig { consecutive_failures: Some(1), ..BreakerConfig::default() };
        let breakers = Breakers::new(config, None);
        for (endpoint, method) in [("10.0.0.1:1", "/a/A"), ("10.0.0.1:1", "/a/B"), ("10.0.0.2:1", "/a/A")] {
            assert!(breakers.get(&endpoint.into(), method).is_some());
        }
        let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
        breakers.retain(&publish(&mut publisher, &["10.0.0.3:1", "10.0.0.1:1"]));
        let mut left: Vec<_> = breakers
            .figures(Instant::from_nanos(0))
            .into_iter()
            .map(|(endpoint, method, _)| (endpoint.to_string(), method))
            .collect();
        left.sort();
        assert_eq!(left, [("10.0.0.1:1".to_owned(), "/a/A"), ("10.0.0.1:1".to_owned(), "/a/B")]);
    }
}
