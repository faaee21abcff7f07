//! Both ends of a chaos run: servers that write down what they execute before they do, and a client that calls them at a fixed
//! rate and reports each call.
//!
//! Does not: inflict anything, or judge. `tests/runner/chaos.py` does the one, `chaos_report.py` the other.

mod client;
mod server;

pub use client::{Outcome, Run, run, write_report};
pub use server::{Journal, server};
