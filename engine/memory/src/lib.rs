//! Where a worker's things live: slabs, buffer pools, the timer wheel, and the mailboxes that two cores may touch.
//!
//! [`Slab`], [`BufferPool`] and [`TimerWheel`] belong to one worker: they hold no atomics and are reached through
//! `&mut`. Under the feature `std` come the types that cross cores, [`Mailbox`] and [`Doorbell`]; each ordering in
//! them has its sentence and the protocol has a loom test:
//! `RUSTFLAGS="--cfg loom" cargo test -p corelane-memory --features std --release --test loom`.
//!
//! [`Gather`] writes what is to be sent, with large pieces by reference: [`Bytes`] that anybody may hold.
//!
//! Does not: know bytes from messages, read a clock, open anything, or wake anyone. A mailbox says *that* its owner
//! must be woken; how is the runtime's matter.
//!
//! Invariants: every key is checked against its generation, so a key that outlived its entry finds nothing rather
//! than a stranger. What has a maximum refuses at it, and what was allocated is reused before more is.
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(feature = "std")]
mod doorbell;
mod gather;
#[cfg(feature = "std")]
mod mailbox;
mod pool;
mod slab;
mod wheel;

pub use bytes::Bytes;
#[cfg(feature = "std")]
pub use doorbell::{Doorbell, Wake};
pub use gather::{Gather, Mark, PIECE_MIN, Piece, Pieces};
#[cfg(feature = "std")]
pub use mailbox::{Drained, Mailbox};
pub use pool::BufferPool;
pub use slab::{Key, Slab};
pub use wheel::{TICK_NS, TimerKey, TimerWheel};
