//! PUSH_PROMISE (RFC 9113 6.6). We send it to nobody and forbid it to servers; it is parsed to be refused rightly.

use alloc::vec::Vec;

use super::block::{finish_block, reserve_header, strip_padding};
use super::{Flags, FrameError, Header, Kind, Reason, StreamId};

/// A server's announcement of an unasked response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushPromise<'a> {
    /// The stream of the request that it belongs to, never zero.
    pub stream: StreamId,
    /// The stream that the response will have: even, never zero.
    pub promised: StreamId,
    /// The promised request's field block, or the first piece of it.
    pub fragment: &'a [u8],
    /// Whether the block is complete; if not, a CONTINUATION must follow at once.
    pub end_headers: bool,
}

impl<'a> PushPromise<'a> {
    pub(super) fn parse(header: Header, payload: &'a [u8]) -> Result<PushPromise<'a>, FrameError> {
        header.expect_stream()?;
        let kept = strip_padding(header.flags, payload, 4)?;
        let (promised, fragment) = kept.split_first_chunk().ok_or(FrameError::size())?;
        let promised = StreamId::from_bytes(*promised);
        if !promised.is_server_initiated() {
            return Err(FrameError::protocol(Reason::PromisedStream));
        }
        let end_headers = header.flags.contains(Flags::END_HEADERS);
        Ok(PushPromise { stream: header.stream, promised, fragment, end_headers })
    }
}

/// Appends a PUSH_PROMISE frame, and CONTINUATIONs for what exceeds `max_frame`. For tests and tools.
///
/// # Panics
///
/// If `max_frame` is one that no peer can have set.
pub fn write_push_promise(
    out: &mut Vec<u8>,
    stream: StreamId,
    promised: StreamId,
    block: &[u8],
    max_frame: u32,
) {
    let at = reserve_header(out);
    out.extend_from_slice(&promised.to_bytes());
    out.extend_from_slice(block);
    finish_block(out, at, Kind::PUSH_PROMISE, Flags::NONE, stream, max_frame);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::testing::{parse_one, parse_with, stream_id};
    use crate::frame::{ErrorCode, Frame, MAX_FRAME_SIZE_MIN};

    const ID: StreamId = StreamId::new(1);

    #[test]
    fn stream_zero_promises_nothing() {
        assert_eq!(
            parse_with(Kind::PUSH_PROMISE, Flags::NONE, StreamId::ZERO, &[0, 0, 0, 2]),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamZero))
        );
    }

    #[test]
    fn the_promised_stream_is_a_servers() {
        for promised in [[0, 0, 0, 0], [0, 0, 0, 3], [0x80, 0, 0, 0]] {
            assert_eq!(
                parse_with(Kind::PUSH_PROMISE, Flags::NONE, ID, &promised),
                Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::PromisedStream))
            );
        }
    }

    #[test]
    fn the_promised_stream_is_mandatory() {
        assert_eq!(
            parse_with(Kind::PUSH_PROMISE, Flags::NONE, ID, &[0; 3]),
            Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
        );
        assert_eq!(
            parse_with(Kind::PUSH_PROMISE, Flags::PADDED, ID, &[1, 0, 0, 0, 2]),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::Padding))
        );
    }

    proptest! {
        #[test]
        fn round_trip(stream in stream_id(), promised in 1..1_u32 << 30, block: Vec<u8>) {
            let promised = StreamId::new(promised * 2);
            let mut out = vec![];
            write_push_promise(&mut out, stream, promised, &block, MAX_FRAME_SIZE_MIN);
            let expected = PushPromise { stream, promised, fragment: &block, end_headers: true };
            prop_assert_eq!(parse_one(&out), Ok(Frame::PushPromise(expected)));
        }
    }
}
