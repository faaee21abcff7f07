//! PRIORITY (RFC 9113 6.3): deprecated, still checked, never acted upon.

use alloc::vec::Vec;

use super::{ErrorCode, Flags, FrameError, Header, Kind, Reason, StreamId};

pub(super) const PRIORITY_LEN: usize = 5;

/// The five bytes of priority advice, in PRIORITY and in HEADERS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriorityFields {
    /// The stream that this one should wait for.
    pub depends_on: StreamId,
    /// Whether it should be the only one to do so.
    pub exclusive: bool,
    /// Its weight less one, as it is on the wire.
    pub weight: u8,
}

impl PriorityFields {
    #[inline]
    pub(super) const fn from_bytes(bytes: [u8; PRIORITY_LEN]) -> PriorityFields {
        let [id @ .., weight] = bytes;
        PriorityFields { depends_on: StreamId::from_bytes(id), exclusive: id[0] & 0x80 != 0, weight }
    }

    const fn to_bytes(self) -> [u8; PRIORITY_LEN] {
        let [id0, id1, id2, id3] = self.depends_on.to_bytes();
        let exclusive = if self.exclusive { 0x80 } else { 0 };
        [id0 | exclusive, id1, id2, id3, self.weight]
    }
}

/// Priority advice on its own; it may come in any state of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// Its stream, never zero.
    pub stream: StreamId,
    /// The advice, never a dependency on the stream itself.
    pub fields: PriorityFields,
}

impl Priority {
    pub(super) fn parse(header: Header, payload: &[u8]) -> Result<Priority, FrameError> {
        header.expect_stream()?;
        let stream = header.stream;
        let Ok(bytes) = <[u8; PRIORITY_LEN]>::try_from(payload) else {
            return Err(FrameError::Stream(stream, ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize));
        };
        let fields = PriorityFields::from_bytes(bytes);
        if fields.depends_on == stream {
            return Err(FrameError::Stream(stream, ErrorCode::PROTOCOL_ERROR, Reason::SelfDependency));
        }
        Ok(Priority { stream, fields })
    }
}

/// Appends a PRIORITY frame. For tests and tools: nobody should send it any more.
pub fn write_priority(out: &mut Vec<u8>, stream: StreamId, fields: PriorityFields) {
    Header { len: 5, kind: Kind::PRIORITY, flags: Flags::NONE, stream }.write(out);
    out.extend_from_slice(&fields.to_bytes());
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame;
    use crate::frame::testing::{parse_one, parse_with, stream_id};

    #[test]
    fn stream_zero_has_no_priority() {
        assert_eq!(
            parse_with(Kind::PRIORITY, Flags::NONE, StreamId::ZERO, &[0; 5]),
            Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamZero))
        );
    }

    #[test]
    fn a_wrong_size_is_the_streams_error() {
        let id = StreamId::new(7);
        for payload in [&[][..], &[0; 4], &[0; 6]] {
            assert_eq!(
                parse_with(Kind::PRIORITY, Flags::NONE, id, payload),
                Err(FrameError::Stream(id, ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize))
            );
        }
    }

    #[test]
    fn a_dependency_on_itself_is_the_streams_error() {
        let id = StreamId::new(7);
        assert_eq!(
            parse_with(Kind::PRIORITY, Flags::NONE, id, &[0x80, 0, 0, 7, 0]),
            Err(FrameError::Stream(id, ErrorCode::PROTOCOL_ERROR, Reason::SelfDependency))
        );
    }

    proptest! {
        #[test]
        fn round_trip(stream in stream_id(), on: u32, exclusive: bool, weight: u8) {
            let fields = PriorityFields { depends_on: StreamId::new(on), exclusive, weight };
            prop_assume!(fields.depends_on != stream);
            let mut out = vec![];
            write_priority(&mut out, stream, fields);
            prop_assert_eq!(parse_one(&out), Ok(Frame::Priority(Priority { stream, fields })));
        }
    }
}
