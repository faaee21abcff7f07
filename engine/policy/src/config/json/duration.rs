//! Durations as protobuf's JSON writes them: decimal seconds with an `s` behind (`google.protobuf.Duration`).

use std::time::Duration;

/// Ten thousand years, the most that protobuf allows.
const SECONDS_MAX: u64 = 315_576_000_000;
/// Nanoseconds are the finest that protobuf knows.
const DECIMALS_MAX: usize = 9;

/// Reads `1s`, `1.5s` or `.5s`, and nothing else; the last is how gRFC A6 writes its examples.
///
/// # Errors
///
/// What it must be.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "must be seconds such as \"1.5s\"";
    if text.starts_with('-') {
        return Err("must not be negative");
    }
    let number = text.strip_suffix('s').ok_or(FORM)?;
    let (whole, decimals) = match number.split_once('.') {
        Some((whole, decimals)) if is_digits(decimals) => (whole, decimals),
        None if !number.is_empty() => (number, ""),
        _ => return Err(FORM),
    };
    if !whole.is_empty() && !is_digits(whole) {
        return Err(FORM);
    }
    if decimals.len() > DECIMALS_MAX {
        return Err("must have at most 9 decimals");
    }
    let digits = whole.trim_start_matches('0');
    // All digits, so that the only way to fail is to be too large.
    let seconds = if digits.is_empty() { Ok(0) } else { digits.parse() };
    let seconds = seconds.ok().filter(|seconds| *seconds <= SECONDS_MAX);
    let seconds = seconds.ok_or("must be at most 315576000000 seconds")?;
    let nanos =
        format!("{decimals:0<DECIMALS_MAX$}").parse().expect("nine digits are no more than u32 holds");
    Ok(Duration::new(seconds, nanos))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_with_up_to_nine_decimals_are_read() {
        for (text, seconds, nanos) in [
            ("0s", 0, 0),
            ("1s", 1, 0),
            ("1.5s", 1, 500_000_000),
            (".1s", 0, 100_000_000),
            ("0.000000001s", 0, 1),
            ("007.0100s", 7, 10_000_000),
            ("315576000000.999999999s", SECONDS_MAX, 999_999_999),
        ] {
            assert_eq!(parse(text), Ok(Duration::new(seconds, nanos)), "{text}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        let form = "must be seconds such as \"1.5s\"";
        let large = "must be at most 315576000000 seconds";
        for (text, expected) in [
            ("", form),
            ("s", form),
            (".s", form),
            ("1.s", form),
            ("1", form),
            ("1.5", form),
            ("1ms", form),
            ("1m", form),
            ("+1s", form),
            (" 1s", form),
            ("1s ", form),
            ("1.5.5s", form),
            ("1.-5s", form),
            ("1e3s", form),
            ("0x1s", form),
            ("\u{0661}s", form),
            ("-1s", "must not be negative"),
            ("-0s", "must not be negative"),
            ("1.0000000001s", "must have at most 9 decimals"),
            ("315576000001s", large),
            ("99999999999999999999999999s", large),
        ] {
            assert_eq!(parse(text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0..=SECONDS_MAX, nanos in 0..1_000_000_000_u32) {
            let text = format!("{seconds}.{nanos:09}s");
            prop_assert_eq!(parse(&text), Ok(Duration::new(seconds, nanos)));
        }
    }
}
