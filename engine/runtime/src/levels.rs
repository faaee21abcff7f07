//! What a worker holds at a moment, put where others can read it: queues, and memory by consumer.
//!
//! Asked for once a second, on the occasion of the sweep; so a figure is up to a second old and no call pays for it.
//!
//! Does not: measure the heap. Buffers and tables are counted by their capacity, connections by what one was measured to take,
//! streams by an estimate.

use crate::limits::{CONNECTION_BYTES, RECEIVE_SMALL_BYTES, STREAM_BYTES};
use crate::worker::Worker;

impl Worker {
    /// Publishes them. The caller has counted, of all connections, those that hold a large buffer, and the calls that wait to
    /// be polled.
    pub(crate) fn publish_levels(&self, connections_large: usize, calls_ready: usize) {
        let counters = &*self.counters;
        let connections = self.connections_count();
        let buffers = self.buffers.levels();
        counters.connections_dialed.set(wide(self.dialed_count()));
        counters.calls_ready.set(wide(calls_ready));
        counters.buffers_awaited.set(wide(self.buffers.awaited()));
        counters.mailbox_waiting.set(wide(self.home.letters_waiting()));
        counters.tasks_open.set(wide(self.crew.len()));
        counters.timers_set.set(wide(self.timers.len()));
        counters.memory_receive_buffers.set(wide(buffers.large_bytes));
        counters.memory_spare_buffers.set(wide(buffers.spare_bytes));
        let connections_small = connections.saturating_sub(connections_large);
        counters.memory_small_buffers.set(wide(connections_small * RECEIVE_SMALL_BYTES));
        counters
            .memory_tables
            .set(wide(self.table_bytes() + self.crew.table_bytes() + self.timers.table_bytes()));
        counters.memory_connections.set(wide(connections * CONNECTION_BYTES));
        counters.memory_streams.set(counters.calls_in_flight.get().saturating_mul(wide(STREAM_BYTES)));
    }
}

/// A count as a figure.
fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
