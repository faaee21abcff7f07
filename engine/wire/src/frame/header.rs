//! The nine bytes before every payload (RFC 9113 4.1), and the numbers in them.
//!
//! Does not: judge a header by its kind; that needs the payload and is `parse`'s work.

use alloc::vec::Vec;
use core::fmt;
use core::ops::BitOr;

use super::{ErrorCode, FrameError, MAX_FRAME_SIZE_MAX, Reason};

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 9;

/// The number of a stream: 31 bits, zero for the connection itself (RFC 9113 5.1.1).
///
/// ```
/// use corelane_wire::frame::StreamId;
///
/// let id = StreamId::new(5);
/// assert!(id.is_client_initiated());
/// assert_eq!(id.next(), Some(StreamId::new(7)));
/// assert_eq!(StreamId::MAX.next(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The connection as a whole.
    pub const ZERO: StreamId = StreamId(0);
    /// The largest number there is; a client's last stream, and the first GOAWAY of a graceful end.
    pub const MAX: StreamId = StreamId((1 << 31) - 1);

    /// The stream with this number. The top bit is reserved and dropped, as RFC 9113 4.1 asks of a receiver.
    #[inline]
    #[must_use]
    pub const fn new(value: u32) -> StreamId {
        StreamId(value & StreamId::MAX.0)
    }

    /// The number.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether this means the connection.
    #[inline]
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Odd numbers: streams that the client opens.
    #[inline]
    #[must_use]
    pub const fn is_client_initiated(self) -> bool {
        self.0 & 1 == 1
    }

    /// Even numbers but zero: streams that the server promises.
    #[inline]
    #[must_use]
    pub const fn is_server_initiated(self) -> bool {
        self.0 != 0 && self.0 & 1 == 0
    }

    /// The next stream of the same side; `None` when the numbers are used up.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Option<StreamId> {
        if self.0 + 2 > StreamId::MAX.0 { None } else { Some(StreamId(self.0 + 2)) }
    }

    #[inline]
    pub(super) const fn from_bytes(bytes: [u8; 4]) -> StreamId {
        StreamId::new(u32::from_be_bytes(bytes))
    }

    #[inline]
    pub(super) const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a frame is. A number, not an enum: unknown ones must be carried and ignored (RFC 9113 5.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// DATA (6.1).
    pub const DATA: Kind = Kind(0x00);
    /// HEADERS (6.2).
    pub const HEADERS: Kind = Kind(0x01);
    /// PRIORITY (6.3).
    pub const PRIORITY: Kind = Kind(0x02);
    /// RST_STREAM (6.4).
    pub const RST_STREAM: Kind = Kind(0x03);
    /// SETTINGS (6.5).
    pub const SETTINGS: Kind = Kind(0x04);
    /// PUSH_PROMISE (6.6).
    pub const PUSH_PROMISE: Kind = Kind(0x05);
    /// PING (6.7).
    pub const PING: Kind = Kind(0x06);
    /// GOAWAY (6.8).
    pub const GOAWAY: Kind = Kind(0x07);
    /// WINDOW_UPDATE (6.9).
    pub const WINDOW_UPDATE: Kind = Kind(0x08);
    /// CONTINUATION (6.10).
    pub const CONTINUATION: Kind = Kind(0x09);

    /// The RFC's word for it, if it has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Kind::DATA => "DATA",
            Kind::HEADERS => "HEADERS",
            Kind::PRIORITY => "PRIORITY",
            Kind::RST_STREAM => "RST_STREAM",
            Kind::SETTINGS => "SETTINGS",
            Kind::PUSH_PROMISE => "PUSH_PROMISE",
            Kind::PING => "PING",
            Kind::GOAWAY => "GOAWAY",
            Kind::WINDOW_UPDATE => "WINDOW_UPDATE",
            Kind::CONTINUATION => "CONTINUATION",
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "UNKNOWN({:#04x})", self.0),
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The flags of a frame; what a bit means depends on the kind, and unknown bits are ignored (RFC 9113 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// DATA and HEADERS: the sender's last frame on this stream.
    pub const END_STREAM: Flags = Flags(0x01);
    /// SETTINGS and PING: an answer.
    pub const ACK: Flags = Flags(0x01);
    /// HEADERS, PUSH_PROMISE and CONTINUATION: the field block is complete.
    pub const END_HEADERS: Flags = Flags(0x04);
    /// DATA, HEADERS and PUSH_PROMISE: a pad length comes first.
    pub const PADDED: Flags = Flags(0x08);
    /// HEADERS: five bytes of priority come before the fragment.
    pub const PRIORITY: Flags = Flags(0x20);

    /// Whether every bit of `flags` is set.
    #[inline]
    #[must_use]
    pub const fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These without others.
    #[inline]
    #[must_use]
    pub const fn without(self, flags: Flags) -> Flags {
        Flags(self.0 & !flags.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;

    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// A frame header.
///
/// ```
/// use corelane_wire::frame::{Flags, Header, Kind, StreamId};
///
/// let header = Header { len: 8, kind: Kind::PING, flags: Flags::ACK, stream: StreamId::ZERO };
/// assert_eq!(header.to_bytes(), [0, 0, 8, 6, 1, 0, 0, 0, 0]);
/// assert_eq!(Header::parse(&header.to_bytes()), header);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload that follow: 24 bits.
    pub len: u32,
    /// What the frame is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// The stream that it belongs to.
    pub stream: StreamId,
}

impl Header {
    /// Reads a header. Every nine bytes are one.
    #[inline]
    #[must_use]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Header {
        let [len0, len1, len2, kind, flags, stream @ ..] = *bytes;
        Header {
            len: u32::from_be_bytes([0, len0, len1, len2]),
            kind: Kind(kind),
            flags: Flags(flags),
            stream: StreamId::from_bytes(stream),
        }
    }

    /// The header as it goes on the wire.
    ///
    /// # Panics
    ///
    /// If `len` has more than 24 bits, which only we can cause.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; HEADER_LEN] {
        assert!(self.len <= MAX_FRAME_SIZE_MAX, "a frame's length has 24 bits");
        let [_, len0, len1, len2] = self.len.to_be_bytes();
        let [id0, id1, id2, id3] = self.stream.to_bytes();
        [len0, len1, len2, self.kind.0, self.flags.0, id0, id1, id2, id3]
    }

    /// Appends the header.
    ///
    /// # Panics
    ///
    /// If `len` has more than 24 bits, which only we can cause.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// Bytes of payload that follow, for slicing.
    #[inline]
    #[must_use]
    pub const fn payload_len(self) -> usize {
        self.len as usize // 24 bits: no loss where a usize has 32
    }

    /// Holds the length against `max_frame`, our SETTINGS_MAX_FRAME_SIZE, before the payload has arrived.
    ///
    /// # Errors
    ///
    /// FRAME_SIZE_ERROR. RFC 9113 4.2 would let some kinds get away with a stream error; but a payload that we
    /// refuse to buffer is one that we would have to skip, and only a broken or hostile peer sends it.
    #[inline]
    pub const fn check_len(self, max_frame: u32) -> Result<(), FrameError> {
        if self.len > max_frame {
            return Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameTooLarge));
        }
        Ok(())
    }

    /// Refuses stream zero: this kind belongs to a stream.
    #[inline]
    pub(super) const fn expect_stream(self) -> Result<(), FrameError> {
        if self.stream.is_zero() {
            return Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamZero));
        }
        Ok(())
    }

    /// Refuses any stream: this kind belongs to the connection.
    #[inline]
    pub(super) const fn expect_connection(self) -> Result<(), FrameError> {
        if !self.stream.is_zero() {
            return Err(FrameError::Connection(ErrorCode::PROTOCOL_ERROR, Reason::StreamNotZero));
        }
        Ok(())
    }
}

/// Writes `header` over the nine bytes at `at`, which were kept free for it.
///
/// # Panics
///
/// If there are fewer than nine bytes at `at`, or the length has more than 24 bits: our own mistakes.
#[inline]
pub fn write_header_at(out: &mut [u8], at: usize, header: Header) {
    out[at..at + HEADER_LEN].copy_from_slice(&header.to_bytes());
}

/// `len` as a header carries it.
///
/// # Panics
///
/// If it has more than 24 bits, which only we can cause: peers' payloads are parsed, not written.
#[inline]
pub(super) fn len_u24(len: usize) -> u32 {
    match u32::try_from(len) {
        Ok(len) if len <= MAX_FRAME_SIZE_MAX => len,
        _ => panic!("a frame's length has 24 bits"),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_reserved_bit_of_a_stream_id_is_ignored() {
        let header = Header::parse(&[0, 0, 4, 3, 0, 0x80, 0, 0, 1]);
        assert_eq!(header.stream, StreamId::new(1));
        assert_eq!(header.to_bytes(), [0, 0, 4, 3, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn sides_own_odd_and_even_numbers() {
        assert!(StreamId::new(1).is_client_initiated());
        assert!(!StreamId::new(2).is_client_initiated());
        assert!(StreamId::new(2).is_server_initiated());
        assert!(!StreamId::ZERO.is_server_initiated());
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::new((1 << 31) - 3).next(), Some(StreamId::MAX));
    }

    #[test]
    fn a_length_over_our_limit_is_a_frame_size_error() {
        let header = Header { len: 16_385, kind: Kind::DATA, flags: Flags::NONE, stream: StreamId::new(1) };
        assert_eq!(header.check_len(16_385), Ok(()));
        assert_eq!(
            header.check_len(16_384),
            Err(FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameTooLarge))
        );
    }

    #[test]
    fn back_patching_touches_nine_bytes() {
        let mut out = vec![7; HEADER_LEN + 2];
        let header = Header { len: 1, kind: Kind::DATA, flags: Flags::END_STREAM, stream: StreamId::new(3) };
        write_header_at(&mut out, 1, header);
        assert_eq!(out, [7, 0, 0, 1, 0, 1, 0, 0, 0, 3, 7]);
    }

    #[test]
    fn kinds_have_the_names_of_the_rfc() {
        assert_eq!(Kind::WINDOW_UPDATE.to_string(), "WINDOW_UPDATE");
        assert_eq!(Kind(0x0a).to_string(), "UNKNOWN(0x0a)");
    }

    proptest! {
        #[test]
        fn a_header_survives_the_wire(len in 0..=MAX_FRAME_SIZE_MAX, kind: u8, flags: u8, stream: u32) {
            let header = Header { len, kind: Kind(kind), flags: Flags(flags), stream: StreamId::new(stream) };
            prop_assert_eq!(Header::parse(&header.to_bytes()), header);
        }

        #[test]
        fn any_nine_bytes_are_a_header(bytes: [u8; HEADER_LEN]) {
            let mut without_reserved = bytes;
            without_reserved[5] &= 0x7f;
            prop_assert_eq!(Header::parse(&bytes).to_bytes(), without_reserved);
        }
    }
}
