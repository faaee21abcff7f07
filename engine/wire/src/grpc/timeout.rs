//! `grpc-timeout`: at most eight digits and a unit (PROTOCOL-HTTP2.md, "Requests").

use alloc::vec::Vec;
use core::time::Duration;

const DIGITS_MAX: usize = 8;
const VALUE_MAX: u128 = 99_999_999;
/// The units in nanoseconds.
const NANO: u64 = 1;
const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// The units and their letters, finest first.
const UNITS: [(u8, u64); 6] =
    [(b'n', NANO), (b'u', MICRO), (b'm', MILLI), (b'S', SECOND), (b'M', MINUTE), (b'H', HOUR)];

/// Reads a timeout; `None` if it is malformed. One beyond the range of a `Duration` in nanoseconds is the longest there is.
///
/// ```
/// use core::time::Duration;
/// use corelane_wire::grpc::timeout;
///
/// assert_eq!(timeout::parse(b"250m"), Some(Duration::from_millis(250)));
/// assert_eq!(timeout::parse(b"1 S"), None);
/// ```
#[must_use]
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut amount = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        amount = amount * 10 + u64::from(digit);
    }
    let nanos = match unit {
        b'n' => NANO,
        b'u' => MICRO,
        b'm' => MILLI,
        b'S' => SECOND,
        b'M' => MINUTE,
        b'H' => HOUR,
        _ => return None,
    };
    Some(Duration::from_nanos(amount.saturating_mul(nanos)))
}

/// Appends a timeout in the finest unit that eight digits allow, rounded up, so that the peer never gives up first.
pub fn format(timeout: Duration, out: &mut Vec<u8>) {
    let nanos = timeout.as_nanos();
    for (letter, unit) in UNITS {
        let amount = nanos.div_ceil(u128::from(unit));
        if amount <= VALUE_MAX {
            return write(amount, letter, out);
        }
    }
    write(VALUE_MAX, b'H', out);
}

fn write(amount: u128, letter: u8, out: &mut Vec<u8>) {
    let mut digits = [b'0'; DIGITS_MAX];
    let mut rest = amount;
    let mut first = DIGITS_MAX - 1;
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit += (rest % 10) as u8;
        if *digit != b'0' {
            first = place;
        }
        rest /= 10;
    }
    out.extend_from_slice(&digits[first..]);
    out.push(letter);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_timeouts_are_refused() {
        for bad in ["", "1", "S", "123456789S", "-1S", "+1S", "1s", "1 S", "1.5S", "1SS", "\u{0661}S"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn every_unit_is_read_and_the_largest_does_not_overflow() {
        for (text, nanos) in [("1n", 1), ("2u", 2_000), ("3m", 3_000_000), ("00000004S", 4_000_000_000)] {
            assert_eq!(parse(text.as_bytes()), Some(Duration::from_nanos(nanos)));
        }
        assert_eq!(parse(b"5M"), Some(Duration::from_secs(300)));
        assert_eq!(parse(b"6H"), Some(Duration::from_secs(21_600)));
        assert_eq!(parse(b"99999999H"), Some(Duration::from_nanos(u64::MAX)));
    }

    fn formatted(timeout: Duration) -> Vec<u8> {
        let mut out = Vec::new();
        format(timeout, &mut out);
        out
    }

    #[test]
    fn the_finest_unit_that_fits_is_taken() {
        for (timeout, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(1), "1000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666667M"),
            (Duration::from_secs(6_000_000_000), "1666667H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(formatted(timeout), text.as_bytes());
        }
    }

    #[test]
    fn zero_is_read_since_clients_send_it_when_it_is_too_late() {
        assert_eq!(parse(b"0n"), Some(Duration::ZERO));
        assert_eq!(parse(b"00000000H"), Some(Duration::ZERO));
    }

    proptest! {
        // A unit is left when eight digits no longer do, and the next one is at most a thousand times as coarse: at least
        // five digits are left. All magnitudes get their share of the cases.
        #[test]
        fn what_is_written_is_read_and_never_shorter(nanos: u64, shift in 1..64_u32) {
            let timeout = Duration::from_nanos(nanos >> shift);
            let read = parse(&formatted(timeout)).unwrap();
            prop_assert!(read >= timeout);
            prop_assert!(read - timeout <= timeout / 100_000);
        }
    }
}
