//! Percent-encoding (RFC 3986, 2.1), strict: a target is typed by people, who want to hear of their mistakes.

use std::fmt::Write;

use super::TargetError;

/// Replaces all of `%41`.
pub(in crate::config) fn decode(piece: &str) -> Result<String, TargetError> {
    let bad = || TargetError::BadEscape { piece: piece.to_owned() };
    let mut decoded = Vec::with_capacity(piece.len());
    let mut rest = piece.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'%', [high, low, after @ ..]) => {
                let octet = char::from(*high).to_digit(16).zip(char::from(*low).to_digit(16));
                let octet = octet.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                decoded.push(octet.ok_or_else(bad)?);
                rest = after;
            }
            (b'%', _) => return Err(bad()),
            (octet, _) => decoded.push(*octet),
        }
    }
    String::from_utf8(decoded).map_err(|_| bad())
}

/// Writes a path so that it is read again as what it is, in a list too.
pub(super) fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for octet in path.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+;=".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            write!(encoded, "%{octet:02X}").expect("a string takes everything");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_encodings_are_refused() {
        for piece in ["%", "a%", "%4", "%4g", "%g4", "%%41", "%ff", "%c3", "% 41", "%+1"] {
            let expected = TargetError::BadEscape { piece: piece.to_owned() };
            assert_eq!(decode(piece), Err(expected));
        }
        assert_eq!(decode("%41%c3%A9b"), Ok("Aéb".to_owned()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(path: String) {
            let encoded = encode(&path);
            prop_assert!(encoded.bytes().all(|octet| octet.is_ascii_graphic() && !b",?#".contains(&octet)));
            prop_assert_eq!(decode(&encoded), Ok(path));
        }
    }
}
