//! The fuzz bodies for everything here that reads what a peer wrote.

use alloc::vec::Vec;

use super::{Deframer, EncodingSet, Metadata, MetadataValue, Status, base64, percent, timeout, whole};
use crate::FieldList;

/// Longest message that the deframer's body accepts.
const MESSAGE_MAX: usize = 64;

/// Takes `bytes` for a stream of messages, whole and byte by byte, and holds the two against each other.
///
/// # Panics
///
/// If cutting changes what comes out.
pub fn fuzz_deframe(bytes: &[u8]) {
    let mut at_once = Deframer::new();
    at_once.push(bytes);
    let mut piecewise = Deframer::new();
    let mut rest = bytes.iter();
    loop {
        let expected =
            at_once.next(MESSAGE_MAX).map(|next| next.map(|it| (it.compressed, it.payload.to_vec())));
        let got = loop {
            match piecewise.next(MESSAGE_MAX) {
                Ok(None) => match rest.next() {
                    Some(byte) => piecewise.push(&[*byte]),
                    None => break Ok(None),
                },
                other => break other.map(|next| next.map(|it| (it.compressed, it.payload.to_vec()))),
            }
        };
        assert_eq!(got, expected);
        if !matches!(expected, Ok(Some(_))) {
            break;
        }
    }
    if let Some(message) = whole(bytes, MESSAGE_MAX) {
        let mut deframer = Deframer::new();
        deframer.push(bytes);
        assert_eq!(deframer.next(MESSAGE_MAX), Ok(Some(message)));
        assert!(deframer.is_empty());
    }
}

/// Takes `text` for Base64.
///
/// # Panics
///
/// If what it encodes is something else after it was encoded again.
pub fn fuzz_base64(text: &[u8]) {
    if let Ok(bytes) = base64::decode(text) {
        let again = base64::encode(&bytes);
        assert!(text.starts_with(again.as_bytes()), "bytes have one encoding, but for its padding");
        assert_eq!(base64::decode(again.as_bytes()), Ok(bytes));
    }
}

/// Takes `value` for a `grpc-timeout`.
///
/// # Panics
///
/// If what it says is shorter after it was formatted again.
pub fn fuzz_timeout(value: &[u8]) {
    if let Some(duration) = timeout::parse(value) {
        let mut again = Vec::new();
        timeout::format(duration, &mut again);
        assert!(timeout::parse(&again).expect("what we format can be parsed") >= duration);
    }
}

/// Takes `value` for a `grpc-message`.
///
/// # Panics
///
/// If what it says is something else after it was encoded again.
pub fn fuzz_percent(value: &[u8]) {
    let message = percent::decode(value);
    let mut again = Vec::new();
    percent::encode(&message, &mut again);
    assert_eq!(percent::decode(&again), message);
}

/// Takes `bytes`, cut at zeros, for trailers: names and values in turn.
///
/// # Panics
///
/// If what they say is something else after it was written again.
pub fn fuzz_trailers(bytes: &[u8]) {
    let mut fields = FieldList::new();
    let mut parts = bytes.split(|byte| *byte == 0);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        fields.push(name, value);
    }
    let metadata = Metadata::from_fields(fields.clone());
    for (name, value) in metadata.iter() {
        assert!(metadata.contains(name) || fields.is_malformed());
        assert!(!name.ends_with("-bin") || !matches!(value, MetadataValue::Ascii(_)));
    }
    if let Some(status) = Status::from_fields(&fields) {
        let mut again = FieldList::new();
        status.to_fields(&mut again);
        assert_eq!(Status::from_fields(&again).as_ref(), Some(&status));
    }
}

/// Takes `value` for a `grpc-accept-encoding`.
///
/// # Panics
///
/// If what it says is something else after it was written again.
pub fn fuzz_encodings(value: &[u8]) {
    let set = EncodingSet::parse(value);
    let mut again = Vec::new();
    set.write(&mut again);
    assert_eq!(EncodingSet::parse(&again), set);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::testing::Random;

    /// Random bytes with letters that mean something strewn in.
    fn run(seed: u64, letters: &[u8], body: fn(&[u8])) {
        let mut random = Random::new(seed);
        for _ in 0..20_000 {
            let mut bytes = random.bytes(40);
            for byte in &mut bytes {
                let choice = usize::try_from(random.next() % 8).unwrap();
                if choice > 0 {
                    *byte = letters[usize::from(random.byte()) % letters.len()];
                }
            }
            body(&bytes);
        }
    }

    #[test]
    fn deframing() {
        run(1, &[0, 0, 0, 0, 1, 2, 3, 9], fuzz_deframe);
    }

    #[test]
    fn base64_letters() {
        run(2, b"AZaz09+/=", fuzz_base64);
        run(3, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef", fuzz_base64);
    }

    #[test]
    fn timeouts() {
        let mut random = Random::new(4);
        for _ in 0..20_000 {
            let letters = b"0123456789HMSmunx";
            let value: Vec<u8> =
                random.bytes(10).iter().map(|byte| letters[usize::from(*byte) % letters.len()]).collect();
            fuzz_timeout(&value);
        }
    }

    #[test]
    fn percents() {
        run(5, b"%%%0123456789abcdefABCDEFx ", fuzz_percent);
    }

    #[test]
    fn trailers() {
        run(6, b"a\0-bingrpcABE=,: ", fuzz_trailers);
        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let mut bytes = b"grpc-status\0".to_vec();
            bytes.extend(random.bytes(2).iter().map(|byte| b'0' + byte % 10));
            bytes.extend_from_slice(b"\0grpc-message\0");
            bytes.extend(random.bytes(9));
            bytes.extend_from_slice(b"\0x-bin\0");
            bytes.extend(random.bytes(9));
            fuzz_trailers(&bytes);
        }
    }

    #[test]
    fn encodings() {
        run(8, b"gzip,zstd,deflate,identity, ", fuzz_encodings);
    }
}
