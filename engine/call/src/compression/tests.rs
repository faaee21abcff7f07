//! Compression from outside: what goes in comes out, and nothing comes out past its limit.

use corelane_wire::grpc::Code;
use proptest::prelude::*;

use super::*;

const PACKED: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

fn pack(encoding: Encoding, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(encoding, input, &mut out).unwrap();
    out
}

fn unpack(encoding: Encoding, input: &[u8], max: usize) -> Result<Vec<u8>, Status> {
    let mut out = Vec::new();
    decompress(encoding, input, max, &mut out).map(|()| out)
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Encoding::Identity), Just(Encoding::Gzip), Just(Encoding::Deflate), Just(Encoding::Zstd)]
}

/// Bytes from nothing-repeats to everything-repeats.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2_000),
        prop::collection::vec(b'a'..b'd', 0..20_000),
        (any::<u8>(), 0_usize..300_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_packed_comes_out_again(encoding in encodings(), text in texts(), before in any::<[u8; 3]>()) {
        let mut packed = before.to_vec();
        compress(encoding, &text, &mut packed).unwrap();
        prop_assert_eq!(&packed[..3], &before);
        let mut out = before.to_vec();
        decompress(encoding, &packed[3..], text.len(), &mut out).unwrap();
        prop_assert_eq!(&out[..3], &before);
        prop_assert_eq!(&out[3..], &text);
    }

    #[test]
    fn one_byte_over_the_limit_is_too_much(encoding in encodings(), text in texts(), capacity in 0_usize..4_000) {
        prop_assume!(!text.is_empty());
        let packed = pack(encoding, &text);
        let mut out = Vec::with_capacity(capacity);
        out.push(1);
        let max = text.len() - 1;
        let status = decompress(encoding, &packed, max, &mut out).unwrap_err();
        prop_assert_eq!(status.code(), Code::ResourceExhausted);
        prop_assert_eq!(&out, &[1]);
        prop_assert!(out.capacity() <= capacity.max(8).max(max + 2), "{} for {max}", out.capacity());
    }

    #[test]
    fn any_bytes_are_refused_or_bounded(encoding in encodings(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(out) = unpack(encoding, &bytes, 1_000) {
            prop_assert!(out.len() <= 1_000);
        }
    }

    #[test]
    fn a_cut_is_malformed(encoding in 0_usize..3, text in texts(), at in any::<prop::sample::Index>()) {
        let packed = pack(PACKED[encoding], &text);
        let cut = &packed[..at.index(packed.len())];
        prop_assert_eq!(unpack(PACKED[encoding], cut, usize::MAX).unwrap_err().code(), Code::Internal);
    }

    #[test]
    fn a_broken_bit_does_not_outlive_its_message(encoding in 0_usize..3, text in texts(), at in any::<prop::sample::Index>()) {
        let mut packed = pack(PACKED[encoding], &text);
        let at = at.index(packed.len());
        packed[at] ^= 4;
        let _ = unpack(PACKED[encoding], &packed, 1 << 20);
        packed[at] ^= 4;
        prop_assert_eq!(unpack(PACKED[encoding], &packed, 1 << 20).unwrap(), text);
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for encoding in PACKED {
        let bomb = pack(encoding, &zeros);
        assert!(bomb.len() < 100_000, "{encoding:?}: {}", bomb.len());
        let mut out = Vec::new();
        let status = decompress(encoding, &bomb, 1_000_000, &mut out).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(out.is_empty());
        assert!(out.capacity() <= 1_000_001, "{encoding:?}: {}", out.capacity());
        assert_eq!(unpack(encoding, &bomb, zeros.len()).unwrap().len(), zeros.len(), "exactly the limit");
    }
}

#[test]
fn the_text_of_a_refusal_names_encoding_and_limit() {
    let packed = pack(Encoding::Gzip, &[0; 100]);
    let status = unpack(Encoding::Gzip, &packed, 99).unwrap_err();
    assert_eq!(
        status.message(),
        "message too large: more than 99 bytes after decompression (gzip), the limit is 99"
    );
    assert_eq!(unpack(Encoding::Zstd, b"no", 9).unwrap_err().message(), "malformed zstd message");
}

#[test]
fn what_follows_the_message_is_malformed() {
    for encoding in PACKED {
        let mut packed = pack(encoding, b"text");
        packed.push(0);
        assert_eq!(unpack(encoding, &packed, 99).unwrap_err().code(), Code::Internal, "{encoding:?}");
    }
}

#[test]
fn zstd_frames_follow_each_other() {
    let input = [pack(Encoding::Zstd, b"one "), pack(Encoding::Zstd, b"two")].concat();
    assert_eq!(unpack(Encoding::Zstd, &input, 99).unwrap(), b"one two");
}

#[test]
fn a_zstd_frame_that_wants_a_huge_window_is_refused() {
    // RFC 8878 section 3.1.1: magic; a header of neither single segment nor content size; window 2^(10 + 17) = 128 MiB;
    // then one raw block, the last, of one byte.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x09, 0x00, 0x00, b'x'];
    assert_eq!(unpack(Encoding::Zstd, &frame, 99).unwrap_err().code(), Code::Internal);
    let mut modest = frame;
    modest[5] = 13 << 3;
    assert_eq!(unpack(Encoding::Zstd, &modest, 99).unwrap(), b"x");
}

#[test]
fn deflate_is_the_zlib_format() {
    let packed = pack(Encoding::Deflate, b"text");
    assert_eq!(packed[0], 0x78, "RFC 1950: method 8, window 32 KiB");
    let gzip = pack(Encoding::Gzip, b"text");
    assert_eq!(gzip[..3], [0x1f, 0x8b, 8]);
}
