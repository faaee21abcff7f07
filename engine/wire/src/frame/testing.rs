//! What the tests of all frames share.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::{Flags, Frame, FrameError, Header, Kind, StreamId, parse};

/// A stream's number, never zero.
pub(crate) fn stream_id() -> impl Strategy<Value = StreamId> {
    (1..=StreamId::MAX.get()).prop_map(StreamId::new)
}

/// `payload` behind a pad length and before that many bytes.
pub(crate) fn padded(payload: &[u8], pad: u8) -> Vec<u8> {
    let mut out = Vec::from([pad]);
    out.extend_from_slice(payload);
    out.resize(out.len() + usize::from(pad), 0);
    out
}

/// Parses `payload` as a frame of `kind`.
pub(crate) fn parse_with(
    kind: Kind,
    flags: Flags,
    stream: StreamId,
    payload: &[u8],
) -> Result<Frame<'_>, FrameError> {
    let len = u32::try_from(payload.len()).unwrap();
    parse(Header { len, kind, flags, stream }, payload)
}

/// Parses the one frame that `bytes` are.
pub(crate) fn parse_one(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let [frame] = parse_all(bytes)[..] else { panic!("not exactly one frame") };
    frame
}

/// Parses all frames in `bytes`, which end with the last one.
pub(crate) fn parse_all(mut bytes: &[u8]) -> Vec<Result<Frame<'_>, FrameError>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_first_chunk().expect("a whole header");
        let header = Header::parse(header);
        let (payload, rest) = rest.split_at(header.payload_len());
        frames.push(parse(header, payload));
        bytes = rest;
    }
    frames
}

/// Seeded random numbers (splitmix64), for the fuzz bodies: the same run every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Up to `max` random bytes.
    pub(crate) fn bytes(&mut self, max: u64) -> Vec<u8> {
        let len = self.next() % (max + 1);
        (0..len).map(|_| self.byte()).collect()
    }
}
