//! What speed is measured with: a service, and the hot paths by themselves ([`paths`]). Criterion's benches are in `benches/`, the program
//! that foreign load generators drive, and that is a load generator itself, is `bench-peer`, and `count` is for callgrind.
//!
//! Does not: measure. Handlers here do as little as they can, so that what is measured is the engine.

mod load;
pub mod paths;
mod service;

pub use load::{Kind, Load, run};
pub use service::{BenchService, server};

/// What is generated from `proto/bench`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto {
    corelane::include_proto!("bench.v1");
}
