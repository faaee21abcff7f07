//! Channels: from a method and a message to an answer, over networks that fail.
//!
//! Does not: decide (that is `corelane-policy`, as values), speak HTTP/2 (`corelane-wire`) or own threads
//! (`corelane-runtime`).

mod blocking;
mod caller;
mod channel;
mod engine;
mod error;
mod method;
mod remote;
mod state;

pub use blocking::{BlockingCaller, BlockingStreaming};
pub use caller::Caller;
pub use channel::{Channel, ChannelBuilder, SharedChannel};
pub use engine::Engine;
pub use error::{BuildError, Cause, Failure};
pub use method::{Idempotency, Method};
pub use remote::{Answer, RemoteCaller, RemoteChannel, RemoteStreaming};
pub use state::ConnectivityState;
