//! `--report`: one page with plots and tables, which needs no network, no script and no other file.
//!
//! Does not: compute. Everything from outside (the target, the flags, a server's texts) is escaped.

mod axis;
mod escape;
mod plots;
mod svg;

use crate::bench::report::escape::Escaped;
use crate::bench::report::plots::Plot;
use crate::bench::summary::{PERCENTILES, Summary};
use crate::bench::text::{load, seconds};
use crate::bench::units::{self, byte_rate, count, duration, rounded};

const STYLE: &str = include_str!("style.css");

/// The page.
pub(crate) fn page(summary: &Summary) -> String {
    let plots = [plots::percentiles(summary), plots::latency_over_time(summary), plots::throughput(summary)];
    let parts = [
        header(summary),
        warnings(summary),
        tiles(summary),
        plots.iter().flatten().map(figure).collect(),
        format!("<div class=\"pair\">\n{}{}</div>\n", latency(summary), parameters(summary)),
        status(summary),
        footer(summary),
    ];
    let title = Escaped(&summary.setup.method).to_string();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} under load</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        parts.concat()
    )
}

fn header(summary: &Summary) -> String {
    let setup = &summary.setup;
    format!(
        "<header>\n<h1>{}</h1>\n<p>{} · {}<br>{}</p>\n</header>\n",
        Escaped(&setup.method),
        Escaped(&setup.target),
        Escaped(&load(summary)),
        date(setup.started_unix_ms)
    )
}

/// What a reader must know before believing the figures.
fn warnings(summary: &Summary) -> String {
    let mut texts = Vec::new();
    if summary.not_sent > 0 {
        texts.push(format!(
            "{} calls were due and never sent, because the backlog was full or the time over. Target or client cannot keep \
             up with the rate, and the latencies do not include these calls.",
            count(summary.not_sent)
        ));
    }
    if summary.unfinished > 0 {
        texts.push(format!(
            "{} calls had no answer when the waiting ended; they are in no figure.",
            count(summary.unfinished)
        ));
    }
    texts.iter().map(|text| format!("<p class=\"warn\">{text}</p>\n")).collect()
}

fn tiles(summary: &Summary) -> String {
    let percentile = |index: usize| match summary.succeeded {
        0 => "–".to_owned(),
        _ => duration(summary.latency.percentiles_ns[index]),
    };
    let errors = format!("{} ({})", count(summary.failed), units::share(summary.failed, summary.calls()));
    let tile =
        |name: &str, value: String| format!("<div class=\"tile\"><span>{name}</span><b>{value}</b></div>\n");
    let tiles = [
        tile("Calls a second", rounded(summary.per_second(summary.succeeded))),
        tile("Median latency", percentile(0)),
        tile("99th percentile", percentile(4)),
        tile("99.9th percentile", percentile(5)),
        tile("Calls", count(summary.calls())),
        if summary.failed > 0 {
            tile("Errors", errors).replacen("tile", "tile bad", 1)
        } else {
            tile("Errors", "0".to_owned())
        },
        tile("Sent and received", byte_rate(summary.per_second(summary.traffic.bytes()))),
        tile("Client CPU for a call", duration(summary.cpu_per_call_ns)),
    ];
    format!("<div class=\"tiles\">\n{}</div>\n", tiles.concat())
}

fn figure(plot: &Plot) -> String {
    let legend: String = plot
        .legend
        .iter()
        .map(|(class, words)| format!("<span><i class=\"{class}\"></i>{words}</span>"))
        .collect();
    format!(
        "<figure class=\"card\" style=\"margin-inline:0\">\n<figcaption><h2>{}</h2><small>{}</small><div class=\"legend\">{legend}</div></figcaption>\n{}</figure>\n",
        plot.title, plot.note, plot.svg
    )
}

fn row(name: &str, value: &str) -> String {
    format!("<tr><th>{}</th><td class=\"n\">{}</td></tr>\n", Escaped(name), Escaped(value))
}

fn latency(summary: &Summary) -> String {
    let latency = &summary.latency;
    let mut rows = vec![row("min", &duration(latency.min_ns)), row("mean", &duration(latency.mean_ns))];
    let percentiles = PERCENTILES.iter().zip(latency.percentiles_ns);
    rows.extend(percentiles.map(|(percent, ns)| row(&format!("{percent} %"), &duration(ns))));
    rows.push(row("max", &duration(latency.max_ns)));
    if let Some(late) = summary.lateness {
        rows.push(row("sent late, median", &duration(late.p50_ns)));
        rows.push(row("sent late, 99 %", &duration(late.p99_ns)));
        rows.push(row("sent late, max", &duration(late.max_ns)));
    }
    format!("<section class=\"card\">\n<h2>Latency</h2>\n<table>\n{}</table>\n</section>\n", rows.concat())
}

fn parameters(summary: &Summary) -> String {
    let setup = &summary.setup;
    let mut rows = vec![
        row(
            "rate",
            &setup.rate.map_or("as fast as answered".to_owned(), |rate| format!("{} calls/s", count(rate))),
        ),
        row("connections", &count(setup.connections.into())),
        row("streams on each", &count(setup.streams.into())),
        row("workers", &setup.workers.to_string()),
        row("warm-up", &seconds(setup.warm_up.as_secs_f64())),
        row("measured for", &seconds(summary.elapsed.as_secs_f64())),
    ];
    rows.extend(setup.calls.map(|calls| row("calls", &count(calls))));
    rows.extend(setup.deadline.map(|deadline| row("deadline", &seconds(deadline.as_secs_f64()))));
    rows.extend(setup.details.iter().map(|(name, value)| row(name, value)));
    let traffic = &summary.traffic;
    rows.push(row("messages sent", &count(traffic.messages_sent)));
    rows.push(row("messages received", &count(traffic.messages_received)));
    rows.push(row("sent", &byte_rate(summary.per_second(traffic.bytes_sent))));
    rows.push(row("received", &byte_rate(summary.per_second(traffic.bytes_received))));
    format!("<section class=\"card\">\n<h2>Load</h2>\n<table>\n{}</table>\n</section>\n", rows.concat())
}

fn status(summary: &Summary) -> String {
    let row = |code: &str, number: u64, mean: u64, max: u64, text: &str| {
        format!(
            "<tr><td>{code}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"text\">{}</td></tr>\n",
            count(number),
            units::share(number, summary.calls()),
            duration(mean),
            duration(max),
            Escaped(text)
        )
    };
    let latency = &summary.latency;
    let mut rows = vec![row("OK", summary.succeeded, latency.mean_ns, latency.max_ns, "")];
    rows.extend(summary.failures.iter().map(|failed| {
        row(failed.code, failed.count, failed.latency_mean_ns, failed.latency_max_ns, &failed.text)
    }));
    format!(
        "<section class=\"card\">\n<h2>Status</h2>\n<table>\n<tr><th>code</th><th class=\"n\">calls</th>\
         <th class=\"n\">share</th><th class=\"n\">mean</th><th class=\"n\">max</th><th>{}</th></tr>\n{}</table>\n</section>\n",
        if summary.failures.is_empty() { "" } else { "first message" },
        rows.concat()
    )
}

fn footer(summary: &Summary) -> String {
    let from = match summary.setup.rate {
        Some(_) => "the time at which each call was to be sent, whether or not it could be,",
        None => "the sending of each call",
    };
    format!(
        "<footer>Latencies are those of calls that succeeded, from {from} to the arrival of its status. \
         The warm-up is in no figure. Bytes are those of encoded messages. Made by corelane bench {}.</footer>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// A time in UTC, to the second.
fn date(unix_ms: u64) -> String {
    let (days, seconds) = (unix_ms / 86_400_000, unix_ms / 1_000 % 86_400);
    // Years from March on end with the leap day, and 400 of them are 146,097 days, whatever year it is.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::tests::sample;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&sample());
        for reference in
            ["http:", "https:", "//", "<script", "<link", "<img", "src=", "href=", "url(", "@import"]
        {
            assert!(!page.contains(reference), "{reference}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
    }

    #[test]
    fn what_a_server_or_a_user_wrote_is_text() {
        let mut summary = sample();
        summary.setup.target = "</style><script>alert(1)</script>".to_owned();
        let page = page(&summary);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(page.contains("&lt;the server&gt; &quot;went&quot; away"));
    }

    #[test]
    fn every_element_is_closed() {
        let page = page(&sample());
        for element in [
            "div", "section", "table", "tr", "td", "th", "svg", "text", "figure", "p", "main", "rect", "span",
        ] {
            let open =
                page.matches(&format!("<{element} ")).count() + page.matches(&format!("<{element}>")).count();
            assert_eq!(open, page.matches(&format!("</{element}>")).count(), "{element}");
        }
    }

    #[test]
    fn doubts_stand_at_the_top() {
        let mut summary = sample();
        assert!(page(&summary).contains("<p class=\"warn\">3 calls were due and never sent"));
        (summary.not_sent, summary.unfinished) = (0, 0);
        assert!(!page(&summary).contains("class=\"warn\""));
    }

    #[test]
    fn a_run_of_nothing_is_a_page_too() {
        let mut summary = sample();
        (summary.succeeded, summary.failed) = (0, 0);
        summary.slots.clear();
        summary.latency = Default::default();
        assert_eq!(page(&summary).matches("<svg").count(), 0);
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_709_251_199_999), "2024-02-29 23:59:59 UTC");
        assert_eq!(date(1_800_000_000_000), "2027-01-15 08:00:00 UTC");
        assert_eq!(date(4_107_542_400_000), "2100-03-01 00:00:00 UTC");
    }
}
