//! WINDOW_UPDATE (RFC 9113 6.9).

use alloc::vec::Vec;

use super::{ErrorCode, Flags, FrameError, Header, Kind, Reason, StreamId, WINDOW_MAX};

/// Credit for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowUpdate {
    /// The stream whose window grows, or zero for the connection's.
    pub stream: StreamId,
    /// By how many bytes: 1 to [`WINDOW_MAX`].
    pub increment: u32,
}

impl WindowUpdate {
    #[inline]
    pub(super) fn parse(header: Header, payload: &[u8]) -> Result<WindowUpdate, FrameError> {
        let Ok(bytes) = <[u8; 4]>::try_from(payload) else { return Err(FrameError::size()) };
        let stream = header.stream;
        let increment = u32::from_be_bytes(bytes) & WINDOW_MAX; // the top bit is reserved
        match (increment, stream) {
            (0, StreamId::ZERO) => Err(FrameError::protocol(Reason::WindowIncrementZero)),
            (0, _) => Err(FrameError::Stream(stream, ErrorCode::PROTOCOL_ERROR, Reason::WindowIncrementZero)),
            _ => Ok(WindowUpdate { stream, increment }),
        }
    }
}

/// Appends a WINDOW_UPDATE frame.
///
/// # Panics
///
/// If the increment is zero or over [`WINDOW_MAX`], which only we can cause.
#[inline]
pub fn write_window_update(out: &mut Vec<u8>, stream: StreamId, increment: u32) {
    assert!((1..=WINDOW_MAX).contains(&increment), "an increment is 1 to 2^31-1");
    Header { len: 4, kind: Kind::WINDOW_UPDATE, flags: Flags::NONE, stream }.write(out);
    out.extend_from_slice(&increment.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame;
    use crate::frame::testing::{parse_one, parse_with};

    #[test]
    fn it_has_four_bytes() {
        for (payload, stream) in [(&[0; 3][..], 0), (&[0; 5], 0), (&[], 1), (&[0; 3], 1), (&[0; 8], 1)] {
            assert_eq!(
                parse_with(Kind::WINDOW_UPDATE, Flags::NONE, StreamId::new(stream), payload),
                Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
            );
        }
    }

    #[test]
    fn nothing_is_no_increment() {
        for payload in [[0; 4], [0x80, 0, 0, 0]] {
            assert_eq!(
                parse_with(Kind::WINDOW_UPDATE, Flags::NONE, StreamId::ZERO, &payload),
                Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::WindowIncrementZero))
            );
            let id = StreamId::new(9);
            assert_eq!(
                parse_with(Kind::WINDOW_UPDATE, Flags::NONE, id, &payload),
                Err(FrameError::Stream(id, ErrorCode::PROTOCOL_ERROR, Reason::WindowIncrementZero))
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(stream: u32, increment in 1..=WINDOW_MAX) {
            let stream = StreamId::new(stream);
            let mut out = vec![];
            write_window_update(&mut out, stream, increment);
            prop_assert_eq!(parse_one(&out), Ok(Frame::WindowUpdate(WindowUpdate { stream, increment })));
        }
    }
}
