//! What client and server share about one call: requests, responses, metadata, codecs, messages that arrive, compression,
//! interceptors, error details.
//!
//! Everything here lives on one core: `Rc` and `Cell`, never `Arc` or a lock. A unary call without metadata goes through
//! these types without touching the heap; whatever is optional owns memory only once it is used.
//!
//! The names follow tonic's, so that moving a service over is nearly mechanical.
//!
//! Does not: own a connection or a socket (`wire`, `runtime`), route or admit calls (`server`), read a clock. Instants are
//! the [`Instant`] of whoever drives the call.

pub mod compression;
pub mod details;
pub mod message;
pub mod stream;

mod codec;
mod extensions;
mod gathered;
mod inbound;
mod inherited;
mod interceptor;
mod into_request;
mod peer;
mod pool;
mod request;
mod response;
mod streaming;

pub use codec::{Codec, ProstCodec};
pub use compression::{Compression, CompressionSwitch};
pub use corelane_wire::Instant;
pub use corelane_wire::grpc::{Code, Encoding, EncodingSet, Metadata, Status};
pub use extensions::Extensions;
pub use futures_core::Stream;
pub use gathered::{GatherError, Gathered};
pub use inbound::{Inbound, Source};
pub use inherited::{Inherited, inherited_deadline};
pub use interceptor::{AsyncInterceptor, BoxFuture, Ending, Interceptor, Interceptors};
pub use into_request::{IntoRequest, IntoStreamingRequest};
pub use peer::{Address, Peer};
pub use pool::{KEPT_LINES, give_buffer, give_fields, take_buffer, take_fields, trim_kept};
pub use request::{CallParts, Request};
pub use response::{ReplyParts, Response, WasCompressed};
pub use stream::BoxStream;
pub use streaming::Streaming;
