//! One turn of a connection, step by step, and the steps by which it ends.

use super::input::Arrived;
use super::output::Output;
use super::{Driver, Phase};
use crate::backend::Outgoing;
use crate::inbox::{Due, Origin, signal};
use crate::limits::{
    EVENTS_PER_TURN, FLUSH, FORCED, LINGER, LINGER_BYTES_MAX, POLLS_PER_TURN, REFILLS_PER_TURN,
};
use crate::profile::{Unwatched, Watch, Watched};
use crate::session::{CloseReason, Io, Session};
use crate::timers::Target;
use crate::tls::{TlsError, is_record};
use corelane_observe::{Lap, Limit};
use corelane_wire::connection::{Cause, ConnectionError, Incidents, Received};
use corelane_wire::frame::ErrorCode;
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

/// The session, and its view of the connection: two disjoint parts of a driver.
macro_rules! session_and_io {
    ($driver:expr) => {{
        let io = Io {
            wire: &mut $driver.wire,
            now: $driver.now,
            calls: &mut $driver.calls,
            later: &mut $driver.later,
            inbox: &$driver.inbox,
            worker: &$driver.worker,
            peer: &$driver.peer,
            woken: &mut $driver.woken,
        };
        (&mut $driver.session, io)
    }};
}
pub(super) use session_and_io;

/// Whether what the protocol cannot bear at the beginning of a connection is TLS: the one mistake of a configuration that
/// is worth a text of its own. No frame that comes later is mistaken for it: it would be 1.3 MB long.
fn is_of_tls(error: ConnectionError, bytes: &[u8]) -> bool {
    matches!(error.cause, Cause::Preface | Cause::FirstFrame | Cause::FrameTooLarge) && is_record(bytes)
}

impl<S: Session> Driver<S> {
    /// Begins a turn.
    pub(super) fn begin(&mut self, cx: &Context<'_>) {
        self.inbox.enter(cx.waker());
        self.now = self.worker.begin_turn();
        self.wire.wake();
        self.events_left = EVENTS_PER_TURN;
        self.polls_left = POLLS_PER_TURN;
    }

    /// Ends a turn; `Ready` when the connection is over.
    pub(super) fn end(&mut self) -> Poll<()> {
        if self.worker.profile.is_on() {
            let (events, polls) = (EVENTS_PER_TURN - self.events_left, POLLS_PER_TURN - self.polls_left);
            self.worker.profile.turned(u32::from(events), u32::from(polls));
        }
        if let Some(incidents) = self.wire.take_incidents() {
            self.report(incidents);
        }
        if self.phase == Phase::Open && !self.wire.wants_input() {
            self.worker.counters.limits_hit.increment(Limit::Output);
        }
        if self.phase == Phase::Closing && !self.input.is_reading() && !self.output.is_writing() {
            self.input.close(&self.worker.buffers, &self.inbox);
            return Poll::Ready(());
        }
        Output::release(&mut self.wire, &self.worker.buffers);
        if let Some(tls) = &mut self.tls {
            tls.release(&self.worker.buffers);
        }
        self.watch();
        self.inbox.idle.set(self.wire.streams_count() == 0);
        self.inbox.large.set(self.input.is_large());
        self.inbox.reclaimable.set(self.input.holds_idle());
        if !self.later.is_empty() {
            self.inbox.ready.borrow_mut().append(&mut self.later);
        }
        if self.has_more() {
            self.worker.ticker.later(&self.inbox);
        } else if self.is_quiet() && self.inbox.origin == Origin::Accepted {
            self.wire.sleep();
        }
        self.inbox.leave();
        Poll::Pending
    }

    /// Whether a connection may give back what only one needs that has something to do: nothing has come for a while, or there has
    /// never been a call. A crowd that connects and waits is so never awake at once.
    fn is_quiet(&self) -> bool {
        let is_unused = self.input.has_read() && self.wire.is_unused();
        self.phase == Phase::Open && (self.inbox.quiet.get() || is_unused)
    }

    /// Something has ended the wait of a quiet connection, which may be that it is readable.
    pub(super) fn rouse(&mut self, readable: Poll<()>) {
        self.input.rouse(readable);
        if readable.is_ready() {
            self.inbox.quiet.set(false);
        }
    }

    /// Whether another turn would find something to do without anything new happening.
    fn has_more(&self) -> bool {
        let input = self.phase == Phase::Open && !self.input.starved && self.wire.wants_input();
        input || self.unpolled || self.inbox.has_notes()
    }

    /// A read has completed.
    pub(super) fn received(&mut self, result: io::Result<usize>, buffer: Vec<u8>) {
        self.inbox.reclaimable.set(false);
        match self.input.arrived(result, buffer) {
            Arrived::Bytes(bytes) => {
                self.worker.counters.bytes_in.add(bytes as u64);
                self.worker.profile.moved(Lap::Receive, bytes as u64);
                self.inbox.received_ns.set(self.now.as_nanos());
                self.inbox.quiet.set(false);
            }
            Arrived::Nothing => self.input.yield_buffer(&self.worker.buffers),
            // What came before the end is handed over first.
            Arrived::End => {}
            Arrived::Failed(error) => self.abort(&CloseReason::Io(error)),
        }
    }

    /// A write has completed.
    pub(super) fn sent(&mut self, result: io::Result<usize>, outgoing: Outgoing) {
        match self.output.written(result, outgoing, &self.worker.buffers) {
            Ok(bytes) => {
                self.worker.counters.bytes_out.add(bytes as u64);
                self.worker.profile.moved(Lap::Transmit, bytes as u64);
                // What waited for the output to shrink; without streams nothing did.
                self.touched |= self.wire.streams_count() != 0;
            }
            Err(error) => self.abort(&CloseReason::Io(error)),
        }
        self.inbox.writing_since_ns.set(0);
    }

    /// Everything between the completions and the next operations.
    pub(super) fn work(&mut self) {
        let signals = self.inbox.take_signals();
        if signals != 0 {
            self.obey(signals);
        }
        // Each step may end the connection, and a session that was told so hears nothing more.
        for step in [Self::feed, Self::tell_timers, Self::poll_calls, Self::settle] {
            if self.phase == Phase::Open {
                step(self);
            }
        }
        if self.phase != Phase::Open {
            self.take_leave();
        }
    }

    /// Hands what was received to the protocol, and its events to the session.
    fn feed(&mut self) {
        if self.input.starved || self.input.is_reading() {
            return;
        }
        if self.tls.is_some() {
            return self.feed_secure();
        }
        Output::prepare(&mut self.wire, &self.worker.buffers);
        self.touched = true;
        let handed = match self.worker.profile.is_on() {
            false => self.hand_over::<Unwatched>(),
            true => self.hand_over::<Watched>(),
        };
        if let Err(error) = handed {
            return match is_of_tls(error, self.input.unread()) {
                true => self.close(&CloseReason::TlsPeer, FLUSH, LINGER),
                false => self.fail(error),
            };
        }
        if self.input.is_ended() && self.input.starved {
            // An alert is shorter than the head of a frame.
            let is_tls = is_record(self.input.unread());
            let reason = if is_tls { CloseReason::TlsPeer } else { CloseReason::PeerClosed };
            self.close(&reason, FLUSH, Duration::ZERO);
        }
    }

    /// Has the session hear of one event after the other, as far as they have come and this turn allows.
    fn hand_over<W: Watch>(&mut self) -> Result<(), ConnectionError> {
        let (session, mut io) = session_and_io!(self);
        let input = &mut self.input;
        while self.events_left > 0 && io.wire.wants_input() {
            let received = io.wire.receive(io.now, input.unread());
            // By reference: an event is moved by pieces, and the processor waits for each.
            let Received { consumed, event } = match &received {
                Ok(received) => received,
                Err(error) => return Err(*error),
            };
            let Some(event) = event else {
                input.consume(*consumed);
                input.starved = true;
                io.inbox.partial_since_ns.set(input.partial_since(io.now));
                W::lap(&io.worker.profile, Lap::Wire);
                break;
            };
            W::lap(&io.worker.profile, Lap::Wire);
            self.events_left -= 1;
            session.event(&mut io, event);
            W::lap(&io.worker.profile, Lap::Handlers);
            input.consume(*consumed);
        }
        Ok(())
    }

    /// Tells the session, or the protocol, about timers that went off.
    fn tell_timers(&mut self) {
        if self.inbox.due.borrow().is_empty() {
            return;
        }
        Output::prepare(&mut self.wire, &self.worker.buffers);
        self.touched = true;
        let mut due = self.inbox.due.take();
        for due in due.drain(..) {
            match due {
                Due::Call { slot, serial } if self.calls.timer_fired(slot, serial) => {
                    let (session, mut io) = session_and_io!(self);
                    session.timer(&mut io, slot);
                }
                Due::Call { .. } => {}
                Due::Connection => {
                    self.timer = None;
                    if let Some(tls) = &self.tls
                        && tls.deadline().is_some_and(|at| at <= self.now)
                    {
                        let is_shaking = tls.is_handshaking();
                        let late = if is_shaking { TlsError::Timeout } else { TlsError::RecordTimeout };
                        return self.fail_secure(late);
                    }
                    if self.wire.poll_timeout().is_some_and(|at| at <= self.now)
                        && let Err(error) = self.wire.handle_timeout(self.now)
                    {
                        return self.fail(error);
                    }
                }
            }
        }
        let mut inbox = self.inbox.due.borrow_mut();
        if inbox.is_empty() {
            *inbox = due;
        }
        self.worker.profile.lap(Lap::Handlers);
    }

    /// Polls the calls that were woken.
    fn poll_calls(&mut self) {
        while self.polls_left > 0 && !self.inbox.ready.borrow().is_empty() {
            Output::prepare(&mut self.wire, &self.worker.buffers);
            self.touched = true;
            let mut ready = std::mem::take(&mut self.ready);
            std::mem::swap(&mut ready, &mut *self.inbox.ready.borrow_mut());
            let now = ready.len().min(usize::from(self.polls_left));
            self.polls_left -= u16::try_from(now).unwrap_or(u16::MAX);
            for slot in ready.drain(..now) {
                // Noted before the poll, so that a wake during the poll counts.
                self.calls.take_wake(slot);
                let (session, mut io) = session_and_io!(self);
                session.wake(&mut io, slot);
            }
            if ready.is_empty() {
                self.ready = ready;
            } else {
                // The budget is used up: what is left goes before what was woken meanwhile.
                ready.append(&mut self.inbox.ready.borrow_mut());
                *self.inbox.ready.borrow_mut() = ready;
            }
            self.worker.profile.lap(Lap::Handlers);
        }
    }

    /// Moves what was produced to the output, and lets streams that have room again produce more.
    fn settle(&mut self) {
        if !self.touched || self.phase != Phase::Open {
            return;
        }
        self.touched = false;
        Output::prepare(&mut self.wire, &self.worker.buffers);
        for _ in 0..REFILLS_PER_TURN {
            self.wire.transmit(self.now);
            self.worker.profile.lap(Lap::Transmit);
            let mut refilled = false;
            while let Some((_, tag)) = self.wire.poll_writable() {
                refilled = true;
                let (session, mut io) = session_and_io!(self);
                session.writable(&mut io, tag);
            }
            if !refilled {
                break;
            }
            self.worker.profile.lap(Lap::Handlers);
        }
        if self.wire.is_finished() {
            self.close(&CloseReason::Finished, FLUSH, LINGER);
        }
    }

    /// Does what the rest of the worker asked for.
    fn obey(&mut self, signals: u8) {
        if signals & signal::QUIET != 0 || signals & signal::RECLAIM != 0 && self.inbox.reclaimable.get() {
            self.input.recall();
        }
        if signals & signal::QUIET != 0 && self.wire.streams_count() == 0 {
            self.shrink();
        }
        if self.phase != Phase::Open {
            if signals & (signal::FORCE | signal::STALLED) != 0 {
                self.shut();
            }
            return;
        }
        if signals & signal::SCAN != 0 {
            self.inbox.ready.borrow_mut().extend(self.calls.woken());
        }
        if signals & signal::DRAIN != 0 {
            Output::prepare(&mut self.wire, &self.worker.buffers);
            self.wire.drain(self.now);
            let (session, mut io) = session_and_io!(self);
            session.drain(&mut io);
            self.touched = true;
        }
        if signals & signal::FORCE != 0 {
            Output::prepare(&mut self.wire, &self.worker.buffers);
            self.wire.goaway(ErrorCode::NO_ERROR, b"");
            self.close(&CloseReason::Shutdown, FORCED, FORCED);
        } else if signals & signal::HOLDS != 0 && self.inbox.partial_since_ns.get() != 0 {
            self.worker.counters.limits_hit.increment(Limit::PeerTime);
            self.abort(&CloseReason::FrameHeld);
        } else if signals & signal::STALLED != 0 {
            self.worker.counters.limits_hit.increment(Limit::WriteStall);
            self.abort(&CloseReason::WriteStalled);
        }
    }

    /// Gives back what calls have left behind.
    fn shrink(&mut self) {
        self.calls.shrink();
        self.wire.shrink();
        self.session.quiet();
        self.inbox.shrink();
        for list in [&mut self.later, &mut self.ready] {
            list.shrink_to_fit();
        }
        self.woken.shrink_to_fit();
    }

    /// Keeps the connection's own timer at the protocol's wish. A timer that is earlier than needed is left: when it goes off,
    /// the wish is read again.
    fn watch(&mut self) {
        let wish = match self.phase {
            Phase::Open => {
                let secured = self.tls.as_mut().and_then(|tls| {
                    tls.await_rest(self.wire.wants_input().then(|| self.now + self.worker.limits.tls_record));
                    tls.deadline()
                });
                [self.wire.poll_timeout(), secured].into_iter().flatten().min()
            }
            Phase::Flushing { until, .. } | Phase::Lingering { until, .. } => Some(until),
            Phase::Closing => None,
        };
        let Some(at) = wish else { return };
        if self.timer.is_some_and(|(armed, _)| armed <= at) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            self.worker.timers.cancel(timer);
        }
        let target = Target::Connection(self.inbox.key);
        self.timer = Some((at, self.worker.timers.insert(self.now, at, target)));
    }

    /// The next write to start.
    pub(super) fn next_send(&mut self) -> Option<Outgoing> {
        if self.phase == Phase::Closing {
            return None;
        }
        // Nearly every client calls with its preface, and our SETTINGS cost no write of their own then.
        let may_wait = self.tls.is_none() && self.wire.wants_input();
        if self.phase == Phase::Open && may_wait && self.wire.awaits_preface() {
            return None;
        }
        let next = self.output.next(&mut self.wire, self.tls.as_deref_mut(), &self.worker.buffers)?;
        self.inbox.writing_since_ns.set(self.now.as_nanos().max(1));
        Some(next)
    }

    /// The buffer of the next read to start.
    pub(super) fn next_recv(&mut self) -> Option<Vec<u8>> {
        if self.input.is_reading() || self.input.is_ended() || self.input.is_waiting(&self.inbox) {
            return None;
        }
        let wanted = match self.phase {
            Phase::Open => self.input.starved && self.events_left > 0 && self.wire.wants_input(),
            Phase::Flushing { .. } => false,
            Phase::Lingering { .. } => true,
            Phase::Closing => false,
        };
        if !wanted || self.is_quiet() && self.input.doze() {
            return None;
        }
        let next = self.input.next(&self.worker.buffers, &self.inbox);
        if next.is_none() {
            self.worker.counters.limits_hit.increment(Limit::ReceiveBuffers);
            self.worker.hunt_buffer();
        }
        next
    }

    /// The peer broke the protocol; the GOAWAY is in the output.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        let limit = match error.cause {
            Cause::Timeout => Some(Limit::PeerTime),
            Cause::Resets => Some(Limit::Resets),
            Cause::Faults => Some(Limit::Faults),
            Cause::Settings => Some(Limit::Settings),
            Cause::EmptyData => Some(Limit::EmptyData),
            Cause::BlockTooLarge => Some(Limit::HeaderBlock),
            _ => None,
        };
        limit.into_iter().for_each(|limit| self.worker.counters.limits_hit.increment(limit));
        self.close(&CloseReason::Protocol(error), FLUSH, LINGER);
    }

    fn report(&self, incidents: Incidents) {
        let counters = &self.worker.counters;
        counters.resets_in.add(incidents.resets_received.into());
        counters.resets_out.add(incidents.resets_sent.into());
        counters.limits_hit.add(Limit::Streams, incidents.streams_refused.into());
    }

    /// The connection is over: the session goes, what is owed is written.
    pub(super) fn close(&mut self, reason: &CloseReason, flush: Duration, linger: Duration) {
        if self.phase == Phase::Open {
            self.session.closed(reason, &mut self.woken);
            self.wire.transmit(self.now);
            if self.tls.as_ref().is_some_and(|tls| !tls.is_open()) {
                // It can never leave.
                self.wire.output().clear();
            }
            self.phase = Phase::Flushing { until: self.now + flush, linger };
        }
    }

    /// The connection is over and nothing more can be said to the peer.
    fn abort(&mut self, reason: &CloseReason) {
        if self.phase == Phase::Open {
            self.session.closed(reason, &mut self.woken);
        }
        self.shut();
    }

    fn shut(&mut self) {
        self.output.abandon(&mut self.wire);
        self.socket.shutdown(Shutdown::Both);
        self.phase = Phase::Closing;
    }

    /// The steps of a connection that is over: flush, say goodbye, listen a little, shut.
    fn take_leave(&mut self) {
        let now = self.now;
        if self.inbox.discard_notes() {
            self.timer = None;
        }
        if let Phase::Flushing { until, linger } = self.phase {
            if self.output.is_done(&self.wire) && self.has_said_goodbye() {
                if self.input.is_ended() {
                    return self.shut();
                }
                self.socket.shutdown(Shutdown::Write);
                self.phase = Phase::Lingering { until: now + linger, bytes_left: LINGER_BYTES_MAX };
            } else if until <= now {
                self.shut();
            }
        }
        if let Phase::Lingering { until, bytes_left } = self.phase {
            // A read that was in flight when we closed may have brought something; nobody wants it.
            let discarded = if self.input.is_reading() { 0 } else { self.input.discard() };
            let bytes_left = bytes_left.saturating_sub(discarded);
            self.phase = Phase::Lingering { until, bytes_left };
            if self.input.is_ended() || until <= now || bytes_left == 0 {
                self.shut();
            }
        }
    }
}
