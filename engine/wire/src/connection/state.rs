//! The life of one stream (RFC 9113 section 5.1), as two halves that close one by one.
//!
//! ```text
//!                              +--------+
//!                      send H /|  idle  |\ recv H            idle and closed streams have no slot:
//!                            v +--------+ v                  an id above the last one seen is idle,
//!                              +--------+                    one at or below it without a slot is closed.
//!                   recv ES   /|  open  |\   send ES
//!                            v +--------+ v                  send = Closed is "half-closed (local)",
//!             half-closed (remote)    half-closed (local)    recv = Closed is "half-closed (remote)".
//!                            \ +--------+ /
//!              send ES or R   >| closed |<  recv ES or R     Push is disabled on both sides, so the
//!                              +--------+                    reserved states do not occur.
//! ```

/// The receiving half of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecvState {
    /// A client waits for the response's header block.
    Head,
    /// The head has arrived: DATA or trailers may follow.
    Body,
    /// END_STREAM has arrived.
    Closed,
}

/// The sending half of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendState {
    /// A server has not sent its response's head yet.
    Head,
    /// The head is sent: DATA or trailers may follow.
    Body,
    /// The end is queued behind data that windows hold back.
    Ending,
    /// END_STREAM is written.
    Closed,
}

/// What an arriving header block is, by the state of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// The head of a response, or an informational one before it.
    Head,
    /// Trailers.
    Trailers,
}

/// A frame that the receiving half does not allow: STREAM_CLOSED or PROTOCOL_ERROR on that stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It came after END_STREAM.
    AfterEnd,
    /// DATA before the head, or trailers without END_STREAM.
    OutOfOrder,
}

impl RecvState {
    pub(super) fn after(self, end_stream: bool) -> RecvState {
        if end_stream { RecvState::Closed } else { self }
    }

    /// What a header block means here.
    pub(super) fn block(self, end_stream: bool) -> Result<Block, Refusal> {
        match self {
            RecvState::Head => Ok(Block::Head),
            RecvState::Body if end_stream => Ok(Block::Trailers),
            RecvState::Body => Err(Refusal::OutOfOrder),
            RecvState::Closed => Err(Refusal::AfterEnd),
        }
    }

    /// Whether DATA is allowed here.
    #[inline]
    pub(super) fn data(self) -> Result<(), Refusal> {
        match self {
            RecvState::Body => Ok(()),
            RecvState::Head => Err(Refusal::OutOfOrder),
            RecvState::Closed => Err(Refusal::AfterEnd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9113 section 5.1, copied by hand: state, frame, END_STREAM, and what follows.
    #[test]
    fn every_state_meets_every_frame() {
        use RecvState::{Body, Closed, Head};
        let blocks = [
            (Head, false, Ok(Block::Head)),
            (Head, true, Ok(Block::Head)),
            (Body, true, Ok(Block::Trailers)),
            (Body, false, Err(Refusal::OutOfOrder)),
            (Closed, false, Err(Refusal::AfterEnd)),
            (Closed, true, Err(Refusal::AfterEnd)),
        ];
        for (state, end_stream, expected) in blocks {
            assert_eq!(state.block(end_stream), expected, "{state:?} END_STREAM {end_stream}");
        }
        assert_eq!(Head.data(), Err(Refusal::OutOfOrder));
        assert_eq!(Body.data(), Ok(()));
        assert_eq!(Closed.data(), Err(Refusal::AfterEnd));
        assert_eq!(Body.after(true), Closed);
        assert_eq!(Body.after(false), Body);
    }
}
