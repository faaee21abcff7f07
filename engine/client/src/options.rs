//! What a channel is told at its making.

use std::sync::Arc;
use std::time::Duration;

use corelane_policy::balance::Policy;
use corelane_policy::cache::CacheConfig;
use corelane_policy::config::{ProxyRules, ServiceConfig};
use corelane_policy::resilience::{BackoffConfig, BreakerConfig, RateLimitConfig};
use corelane_runtime::{ClientTls, DialOptions};
use corelane_wire::connection::Config as WireConfig;

use crate::guard::BreakerObserver;
use crate::keepalive::KeepaliveConfig;
use crate::resolve::RESOLVE_INTERVAL_MIN;

/// Calls that may wait on one channel of one worker, for a connection or a stream.
pub const PENDING_CALLS_MAX: usize = 65_536;

/// Connections that each worker keeps to each endpoint at most, unless it is told otherwise.
pub const CONNECTIONS_MAX: usize = 8;

/// How long nothing is called until a channel lets its connections go (client-channel idleness in gRPC's documents).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How long one attempt to connect may take, TLS and the server's SETTINGS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of requests that are kept for the case that a call is tried again.
pub const RETRY_BUFFER_BYTES: usize = 256 * 1024;

/// Streams in hundredths of what a connection allows, at which a pool grows before it must.
pub const GROW_AT_PERCENT: u32 = 80;

/// How long a connection beyond the minimum must have been idle until it is closed.
pub const SURPLUS_IDLE: Duration = Duration::from_secs(60);

/// See [`crate::ChannelBuilder`].
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) user_agent: String,
    pub(crate) authority: Option<String>,
    pub(crate) wait_for_ready: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) keepalive: Option<KeepaliveConfig>,
    pub(crate) connections_min: usize,
    pub(crate) connections_max: usize,
    pub(crate) grow_at_percent: u32,
    pub(crate) surplus_idle: Duration,
    pub(crate) default_config: Option<Arc<ServiceConfig>>,
    pub(crate) resolver_config: ResolverConfig,
    pub(crate) policy: Option<Policy>,
    pub(crate) backoff: BackoffConfig,
    pub(crate) wire: WireConfig,
    pub(crate) dial: DialOptions,
    pub(crate) pending_calls_max: usize,
    pub(crate) retries: Retries,
    pub(crate) retry_buffer_bytes: usize,
    pub(crate) resolve_interval: Duration,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) server_name: Option<String>,
    pub(crate) proxy: Option<ProxyRules>,
    pub(crate) breaker: Option<BreakerConfig>,
    pub(crate) breaker_observer: Option<BreakerObserver>,
    pub(crate) rate_limit: Option<RateLimitConfig>,
    pub(crate) cache: Option<CacheConfig>,
}

/// Whether the service config of a resolver counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResolverConfig {
    Obeyed,
    Ignored,
}

/// Whether calls are tried again by policy. Transparent retries always happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retries {
    ByPolicy,
    Never,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            timeout: None,
            connect_timeout: CONNECT_TIMEOUT,
            user_agent: USER_AGENT.to_owned(),
            authority: None,
            wait_for_ready: false,
            idle_timeout: Some(IDLE_TIMEOUT),
            keepalive: None,
            connections_min: 1,
            connections_max: CONNECTIONS_MAX,
            grow_at_percent: GROW_AT_PERCENT,
            surplus_idle: SURPLUS_IDLE,
            default_config: None,
            resolver_config: ResolverConfig::Obeyed,
            policy: None,
            backoff: BackoffConfig::default(),
            // A client receives what it asked for: a window of 1 MiB for a stream, and a few of those for the connection.
            wire: WireConfig { stream_window: 1 << 20, connection_window: 4 << 20, ..WireConfig::default() },
            dial: DialOptions::default(),
            pending_calls_max: PENDING_CALLS_MAX,
            retries: Retries::ByPolicy,
            retry_buffer_bytes: RETRY_BUFFER_BYTES,
            resolve_interval: RESOLVE_INTERVAL_MIN,
            tls: None,
            server_name: None,
            proxy: None,
            breaker: None,
            breaker_observer: None,
            rate_limit: None,
            cache: None,
        }
    }
}

/// As gRPC's documents say: `grpc-` language, and variant if any, `/` version.
pub(crate) const USER_AGENT: &str = concat!("grpc-rust-corelane/", env!("CARGO_PKG_VERSION"));
