//! A worker: everything one thread owns, and the tasks that serve all of its connections together.
//!
//! The tasks: the post (reads the bell, delivers what foreign threads left), the timer (waits for the alarm), the
//! ticker's two, and one for each listener. All of them end before the worker does, since what monoio is left
//! holding when its runtime is dropped, it leaks.
//!
//! Does not: know the protocol or the session; those live in [`crate::driver`], one for each connection.

use crate::accept;
use crate::backend::{self, Accepted, Alarm, Bell, BellRope, Cord, Listener, StdListener};
use crate::buffers::Buffers;
use crate::clock::Clock;
use crate::error::StartError;
use crate::home::{Home, Job, Letter};
use crate::inbox::{Due, Inbox, Origin, signal};
use crate::limits::{Limits, RECLAIM_SCAN, SWEEP, SWEEP_PLACES};
use crate::neighbours::Neighbours;
use crate::panic::guard;
use crate::profile::Profile;
use crate::session::SessionFactory;
use crate::signal::Signal;
use crate::spawn::Crew;
use crate::spin::{self, Spinner};
use crate::ticker::Ticker;
use crate::timers::{Target, Timers};
use crate::tls::{Machine, ServerTls};
use corelane_memory::{Drained, Key, Slab};
use corelane_observe::{Limit, ProfileSwitch, WorkerCounters, Writer};
use corelane_wire::Instant;
use corelane_wire::connection::Config as WireConfig;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// The worker of this thread, while it runs.
    static CURRENT: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
    /// The time of its turn, beside it: to ask for that is a load where the worker itself would have to be found.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The worker of this thread, if it is one.
pub(crate) fn current() -> Option<Rc<Worker>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// The time of this turn, on a worker.
#[inline]
pub(crate) fn now() -> Option<Instant> {
    NOW.get()
}

/// Delivers a wake if this thread is the worker `home`; says whether it was.
pub(crate) fn wake_here(home: u64, connection: Key, slot: u32) -> bool {
    deliver(home, |worker| worker.wake(connection, slot))
}

/// Delivers a spawned task's wake if this thread is the worker `home`; says whether it was.
pub(crate) fn wake_task_here(home: u64, task: Key) -> bool {
    deliver(home, |worker| worker.crew.wake(task))
}

#[inline]
fn deliver(home: u64, wake: impl FnOnce(&Worker)) -> bool {
    let delivered = CURRENT.try_with(|current| match &*current.borrow() {
        Some(worker) if worker.home.id == home => {
            wake(worker);
            true
        }
        _ => false,
    });
    // Without thread-locals the thread is ending, so it is nobody's worker any more.
    delivered.unwrap_or(false)
}

/// Does a foreign thread's job. A panic in it is its own.
fn run(job: Job) {
    if let Err(panic) = guard(job) {
        tracing::error!(panic = panic.message(), "a job panicked");
    }
}

/// Which of its engine's workers one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

/// What a worker is made from.
pub(crate) struct Seed {
    /// The homes of all workers; its own is at its position.
    pub(crate) homes: Arc<[Arc<Home>]>,
    pub(crate) limits: Limits,
    /// Gives back what is kept above the runtime.
    pub(crate) trim_kept: Option<fn()>,
    pub(crate) wire: WireConfig,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) receive_bytes: usize,
    pub(crate) counters: Writer<WorkerCounters>,
    pub(crate) profile: ProfileSwitch,
    pub(crate) position: Position,
    pub(crate) spin: Duration,
}

/// A sweep that is under way, and what it has seen.
#[derive(Clone, Copy, Default)]
struct Swept {
    places: u32,
    /// Connections with a large buffer.
    large: usize,
    /// Calls that wait to be polled.
    ready: usize,
}

/// See the module.
pub(crate) struct Worker {
    pub(crate) home: Arc<Home>,
    pub(crate) neighbours: Neighbours,
    pub(crate) position: Position,
    pub(crate) limits: Limits,
    trim_kept: Option<fn()>,
    wire: Arc<WireConfig>,
    tls: Option<ServerTls>,
    /// Where the seeds of connections come from.
    seeds: RandomState,
    opened: Cell<u64>,
    pub(crate) counters: Rc<Writer<WorkerCounters>>,
    pub(crate) profile: Profile,
    clock: Clock,
    now: Cell<Instant>,
    pub(crate) timers: Timers,
    pub(crate) ticker: Rc<Ticker>,
    pub(crate) spinner: Spinner,
    pub(crate) buffers: Buffers,
    connections: RefCell<Slab<Rc<Inbox>>>,
    /// Where the last hunt for an idle buffer stopped.
    hunted: Cell<u32>,
    /// How far the sweep has come.
    swept: Cell<Swept>,
    /// Targets that are being told; kept for its storage.
    due: RefCell<Vec<Target>>,
    /// A drain has begun.
    pub(crate) draining: Signal,
    /// The drain's grace is over.
    forcing: Cell<bool>,
    /// Listeners that still accept.
    listeners: Cell<usize>,
    /// Nothing is left to serve.
    over: Rc<Signal>,
    /// The connections that we dialed were told to drain.
    hanging_up: Cell<bool>,
    /// Spawned tasks.
    pub(crate) crew: Crew,
    tasks: Rc<Tasks>,
}

impl Worker {
    /// Makes the worker of this thread's runtime.
    ///
    /// # Errors
    /// When descriptors run out.
    fn new(seed: Seed, rope: BellRope) -> io::Result<Worker> {
        let clock = Clock::start();
        let now = clock.read();
        let counters = Rc::new(seed.counters);
        Ok(Worker {
            profile: Profile::new(seed.profile, counters.clone(), clock),
            clock,
            now: Cell::new(now),
            timers: Timers::new(Alarm::new()?, now),
            ticker: Rc::new(Ticker::new(rope)),
            spinner: Spinner::new(seed.spin),
            buffers: Buffers::new(seed.receive_bytes, seed.limits.receive_buffers_max.max(2)),
            connections: RefCell::new(Slab::new(seed.limits.connections_max)),
            home: seed.homes[seed.position.index].clone(),
            neighbours: Neighbours::new(seed.homes, seed.position.index),
            position: seed.position,
            limits: seed.limits,
            trim_kept: seed.trim_kept,
            wire: Arc::new(seed.wire),
            tls: seed.tls,
            seeds: RandomState::new(),
            opened: Cell::new(0),
            counters,
            hunted: Cell::new(0),
            swept: Cell::default(),
            due: RefCell::default(),
            draining: Signal::default(),
            forcing: Cell::new(false),
            listeners: Cell::new(0),
            over: Rc::default(),
            hanging_up: Cell::new(false),
            crew: Crew::new(),
            tasks: Rc::default(),
        })
    }

    /// A turn with work begins. Reads the clock: once a turn. Timers that are due are told on this occasion.
    #[inline]
    pub(crate) fn begin_turn(&self) -> Instant {
        self.spinner.stir();
        self.tell_time()
    }

    /// Reads the clock, and tells the timers that are due.
    #[inline]
    fn tell_time(&self) -> Instant {
        let now = self.clock.read();
        self.now.set(now);
        NOW.set(Some(now));
        self.profile.begin(now);
        if self.timers.is_due(now) {
            self.expire(now);
        }
        now
    }

    /// The time of this very moment, for what is counted from now and not from the turn's beginning.
    pub(crate) fn read_clock(&self) -> Instant {
        self.clock.read()
    }

    /// The time of this turn.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The settings of a new connection, and its seed: each has one of its own, which no peer knows.
    pub(crate) fn wire_config(&self) -> (Arc<WireConfig>, u64) {
        (self.wire.clone(), self.seed())
    }

    /// What secures a connection that was accepted, and must have done so in time.
    pub(crate) fn server_tls(&self) -> Option<Box<Machine>> {
        let tls = self.tls.as_ref()?;
        Some(Box::new(Machine::server(tls, self.now() + self.limits.tls_handshake)))
    }

    /// A number that no peer can guess.
    pub(crate) fn seed(&self) -> u64 {
        // Relies on the keys of the standard library's hash being secret, as its maps do.
        let number = self.opened.get();
        self.opened.set(number.wrapping_add(1));
        self.seeds.hash_one(number)
    }

    /// A place for a connection, or `None` when the worker has as many as it may.
    pub(crate) fn admit(&self, origin: Origin) -> Option<Rc<Inbox>> {
        let mut connections = self.connections.borrow_mut();
        let inbox = Rc::new(Inbox::new(connections.vacant_key()?, origin));
        let key = connections.insert(inbox.clone()).ok()?;
        debug_assert_eq!(key, inbox.key);
        if origin == Origin::Accepted {
            self.counters.connections_open.increment();
        }
        // One that waited in a listener's queue until now has not heard what the others have.
        if self.draining.is_set() && (origin == Origin::Accepted || self.hanging_up.get()) {
            inbox.signal(signal::DRAIN);
        }
        if self.forcing.get() {
            inbox.signal(signal::FORCE);
        }
        Some(inbox)
    }

    /// A connection's task has ended.
    pub(crate) fn dismiss(&self, inbox: &Inbox) {
        self.connections.borrow_mut().remove(inbox.key);
        if inbox.origin == Origin::Accepted {
            self.counters.connections_open.decrement();
            self.home.uncount_connection();
        }
        self.check_over();
    }

    /// A listener has ended.
    pub(crate) fn listener_ended(&self) {
        self.listeners.set(self.listeners.get() - 1);
        self.check_over();
    }

    /// Whether the last one that was served has gone. Handlers may call others until then, so the connections that we
    /// dialed are drained after those that we accepted.
    fn check_over(&self) {
        // Also those that are still on their way from another worker.
        if !self.draining.is_set() || self.listeners.get() != 0 || self.home.connections() != 0 {
            return;
        }
        if self.connections.borrow().is_empty() {
            self.over.set();
            self.crew.wake_all();
        } else if !self.hanging_up.replace(true) {
            self.signal_all(signal::DRAIN);
        }
    }

    fn inbox(&self, key: Key) -> Option<Rc<Inbox>> {
        self.connections.borrow().get(key).cloned()
    }

    /// A call's waker was called.
    fn wake(&self, connection: Key, slot: u32) {
        if let Some(inbox) = self.connections.borrow().get(connection) {
            inbox.ready.borrow_mut().push(slot);
            inbox.notify();
        }
    }

    /// Tells everybody whose timer is due.
    fn expire(&self, now: Instant) {
        let mut due = self.due.take();
        self.timers.expire(now, &mut due);
        for target in due.drain(..) {
            match target {
                Target::Call { connection, slot, serial } => self.due(connection, Due::Call { slot, serial }),
                Target::Connection(connection) => self.due(connection, Due::Connection),
                Target::Sleep(sleeper) => {
                    sleeper.over.set(true);
                    let waker = sleeper.waker.take();
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
                Target::Sweep => self.sweep(now),
                Target::DrainOver => {
                    self.forcing.set(true);
                    self.signal_all(signal::FORCE);
                }
            }
        }
        *self.due.borrow_mut() = due;
    }

    fn due(&self, connection: Key, due: Due) {
        if let Some(inbox) = self.inbox(connection) {
            inbox.due.borrow_mut().push(due);
            inbox.notify();
        }
    }

    fn signal_all(&self, signal: u8) {
        for (_, inbox) in self.connections.borrow().iter() {
            inbox.signal(signal);
        }
    }

    /// Whether nothing is left to serve, so that spawned tasks are dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_set()
    }

    /// Looks over connections, all of them within [`SWEEP`]: who holds a large buffer for nothing or for too long, whose peer does
    /// not read.
    fn sweep(&self, now: Instant) {
        let places = self.places();
        let from = self.swept.take();
        let to = if from.places >= places { places } else { places.min(from.places + SWEEP_PLACES) };
        let mut seen = from;
        seen.places = to;
        // A hunt looks at a few connections, and there may be none after it.
        let mut awaited = self.buffers.awaited();
        let connections = self.connections.borrow();
        for (_, inbox) in (from.places..to).filter_map(|index| connections.at(index)) {
            seen.large += usize::from(inbox.large.get());
            seen.ready += inbox.ready.borrow().len();
            self.look_over(inbox, now, &mut awaited);
        }
        drop(connections);
        let parts = places.div_ceil(SWEEP_PLACES).max(1);
        self.timers.insert(now, now + SWEEP / parts, Target::Sweep);
        if to < places {
            return self.swept.set(seen);
        }
        self.buffers.trim();
        if let Some(trim) = self.trim_kept {
            trim();
        }
        self.connections.borrow_mut().shrink_if_empty();
        self.publish_levels(seen.large, seen.ready);
        self.profile.look(now);
    }

    /// Tells one connection what it has held for too long.
    fn look_over(&self, inbox: &Inbox, now: Instant, awaited: &mut usize) {
        let since = |limit: Duration| now.as_nanos().saturating_sub(nanos(limit));
        let was_quiet = inbox.received_ns.get() <= since(SWEEP);
        if was_quiet && inbox.idle.get() && !inbox.quiet.replace(true) {
            inbox.signal(signal::QUIET);
        }
        if was_quiet && inbox.reclaimable.get() {
            // Calls are in flight, and the peer has nothing more to say to them.
            inbox.signal(signal::RECLAIM);
        }
        let partial_since = inbox.partial_since_ns.get();
        let holds = partial_since != 0 && partial_since <= since(self.limits.frame_hold);
        if holds && inbox.large.get() && self.buffers.awaited() > 0 {
            inbox.signal(signal::HOLDS);
        }
        if *awaited > 0 && inbox.reclaimable.get() {
            *awaited -= 1;
            inbox.signal(signal::RECLAIM);
        }
        let writing_since = inbox.writing_since_ns.get();
        if writing_since != 0 && writing_since <= since(self.limits.write_stall) {
            inbox.signal(signal::STALLED);
        }
    }

    /// Places of connections, free ones among them.
    fn places(&self) -> u32 {
        u32::try_from(self.connections.borrow().capacity()).unwrap_or(u32::MAX)
    }

    /// Connections of both origins.
    pub(crate) fn connections_count(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Connections that we dialed.
    pub(crate) fn dialed_count(&self) -> usize {
        self.connections.borrow().iter().filter(|(_, inbox)| inbox.origin == Origin::Dialed).count()
    }

    /// Bytes of the table of connections.
    pub(crate) fn table_bytes(&self) -> usize {
        self.connections.borrow().capacity() * size_of::<(u64, Rc<Inbox>)>()
    }

    /// Somebody waits for a large buffer: asks one connection that holds one for nothing to give it back. The search
    /// goes on where the last one stopped, so that the loss goes round.
    pub(crate) fn hunt_buffer(&self) {
        let connections = self.connections.borrow();
        let slots = self.places().max(1);
        for _ in 0..RECLAIM_SCAN {
            let index = self.hunted.replace((self.hunted.get() + 1) % slots);
            if let Some((_, inbox)) = connections.at(index)
                && inbox.reclaimable.get()
            {
                inbox.signal(signal::RECLAIM);
                return;
            }
        }
    }

    /// No longer accepts, and lets every connection finish what it has begun, for at most `grace`.
    pub(crate) fn drain(&self, grace: Duration) {
        let now = self.begin_turn();
        if !self.draining.is_set() {
            self.draining.set();
            for (_, inbox) in self.connections.borrow().iter() {
                if inbox.origin == Origin::Accepted {
                    inbox.signal(signal::DRAIN);
                }
            }
        }
        self.timers.insert(now, now + grace, Target::DrainOver);
        self.check_over();
    }

    /// The task that hears the bell; `welcome` opens a connection that another worker has handed over.
    async fn post(&self, mut bell: Bell, welcome: impl Fn(Accepted)) {
        let mut grace = Duration::MAX;
        while let Some(Ok(())) = self.over.unless(bell.rung()).await {
            self.begin_turn();
            let drained = self.home.letters(|letter| match letter {
                Letter::Wake { connection, slot } => self.wake(connection, slot),
                Letter::WakeTask(task) => self.crew.wake(task),
                Letter::Job(job) => run(job),
                Letter::Connection(accepted) => welcome(*accepted),
            });
            if self.home.take_overflow() {
                self.counters.limits_hit.increment(Limit::Mailbox);
                self.signal_all(signal::SCAN);
                self.crew.wake_all();
            }
            if drained == Drained::More {
                self.home.ring();
            }
            if let Some(ordered) = self.home.drain_ordered().filter(|ordered| *ordered < grace) {
                grace = ordered;
                self.drain(grace);
            }
            // A connection that was on its way may have been taken back, or refused.
            self.check_over();
        }
    }

    /// The task that hears the alarm.
    async fn clockwork(&self) {
        while let Some(waited) = self.over.unless(self.timers.gone_off()).await {
            if let Err(error) = waited {
                tracing::error!(%error, "cannot wait for the worker's timer");
                return;
            }
            // Not work in itself: the sweep goes on without any. Whoever is told a timer has a turn of its own.
            let now = self.tell_time();
            self.timers.rearm(now);
        }
    }
}

/// A worker that is set up on its thread's runtime and serves nobody yet.
pub(crate) struct Prepared {
    worker: Rc<Worker>,
    bell: Bell,
    beat: Bell,
    listeners: Vec<Listener>,
}

/// Makes the worker of this thread's runtime, with everything that can fail. `bell` is the end of its home's rope.
///
/// # Errors
/// When descriptors run out.
pub(crate) fn prepare(seed: Seed, bell: UnixStream, listeners: Vec<StdListener>) -> io::Result<Prepared> {
    let (rope, beat) = BellRope::pair()?;
    Ok(Prepared {
        bell: Bell::new(bell)?,
        beat: Bell::new(beat)?,
        listeners: listeners.into_iter().map(Listener::new).collect::<io::Result<_>>()?,
        worker: Rc::new(Worker::new(seed, rope)?),
    })
}

impl Prepared {
    /// Makes this the worker of its thread, until it has ended.
    ///
    /// # Errors
    /// [`StartError::WorkerExists`] if there is one already.
    pub(crate) fn install(&self) -> Result<(), StartError> {
        CURRENT.with_borrow_mut(|current| match current {
            Some(_) => Err(StartError::WorkerExists),
            None => {
                *current = Some(self.worker.clone());
                NOW.set(Some(self.worker.now()));
                Ok(())
            }
        })
    }
}

/// The end of a worker on its thread.
fn uninstall() {
    // Taken out before it is dropped: what a worker holds may ask for the current one while it goes.
    let worker = CURRENT.with_borrow_mut(Option::take);
    NOW.set(None);
    // Again: a worker whose `serve` was dropped has not been closed yet.
    if let Some(worker) = worker {
        worker.home.close();
    }
}

/// Ends the connections of this thread's worker, which has died: its runtime leaks their tasks, and peers would wait for ever
/// for answers.
pub(crate) fn bury() {
    NOW.set(None);
    if let Some(worker) = CURRENT.with_borrow_mut(Option::take) {
        for (_, inbox) in worker.connections.borrow().iter() {
            inbox.cord.get().into_iter().for_each(Cord::pull);
        }
    }
}

/// Counts the worker's own tasks: it ends with the last of them.
#[derive(Default)]
struct Tasks {
    running: Cell<usize>,
    ended: Signal,
}

impl Tasks {
    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let tasks = self.clone();
        tasks.running.set(tasks.running.get() + 1);
        backend::spawn(async move {
            task.await;
            tasks.running.set(tasks.running.get() - 1);
            if tasks.running.get() == 0 {
                uninstall();
                tasks.ended.set();
            }
        });
    }
}

/// Ends a worker whose future is dropped before its time.
struct Abandoned<'a>(&'a Worker);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if !self.0.over.is_set() {
            self.0.drain(Duration::ZERO);
        }
    }
}

/// Serves until a drain has ended, as the runtime's main future, and spins between the turns. The worker was installed before.
pub(crate) async fn serve_and_spin<F: SessionFactory>(prepared: Prepared, factory: F) {
    let worker = prepared.worker.clone();
    if !worker.spinner.is_on() {
        drop(worker);
        return serve(prepared, factory, std::future::pending()).await;
    }
    let (crank, until) = (worker.clone(), worker.over.clone());
    worker.tasks.spawn(async move { crank.spinner.crank(&until).await });
    serve(prepared, factory, spin::spin(&worker)).await;
}

/// Serves until a drain has ended; `stop` may order one. The worker was installed before.
pub(crate) async fn serve<F: SessionFactory>(
    prepared: Prepared,
    factory: F,
    stop: impl Future<Output = Duration>,
) {
    let Prepared { worker, bell, beat, listeners } = prepared;
    let tasks = worker.tasks.clone();
    let over = worker.over.clone();

    let (ticker, until) = (worker.ticker.clone(), over.clone());
    tasks.spawn(async move { ticker.echo(&until).await });
    let (ticker, until) = (worker.ticker.clone(), over.clone());
    tasks.spawn(async move { ticker.beat(beat, &until).await });
    let factory = Rc::new(factory);
    let (clerk, opener, sessions) = (worker.clone(), worker.clone(), factory.clone());
    let welcome = move |accepted| accept::open(&opener, accepted, &*sessions);
    tasks.spawn(async move { clerk.post(bell, welcome).await });
    let clerk = worker.clone();
    tasks.spawn(async move { clerk.clockwork().await });
    let foreman = worker.clone();
    tasks.spawn(poll_fn(move |cx| foreman.crew.poll(&foreman, cx)));
    let now = worker.begin_turn();
    worker.timers.insert(now, now + SWEEP, Target::Sweep);

    worker.listeners.set(listeners.len());
    for listener in listeners {
        tasks.spawn(accept::listen(worker.clone(), listener, factory.clone()));
    }
    let abandoned = Abandoned(&worker);
    if let Some(grace) = over.unless(stop).await {
        worker.drain(grace);
    }
    over.wait().await;
    worker.home.close();
    drop(abandoned);
    tasks.ended.wait().await;
}

/// A duration as the nanoseconds that time is counted in.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
