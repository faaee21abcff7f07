//! What a connection tells its owner.

use corelane_memory::Key;

use crate::frame::{ErrorCode, StreamId};

/// Names a stream of one connection: its slot and the slot's generation, so that a key outlives its stream harmlessly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey(pub(super) Key);

impl StreamKey {
    /// The stream's number: small, and no two streams have the same one at a time. A stream that it was given to before has
    /// ended, and [`Event::Reset`] has said so unless its owner had ended its own side.
    #[inline]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0.index()
    }
}

/// The tag of a stream whose owner has set none.
pub const TAG_NONE: u32 = u32::MAX;

/// What [`super::Connection::receive`] took, and the event that it met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'b> {
    /// Octets taken from the front of the input.
    pub consumed: usize,
    /// The event; `None` says that the rest is an incomplete frame.
    pub event: Option<Event<'b>>,
}

/// Something the owner of a connection must know. `tag` is what the owner set on the stream ([`TAG_NONE`] before).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A server's new request, or a client's response head; [`super::Connection::fields`] holds its fields.
    Headers {
        /// The stream.
        key: StreamKey,
        /// Its owner's tag.
        tag: u32,
        /// Whether nothing follows.
        end_stream: bool,
        /// Whether the list was over its limits: only a front part of it is there, and the call must be refused.
        too_large: bool,
    },
    /// An informational (1xx) head; more follow.
    Informational {
        /// The stream.
        key: StreamKey,
        /// Its owner's tag.
        tag: u32,
    },
    /// Trailers: the peer's half is closed; [`super::Connection::fields`] holds them.
    Trailers {
        /// The stream.
        key: StreamKey,
        /// Its owner's tag.
        tag: u32,
        /// Whether the list was over its limits and is incomplete.
        too_large: bool,
    },
    /// A piece of the body. Its length must be credited ([`super::Stream::credit`]) once it is consumed.
    Data {
        /// The stream.
        key: StreamKey,
        /// Its owner's tag.
        tag: u32,
        /// A range of the input, padding removed.
        payload: &'b [u8],
        /// Whether nothing follows.
        end_stream: bool,
    },
    /// The stream is over: reset by the peer, or by us for its fault. The key is dead.
    Reset {
        /// The stream.
        key: StreamKey,
        /// Its owner's tag.
        tag: u32,
        /// Why.
        code: ErrorCode,
        /// Who reset it.
        by: ResetBy,
    },
    /// The peer's settings have changed.
    Settings,
    /// The peer is going away; streams above `last_stream` were not and will not be processed.
    Goaway {
        /// The last stream the peer may have processed.
        last_stream: StreamId,
        /// Why.
        code: ErrorCode,
        /// Words for a human, not for logs unasked: the peer chose them.
        debug: &'b [u8],
    },
    /// The answer to a [`super::Connection::ping`].
    Pong {
        /// What was sent.
        payload: [u8; 8],
    },
}

/// Who ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetBy {
    /// The peer sent RST_STREAM.
    Peer,
    /// The peer broke a rule, and RST_STREAM was sent to it.
    Us,
    /// The peer went away without having processed it (GOAWAY).
    Goaway,
}
