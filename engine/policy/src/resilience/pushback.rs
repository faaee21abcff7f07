//! What a server says about trying again: `grpc-retry-pushback-ms` (gRFC A6, "Pushback").
//!
//! Does not: decide. Only the trailers of a Trailers-Only response are worth handing in; a call with response headers
//! is committed anyway.

use std::time::Duration;

/// The name of the metadata.
pub const PUSHBACK_NAME: &str = "grpc-retry-pushback-ms";

/// A server's wish for the next attempt.
///
/// ```
/// use corelane_policy::resilience::Pushback;
/// use std::time::Duration;
///
/// assert_eq!(Pushback::parse(b"250"), Pushback::After(Duration::from_millis(250)));
/// assert_eq!(Pushback::parse(b"-1"), Pushback::Never);
/// assert_eq!(Pushback::parse(b"soon"), Pushback::Never);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// After exactly this, from now.
    After(Duration),
    /// Not at all.
    Never,
}

impl Pushback {
    /// Reads one value: an ASCII number of milliseconds that fits in 31 bits, without needless leading zeros. All
    /// else, negative numbers included, means [`Pushback::Never`].
    #[must_use]
    pub fn parse(value: &[u8]) -> Pushback {
        let is_plain = value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || !value.starts_with(b"0"));
        let parsed =
            str::from_utf8(value).ok().filter(|_| is_plain).and_then(|text| text.parse::<i32>().ok());
        match parsed.map(u64::try_from) {
            Some(Ok(millis)) => Pushback::After(Duration::from_millis(millis)),
            _ => Pushback::Never,
        }
    }

    /// What all values under [`PUSHBACK_NAME`] say together: nothing if there is none, and [`Pushback::Never`] if there
    /// are several, for a server that says two things is not to be pressed.
    #[must_use]
    pub fn of_values<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Pushback> {
        let mut values = values.into_iter();
        let first = Pushback::parse(values.next()?);
        Some(if values.next().is_some() { Pushback::Never } else { first })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_plain_number_means_never() {
        for value in [
            "",
            "-1",
            "-0",
            "+5",
            "007",
            "00",
            " 5",
            "5 ",
            "5ms",
            "1.5",
            "2147483648",
            "99999999999999999999",
            "\u{665}",
        ] {
            assert_eq!(Pushback::parse(value.as_bytes()), Pushback::Never, "{value:?}");
        }
        assert_eq!(Pushback::parse(b"\xff\xfe"), Pushback::Never);
    }

    #[test]
    fn zero_means_at_once_and_the_largest_is_taken() {
        assert_eq!(Pushback::parse(b"0"), Pushback::After(Duration::ZERO));
        assert_eq!(Pushback::parse(b"2147483647"), Pushback::After(Duration::from_millis(2_147_483_647)));
    }

    #[test]
    fn two_values_mean_never_and_none_means_nothing() {
        assert_eq!(Pushback::of_values([]), None);
        assert_eq!(Pushback::of_values([&b"3"[..]]), Some(Pushback::After(Duration::from_millis(3))));
        assert_eq!(Pushback::of_values([&b"3"[..], b"3"]), Some(Pushback::Never));
    }

    proptest! {
        #[test]
        fn every_number_is_read_back(millis in 0..=i32::MAX) {
            let expected = Duration::from_millis(u64::try_from(millis).unwrap());
            prop_assert_eq!(Pushback::parse(millis.to_string().as_bytes()), Pushback::After(expected));
        }

        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..16)) {
            let _ = Pushback::parse(&value);
        }
    }
}
