//! Going away in two steps (RFC 9113 section 6.8): first a GOAWAY that only announces it, then one that names the last stream.
//!
//! Between the two lies a PING: when its answer is here, every stream that the peer opened before it read the announcement
//! has arrived, so the last stream's id is final and no call is lost.

use super::config::Config;
use super::{Connection, Role};
use crate::Instant;
use crate::frame::{self, ErrorCode, StreamId};

/// The payload of the PING between the two GOAWAY frames.
pub(super) const DRAIN_PING: [u8; 8] = *b"draining";

/// How far the going away has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    Running,
    /// The first GOAWAY and the PING are sent.
    Announced {
        at: Instant,
    },
    /// The final GOAWAY is sent: streams above it are not processed.
    Final {
        last: StreamId,
    },
    /// The peer goes away (a client's view): no new streams, the open ones may finish.
    PeerLeaves,
}

impl Shutdown {
    pub(super) fn timeout(self, config: &Config) -> Option<Instant> {
        match self {
            Shutdown::Announced { at } => Some(at + config.drain_ping_timeout),
            _ => None,
        }
    }
}

impl Connection {
    /// Begins to go away: no new calls are wanted, those that were sent are served. [`Connection::is_finished`] says when
    /// the last stream has ended.
    pub fn drain(&mut self, now: Instant) {
        if self.failed.is_some() || !matches!(self.shutdown, Shutdown::Running | Shutdown::PeerLeaves) {
            return;
        }
        if self.role == Role::Client {
            self.finish_drain();
            return;
        }
        frame::write_goaway(&mut self.outbound.out, StreamId::MAX, ErrorCode::NO_ERROR, &[]);
        frame::write_ping(&mut self.outbound.out, frame::Ack::No, DRAIN_PING);
        self.shutdown = Shutdown::Announced { at: now };
    }

    /// The second step.
    pub(super) fn finish_drain(&mut self) {
        let last = self.inbound.last_stream;
        frame::write_goaway(&mut self.outbound.out, last, ErrorCode::NO_ERROR, &[]);
        self.shutdown = Shutdown::Final { last };
    }

    /// Ends the connection at once: GOAWAY with `code` and `debug`, and nothing more is accepted.
    pub fn goaway(&mut self, code: ErrorCode, debug: &[u8]) {
        if self.failed.is_none() {
            let error = super::ConnectionError { code, cause: super::Cause::Local };
            self.failed = Some(error);
            frame::write_goaway(&mut self.outbound.out, self.inbound.last_stream, code, debug);
        }
    }

    /// Whether nothing more will happen here: one side has gone away and no stream is open. The output may still hold bytes.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let leaving = matches!(self.shutdown, Shutdown::Final { .. } | Shutdown::PeerLeaves);
        self.failed.is_some() || leaving && self.streams.len() == 0
    }

    /// Whether a GOAWAY was sent or received.
    #[must_use]
    pub fn is_going_away(&self) -> bool {
        self.failed.is_some() || self.shutdown != Shutdown::Running
    }
}
