//! Base64 of binary metadata (RFC 4648): written without padding, read with or without it.

use alloc::string::String;
use alloc::vec::Vec;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Marks what is not in the alphabet.
const NONE: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Not base64: a character outside of the alphabet, or a length or an ending that no octets give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBase64;

impl core::fmt::Display for InvalidBase64 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the value is not base64")
    }
}

impl core::error::Error for InvalidBase64 {}

/// Encodes without padding, as gRPC asks of senders.
///
/// ```
/// use corelane_wire::grpc::base64;
///
/// assert_eq!(base64::encode(&[0xff, 0xfe]), "//4");
/// assert_eq!(base64::decode(b"//4=").unwrap(), [0xff, 0xfe]);
/// ```
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let mut bits = 0u32;
        for (place, octet) in group.iter().enumerate() {
            bits |= u32::from(*octet) << (16 - 8 * place);
        }
        for place in 0..=group.len() {
            let value = (bits >> (18 - 6 * place)) & 0x3f;
            text.push(char::from(ALPHABET[value as usize]));
        }
    }
    text
}

/// Decodes with or without padding.
///
/// # Errors
/// What is not base64; bits that no octet holds must be zero.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, InvalidBase64> {
    let text = match text {
        [text @ .., b'=', b'='] if text.len() % 4 == 2 => text,
        [text @ .., b'='] if text.len() % 4 == 3 => text,
        text => text,
    };
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for (place, character) in group.iter().enumerate() {
            let value = VALUES[usize::from(*character)];
            if value == NONE {
                return Err(InvalidBase64);
            }
            bits |= u32::from(value) << (18 - 6 * place);
        }
        let [_, first, second, third] = bits.to_be_bytes();
        match (group.len(), second, third) {
            (4, ..) => octets.extend_from_slice(&[first, second, third]),
            (3, _, 0) => octets.extend_from_slice(&[first, second]),
            (2, 0, 0) => octets.push(first),
            _ => return Err(InvalidBase64),
        }
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rfcs_examples() {
        for (octets, padded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(octets.as_bytes()), padded.trim_end_matches('='));
            assert_eq!(decode(padded.as_bytes()).unwrap(), octets.as_bytes());
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for bad in ["a", "a===", "ab=", "=", "====", "ab=c", "a b", "a-b_", "ab\n", "Zh==", "Zm9="] {
            assert_eq!(decode(bad.as_bytes()), Err(InvalidBase64), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = encode(&octets);
            prop_assert_eq!(decode(text.as_bytes()).unwrap(), octets.clone());
            let padding = (4 - text.len() % 4) % 4;
            let padded = alloc::format!("{text}{}", &"=="[..padding]);
            prop_assert_eq!(decode(padded.as_bytes()).unwrap(), octets);
        }

        #[test]
        fn anything_is_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..50)) {
            if let Ok(octets) = decode(&text) {
                prop_assert!(octets.len() <= text.len());
            }
        }
    }
}
