//! The server: builder, router, the four shapes of a call, interceptors, admission, drain.
//!
//! A [`Builder`] becomes workers. On each of them a factory makes the services, which register their methods; every
//! connection then has a session that turns the events of its streams into calls and their answers into frames. A unary
//! call whose handler is ready at once is decoded from the receive buffer, run and answered into the output buffer before the
//! next frame is looked at, and nothing is allocated for it.
//!
//! Does not: read the sockets or clocks of calls (`runtime`), know frames (`wire`), make threads but the admin port's, which is off
//! unless it is asked for, install signal handlers.
//!
//! Where to begin reading: `session.rs` (the life of a call), `dispatch/` (where types are known), `reply.rs` (what is
//! sent), `builder.rs` (what can be set), `admin/mod.rs` (what is told about all this).

mod address;
mod admin;
mod admission;
mod builder;
mod call;
mod dispatch;
mod error;
mod factory;
mod handle;
mod head;
mod intercept;
mod local;
mod methods;
mod plan;
mod refusal;
mod reply;
mod router;
mod service;
mod session;
mod worker;

pub use address::ToAddresses;
pub use admin::{AdminAddress, InvalidAdminAddress};
pub use builder::{Builder, Server};
pub use error::{ServeError, StartError};
pub use handle::{ServerHandle, Stopper};
pub use local::LocalServer;
pub use methods::Methods;
pub use service::{DECODING_SIZE_MAX, Service, ServiceOptions};

pub use corelane_observe::{CallKind, Lap, Limit, ProfileSnapshot, ProfileSwitch, Profiling, WorkerSnapshot};
pub use corelane_runtime::{Address, Backend, BackendKind, PortSharing, WorkerPanic, Workers};
