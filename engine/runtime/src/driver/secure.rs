//! The steps of a turn that differ on a secured connection.

use super::Driver;
use super::output::Output;
use super::turn::session_and_io;
use crate::limits::{FLUSH, LINGER};
use crate::session::{CloseReason, Io, Session};
use crate::tls::TlsError;
use corelane_observe::{Lap, Limit};
use std::time::Duration;

impl<S: Session> Driver<S> {
    /// Decrypts what was received, hands it to the protocol, and its events to the session.
    pub(super) fn feed_secure(&mut self) {
        Output::prepare(&mut self.wire, &self.worker.buffers);
        self.touched = true;
        while self.events_left > 0 && self.wire.wants_input() {
            let tls = self.tls.as_mut().expect("the connection is secured");
            let received = match self.wire.receive(self.now, tls.unread()) {
                Ok(received) => received,
                Err(error) => return self.fail(error),
            };
            let consumed = received.consumed;
            if let Some(event) = &received.event {
                self.events_left -= 1;
                let (session, mut io) = session_and_io!(self);
                io.worker.profile.lap(Lap::Wire);
                session.event(&mut io, event);
                self.worker.profile.lap(Lap::Handlers);
                self.consume_secure(consumed);
                continue;
            }
            self.consume_secure(consumed);
            match self.decrypt() {
                Ok(true) => {}
                Ok(false) => {
                    self.input.starved = true;
                    break;
                }
                Err(error) => return self.fail_secure(error),
            }
        }
        self.worker.profile.lap(Lap::Wire);
        let is_ended = self.tls.as_ref().is_some_and(|tls| tls.is_ended()) || self.input.is_ended();
        if is_ended && self.input.starved {
            // Without a close_notify too: HTTP/2 has ends of its own, so that nothing can be cut off unnoticed.
            self.close(&CloseReason::PeerClosed, FLUSH, Duration::ZERO);
        }
    }

    fn consume_secure(&mut self, bytes: usize) {
        self.tls.as_mut().expect("the connection is secured").consume(bytes);
    }

    /// Decrypts more of what was received; says whether there is anything to see.
    fn decrypt(&mut self) -> Result<bool, TlsError> {
        let tls = self.tls.as_mut().expect("the connection is secured");
        let (taken, is_more) = tls.more(self.input.unread(), &self.worker.buffers)?;
        self.input.consume(taken);
        Ok(is_more)
    }

    /// The connection cannot be secured; the alert is on its way.
    pub(super) fn fail_secure(&mut self, error: TlsError) {
        if matches!(error, TlsError::Timeout | TlsError::RecordTimeout) {
            self.worker.counters.limits_hit.increment(Limit::PeerTime);
        }
        tracing::debug!(%error, peer = ?self.peer.remote, "a connection could not be secured");
        self.close(&CloseReason::Tls(error), FLUSH, LINGER);
    }

    /// Whether the peer was told that nothing more comes, as far as TLS has words for it; has it told.
    pub(super) fn has_said_goodbye(&mut self) -> bool {
        let Some(tls) = &mut self.tls else { return true };
        tls.end();
        !tls.has_output(0)
    }
}
