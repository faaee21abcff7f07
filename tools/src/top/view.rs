//! A view as text: three tables, one row for each worker and one for all.
//!
//! Does not: know whether a terminal or a file takes it.

use std::fmt::Write as _;

use crate::bench::units::{byte_rate, duration, ratio, rounded};
use crate::top::report::{Report, Row};

/// The whole view.
pub(crate) fn text(report: &Report, address: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "corelane {} at {address}, {}, {} workers, up {}, profile {}\n",
        report.version,
        report.backend,
        report.workers.len(),
        uptime(report.uptime_seconds),
        report.profile,
    );
    text.push_str(&work(report));
    text.push('\n');
    match &report.total.time {
        Some(_) => text.push_str(&time(report)),
        None => text.push_str("where the time goes: start with --profile to see it\n"),
    }
    text.push('\n');
    text.push_str(&memory(report));
    if !report.limits_hit.is_empty() {
        let hits: Vec<String> =
            report.limits_hit.iter().map(|(name, hits)| format!("{name} {hits}")).collect();
        let _ = writeln!(text, "\nlimits hit: {}", hits.join(", "));
    }
    printable(&text)
}

/// The text without what would command a terminal: some of it is what a foreign program says of itself.
pub(crate) fn printable(text: &str) -> String {
    let is_command = |letter: char| letter.is_control() && letter != '\n';
    text.chars().map(|letter| if is_command(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// What is being done.
fn work(report: &Report) -> String {
    let columns = [
        "worker",
        "calls/s",
        "errors/s",
        "p50",
        "p99",
        "connections",
        "calls",
        "tasks",
        "ready",
        "mailbox",
        "no buffer",
        "in",
        "out",
        "cpu",
    ];
    let quantile = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
    table(&columns, report, |row| {
        vec![
            rounded(row.calls_per_second),
            rounded(row.failures_per_second),
            quantile(row.p50_ns),
            quantile(row.p99_ns),
            row.connections.to_string(),
            row.calls.to_string(),
            row.tasks.to_string(),
            row.calls_ready.to_string(),
            row.mailbox_waiting.to_string(),
            row.buffers_awaited.to_string(),
            byte_rate(row.bytes_in_per_second),
            byte_rate(row.bytes_out_per_second),
            percent(row.cpu),
        ]
    })
}

/// Where the time goes.
fn time(report: &Report) -> String {
    let columns = [
        "worker",
        "turns/s",
        "events/turn",
        "polls/turn",
        "B/read",
        "B/write",
        "receive",
        "wire",
        "handlers",
        "transmit",
        "tasks",
        "outside",
        "parked",
    ];
    table(&columns, report, |row| {
        let Some(time) = &row.time else { return vec!["-".to_owned(); columns.len() - 1] };
        let batches = [
            time.turns_per_second,
            time.events_per_turn,
            time.polls_per_turn,
            time.bytes_per_read,
            time.bytes_per_write,
        ];
        let shares =
            [time.receive, time.wire, time.handlers, time.transmit, time.tasks, time.outside, time.waiting];
        batches.into_iter().map(rounded).chain(shares.into_iter().map(percent)).collect()
    })
}

/// Who holds how much.
fn memory(report: &Report) -> String {
    let columns = [
        "worker",
        "memory",
        "receive buffers",
        "small buffers",
        "spare buffers",
        "tables",
        "connections",
        "streams",
    ];
    table(&columns, report, |row| {
        let memory = &row.memory;
        let parts = [
            memory.total,
            memory.receive_buffers,
            memory.small_buffers,
            memory.spare_buffers,
            memory.tables,
            memory.connections,
            memory.streams,
        ];
        parts.map(bytes).to_vec()
    })
}

/// Right-aligned columns; the last row is that of all workers, where there are several.
fn table(columns: &[&str], report: &Report, cells: impl Fn(&Row) -> Vec<String>) -> String {
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|&column| column.to_owned()).collect()];
    let workers = report.workers.iter().enumerate().map(|(index, row)| (index.to_string(), row));
    let total = (report.workers.len() != 1).then(|| ("all".to_owned(), &report.total));
    for (name, row) in workers.chain(total) {
        let mut line = vec![name];
        line.extend(cells(row));
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  "));
    }
    text
}

/// `37.5 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Powers of two, as memory is counted.
fn bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", ratio(bytes) / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", ratio(bytes) / 1_048_576.0),
        _ => format!("{:.2} GiB", ratio(bytes) / 1_073_741_824.0),
    }
}

/// The two largest units.
fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::model::Reading;
    use std::time::Duration;

    #[test]
    fn what_a_stranger_says_does_not_command_the_terminal() {
        assert_eq!(printable("1.2\u{1b}]52;c;x\u{7}\r\nend"), "1.2\u{fffd}]52;c;x\u{fffd}\u{fffd}\nend");
    }

    fn view(from: &str, to: &str) -> String {
        let reading = |cores: &str| -> Reading {
            let head = r#""server":"corelane","version":"1.2.3","backend":"uring","uptime_ns":75000000000"#;
            serde_json::from_str(&format!("{{{head},\"profile\":\"on\",\"cores\":[{cores}]}}")).unwrap()
        };
        text(&Report::new(&reading(from), &reading(to), Duration::from_secs(1)), "here")
    }

    #[test]
    fn a_view_has_a_row_for_each_worker_and_one_for_all() {
        let text =
            view("{},{}", r#"{"calls_ok":12345,"connections_open":3},{"calls_ok":1,"memory_tables":2048}"#);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "corelane 1.2.3 at here, uring, 2 workers, up 1 min 15 s, profile on");
        assert!(lines[2].contains("calls/s") && lines[2].contains("p99"), "{text}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[3])[..6], ["0", "12,345", "0", "-", "-", "3"]);
        assert_eq!(words(lines[5])[..2], ["all", "12,346"]);
        assert!(text.contains("start with --profile"), "{text}");
        assert!(text.contains("2.0 KiB"), "{text}");
        let lens: Vec<usize> = lines[2..6].iter().map(|line| line.chars().count()).collect();
        assert!(lens.iter().all(|len| *len == lens[0]), "{text}");
    }

    #[test]
    fn one_worker_needs_no_sum_and_a_profile_has_its_table() {
        let to = r#"{"noted":{"turns":10,"events":40,"time_ns":{"outside":500,"wire":500},"waiting_ns":250},
            "limits_hit":{"streams":2}}"#;
        let text = view("{}", to);
        assert!(!text.lines().any(|line| line.trim_start().starts_with("all ")), "{text}");
        assert!(text.contains("events/turn") && text.contains("25.0 %"), "{text}");
        assert!(text.ends_with("\nlimits hit: streams 2\n"), "{text}");
    }

    #[test]
    fn sizes_and_times_are_as_people_read_them() {
        assert_eq!(
            [0, 17, 1_536, 3 << 20, 5 << 30].map(bytes),
            ["0", "17 B", "1.5 KiB", "3.0 MiB", "5.00 GiB"]
        );
        assert_eq!([9, 61, 7_260, 90_000].map(uptime), ["9 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"]);
    }
}
