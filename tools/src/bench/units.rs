//! Numbers as people read them: three figures and a unit.
//!
//! Does not: parse (`args.rs` does), or write what machines read (`json.rs` does).

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "for show: 53 bits are more than anyone reads")]
pub(crate) const fn ratio(count: u64) -> f64 {
    count as f64
}

/// A number of nanoseconds: `850 ns`, `12.3 µs`, `1.25 ms`, `3.40 s`.
pub(crate) fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_500 => format!("{} µs", three(ratio(ns) / 1e3)),
        999_500..999_500_000 => format!("{} ms", three(ratio(ns) / 1e6)),
        _ => format!("{} s", three(ratio(ns) / 1e9)),
    }
}

/// A number of bytes a second, in powers of ten as networks count.
pub(crate) fn byte_rate(per_second: f64) -> String {
    match per_second {
        ..999.5 => format!("{per_second:.0} B/s"),
        ..999.5e3 => format!("{} kB/s", three(per_second / 1e3)),
        ..999.5e6 => format!("{} MB/s", three(per_second / 1e6)),
        _ => format!("{} GB/s", three(per_second / 1e9)),
    }
}

/// A whole number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number that is not negative: whole from 100 on, else with three figures.
pub(crate) fn rounded(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if number < 99.95 {
        return three(number);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and casts saturate"
    )]
    let whole = number.round() as u64;
    count(whole)
}

/// A part of a whole in percent: `0.12 %`; what is there is never `0 %`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let percent = ratio(part) * 100.0 / ratio(whole.max(1));
    match percent {
        _ if part == 0 => "0 %".to_owned(),
        ..0.01 => "< 0.01 %".to_owned(),
        ..10.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// Three figures of a number below a thousand.
fn three(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_figures_and_never_a_thousand_of_a_unit() {
        let shown: Vec<String> =
            [0, 999, 1_000, 12_345, 999_499, 999_500, 1_250_000, 99_949_999, 3_400_000_000]
                .into_iter()
                .map(duration)
                .collect();
        assert_eq!(
            shown,
            ["0 ns", "999 ns", "1.00 µs", "12.3 µs", "999 µs", "1.00 ms", "1.25 ms", "99.9 ms", "3.40 s"]
        );
    }

    #[test]
    fn rates_shares_and_counts_are_short() {
        assert_eq!(byte_rate(0.0), "0 B/s");
        assert_eq!(byte_rate(12_340.0), "12.3 kB/s");
        assert_eq!(byte_rate(999_600.0), "1.00 MB/s");
        assert_eq!(byte_rate(2.5e9), "2.50 GB/s");
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [rounded(0.0), rounded(1.234), rounded(99.96), rounded(51_234.4)],
            ["0", "1.23", "100", "51,234"]
        );
        assert_eq!(
            [share(0, 0), share(1, 1_000_000), share(1, 800), share(1, 2)],
            ["0 %", "< 0.01 %", "0.12 %", "50.0 %"]
        );
    }
}
