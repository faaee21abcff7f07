//! What every worker counts.
//!
//! One list of names makes the counters, their sum and its print, so that none of the three can be forgotten.
//!
//! Does not: decide when something is counted. `call_started` and `call_ended` keep the call figures in step; the rest is
//! up to the driver and the session.

use crate::counter::{Counter, Gauge};
use crate::histogram::{Histogram, HistogramSnapshot};
use crate::profile::{ProfileCounters, ProfileSnapshot};
use crate::shards::Observed;
use core::fmt;

/// How many status codes gRPC has: 0 (OK) to 16.
pub const CODES_COUNT: usize = 17;

const OK: usize = 0;
/// Where a code that is none is counted, as gRPC says that one is to be read.
const UNKNOWN: usize = 2;

const CODE_NAMES: [&str; CODES_COUNT] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// Ended calls by status code.
#[derive(Debug, Default)]
pub struct CallCodes([Counter; CODES_COUNT]);

impl CallCodes {
    /// Counts one. A code that gRPC does not know counts as UNKNOWN (2).
    #[inline]
    pub fn increment(&self, code: u32) {
        let index = usize::try_from(code).unwrap_or(UNKNOWN);
        self.0.get(index).unwrap_or(&self.0[UNKNOWN]).increment();
    }

    /// The count of one code; 0 for one that gRPC does not know.
    #[must_use]
    pub fn get(&self, code: u32) -> u64 {
        usize::try_from(code).ok().and_then(|index| self.0.get(index)).map_or(0, Counter::get)
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $limit:ident = $name:literal,)*) => {
        /// A limit that a peer or a handler ran into. Each is a named maximum somewhere in the engine.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[$doc])* $limit,)*
        }

        impl Limit {
            /// All of them.
            pub const ALL: &[Limit] = &[$(Limit::$limit),*];

            /// The name in figures.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Limit::$limit => $name,)* }
            }
        }
    };
}

limits! {
    /// Connections of a worker: one more was closed as soon as it came.
    Connections = "connections",
    /// Streams of a connection: one more was refused.
    Streams = "streams",
    /// The size or the number of fields of a header list.
    HeaderList = "header_list",
    /// A message larger than the handler takes.
    MessageReceived = "message_received",
    /// A message larger than the service sends.
    MessageSent = "message_sent",
    /// Streams that a peer resets: it was told to calm down.
    Resets = "resets",
    /// Streams that had to be reset for a peer's faults.
    Faults = "faults",
    /// SETTINGS frames of a connection.
    Settings = "settings",
    /// Empty DATA frames of a connection.
    EmptyData = "empty_data",
    /// Frames or octets of a header block.
    HeaderBlock = "header_block",
    /// The time that a peer has for its preface, its settings or the rest of a header block.
    PeerTime = "peer_time",
    /// The time for which a write may make no progress.
    WriteStall = "write_stall",
    /// The receive buffers of a worker: a connection had to wait for one.
    ReceiveBuffers = "receive_buffers",
    /// Unread output of a connection: a turn left its input unread for it.
    Output = "output",
    /// Messages from foreign threads that wait for a worker.
    Mailbox = "mailbox",
    /// A handler's permit: admission turned the call away.
    Admission = "admission",
}

/// Limits that were hit, by name.
#[derive(Debug, Default)]
pub struct LimitCounters([Counter; Limit::ALL.len()]);

impl LimitCounters {
    /// Counts one.
    #[inline]
    pub fn increment(&self, limit: Limit) {
        self.0[limit as usize].increment();
    }

    /// Counts so many.
    pub fn add(&self, limit: Limit, times: u64) {
        self.0[limit as usize].add(times);
    }

    /// How often this one was hit.
    #[must_use]
    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize].get()
    }
}

/// A kind of figure that fits into one number.
trait Number {
    fn number(&self) -> u64;
}

impl Number for Counter {
    fn number(&self) -> u64 {
        self.get()
    }
}

impl Number for Gauge {
    fn number(&self) -> u64 {
        self.get()
    }
}

macro_rules! worker_counters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        /// The figures of one worker: written by it alone, read by anyone.
        ///
        /// ```
        /// use corelane_observe::{Limit, Observed, WorkerCounters};
        ///
        /// let counters = WorkerCounters::default();
        /// counters.call_started();
        /// counters.call_started();
        /// counters.call_ended(0, 1_500);
        /// counters.call_ended(5, 900); // NOT_FOUND
        /// counters.limits_hit.increment(Limit::Streams);
        ///
        /// let seen = counters.snapshot();
        /// assert_eq!((seen.calls_started, seen.calls_ok, seen.calls_in_flight), (2, 1, 0));
        /// assert_eq!(seen.calls_failed[5], 1);
        /// assert!(seen.to_string().contains("calls_failed_not_found 1"));
        /// assert!(seen.to_string().contains("limits_hit_streams 1"));
        /// ```
        #[derive(Debug, Default)]
        pub struct WorkerCounters {
            $($(#[$doc])* pub $name: $kind,)*
            /// Calls ended with another status than OK, by its code.
            pub calls_failed: CallCodes,
            /// Limits that were hit.
            pub limits_hit: LimitCounters,
            /// How long calls took, in nanoseconds, from the turn in which one began to the turn in which it ended: 0 for one that
            /// was answered at once.
            pub call_duration_ns: Histogram,
            /// Where the time goes, while its switch is on.
            pub profile: ProfileCounters,
        }

        /// The figures of one worker or the sum of several. `Display` prints a line for each: name, blank, number.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct WorkerSnapshot {
            $($(#[$doc])* pub $name: u64,)*
            /// Calls ended with another status than OK, by its code (so the first is 0).
            pub calls_failed: [u64; CODES_COUNT],
            /// Limits that were hit, in the order of [`Limit::ALL`].
            pub limits_hit: [u64; Limit::ALL.len()],
            /// How long calls took, in nanoseconds, from the turn in which one began to the turn in which it ended.
            pub call_duration_ns: HistogramSnapshot,
            /// Where the time went, while the profile was on.
            pub profile: ProfileSnapshot,
        }

        impl WorkerCounters {
            fn add_numbers_to(&self, into: &mut WorkerSnapshot) {
                $(into.$name = into.$name.wrapping_add(self.$name.number());)*
            }
        }

        impl WorkerSnapshot {
            /// The figures that are one number, by name.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

worker_counters! {
    /// Connections accepted.
    connections_accepted: Counter,
    /// Connections closed as soon as they came, because there were too many.
    connections_refused: Counter,
    /// Connections accepted that another worker, which had fewer, was handed; that one counts them as accepted.
    connections_handed_over: Counter,
    /// Connections now.
    connections_open: Gauge,
    /// Accepts that failed.
    accepts_failed: Counter,
    /// Calls begun.
    calls_started: Counter,
    /// Calls ended with OK.
    calls_ok: Counter,
    /// Calls now.
    calls_in_flight: Gauge,
    /// Calls that the peer gave up: a reset, or a closed connection.
    calls_cancelled: Counter,
    /// Calls whose deadline passed before they ended.
    deadlines_exceeded: Counter,
    /// Handlers that panicked.
    panics: Counter,
    /// Messages received.
    messages_in: Counter,
    /// Messages sent.
    messages_out: Counter,
    /// Bytes received.
    bytes_in: Counter,
    /// Bytes sent.
    bytes_out: Counter,
    /// RST_STREAM frames received.
    resets_in: Counter,
    /// RST_STREAM frames sent.
    resets_out: Counter,
    /// Looks of a spinning worker for work, before it slept.
    spin_looks: Counter,
    /// Waits of a spinning worker that brought work, so that it did not sleep.
    spin_hits: Counter,
    /// Waits of a spinning worker that were in vain, so that it slept.
    spin_misses: Counter,
    /// Processor time of the worker's thread, in nanoseconds. This and what follows is as of the last second.
    cpu_ns: Counter,
    /// Connections that we dialed.
    connections_dialed: Gauge,
    /// Calls that were woken and wait to be polled.
    calls_ready: Gauge,
    /// Connections that wait for a receive buffer.
    buffers_awaited: Gauge,
    /// Messages from foreign threads that wait.
    mailbox_waiting: Gauge,
    /// Tasks that belong to no connection.
    tasks_open: Gauge,
    /// Timers that are set.
    timers_set: Gauge,
    /// Bytes of large receive buffers, in use or kept for the next use.
    memory_receive_buffers: Gauge,
    /// Bytes of the small receive buffers that connections have for themselves.
    memory_small_buffers: Gauge,
    /// Bytes of output buffers kept for the next use.
    memory_spare_buffers: Gauge,
    /// Bytes of the tables of connections, tasks and timers.
    memory_tables: Gauge,
    /// Bytes of connections without their buffers and streams, at what one was measured to take.
    memory_connections: Gauge,
    /// Bytes of streams in flight, by estimate; what handlers hold is not counted.
    memory_streams: Gauge,
}

impl WorkerCounters {
    /// A call began.
    #[inline]
    pub fn call_started(&self) {
        self.calls_started.increment();
        self.calls_in_flight.increment();
    }

    /// A call that was counted as started ended with this status code, after this time.
    #[inline]
    pub fn call_ended(&self, code: u32, duration_ns: u64) {
        self.calls_in_flight.decrement();
        self.call_duration_ns.record(duration_ns);
        if code == 0 {
            self.calls_ok.increment();
        } else {
            self.calls_failed.increment(code);
        }
    }
}

impl Observed for WorkerCounters {
    type Snapshot = WorkerSnapshot;

    fn add_to(&self, into: &mut WorkerSnapshot) {
        self.add_numbers_to(into);
        for (sum, counter) in into.calls_failed.iter_mut().zip(&self.calls_failed.0) {
            *sum = sum.wrapping_add(counter.get());
        }
        for (sum, counter) in into.limits_hit.iter_mut().zip(&self.limits_hit.0) {
            *sum = sum.wrapping_add(counter.get());
        }
        self.call_duration_ns.add_to(&mut into.call_duration_ns);
        self.profile.add_to(&mut into.profile);
    }
}

impl WorkerSnapshot {
    /// Limits that were hit, by name.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL.iter().zip(self.limits_hit).map(|(limit, number)| (limit.name(), number))
    }

    /// Calls ended with another status than OK, by the name of its code.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODE_NAMES.into_iter().zip(self.calls_failed).skip(OK + 1)
    }

    /// Bytes held, as far as they are counted: the sum of the figures whose names begin with `memory`.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.numbers().filter(|(name, _)| name.starts_with("memory_")).map(|(_, bytes)| bytes).sum()
    }

    /// Calls ended with another status than OK.
    #[must_use]
    pub fn calls_failed_count(&self) -> u64 {
        self.calls_failed.iter().sum()
    }

    /// How often this limit was hit.
    #[must_use]
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.limits_hit[limit as usize]
    }
}

impl fmt::Display for WorkerSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, number) in self.numbers() {
            writeln!(f, "{name} {number}")?;
        }
        for (name, number) in self.failures() {
            writeln!(f, "calls_failed_{name} {number}")?;
        }
        for (name, number) in self.limits() {
            writeln!(f, "limits_hit_{name} {number}")?;
        }
        writeln!(f, "call_duration_ns {}", self.call_duration_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardSet;

    #[test]
    fn the_figures_of_a_call_stay_in_step() {
        let counters = WorkerCounters::default();
        for _ in 0..3 {
            counters.call_started();
        }
        counters.call_ended(0, 10);
        counters.call_ended(16, 20);
        let seen = counters.snapshot();
        assert_eq!(seen.calls_started, 3);
        assert_eq!((seen.calls_ok, seen.calls_failed_count(), seen.calls_in_flight), (1, 1, 1));
        assert_eq!(seen.calls_failed[16], 1);
        assert_eq!((seen.call_duration_ns.count(), seen.call_duration_ns.max()), (2, 20));
    }

    #[test]
    fn a_code_that_is_none_counts_as_unknown() {
        let codes = CallCodes::default();
        codes.increment(17);
        codes.increment(u32::MAX);
        codes.increment(2);
        assert_eq!((codes.get(2), codes.get(17)), (3, 0));
    }

    #[test]
    fn every_limit_has_a_counter_and_a_name_of_its_own() {
        let limits = LimitCounters::default();
        for (hits, limit) in (1..).zip(Limit::ALL) {
            (0..hits).for_each(|_| limits.increment(*limit));
        }
        for (hits, limit) in (1..).zip(Limit::ALL) {
            assert_eq!(limits.get(*limit), hits, "{}", limit.name());
        }
        let names: std::collections::BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }

    #[test]
    fn workers_are_summed_field_by_field() {
        let set: ShardSet<WorkerCounters> = ShardSet::new(2);
        let (a, b) = (set.writer(0).expect("free"), set.writer(1).expect("free"));
        a.bytes_in.add(100);
        b.bytes_in.add(11);
        b.messages_out.increment();
        a.connections_open.set(4);
        b.connections_open.set(5);
        a.calls_failed.increment(13);
        b.calls_failed.increment(13);
        b.limits_hit.increment(Limit::Mailbox);
        a.call_duration_ns.record(7);
        b.call_duration_ns.record(9);
        let sum = set.snapshot();
        assert_eq!((sum.bytes_in, sum.messages_out, sum.connections_open), (111, 1, 9));
        assert_eq!((sum.calls_failed[13], sum.limit_hits(Limit::Mailbox)), (2, 1));
        assert_eq!((sum.call_duration_ns.count(), sum.call_duration_ns.sum()), (2, 16));
        assert_eq!(set.snapshots().map(|one| one.bytes_in).collect::<Vec<_>>(), [100, 11]);
    }

    #[test]
    fn the_print_has_a_line_for_each_figure() {
        let counters = WorkerCounters::default();
        counters.resets_in.add(8);
        counters.calls_failed.increment(14);
        let print = counters.snapshot().to_string();
        for line in ["resets_in 8", "resets_out 0", "calls_failed_unavailable 1", "limits_hit_resets 0"] {
            assert!(print.lines().any(|l| l == line), "{line} is missing in\n{print}");
        }
        assert_eq!(print.lines().count(), 33 + 16 + Limit::ALL.len() + 1);
        assert!(!print.contains("calls_failed_ok"));
    }
}
