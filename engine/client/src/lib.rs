//! Channels: from a method and a message to an answer, over networks that fail.
//!
//! Does not: decide (that is `corelane-policy`, as values), speak HTTP/2 (`corelane-wire`) or own threads
//! (`corelane-runtime`).

mod aside;
mod blocking;
mod call;
mod caller;
mod channel;
mod connect;
mod credentials;
mod end;
mod engine;
mod error;
mod guard;
mod guarded;
mod head;
mod health;
mod keepalive;
mod local;
mod method;
mod options;
mod orca;
mod pool;
mod remote;
mod resolve;
mod session;
mod shared;
mod standing;
mod state;
mod time;
mod waiters;

pub use corelane_runtime::{ClientTls, ClientTlsBuilder, TlsConfigError};

pub use blocking::{BlockingCaller, BlockingStreaming};
pub use call::WaitForReady;
pub use caller::{Caller, DECODING_SIZE_MAX};
pub use channel::{Channel, ChannelBuilder, SharedChannel};
pub use credentials::{BearerToken, CallCredentials, CallTo, ChannelSecurity};
pub use engine::{Engine, EngineBuilder};
pub use error::{BuildError, Cause, Failure, Place};
pub use guard::BreakerEvent;
pub use keepalive::{KeepaliveConfig, WhileIdle};
pub use method::{Idempotency, Method};
pub use options::{
    CONNECT_TIMEOUT, CONNECTIONS_MAX, GROW_AT_PERCENT, IDLE_TIMEOUT, PENDING_CALLS_MAX, RETRY_BUFFER_BYTES,
    SURPLUS_IDLE,
};
pub use pool::PoolFigures;
pub use remote::{Answer, RemoteCaller, RemoteChannel, RemoteStreaming};
pub use resolve::{RESOLVE_INTERVAL_MIN, Resolve, Resolved};
pub use state::ConnectivityState;
