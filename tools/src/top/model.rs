//! The admin port's figures, as far as `top` shows them.
//!
//! Does not: insist. A figure that another version of the server does not have reads as 0.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One answer to `/cores`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Reading {
    pub(crate) server: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) backend: String,
    #[serde(default)]
    pub(crate) uptime_ns: u64,
    /// `on` or `off`.
    #[serde(default)]
    pub(crate) profile: String,
    pub(crate) cores: Vec<Core>,
}

/// One worker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Core {
    pub(crate) connections_open: u64,
    pub(crate) connections_dialed: u64,
    pub(crate) calls_ok: u64,
    pub(crate) calls_in_flight: u64,
    pub(crate) calls_failed: BTreeMap<String, u64>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) calls_ready: u64,
    pub(crate) buffers_awaited: u64,
    pub(crate) mailbox_waiting: u64,
    pub(crate) tasks_open: u64,
    pub(crate) memory_receive_buffers: u64,
    pub(crate) memory_small_buffers: u64,
    pub(crate) memory_spare_buffers: u64,
    pub(crate) memory_tables: u64,
    pub(crate) memory_connections: u64,
    pub(crate) memory_streams: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) limits_hit: BTreeMap<String, u64>,
    pub(crate) noted: Noted,
}

/// What a worker's profile has noted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Noted {
    pub(crate) turns: u64,
    pub(crate) events: u64,
    pub(crate) polls: u64,
    pub(crate) reads: u64,
    pub(crate) read_bytes: u64,
    pub(crate) writes: u64,
    pub(crate) write_bytes: u64,
    pub(crate) waiting_ns: u64,
    pub(crate) time_ns: BTreeMap<String, u64>,
    pub(crate) calls_ns: BTreeMap<String, Spread>,
}

/// A histogram's buckets: highest value, count.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spread {
    pub(crate) buckets: Vec<(u64, u64)>,
}
