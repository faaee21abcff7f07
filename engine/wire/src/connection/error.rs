//! Faults by who must answer for them: the connection, one stream, or the caller.

use core::fmt;

use crate::frame::{ErrorCode, FrameError, Reason, StreamId};
use crate::hpack::DecodeError;

/// The connection is over: GOAWAY with this code was written, or could not be any more. It sticks: every later call gives
/// the same error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code of the GOAWAY frame.
    pub code: ErrorCode,
    /// What the peer did.
    pub cause: Cause,
}

/// What the peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A frame broke RFC 9113 section 6.
    Frame(Reason),
    /// A header block could not be decoded (RFC 7541).
    HeaderBlock(DecodeError),
    /// The connection did not begin with the preface.
    Preface,
    /// The first frame was not SETTINGS.
    FirstFrame,
    /// A frame was larger than SETTINGS_MAX_FRAME_SIZE.
    FrameTooLarge,
    /// Another frame came between the frames of a header block.
    InterruptedBlock,
    /// CONTINUATION without a header block before it.
    StrayContinuation,
    /// A header block had too many or too large frames.
    BlockTooLarge,
    /// A stream id that the peer may not use.
    StreamId,
    /// A frame for a stream that was never opened.
    IdleStream,
    /// A header block for a closed stream.
    ClosedStream,
    /// More DATA than the connection's window allows, or a window beyond 2^31-1.
    Window,
    /// PUSH_PROMISE, or a server that announced ENABLE_PUSH.
    Push,
    /// It reset more streams than [`Config`](super::Config) allows for those that end well.
    Resets,
    /// Too many streams had to be reset for its faults.
    Faults,
    /// Too many SETTINGS frames, or too many settings in one.
    Settings,
    /// Too many empty DATA frames.
    EmptyData,
    /// The preface, the first SETTINGS or the rest of a header block or frame did not come in time.
    Timeout,
    /// We ended the connection.
    Local,
}

impl Cause {
    fn text(self) -> &'static str {
        match self {
            Cause::Frame(_) => "a malformed frame",
            Cause::HeaderBlock(_) => "a header block that cannot be decoded",
            Cause::Preface => "no HTTP/2 connection preface",
            Cause::FirstFrame => "the first frame was not SETTINGS",
            Cause::FrameTooLarge => "a frame larger than SETTINGS_MAX_FRAME_SIZE",
            Cause::InterruptedBlock => "another frame inside a header block",
            Cause::StrayContinuation => "CONTINUATION without a header block",
            Cause::BlockTooLarge => "a header block with too many or too large frames",
            Cause::StreamId => "a stream id that the peer may not use",
            Cause::IdleStream => "a frame for a stream that was never opened",
            Cause::ClosedStream => "a header block for a closed stream",
            Cause::Window => "a flow-control window was exceeded",
            Cause::Push => "server push, which is disabled",
            Cause::Resets => "too many streams reset",
            Cause::Faults => "too many faults that cost a stream",
            Cause::Settings => "too many SETTINGS frames, or settings in one",
            Cause::EmptyData => "too many empty DATA frames",
            Cause::Timeout => "the peer was too slow",
            Cause::Local => "the connection was ended locally",
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.cause.text())?;
        match self.cause {
            Cause::Frame(reason) => write!(f, " ({reason})"),
            Cause::HeaderBlock(reason) => write!(f, " ({reason})"),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for ConnectionError {}

impl ConnectionError {
    pub(super) const fn protocol(cause: Cause) -> ConnectionError {
        ConnectionError { code: ErrorCode::PROTOCOL_ERROR, cause }
    }

    pub(super) const fn calm(cause: Cause) -> ConnectionError {
        ConnectionError { code: ErrorCode::ENHANCE_YOUR_CALM, cause }
    }
}

/// A fault of the peer, by what it costs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// GOAWAY.
    Connection(ConnectionError),
    /// RST_STREAM.
    Stream(StreamId, ErrorCode),
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Fault {
        Fault::Connection(error)
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Fault {
        match error {
            FrameError::Connection(code, reason) => {
                Fault::Connection(ConnectionError { code, cause: Cause::Frame(reason) })
            }
            FrameError::Stream(id, code, _) => Fault::Stream(id, code),
        }
    }
}

/// Why a client could not open a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached.
    Full,
    /// The connection is going away or has failed.
    GoingAway,
    /// All stream ids are used up: a new connection is needed.
    Exhausted,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::Full => "the peer allows no more concurrent streams",
            OpenError::GoingAway => "the connection is going away",
            OpenError::Exhausted => "the connection has used up its stream ids",
        })
    }
}

impl core::error::Error for OpenError {}

/// The caller used a stream in a way that its state does not allow; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// DATA or trailers before the head.
    BeforeHead,
    /// A second head.
    SecondHead,
    /// Anything after the end.
    AfterEnd,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misuse::BeforeHead => "data or trailers were sent before the head",
            Misuse::SecondHead => "a second head was sent",
            Misuse::AfterEnd => "something was sent after the end of the stream",
        })
    }
}

impl core::error::Error for Misuse {}
