//! Workers for clients: threads that dial, for programs that serve nothing or call from other threads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corelane_call::{KEPT_LINES, Status, trim_kept};
use corelane_observe::{ShardSet, WorkerCounters};
use corelane_runtime::{Backend, Config, Handle, Kept, Rejected, Spawner, StartError, Workers, spawn_local};

use crate::{Cause, Failure};

/// Workers for clients. A clone is the same engine; the last one that is dropped ends it, and the calls that are in flight.
///
/// ```
/// use corelane_client::{Channel, Engine};
/// use corelane_runtime::Workers;
///
/// let engine = Engine::start(Workers::Count(1))?;
/// let answer = engine.block_on(|| async {
///     let channel = Channel::builder("ipv4:127.0.0.1:1").connect_lazy().unwrap();
///     channel.ready().await
/// });
/// assert!(answer.unwrap_err().message().contains("127.0.0.1:1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    /// Dropped with the last clone, which ends the workers. `None` while it is being dropped.
    handle: Option<Handle>,
    spawner: Spawner,
    next: AtomicUsize,
}

impl Engine {
    /// Starts workers.
    ///
    /// # Errors
    /// As the runtime's start.
    pub fn start(workers: Workers) -> Result<Engine, StartError> {
        Engine::with_config(Config { workers, ..Config::default() })
    }

    /// How the workers are told what they are to be: on all cores unless it says otherwise.
    ///
    /// ```
    /// use corelane_client::Engine;
    /// use corelane_runtime::Workers;
    /// use std::time::Duration;
    ///
    /// let engine = Engine::builder().workers(Workers::Count(1)).spin(Duration::from_micros(50)).start()?;
    /// assert_eq!(engine.workers(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder { config: Config::default() }
    }

    /// Starts workers on one backend.
    ///
    /// # Errors
    /// As the runtime's start.
    pub fn start_on(workers: Workers, backend: Backend) -> Result<Engine, StartError> {
        Engine::with_config(Config { workers, backend, ..Config::default() })
    }

    /// Starts workers with limits of one's own.
    ///
    /// # Errors
    /// As the runtime's start.
    pub fn with_config(config: Config) -> Result<Engine, StartError> {
        let kept = Kept { lines: KEPT_LINES, trim: Some(trim_kept) };
        let handle = corelane_runtime::start_clients(Config { kept, ..config })?;
        let spawner = handle.spawner();
        Ok(Engine { inner: Arc::new(Inner { handle: Some(handle), spawner, next: AtomicUsize::new(0) }) })
    }

    /// What the workers count.
    #[must_use]
    pub fn counters(&self) -> &ShardSet<WorkerCounters> {
        self.inner.handle().counters()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.inner.spawner.workers()
    }

    /// Runs a future on a worker until it has ended, and gives what it has come to. `make` is called on the worker, so the
    /// future need not be `Send`. For a program's `main`.
    ///
    /// # Panics
    /// If the future does, or the worker's mailbox is full, or on a worker of this engine, which would wait for itself.
    pub fn block_on<M, F>(&self, make: M) -> F::Output
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        assert!(!self.is_here(), "a worker cannot wait for itself: await the future instead");
        let (sender, receiver) = std::sync::mpsc::channel();
        let spawned = self.spawn(move || async move {
            // Nobody waits if the thread has been unwound.
            let _ = sender.send(make().await);
        });
        spawned.unwrap_or_else(|status| panic!("{status}"));
        receiver.recv().expect("the future panicked, which the log tells of")
    }

    /// Whether the calling thread is one of the workers.
    pub(crate) fn is_here(&self) -> bool {
        self.inner.spawner.current().is_some()
    }

    /// Runs a future on the next worker in turn, and does not wait for it. `make` is called there.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED with [`Cause::MailboxFull`], UNAVAILABLE with [`Cause::WorkerEnded`].
    pub fn spawn<M, F>(&self, make: M) -> Result<(), Status>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.spawn_on(self.turn(), make)
    }

    /// The worker whose turn it is.
    pub(crate) fn turn(&self) -> usize {
        // Relaxed: it only has to go round.
        self.inner.next.fetch_add(1, Ordering::Relaxed) % self.workers()
    }

    /// Runs a future on the worker with this number.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn spawn_on<M, F>(&self, worker: usize, make: M) -> Result<(), Status>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let submitted = self.inner.spawner.submit(worker, move || spawn_local(make()));
        submitted.map_err(|rejected| {
            let cause = match rejected {
                Rejected::Full => Cause::MailboxFull,
                Rejected::Ended => Cause::WorkerEnded,
            };
            Failure::at_once(cause).into_status(None)
        })
    }

    /// Ends the engine: calls in flight may finish within `grace`. Comes back at once.
    pub fn drain(&self, grace: Duration) {
        self.inner.handle().drain(grace);
    }
}

/// Workers for clients that have not started yet; see [`Engine::builder`].
#[derive(Clone, Debug)]
pub struct EngineBuilder {
    config: Config,
}

impl EngineBuilder {
    /// How many workers, and on which cores: one for each core unless it is set.
    #[must_use]
    pub fn workers(mut self, workers: Workers) -> EngineBuilder {
        self.config.workers = workers;
        self
    }

    /// io_uring or epoll: what the kernel allows, unless this or `CORELANE_BACKEND` decides.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> EngineBuilder {
        self.config.backend = backend;
        self
    }

    /// For how long a worker that has just worked asks its kernel for more before it sleeps: not at all unless it is set. It
    /// shortens calls that go one after the other, and costs CPU time; see [`Config::spin`].
    #[must_use]
    pub fn spin(mut self, budget: Duration) -> EngineBuilder {
        self.config.spin = budget;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// As the runtime's start.
    pub fn start(self) -> Result<Engine, StartError> {
        Engine::with_config(self.config)
    }
}

impl Inner {
    fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("it is taken when the engine is dropped")
    }
}

/// Waits for the workers, unless one of them is doing this: it cannot wait for itself.
impl Drop for Inner {
    fn drop(&mut self) {
        let handle = self.handle.take();
        if self.spawner.current().is_some() {
            let ended = std::thread::Builder::new().spawn(move || drop(handle));
            if let Err(error) = ended {
                tracing::error!(%error, "cannot start the thread that waits for an engine's end");
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers()).finish_non_exhaustive()
    }
}
