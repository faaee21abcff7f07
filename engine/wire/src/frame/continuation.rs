//! CONTINUATION (RFC 9113 6.10).

use alloc::vec::Vec;

use super::header::len_u24;
use super::{EndHeaders, Flags, FrameError, Header, Kind, StreamId};

/// More of a field block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continuation<'a> {
    /// Its stream, never zero; that it is the stream of the frame before is for the connection to see.
    pub stream: StreamId,
    /// The next piece of the block.
    pub fragment: &'a [u8],
    /// Whether the block is complete.
    pub end_headers: bool,
}

impl<'a> Continuation<'a> {
    #[inline]
    pub(super) fn parse(header: Header, payload: &'a [u8]) -> Result<Continuation<'a>, FrameError> {
        header.expect_stream()?;
        let end_headers = header.flags.contains(Flags::END_HEADERS);
        Ok(Continuation { stream: header.stream, fragment: payload, end_headers })
    }
}

/// Appends a CONTINUATION frame. Field blocks are written whole by [`write_headers`](super::write_headers).
///
/// # Panics
///
/// If the fragment is longer than a frame can be, which only we can cause.
pub fn write_continuation(out: &mut Vec<u8>, stream: StreamId, end_headers: EndHeaders, fragment: &[u8]) {
    let flags = match end_headers {
        EndHeaders::Yes => Flags::END_HEADERS,
        EndHeaders::No => Flags::NONE,
    };
    Header { len: len_u24(fragment.len()), kind: Kind::CONTINUATION, flags, stream }.write(out);
    out.extend_from_slice(fragment);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::testing::{parse_one, parse_with, stream_id};
    use crate::frame::{ErrorCode, Frame, Reason};

    #[test]
    fn stream_zero_has_no_continuation() {
        assert_eq!(
            parse_with(Kind::CONTINUATION, Flags::END_HEADERS, StreamId::ZERO, b"x"),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamZero))
        );
    }

    #[test]
    fn it_has_no_padding() {
        let frame = parse_with(Kind::CONTINUATION, Flags::PADDED, StreamId::new(1), b"\x09a");
        let expected = Continuation { stream: StreamId::new(1), fragment: b"\x09a", end_headers: false };
        assert_eq!(frame, Ok(Frame::Continuation(expected)));
    }

    proptest! {
        #[test]
        fn round_trip(stream in stream_id(), end_headers: bool, fragment: Vec<u8>) {
            let mut out = vec![];
            write_continuation(&mut out, stream, EndHeaders::from(end_headers), &fragment);
            let expected = Continuation { stream, fragment: &fragment, end_headers };
            prop_assert_eq!(parse_one(&out), Ok(Frame::Continuation(expected)));
        }
    }
}
