//! One worker's side of a channel's balancing: it takes new lists, keeps this worker's states and counts, and asks the policy.
//!
//! In the steady state a pick is one load of the shared version, one of a flag, and the policy's own work; nothing is allocated
//! and nothing that another worker writes is read. After a change the first pick makes the policy's tables anew, which costs
//! some nanoseconds for each endpoint.
//!
//! Does not: connect, send, or wait. The client connects whom a [`Pick`] names and all that [`Picker::keeps_connected`] names,
//! says what becomes of it by [`Picker::set_readiness`], and reports each call's start and end.

use std::fmt;
use std::sync::Arc;

use corelane_wire::Instant;

use super::endpoint::{Endpoint, EndpointKey};
use super::shared::{Endpoints, Policy, Shared};
use super::view::{Pick, Readiness, View, Worker};
use super::weighted_round_robin::LoadReport;
use super::{Balancer, Call, weighted_round_robin};
use crate::config::BalancerConfig;

/// How often a policy that happened to pick an endpoint to be avoided is asked again before the list is walked instead.
const AVOID_ATTEMPTS: usize = 4;

/// Picks for one worker.
///
/// ```
/// use corelane_policy::balance::{Call, EndpointInfo, Pick, Picker, Publisher, Readiness, Worker};
/// use corelane_policy::config::BalancerConfig;
/// use corelane_wire::Instant;
///
/// let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
/// let list = ["10.0.0.1:80", "10.0.0.2:80"].map(EndpointInfo::new);
/// publisher.publish(&BalancerConfig::RoundRobin.into(), list.to_vec())?;
///
/// let worker = Worker { index: 0, count: 1 };
/// let mut picker = Picker::new(publisher.shared().clone(), worker, fastrand::Rng::with_seed(2));
/// let now = Instant::from_nanos(0);
/// let Pick::Wait { connect: Some(first) } = picker.pick(now, &Call::default()) else { panic!("none is ready yet") };
///
/// picker.set_readiness(first, Readiness::Ready); // the client has connected
/// assert_eq!(picker.pick(now, &Call::default()), Pick::Ready { key: first, connect: None });
/// picker.start(now, first); // the call is sent …
/// picker.finish(now, first); // … and over
/// # Ok::<(), corelane_policy::balance::PublishError>(())
/// ```
pub struct Picker {
    shared: Arc<Shared>,
    /// The version that the view is at least as new as.
    seen: u64,
    settled: Settled,
    policy: Arc<Policy>,
    balancer: Box<dyn Balancer>,
    view: View,
}

/// Whether the view and the balancer's tables are those of the states.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    Yes,
    No,
}

impl Picker {
    /// A worker's picker. Workers whose generators differ do not all begin with the same endpoint.
    ///
    /// # Panics
    /// If the worker's index is not below the count.
    #[must_use]
    pub fn new(shared: Arc<Shared>, worker: Worker, rng: fastrand::Rng) -> Picker {
        let seen = shared.version();
        let endpoints = shared.endpoints();
        let policy = endpoints.policy().clone();
        let balancer = super::balancer(&policy);
        Picker {
            shared,
            seen,
            settled: Settled::No,
            policy,
            balancer,
            view: View::new(endpoints, worker, rng),
        }
    }

    /// Where a call goes now.
    pub fn pick(&mut self, now: Instant, call: &Call<'_>) -> Pick {
        self.view.now = now;
        self.catch_up();
        let pick = self.balancer.pick(&mut self.view, call);
        if call.avoid.is_empty() { pick } else { self.another(pick, call) }
    }

    /// Takes what was published since the last pick or look. Each pick does so by itself; a client that wants to drain the
    /// connections of what is gone without waiting for a call looks once a turn, and compares lists when it is another.
    pub fn look(&mut self) -> &Arc<Endpoints> {
        self.catch_up();
        &self.view.endpoints
    }

    /// What connections to the endpoint amount to now, on this worker. News of an endpoint that is not in the list that the last
    /// pick or look has taken is ignored.
    pub fn set_readiness(&mut self, key: EndpointKey, readiness: Readiness) {
        if self.view.set_state(key, readiness) {
            self.settled = Settled::No;
        }
    }

    /// What was last said of an endpoint; `None` of one that is gone.
    #[must_use]
    pub fn readiness(&self, key: EndpointKey) -> Option<Readiness> {
        self.view.state(key)
    }

    /// Whether this worker should be connected to the endpoint before a call is sent there. Those for which it need not are
    /// connected when a pick names them.
    #[must_use]
    pub fn keeps_connected(&self, key: EndpointKey) -> bool {
        self.view.endpoints.get(key).is_some() && self.balancer.keeps_connected(&self.view, key)
    }

    /// The next endpoint to try beside the attempts under way: for `pick_first`'s happy eyeballs (gRFC A61), when an attempt has
    /// taken 250 ms.
    #[must_use]
    pub fn next_idle(&self) -> Option<EndpointKey> {
        let is_idle = |key: &EndpointKey| self.view.state(*key) == Some(Readiness::Idle);
        self.view.endpoints.order().iter().copied().find(is_idle)
    }

    /// The metadata whose value a call's hash is made of, if the policy wants one (see [`hash_of`](super::hash_of)).
    #[must_use]
    pub fn hash_header(&self) -> Option<&str> {
        match self.policy.leaf() {
            Some(BalancerConfig::RingHash { request_hash_header, .. }) => request_hash_header.as_deref(),
            _ => None,
        }
    }

    /// A call (an attempt, a hedge) was sent there. Each start is followed by one [`finish`](Self::finish).
    pub fn start(&mut self, now: Instant, key: EndpointKey) {
        self.view.now = now;
        self.view.start(key);
    }

    /// A call that was [started](Self::start) is over, however it went.
    pub fn finish(&mut self, now: Instant, key: EndpointKey) {
        self.view.now = now;
        self.view.finish(key);
    }

    /// A load report came, with a call's trailers or out of band (gRFC A51). Only `weighted_round_robin` minds.
    pub fn report(&mut self, now: Instant, key: EndpointKey, report: &LoadReport) {
        if let Some(BalancerConfig::WeightedRoundRobin(config)) = self.policy.leaf()
            && let Some(stats) = self.view.endpoints.get(key).map(Endpoint::stats)
        {
            weighted_round_robin::take_report(stats, report, config, now);
        }
    }

    fn catch_up(&mut self) {
        let version = self.shared.version();
        if version != self.seen {
            self.seen = version;
            self.adopt();
        }
        if self.settled == Settled::No {
            self.settled = Settled::Yes;
            self.view.settle();
            self.balancer.update(&mut self.view);
        }
    }

    #[cold]
    fn adopt(&mut self) {
        let endpoints = self.shared.endpoints();
        if !Arc::ptr_eq(&endpoints, &self.view.endpoints) {
            self.view.adopt(endpoints);
        }
        let policy = self.view.endpoints.policy();
        if !Arc::ptr_eq(policy, &self.policy) {
            self.policy = policy.clone();
            self.balancer = super::balancer(&self.policy);
        }
        self.settled = Settled::No;
    }

    /// Another endpoint than those to be avoided, if one is ready; else what was picked.
    #[cold]
    fn another(&mut self, picked: Pick, call: &Call<'_>) -> Pick {
        let is_welcome = |pick: &Pick| !matches!(pick, Pick::Ready { key, .. } if call.avoid.contains(key));
        let is_avoided = |key: &EndpointKey| call.avoid.contains(key);
        if is_welcome(&picked) || self.view.ready().iter().all(is_avoided) {
            return picked;
        }
        for _ in 0..AVOID_ATTEMPTS {
            let pick = self.balancer.pick(&mut self.view, call);
            if is_welcome(&pick) {
                return pick;
            }
        }
        let ready_count = self.view.ready().len();
        let begin = self.view.rng.usize(..ready_count.max(1));
        let ready = self.view.ready();
        let mut others = ready[begin..].iter().chain(&ready[..begin]).copied().map(Pick::ready);
        others.find(is_welcome).unwrap_or(picked)
    }
}

/// What the worker told about its calls and connections is taken back.
impl Drop for Picker {
    fn drop(&mut self) {
        self.view.close();
    }
}

impl fmt::Debug for Picker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picker")
            .field("policy", &self.policy)
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}
