//! Which endpoints of a resolver's list a channel uses, and in which order: merging, subsets and shuffles.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use super::endpoint::EndpointInfo;
use super::shared::Policy;
use crate::config::BalancerConfig;

/// Each address once, with all its weights; without those of weight 0.
pub(super) fn merged(list: Vec<EndpointInfo>) -> Vec<EndpointInfo> {
    let mut positions: HashMap<Arc<str>, usize> = HashMap::with_capacity(list.len());
    let mut merged: Vec<EndpointInfo> = Vec::with_capacity(list.len());
    for info in list {
        match positions.entry(info.address.clone()) {
            Entry::Occupied(first) => {
                let first = &mut merged[*first.get()];
                first.weight = first.weight.saturating_add(info.weight);
            }
            Entry::Vacant(none) => {
                none.insert(merged.len());
                merged.push(info);
            }
        }
    }
    merged.retain(|info| info.weight > 0);
    merged
}

/// What the policy's wrappers leave of the list, in the order that its leaf wants.
pub(super) fn arrange(
    policy: &Policy,
    mut list: Vec<EndpointInfo>,
    subset_seed: u64,
    rng: &mut fastrand::Rng,
) -> Vec<EndpointInfo> {
    let Policy::Config(config) = policy else { return list };
    let mut config = config;
    loop {
        match config {
            BalancerConfig::RandomSubsetting { subset_size, child } => {
                list = subset(list, *subset_size as usize, subset_seed);
                config = child;
            }
            BalancerConfig::OutlierDetection { child, .. } => config = child,
            BalancerConfig::PickFirstShuffled => return shuffled(list, rng),
            _ => return list,
        }
    }
}

/// gRFC A68: the endpoints whose hashed addresses are lowest, in the resolver's order. When the list changes, only as many
/// change in the subset as must. Clients differ by their seeds.
fn subset(mut list: Vec<EndpointInfo>, size: usize, seed: u64) -> Vec<EndpointInfo> {
    if list.len() > size {
        let hash = |info: &EndpointInfo| xxh64(info.address.as_bytes(), seed);
        let mut hashes: Vec<u64> = list.iter().map(hash).collect();
        hashes.sort_unstable();
        let limit = hashes[size]; // the first that is out
        list.retain(|info| hash(info) < limit);
    }
    list
}

/// gRFC A62, and A113 for weights: an endpoint's chance to come first is its share of the weights. Each draws u^(1/weight) and
/// the highest draw is first (Efraimidis and Spirakis), in logarithms.
fn shuffled(list: Vec<EndpointInfo>, rng: &mut fastrand::Rng) -> Vec<EndpointInfo> {
    // 1 - u, since u may be 0 and its logarithm must be finite.
    let mut draws: Vec<(f64, EndpointInfo)> =
        list.into_iter().map(|info| ((1.0 - rng.f64()).ln() / f64::from(info.weight), info)).collect();
    draws.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    draws.into_iter().map(|(_, info)| info).collect()
}
