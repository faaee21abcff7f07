//! GOAWAY (RFC 9113 6.8).

use alloc::vec::Vec;

use super::header::len_u24;
use super::{ErrorCode, Flags, FrameError, Header, Kind, MAX_FRAME_SIZE_MIN, StreamId};

/// Bytes before the debug data.
const FIXED_LEN: usize = 8;
/// What every peer takes, whatever its SETTINGS.
const DEBUG_LEN_MAX: usize = MAX_FRAME_SIZE_MIN as usize - FIXED_LEN;

/// The beginning of the connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoAway<'a> {
    /// The last of the receiver's streams that was or may be worked on.
    pub last_stream: StreamId,
    /// Why.
    pub code: ErrorCode,
    /// Words for a human, not for logs unasked: the peer chose them.
    pub debug: &'a [u8],
}

impl<'a> GoAway<'a> {
    pub(super) fn parse(header: Header, payload: &'a [u8]) -> Result<GoAway<'a>, FrameError> {
        header.expect_connection()?;
        let (last_stream, rest) = payload.split_first_chunk().ok_or(FrameError::size())?;
        let (code, debug) = rest.split_first_chunk().ok_or(FrameError::size())?;
        let last_stream = StreamId::from_bytes(*last_stream);
        Ok(GoAway { last_stream, code: ErrorCode::from_bytes(*code), debug })
    }
}

/// Appends a GOAWAY frame. Debug data beyond what fits the smallest legal frame is cut.
pub fn write_goaway(out: &mut Vec<u8>, last_stream: StreamId, code: ErrorCode, debug: &[u8]) {
    let debug = debug.get(..DEBUG_LEN_MAX).unwrap_or(debug);
    let len = len_u24(FIXED_LEN + debug.len());
    Header { len, kind: Kind::GOAWAY, flags: Flags::NONE, stream: StreamId::ZERO }.write(out);
    out.extend_from_slice(&last_stream.to_bytes());
    out.extend_from_slice(&code.to_bytes());
    out.extend_from_slice(debug);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::testing::{parse_one, parse_with};
    use crate::frame::{Frame, Reason};

    #[test]
    fn a_stream_does_not_go_away() {
        assert_eq!(
            parse_with(Kind::GOAWAY, Flags::NONE, StreamId::new(1), &[0; 8]),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamNotZero))
        );
    }

    #[test]
    fn it_has_at_least_eight_bytes() {
        for payload in [&[][..], &[0; 3], &[0; 4], &[0; 7]] {
            assert_eq!(
                parse_with(Kind::GOAWAY, Flags::NONE, StreamId::ZERO, payload),
                Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
            );
        }
    }

    #[test]
    fn debug_data_is_cut_to_what_every_peer_takes() {
        let mut out = vec![];
        write_goaway(&mut out, StreamId::MAX, ErrorCode::NO_ERROR, &vec![b'x'; 20_000]);
        let Ok(Frame::GoAway(goaway)) = parse_one(&out) else { panic!("not GOAWAY") };
        assert_eq!(goaway.debug.len(), 16_376);
    }

    proptest! {
        #[test]
        fn round_trip(last: u32, code: u32, debug: Vec<u8>) {
            let (last_stream, code) = (StreamId::new(last), ErrorCode::new(code));
            let mut out = vec![];
            write_goaway(&mut out, last_stream, code, &debug);
            let expected = GoAway { last_stream, code, debug: &debug };
            prop_assert_eq!(parse_one(&out), Ok(Frame::GoAway(expected)));
        }
    }
}
