//! DATA (RFC 9113 6.1).

use alloc::vec::Vec;

use super::block::strip_padding;
use super::header::len_u24;
use super::{EndStream, Flags, FrameError, Header, Kind, StreamId};

/// Payload of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Its stream, never zero.
    pub stream: StreamId,
    /// The payload without padding.
    pub payload: &'a [u8],
    /// What the frame takes from the windows: the payload with padding and pad length (6.9.1).
    pub flow_len: u32,
    /// Whether the sender is done with the stream.
    pub end_stream: bool,
}

impl<'a> Data<'a> {
    #[inline]
    pub(super) fn parse(header: Header, payload: &'a [u8]) -> Result<Data<'a>, FrameError> {
        header.expect_stream()?;
        Ok(Data {
            stream: header.stream,
            payload: strip_padding(header.flags, payload, 0)?,
            flow_len: header.len,
            end_stream: header.flags.contains(Flags::END_STREAM),
        })
    }
}

/// Appends the header of a DATA frame; the caller appends the `len` bytes of payload.
///
/// # Panics
///
/// If `len` has more than 24 bits, which only we can cause.
#[inline]
pub fn write_data_header(out: &mut Vec<u8>, stream: StreamId, end_stream: EndStream, len: u32) {
    data_header(stream, end_stream, len).write(out);
}

/// Appends a whole DATA frame.
///
/// # Panics
///
/// If the payload is longer than a frame can be, which only we can cause.
#[inline]
pub fn write_data(out: &mut Vec<u8>, stream: StreamId, end_stream: EndStream, payload: &[u8]) {
    write_data_header(out, stream, end_stream, len_u24(payload.len()));
    out.extend_from_slice(payload);
}

impl Header {
    /// The header of a DATA frame, for [`write_header_at`](super::write_header_at).
    #[inline]
    #[must_use]
    pub const fn data(stream: StreamId, end_stream: EndStream, len: u32) -> Header {
        data_header(stream, end_stream, len)
    }
}

#[inline]
const fn data_header(stream: StreamId, end_stream: EndStream, len: u32) -> Header {
    let flags = match end_stream {
        EndStream::Yes => Flags::END_STREAM,
        EndStream::No => Flags::NONE,
    };
    Header { len, kind: Kind::DATA, flags, stream }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::testing::{padded, parse_one, parse_with, stream_id};
    use crate::frame::{ErrorCode, Frame, Reason};

    #[test]
    fn stream_zero_has_no_data() {
        assert_eq!(
            parse_with(Kind::DATA, Flags::NONE, StreamId::ZERO, b"x"),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamZero))
        );
    }

    #[test]
    fn padding_is_taken_off_but_counts_for_the_window() {
        let frame = parse_with(Kind::DATA, Flags::PADDED, StreamId::new(1), b"\x02ab\0\0");
        let expected = Data { stream: StreamId::new(1), payload: b"ab", flow_len: 5, end_stream: false };
        assert_eq!(frame, Ok(Frame::Data(expected)));
    }

    #[test]
    fn padding_may_fill_the_frame_but_not_exceed_it() {
        let frame = parse_with(Kind::DATA, Flags::PADDED, StreamId::new(1), b"\x02\0\0");
        let expected = Data { stream: StreamId::new(1), payload: b"", flow_len: 3, end_stream: false };
        assert_eq!(frame, Ok(Frame::Data(expected)));
        // 6.1: padding of the payload's length or more.
        for pad in 3..=255 {
            assert_eq!(
                parse_with(Kind::DATA, Flags::PADDED, StreamId::new(1), &[pad, 0, 0]),
                Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::Padding))
            );
        }
    }

    #[test]
    fn padded_without_a_pad_length_is_too_short() {
        assert_eq!(
            parse_with(Kind::DATA, Flags::PADDED, StreamId::new(1), b""),
            Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
        );
    }

    #[test]
    fn unknown_flags_are_ignored() {
        let frame = parse_with(Kind::DATA, Flags(0xf6), StreamId::new(1), b"ab");
        let expected = Data { stream: StreamId::new(1), payload: b"ab", flow_len: 2, end_stream: false };
        assert_eq!(frame, Ok(Frame::Data(expected)));
    }

    proptest! {
        #[test]
        fn round_trip(stream in stream_id(), end: bool, payload: Vec<u8>) {
            let mut out = vec![];
            write_data(&mut out, stream, EndStream::from(end), &payload);
            let flow_len = u32::try_from(payload.len()).unwrap();
            let expected = Data { stream, payload: &payload, flow_len, end_stream: end };
            prop_assert_eq!(parse_one(&out), Ok(Frame::Data(expected)));
        }

        #[test]
        fn padding_never_changes_the_payload(payload: Vec<u8>, pad: u8) {
            let stream = StreamId::new(1);
            let bytes = padded(&payload, pad);
            let flow_len = u32::try_from(bytes.len()).unwrap();
            let expected = Data { stream, payload: &payload, flow_len, end_stream: false };
            prop_assert_eq!(parse_with(Kind::DATA, Flags::PADDED, stream, &bytes), Ok(Frame::Data(expected)));
        }
    }
}
