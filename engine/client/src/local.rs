//! A channel on one worker: its picker, its pools, and the calls that wait.
//!
//! Two tasks go with it. The follower notices what the resolver has published; the janitor lets connections go that nobody uses.
//! Both hold it weakly and end with it.
//!
//! Invariant: nothing here is borrowed while a connection is used or a waker is called.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corelane_call::{Code, Metadata};
use corelane_policy::balance::{Call, EndpointKey, LoadReport, Pick, Picker, Readiness, Worker, hash_of};
use corelane_runtime::{now, sleep, spawn_local};
use corelane_wire::Instant;

use crate::call::{Cache, Kept};
use crate::guard::{Outliers, Watch};
use crate::method::MethodState;
use crate::pool::{Pool, PoolFigures};
use crate::shared::{Resolution, Shared};
use crate::waiters::Waiters;
use crate::{Cause, ConnectivityState, Method, orca};

/// Methods that are found by the place of their path.
const RECENT_MAX: usize = 16;

/// How often connections are looked over for idle ones.
const TIDY: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    pub(crate) rng: RefCell<fastrand::Rng>,
    picker: RefCell<Picker>,
    /// By the slots of endpoint keys.
    pools: RefCell<Vec<Option<Rc<Pool>>>>,
    /// Calls that wait until something about the endpoints changes.
    pub(crate) waiting: Rc<Waiters>,
    /// Those, and the calls that wait in the lines of the pools.
    pub(crate) pending: Rc<Cell<usize>>,
    methods: RefCell<HashMap<&'static str, Rc<MethodState>>>,
    /// Those found last.
    recent: RefCell<Vec<Rc<MethodState>>>,
    /// The version of endpoints and config that was taken.
    pub(crate) version: Cell<u64>,
    /// Something was called: the names are being resolved, the policy connects.
    awake: Cell<bool>,
    /// When the last call began or ended.
    used: Cell<Instant>,
    /// A connection is wanted as soon as there are endpoints.
    wanted: Cell<bool>,
    /// Calls that wait or are in flight.
    calls: Cell<usize>,
    shutdown: Cell<bool>,
    /// Tasks that watch the state.
    pub(crate) watchers: Rc<Waiters>,
    state: Cell<ConnectivityState>,
    follower: RefCell<Option<Waker>>,
    outliers: RefCell<Option<Arc<Outliers>>>,
    pub(crate) cache: Option<Cache>,
    /// Whether load reports in trailers count.
    pub(crate) weighs: Cell<bool>,
}

/// Where a call may go.
pub(crate) enum Picked {
    Pool(Rc<Pool>),
    /// Nowhere yet.
    Wait,
    /// Nowhere, unless it is patient.
    Failed(Cause, Option<Arc<str>>),
}

impl Local {
    pub(crate) fn new(shared: &Arc<Shared>, worker: Worker) -> Rc<Local> {
        let mut rng = fastrand::Rng::with_seed(corelane_runtime::seed());
        let picker = Picker::new(shared.balancer.clone(), worker, rng.fork());
        let cache = shared.options.cache.map(|config| {
            let seed = corelane_runtime::seed();
            Cache::new(config, seed, |kept: &Rc<Kept>| kept.bytes()).expect("the builder has checked it")
        });
        let pending = Rc::new(Cell::new(0));
        let local = Rc::new(Local {
            shared: shared.clone(),
            rng: RefCell::new(rng),
            picker: RefCell::new(picker),
            pools: RefCell::default(),
            waiting: Waiters::new(pending.clone()),
            pending,
            methods: RefCell::default(),
            recent: RefCell::default(),
            version: Cell::new(0),
            awake: Cell::new(false),
            used: Cell::new(now()),
            wanted: Cell::new(false),
            calls: Cell::new(0),
            shutdown: Cell::new(false),
            watchers: Rc::default(),
            state: Cell::new(ConnectivityState::Idle),
            follower: RefCell::default(),
            outliers: RefCell::default(),
            cache,
            weighs: Cell::new(false),
        });
        spawn_local(follow(Rc::downgrade(&local), shared.clone()));
        spawn_local(tidy(Rc::downgrade(&local)));
        local
    }

    /// What is known of a method here.
    pub(crate) fn method(self: &Rc<Self>, method: Method) -> Rc<MethodState> {
        // The path of one stub is at the same place each time; to compare places is a tenth of hashing.
        let recent = self
            .recent
            .borrow()
            .iter()
            .find(|known| std::ptr::eq(known.method.path(), method.path()))
            .cloned();
        if let Some(known) = recent {
            return known;
        }
        self.method_by_name(method)
    }

    fn method_by_name(self: &Rc<Self>, method: Method) -> Rc<MethodState> {
        let known = self.methods.borrow().get(method.path()).cloned();
        let state = known.unwrap_or_else(|| self.new_method(method));
        let mut recent = self.recent.borrow_mut();
        recent.truncate(RECENT_MAX - 1);
        recent.insert(0, state.clone());
        state
    }

    fn new_method(&self, method: Method) -> Rc<MethodState> {
        let state = Rc::new(MethodState::new(method));
        self.methods.borrow_mut().insert(method.path(), state.clone());
        state
    }

    /// Notes that something is called, and begins to resolve and connect if nothing was for long.
    #[inline]
    pub(crate) fn touch(self: &Rc<Self>, now: Instant) {
        self.used.set(now);
        if !self.awake.get() {
            self.wake_up();
        }
    }

    /// Whether the names have not been resolved yet, and with them the service config is not known.
    #[inline]
    pub(crate) fn is_early(&self) -> bool {
        self.version.get() == 0 && self.shared.version() == 0
    }

    /// As the first call does, without a call.
    pub(crate) fn connect_now(self: &Rc<Self>) {
        self.touch(now());
        self.wanted.set(matches!(self.shared.resolution(), Resolution::Pending));
        // pick_first connects when somebody asks for a connection, and not before.
        let _ = self.pick(now(), &Call::default());
    }

    #[cold]
    fn wake_up(self: &Rc<Self>) {
        self.awake.set(true);
        self.shared.resolve();
        self.update();
    }

    /// Where a call goes now.
    #[inline]
    pub(crate) fn pick(self: &Rc<Self>, now: Instant, call: &Call<'_>) -> Picked {
        if self.shutdown.get() {
            return Picked::Failed(Cause::ChannelShutdown, None);
        }
        if self.shared.version() != self.version.get() {
            self.update();
        }
        let pick = self.picker.borrow_mut().pick(now, call);
        match pick {
            Pick::Ready { key, connect } => {
                if let Some(other) = connect {
                    self.connect(other);
                }
                match self.pool(key) {
                    Some(pool) => Picked::Pool(pool),
                    None => Picked::Wait,
                }
            }
            Pick::Wait { connect } => {
                if let Some(key) = connect {
                    self.connect(key);
                }
                Picked::Wait
            }
            Pick::Failed(key) => match self.pool(key) {
                Some(pool) => Picked::Failed(pool.failure(), Some(pool.name.clone())),
                None => Picked::Wait,
            },
            Pick::Empty => match self.shared.resolution() {
                Resolution::Pending => Picked::Wait,
                Resolution::Known => Picked::Failed(Cause::NoEndpoints, None),
                Resolution::Failed(cause) => {
                    self.shared.resolve();
                    Picked::Failed(cause, None)
                }
            },
        }
    }

    /// Whether calls that were picked for `pool` before may still go there.
    pub(crate) fn takes_calls(self: &Rc<Self>, pool: &Pool) -> bool {
        if self.shared.version() != self.version.get() {
            self.update();
        }
        !self.shutdown.get() && pool.is_ready()
    }

    /// Why no endpoint is ready, as far as that is known: the name, or one of the endpoints.
    pub(crate) fn trouble(&self) -> Option<(Cause, Option<Arc<str>>)> {
        if let Resolution::Failed(cause) = self.shared.resolution() {
            return Some((cause, None));
        }
        let pools = self.pools.borrow();
        pools.iter().flatten().find_map(|pool| Some((pool.trouble()?, Some(pool.name.clone()))))
    }

    /// A call was sent there.
    #[inline]
    pub(crate) fn started(&self, now: Instant, key: EndpointKey) {
        self.picker.borrow_mut().start(now, key);
    }

    /// A call that was sent there is over.
    #[inline]
    pub(crate) fn finished(&self, now: Instant, key: EndpointKey) {
        self.picker.borrow_mut().finish(now, key);
    }

    /// What an endpoint said of its load.
    pub(crate) fn reported(&self, now: Instant, key: EndpointKey, report: &LoadReport) {
        self.picker.borrow_mut().report(now, key, report);
    }

    /// How often endpoints are to report their load out of band, if they are.
    pub(crate) fn reports_out_of_band(&self) -> Option<Duration> {
        let endpoints = self.picker.borrow_mut().look().clone();
        let config = orca::config(endpoints.policy()).filter(|config| config.out_of_band)?;
        Some(config.oob_reporting_period)
    }

    /// The service whose health endpoints are asked for (gRFC A17); pick_first does not ask.
    pub(crate) fn health_service(&self) -> Option<String> {
        let config = self.shared.config.load();
        let health = config.service.health_check.as_ref()?;
        (!self.connects_one_by_one()).then(|| health.service_name.clone())
    }

    /// A call was answered with these trailers: they may report the endpoint's load.
    #[inline]
    pub(crate) fn answered(&self, pool: &Pool, trailers: &Metadata) {
        if self.weighs.get()
            && let Some(report) = orca::in_trailers(trailers)
        {
            self.reported(now(), pool.key, &report);
        }
    }

    /// The hash of a call, if the policy goes by one that its metadata have.
    pub(crate) fn hash(&self, metadata: &Metadata) -> Option<u64> {
        metadata.get_bytes(self.picker.borrow().hash_header()?).map(hash_of)
    }

    /// Asks the guards of an endpoint whether a call may go there; if not, when it may.
    #[inline]
    pub(crate) fn admit(
        &self,
        pool: &Pool,
        method: &'static str,
        now: Instant,
    ) -> Result<Watch, Option<Duration>> {
        pool.guards.admit(self.shared.breakers.as_ref(), &pool.name, method, now)
    }

    /// An attempt is over.
    #[inline]
    pub(crate) fn watched(&self, endpoint: &Arc<str>, watch: Watch, code: Option<Code>, now: Instant) {
        watch.end(self.shared.breakers.as_ref(), endpoint, code, now);
        self.sweep_outliers(now);
    }

    #[inline]
    fn sweep_outliers(&self, now: Instant) {
        if let Some(outliers) = &*self.outliers.borrow() {
            outliers.sweep(now, &self.shared.balancer, &mut self.rng.borrow_mut());
        }
    }

    fn pool(&self, key: EndpointKey) -> Option<Rc<Pool>> {
        let pools = self.pools.borrow();
        pools.get(key.slot())?.clone().filter(|pool| pool.key == key)
    }

    fn connect(&self, key: EndpointKey) {
        if let Some(pool) = self.pool(key) {
            pool.connect();
        }
    }

    /// pick_first: the attempt under way takes its time, so the next address is tried beside it.
    pub(crate) fn try_next(&self) {
        let next = self.picker.borrow().next_idle();
        if let Some(key) = next.filter(|_| self.connects_one_by_one()) {
            self.connect(key);
        }
    }

    fn connects_one_by_one(&self) -> bool {
        self.picker.borrow_mut().look().policy().is_pick_first()
    }

    /// Takes what was published: new pools for new endpoints, and none for those that are gone.
    fn update(self: &Rc<Self>) {
        self.version.set(self.shared.version());
        let endpoints = self.picker.borrow_mut().look().clone();
        let mut gone = Vec::new();
        {
            let mut pools = self.pools.borrow_mut();
            pools.resize_with(endpoints.slots_count(), || None);
            for place in pools.iter_mut() {
                if place.as_ref().is_some_and(|pool| endpoints.get(pool.key).is_none()) {
                    gone.extend(place.take());
                }
            }
            for endpoint in endpoints.iter() {
                let place = &mut pools[endpoint.key().slot()];
                if place.is_none()
                    && let Ok(address) = endpoint.info().address.parse()
                {
                    *place = Some(Pool::new(self, endpoint.key(), endpoint.info().address.clone(), address));
                }
            }
        }
        gone.iter().for_each(|pool| pool.give_up());
        let outliers = self.shared.outliers();
        for pool in self.pools.borrow().iter().flatten() {
            let outlier = outliers.as_ref().and_then(|outliers| outliers.find(pool.key)).cloned();
            pool.guards.set_outlier(outlier);
        }
        *self.outliers.borrow_mut() = outliers;
        self.weighs.set(orca::config(endpoints.policy()).is_some_and(|config| !config.out_of_band));
        self.keep_connected();
        if self.version.get() > 0 && self.wanted.take() {
            let _ = self.pick(now(), &Call::default());
        }
        self.settle();
    }

    /// Connects what the policy wants connected.
    fn keep_connected(&self) {
        if !self.awake.get() || self.shutdown.get() {
            return;
        }
        // What the policy wants follows from the states as they are now: pick_first lets go what is not ready any more.
        self.picker.borrow_mut().look();
        let pools: Vec<Rc<Pool>> = self.pools.borrow().iter().flatten().cloned().collect();
        for pool in pools {
            let wanted = self.picker.borrow().keeps_connected(pool.key);
            if wanted {
                pool.connect();
            }
        }
    }

    /// A pool's state has changed.
    pub(crate) fn readiness_changed(&self, key: EndpointKey, readiness: Readiness) {
        self.picker.borrow_mut().set_readiness(key, readiness);
        if readiness == Readiness::Ready && self.connects_one_by_one() {
            // The others were tried in vain, or lost the race.
            let others: Vec<Rc<Pool>> =
                self.pools.borrow().iter().flatten().filter(|pool| pool.key != key).cloned().collect();
            others.iter().for_each(|pool| pool.rest());
        }
        if readiness == Readiness::Idle {
            self.keep_connected();
        }
        if readiness == Readiness::TransientFailure && self.connects_one_by_one() {
            self.try_next();
        }
        self.settle();
    }

    /// Tells everybody who waits that something has changed.
    fn settle(&self) {
        let state = self.assess();
        if self.state.replace(state) != state {
            self.watchers.call_all();
        }
        self.waiting.call_all();
    }

    /// The state of the whole, by gRPC's rules.
    fn assess(&self) -> ConnectivityState {
        if self.shutdown.get() {
            return ConnectivityState::Shutdown;
        }
        let (mut connecting, mut idle, mut failed) = (false, false, false);
        let picker = self.picker.borrow();
        for pool in self.pools.borrow().iter().flatten() {
            match picker.readiness(pool.key) {
                Some(Readiness::Ready) => return ConnectivityState::Ready,
                Some(Readiness::Connecting) => connecting = true,
                Some(Readiness::TransientFailure) => failed = true,
                Some(Readiness::Idle) | None => idle = true,
            }
        }
        match (connecting, idle, failed) {
            (true, ..) => ConnectivityState::Connecting,
            // pick_first goes on to the next one.
            (false, true, true) if self.awake.get() => ConnectivityState::Connecting,
            (false, true, _) => ConnectivityState::Idle,
            (false, false, true) => ConnectivityState::TransientFailure,
            (false, false, false) if !self.awake.get() => ConnectivityState::Idle,
            (false, false, false) => match self.shared.resolution() {
                Resolution::Pending => ConnectivityState::Connecting,
                Resolution::Known | Resolution::Failed(_) => ConnectivityState::TransientFailure,
            },
        }
    }

    pub(crate) fn state(&self) -> ConnectivityState {
        self.state.get()
    }

    pub(crate) fn figures(&self) -> Vec<(Arc<str>, PoolFigures)> {
        self.pools.borrow().iter().flatten().map(|pool| (pool.name.clone(), pool.figures())).collect()
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shutdown.get()
    }

    /// No further calls; those in flight end in their own time.
    pub(crate) fn shut_down(&self) {
        if !self.shutdown.replace(true) {
            let pools = std::mem::take(&mut *self.pools.borrow_mut());
            pools.iter().flatten().for_each(|pool| pool.give_up());
            self.settle();
        }
    }

    /// Lets go what nobody has used for long.
    fn tidy(&self) {
        let options = &self.shared.options;
        let now = now();
        self.sweep_outliers(now);
        let pools: Vec<Rc<Pool>> = self.pools.borrow().iter().flatten().cloned().collect();
        let is_unused = self.calls.get() == 0
            && options.idle_timeout.is_some_and(|timeout| now.since(self.used.get()) >= timeout);
        if is_unused && self.awake.replace(false) {
            pools.iter().for_each(|pool| pool.rest());
            self.settle();
            return;
        }
        for pool in pools {
            pool.revive();
            pool.shrink(options.connections_min, |standing| {
                now.since(standing.idle_since()) >= options.surplus_idle
            });
        }
    }
}

/// Counts a call among those of its channel for as long as it lives.
pub(crate) struct Counted(Rc<Local>);

impl Counted {
    #[inline]
    pub(crate) fn new(local: &Rc<Local>) -> Counted {
        local.calls.set(local.calls.get() + 1);
        Counted(local.clone())
    }
}

impl Drop for Counted {
    #[inline]
    fn drop(&mut self) {
        let left = self.0.calls.get() - 1;
        self.0.calls.set(left);
        if left == 0 {
            // A channel is idle from the end of its last call on, however long ago that began.
            self.0.used.set(now());
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.shut_down();
        if let Some(follower) = self.follower.take() {
            self.shared.unfollow(&follower);
            follower.wake();
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("target", &self.shared.target.to_string())
            .field("state", &self.state.get())
            .finish_non_exhaustive()
    }
}

/// The task that takes what the resolver publishes.
async fn follow(weak: Weak<Local>, shared: Arc<Shared>) {
    poll_fn(|cx| {
        loop {
            let Some(local) = weak.upgrade() else { return Poll::Ready(()) };
            *local.follower.borrow_mut() = Some(cx.waker().clone());
            if shared.version() != local.version.get() {
                local.update();
            }
            if !shared.follow(local.version.get(), cx.waker()) {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// The task that looks after idle connections.
async fn tidy(weak: Weak<Local>) {
    loop {
        sleep(TIDY).await;
        match weak.upgrade() {
            Some(local) => local.tidy(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use corelane_policy::config::Target;
    use corelane_runtime::Workers;

    #[test]
    fn a_channel_is_idle_from_the_end_of_its_last_call_on() {
        const IDLE: Duration = Duration::from_millis(5);
        crate::Engine::start(Workers::Count(1)).unwrap().block_on(|| async {
            let options = Options { idle_timeout: Some(IDLE), ..Options::default() };
            let shared = Shared::new(Target::parse("ipv4:127.0.0.1:1").unwrap(), options, None, 0);
            let local = Local::new(&shared, Worker { index: 0, count: 1 });
            local.touch(now());
            let calls = [Counted::new(&local), Counted::new(&local)];
            sleep(IDLE).await;
            drop(calls);
            local.tidy();
            assert!(local.awake.get());
            sleep(IDLE).await;
            local.tidy();
            assert!(!local.awake.get());
        });
    }
}
