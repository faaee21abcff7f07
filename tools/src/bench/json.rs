//! `--json`: the summary for machines.
//!
//! The schema is named in the first field and documented by the structs below. Fields may be added to it; none is renamed,
//! removed or given another unit under the same name. What was not asked for, or did not happen, is `null`.
//!
//! Does not: compute. Times are nanoseconds (`_ns`) or seconds (`_seconds`), sizes bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::bench::recorder::Traffic;
use crate::bench::summary::{Lateness, PERCENTILES, Point, Summary};

/// The name of this schema.
const SCHEMA: &str = "corelane.bench/1";

/// A run.
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    target: &'a str,
    /// `package.Service/Method`.
    method: &'a str,
    started_unix_ms: u64,
    parameters: Parameters<'a>,
    /// The measured time, without the warm-up.
    elapsed_seconds: f64,
    calls: Calls,
    /// Of calls that succeeded.
    calls_per_second: f64,
    traffic: Messages,
    /// Of calls that succeeded, from the time they were intended for.
    latency_ns: Latency,
    /// How late calls were sent; `null` in a closed loop.
    lateness_ns: Option<Late>,
    /// How calls ended, OK first, then by number of the code.
    status: Vec<Status<'a>>,
    /// Processor time of the client's workers, kernel time included.
    cpu_ns_per_call: u64,
    series: Series,
}

#[derive(Debug, Serialize)]
struct Parameters<'a> {
    /// `closed`, or `open` for a fixed rate.
    mode: &'static str,
    rate: Option<u64>,
    connections: u32,
    streams: u32,
    workers: usize,
    warm_up_seconds: f64,
    duration_seconds: Option<f64>,
    calls: Option<u64>,
    deadline_seconds: Option<f64>,
    /// The other flags, for people.
    details: BTreeMap<&'a str, &'a str>,
}

#[derive(Debug, Serialize)]
struct Calls {
    /// Those that ended: succeeded or failed.
    total: u64,
    succeeded: u64,
    failed: u64,
    /// Came due at the fixed rate and were given up because the backlog was full or time was up.
    not_sent: u64,
    /// Had no answer when the waiting ended.
    unfinished: u64,
}

/// Encoded messages, without frames and headers.
#[derive(Debug, Serialize)]
struct Messages {
    messages_sent: u64,
    messages_received: u64,
    bytes_sent: u64,
    bytes_received: u64,
    bytes_sent_per_second: f64,
    bytes_received_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Latency {
    min: u64,
    mean: u64,
    standard_deviation: f64,
    max: u64,
    percentiles: Vec<Percentile>,
}

#[derive(Debug, Serialize)]
struct Percentile {
    percent: f64,
    ns: u64,
}

#[derive(Debug, Serialize)]
struct Late {
    p50: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    code: &'a str,
    count: u64,
    latency_mean_ns: u64,
    latency_max_ns: u64,
    /// What the first of them said; `null` for OK.
    text: Option<&'a str>,
}

/// What ended in each interval of the measured time. The last interval ends with the run, which makes it from a quarter to
/// five quarters as long as the others.
#[derive(Debug, Serialize)]
struct Series {
    interval_seconds: f64,
    points: Vec<Interval>,
}

#[derive(Debug, Serialize)]
struct Interval {
    /// Those that succeeded.
    calls: u64,
    errors: u64,
    /// Of messages, both ways.
    bytes: u64,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    max_ns: Option<u64>,
}

/// The document, indented, with a newline at its end.
pub(crate) fn write(summary: &Summary) -> String {
    let mut text =
        serde_json::to_string_pretty(&document(summary)).expect("keys are strings, numbers finite");
    text.push('\n');
    text
}

fn document(summary: &Summary) -> Document<'_> {
    let setup = &summary.setup;
    Document {
        schema: SCHEMA,
        target: &setup.target,
        method: &setup.method,
        started_unix_ms: setup.started_unix_ms,
        parameters: parameters(summary),
        elapsed_seconds: summary.elapsed.as_secs_f64(),
        calls: Calls {
            total: summary.calls(),
            succeeded: summary.succeeded,
            failed: summary.failed,
            not_sent: summary.not_sent,
            unfinished: summary.unfinished,
        },
        calls_per_second: summary.per_second(summary.succeeded),
        traffic: messages(summary),
        latency_ns: latency(summary),
        lateness_ns: summary.lateness.map(|Lateness { p50_ns, p99_ns, max_ns }| Late {
            p50: p50_ns,
            p99: p99_ns,
            max: max_ns,
        }),
        status: status(summary),
        cpu_ns_per_call: summary.cpu_per_call_ns,
        series: Series {
            interval_seconds: summary.slot_width.as_secs_f64(),
            points: summary.slots.iter().map(interval).collect(),
        },
    }
}

fn parameters(summary: &Summary) -> Parameters<'_> {
    let setup = &summary.setup;
    Parameters {
        mode: if setup.rate.is_some() { "open" } else { "closed" },
        rate: setup.rate,
        connections: setup.connections,
        streams: setup.streams,
        workers: setup.workers,
        warm_up_seconds: setup.warm_up.as_secs_f64(),
        duration_seconds: setup.duration.as_ref().map(Duration::as_secs_f64),
        calls: setup.calls,
        deadline_seconds: setup.deadline.as_ref().map(Duration::as_secs_f64),
        details: setup.details.iter().map(|(name, value)| (*name, value.as_str())).collect(),
    }
}

fn messages(summary: &Summary) -> Messages {
    let Traffic { messages_sent, messages_received, bytes_sent, bytes_received } = summary.traffic;
    Messages {
        messages_sent,
        messages_received,
        bytes_sent,
        bytes_received,
        bytes_sent_per_second: summary.per_second(bytes_sent),
        bytes_received_per_second: summary.per_second(bytes_received),
    }
}

fn latency(summary: &Summary) -> Latency {
    let latency = &summary.latency;
    let percentiles = PERCENTILES.iter().zip(latency.percentiles_ns);
    Latency {
        min: latency.min_ns,
        mean: latency.mean_ns,
        standard_deviation: latency.deviation_ns,
        max: latency.max_ns,
        percentiles: percentiles.map(|(percent, ns)| Percentile { percent: *percent, ns }).collect(),
    }
}

fn status(summary: &Summary) -> Vec<Status<'_>> {
    let succeeded = Status {
        code: "OK",
        count: summary.succeeded,
        latency_mean_ns: summary.latency.mean_ns,
        latency_max_ns: summary.latency.max_ns,
        text: None,
    };
    let failed = summary.failures.iter().map(|failed| Status {
        code: failed.code,
        count: failed.count,
        latency_mean_ns: failed.latency_mean_ns,
        latency_max_ns: failed.latency_max_ns,
        text: Some(&failed.text),
    });
    std::iter::once(succeeded).chain(failed).collect()
}

fn interval(point: &Point) -> Interval {
    Interval {
        calls: point.calls,
        errors: point.errors,
        bytes: point.bytes,
        p50_ns: point.latency.map(|latency| latency.p50_ns),
        p99_ns: point.latency.map(|latency| latency.p99_ns),
        max_ns: point.latency.map(|latency| latency.max_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::tests::sample;

    #[test]
    fn the_schema_is_what_was_promised() {
        // Change this only by adding fields.
        assert_eq!(write(&sample()), include_str!("json.golden.json"));
    }
}
