//! One pinned thread, one world: workers, listeners, connection drivers, backends.
//!
//! [`start`] makes workers: threads, each on a core of its own, each with its own listener, connections, buffers, timers and
//! sessions. Between them there is nothing but a mailbox for wakes from foreign threads and the order to drain. A
//! connection is driven by one task (`driver`), which feeds the protocol of `corelane-wire` and a [`Session`] of the
//! layer above. I/O is io_uring where the kernel allows it and epoll elsewhere, both through monoio, which only
//! `backend/monoio.rs` names.
//!
//! Does not: know what a call is, decode messages, speak TLS yet, own `main`, install anything global.
//!
//! Where to begin reading: `worker.rs` (what a thread owns), `driver.rs` and `driver/turn.rs` (the life of a connection),
//! `ticker.rs` (fairness), `backend/monoio.rs` (the kernel, and the traps on the way to it), `limits.rs`.

mod accept;
mod backend;
mod buffers;
mod clock;
mod config;
mod cores;
mod driver;
mod engine;
mod error;
mod helpers;
mod home;
mod inbox;
pub mod limits;
mod listen;
mod session;
mod signal;
mod ticker;
mod timers;
mod waker;
mod worker;

pub use backend::{BACKEND_VARIABLE, Backend, BackendKind};
pub use config::{Config, Workers};
pub use engine::{Drainer, Handle, LocalListener, run_local, start};
pub use error::{StartError, WorkerPanic};
pub use helpers::{Sleep, counters, now, sleep, sleep_until, yield_now};
pub use limits::{Limits, Memory};
pub use listen::{Address, PortSharing};
pub use session::{CloseReason, Io, PeerInfo, Session, SessionFactory};
