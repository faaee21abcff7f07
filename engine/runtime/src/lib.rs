//! One pinned thread, one world: workers, listeners, connection drivers, backends.
//!
//! [`start`] makes workers: threads, each on a core of its own, each with its own listener, connections, buffers, timers and
//! sessions. Between them there is nothing but a mailbox for wakes from foreign threads and the order to drain. A
//! connection is driven by one task (`driver`), which feeds the protocol of `corelane-wire` and a [`Session`] of the
//! layer above, or, on connections that we dialed, callers of the same worker ([`Link`]). I/O is io_uring where the kernel
//! allows it and epoll elsewhere, both through monoio, which only `backend/monoio.rs` names. TLS, where it is wanted, is a
//! step between the bytes and the protocol (`tls.rs`).
//!
//! Does not: know what a call is, decode messages, own `main`, install anything global.
//!
//! Where to begin reading: `worker.rs` (what a thread owns), `driver.rs` and `driver/turn.rs` (the life of a connection),
//! `ticker.rs` (fairness), `backend/monoio.rs` (the kernel, and the traps on the way to it), `limits.rs`.

mod accept;
mod backend;
mod buffers;
mod clock;
mod config;
mod cores;
mod dial;
mod driver;
mod engine;
mod error;
mod helpers;
mod home;
mod inbox;
mod levels;
pub mod limits;
mod listen;
mod neighbours;
mod panic;
mod profile;
mod session;
mod signal;
mod spawn;
mod spin;
mod ticker;
mod timers;
mod tls;
mod waker;
mod worker;

pub use backend::{BACKEND_VARIABLE, Backend, BackendKind};
pub use config::{Config, Kept, Workers};
pub use dial::{DialError, DialOptions, Dialed, dial};
pub use driver::Link;
pub use engine::{Drainer, Handle, LocalListener, Spawner, run_local, start, start_clients};
pub use error::{StartError, WorkerPanic};
pub use helpers::{Sleep, clock, counters, now, position, seed, sleep, sleep_until, yield_now};
pub use home::Rejected;
pub use limits::{Limits, Memory};
pub use listen::{Address, PortSharing};
pub use panic::{Panic, guard};
pub use session::{CloseReason, Io, PeerInfo, Session, SessionFactory};
pub use spawn::spawn_local;
pub use tls::{
    CertificateFault, ClientAuth, ClientTls, ClientTlsBuilder, ServerTls, ServerTlsBuilder, TlsConfigError,
    TlsError,
};
pub use worker::Position;
