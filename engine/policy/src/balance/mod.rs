//! Where a call goes: policies that pick one of many endpoints.
//!
//! A channel has one [`Publisher`], which puts each list that the resolver gives into a [`Shared`], and on each worker one
//! [`Picker`], which picks from the list for the calls of that worker. What workers share is lock-free: the list, a version,
//! and the [`EndpointStats`] of each endpoint, which live on when a new list has the endpoint too.
//!
//! | policy | picks | connects | gRFC |
//! |---|---|---|---|
//! | `PickFirst`, `PickFirstShuffled` | the endpoint it is connected to, the first of the order that can be | one after the other, when picked | A61, A62, A113 |
//! | `RoundRobin` | ready ones in turn | all | A61 |
//! | `WeightedRoundRobin` | ready ones in turn, by weight | all | A58 |
//! | `Random`, `WeightedRandom` | any ready one, by weight | all | |
//! | `LeastRequest` | of some random ready ones the least busy | all | A48 |
//! | `RingHash` | by hash; waits for an idle or connecting one, passes by a failed one | when picked | A42, A61, A76 |
//! | `CoreLocal` | ready ones of its own core in turn, else any in turn | its core's | |
//! | [`Balancer`] | as it likes | as it likes | |
//!
//! All but `RingHash` pick among ready endpoints whatever the others do; while none is ready a call waits if one is idle or
//! connecting, and fails if all have failed. `RandomSubsetting` (A68) and the shuffle of `PickFirstShuffled` act when a list
//! is published; `OutlierDetection` (A50) acts by [`Shared::set_ejection`].
//!
//! A pick sees a list as soon as its version can be seen, so no call goes to an endpoint that an earlier look has found gone.
//!
//! Does not: resolve, connect, or watch outcomes.
//!
//! # Each policy
//!
//! ```
//! use corelane_policy::balance::{Call, EndpointInfo, Pick, Picker, Publisher, Readiness, Worker, hash_of};
//! use corelane_policy::config::{BalancerConfig, WeightedRoundRobinConfig};
//! use corelane_wire::Instant;
//!
//! /// Where six calls of worker 1 of 2 go, of endpoints `a`, `b` and `c` with weights 1, 2 and 3.
//! fn six(policy: BalancerConfig, hash: Option<u64>) -> String {
//!     let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
//!     let list = [("a", 1), ("b", 2), ("c", 3)].map(|(name, weight)| EndpointInfo::new(name).weighing(weight));
//!     publisher.publish(&policy.into(), list.to_vec()).expect("the list is short and all have names");
//!     let shared = publisher.shared().clone();
//!     let mut picker = Picker::new(shared, Worker { index: 1, count: 2 }, fastrand::Rng::with_seed(6));
//!     let endpoints = picker.look().clone();
//!     endpoints.order().iter().for_each(|key| picker.set_readiness(*key, Readiness::Ready));
//!     let mut pick = || match picker.pick(Instant::from_nanos(0), &Call { hash, avoid: &[] }) {
//!         Pick::Ready { key, .. } => endpoints.get(key).map_or("", |endpoint| &endpoint.info().address),
//!         Pick::Wait { .. } | Pick::Failed(_) | Pick::Empty => "",
//!     };
//!     (0..6).map(|_| pick()).collect()
//! }
//!
//! assert_eq!(six(BalancerConfig::PickFirst, None), "aaaaaa");
//! assert_eq!(six(BalancerConfig::PickFirstShuffled, None), "bbbbbb"); // one channel in three begins with b
//! assert_eq!(six(BalancerConfig::RoundRobin, None), "cabcab");
//! // Without load reports the resolver's weights count.
//! let weighted = BalancerConfig::WeightedRoundRobin(WeightedRoundRobinConfig::default());
//! assert_eq!(six(weighted, None), "bccbcb");
//! assert_eq!(six(BalancerConfig::Random, None), "ccacac");
//! assert_eq!(six(BalancerConfig::WeightedRandom, None), "ccacbc");
//! assert_eq!(six(BalancerConfig::LeastRequest { choice_count: 2 }, None), "aaaacb");
//! let ring = BalancerConfig::RingHash { min_ring_size: 1024, max_ring_size: 4096, request_hash_header: None };
//! assert_eq!(six(ring, Some(hash_of(b"user 7"))), "cccccc");
//! assert_eq!(six(BalancerConfig::CoreLocal, None), "bbbbbb");
//! // Everything else wraps another policy.
//! let child = Box::new(BalancerConfig::RoundRobin);
//! assert_eq!(six(BalancerConfig::RandomSubsetting { subset_size: 2, child }, None), "cbcbcb");
//! ```

mod core_local;
mod endpoint;
mod guide;
mod least_request;
mod ledger;
mod order;
mod pick_first;
mod picker;
mod random;
mod ring;
mod ring_hash;
mod round_robin;
mod shared;
mod shares;
mod stats;
mod version;
mod view;
mod weighted_round_robin;

pub use endpoint::{Endpoint, EndpointInfo, EndpointKey};
pub(crate) use least_request::CHOICES_MAX;
pub use picker::Picker;
pub use ring::{RING_PLACES_MAX, Ring, hash_of};
pub use shared::{
    BalancerFactory, ENDPOINTS_MAX, Ejection, Endpoints, Policy, PublishError, Publisher, Shared,
};
pub use stats::EndpointStats;
pub use view::{Pick, Readiness, View, Worker};
pub use weighted_round_robin::LoadReport;

use crate::config::BalancerConfig;

/// What a policy is told about a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// What `ring_hash` goes by; without it a random number is.
    pub hash: Option<u64>,
    /// Endpoints that earlier attempts of the call used: others are picked while any other is ready.
    pub avoid: &'a [EndpointKey],
}

/// A policy on one worker. One's own is plugged in by [`Policy::Own`].
///
/// ```
/// use std::sync::Arc;
/// use corelane_policy::balance::{Balancer, Call, Pick, Policy, View};
///
/// /// Always the last in the list.
/// struct Last;
///
/// impl Balancer for Last {
///     fn update(&mut self, _view: &mut View) {}
///
///     fn pick(&mut self, view: &mut View, _call: &Call<'_>) -> Pick {
///         match view.ready().last() {
///             Some(key) => Pick::Ready { key: *key, connect: None },
///             None => view.none_ready(),
///         }
///     }
/// }
///
/// let policy = Policy::Own(Arc::new(|| Box::new(Last)));
/// ```
pub trait Balancer {
    /// The list, a state or an ejection has changed, or this is the first time: make tables anew. Called before the next pick,
    /// once for all that changed.
    fn update(&mut self, view: &mut View);

    /// Where a call goes. Keys are of the view's list; what is `Ready` is among [`View::ready`].
    fn pick(&mut self, view: &mut View, call: &Call<'_>) -> Pick;

    /// Whether the worker should be connected to an endpoint of the list before a call is sent there.
    fn keeps_connected(&self, view: &View, key: EndpointKey) -> bool {
        let _ = (view, key);
        true
    }
}

fn balancer(policy: &Policy) -> Box<dyn Balancer> {
    let config = match policy {
        Policy::Own(factory) => return factory(),
        Policy::Config(config) => shared::leaf(config),
    };
    match config {
        BalancerConfig::PickFirst | BalancerConfig::PickFirstShuffled => {
            Box::<pick_first::PickFirst>::default()
        }
        BalancerConfig::RoundRobin => Box::<round_robin::RoundRobin>::default(),
        BalancerConfig::WeightedRoundRobin(config) => {
            Box::new(weighted_round_robin::WeightedRoundRobin::new(config.clone()))
        }
        BalancerConfig::Random => Box::new(random::Random),
        BalancerConfig::WeightedRandom => Box::<random::WeightedRandom>::default(),
        BalancerConfig::LeastRequest { choice_count } => {
            Box::new(least_request::LeastRequest::new(*choice_count))
        }
        BalancerConfig::RingHash { .. } => Box::new(ring_hash::RingHash),
        BalancerConfig::CoreLocal => Box::<core_local::CoreLocal>::default(),
        BalancerConfig::RandomSubsetting { .. } | BalancerConfig::OutlierDetection { .. } => {
            unreachable!("a leaf has no child")
        }
    }
}
