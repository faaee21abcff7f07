//! Starting and ending: threads, one worker each, and the handle that outlives them.

use crate::backend::{self, BACKEND_VARIABLE, BackendKind, BellRope, Choice, StdListener};
use crate::config::Config;
use crate::cores;
use crate::error::{StartError, WorkerPanic};
use crate::home::{Home, Rejected};
use crate::listen::{self, Address, Bound};
use crate::panic::guard;
use crate::session::{CloseReason, Io, PeerInfo, Session, SessionFactory};
use crate::worker::{self, Position, Seed};
use corelane_observe::{ProfileSwitch, ShardSet, WorkerCounters};
use corelane_wire::connection::Event;
use corelane_wire::frame::HEADER_LEN;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Starts an engine: binds the addresses, starts the workers, and comes back when all of them serve.
///
/// `factory` is called once on every worker's thread, with the worker's number, and makes what makes its sessions; so
/// neither sessions nor handlers need be `Send`.
///
/// # Errors
/// [`StartError`] says what is wrong with the configuration, the addresses or the machine; nothing is left running.
pub fn start<F, M>(config: Config, addresses: &[Address], factory: M) -> Result<Handle, StartError>
where
    F: SessionFactory,
    M: Fn(usize) -> F + Send + Sync + 'static,
{
    if addresses.is_empty() {
        return Err(StartError::NoAddress);
    }
    launch(config, addresses, factory)
}

/// Starts an engine that listens nowhere: its workers dial, and do what [`Spawner::submit`] hands them.
///
/// # Errors
/// As [`start`].
pub fn start_clients(config: Config) -> Result<Handle, StartError> {
    launch(config, &[], |_| NoSessions)
}

/// For an engine that accepts nothing.
struct NoSessions;

/// What [`NoSessions`] never makes.
enum Never {}

impl SessionFactory for NoSessions {
    type Session = Never;

    fn session(&self, _: &Rc<PeerInfo>) -> Never {
        unreachable!("an engine without a listener accepts no connection")
    }
}

impl Session for Never {
    fn event(&mut self, _: &mut Io<'_>, _: &Event<'_>) {}
    fn wake(&mut self, _: &mut Io<'_>, _: u32) {}
    fn timer(&mut self, _: &mut Io<'_>, _: u32) {}
    fn writable(&mut self, _: &mut Io<'_>, _: u32) {}
    fn drain(&mut self, _: &mut Io<'_>) {}
    fn closed(&mut self, _: &CloseReason, _: &mut Vec<Waker>) {}
}

fn launch<F, M>(config: Config, addresses: &[Address], factory: M) -> Result<Handle, StartError>
where
    F: SessionFactory,
    M: Fn(usize) -> F + Send + Sync + 'static,
{
    config.wire.validate().map_err(StartError::Wire)?;
    let environment = std::env::var_os(BACKEND_VARIABLE);
    let choice = backend::choose(config.backend, environment.as_deref(), backend::probe)?;
    let plan = cores::plan(&config.workers, &cores::available())?;
    let mut bound = Vec::with_capacity(addresses.len());
    for address in addresses {
        bound.push(listen::bind(address, plan.len(), config.port_sharing)?);
    }
    let addresses: Vec<Address> = bound.iter().map(|bound| bound.address.clone()).collect();
    announce(&config, &choice, &plan, &addresses);

    let files = addresses.iter().map(|address| SocketFile(socket_file(address))).collect();
    let counters = ShardSet::new(plan.len());
    let profile = ProfileSwitch::default();
    let mut handle = Handle {
        addresses,
        backend: choice.kind,
        workers: Vec::new(),
        files,
        counters: counters.clone(),
        profile: profile.clone(),
    };
    let factory = Arc::new(factory);
    let (report, reports) = channel();
    let (homes, bells): (Vec<_>, Vec<_>) = homes(plan.len())?.into_iter().unzip();
    let homes: Arc<[Arc<Home>]> = homes.into();
    let hands = deal(bound, plan.len()).into_iter().zip(bells);
    for ((index, core), (listeners, bell)) in plan.iter().copied().enumerate().zip(hands) {
        let (config, counters, homes) = (config.clone(), counters.clone(), homes.clone());
        let profile = profile.clone();
        let position = Position { index, count: plan.len() };
        let kind = choice.kind;
        let post = Post { position, core, kind, config, listeners, counters, profile, homes, bell };
        // What was started before is drained by the handle's drop.
        handle.workers.push(post.start(factory.clone(), report.clone())?);
    }
    drop(report);
    // Each worker reports once that it serves, or why it does not.
    for report in reports.iter().take(plan.len()) {
        report?;
    }
    Ok(handle)
}

/// The homes of so many workers, each with the bell that it will hear. They know of each other before any of them lives.
fn homes(count: usize) -> Result<Vec<(Arc<Home>, UnixStream)>, StartError> {
    let home = |index| {
        let (rope, bell) = BellRope::pair().map_err(|source| StartError::Worker { index, source })?;
        Ok((Arc::new(Home::new(rope)), bell))
    };
    (0..count).map(home).collect()
}

/// One line that says what was started, and why this way.
fn announce(config: &Config, choice: &Choice, plan: &[Option<usize>], addresses: &[Address]) {
    let addresses: Vec<String> = addresses.iter().map(Address::to_string).collect();
    let cores: Vec<usize> = plan.iter().copied().flatten().collect();
    tracing::info!(
        backend = %choice.kind,
        why = choice.why,
        workers = plan.len(),
        ?cores,
        addresses = addresses.join(", "),
        memory_per_worker = %config.limits.memory_per_worker(receive_bytes(config)).and(config.kept.lines),
        "starting"
    );
}

/// Bytes of a large receive buffer: any frame that our SETTINGS allow must fit, with its header.
fn receive_bytes(config: &Config) -> usize {
    let frame =
        usize::try_from(config.wire.max_frame_size).expect("a u32 fits where Linux runs") + HEADER_LEN;
    crate::limits::RECEIVE_BYTES.max(frame)
}

/// The file of a Unix socket, which is ours to remove.
fn socket_file(address: &Address) -> Option<PathBuf> {
    match address {
        Address::Unix(path) => Some(path.clone()),
        Address::Tcp(_) => None,
    }
}

/// Removes the file of a Unix socket at the end.
#[derive(Debug)]
struct SocketFile(Option<PathBuf>);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // Somebody may have been faster.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Gives every worker its listener of each address.
fn deal(bound: Vec<Bound>, workers: usize) -> Vec<Vec<StdListener>> {
    let mut hands: Vec<Vec<StdListener>> = (0..workers).map(|_| Vec::new()).collect();
    for bound in bound {
        for (hand, listener) in hands.iter_mut().zip(bound.listeners) {
            hand.push(listener);
        }
    }
    hands
}

/// A worker before its thread exists.
struct Post {
    position: Position,
    core: Option<usize>,
    kind: BackendKind,
    config: Config,
    listeners: Vec<StdListener>,
    counters: ShardSet<WorkerCounters>,
    profile: ProfileSwitch,
    homes: Arc<[Arc<Home>]>,
    bell: UnixStream,
}

impl Post {
    fn start<F, M>(
        self,
        factory: Arc<M>,
        report: Sender<Result<(), StartError>>,
    ) -> Result<Posted, StartError>
    where
        F: SessionFactory,
        M: Fn(usize) -> F + Send + Sync + 'static,
    {
        let index = self.position.index;
        let set_up = |source| StartError::Worker { index, source };
        let home = self.homes[index].clone();
        // If the worker dies, its sockets must not go on collecting connections that nobody will serve.
        let mut kept = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            kept.push(listener.try_clone().map_err(set_up)?);
        }
        let thread = thread::Builder::new().name(format!("corelane-{index}")).spawn({
            let home = home.clone();
            move || {
                let ran = guard(|| self.run(&*factory, &report));
                // Whoever has a job for a worker that died, or never lived, must hear of it.
                home.close();
                let panic = WorkerPanic { index, message: ran.err()?.message().to_owned() };
                tracing::error!(%panic, "a worker died; its connections are lost, and it accepts no more");
                kept.iter().for_each(StdListener::silence);
                worker::bury();
                let _ = report.send(Err(StartError::Panic(panic.clone())));
                Some(panic)
            }
        });
        let thread = Mutex::new(Some(thread.map_err(StartError::Thread)?));
        Ok(Posted { home, thread })
    }

    /// The life of the worker's thread.
    fn run<F, M>(self, factory: &M, report: &Sender<Result<(), StartError>>)
    where
        F: SessionFactory,
        M: Fn(usize) -> F,
    {
        let index = self.position.index;
        if let Some(core) = self.core {
            cores::pin(core);
        }
        // The ring is made on the thread that will use it: SINGLE_ISSUER holds the kernel to that.
        let ran = backend::run(self.kind, async {
            let seed = Seed {
                homes: self.homes,
                receive_bytes: receive_bytes(&self.config),
                limits: self.config.limits,
                trim_kept: self.config.kept.trim,
                wire: self.config.wire,
                tls: self.config.tls,
                counters: self.counters.writer(index).expect("each worker takes its own shard, once"),
                profile: self.profile,
                position: self.position,
                spin: self.config.spin,
            };
            let prepared = worker::prepare(seed, self.bell, self.listeners)
                .map_err(|source| StartError::Worker { index, source })?;
            prepared.install()?;
            let factory = factory(index);
            // Nobody listens once one worker could not start.
            let _ = report.send(Ok(()));
            worker::serve_and_spin(prepared, factory).await;
            Ok(())
        });
        let ended = ran.unwrap_or_else(|source| {
            Err(match self.kind {
                BackendKind::Uring => StartError::UringUnavailable(source),
                BackendKind::Epoll => StartError::Worker { index, source },
            })
        });
        if let Err(error) = ended {
            let _ = report.send(Err(error));
        }
    }
}

/// A worker that runs.
#[derive(Debug)]
struct Posted {
    home: Arc<Home>,
    thread: Mutex<Option<JoinHandle<Option<WorkerPanic>>>>,
}

impl Posted {
    /// Waits for the thread; says how the worker ended, the first time.
    fn join(&self) -> Option<WorkerPanic> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        thread.join().expect("the thread catches its worker's panic")
    }
}

/// An engine that runs. Dropping it ends the engine at once: calls in flight are cut off.
#[derive(Debug)]
pub struct Handle {
    addresses: Vec<Address>,
    backend: BackendKind,
    workers: Vec<Posted>,
    /// Files of Unix sockets, removed at the end.
    files: Vec<SocketFile>,
    counters: ShardSet<WorkerCounters>,
    profile: ProfileSwitch,
}

impl Handle {
    /// Where the engine listens, in the order in which the addresses were given; a port of 0 has become a number.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Which way of doing I/O the workers take.
    #[must_use]
    pub fn backend(&self) -> BackendKind {
        self.backend
    }

    /// How many workers run.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// What the workers count, one shard for each: connections and bytes by the runtime, the rest by whoever serves on them
    /// ([`crate::counters`]). A clone may be read at any time, also after the engine's end.
    #[must_use]
    pub fn counters(&self) -> &ShardSet<WorkerCounters> {
        &self.counters
    }

    /// What has the workers note where their time goes, or not: off at the start. A clone may be used from anywhere.
    #[must_use]
    pub fn profile(&self) -> &ProfileSwitch {
        &self.profile
    }

    /// Begins to end the engine: nothing more is accepted, what has begun may finish within `grace`, then connections are
    /// closed. Comes back at once; [`join`](Self::join) waits for the end. A later order can only shorten the grace.
    pub fn drain(&self, grace: Duration) {
        for worker in &self.workers {
            worker.home.drain(grace);
        }
    }

    /// What hands the workers jobs, from any thread.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner { homes: self.workers.iter().map(|worker| worker.home.clone()).collect() }
    }

    /// What can order a drain from anywhere: a signal handler's thread, a handler of the engine itself.
    #[must_use]
    pub fn drainer(&self) -> Drainer {
        Drainer { homes: self.workers.iter().map(|worker| worker.home.clone()).collect() }
    }

    /// Waits until all workers have ended, which a drain brings about.
    ///
    /// # Errors
    /// The first worker that panicked; the others ended in their own time.
    pub fn join(self) -> Result<(), WorkerPanic> {
        let panics: Vec<_> = self.workers.iter().filter_map(Posted::join).collect();
        panics.into_iter().next().map_or(Ok(()), Err)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
        for worker in &self.workers {
            worker.join();
        }
        self.files.clear();
    }
}

/// Hands jobs to an engine's workers, from any thread.
///
/// ```
/// use corelane_runtime::{Config, Workers, start_clients};
///
/// let engine = start_clients(Config { workers: Workers::Count(1), ..Config::default() })?;
/// let (sender, receiver) = std::sync::mpsc::channel();
/// engine.spawner().submit(0, move || sender.send(1 + 1).expect("the receiver waits"))?;
/// assert_eq!(receiver.recv()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Spawner {
    homes: Arc<[Arc<Home>]>,
}

impl Spawner {
    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.homes.len()
    }

    /// Has the worker with this number call `job`, which may [spawn](crate::spawn_local) what takes longer.
    ///
    /// # Errors
    /// [`Rejected`] when the worker's mailbox is full or the worker has ended; the job was dropped.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn submit(&self, worker: usize, job: impl FnOnce() + Send + 'static) -> Result<(), Rejected> {
        self.homes[worker].submit(Box::new(job))
    }

    /// The number of the worker that the calling thread is, if it is one of these.
    #[must_use]
    pub fn current(&self) -> Option<usize> {
        let here = worker::current()?.home.id;
        self.homes.iter().position(|home| home.id == here)
    }
}

/// Orders a drain, from any thread.
#[derive(Clone, Debug)]
pub struct Drainer {
    homes: Arc<[Arc<Home>]>,
}

impl Drainer {
    /// As [`Handle::drain`].
    pub fn drain(&self, grace: Duration) {
        for home in &*self.homes {
            home.drain(grace);
        }
    }
}

/// An address that is bound for one worker, for [`run_local`].
#[derive(Debug)]
pub struct LocalListener {
    address: Address,
    listener: StdListener,
    config: Config,
    counters: ShardSet<WorkerCounters>,
    profile: ProfileSwitch,
}

impl LocalListener {
    /// Binds `address`. Of `config`, the workers, the backend and the time to spin do not matter: there is one worker, and
    /// the runtime around it was chosen before.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    ///
    /// # Panics
    /// Never: one listener was asked for.
    pub fn bind(config: Config, address: &Address) -> Result<LocalListener, StartError> {
        config.wire.validate().map_err(StartError::Wire)?;
        let mut bound = listen::bind(address, 1, config.port_sharing)?;
        let listener = bound.listeners.pop().expect("one listener was asked for");
        let (counters, profile) = (ShardSet::new(1), ProfileSwitch::default());
        Ok(LocalListener { address: bound.address, listener, config, counters, profile })
    }

    /// Where it listens; a port of 0 has become a number.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What the worker will count; a clone may be kept and read at any time.
    #[must_use]
    pub fn counters(&self) -> &ShardSet<WorkerCounters> {
        &self.counters
    }

    /// As [`Handle::profile`].
    #[must_use]
    pub fn profile(&self) -> &ProfileSwitch {
        &self.profile
    }
}

/// Serves as one worker inside a monoio runtime that the caller owns, with whichever driver and flags, until `shutdown` says
/// how long calls in flight may still take, and they have ended. The thread is not pinned, and has room for one worker.
///
/// If the future is dropped before, the worker ends by itself as fast as it can, as long as the runtime goes on running.
///
/// # Errors
/// When the worker cannot be set up.
///
/// # Panics
/// When polled outside of a monoio runtime.
pub async fn run_local<F: SessionFactory>(
    listener: LocalListener,
    factory: F,
    shutdown: impl Future<Output = Duration>,
) -> Result<(), StartError> {
    let LocalListener { address, listener, config, counters, profile } = listener;
    let set_up = |source| StartError::Worker { index: 0, source };
    let (rope, bell) = BellRope::pair().map_err(set_up)?;
    let choice = Choice { kind: backend::running(), why: "the runtime around it".to_owned() };
    announce(&config, &choice, &[None], std::slice::from_ref(&address));
    let seed = Seed {
        homes: Arc::new([Arc::new(Home::new(rope))]),
        receive_bytes: receive_bytes(&config),
        limits: config.limits,
        trim_kept: config.kept.trim,
        wire: config.wire,
        tls: config.tls,
        counters: counters.writer(0).expect("only here is it taken"),
        profile,
        position: Position { index: 0, count: 1 },
        spin: Duration::ZERO,
    };
    let prepared = worker::prepare(seed, bell, vec![listener]).map_err(set_up)?;
    prepared.install()?;
    let _file = SocketFile(socket_file(&address));
    worker::serve(prepared, factory, shutdown).await;
    Ok(())
}
