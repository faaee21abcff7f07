//! One worker's connections to one endpoint: made, grown, shrunk and given up as calls need them.
//!
//! A connection is dialed by a task of its own, which then watches it until it is over. Calls take the connection that has the
//! most room of those used last; when all are full they wait in line, and the pool grows.
//!
//! Invariant: a connection that takes no more calls is not in `links`; calls that it still has end there.

mod order;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use corelane_policy::balance::{EndpointKey, Readiness};
use corelane_policy::resilience::Backoff;
use corelane_runtime::{Address, now, sleep, sleep_until, spawn_local};
use corelane_wire::Instant;
use corelane_wire::connection::Connection;

use crate::Cause;
use crate::connect::connect;
use crate::guard::Guards;
use crate::health::{Health, Verdict};
use crate::local::Local;
use crate::orca;
use crate::session::{ClientLink, Unopened};
use crate::shared::Shared;
use crate::standing::{Phase, Standing};
use crate::waiters::Waiters;
use order::Order;

/// How long the first attempt of pick_first has before the next address is tried beside it (gRFC A61, RFC 8305).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A connection in the pool.
#[derive(Clone)]
pub(crate) struct Pooled {
    pub(crate) link: ClientLink,
    pub(crate) standing: Rc<Standing>,
}

/// What a pool did, and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Calls that found a stream at once.
    pub hits: u64,
    /// Calls that did not.
    pub misses: u64,
    /// Connections made.
    pub opened: u64,
    /// Attempts to connect that failed.
    pub failed: u64,
    /// Connections now that are not on their way out. Those count that get no calls because their endpoint says that it does not
    /// serve, or has not said yet that it does.
    pub open: usize,
    /// Of them, those without a call.
    pub idle: usize,
    /// Calls that wait for a stream.
    pub waiting: usize,
}

/// See the module.
pub(crate) struct Pool {
    pub(crate) key: EndpointKey,
    pub(crate) name: Arc<str>,
    address: Address,
    local: Weak<Local>,
    state: Cell<Readiness>,
    /// Those that take calls.
    links: RefCell<Vec<Pooled>>,
    /// Those, and the ones whose endpoint says that it does not serve.
    watched: RefCell<Vec<Pooled>>,
    /// Where the last call went.
    preferred: Cell<usize>,
    dialing: Cell<usize>,
    backoff: RefCell<Backoff>,
    /// As `backoff`, for connections beyond the first.
    growth: RefCell<Backoff>,
    /// When it may grow again.
    grow_after: Cell<Instant>,
    /// Why the last attempt failed.
    failure: RefCell<Option<Cause>>,
    /// Calls that wait for a stream.
    pub(crate) waiters: Rc<Waiters>,
    pub(crate) guards: Guards,
    /// At which share of the streams that are allowed it grows.
    grow_at_percent: u64,
    /// The search for a first connection that goes on: it is being dialed, or will be after a pause.
    seeking: Cell<Option<u64>>,
    /// Searches so far.
    searches: Cell<u64>,
    /// Changes when what was being dialed is no longer wanted.
    plan: Cell<u64>,
    /// It is no longer an endpoint of the channel.
    given_up: Cell<bool>,
    hits: Cell<u64>,
    misses: Cell<u64>,
    opened: Cell<u64>,
    failed: Cell<u64>,
}

/// What came of the wish for a stream.
pub(crate) enum Taken<T> {
    Yes(ClientLink, T),
    /// All connections are full: wait in line.
    Full,
    /// No connection takes calls.
    None,
}

impl Pool {
    pub(crate) fn new(local: &Rc<Local>, key: EndpointKey, name: Arc<str>, address: Address) -> Rc<Pool> {
        let backoff = || Backoff::new(local.shared.options.backoff).expect("the builder has checked it");
        Rc::new(Pool {
            key,
            name,
            address,
            local: Rc::downgrade(local),
            state: Cell::new(Readiness::Idle),
            links: RefCell::default(),
            watched: RefCell::default(),
            preferred: Cell::new(0),
            dialing: Cell::new(0),
            backoff: RefCell::new(backoff()),
            growth: RefCell::new(backoff()),
            grow_after: Cell::new(Instant::from_nanos(0)),
            failure: RefCell::default(),
            waiters: Waiters::new(local.pending.clone()),
            guards: Guards::default(),
            grow_at_percent: u64::from(local.shared.options.grow_at_percent),
            seeking: Cell::new(None),
            searches: Cell::new(0),
            plan: Cell::new(0),
            given_up: Cell::new(false),
            hits: Cell::new(0),
            misses: Cell::new(0),
            opened: Cell::new(0),
            failed: Cell::new(0),
        })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.get() == Readiness::Ready
    }

    /// What went wrong last, if it has not gone well since.
    pub(crate) fn trouble(&self) -> Option<Cause> {
        self.failure.borrow().clone()
    }

    /// As `trouble`, for a pool that nobody has got a connection of.
    pub(crate) fn failure(&self) -> Cause {
        self.trouble().unwrap_or_else(|| Cause::Connect { reason: "no attempt has succeeded yet".into() })
    }

    pub(crate) fn figures(&self) -> PoolFigures {
        let watched = self.watched.borrow();
        let open = || watched.iter().filter(|pooled| pooled.standing.phase() == Phase::Ready);
        PoolFigures {
            hits: self.hits.get(),
            misses: self.misses.get(),
            opened: self.opened.get(),
            failed: self.failed.get(),
            open: open().count(),
            idle: open().filter(|pooled| pooled.standing.calls() == 0).count(),
            waiting: self.waiters.len(),
        }
    }

    /// Tries `open` on one connection after the other. `queued` says that the caller has waited its turn; others must not
    /// overtake those who wait.
    #[inline]
    pub(crate) fn take<T>(
        self: &Rc<Self>,
        queued: Turn,
        mut open: impl FnMut(&ClientLink) -> Result<T, Unopened>,
    ) -> Taken<T> {
        let mut full = false;
        if queued == Turn::Newcomer && !self.waiters.is_empty() {
            full = true;
        } else {
            let count = self.links.borrow().len();
            let first = self.preferred.get().min(count.saturating_sub(1));
            for step in 0..count {
                // No remainder: a division is as long as the rest of this.
                let index = if first + step < count { first + step } else { first + step - count };
                let Some(link) = self.links.borrow().get(index).map(|pooled| pooled.link.clone()) else {
                    break;
                };
                match open(&link) {
                    Ok(taken) => {
                        self.preferred.set(index);
                        let percent = self.grow_at_percent;
                        let is_crowded = |pooled: &Pooled| pooled.standing.is_crowded(percent);
                        if step > 0 || self.links.borrow().get(index).is_some_and(is_crowded) {
                            self.grow_early();
                        }
                        self.took(queued, &link);
                        return Taken::Yes(link, taken);
                    }
                    Err(Unopened::Full) => full = true,
                    Err(Unopened::Leaving) => {}
                }
            }
        }
        if full {
            self.misses.set(self.misses.get() + u64::from(queued == Turn::Newcomer));
            self.grow();
            return Taken::Full;
        }
        Taken::None
    }

    #[inline]
    fn took(&self, queued: Turn, link: &ClientLink) {
        match queued {
            Turn::Newcomer => self.hits.set(self.hits.get() + 1),
            // Whoever frees a stream calls one; where there is room for more, those called pass it on.
            Turn::Called if link.wire(Connection::open_capacity).is_some_and(|room| room > 0) => {
                self.waiters.pass_on();
            }
            Turn::Called => {}
        }
    }

    /// Grows when all but a few streams of all connections are in use, before calls must wait.
    fn grow_early(self: &Rc<Self>) {
        if !self.may_grow() {
            return;
        }
        let links = self.links.borrow();
        let (mut used, mut allowed) = (0, 0);
        for pooled in &*links {
            let calls = u64::from(pooled.standing.calls());
            let room = pooled.link.wire(Connection::open_capacity).unwrap_or(0);
            used += calls;
            allowed += calls + u64::try_from(room).unwrap_or(u64::from(u32::MAX));
        }
        drop(links);
        if used * 100 >= allowed.saturating_mul(self.grow_at_percent) {
            self.grow();
        }
    }

    /// One more connection, unless there are as many as there may be.
    fn grow(self: &Rc<Self>) {
        if self.may_grow() {
            spawn_local(Pool::carry_out(Order::more(self)));
        }
    }

    fn may_grow(&self) -> bool {
        let is_below_max =
            |local: Rc<Local>| self.watched.borrow().len() < local.shared.options.connections_max;
        self.dialing.get() == 0
            && self.local.upgrade().is_some_and(is_below_max)
            && now() >= self.grow_after.get()
    }

    /// Connects, unless that is done or under way.
    pub(crate) fn connect(self: &Rc<Self>) {
        if self.state.get() == Readiness::Idle && !self.given_up.get() {
            spawn_local(Pool::carry_out(self.seek()));
        }
    }

    /// Begins to look for a first connection.
    fn seek(self: &Rc<Self>) -> Order {
        let order = Order::first(self);
        self.set_state(Readiness::Connecting);
        order
    }

    /// The endpoint of a search that has ended with nothing, as its task could not go on, is one that nobody looks for.
    pub(crate) fn revive(&self) {
        let waits = matches!(self.state.get(), Readiness::Connecting | Readiness::TransientFailure);
        if waits && self.seeking.get().is_none() && self.watched.borrow().is_empty() {
            self.set_state(Readiness::Idle);
        }
    }

    /// The life of a connection from its first attempt on. Where there is none, attempts go on, with pauses between them, until there
    /// is; one more is only tried once.
    async fn carry_out(order: Order) {
        loop {
            let began = now();
            if let Some(made) = Pool::dial_once(&order).await {
                return Pool::watch(order, made).await;
            }
            let Some(pool) = order.wanted() else { return };
            if !order.seeks(&pool) {
                drop(pool);
                return Pool::grow_later(order, began).await;
            }
            let Some(retry_at) = pool.attempt_failed(began) else { return };
            drop(pool);
            sleep_until(retry_at).await;
            let Some(pool) = order.wanted().filter(|pool| order.seeks(pool)) else { return };
            order.begin(&pool);
        }
    }

    /// Notes that the attempt begun then has failed; says when the next may be.
    fn attempt_failed(&self, began: Instant) -> Option<Instant> {
        let local = self.local.upgrade()?;
        let pause = self.backoff.borrow_mut().next(&mut local.rng.borrow_mut());
        self.set_state(Readiness::TransientFailure);
        local.shared.resolve();
        Some((began + pause).max(now()))
    }

    /// After an attempt at one more connection, begun then, that has failed: growth pauses, and nothing else. Who still waits in
    /// line behind the pause may need it.
    async fn grow_later(order: Order, began: Instant) {
        let Some(pool) = order.wanted() else { return };
        let Some(local) = pool.local.upgrade() else { return };
        let pause = pool.growth.borrow_mut().next(&mut local.rng.borrow_mut());
        let until = began + pause;
        pool.grow_after.set(until);
        drop((pool, local));
        sleep_until(until).await;
        if let Some(pool) = order.wanted()
            && !pool.waiters.is_empty()
        {
            pool.grow();
        }
    }

    /// One attempt: the connection that takes calls, or nothing, with the reason noted.
    async fn dial_once(order: &Order) -> Option<Pooled> {
        let pool = order.wanted()?;
        let local = pool.local.upgrade()?;
        let (shared, address) = (local.shared.clone(), pool.address.clone());
        let waiters = pool.waiters.clone();
        let first = pool.links.borrow().is_empty();
        drop((pool, local));
        let mut attempt = Box::pin(connect(&shared, &address, waiters));
        let mut hurry = Box::pin(sleep(ATTEMPT_DELAY));
        let mut hurried = !first;
        let made = poll_fn(|cx| {
            if let Poll::Ready(made) = attempt.as_mut().poll(cx) {
                return Poll::Ready(Some(made));
            }
            if !hurried && hurry.as_mut().poll(cx).is_ready() {
                hurried = true;
                if let Some(local) = order.pool.upgrade().and_then(|pool| pool.local.upgrade()) {
                    local.try_next();
                }
            }
            if order.wanted().is_some() { Poll::Pending } else { Poll::Ready(None) }
        })
        .await;
        let pool = order.pool.upgrade()?;
        order.end(&pool);
        match made? {
            Ok(made) if order.wanted().is_some() => Some(made),
            Ok(unwanted) => {
                close(&unwanted);
                None
            }
            Err(cause) => {
                tracing::debug!(endpoint = %pool.name, %cause, "cannot connect");
                pool.failed.set(pool.failed.get() + 1);
                if pool.links.borrow().is_empty() {
                    *pool.failure.borrow_mut() = Some(cause);
                }
                None
            }
        }
    }

    /// The life of a connection that takes calls.
    async fn watch(order: Order, made: Pooled) {
        let weak = order.pool.clone();
        let (shared, service) = {
            let Some(local) = weak.upgrade().and_then(|pool| pool.local.upgrade()) else {
                return close(&made);
            };
            if let Some(period) = local.reports_out_of_band() {
                spawn_local(orca::listen(weak.clone(), made.clone(), period));
            }
            (local.shared.clone(), local.health_service())
        };
        if let Some(pool) = weak.upgrade() {
            pool.opened.set(pool.opened.get() + 1);
            pool.watched.borrow_mut().push(made.clone());
        }
        drop(order);
        let phase = match service {
            None => {
                let Some(pool) = weak.upgrade() else { return close(&made) };
                pool.add(made.clone());
                drop(pool);
                poll_fn(|cx| made.standing.poll_beyond(Phase::Ready, cx)).await
            }
            Some(service) => Pool::watch_health(&weak, &made, &shared, service).await,
        };
        let Some(pool) = weak.upgrade() else { return close(&made) };
        pool.remove(&made, phase);
    }

    /// As `watch`, for an endpoint that is asked whether it serves (gRFC A17): calls go there while it says so.
    async fn watch_health(weak: &Weak<Pool>, made: &Pooled, shared: &Shared, service: String) -> Phase {
        let mut health = Health::new(service, made.clone());
        loop {
            let mut next = pin!(health.next(shared));
            let heard = poll_fn(|cx| match made.standing.poll_beyond(Phase::Ready, cx) {
                Poll::Ready(phase) => Poll::Ready(Err(phase)),
                Poll::Pending => next.as_mut().poll(cx).map(Ok),
            })
            .await;
            let Some(pool) = weak.upgrade() else { return Phase::Closed };
            match heard {
                Err(phase) => return phase,
                Ok(Verdict::Serves) => pool.add(made.clone()),
                Ok(Verdict::DoesNot(reason)) => pool.suspend(made, reason.into()),
            }
        }
    }

    /// No calls go to this connection while the endpoint does not serve.
    fn suspend(&self, unhealthy: &Pooled, reason: Arc<str>) {
        self.links.borrow_mut().retain(|pooled| !Rc::ptr_eq(&pooled.standing, &unhealthy.standing));
        if self.links.borrow().is_empty() {
            *self.failure.borrow_mut() = Some(Cause::Unhealthy { reason });
            self.set_state(Readiness::TransientFailure);
        }
    }

    /// The channel, for what goes on beside its calls.
    pub(crate) fn local(&self) -> Option<Rc<Local>> {
        self.local.upgrade()
    }

    fn add(&self, made: Pooled) {
        if self.links.borrow().iter().any(|pooled| Rc::ptr_eq(&pooled.standing, &made.standing)) {
            return;
        }
        self.backoff.borrow_mut().reset();
        self.growth.borrow_mut().reset();
        self.grow_after.set(Instant::from_nanos(0));
        *self.failure.borrow_mut() = None;
        let room = made.link.wire(Connection::open_capacity).unwrap_or(0);
        let standing = made.standing.clone();
        self.links.borrow_mut().push(made);
        // Whoever still looks for a first one need not: it has come in another way.
        self.seeking.set(None);
        self.set_state(Readiness::Ready);
        standing.room(room, std::task::Waker::wake);
    }

    fn remove(self: &Rc<Self>, gone: &Pooled, phase: Phase) {
        for list in [&self.links, &self.watched] {
            list.borrow_mut().retain(|pooled| !Rc::ptr_eq(&pooled.standing, &gone.standing));
        }
        let Some(local) = self.local.upgrade() else { return };
        if let Some(time) = gone.standing.pinged_too_often() {
            local.shared.ping_less(time);
        }
        if let Some(cause) = gone.standing.loss() {
            tracing::debug!(endpoint = %self.name, ?phase, %cause, "a connection is gone");
            *self.failure.borrow_mut() = Some(cause);
        }
        if self.links.borrow().is_empty()
            && self.seeking.get().is_none()
            && self.state.get() != Readiness::Idle
        {
            // Those who wait in line look elsewhere, and connect if there is nothing else.
            self.set_state(Readiness::Idle);
            local.shared.resolve();
        } else if !self.waiters.is_empty() {
            self.grow();
        }
    }

    /// Closes connections that were idle for long, down to the minimum.
    pub(crate) fn shrink(&self, min: usize, idle_since: impl Fn(&Standing) -> bool) {
        let mut links = self.links.borrow_mut();
        let mut surplus = Vec::new();
        while links.len() > min {
            let Some(index) =
                links.iter().position(|pooled| pooled.standing.calls() == 0 && idle_since(&pooled.standing))
            else {
                break;
            };
            surplus.push(links.swap_remove(index));
        }
        drop(links);
        surplus.iter().for_each(close);
    }

    /// Gives everything up: calls in flight end in their own time, new ones go elsewhere.
    pub(crate) fn give_up(&self) {
        self.given_up.set(true);
        self.rest();
    }

    /// Closes what is idle and stops dialing; the next call connects again.
    pub(crate) fn rest(&self) {
        self.plan.set(self.plan.get() + 1);
        self.seeking.set(None);
        self.links.borrow_mut().clear();
        let watched = self.watched.borrow().clone();
        watched.iter().for_each(close);
        if self.state.get() != Readiness::Idle {
            self.set_state(Readiness::Idle);
        }
        self.waiters.call_all();
    }

    fn set_state(&self, state: Readiness) {
        if self.state.replace(state) == state {
            return;
        }
        // The picker hears of it before anybody who may look at once: it would send them here again.
        if let Some(local) = self.local.upgrade() {
            local.readiness_changed(self.key, state);
        }
        if state != Readiness::Ready {
            // Those who wait for a stream here look elsewhere.
            self.waiters.call_all();
        }
    }
}

/// Whether a call has waited in line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Newcomer,
    Called,
}

/// No further calls; those in flight end in their own time.
fn close(pooled: &Pooled) {
    pooled.link.with(|_, io| {
        pooled.standing.set_phase(Phase::Leaving, |waker| io.wake_after(waker));
        io.wire.drain(io.now);
    });
}
