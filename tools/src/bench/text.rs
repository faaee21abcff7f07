//! The summary for people, on a terminal.
//!
//! Does not: compute, or colour.

use std::fmt::{self, Display, Formatter};

use crate::bench::summary::{PERCENTILES, Summary};
use crate::bench::units::{self, byte_rate, count, duration, rounded};

/// Shows a [`Summary`].
#[derive(Debug)]
pub(crate) struct Text<'a>(pub(crate) &'a Summary);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        writeln!(f, "{} at {}", summary.setup.method, summary.setup.target)?;
        writeln!(f, "{}\n", load(summary))?;
        totals(f, summary)?;
        latency(f, summary)?;
        status(f, summary)
    }
}

/// How the load was made, in one line.
pub(crate) fn load(summary: &Summary) -> String {
    let setup = &summary.setup;
    let pace = match setup.rate {
        Some(rate) => format!("open loop at {} calls/s", count(rate)),
        None => "closed loop".to_owned(),
    };
    let plural =
        |number: u64, what: &str| format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" });
    let workers = u64::try_from(setup.workers).expect("workers are few");
    let mut line = format!(
        "{pace}, {}, {} each, {}",
        plural(setup.connections.into(), "connection"),
        plural(setup.streams.into(), "stream"),
        plural(workers, "worker"),
    );
    if !setup.warm_up.is_zero() {
        line.push_str(&format!(", after {} of warm-up", seconds(setup.warm_up.as_secs_f64())));
    }
    line
}

/// A number of seconds, to the millisecond, without needless zeros.
pub(crate) fn seconds(seconds: f64) -> String {
    let text = format!("{seconds:.3}");
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

fn totals(f: &mut Formatter<'_>, summary: &Summary) -> fmt::Result {
    let rows = [
        ("calls", count(summary.calls())),
        ("time", seconds(summary.elapsed.as_secs_f64())),
        ("rate", format!("{} calls/s", rounded(summary.per_second(summary.succeeded)))),
        ("sent", byte_rate(summary.per_second(summary.traffic.bytes_sent))),
        ("received", byte_rate(summary.per_second(summary.traffic.bytes_received))),
        ("client CPU", format!("{} a call", duration(summary.cpu_per_call_ns))),
    ];
    for (name, value) in rows {
        writeln!(f, "  {name:<12}{value:>16}")?;
    }
    for (name, number) in [("not sent", summary.not_sent), ("unfinished", summary.unfinished)] {
        if number > 0 {
            writeln!(f, "  {name:<12}{:>16}", count(number))?;
        }
    }
    Ok(())
}

fn latency(f: &mut Formatter<'_>, summary: &Summary) -> fmt::Result {
    if summary.succeeded == 0 {
        return writeln!(f, "\nNo call succeeded, so there are no latencies.");
    }
    let from = if summary.setup.rate.is_some() { ", from the intended time" } else { "" };
    writeln!(f, "\nLatency{from}")?;
    let latency = &summary.latency;
    let mut row = |name: &str, ns| writeln!(f, "  {name:<12}{:>16}", duration(ns));
    row("min", latency.min_ns)?;
    row("mean", latency.mean_ns)?;
    for (percent, ns) in PERCENTILES.iter().zip(latency.percentiles_ns) {
        row(&format!("p{percent}"), ns)?;
    }
    row("max", latency.max_ns)?;
    if let Some(late) = summary.lateness {
        let [p50, p99, max] = [late.p50_ns, late.p99_ns, late.max_ns].map(duration);
        writeln!(f, "Sent late by p50 {p50}, p99 {p99}, max {max}")?;
    }
    Ok(())
}

fn status(f: &mut Formatter<'_>, summary: &Summary) -> fmt::Result {
    writeln!(f, "\nStatus")?;
    let share = |number| units::share(number, summary.calls());
    let mut row = |code: &str, number| writeln!(f, "  {code:<20}{:>14}  {:>8}", count(number), share(number));
    row("OK", summary.succeeded)?;
    for failed in &summary.failures {
        row(failed.code, failed.count)?;
    }
    if !summary.failures.is_empty() {
        writeln!(f, "\nErrors, the first of each code")?;
    }
    for failed in &summary.failures {
        writeln!(f, "  {}: {}", failed.code, failed.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::tests::sample;

    #[test]
    fn people_see_figures_in_columns() {
        assert_eq!(Text(&sample()).to_string(), include_str!("text.golden.txt"));
    }

    #[test]
    fn seconds_have_no_needless_zeros() {
        assert_eq!([seconds(10.0), seconds(0.25), seconds(30.0004)], ["10 s", "0.25 s", "30 s"]);
    }

    #[test]
    fn a_run_without_success_says_so() {
        let mut summary = sample();
        summary.succeeded = 0;
        assert!(Text(&summary).to_string().contains("\nNo call succeeded, so there are no latencies.\n"));
    }
}
