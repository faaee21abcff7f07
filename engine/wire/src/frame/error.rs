//! What is wrong with a frame: where the error reaches, its code on the wire, and the rule that was broken.

use core::fmt;

use super::{ErrorCode, StreamId};

/// A frame that breaks a rule, by how far the damage goes (RFC 9113 5.4).
///
/// A stream error is only given where the frame can be dropped without losing what the connection shares: never for
/// a frame with a field block, since the compression state is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The connection cannot go on: GOAWAY with this code.
    Connection(ErrorCode, Reason),
    /// Only this stream is affected: RST_STREAM with this code.
    Stream(StreamId, ErrorCode, Reason),
}

impl FrameError {
    /// The code for RST_STREAM or GOAWAY.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            FrameError::Connection(code, _) | FrameError::Stream(_, code, _) => code,
        }
    }

    /// The rule that was broken.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            FrameError::Connection(_, reason) | FrameError::Stream(_, _, reason) => reason,
        }
    }

    #[inline]
    pub(super) const fn size() -> FrameError {
        FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize)
    }

    #[inline]
    pub(super) const fn protocol(reason: Reason) -> FrameError {
        FrameError::Connection(ErrorCode::PROTOCOL_ERROR, reason)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Connection(code, reason) => write!(f, "connection error {code}: {reason}"),
            FrameError::Stream(stream, code, reason) => write!(f, "stream {stream} error {code}: {reason}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// The rule that a frame broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Longer than our SETTINGS_MAX_FRAME_SIZE (4.2).
    FrameTooLarge,
    /// Not a size that this kind of frame can have (4.2, 6.x).
    FrameSize,
    /// On stream zero, but this kind belongs to a stream.
    StreamZero,
    /// On a stream, but this kind belongs to the connection.
    StreamNotZero,
    /// As much padding as payload, or more (6.1, 6.2, 6.6).
    Padding,
    /// A stream that depends on itself (RFC 7540 5.3.1).
    SelfDependency,
    /// An acknowledgement with settings in it (6.5).
    SettingsAckNotEmpty,
    /// SETTINGS_ENABLE_PUSH is neither 0 nor 1 (6.5.2).
    EnablePush,
    /// SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1 (6.5.2).
    InitialWindowSize,
    /// SETTINGS_MAX_FRAME_SIZE outside 2^14..2^24-1 (6.5.2).
    MaxFrameSize,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1 (RFC 8441 3).
    EnableConnectProtocol,
    /// SETTINGS_NO_RFC7540_PRIORITIES is neither 0 nor 1 (RFC 9218 2.1).
    NoRfc7540Priorities,
    /// A promise of a stream that no server can open (6.6).
    PromisedStream,
    /// WINDOW_UPDATE by nothing (6.9).
    WindowIncrementZero,
}

impl Reason {
    /// The rule in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::FrameTooLarge => "frame longer than SETTINGS_MAX_FRAME_SIZE",
            Reason::FrameSize => "frame size impossible for its type",
            Reason::StreamZero => "frame type not allowed on stream 0",
            Reason::StreamNotZero => "frame type only allowed on stream 0",
            Reason::Padding => "padding as long as the payload",
            Reason::SelfDependency => "stream depends on itself",
            Reason::SettingsAckNotEmpty => "SETTINGS acknowledgement with a payload",
            Reason::EnablePush => "SETTINGS_ENABLE_PUSH neither 0 nor 1",
            Reason::InitialWindowSize => "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1",
            Reason::MaxFrameSize => "SETTINGS_MAX_FRAME_SIZE out of range",
            Reason::EnableConnectProtocol => "SETTINGS_ENABLE_CONNECT_PROTOCOL neither 0 nor 1",
            Reason::NoRfc7540Priorities => "SETTINGS_NO_RFC7540_PRIORITIES neither 0 nor 1",
            Reason::PromisedStream => "promised stream id is not a server's",
            Reason::WindowIncrementZero => "WINDOW_UPDATE increment of 0",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn errors_say_where_what_and_why() {
        let error = FrameError::Stream(StreamId::new(3), ErrorCode::FRAME_SIZE_ERROR, Reason::FrameSize);
        assert_eq!(error.to_string(), "stream 3 error FRAME_SIZE_ERROR: frame size impossible for its type");
        let error = FrameError::protocol(Reason::StreamZero);
        assert_eq!(error.to_string(), "connection error PROTOCOL_ERROR: frame type not allowed on stream 0");
        assert_eq!((error.code(), error.reason()), (ErrorCode::PROTOCOL_ERROR, Reason::StreamZero));
    }
}
