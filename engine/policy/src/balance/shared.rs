//! What all workers of a channel share: the published list, and the number that says that it changed.
//!
//! One [`Publisher`] belongs to whoever resolves; it alone assigns slots, so publishing needs no lock. Workers read through an
//! `Arc<Shared>`: a load of the version at each pick, and a new list only when it differs.
//!
//! Subsetting (gRFC A68) and shuffling (gRFC A62) happen here, once for all workers: a channel has one subset, however many
//! cores it runs on.
//!
//! Invariant: an address has the same key from the publication that brings it to the one that lacks it.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;

use super::Balancer;
use super::endpoint::{Endpoint, EndpointInfo, EndpointKey};
use super::order;
use super::ring::Ring;
use super::version::Version;
use crate::config::BalancerConfig;

/// The most endpoints of one list.
pub const ENDPOINTS_MAX: usize = 65_536;

/// Makes a worker's balancer of one's own; called on each worker, once for each time the policy changes.
pub type BalancerFactory = Arc<dyn Fn() -> Box<dyn Balancer> + Send + Sync>;

/// How endpoints are chosen.
#[derive(Clone)]
pub enum Policy {
    /// As a service config says.
    Config(BalancerConfig),
    /// By code that is not ours.
    Own(BalancerFactory),
}

impl Policy {
    fn is_same(&self, other: &Policy) -> bool {
        match (self, other) {
            (Policy::Config(one), Policy::Config(another)) => one == another,
            (Policy::Own(one), Policy::Own(another)) => Arc::ptr_eq(one, another),
            (Policy::Config(_), Policy::Own(_)) | (Policy::Own(_), Policy::Config(_)) => false,
        }
    }

    /// Whether endpoints are tried one by one and one serves all.
    #[must_use]
    pub fn is_pick_first(&self) -> bool {
        matches!(self.leaf(), Some(BalancerConfig::PickFirst | BalancerConfig::PickFirstShuffled))
    }

    /// What chooses in the end, below all that only leaves endpoints out; nothing if that is code.
    #[must_use]
    pub fn leaf(&self) -> Option<&BalancerConfig> {
        match self {
            Policy::Config(config) => Some(leaf(config)),
            Policy::Own(_) => None,
        }
    }
}

/// What chooses in the end, below all that only leaves endpoints out.
pub(super) fn leaf(mut config: &BalancerConfig) -> &BalancerConfig {
    while let BalancerConfig::RandomSubsetting { child, .. }
    | BalancerConfig::OutlierDetection { child, .. } = config
    {
        config = child;
    }
    config
}

impl From<BalancerConfig> for Policy {
    fn from(config: BalancerConfig) -> Policy {
        Policy::Config(config)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::Config(config) => config.fmt(f),
            Policy::Own(_) => f.write_str("Own"),
        }
    }
}

/// Why a list was not published; the one before stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// More than [`ENDPOINTS_MAX`].
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// An endpoint without an address.
    EmptyAddress {
        /// Where in the list.
        position: usize,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::TooMany { count } => {
                write!(
                    f,
                    "the resolver gave {count} endpoints, a channel takes at most {ENDPOINTS_MAX}: use a subset"
                )
            }
            PublishError::EmptyAddress { position } => {
                write!(
                    f,
                    "endpoint {position} of the resolver's list has no address: the resolver must leave it out"
                )
            }
        }
    }
}

impl std::error::Error for PublishError {}

/// One published list, with the policy that is to choose from it.
#[derive(Debug)]
pub struct Endpoints {
    policy: Arc<Policy>,
    by_slot: Vec<Option<Endpoint>>,
    /// In the resolver's order, or the shuffled one.
    order: Vec<EndpointKey>,
    ring: Option<Ring>,
}

impl Endpoints {
    fn none(policy: Arc<Policy>) -> Endpoints {
        Endpoints { policy, by_slot: Vec::new(), order: Vec::new(), ring: None }
    }

    /// How endpoints are chosen.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// All slots are below this.
    #[must_use]
    pub fn slots_count(&self) -> usize {
        self.by_slot.len()
    }

    /// All endpoints, in the order in which `pick_first` tries them.
    #[must_use]
    pub fn order(&self) -> &[EndpointKey] {
        &self.order
    }

    /// The endpoint of that name, unless it is gone.
    #[must_use]
    pub fn get(&self, key: EndpointKey) -> Option<&Endpoint> {
        self.in_slot(key.slot()).filter(|endpoint| endpoint.key() == key)
    }

    /// Whoever has the slot.
    #[must_use]
    pub fn in_slot(&self, slot: usize) -> Option<&Endpoint> {
        self.by_slot.get(slot)?.as_ref()
    }

    /// All endpoints, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> + Clone {
        self.order.iter().filter_map(|key| self.get(*key))
    }

    /// The ring, if the policy is `ring_hash`.
    #[must_use]
    pub fn ring(&self) -> Option<&Ring> {
        self.ring.as_ref()
    }
}

/// Whether outlier detection leaves an endpoint out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ejection {
    /// It gets no calls while another could.
    Ejected,
    /// It is like the others.
    None,
}

/// What workers read, and who watches endpoints writes.
#[derive(Debug)]
pub struct Shared {
    /// On its own cache lines: every pick reads it, and nothing beside it may be written.
    version: CachePadded<Version>,
    endpoints: ArcSwap<Endpoints>,
}

impl Shared {
    /// The list as it is now.
    #[must_use]
    pub fn endpoints(&self) -> Arc<Endpoints> {
        self.endpoints.load_full()
    }

    /// Ejects an endpoint, or takes it back. Workers see it at their next pick; of an endpoint that is gone nothing is changed.
    pub fn set_ejection(&self, key: EndpointKey, ejection: Ejection) {
        let endpoints = self.endpoints.load();
        let stats = endpoints.get(key).map(Endpoint::stats);
        if stats.is_some_and(|stats| stats.set_ejected(ejection == Ejection::Ejected)) {
            self.version.bump();
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version.current()
    }
}

/// Publishes lists; there is one for each channel.
///
/// ```
/// use corelane_policy::balance::{EndpointInfo, Publisher};
/// use corelane_policy::config::BalancerConfig;
///
/// let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
/// let list = ["10.0.0.1:80", "10.0.0.2:80"].map(EndpointInfo::new);
/// publisher.publish(&BalancerConfig::RoundRobin.into(), list.to_vec())?;
/// assert_eq!(publisher.shared().endpoints().order().len(), 2);
/// # Ok::<(), corelane_policy::balance::PublishError>(())
/// ```
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    by_address: HashMap<Arc<str>, EndpointKey>,
    /// For each slot without an endpoint, the key of the next one there.
    free: Vec<EndpointKey>,
    slots_count: u32,
    subset_seed: u64,
    rng: fastrand::Rng,
}

impl Publisher {
    /// A channel without endpoints. `rng` decides which subset this channel takes, and how it shuffles.
    #[must_use]
    pub fn new(mut rng: fastrand::Rng) -> Publisher {
        let policy = Arc::new(Policy::Config(BalancerConfig::default()));
        let endpoints = ArcSwap::from_pointee(Endpoints::none(policy));
        Publisher {
            shared: Arc::new(Shared { version: CachePadded::default(), endpoints }),
            by_address: HashMap::new(),
            free: Vec::new(),
            slots_count: 0,
            subset_seed: rng.u64(..),
            rng,
        }
    }

    /// What workers read.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Replaces the list. Of endpoints with the same address the first counts, with all their weights; endpoints of weight 0
    /// are left out. With the same policy as before, balancers keep what they know.
    ///
    /// # Errors
    /// [`PublishError`], and the list before stays.
    pub fn publish(&mut self, policy: &Policy, list: Vec<EndpointInfo>) -> Result<(), PublishError> {
        if list.len() > ENDPOINTS_MAX {
            return Err(PublishError::TooMany { count: list.len() });
        }
        if let Some(position) = list.iter().position(|info| info.address.is_empty()) {
            return Err(PublishError::EmptyAddress { position });
        }
        let before = self.shared.endpoints();
        let policy =
            if before.policy.is_same(policy) { before.policy.clone() } else { Arc::new(policy.clone()) };
        let list = order::arrange(&policy, order::merged(list), self.subset_seed, &mut self.rng);
        let endpoints = self.assemble(policy, list, &before);
        self.shared.endpoints.store(Arc::new(endpoints));
        self.shared.version.bump();
        Ok(())
    }

    fn assemble(&mut self, policy: Arc<Policy>, list: Vec<EndpointInfo>, before: &Endpoints) -> Endpoints {
        let mut gone = std::mem::take(&mut self.by_address);
        let kept: Vec<Option<EndpointKey>> = list.iter().map(|info| gone.remove(&info.address)).collect();
        self.free.extend(gone.into_values().map(EndpointKey::successor));
        let mut endpoints = Endpoints::none(policy);
        for kept in kept {
            let key = kept.or_else(|| self.free.pop()).unwrap_or_else(|| self.new_slot());
            endpoints.order.push(key);
        }
        endpoints.by_slot.resize(self.slots_count as usize, None);
        for (key, info) in endpoints.order.iter().zip(list) {
            self.by_address.insert(info.address.clone(), *key);
            let endpoint = match before.get(*key) {
                Some(same) => same.with_info(info),
                None => Endpoint::new(*key, info),
            };
            endpoints.by_slot[key.slot()] = Some(endpoint);
        }
        if let Some(BalancerConfig::RingHash { min_ring_size, max_ring_size, .. }) = endpoints.policy.leaf() {
            let infos: Vec<_> = endpoints.iter().map(|endpoint| (endpoint.key(), endpoint.info())).collect();
            let ring = (!infos.is_empty()).then(|| Ring::new(&infos, *min_ring_size, *max_ring_size));
            endpoints.ring = ring;
        }
        endpoints
    }

    /// A key in a slot that was never used.
    fn new_slot(&mut self) -> EndpointKey {
        self.slots_count += 1; // at most ENDPOINTS_MAX, since a free one is taken first
        EndpointKey::new(self.slots_count - 1, NonZeroU32::MIN)
    }
}
