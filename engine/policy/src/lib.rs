//! What a client decides, as values: where a call goes, whether it is tried again, when to stop trying.
//!
//! Nothing here has a socket, a clock, a timer or a task: time is an [`Instant`](corelane_wire::Instant) that is handed in,
//! randomness a generator that is handed in, so every decision can be replayed. `client` acts on what is decided here.
//!
//! What all cores share (outstanding calls, breakers, retry budgets) is lock-free and has a loom test; all else is one
//! core's own.
//!
//! Does not: resolve, connect, send, wait, or log.

pub mod balance;
pub mod cache;
pub mod config;
pub mod resilience;
