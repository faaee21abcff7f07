//! RST_STREAM (RFC 9113 6.4).

use alloc::vec::Vec;

use super::{ErrorCode, Flags, FrameError, Header, Kind, StreamId};

/// The end of one stream, by error or change of mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RstStream {
    /// Its stream, never zero; that it is not idle is for the connection to see.
    pub stream: StreamId,
    /// Why.
    pub code: ErrorCode,
}

impl RstStream {
    #[inline]
    pub(super) fn parse(header: Header, payload: &[u8]) -> Result<RstStream, FrameError> {
        header.expect_stream()?;
        let Ok(code) = <[u8; 4]>::try_from(payload) else { return Err(FrameError::size()) };
        Ok(RstStream { stream: header.stream, code: ErrorCode::from_bytes(code) })
    }
}

/// Appends a RST_STREAM frame.
pub fn write_rst_stream(out: &mut Vec<u8>, stream: StreamId, code: ErrorCode) {
    Header { len: 4, kind: Kind::RST_STREAM, flags: Flags::NONE, stream }.write(out);
    out.extend_from_slice(&code.to_bytes());
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::testing::{parse_one, parse_with, stream_id};
    use crate::frame::{Frame, Reason};

    #[test]
    fn stream_zero_cannot_be_reset() {
        assert_eq!(
            parse_with(Kind::RST_STREAM, Flags::NONE, StreamId::ZERO, &[0; 4]),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamZero))
        );
    }

    #[test]
    fn a_wrong_size_is_the_connections_error() {
        for payload in [&[][..], &[0; 3], &[0; 5]] {
            assert_eq!(
                parse_with(Kind::RST_STREAM, Flags::NONE, StreamId::new(1), payload),
                Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(stream in stream_id(), code: u32) {
            let code = ErrorCode::new(code);
            let mut out = vec![];
            write_rst_stream(&mut out, stream, code);
            prop_assert_eq!(parse_one(&out), Ok(Frame::RstStream(RstStream { stream, code })));
        }
    }
}
