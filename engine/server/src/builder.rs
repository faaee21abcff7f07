//! How a server is told what to serve, where, and within which limits.
//!
//! Names are tonic's where the thing is the same. Every limit has a default that is safe towards the network; the numbers
//! and their reasons stand with the types that hold them ([`corelane_runtime::Limits`], [`corelane_wire::connection::Config`]).

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use corelane_call::{AsyncInterceptor, Interceptor, Interceptors, KEPT_LINES, trim_kept};
use corelane_runtime::limits::RECEIVE_BYTES;
use corelane_runtime::{Backend, Config, Kept, LocalListener, PortSharing, ServerTls, Workers};

use crate::address::ToAddresses;
use crate::admin::{Admin, AdminAddress, Figures};
use crate::error::{ServeError, StartError};
use crate::factory::Sessions;
use crate::handle::ServerHandle;
use crate::local::LocalServer;
use crate::methods::Methods;
use crate::plan::Plan;
use crate::service::Service;
use crate::worker::CallLimits;

/// How long calls in flight may take when a server shuts down, unless the builder says otherwise.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// The entry point: [`Server::builder`].
#[derive(Debug)]
pub enum Server {}

impl Server {
    /// A server without services, with the default limits, on all cores.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            config: Config { kept: Kept { lines: KEPT_LINES, trim: Some(trim_kept) }, ..Config::default() },
            limits: CallLimits { timeout: None, timeout_max: None, calls_max: u32::MAX },
            plan: Plan::default(),
            shutdown_grace: SHUTDOWN_GRACE,
            admin: None,
        }
    }
}

/// A server that has not started yet; see [`Server::builder`].
pub struct Builder {
    config: Config,
    limits: CallLimits,
    plan: Plan,
    shutdown_grace: Duration,
    admin: Option<AdminAddress>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("limits", &self.limits)
            .field("services", &self.plan.names())
            .field("shutdown_grace", &self.shutdown_grace)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// How many workers, and on which cores: one for each core unless it is set.
    #[must_use]
    pub fn workers(mut self, workers: Workers) -> Builder {
        self.config.workers = workers;
        self
    }

    /// io_uring or epoll: what the kernel allows, unless this or `CORELANE_BACKEND` decides.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Builder {
        self.config.backend = backend;
        self
    }

    /// For how long a worker that has just worked asks its kernel for more before it sleeps, to spare the wake-up: not at all unless
    /// it is set. For servers whose workers have cores of their own; 50 us is a good beginning, and
    /// [`SPIN_MAX`](corelane_runtime::limits::SPIN_MAX) the most.
    ///
    /// The price is CPU time: up to this much after each piece of work, up to a whole core while work goes on coming. On a core that
    /// is shared with the client, or under a CPU quota, it does harm. It is adaptive, and an idle worker sleeps; see
    /// [`Config::spin`](corelane_runtime::Config::spin).
    ///
    /// ```
    /// use corelane_server::Server;
    /// use std::time::Duration;
    ///
    /// let builder = Server::builder().spin(Duration::from_micros(50));
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn spin(mut self, budget: Duration) -> Builder {
        self.config.spin = budget;
        self
    }

    /// Secures the connections of all addresses; without it they are plaintext. A handshake has
    /// [`TLS_HANDSHAKE`](corelane_runtime::limits::TLS_HANDSHAKE).
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Builder {
        self.config.tls = Some(tls);
        self
    }

    /// Whether other processes may listen on the same ports: they may not unless it is set.
    #[must_use]
    pub fn port_sharing(mut self, sharing: PortSharing) -> Builder {
        self.config.port_sharing = sharing;
        self
    }

    /// The deadline of calls whose client sets none, counted from their arrival: none unless it is set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Builder {
        self.limits.timeout = Some(timeout);
        self
    }

    /// The furthest deadline that any call has, whatever its client asks for: unlimited unless it is set.
    #[must_use]
    pub fn max_timeout(mut self, timeout: Duration) -> Builder {
        self.limits.timeout_max = Some(timeout);
        self
    }

    /// Calls that one worker runs at once; more are refused with RESOURCE_EXHAUSTED. Unlimited unless it is set, but for
    /// connections times streams.
    #[must_use]
    pub fn concurrency_limit_per_worker(mut self, limit: u32) -> Builder {
        self.limits.calls_max = limit;
        self
    }

    /// Connections that one worker holds; more are closed at once.
    #[must_use]
    pub fn max_connections(mut self, max: u32) -> Builder {
        self.config.limits.connections_max = max;
        self
    }

    /// Calls of one connection at once (SETTINGS_MAX_CONCURRENT_STREAMS): 100 unless it is set.
    #[must_use]
    pub fn max_concurrent_streams(mut self, max: u32) -> Builder {
        self.config.wire.max_concurrent_streams = max;
        self
    }

    /// Octets of a request's header fields, 32 more counted for each: 16 KiB unless it is set. Answered with 431.
    #[must_use]
    pub fn http2_max_header_list_size(mut self, max: usize) -> Builder {
        self.config.wire.header_list_size_max = max;
        self
    }

    /// Octets a client may send on one stream before the handler has read any: 64 KiB unless it is set.
    #[must_use]
    pub fn initial_stream_window_size(mut self, octets: u32) -> Builder {
        self.config.wire.stream_window = octets;
        self
    }

    /// Octets by which the windows of streams may grow, all of a connection together, while handlers read as fast as clients send:
    /// 1 MiB unless it is set. A connection whose handlers stop reading holds at most this and a window for each stream.
    #[must_use]
    pub fn stream_window_growth(mut self, octets: u32) -> Builder {
        self.config.wire.stream_window_growth = octets;
        self
    }

    /// Octets a client may send on all streams together: 1 MiB unless it is set.
    #[must_use]
    pub fn initial_connection_window_size(mut self, octets: u32) -> Builder {
        self.config.wire.connection_window = octets;
        self
    }

    /// The largest frame that is accepted: 16 KiB unless it is set.
    #[must_use]
    pub fn max_frame_size(mut self, octets: u32) -> Builder {
        self.config.wire.max_frame_size = octets;
        self
    }

    /// How long calls in flight may take once a shutdown has begun: 30 s unless it is set.
    #[must_use]
    pub fn shutdown_grace(mut self, grace: Duration) -> Builder {
        self.shutdown_grace = grace;
        self
    }

    /// Opens an admin port: HTTP/1.1, JSON, on a thread of its own. `GET /` lists what it has: `/healthz`, `/stats`, `/cores`, and
    /// `POST /profile?on` (or `off`) to turn the workers' profiles on. There is none unless this is set.
    ///
    /// It knows no users and no encryption: a port number alone means the loopback address, and whoever gives another address
    /// sees to it that only those who may reach it.
    ///
    /// ```no_run
    /// # use corelane_server::Server;
    /// let server = Server::builder().admin(9901).start("0.0.0.0:50051")?;
    /// println!("admin port at {:?}", server.admin_address());
    /// # Ok::<(), corelane_server::StartError>(())
    /// ```
    #[must_use]
    pub fn admin(mut self, address: impl Into<AdminAddress>) -> Builder {
        self.admin = Some(address.into());
        self
    }

    /// Adds an interceptor that sees the calls of all services, before their own. `make` runs once on each worker.
    #[must_use]
    pub fn interceptor<I: Interceptor>(mut self, make: impl Fn() -> I + Send + Sync + 'static) -> Builder {
        self.plan.interceptor(make);
        self
    }

    /// Adds an interceptor that may wait; see [`crate::ServiceOptions::async_interceptor`].
    #[must_use]
    pub fn async_interceptor<I: AsyncInterceptor>(
        mut self,
        make: impl Fn() -> I + Send + Sync + 'static,
    ) -> Builder {
        self.plan.async_interceptor(make);
        self
    }

    /// Adds a service. `make` runs once on each worker, and what it makes stays there: it needs not be `Send`.
    #[must_use]
    pub fn add_service<S: Service>(mut self, make: impl Fn() -> S + Send + Sync + 'static) -> Builder {
        self.plan.service(make);
        self
    }

    /// Starts the server on its own threads and gives the means to end it.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the configuration or the addresses; nothing runs then.
    pub fn start(self, addresses: impl ToAddresses) -> Result<ServerHandle, StartError> {
        self.validate()?;
        let addresses = addresses.to_addresses()?;
        let Builder { config, limits, plan, shutdown_grace, admin } = self;
        let memory = config.limits.memory_per_worker(RECEIVE_BYTES).and(config.kept.lines);
        let fault: Arc<Mutex<Option<StartError>>> = Arc::default();
        let make = {
            let fault = fault.clone();
            move |_worker| {
                let methods = plan.methods().unwrap_or_else(|found| {
                    // All workers find the same fault; one of them is heard.
                    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
                    Methods::new(Interceptors::new())
                });
                Sessions::new(methods, limits.clone())
            }
        };
        let port = AdminPort::bind(admin)?;
        let engine = corelane_runtime::start(config, &addresses, make)?;
        let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(fault) = fault {
            return Err(fault);
        }
        let figures = Figures::new(engine.counters().clone(), engine.profile().clone(), &engine.backend());
        let admin = port.map(|port| port.open(figures)).transpose()?;
        Ok(ServerHandle::new(engine, memory, shutdown_grace, admin))
    }

    /// Starts the server and waits until it has ended, which takes somebody else: a worker's fault, or the end of the process.
    /// See [`Builder::serve_with_shutdown`] for a server that ends in order.
    ///
    /// # Errors
    /// The server did not start, or a worker died of a fault of the engine.
    pub fn serve(self, addresses: impl ToAddresses) -> Result<(), ServeError> {
        Ok(self.start(addresses)?.join()?)
    }

    /// Starts the server, calls `wait`, and when that returns lets the calls in flight finish within the grace. The library
    /// has no signal handlers: `wait` may well be where the embedding program waits for its own.
    ///
    /// # Errors
    /// As for [`Builder::serve`].
    pub fn serve_with_shutdown(
        self,
        addresses: impl ToAddresses,
        wait: impl FnOnce(&ServerHandle),
    ) -> Result<(), ServeError> {
        let handle = self.start(addresses)?;
        wait(&handle);
        handle.shutdown();
        Ok(handle.join()?)
    }

    /// Binds an address for a server that runs as a future, inside a monoio runtime that the embedding program owns: as one
    /// worker, on that thread. [`Builder::workers`], [`Builder::backend`] and [`Builder::spin`] do not matter to it.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub fn bind_local(self, address: impl ToAddresses) -> Result<LocalServer, StartError> {
        self.validate()?;
        let addresses = address.to_addresses()?;
        let [address] = &addresses[..] else { return Err(StartError::OneAddress { count: addresses.len() }) };
        let listener = LocalListener::bind(self.config, address)?;
        let figures = Figures::new(listener.counters().clone(), listener.profile().clone(), &"local");
        let admin = AdminPort::bind(self.admin)?.map(|port| port.open(figures)).transpose()?;
        let sessions = Sessions::new(self.plan.methods()?, self.limits);
        Ok(LocalServer::new(listener, sessions, self.shutdown_grace, admin))
    }

    /// Serves inside a monoio runtime that the embedding program owns, until the future is dropped. See
    /// [`Builder::bind_local`] for a port that the system chooses, and for a shutdown in order.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub async fn serve_local(self, address: impl ToAddresses) -> Result<(), StartError> {
        self.bind_local(address)?.serve().await
    }

    /// Checks what can be checked before anything is made.
    fn validate(&self) -> Result<(), StartError> {
        self.config.wire.validate()?;
        self.plan.validate()
    }
}

/// The admin port before it answers.
struct AdminPort {
    address: AdminAddress,
    listener: TcpListener,
}

impl AdminPort {
    /// Binds it, where there is to be one.
    fn bind(address: Option<AdminAddress>) -> Result<Option<AdminPort>, StartError> {
        let Some(address) = address else { return Ok(None) };
        match TcpListener::bind(SocketAddr::from(address)) {
            Ok(listener) => Ok(Some(AdminPort { address, listener })),
            Err(source) => Err(StartError::Admin { address, source }),
        }
    }

    fn open(self, figures: Figures) -> Result<Admin, StartError> {
        let AdminPort { address, listener } = self;
        let admin = Admin::open(listener, figures).map_err(|source| StartError::Admin { address, source })?;
        tracing::info!(address = %admin.address(), "the admin port is open");
        Ok(admin)
    }
}
