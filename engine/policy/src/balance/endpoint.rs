//! One endpoint: what a resolver says about it, and the key by which everyone else names it.
//!
//! A key is a slot and a generation. An endpoint keeps its slot for as long as it stays in the published list, so whatever is
//! kept per endpoint (connections, states, counts) is an array by slot that no publication reorders. A slot that has been given
//! to another endpoint has another generation, by which late news about the one before is recognised.
//!
//! Does not: connect, or know who is connected.

use std::num::NonZeroU32;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::stats::EndpointStats;

/// What a resolver says about one endpoint. The address is its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointInfo {
    /// As Envoy and gRPC write it, since `ring_hash` hashes it: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
    pub address: Arc<str>,
    /// Its share relative to the others'; an endpoint of weight 0 is left out.
    pub weight: u32,
    /// What `ring_hash` hashes in place of the address (gRFC A76, Envoy's `hash_key`).
    pub hash_key: Option<Arc<str>>,
}

impl EndpointInfo {
    /// An endpoint like any other: weight 1, hashed by its address.
    #[must_use]
    pub fn new(address: impl Into<Arc<str>>) -> EndpointInfo {
        EndpointInfo { address: address.into(), weight: 1, hash_key: None }
    }

    /// The same with another weight.
    #[must_use]
    pub fn weighing(mut self, weight: u32) -> EndpointInfo {
        self.weight = weight;
        self
    }

    /// What `ring_hash` hashes.
    pub(super) fn hashed(&self) -> &str {
        self.hash_key.as_deref().unwrap_or(&self.address)
    }
}

/// Names an endpoint of one channel, on every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    slot: u32,
    generation: NonZeroU32,
}

impl EndpointKey {
    pub(super) fn new(slot: u32, generation: NonZeroU32) -> EndpointKey {
        EndpointKey { slot, generation }
    }

    /// Where arrays by slot keep this endpoint: below [`Endpoints::slots_count`](super::Endpoints::slots_count).
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// The next endpoint in the same slot.
    pub(super) fn successor(self) -> EndpointKey {
        let generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        EndpointKey { slot: self.slot, generation }
    }
}

/// An endpoint of the published list.
#[derive(Clone, Debug)]
pub struct Endpoint {
    key: EndpointKey,
    info: EndpointInfo,
    /// On its own cache lines, and the same for as long as the endpoint stays.
    stats: Arc<CachePadded<EndpointStats>>,
}

impl Endpoint {
    pub(super) fn new(key: EndpointKey, info: EndpointInfo) -> Endpoint {
        Endpoint { key, info, stats: Arc::default() }
    }

    /// The same endpoint, about which the resolver says something else.
    pub(super) fn with_info(&self, info: EndpointInfo) -> Endpoint {
        Endpoint { key: self.key, info, stats: self.stats.clone() }
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> EndpointKey {
        self.key
    }

    /// What the resolver says.
    #[must_use]
    pub fn info(&self) -> &EndpointInfo {
        &self.info
    }

    /// What all workers know about it together.
    #[must_use]
    pub fn stats(&self) -> &EndpointStats {
        &self.stats
    }
}
