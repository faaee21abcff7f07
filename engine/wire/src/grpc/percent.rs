//! The percent-encoding of `grpc-message` (PROTOCOL-HTTP2.md, "Responses").

use alloc::string::String;
use alloc::vec::Vec;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `text`, with everything but printable ASCII, and `%` itself, encoded; blanks at the ends too, since a field's
/// value may not begin or end with one (RFC 9113 section 8.2.1).
///
/// ```
/// let mut out = Vec::new();
/// corelane_wire::grpc::percent::encode("50% é\n", &mut out);
/// assert_eq!(out, b"50%25 %C3%A9%0A");
/// ```
pub fn encode(text: &str, out: &mut Vec<u8>) {
    let last = text.len().saturating_sub(1);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            b' ' if at != 0 && at != last => out.push(octet),
            b'!'..=b'$' | b'&'..=b'~' => out.push(octet),
            _ => {
                let (high, low) = (usize::from(octet >> 4), usize::from(octet & 15));
                out.extend_from_slice(&[b'%', DIGITS[high], DIGITS[low]]);
            }
        }
    }
}

/// Decodes leniently: what is no encoding stays as it is, and what is not UTF-8 is replaced. A message is for reading and
/// must not fail a call.
#[must_use]
pub fn decode(octets: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => decoded.push(*first),
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_encodings_stay() {
        for (encoded, expected) in [
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%%41", "%A"),
            ("%e4%b8%96", "世"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode(encoded.as_bytes()), expected, "{encoded:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(text: String) {
            let mut encoded = Vec::new();
            encode(&text, &mut encoded);
            prop_assert!(encoded.iter().all(|octet| (b' '..=b'~').contains(octet)));
            prop_assert_eq!(decode(&encoded), text);
        }
    }
}
