//! HTTP/2, HPACK and gRPC framing as a value: bytes and time in, events and bytes out.
//!
//! What is handed in can be replayed: nothing here has a clock, a socket, a thread, a log or randomness of its own.
//! Does not: run handlers, decode messages, know about timers beyond the one instant it asks to be called at.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod time;

pub mod connection;
pub mod field;
pub mod frame;
pub mod grpc;
pub mod hpack;

pub use field::{Field, FieldList, Name};
pub use time::Instant;
