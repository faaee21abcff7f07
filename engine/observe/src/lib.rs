//! What a worker counts, so that anyone may read it; and a wrapper for what no one may read by accident.
//!
//! Each worker has a shard of its own and is the only one to write it, so an increment is a load, an add and a store
//! without a lock prefix, on a cache line that no other worker writes. The cost is on the reader, who sums the shards
//! ([`ShardSet::snapshot`]); readers are rare.
//!
//! Does not: export to any system, keep history or rates, sample, or log. Nothing here orders memory: a figure tells how much
//! was counted, never that something else has become visible.
//!
//! Invariant: a shard has at most one writer at a time ([`ShardSet::writer`] hands it out once), and everything has a
//! fixed size from the start.
#![forbid(unsafe_code)]

mod counter;
mod histogram;
mod profile;
mod redacted;
mod shards;
mod worker;

pub use counter::{Counter, Gauge};
pub use histogram::{Histogram, HistogramSnapshot};
pub use profile::{CallKind, Lap, ProfileCounters, ProfileSnapshot, ProfileSwitch, Profiling};
pub use redacted::Redacted;
pub use shards::{Observed, ShardSet, Writer};
pub use worker::{CODES_COUNT, CallCodes, Limit, LimitCounters, WorkerCounters, WorkerSnapshot};
