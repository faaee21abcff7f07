//! What the frames with padding or a field block share: taking padding off, and cutting a block into frames.
//!
//! Does not: compress; a block here is bytes.

use alloc::vec::Vec;

use super::header::{HEADER_LEN, len_u24};
use super::{
    EndHeaders, EndStream, Flags, FrameError, Header, Kind, MAX_FRAME_SIZE_MIN, Reason, StreamId,
    write_header_at,
};

/// Takes the pad length and the padding off `payload`, of which at least `fixed` bytes must then be left.
///
/// Too short for its mandatory fields is FRAME_SIZE_ERROR (4.2); enough bytes but eaten by the padding is
/// PROTOCOL_ERROR (6.1, 6.2).
#[inline]
pub(super) fn strip_padding(flags: Flags, payload: &[u8], fixed: usize) -> Result<&[u8], FrameError> {
    if !flags.contains(Flags::PADDED) {
        return if payload.len() < fixed { Err(FrameError::size()) } else { Ok(payload) };
    }
    let Some((&pad, rest)) = payload.split_first() else { return Err(FrameError::size()) };
    if rest.len() < fixed {
        return Err(FrameError::size());
    }
    match rest.len().checked_sub(usize::from(pad)).and_then(|kept| rest.get(..kept)) {
        Some(kept) if kept.len() >= fixed => Ok(kept),
        _ => Err(FrameError::protocol(Reason::Padding)),
    }
}

/// Appends nine bytes to be filled in later, and says where they are.
///
/// The payload is then encoded right behind them; [`write_header_at`] or [`finish_headers`] close the frame.
#[inline]
pub fn reserve_header(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    at
}

/// Closes a HEADERS frame whose nine bytes [`reserve_header`] kept at `at`; all bytes behind them are its field block.
///
/// A block of more than `max_frame` bytes, the peer's SETTINGS_MAX_FRAME_SIZE, goes on in CONTINUATION frames.
///
/// ```
/// use corelane_wire::frame::{self, EndStream, StreamId};
///
/// let mut out = Vec::new();
/// let at = frame::reserve_header(&mut out);
/// out.extend_from_slice(&[0x88]);
/// frame::finish_headers(&mut out, at, StreamId::new(1), EndStream::No, 16_384);
/// assert_eq!(out, [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]);
/// ```
///
/// # Panics
///
/// If nothing was reserved at `at`, or `max_frame` is one that no peer can have set.
pub fn finish_headers(out: &mut Vec<u8>, at: usize, stream: StreamId, end_stream: EndStream, max_frame: u32) {
    let flags = match end_stream {
        EndStream::Yes => Flags::END_STREAM,
        EndStream::No => Flags::NONE,
    };
    finish_block(out, at, Kind::HEADERS, flags, stream, max_frame);
}

/// Closes a frame of `kind` at `at`, moving what exceeds `max_frame` into CONTINUATIONs.
pub(super) fn finish_block(
    out: &mut Vec<u8>,
    at: usize,
    kind: Kind,
    flags: Flags,
    stream: StreamId,
    max_frame: u32,
) {
    assert!(max_frame >= MAX_FRAME_SIZE_MIN, "no peer can set a smaller SETTINGS_MAX_FRAME_SIZE");
    let max = usize::try_from(max_frame).unwrap_or(usize::MAX);
    let payload_at = at + HEADER_LEN;
    let len = out.len().checked_sub(payload_at).expect("the header was reserved at `at`");
    if len <= max {
        let header = Header { len: len_u24(len), kind, flags: flags | Flags::END_HEADERS, stream };
        write_header_at(out, at, header);
        return;
    }
    // Rare: lists are limited to 16 KiB by default, on both sides. The tail is copied once to make room.
    let tail = out.split_off(payload_at + max);
    write_header_at(out, at, Header { len: max_frame, kind, flags, stream });
    let mut fragments = tail.chunks(max).peekable();
    while let Some(fragment) = fragments.next() {
        let end = EndHeaders::from(fragments.peek().is_none());
        super::write_continuation(out, stream, end, fragment);
    }
}
