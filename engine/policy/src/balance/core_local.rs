//! `core_local`: each worker uses the endpoints that fall to its core, so that a worker has few connections, each of them busy.
//!
//! An endpoint falls to the core whose index is its position in the list modulo the cores; when there are fewer endpoints than
//! cores, a core has the one endpoint whose position is its own index modulo the endpoints. While none of its own is ready a
//! worker uses all, in turn, and connects to them.
//!
//! Load is even over endpoints when it is even over cores; `round_robin` is for when it is not.

use super::round_robin::Turn;
use super::{Balancer, Call, EndpointKey, Pick, Readiness, View, Worker};

#[derive(Debug, Default)]
pub(super) struct CoreLocal {
    /// By slot: whether it falls to this core.
    is_own: Vec<bool>,
    /// Those that calls go to: the ready ones of its own, or of all.
    used: Vec<EndpointKey>,
    /// Whether all of its own have failed.
    is_stranded: bool,
    turn: Turn,
    /// What to say when none is ready: an idle one of its own is asked for before those of others.
    none_ready: Option<Pick>,
}

fn falls_to(position: usize, worker: Worker, endpoints_count: usize) -> bool {
    if endpoints_count < worker.count {
        position == worker.index % endpoints_count
    } else {
        position % worker.count == worker.index
    }
}

impl Balancer for CoreLocal {
    fn update(&mut self, view: &mut View) {
        let seen = &*view;
        let order = seen.endpoints().order();
        let is_own = |(position, _): &(usize, &EndpointKey)| falls_to(*position, seen.worker(), order.len());
        let own = || order.iter().enumerate().filter(is_own).map(|(_, key)| *key);
        let stands = |readiness| own().filter(move |key| seen.standing(*key) == readiness);

        self.is_own.clear();
        self.is_own.resize(seen.endpoints().slots_count(), false);
        own().for_each(|key| self.is_own[key.slot()] = true);
        self.is_stranded = stands(Readiness::TransientFailure).count() == own().count();
        let own_idle = stands(Readiness::Idle).next();
        let asks = own_idle.filter(|_| !seen.is_connecting());
        self.none_ready = asks.map(|key| Pick::Wait { connect: Some(key) });
        self.used.clear();
        self.used.extend(stands(Readiness::Ready));
        if self.used.is_empty() {
            self.used.extend_from_slice(seen.ready());
        }
        self.turn.update(self.used.len(), view.rng());
    }

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        let none_ready = || self.none_ready.unwrap_or(view.none_ready());
        self.turn.take(&self.used).map_or_else(none_ready, Pick::ready)
    }

    fn keeps_connected(&self, _: &View, key: EndpointKey) -> bool {
        self.is_stranded || self.is_own.get(key.slot()) == Some(&true)
    }
}
