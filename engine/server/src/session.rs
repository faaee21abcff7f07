//! The server's side of one connection: from the events of its streams to calls, and back.
//!
//! Does not: own the socket or the protocol, which it is lent for each event; read a clock. Invariant: an exchange lives
//! from its stream's head to its end or reset, and a pending call is either in its method's homes or being polled.
//!
//! The number of an exchange is its stream's. Wakers and timers go by one more, since 0 is the sweep's: one timer for all calls
//! of the connection whose request is not complete. Calls that are answered at once, nearly all, never set a timer of their own.
//!
//! This file takes requests in; `session/running.rs` runs calls, `session/ending.rs` ends them, `session/places.rs` is where
//! they stay.

mod ending;
mod places;
mod running;

use std::rc::Rc;
use std::task::Waker;

use corelane_call::{GatherError, Gathered, Inbound, Metadata, Peer, give_buffer, take_buffer};
use corelane_observe::Limit;
use corelane_runtime::{CloseReason, Io, Session};
use corelane_wire::Instant;
use corelane_wire::connection::{Event, StreamKey};
use corelane_wire::grpc::whole;

use crate::call::{Call, Exchange, Passed, State, Timer, not_one_message};
use crate::dispatch::{Body, Requests};
use crate::head::{Head, Heads, Refused};
use crate::refusal::{DISCARDED_MAX, Refusal};
use crate::reply::{self, ReplyState};
use crate::worker::Worker;

use places::Places;

/// The slot of the timer for calls whose request is not complete.
const SWEEP: u32 = 0;

/// The waker's and timer's slot of an exchange.
#[inline]
fn slot(index: u32) -> u32 {
    index + 1
}

/// The calls of one connection.
pub(crate) struct ServerSession {
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    places: Places,
    heads: Heads,
    /// When the sweep's timer goes off.
    sweep_at: Option<Instant>,
    /// The time of the last event.
    now: Instant,
}

impl ServerSession {
    pub(crate) fn new(worker: Rc<Worker>, peer: Rc<Peer>) -> ServerSession {
        ServerSession {
            worker,
            peer,
            places: Places::default(),
            heads: Heads::default(),
            sweep_at: None,
            now: Instant::default(),
        }
    }
}

impl Session for ServerSession {
    #[inline]
    fn event(&mut self, io: &mut Io<'_>, event: &Event<'_>) {
        self.now = io.now;
        match *event {
            Event::Data { key, payload, end_stream, .. } => self.data(io, key, payload, end_stream),
            Event::Headers { key, end_stream, too_large, .. } => self.request(io, key, end_stream, too_large),
            Event::Trailers { key, .. } => self.data(io, key, &[], true),
            Event::Reset { key, .. } => {
                if self.places.find(key).is_some() {
                    self.cancel(io, key.index());
                }
            }
            Event::Informational { .. } | Event::Settings | Event::Goaway { .. } | Event::Pong { .. } => {}
        }
    }

    fn wake(&mut self, io: &mut Io<'_>, slot: u32) {
        if let Some(index) = slot.checked_sub(1) {
            self.resume(io, index);
        }
    }

    fn timer(&mut self, io: &mut Io<'_>, slot: u32) {
        match slot.checked_sub(1) {
            None => self.sweep(io),
            Some(index) => self.expire(io, index),
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, tag: u32) {
        self.resume(io, tag);
    }

    fn drain(&mut self, _io: &mut Io<'_>) {
        // `wire` has told the peer. Calls in flight go on, and so do those that are on their way.
    }

    fn quiet(&mut self) {
        self.places.shrink_if_empty();
        self.heads = Heads::default();
    }

    fn closed(&mut self, _reason: &CloseReason, _: &mut Vec<Waker>) {
        self.abandon();
    }
}

/// Whatever ends a connection, its calls are dropped with care.
impl Drop for ServerSession {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl ServerSession {
    /// A new stream.
    fn request(&mut self, io: &mut Io<'_>, key: StreamKey, end_stream: bool, too_large: bool) {
        let worker = &*self.worker;
        let head = if too_large {
            worker.counters.limits_hit.increment(Limit::HeaderList);
            Err(Refused::Http(Refusal::fields_too_large()))
        } else {
            let (block, fields) = (io.wire.known_block(), io.wire.fields());
            self.heads.read(block, fields, &worker.router, &worker.methods)
        };
        match head {
            Ok(head) => self.begin(io, key, &head, end_stream),
            Err(Refused::Http(refusal)) if end_stream => refusal.send(io.wire, key),
            Err(Refused::Http(refusal)) => {
                self.places.put(Exchange::Refused { key, refusal });
            }
            Err(Refused::Grpc(status)) => reply::refuse(io.wire, key, &status, None),
            Err(Refused::Encoding(status, accepted)) => {
                reply::refuse(io.wire, key, &status, Some(accepted));
            }
        }
    }

    /// A request that becomes a call, if it is admitted.
    #[inline]
    fn begin(&mut self, io: &mut Io<'_>, key: StreamKey, head: &Head, end_stream: bool) {
        let worker = &*self.worker;
        let deadline = worker.deadline(head.timeout, io.now);
        let permit = match worker.admission.admit() {
            Ok(permit) => permit,
            Err(status) => {
                worker.counters.limits_hit.increment(Limit::Admission);
                return reply::refuse(io.wire, key, &status, None);
            }
        };
        worker.counters.call_started();
        let requests = worker.entry(head.method).method.requests();
        // The fields stay in one place: the call shares a known head's, and has others in a list from an earlier call.
        let fields = io.wire.take_fields(corelane_call::take_fields);
        let call = Call {
            key,
            method: head.method,
            encoding: head.encoding,
            state: State::Gathering(None),
            reply: ReplyState::new(head.accept),
            started: io.now,
            deadline,
            metadata: Metadata::from_shared(fields),
            timer: Timer::Unset,
            passed: Passed::No,
            _permit: permit,
        };
        let index = self.places.put(Exchange::Call(call));
        if deadline.is_some_and(|deadline| deadline <= io.now) {
            return self.expire(io, index);
        }
        match requests {
            Requests::Many => {
                let inbound = Rc::new(Inbound::new());
                if end_stream {
                    inbound.end(Waker::wake_by_ref);
                }
                self.start(io, index, Body::Stream(inbound));
            }
            Requests::One if end_stream => self.end(io, index, Err(not_one_message(GatherError::Missing))),
            Requests::One => self.watch(io, deadline),
        }
    }

    /// A piece of a request.
    #[inline]
    fn data(&mut self, io: &mut Io<'_>, key: StreamKey, payload: &[u8], end_stream: bool) {
        let index = key.index();
        let ServerSession { worker, peer, places, .. } = self;
        let call = match places.find(key) {
            Some(Exchange::Call(call)) => call,
            Some(Exchange::Refused { .. }) => return self.discard(io, index, payload.len(), end_stream),
            None => return,
        };
        if let State::Gathering(pieces) = &call.state {
            let size_max = worker.entry(call.method).options.decoding_size_max;
            return match whole(payload, size_max).filter(|_| end_stream && pieces.is_none()) {
                Some(message) => {
                    let step = running::start(worker, peer, io, index, call, Body::Message(message));
                    self.go_on(io, index, step);
                }
                None => self.gather(io, index, payload, end_stream),
            };
        }
        if let Some(inbound) = call.state.inbound() {
            // Straight away: whoever reads a handler's requests has no way back to this connection.
            inbound.push(payload, Waker::wake_by_ref);
            if end_stream {
                inbound.end(Waker::wake_by_ref);
            }
            // The reader was woken and is polled after the events of this turn; what nobody will read is credited now.
            reply::credit(io.wire, key, inbound.take_credit());
        }
    }

    /// A piece of a request that takes one message and does not come as one piece.
    fn gather(&mut self, io: &mut Io<'_>, index: u32, payload: &[u8], end_stream: bool) {
        let worker = self.worker.clone();
        let Some(call) = self.places.call(index) else { return };
        let size_max = worker.entry(call.method).options.decoding_size_max;
        let State::Gathering(pieces) = &mut call.state else { return };
        let gathered = pieces.get_or_insert_with(|| Gathered::new(take_buffer()));
        let credit = match gathered.push(payload, size_max) {
            Ok(credit) => credit,
            Err(error) => {
                worker.counters.limits_hit.increment(Limit::MessageReceived);
                return self.end(io, index, Err(not_one_message(error)));
            }
        };
        if !end_stream {
            return reply::credit(io.wire, call.key, credit);
        }
        let Some(gathered) = pieces.take() else { return };
        match gathered.message().map(drop) {
            Ok(()) => self.start(io, index, Body::Gathered(gathered)),
            Err(error) => {
                give_buffer(gathered.into_storage());
                self.end(io, index, Err(not_one_message(error)));
            }
        }
    }

    /// A piece of a request that was refused.
    fn discard(&mut self, io: &mut Io<'_>, index: u32, len: usize, end_stream: bool) {
        let Some(Exchange::Refused { key, refusal }) = self.places.at(index) else { return };
        let key = *key;
        refusal.discarded += len;
        if !end_stream && refusal.discarded <= DISCARDED_MAX {
            let len = u32::try_from(len).expect("a frame is far smaller");
            return reply::credit(io.wire, key, len);
        }
        if let Some(Exchange::Refused { refusal, .. }) = self.places.take(index) {
            refusal.send(io.wire, key);
        }
    }
}
