//! HEADERS (RFC 9113 6.2).

use alloc::vec::Vec;

use super::block::{finish_headers, reserve_header, strip_padding};
use super::priority::PRIORITY_LEN;
use super::{
    EndStream, Flags, FrameError, Header, Kind, MAX_FRAME_SIZE_MIN, PriorityFields, Reason, StreamId,
};

/// A field block, or its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Its stream, never zero.
    pub stream: StreamId,
    /// The block, or the first piece of it.
    pub fragment: &'a [u8],
    /// Whether the sender is done with the stream, once the block is complete.
    pub end_stream: bool,
    /// Whether the block is complete; if not, a CONTINUATION must follow at once.
    pub end_headers: bool,
    /// Priority advice, where it was given. Deprecated (5.3.2); never a dependency on the stream itself.
    pub priority: Option<PriorityFields>,
}

impl<'a> Headers<'a> {
    #[inline]
    pub(super) fn parse(header: Header, payload: &'a [u8]) -> Result<Headers<'a>, FrameError> {
        header.expect_stream()?;
        let (priority, fragment) = if header.flags.contains(Flags::PRIORITY) {
            let kept = strip_padding(header.flags, payload, PRIORITY_LEN)?;
            let (fields, fragment) = kept.split_first_chunk().ok_or(FrameError::size())?;
            let fields = PriorityFields::from_bytes(*fields);
            // RFC 7540 5.3.1 calls this a stream error. But the block must reach the decoder or the table of the
            // whole connection is lost, so it ends the connection, as 5.4.2 allows. No client does this by accident.
            if fields.depends_on == header.stream {
                return Err(FrameError::protocol(Reason::SelfDependency));
            }
            (Some(fields), fragment)
        } else {
            (None, strip_padding(header.flags, payload, 0)?)
        };
        Ok(Headers {
            stream: header.stream,
            fragment,
            end_stream: header.flags.contains(Flags::END_STREAM),
            end_headers: header.flags.contains(Flags::END_HEADERS),
            priority,
        })
    }
}

/// Appends a field block: one HEADERS frame, and CONTINUATIONs for what exceeds `max_frame`, the peer's
/// SETTINGS_MAX_FRAME_SIZE.
///
/// Encoding in place spares the copy of `block`: see [`reserve_header`] and [`finish_headers`].
///
/// # Panics
///
/// If `max_frame` is one that no peer can have set.
#[inline]
pub fn write_headers(
    out: &mut Vec<u8>,
    stream: StreamId,
    end_stream: EndStream,
    block: &[u8],
    max_frame: u32,
) {
    // What fits any peer's frame needs no look at this one's.
    let short = u32::try_from(block.len()).ok().filter(|len| *len <= MAX_FRAME_SIZE_MIN);
    let Some(len) = short else {
        let at = reserve_header(out);
        out.extend_from_slice(block);
        return finish_headers(out, at, stream, end_stream, max_frame);
    };
    let ends = match end_stream {
        EndStream::Yes => Flags::END_STREAM,
        EndStream::No => Flags::NONE,
    };
    Header { len, kind: Kind::HEADERS, flags: ends | Flags::END_HEADERS, stream }.write(out);
    out.extend_from_slice(block);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::testing::{padded, parse_all, parse_one, parse_with, stream_id};
    use crate::frame::{ErrorCode, Frame, Kind, MAX_FRAME_SIZE_MIN};

    const ID: StreamId = StreamId::new(5);
    const PRIORITY: [u8; 5] = [0x80, 0, 0, 3, 15];

    #[test]
    fn stream_zero_has_no_headers() {
        assert_eq!(
            parse_with(Kind::HEADERS, Flags::END_HEADERS, StreamId::ZERO, b""),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamZero))
        );
    }

    #[test]
    fn priority_and_padding_surround_the_fragment() {
        let flags = Flags::PADDED | Flags::PRIORITY | Flags::END_HEADERS | Flags::END_STREAM;
        let frame = parse_with(Kind::HEADERS, flags, ID, b"\x01\x80\0\0\x03\x0fab\0");
        let priority = PriorityFields { depends_on: StreamId::new(3), exclusive: true, weight: 15 };
        let expected = Headers {
            stream: ID,
            fragment: b"ab",
            end_stream: true,
            end_headers: true,
            priority: Some(priority),
        };
        assert_eq!(frame, Ok(Frame::Headers(expected)));
    }

    #[test]
    fn priority_without_its_bytes_is_too_short() {
        let size = Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize));
        assert_eq!(parse_with(Kind::HEADERS, Flags::PRIORITY, ID, &PRIORITY[..4]), size);
        assert_eq!(parse_with(Kind::HEADERS, Flags::PRIORITY | Flags::PADDED, ID, &PRIORITY), size);
        assert_eq!(parse_with(Kind::HEADERS, Flags::PADDED, ID, b""), size);
    }

    #[test]
    fn padding_must_leave_the_mandatory_bytes() {
        let padding = Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::Padding));
        assert_eq!(parse_with(Kind::HEADERS, Flags::PADDED, ID, b"\x03ab"), padding);
        let with_priority = [&[1][..], &PRIORITY].concat();
        assert_eq!(parse_with(Kind::HEADERS, Flags::PADDED | Flags::PRIORITY, ID, &with_priority), padding);
    }

    #[test]
    fn a_stream_cannot_depend_on_itself() {
        assert_eq!(
            parse_with(Kind::HEADERS, Flags::PRIORITY, StreamId::new(3), &PRIORITY),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::SelfDependency))
        );
    }

    #[test]
    fn a_large_block_is_cut_at_the_peers_frame_size() {
        let max = usize::try_from(MAX_FRAME_SIZE_MIN).unwrap();
        for (len, frames) in [(0, 1), (max, 1), (max + 1, 2), (2 * max, 2), (2 * max + 1, 3)] {
            let block: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
            let mut out = vec![];
            write_headers(&mut out, ID, EndStream::Yes, &block, MAX_FRAME_SIZE_MIN);
            let parsed = parse_all(&out);
            assert_eq!(parsed.len(), frames);
            let mut joined = vec![];
            for (at, frame) in parsed.iter().enumerate() {
                let (fragment, end_headers) = match frame {
                    Ok(Frame::Headers(headers)) if at == 0 && headers.end_stream => {
                        (headers.fragment, headers.end_headers)
                    }
                    Ok(Frame::Continuation(more)) if at > 0 => (more.fragment, more.end_headers),
                    other => panic!("{other:?}"),
                };
                assert!(fragment.len() <= max);
                assert_eq!(end_headers, at == frames - 1);
                joined.extend_from_slice(fragment);
            }
            assert_eq!(joined, block);
        }
    }

    #[test]
    fn closing_a_frame_leaves_what_came_before_it() {
        let mut out = b"before".to_vec();
        write_headers(&mut out, ID, EndStream::No, b"block", MAX_FRAME_SIZE_MIN);
        assert_eq!(out, b"before\0\0\x05\x01\x04\0\0\0\x05block");
    }

    proptest! {
        #[test]
        fn round_trip(stream in stream_id(), end: bool, block: Vec<u8>) {
            let mut out = vec![];
            write_headers(&mut out, stream, EndStream::from(end), &block, MAX_FRAME_SIZE_MIN);
            let expected =
                Headers { stream, fragment: &block, end_stream: end, end_headers: true, priority: None };
            prop_assert_eq!(parse_one(&out), Ok(Frame::Headers(expected)));
        }

        #[test]
        fn padding_never_changes_the_block(block: Vec<u8>, pad: u8) {
            let bytes = padded(&block, pad);
            let expected =
                Headers { stream: ID, fragment: &block, end_stream: false, end_headers: false, priority: None };
            prop_assert_eq!(parse_with(Kind::HEADERS, Flags::PADDED, ID, &bytes), Ok(Frame::Headers(expected)));
        }
    }
}
