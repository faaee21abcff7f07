//! What happened between two readings: rates, shares and quantiles.
//!
//! Does not: read or print. A worker that the earlier reading has not is compared with nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::bench::units::ratio;
use crate::top::model::{Core, Noted, Reading, Spread};

/// One view.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) backend: String,
    pub(crate) uptime_seconds: u64,
    pub(crate) profile: String,
    pub(crate) workers: Vec<Row>,
    pub(crate) total: Row,
    /// Limits that were hit in this stretch of time.
    pub(crate) limits_hit: BTreeMap<String, u64>,
}

/// A worker, or all of them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) calls_per_second: f64,
    pub(crate) failures_per_second: f64,
    /// Quantiles of how long calls took; none while the profile is off.
    pub(crate) p50_ns: Option<u64>,
    pub(crate) p99_ns: Option<u64>,
    pub(crate) connections: u64,
    pub(crate) calls: u64,
    pub(crate) tasks: u64,
    pub(crate) calls_ready: u64,
    pub(crate) mailbox_waiting: u64,
    pub(crate) buffers_awaited: u64,
    pub(crate) bytes_in_per_second: f64,
    pub(crate) bytes_out_per_second: f64,
    /// Processor time, as a share of one core.
    pub(crate) cpu: f64,
    pub(crate) memory: Memory,
    /// None while the profile is off.
    pub(crate) time: Option<Time>,
}

/// Bytes by consumer.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) receive_buffers: u64,
    pub(crate) small_buffers: u64,
    pub(crate) spare_buffers: u64,
    pub(crate) tables: u64,
    pub(crate) connections: u64,
    pub(crate) streams: u64,
}

/// Where the time went: batches, and shares of the time.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Time {
    pub(crate) turns_per_second: f64,
    pub(crate) events_per_turn: f64,
    pub(crate) polls_per_turn: f64,
    pub(crate) bytes_per_read: f64,
    pub(crate) bytes_per_write: f64,
    pub(crate) receive: f64,
    pub(crate) wire: f64,
    pub(crate) handlers: f64,
    pub(crate) transmit: f64,
    pub(crate) tasks: f64,
    /// Outside of turns and not waiting: the kernel under io_uring, the runtime.
    pub(crate) outside: f64,
    pub(crate) waiting: f64,
}

impl Report {
    /// Of the time between two readings.
    pub(crate) fn new(from: &Reading, to: &Reading, took: Duration) -> Report {
        let nothing = Core::default();
        let before = |index: usize| from.cores.get(index).unwrap_or(&nothing);
        let deltas: Vec<Core> =
            to.cores.iter().enumerate().map(|(index, core)| delta(before(index), core)).collect();
        let mut sum = Core::default();
        deltas.iter().for_each(|core| add(&mut sum, core));
        Report {
            version: to.version.clone(),
            backend: to.backend.clone(),
            uptime_seconds: to.uptime_ns / 1_000_000_000,
            profile: to.profile.clone(),
            workers: deltas.iter().map(|core| Row::new(core, took)).collect(),
            total: Row::new(&sum, took),
            limits_hit: sum.limits_hit.into_iter().filter(|(_, hits)| *hits != 0).collect(),
        }
    }
}

impl Row {
    /// Of what was counted in this time.
    fn new(core: &Core, took: Duration) -> Row {
        let rate = |count: u64| ratio(count) / took.as_secs_f64().max(1e-9);
        let failed = core.calls_failed.values().sum::<u64>();
        let buckets = merged(core.noted.calls_ns.values());
        Row {
            calls_per_second: rate(core.calls_ok + failed),
            failures_per_second: rate(failed),
            p50_ns: quantile(&buckets, 0.5),
            p99_ns: quantile(&buckets, 0.99),
            connections: core.connections_open + core.connections_dialed,
            calls: core.calls_in_flight,
            tasks: core.tasks_open,
            calls_ready: core.calls_ready,
            mailbox_waiting: core.mailbox_waiting,
            buffers_awaited: core.buffers_awaited,
            bytes_in_per_second: rate(core.bytes_in),
            bytes_out_per_second: rate(core.bytes_out),
            cpu: rate(core.cpu_ns) / 1e9,
            memory: Memory {
                total: core.memory_bytes,
                receive_buffers: core.memory_receive_buffers,
                small_buffers: core.memory_small_buffers,
                spare_buffers: core.memory_spare_buffers,
                tables: core.memory_tables,
                connections: core.memory_connections,
                streams: core.memory_streams,
            },
            time: Time::new(&core.noted, took),
        }
    }
}

impl Time {
    /// `None` if nothing was noted.
    fn new(noted: &Noted, took: Duration) -> Option<Time> {
        let total: u64 = noted.time_ns.values().sum();
        if total == 0 {
            return None;
        }
        let spent = |name: &str| noted.time_ns.get(name).copied().unwrap_or(0);
        let share = |ns: u64| ratio(ns) / ratio(total);
        let mean = |sum: u64, count: u64| ratio(sum) / ratio(count.max(1));
        // Waiting is noted once a second, so what was noted may be of a longer time than this.
        let waiting = noted.waiting_ns.min(spent("outside"));
        Some(Time {
            turns_per_second: ratio(noted.turns) / took.as_secs_f64().max(1e-9),
            events_per_turn: mean(noted.events, noted.turns),
            polls_per_turn: mean(noted.polls, noted.turns),
            bytes_per_read: mean(noted.read_bytes, noted.reads),
            bytes_per_write: mean(noted.write_bytes, noted.writes),
            receive: share(spent("receive")),
            wire: share(spent("wire")),
            handlers: share(spent("handlers")),
            transmit: share(spent("transmit")),
            tasks: share(spent("tasks")),
            outside: share(spent("outside") - waiting),
            waiting: share(waiting),
        })
    }
}

/// Goes over all figures: those that count, and those that are a level.
macro_rules! figures {
    ($into:ident, $from:ident, $count:expr, $level:expr) => {{
        for_each!($into, $from, $count; calls_ok, bytes_in, bytes_out, cpu_ns, noted.turns, noted.events, noted.polls,
            noted.reads, noted.read_bytes, noted.writes, noted.write_bytes, noted.waiting_ns);
        for_each!($into, $from, $level; connections_open, connections_dialed, calls_in_flight, calls_ready,
            buffers_awaited, mailbox_waiting, tasks_open, memory_receive_buffers, memory_small_buffers,
            memory_spare_buffers, memory_tables, memory_connections, memory_streams, memory_bytes);
        for (into, from) in [
            (&mut $into.calls_failed, &$from.calls_failed),
            (&mut $into.limits_hit, &$from.limits_hit),
            (&mut $into.noted.time_ns, &$from.noted.time_ns),
        ] {
            for (name, number) in from {
                $count(into.entry(name.clone()).or_default(), *number);
            }
        }
    }};
}

macro_rules! for_each {
    ($into:ident, $from:ident, $what:expr; $($($field:ident).+),*) => {
        $($what(&mut $into.$($field).+, $from.$($field).+);)*
    };
}

/// What was counted since; levels as they are now.
fn delta(from: &Core, to: &Core) -> Core {
    let mut core = to.clone();
    // A server that was started anew in between counts from 0.
    let subtract = |into: &mut u64, earlier: u64| *into = into.saturating_sub(earlier);
    let keep = |_: &mut u64, _: u64| ();
    figures!(core, from, subtract, keep);
    for (kind, spread) in &mut core.noted.calls_ns {
        if let Some(earlier) = from.noted.calls_ns.get(kind) {
            let earlier: BTreeMap<u64, u64> = earlier.buckets.iter().copied().collect();
            for (highest, count) in &mut spread.buckets {
                *count = count.saturating_sub(earlier.get(highest).copied().unwrap_or(0));
            }
        }
    }
    core
}

/// Adds one worker's figures to the sum.
fn add(sum: &mut Core, core: &Core) {
    let plus = |into: &mut u64, number: u64| *into = into.saturating_add(number);
    figures!(sum, core, plus, plus);
    for (kind, spread) in &core.noted.calls_ns {
        sum.noted.calls_ns.entry(kind.clone()).or_default().buckets.extend(&spread.buckets);
    }
}

/// The buckets of all, from low to high.
fn merged<'s>(spreads: impl Iterator<Item = &'s Spread>) -> BTreeMap<u64, u64> {
    let mut buckets = BTreeMap::new();
    for (highest, count) in spreads.flat_map(|spread| &spread.buckets) {
        let sum: &mut u64 = buckets.entry(*highest).or_default();
        *sum = sum.saturating_add(*count);
    }
    buckets
}

/// The value that this part of all values does not exceed; `None` of nothing.
fn quantile(buckets: &BTreeMap<u64, u64>, q: f64) -> Option<u64> {
    let total: u64 = buckets.values().fold(0, |sum, count| sum.saturating_add(*count));
    let rank = (ratio(total) * q).max(1.0);
    let mut below = 0_u64;
    buckets.iter().find_map(|(highest, count)| {
        below = below.saturating_add(*count);
        (ratio(below) >= rank).then_some(*highest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(cores: &str) -> Reading {
        let text = format!(
            "{{\"server\":\"corelane\",\"uptime_ns\":9000000000,\"profile\":\"on\",\"cores\":[{cores}]}}"
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn rates_and_quantiles_are_of_the_time_between() {
        let from = reading(
            r#"{"calls_ok":100,"calls_failed":{"internal":5},"noted":{"calls_ns":{"unary":{"buckets":[[10,50],[90,3]]}}}}"#,
        );
        let to = reading(
            r#"{"calls_ok":190,"calls_failed":{"internal":15},"connections_open":7,"cpu_ns":1000000000,
                "noted":{"calls_ns":{"unary":{"buckets":[[10,50],[20,97],[90,6]]}}}},
               {"calls_ok":300,"connections_open":1}"#,
        );
        let report = Report::new(&from, &to, Duration::from_secs(2));
        let [first, second] = &report.workers[..] else { panic!("two workers") };
        assert_eq!((first.calls_per_second, first.failures_per_second, first.cpu), (50.0, 5.0, 0.5));
        assert_eq!((first.p50_ns, first.p99_ns), (Some(20), Some(90)));
        assert_eq!((second.calls_per_second, second.p50_ns), (150.0, None));
        assert_eq!((report.total.calls_per_second, report.total.connections), (200.0, 8));
        assert_eq!((report.total.p99_ns, report.uptime_seconds), (Some(90), 9));
    }

    #[test]
    fn shares_add_up_and_waiting_is_a_part_of_outside() {
        let from = reading("{}");
        let to = reading(
            r#"{"noted":{"turns":10,"events":40,"writes":2,"write_bytes":300,"waiting_ns":500,
                "time_ns":{"outside":600,"receive":100,"wire":100,"handlers":150,"transmit":50}},
                "limits_hit":{"streams":2,"resets":0}}"#,
        );
        let report = Report::new(&from, &to, Duration::from_secs(1));
        let time = report.workers[0].time.as_ref().unwrap();
        assert_eq!((time.events_per_turn, time.bytes_per_write, time.bytes_per_read), (4.0, 150.0, 0.0));
        assert_eq!((time.waiting, time.outside, time.handlers), (0.5, 0.1, 0.15));
        assert_eq!(report.limits_hit.into_iter().collect::<Vec<_>>(), [("streams".to_owned(), 2)]);
        assert!(Report::new(&from, &from, Duration::from_secs(1)).total.time.is_none());
    }

    #[test]
    fn a_server_that_was_started_anew_is_no_disaster() {
        let (from, to) = (reading(r#"{"calls_ok":100}"#), reading(r#"{"calls_ok":3}"#));
        assert_eq!(Report::new(&from, &to, Duration::ZERO).total.calls_per_second, 0.0);
    }
}
