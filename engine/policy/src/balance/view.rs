//! What a balancer sees of one worker's endpoints when it picks.
//!
//! Raw states come from the worker; *standings* are what they amount to once ejections are counted in: an ejected endpoint stands
//! as if its connection had failed (gRFC A50), unless all ready ones are ejected, when none counts as such. Both are arrays by slot. The dense
//! list of ready endpoints is in the list's order, so that policies that take turns do so in it.
//!
//! Does not: connect. Invariant: after [`View::settle`] `ready` holds exactly the keys whose standing is `Ready`.

use std::sync::Arc;

use corelane_wire::Instant;

use super::endpoint::{Endpoint, EndpointKey};
use super::ledger::{Ledger, Tick};
use super::shared::Endpoints;

/// What one worker's connections to an endpoint amount to, as gRPC's connectivity states have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// No connection, and none under way.
    #[default]
    Idle,
    /// No connection yet.
    Connecting,
    /// Calls can be sent.
    Ready,
    /// The last attempt failed. It stays so, through the attempts that follow, until one succeeds (gRFC A62's sticky
    /// TRANSIENT_FAILURE); when to try again is the client's back-off, not the balancer's business.
    TransientFailure,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// There.
    Ready {
        /// Its connection is ready.
        key: EndpointKey,
        /// This one should be connected besides (`ring_hash` without a hash, gRFC A76).
        connect: Option<EndpointKey>,
    },
    /// Nowhere yet: pick again when a state has changed.
    Wait {
        /// This one should be connected, if it is not being already.
        connect: Option<EndpointKey>,
    },
    /// Nowhere: no connection is ready and the attempts have failed. A call fails with UNAVAILABLE and the error of this endpoint,
    /// unless it is `wait_for_ready`; then as `Wait`.
    Failed(EndpointKey),
    /// Nowhere: the list is empty.
    Empty,
}

impl Pick {
    pub(super) fn ready(key: EndpointKey) -> Pick {
        Pick::Ready { key, connect: None }
    }
}

/// Which of the channel's workers this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// From 0.
    pub index: usize,
    /// How many there are; at least 1.
    pub count: usize,
}

/// The endpoints as one worker sees them.
#[derive(Debug)]
pub struct View {
    pub(super) endpoints: Arc<Endpoints>,
    /// As the worker says.
    states: Vec<Readiness>,
    /// With ejections counted in.
    standings: Vec<Readiness>,
    ready: Vec<EndpointKey>,
    connecting_count: usize,
    none_ready: Pick,
    ledger: Ledger,
    worker: Worker,
    pub(super) now: Instant,
    pub(super) rng: fastrand::Rng,
}

impl View {
    pub(super) fn new(endpoints: Arc<Endpoints>, worker: Worker, rng: fastrand::Rng) -> View {
        assert!(worker.index < worker.count, "workers are numbered below their count");
        let mut view = View {
            endpoints,
            states: Vec::new(),
            standings: Vec::new(),
            ready: Vec::new(),
            connecting_count: 0,
            none_ready: Pick::Empty,
            ledger: Ledger::default(),
            worker,
            now: Instant::from_nanos(0),
            rng,
        };
        view.grow();
        view
    }

    /// The published list that this view is of.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The endpoints that a call can be sent to now, in the list's order.
    #[must_use]
    pub fn ready(&self) -> &[EndpointKey] {
        &self.ready
    }

    /// What an endpoint of the list stands as.
    #[must_use]
    pub fn standing(&self, key: EndpointKey) -> Readiness {
        self.standings[key.slot()]
    }

    /// Whether any connection is under way.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.connecting_count > 0
    }

    /// What to say when no endpoint is ready: wait while one is being connected, else ask for the first idle one, else fail.
    /// That is how gRFC A61 has petiole policies sum up the states of their endpoints.
    #[must_use]
    pub fn none_ready(&self) -> Pick {
        self.none_ready
    }

    /// Calls in flight to an endpoint of the list, of all workers; the others' as of a millisecond ago.
    pub fn load(&mut self, key: EndpointKey) -> u32 {
        let (slot, tick) = (key.slot(), Tick::of(self.now));
        self.ledger.load(slot, tick).unwrap_or_else(|| {
            self.tell(slot, tick);
            self.ledger.load(slot, tick).unwrap_or_default()
        })
    }

    /// Who asks.
    #[must_use]
    pub fn worker(&self) -> Worker {
        self.worker
    }

    /// When.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// This worker's generator.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    /// Takes a new list: what is gone is forgotten, what is new is idle.
    pub(super) fn adopt(&mut self, endpoints: Arc<Endpoints>) {
        let before = std::mem::replace(&mut self.endpoints, endpoints);
        for key in before.order() {
            if let (None, Some(gone)) = (self.endpoints.get(*key), before.get(*key)) {
                self.forget(gone);
            }
        }
        self.grow();
    }

    /// The worker is gone.
    pub(super) fn close(&mut self) {
        let endpoints = self.endpoints.clone();
        endpoints.iter().for_each(|endpoint| self.forget(endpoint));
    }

    fn forget(&mut self, endpoint: &Endpoint) {
        let slot = endpoint.key().slot();
        self.ledger.forget(slot, endpoint.stats());
        if std::mem::take(&mut self.states[slot]) == Readiness::Ready {
            endpoint.stats().worker_is_not_ready();
        }
    }

    fn grow(&mut self) {
        let slots_count = self.endpoints.slots_count();
        self.states.resize(slots_count.max(self.states.len()), Readiness::Idle);
        self.standings.resize(self.states.len(), Readiness::Idle);
        self.ledger.grow(slots_count);
    }

    /// Takes a state; returns whether it is another one.
    pub(super) fn set_state(&mut self, key: EndpointKey, state: Readiness) -> bool {
        let Some(endpoint) = self.endpoints.get(key) else { return false };
        let before = std::mem::replace(&mut self.states[key.slot()], state);
        match (before == Readiness::Ready, state == Readiness::Ready) {
            (false, true) => endpoint.stats().worker_is_ready(),
            (true, false) => endpoint.stats().worker_is_not_ready(),
            (true, true) | (false, false) => {}
        }
        before != state
    }

    pub(super) fn state(&self, key: EndpointKey) -> Option<Readiness> {
        self.endpoints.get(key).map(|_| self.states[key.slot()])
    }

    /// Makes standings, the ready list and what to say when it is empty.
    pub(super) fn settle(&mut self) {
        let (endpoints, states) = (&*self.endpoints, &self.states);
        let is_ready = |endpoint: &&Endpoint| states[endpoint.key().slot()] == Readiness::Ready;
        let mut ready = endpoints.iter().filter(is_ready);
        let do_ejections_count = ready.any(|endpoint| !endpoint.stats().is_ejected());
        self.ready.clear();
        self.connecting_count = 0;
        let mut first_idle = None;
        for endpoint in endpoints.iter() {
            let key = endpoint.key();
            let mut standing = states[key.slot()];
            if do_ejections_count && endpoint.stats().is_ejected() {
                standing = Readiness::TransientFailure;
            }
            match standing {
                Readiness::Ready => self.ready.push(key),
                Readiness::Connecting => self.connecting_count += 1,
                Readiness::Idle => first_idle = first_idle.or(Some(key)),
                Readiness::TransientFailure => {}
            }
            self.standings[key.slot()] = standing;
        }
        self.none_ready = match endpoints.order().first() {
            None => Pick::Empty,
            Some(_) if self.connecting_count > 0 => Pick::Wait { connect: None },
            Some(_) if first_idle.is_some() => Pick::Wait { connect: first_idle },
            Some(first) => Pick::Failed(*first),
        };
    }

    pub(super) fn start(&mut self, key: EndpointKey) {
        let tick = Tick::of(self.now);
        if let Some(endpoint) = self.endpoints.get(key) {
            self.ledger.start(key.slot(), endpoint.stats(), tick);
        }
        if let Some(slot) = self.ledger.next_untold(tick) {
            self.tell(slot, tick);
        }
    }

    pub(super) fn finish(&mut self, key: EndpointKey) {
        if let Some(endpoint) = self.endpoints.get(key) {
            self.ledger.finish(key.slot(), endpoint.stats(), Tick::of(self.now));
        }
    }

    fn tell(&mut self, slot: usize, tick: Tick) {
        if let Some(endpoint) = self.endpoints.in_slot(slot) {
            self.ledger.settle(slot, endpoint.stats(), tick);
        }
    }
}
