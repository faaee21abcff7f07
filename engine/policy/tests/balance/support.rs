//! A channel of the tests: lists of small names, workers that are connected to all, picks by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use corelane_policy::balance::{
    Call, Endpoint, EndpointInfo, EndpointKey, Pick, Picker, Policy, Publisher, Readiness, Worker,
};
use corelane_policy::config::BalancerConfig;
use corelane_wire::Instant;

pub(crate) const START: Instant = Instant::from_nanos(1_000_000_000);

pub(crate) struct Channel {
    pub(crate) publisher: Publisher,
    pub(crate) policy: Policy,
}

impl Channel {
    pub(crate) fn new(policy: impl Into<Policy>, list: &[(&str, u32)]) -> Channel {
        let publisher = Publisher::new(fastrand::Rng::with_seed(7));
        let mut channel = Channel { publisher, policy: policy.into() };
        channel.publish(list);
        channel
    }

    pub(crate) fn publish(&mut self, list: &[(&str, u32)]) {
        let infos = list.iter().map(|(address, weight)| EndpointInfo::new(*address).weighing(*weight));
        self.publisher.publish(&self.policy, infos.collect()).unwrap();
    }

    pub(crate) fn key(&self, address: &str) -> EndpointKey {
        let endpoints = self.publisher.shared().endpoints();
        endpoints.iter().find(|endpoint| &*endpoint.info().address == address).unwrap().key()
    }

    pub(crate) fn name(&self, key: EndpointKey) -> Arc<str> {
        self.publisher.shared().endpoints().get(key).unwrap().info().address.clone()
    }

    /// A worker that nobody connected.
    pub(crate) fn picker(&self, index: usize, count: usize) -> Picker {
        let rng = fastrand::Rng::with_seed(11 + index as u64);
        Picker::new(self.publisher.shared().clone(), Worker { index, count }, rng)
    }

    /// A worker that is connected to all.
    pub(crate) fn ready_picker(&self, index: usize, count: usize) -> Picker {
        let mut picker = self.picker(index, count);
        self.set_all(&mut picker, Readiness::Ready);
        picker
    }

    pub(crate) fn set_all(&self, picker: &mut Picker, readiness: Readiness) {
        picker.look();
        for key in self.publisher.shared().endpoints().order() {
            picker.set_readiness(*key, readiness);
        }
    }

    pub(crate) fn set(&self, picker: &mut Picker, address: &str, readiness: Readiness) {
        picker.look();
        picker.set_readiness(self.key(address), readiness);
    }

    /// Where `picks` calls go.
    pub(crate) fn count(&self, picker: &mut Picker, picks: u32) -> BTreeMap<Arc<str>, u32> {
        self.tally((0..picks).map(|_| ready(picker.pick(START, &Call::default()))))
    }

    /// How often each endpoint is among `keys`.
    pub(crate) fn tally(&self, keys: impl Iterator<Item = EndpointKey>) -> BTreeMap<Arc<str>, u32> {
        let endpoints = self.publisher.shared().endpoints();
        let mut counts = vec![0_u32; endpoints.slots_count()];
        keys.for_each(|key| counts[key.slot()] += 1);
        let named = |endpoint: &Endpoint| (endpoint.info().address.clone(), counts[endpoint.key().slot()]);
        endpoints.iter().map(named).filter(|(_, count)| *count > 0).collect()
    }
}

pub(crate) fn ready(pick: Pick) -> EndpointKey {
    match pick {
        Pick::Ready { key, connect: None } => key,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn pick(picker: &mut Picker) -> Pick {
    picker.pick(START, &Call::default())
}

pub(crate) fn ring_hash(min_ring_size: u64, max_ring_size: u64) -> BalancerConfig {
    BalancerConfig::RingHash { min_ring_size, max_ring_size, request_hash_header: None }
}
