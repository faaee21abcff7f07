//! Frames of RFC 9113, parsed and written side by side: one file for each kind, both directions in it.
//!
//! [`parse`] takes a [`Header`] and exactly the payload that it announced, and gives a [`Frame`] that borrows from it.
//! The writers append whole frames to a `Vec<u8>`; where the length is not known beforehand, [`reserve_header`]
//! keeps room that [`write_header_at`] or [`finish_headers`] fill in, so that a payload is encoded in place.
//!
//! Invariant: what [`parse`] lets through obeys every rule of RFC 9113 section 6 that one frame alone can break:
//! sizes, stream zero or not, padding, the values of SETTINGS, increments of zero.
//!
//! Does not: know streams or windows, reassemble field blocks, answer anything. Rules about the order of frames, and the
//! size limit of our own SETTINGS ([`Header::check_len`] is there for it), belong to the connection.
//!
//! ```
//! use corelane_wire::frame::{self, EndStream, Frame, Header, StreamId};
//!
//! let mut out = Vec::new();
//! frame::write_data(&mut out, StreamId::new(1), EndStream::Yes, b"hello");
//!
//! let (header, payload) = out.split_first_chunk().unwrap();
//! let header = Header::parse(header);
//! match frame::parse(header, payload) {
//!     Ok(Frame::Data(data)) => assert_eq!((data.payload, data.end_stream), (&b"hello"[..], true)),
//!     other => panic!("{other:?}"),
//! }
//! ```

mod block;
mod code;
mod continuation;
mod data;
mod error;
mod goaway;
mod header;
mod headers;
mod ping;
mod priority;
mod push_promise;
mod rst_stream;
mod window_update;

#[cfg(any(fuzzing, test))]
pub mod fuzz;
pub mod settings;

pub use block::{finish_headers, reserve_header};
pub use code::ErrorCode;
pub use continuation::{Continuation, write_continuation};
pub use data::{Data, write_data, write_data_header};
pub use error::{FrameError, Reason};
pub use goaway::{GoAway, write_goaway};
pub use header::{Flags, HEADER_LEN, Header, Kind, StreamId, write_header_at};
pub use headers::{Headers, write_headers};
pub use ping::{Ping, write_ping};
pub use priority::{Priority, PriorityFields, write_priority};
pub use push_promise::{PushPromise, write_push_promise};
pub use rst_stream::{RstStream, write_rst_stream};
pub use settings::{SettingId, Settings, write_settings, write_settings_ack};
pub use window_update::{WindowUpdate, write_window_update};

/// What a client sends before its first frame (RFC 9113 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest payload that every peer must take, and SETTINGS_MAX_FRAME_SIZE until it says otherwise (RFC 9113 6.5.2).
pub const MAX_FRAME_SIZE_MIN: u32 = 1 << 14;
/// The largest payload that a length of 24 bits can announce.
pub const MAX_FRAME_SIZE_MAX: u32 = (1 << 24) - 1;
/// The largest flow-control window, and the largest increment of one (RFC 9113 6.9.1).
pub const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Every window's size before SETTINGS or WINDOW_UPDATE change it (RFC 9113 6.9.2).
pub const WINDOW_DEFAULT: u32 = (1 << 16) - 1;

/// Whether this is the last frame that its sender sends on the stream, HEADERS and its CONTINUATIONs counting as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndStream {
    /// It is: END_STREAM is set.
    Yes,
    /// More follows.
    No,
}

/// Whether the field block ends with this frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndHeaders {
    /// It does: END_HEADERS is set.
    Yes,
    /// A CONTINUATION follows at once.
    No,
}

/// Whether a PING or SETTINGS frame answers one of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It is the answer.
    Yes,
    /// It asks for one.
    No,
}

impl From<bool> for EndStream {
    #[inline]
    fn from(end: bool) -> EndStream {
        if end { EndStream::Yes } else { EndStream::No }
    }
}

impl From<bool> for EndHeaders {
    #[inline]
    fn from(end: bool) -> EndHeaders {
        if end { EndHeaders::Yes } else { EndHeaders::No }
    }
}

impl From<bool> for Ack {
    #[inline]
    fn from(ack: bool) -> Ack {
        if ack { Ack::Yes } else { Ack::No }
    }
}

/// One frame, borrowing from the payload that it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Payload of a stream.
    Data(Data<'a>),
    /// A field block, or its beginning.
    Headers(Headers<'a>),
    /// Deprecated priority advice.
    Priority(Priority),
    /// The end of one stream, by error or change of mind.
    RstStream(RstStream),
    /// The peer's parameters, or its word that it applied ours.
    Settings(Settings<'a>),
    /// A server's announcement of an unasked response.
    PushPromise(PushPromise<'a>),
    /// A round trip to measure or to keep alive.
    Ping(Ping),
    /// The beginning of the connection's end.
    GoAway(GoAway<'a>),
    /// Credit for a window.
    WindowUpdate(WindowUpdate),
    /// More of a field block.
    Continuation(Continuation<'a>),
    /// A kind that nobody here knows: to be ignored, but not amid a field block (RFC 9113 5.5, 6.10).
    Unknown,
}

/// Parses the payload that `header` announced.
///
/// `payload` is exactly `header.len` bytes; how many a frame may have is the caller's rule ([`Header::check_len`]).
///
/// # Errors
///
/// The rule of RFC 9113 section 6 that the frame breaks, and whether that ends the stream or the connection.
#[inline]
pub fn parse(header: Header, payload: &[u8]) -> Result<Frame<'_>, FrameError> {
    debug_assert_eq!(
        usize::try_from(header.len),
        Ok(payload.len()),
        "the payload is what the header announced"
    );
    match header.kind {
        Kind::DATA => Data::parse(header, payload).map(Frame::Data),
        Kind::HEADERS => Headers::parse(header, payload).map(Frame::Headers),
        Kind::WINDOW_UPDATE => WindowUpdate::parse(header, payload).map(Frame::WindowUpdate),
        Kind::RST_STREAM => RstStream::parse(header, payload).map(Frame::RstStream),
        Kind::PING => Ping::parse(header, payload).map(Frame::Ping),
        Kind::SETTINGS => Settings::parse(header, payload).map(Frame::Settings),
        Kind::CONTINUATION => Continuation::parse(header, payload).map(Frame::Continuation),
        Kind::GOAWAY => GoAway::parse(header, payload).map(Frame::GoAway),
        Kind::PRIORITY => Priority::parse(header, payload).map(Frame::Priority),
        Kind::PUSH_PROMISE => PushPromise::parse(header, payload).map(Frame::PushPromise),
        _ => Ok(Frame::Unknown),
    }
}

#[cfg(test)]
pub(crate) mod testing;
