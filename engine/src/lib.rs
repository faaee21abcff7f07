//! An embeddable gRPC engine: one pinned thread per core, io_uring underneath, its own HTTP/2 on top.
//!
//! A service is written in Rust's own `async fn` and served by as many threads as there are cores. Each thread is a world of its
//! own: it accepts its connections, owns their buffers and timers, and runs their handlers, so nothing on the way of a call
//! is shared, locked or counted atomically, and handlers need be neither `Send` nor `Sync`.
//!
//! ```no_run
//! use corelane::{Request, Response, Server, Status};
//! use greeter::greeter_server::{Greeter, GreeterServer};
//! use greeter::{HelloReply, HelloRequest};
//!
//! #[derive(Default)]
//! struct MyGreeter;
//!
//! impl Greeter for MyGreeter {
//!     async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
//!         let name = &request.get_ref().name;
//!         Ok(Response::new(HelloReply { message: format!("Hello {name}!") }))
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // One greeter for each core, made there. `start` gives a handle instead of blocking.
//!     Server::builder().add_service(|| GreeterServer::new(MyGreeter)).serve("0.0.0.0:50051")?;
//!     Ok(())
//! }
//! # mod greeter {
//! #     #[derive(Clone, PartialEq, corelane::prost::Message)]
//! #     #[prost(prost_path = "corelane::prost")]
//! #     pub struct HelloRequest {
//! #         #[prost(string, tag = "1")]
//! #         pub name: String,
//! #     }
//! #     #[derive(Clone, PartialEq, corelane::prost::Message)]
//! #     #[prost(prost_path = "corelane::prost")]
//! #     pub struct HelloReply {
//! #         #[prost(string, tag = "1")]
//! #         pub message: String,
//! #     }
//! #     pub mod greeter_server {
//! #         use corelane::codegen::{ProstCodec, Rc};
//! #         use corelane::server::{Methods, Service};
//! #         pub trait Greeter: Sized + 'static {
//! #             #[allow(async_fn_in_trait)]
//! #             async fn say_hello(
//! #                 &self,
//! #                 request: corelane::Request<super::HelloRequest>,
//! #             ) -> Result<corelane::Response<super::HelloReply>, corelane::Status>;
//! #         }
//! #         pub struct GreeterServer<T>(Rc<T>);
//! #         impl<T: Greeter> GreeterServer<T> {
//! #             pub fn new(inner: T) -> Self {
//! #                 GreeterServer(Rc::new(inner))
//! #             }
//! #         }
//! #         impl<T: Greeter> Service for GreeterServer<T> {
//! #             const NAME: &'static str = "hello.Greeter";
//! #             fn register(self, methods: &mut Methods) {
//! #                 methods.unary("/hello.Greeter/SayHello", ProstCodec::default(), {
//! #                     let inner = self.0;
//! #                     move |request| {
//! #                         let inner = inner.clone();
//! #                         async move { inner.say_hello(request).await }
//! #                     }
//! #                 });
//! #             }
//! #         }
//! #     }
//! # }
//! ```
//!
//! `greeter` is generated from a `.proto` file by `corelane-codegen` in a build script, without `protoc`, and brought in by
//! [`include_proto!`]. Names and shapes follow tonic, so that a service moves over nearly word for word.
//!
//! # Layers
//!
//! Folders are layers and layers are crates; each uses what stands above it here and never a neighbour.
//!
//! | crate | what it is |
//! |---|---|
//! | `corelane-memory` | slabs with generations, bounded pools, the timer wheel, the mailbox between cores |
//! | `corelane-wire` | HTTP/2, HPACK and gRPC framing as a value: bytes and time in, events and bytes out; `no_std`, no unsafe |
//! | `corelane-runtime` | a pinned thread and all it owns: listener, connection drivers, wakers, timers, io_uring or epoll |
//! | `corelane-call` | what one call is made of: requests, responses, streams of messages, codecs, compression, interceptors |
//! | `corelane-policy` | what a client decides, as values: balancing, retries, hedging, breakers, outlier detection, service config |
//! | `corelane-server` | builder, router, the four shapes of a call, admission, drain |
//! | `corelane-client` | channels: names, pools of connections, calls with their attempts; callers on a worker and on any thread |
//! | `corelane` | this façade, the one crate that users name |
//!
//! # The life of a unary call
//!
//! A read completes → the protocol cuts frames out of the receive buffer, in place → the header block becomes a method and
//! metadata → the message is decoded from the receive buffer → the handler is called and polled, at once → the reply is
//! encoded into the connection's output buffer, between a prepared head and prepared trailers → when the turn ends, one
//! write carries everything that the connection has produced. A handler that waits is polled again when its waker was
//! called. In the steady state nothing of this allocates.
//!
//! # The life of a call that we make
//!
//! A call's future is polled → the policy picks an endpoint, from a list that is read without a lock → a connection of this
//! worker's pool takes the call: its head, made once for each method, and its message are written into the connection's output,
//! at once → when the turn ends, one write carries what all callers have produced → the answer is kept in the call's slot and
//! its caller woken → the message is decoded in the caller's own poll. No task stands between a caller and a connection, and
//! dropping the future resets the stream.
//!
//! # Does not
//!
//! Own `main`, signals, the logger or the allocator: a server is started and stopped by a handle, and several live in one
//! process. Speak HTTP/1.1: that is a layer to come. Share anything between workers but what is said to be
//! shared (a channel's endpoints, breakers and budgets): state that must be common is the service's to share.

pub use corelane_call::{
    AsyncInterceptor, BoxFuture, CallParts, Code, Codec, Encoding, EncodingSet, Ending, Extensions,
    Interceptor, IntoRequest, IntoStreamingRequest, Metadata, Peer, ProstCodec, Request, Response, Status,
    Streaming, WasCompressed, compression, details, stream,
};
pub use corelane_client::Channel;
pub use corelane_server::Server;
pub use corelane_wire::grpc::{InvalidMetadata, MetadataValue};

pub use prost;
pub use prost_types;

/// Serving: the builder, the handle, and what a service is.
pub mod server {
    pub use corelane_server::{
        Address, AdminAddress, Backend, BackendKind, Builder, CallKind, DECODING_SIZE_MAX,
        InvalidAdminAddress, Lap, Limit, LocalServer, Methods, PortSharing, ProfileSnapshot, ProfileSwitch,
        Profiling, ServeError, Server, ServerHandle, Service, ServiceOptions, StartError, Stopper,
        ToAddresses, WorkerPanic, WorkerSnapshot, Workers,
    };
}

/// Calling: channels, how they choose and retry, and where a call failed.
///
/// On a worker (in a handler, or in a future that [`Engine::block_on`](client::Engine::block_on) runs there):
///
/// ```no_run
/// use corelane::client::{Channel, Engine, Workers};
/// # struct GreeterClient;
/// # impl GreeterClient {
/// #     fn new(_: Channel) -> Self { GreeterClient }
/// #     async fn say_hello(&self, _: String) -> Result<corelane::Response<String>, corelane::Status> { unimplemented!() }
/// # }
///
/// let engine = Engine::start(Workers::Count(1))?;
/// let reply = engine.block_on(|| async {
///     let client = GreeterClient::new(Channel::connect("dns:///greeter:50051").await?);
///     client.say_hello("core".to_owned()).await.map(corelane::Response::into_inner)
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Generated code has the same methods on two more types: `GreeterHandle`, for any thread and any async runtime, and
/// `BlockingGreeterClient`.
pub mod client {
    pub use corelane_client::*;
    pub use corelane_policy::config::{ProxyError, ProxyRules};
    pub use corelane_runtime::{Backend, DialOptions, StartError, Workers, spawn_local};
    pub use corelane_wire::connection::Config as WireConfig;

    /// Where calls go: policies, and the trait for one's own.
    pub mod balance {
        pub use corelane_policy::balance::{
            Balancer, BalancerFactory, Call, EndpointInfo, EndpointKey, Pick, Policy, Readiness, View,
        };
        pub use corelane_policy::config::{
            BalancerConfig, FailurePercentage, OutlierDetectionConfig, SuccessRate, WeightedRoundRobinConfig,
        };
    }

    /// When calls are not sent, or sent again: the numbers of breakers, back-offs, rate limits and the response cache.
    pub mod resilience {
        pub use corelane_policy::cache::{CacheConfig, CacheFigures};
        pub use corelane_policy::config::{HedgingPolicy, RetryPolicy, RetryThrottling};
        pub use corelane_policy::resilience::{
            BackoffConfig, BreakerCause, BreakerChange, BreakerConfig, BreakerFigures, BreakerMode,
            BreakerState, BreakerWindow, RateLimitConfig, SlowCalls, Stop,
        };
    }
}

/// Securing connections: who one is, and whom one believes. Configurations are made from PEM, and complain when they are made.
pub mod tls {
    pub use corelane_runtime::{
        CertificateFault, ClientAuth, ClientTls, ClientTlsBuilder, ServerTls, ServerTlsBuilder,
        TlsConfigError, TlsError,
    };
}

/// What a handler may ask of the worker that runs it: the time, a pause, a fair yield.
pub mod time {
    pub use corelane_runtime::{Sleep, now, sleep, sleep_until, yield_now};
    pub use corelane_wire::Instant;
}

/// What generated code names. Use it if you write such code by hand.
pub mod codegen {
    pub use std::rc::Rc;

    pub use corelane_call::stream::BoxStream;
    pub use corelane_call::{
        Codec, Interceptor, IntoRequest, IntoStreamingRequest, ProstCodec, Request, Response, Status,
        Streaming,
    };
    pub use corelane_server::{Methods, Service, ServiceOptions};
    pub use corelane_wire::grpc::Encoding;
    pub use futures_core::Stream;
}

/// Brings in what `corelane_codegen::compile_protos` has generated for a package.
///
/// ```ignore
/// mod hello {
///     corelane::include_proto!("hello");
/// }
/// ```
#[macro_export]
macro_rules! include_proto {
    ($package:tt) => {
        include!(concat!(env!("OUT_DIR"), concat!("/", $package, ".rs")));
    };
}

/// The encoded file descriptor set that a build script wrote under this name, for reflection.
///
/// ```ignore
/// const DESCRIPTORS: &[u8] = corelane::include_file_descriptor_set!("hello_descriptor");
/// ```
#[macro_export]
macro_rules! include_file_descriptor_set {
    ($name:tt) => {
        include_bytes!(concat!(env!("OUT_DIR"), concat!("/", $name, ".bin")))
    };
}
