//! PING (RFC 9113 6.7).

use alloc::vec::Vec;

use super::{Ack, Flags, FrameError, Header, Kind, StreamId};

/// A round trip to measure or to keep alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Whether it answers one of ours.
    pub ack: bool,
    /// Opaque bytes, to be sent back as they are.
    pub payload: [u8; 8],
}

impl Ping {
    pub(super) fn parse(header: Header, payload: &[u8]) -> Result<Ping, FrameError> {
        header.expect_connection()?;
        let Ok(payload) = <[u8; 8]>::try_from(payload) else { return Err(FrameError::size()) };
        Ok(Ping { ack: header.flags.contains(Flags::ACK), payload })
    }
}

/// Appends a PING frame.
pub fn write_ping(out: &mut Vec<u8>, ack: Ack, payload: [u8; 8]) {
    let flags = match ack {
        Ack::Yes => Flags::ACK,
        Ack::No => Flags::NONE,
    };
    Header { len: 8, kind: Kind::PING, flags, stream: StreamId::ZERO }.write(out);
    out.extend_from_slice(&payload);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::testing::{parse_one, parse_with};
    use crate::frame::{ErrorCode, Frame, Reason};

    #[test]
    fn a_stream_is_not_pinged() {
        assert_eq!(
            parse_with(Kind::PING, Flags::NONE, StreamId::new(1), &[0; 8]),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamNotZero))
        );
    }

    #[test]
    fn it_has_eight_bytes() {
        for payload in [&[][..], &[0; 7], &[0; 9]] {
            assert_eq!(
                parse_with(Kind::PING, Flags::ACK, StreamId::ZERO, payload),
                Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(ack: bool, payload: [u8; 8]) {
            let mut out = vec![];
            write_ping(&mut out, Ack::from(ack), payload);
            prop_assert_eq!(parse_one(&out), Ok(Frame::Ping(Ping { ack, payload })));
        }
    }
}
