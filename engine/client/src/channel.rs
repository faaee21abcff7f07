//! A client's view of a service: its options, and its form for all workers and for one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use corelane_call::Status;
use corelane_policy::balance::{Policy, Worker};
use corelane_policy::cache::CacheConfig;
use corelane_policy::config::{BalancerConfig, ProxyRules, Security, ServiceConfig, Target};
use corelane_policy::resilience::{
    Backoff, BackoffConfig, BreakerConfig, BreakerFigures, BreakerMode, RateLimit, RateLimitConfig,
};
use corelane_runtime::{ClientTls, Position, TlsConfigError};

use crate::guard::BreakerEvent;
use crate::keepalive::{KeepaliveConfig, TIME_MIN};
use crate::local::{Local, Picked};
use crate::options::{Options, ResolverConfig, Retries, USER_AGENT};
use crate::pool::PoolFigures;
use crate::resolve::Resolve;
use crate::shared::Shared;
use crate::{BuildError, ConnectivityState, Failure, Method};

/// A client's view of a service, on one worker: resolves, balances, pools, retries. A clone shares everything.
#[derive(Clone, Debug)]
pub struct Channel {
    local: Rc<Local>,
}

impl Channel {
    /// Options for a channel to `target`: `dns:///greeter:50051`, `ipv4:127.0.0.1:50051`, `unix:/run/greeter.sock`,
    /// `static:///a:1,b:2`.
    pub fn builder(target: impl Into<String>) -> ChannelBuilder {
        ChannelBuilder { target: target.into(), options: Options::default(), resolve: None, error: None }
    }

    /// A channel to `target` with a connection that is ready.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a target that is none, `UNAVAILABLE` where no connection could be made.
    ///
    /// # Panics
    /// Off a worker.
    pub async fn connect(target: impl Into<String>) -> Result<Channel, Status> {
        Channel::builder(target).connect().await
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    /// What the channel is doing about its connections.
    #[must_use]
    pub fn state(&self) -> ConnectivityState {
        self.local.state()
    }

    /// Waits until the state is no longer `known`, and gives the new one.
    pub async fn state_changed(&self, known: ConnectivityState) -> ConnectivityState {
        loop {
            let change = self.local.watchers.join();
            if self.local.state() != known {
                return self.local.state();
            }
            change.await;
        }
    }

    /// Begins to resolve and connect, if that has not begun: what the first call would do.
    pub fn wake(&self) {
        self.local.connect_now();
    }

    /// Waits for a connection that is ready.
    ///
    /// # Errors
    /// `UNAVAILABLE` once every endpoint has been tried in vain.
    pub async fn ready(&self) -> Result<(), Status> {
        let began = corelane_runtime::now();
        self.local.touch(began);
        loop {
            let wait = self.local.waiting.join();
            match self.local.pick(corelane_runtime::now(), &corelane_policy::balance::Call::default()) {
                Picked::Pool(_) => return Ok(()),
                Picked::Wait => {}
                Picked::Failed(cause, endpoint) => {
                    let elapsed = corelane_runtime::now().since(began);
                    let failure = Failure { cause, endpoint, attempt: 0, elapsed, before: None, stop: None };
                    return Err(failure.into_status(None));
                }
            }
            wait.await;
        }
    }

    /// Ends the channel on this worker: calls fail from now on, those in flight end in their own time.
    pub fn shut_down(&self) {
        self.local.shut_down();
    }

    /// What the pools of this worker did and hold, by endpoint.
    #[must_use]
    pub fn pools(&self) -> Vec<(Arc<str>, PoolFigures)> {
        self.local.figures()
    }
}

/// Options of a channel.
///
/// ```
/// use corelane_client::Channel;
/// use std::time::Duration;
///
/// let channel = Channel::builder("dns:///greeter:50051")
///     .timeout(Duration::from_secs(5))
///     .connect_timeout(Duration::from_secs(1))
///     .connections(1, 4)
///     .build()?;
/// # Ok::<(), corelane_client::BuildError>(())
/// ```
#[must_use = "no channel is made until `build` is called"]
pub struct ChannelBuilder {
    target: String,
    options: Options,
    resolve: Option<Box<dyn Resolve>>,
    /// The first option that made no sense.
    error: Option<BuildError>,
}

impl ChannelBuilder {
    fn check(&mut self, name: &'static str, reason: Result<(), String>) {
        if let (None, Err(reason)) = (&self.error, reason) {
            self.error = Some(BuildError::Option { name, reason });
        }
    }

    /// The time that a call has if it says nothing itself; without this it may take for ever.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The time that one attempt to connect has, TLS and the server's SETTINGS included: 20 s unless it is set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.check(
            "connect_timeout",
            if timeout.is_zero() { Err("must not be zero".into()) } else { Ok(()) },
        );
        self.options.connect_timeout = timeout;
        self
    }

    /// What goes in front of our own user agent.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        let own = user_agent.into();
        let is_valid = own.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        self.check(
            "user_agent",
            if is_valid { Ok(()) } else { Err(format!("{own:?} is not printable ASCII")) },
        );
        self.options.user_agent = format!("{own} {USER_AGENT}");
        self
    }

    /// `:authority`, where it is not the target's.
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        let authority = authority.into();
        let is_valid = !authority.is_empty() && authority.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        self.check(
            "authority",
            if is_valid { Ok(()) } else { Err(format!("{authority:?} is no authority")) },
        );
        self.options.authority = Some(authority);
        self
    }

    /// Calls wait while no connection is ready, unless they or their service config say otherwise (wait-for-ready.md).
    pub fn wait_for_ready(mut self) -> Self {
        self.options.wait_for_ready = true;
        self
    }

    /// A service config in JSON, for names whose resolver gives none (gRFC A2, A21). It is checked when the channel is built.
    ///
    /// ```
    /// use corelane_client::Channel;
    ///
    /// let error = Channel::builder("static:///127.0.0.1:1")
    ///     .default_service_config(r#"{"methodConfig": [{"name": [{}], "timeout": "soon"}]}"#)
    ///     .build()
    ///     .unwrap_err();
    /// assert!(error.to_string().contains("methodConfig[0].timeout"), "{error}");
    /// ```
    pub fn default_service_config(mut self, json: impl AsRef<str>) -> Self {
        match ServiceConfig::from_json(json.as_ref()) {
            Ok(config) => self.options.default_config = Some(Arc::new(config)),
            Err(error) if self.error.is_none() => {
                self.error = Some(BuildError::ServiceConfig(error.to_string()))
            }
            Err(_) => {}
        }
        self
    }

    /// Ignores the service config of the resolver.
    pub fn disable_service_config(mut self) -> Self {
        self.options.resolver_config = ResolverConfig::Ignored;
        self
    }

    /// How endpoints are chosen, whatever the service config says.
    ///
    /// ```
    /// use corelane_client::Channel;
    /// use corelane_policy::config::BalancerConfig;
    ///
    /// let channel = Channel::builder("static:///127.0.0.1:1,127.0.0.1:2")
    ///     .balancer(BalancerConfig::LeastRequest { choice_count: 2 })
    ///     .build()?;
    /// # Ok::<(), corelane_client::BuildError>(())
    /// ```
    pub fn balancer(mut self, balancer: BalancerConfig) -> Self {
        self.options.policy = Some(Policy::Config(balancer));
        self
    }

    /// A policy of one's own: see [`corelane_policy::balance::Balancer`].
    pub fn own_balancer(mut self, policy: Policy) -> Self {
        self.options.policy = Some(policy);
        self
    }

    /// Finds the endpoints in a way of one's own, on a thread that may block, in place of what the target's scheme says.
    pub fn resolver(mut self, resolve: impl Resolve) -> Self {
        self.resolve = Some(Box::new(resolve));
        self
    }

    /// How long after a resolution the next one may be: 30 s unless it is set, as gRPC does it.
    pub fn resolve_interval(mut self, interval: Duration) -> Self {
        self.options.resolve_interval = interval;
        self
    }

    /// How many connections each worker keeps to each endpoint, at least and at most: 1 and 8 unless it is set. One is made when
    /// there are calls; more when the streams of those that there are run out, or [nearly](Self::grow_at_percent).
    pub fn connections(mut self, min: usize, max: usize) -> Self {
        let reason = if max == 0 || min > max { Err(format!("{min} to {max} is no range")) } else { Ok(()) };
        self.check("connections", reason);
        (self.options.connections_min, self.options.connections_max) = (min, max);
        self
    }

    /// At which share of the streams that the server allows a pool grows: 80 % unless it is set.
    pub fn grow_at_percent(mut self, percent: u32) -> Self {
        self.options.grow_at_percent = percent;
        self
    }

    /// How long a connection beyond the minimum may be without a call until it is closed: 60 s unless it is set.
    pub fn surplus_idle(mut self, idle: Duration) -> Self {
        self.options.surplus_idle = idle;
        self
    }

    /// How long nothing is called until all connections are let go: 30 min unless it is set; `None` is never.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.idle_timeout = timeout;
        self
    }

    /// Asks servers that are silent whether they are still there (gRFC A8). Times below 10 s become 10 s, as servers count PINGs.
    pub fn keepalive(mut self, mut config: KeepaliveConfig) -> Self {
        config.time = config.time.max(TIME_MIN);
        self.options.keepalive = Some(config);
        self
    }

    /// As [`keepalive`](Self::keepalive), with times that only a test has: no server would bear them.
    #[doc(hidden)]
    pub fn keepalive_unbounded(mut self, config: KeepaliveConfig) -> Self {
        self.options.keepalive = Some(config);
        self
    }

    /// The pauses between attempts to connect: 1 s, 1.6 times as long each time, up to 120 s, 20 % jitter, unless it is set.
    pub fn backoff(mut self, config: BackoffConfig) -> Self {
        self.check("backoff", Backoff::new(config).map(|_| ()).map_err(|error| error.to_string()));
        self.options.backoff = config;
        self
    }

    /// The HTTP/2 settings of connections.
    pub fn wire(mut self, config: corelane_wire::connection::Config) -> Self {
        self.check("wire", config.validate().map_err(|error| error.to_string()));
        self.options.wire = config;
        self
    }

    /// How sockets are set up.
    pub fn dial_options(mut self, options: corelane_runtime::DialOptions) -> Self {
        self.options.dial = options;
        self
    }

    /// Calls of this channel that may wait on one worker, whatever they wait for: 65,536 unless it is set. One more fails with RESOURCE_EXHAUSTED.
    pub fn pending_calls_max(mut self, max: usize) -> Self {
        self.options.pending_calls_max = max;
        self
    }

    /// Puts a circuit breaker before each method of each endpoint, shared by all workers. While one is open, calls go to other
    /// endpoints; without any they fail with UNAVAILABLE and [`Cause::BreakerOpen`](crate::Cause::BreakerOpen).
    ///
    /// ```
    /// use corelane_client::Channel;
    /// use corelane_policy::resilience::BreakerConfig;
    ///
    /// let channel = Channel::builder("dns:///greeter:50051")
    ///     .circuit_breaker(BreakerConfig { consecutive_failures: Some(5), ..BreakerConfig::default() })
    ///     .build()?;
    /// # Ok::<(), corelane_client::BuildError>(())
    /// ```
    pub fn circuit_breaker(mut self, config: BreakerConfig) -> Self {
        self.check("circuit_breaker", config.validate().map_err(|error| error.to_string()));
        self.options.breaker = Some(config);
        self
    }

    /// Tells `observer` each change of a breaker's state, on the worker where it was caused.
    pub fn on_breaker_change(mut self, observer: impl Fn(&BreakerEvent) + Send + Sync + 'static) -> Self {
        self.options.breaker_observer = Some(Arc::new(observer));
        self
    }

    /// Lets no more calls out than this, on all workers together; one more fails with RESOURCE_EXHAUSTED and
    /// [`Cause::RateLimited`](crate::Cause::RateLimited).
    ///
    /// ```
    /// use corelane_client::Channel;
    /// use corelane_policy::resilience::RateLimitConfig;
    ///
    /// let channel = Channel::builder("dns:///greeter:50051")
    ///     .rate_limit(RateLimitConfig::per_second(1_000, 50))
    ///     .build()?;
    /// # Ok::<(), corelane_client::BuildError>(())
    /// ```
    pub fn rate_limit(mut self, config: RateLimitConfig) -> Self {
        self.check("rate_limit", RateLimit::new(config).map(|_| ()).map_err(|error| error.to_string()));
        self.options.rate_limit = Some(config);
        self
    }

    /// Keeps responses of unary methods that are marked `NO_SIDE_EFFECTS` in their `.proto` file, on each worker, by request and
    /// metadata; calls for the same thing at the same time are made once.
    ///
    /// ```
    /// use corelane_client::Channel;
    /// use corelane_policy::cache::CacheConfig;
    ///
    /// let channel =
    ///     Channel::builder("dns:///greeter:50051").response_cache(CacheConfig::default()).build()?;
    /// # Ok::<(), corelane_client::BuildError>(())
    /// ```
    pub fn response_cache(mut self, config: CacheConfig) -> Self {
        self.check("response_cache", config.validate().map_err(|error| error.to_string()));
        self.options.cache = Some(config);
        self
    }

    /// Encrypts connections. The server's certificate must be for the host of the target, or of [`authority`](Self::authority), or
    /// for [`server_name`](Self::server_name). Targets `https://…` do so with the system's roots if this is not called.
    ///
    /// ```no_run
    /// use corelane_client::{Channel, ClientTls};
    ///
    /// let tls = ClientTls::builder().ca_pem(std::fs::read("ca.pem")?).build()?;
    /// let channel = Channel::builder("dns:///greeter:50051").tls(tls).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.options.tls = Some(tls);
        self
    }

    /// The name that the server's certificate must have, where it is not the target's.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.options.server_name = Some(name.into());
        self
    }

    /// Connects through proxies by these rules, in place of those of the environment (`grpc_proxy`, `https_proxy`, `http_proxy`,
    /// `no_grpc_proxy`, `no_proxy`). Targets of a single host go through a proxy, lists of addresses never do.
    pub fn proxy(mut self, rules: ProxyRules) -> Self {
        self.options.proxy = Some(rules);
        self
    }

    /// Never tries a call again because of a policy. What no server has looked at is still sent again.
    pub fn disable_retries(mut self) -> Self {
        self.options.retries = Retries::Never;
        self
    }

    /// Bytes of a stream of requests that are kept for another attempt: 256 KiB unless it is set. A call that has sent more is not
    /// tried again; if it is hedged it goes on with one of its copies.
    pub fn retry_buffer_bytes(mut self, bytes: usize) -> Self {
        self.options.retry_buffer_bytes = bytes;
        self
    }

    /// The channel, for all workers: it connects when a worker first uses it.
    ///
    /// # Errors
    /// [`BuildError`] says which option or part of the target is wrong.
    pub fn build(self) -> Result<SharedChannel, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let target = Target::parse(&self.target).map_err(|error| BuildError::Target(error.to_string()))?;
        let mut options = self.options;
        match (target.security(), &options.tls) {
            (Some(Security::Tls), None) => {
                let tls = ClientTls::builder().roots_native().build();
                let refused =
                    |error: TlsConfigError| BuildError::Option { name: "tls", reason: error.to_string() };
                options.tls = Some(tls.map_err(refused)?);
            }
            (Some(Security::Plaintext), Some(_)) => {
                let reason =
                    "the target says http, which is plaintext: write https, or another scheme".to_owned();
                return Err(BuildError::Option { name: "tls", reason });
            }
            _ => {}
        }
        if options.proxy.is_none() {
            let rules = ProxyRules::from_environment(|name| std::env::var(name).ok());
            let rules =
                rules.map_err(|error| BuildError::Option { name: "proxy", reason: error.to_string() })?;
            for ignored in rules.ignored() {
                tracing::warn!(%ignored, "an exception from the proxy cannot be read");
            }
            options.proxy = Some(rules);
        }
        // Subsets and shuffles differ from process to process; nobody gains by guessing them.
        let seed = RandomState::new().hash_one(&self.target);
        Ok(SharedChannel { shared: Shared::new(target, options, self.resolve, seed) })
    }

    /// The channel on this worker, which connects when it is first used.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    ///
    /// # Panics
    /// Off a worker.
    pub fn connect_lazy(self) -> Result<Channel, BuildError> {
        Ok(self.build()?.local())
    }

    /// The channel on this worker, with a connection that is ready.
    ///
    /// # Errors
    /// As [`Channel::connect`].
    ///
    /// # Panics
    /// Off a worker.
    pub async fn connect(self) -> Result<Channel, Status> {
        let channel = self.connect_lazy()?;
        channel.ready().await?;
        Ok(channel)
    }
}

impl fmt::Debug for ChannelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBuilder").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A channel for all workers: endpoints, breakers and budgets are common, connections are each worker's own.
#[derive(Clone, Debug)]
pub struct SharedChannel {
    shared: Arc<Shared>,
}

thread_local! {
    /// The channels of this worker, by their common part.
    static LOCALS: RefCell<HashMap<usize, Weak<Local>>> = RefCell::default();
}

impl SharedChannel {
    /// The channel on this worker: the same one each time, for as long as somebody holds it.
    ///
    /// # Panics
    /// Off a worker.
    #[must_use]
    pub fn local(&self) -> Channel {
        let key = Arc::as_ptr(&self.shared).addr();
        let known = LOCALS.with_borrow(|locals| locals.get(&key)?.upgrade());
        if let Some(local) = known.filter(|local| Arc::ptr_eq(&local.shared, &self.shared)) {
            return Channel { local };
        }
        let Position { index, count } = corelane_runtime::position();
        let local = Local::new(&self.shared, Worker { index, count });
        LOCALS.with_borrow_mut(|locals| {
            locals.retain(|_, local| local.strong_count() > 0);
            locals.insert(key, Rc::downgrade(&local));
        });
        Channel { local }
    }

    /// What the circuit breakers have seen, by endpoint and method; nothing where there are none.
    #[must_use]
    pub fn breakers(&self) -> Vec<(Arc<str>, &'static str, BreakerFigures)> {
        let breakers = self.shared.breakers.as_ref();
        breakers.map_or_else(Vec::new, |breakers| breakers.figures(corelane_runtime::clock()))
    }

    /// Forces the breaker of a method at an endpoint open or out of the way, or lets it decide again.
    pub fn set_breaker(&self, endpoint: &str, method: Method, mode: BreakerMode) {
        if let Some(breakers) = &self.shared.breakers {
            breakers.set_mode(endpoint, method.path(), mode, corelane_runtime::clock());
        }
    }

    /// After how long a silent server is asked now: twice as long each time that one complained of too many PINGs (gRFC A8). Zero
    /// without keepalive.
    #[must_use]
    pub fn keepalive_time(&self) -> Duration {
        self.shared.keepalive_time()
    }

    /// The target, as it is understood.
    #[must_use]
    pub fn target(&self) -> String {
        self.shared.target.to_string()
    }
}
