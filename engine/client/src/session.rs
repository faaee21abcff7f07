//! The client's side of one connection: from calls to streams, and from the events of streams to what callers wait for.
//!
//! Callers reach it through the connection's [`Link`]: they open a stream, and poll its slot. The number of a slot is the tag of
//! its stream. Deadlines of all calls share one timer, set to the first: calls that are answered in time, nearly all, never
//! touch the wheel.
//!
//! Does not: choose connections, decode messages, retry. Invariant: a slot lives from its stream's head until its caller has
//! taken the outcome or given up; an ended slot has no stream.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use corelane_call::{
    Code, Encoding, EncodingSet, Gathered, Inbound, Metadata, Status, take_buffer, take_fields,
};
use corelane_memory::{Gather, Key, Slab};
use corelane_runtime::{CloseReason, Io, Link, Session, TlsError};
use corelane_wire::connection::{Event, OpenError, ResetBy, StreamKey};
use corelane_wire::frame::{EndStream, ErrorCode};
use corelane_wire::hpack::{BlockMap, Template};
use corelane_wire::{FieldList, Instant, Name};

use crate::end::{Begun, End, Lost, Outcome};
use crate::error::Place;
use crate::guarded::guarded;
use crate::head::{Heads, Presence};
use crate::keepalive::{Keepalive, Next};
use crate::standing::{Phase, Standing};
use crate::{Cause, Failure};

/// The timer of all deadlines.
const SWEEP: u32 = 0;
/// The timer of keepalive.
const KEEPALIVE: u32 = 1;

/// Calls of one connection: more than any server allows.
const CALLS_MAX: u32 = 1 << 20;

/// A connection with its calls.
pub(crate) type ClientLink = Link<ClientSession>;

/// What is known of a call when its stream is opened.
pub(crate) struct Opening<'a> {
    pub(crate) head: &'a Template,
    /// Fields of this call's own.
    pub(crate) more: Option<&'a FieldList>,
    /// [`Instant::MAX`] without one.
    pub(crate) deadline: Instant,
    pub(crate) receive_max: usize,
    pub(crate) accept: EncodingSet,
}

/// Why no stream was opened.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// The server allows no more now.
    Full,
    /// The connection takes no more calls.
    Leaving,
}

/// Where a call's messages go.
enum Body {
    /// One, to be kept until its caller takes it.
    One(Gathered),
    /// Any number. A stream that fails after it has begun needs a status here, so what a status says is kept too.
    Many { inbound: Rc<Inbound>, origin: Rc<Origin> },
}

/// What the status of a call says beside its cause.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) endpoint: Arc<str>,
    pub(crate) attempt: u32,
    pub(crate) began: Instant,
}

impl Origin {
    fn failure(&self, cause: Cause, now: Instant) -> Failure {
        let endpoint = Some(self.endpoint.clone());
        let elapsed = now.since(self.began);
        Failure { cause, endpoint, attempt: self.attempt, elapsed, before: None, stop: None }
    }
}

struct Call {
    stream: StreamKey,
    deadline: Instant,
    receive_max: usize,
    accept: EncodingSet,
    encoding: Encoding,
    begun: Begun,
    body: Body,
    metadata: Option<Arc<FieldList>>,
    trailers: Metadata,
    end: Option<End>,
    /// The task that waits for the head or the end.
    waker: Option<Waker>,
    /// The task that sends the requests.
    pump: Option<Waker>,
}

/// See the module.
pub(crate) struct ClientSession {
    calls: Slab<Call>,
    standing: Rc<Standing>,
    /// When the sweep comes.
    sweep_at: Instant,
    keepalive: Option<Keepalive>,
    heads: Heads,
    /// Trailers that say OK and nothing else.
    plain_ends: BlockMap<()>,
}

impl ClientSession {
    pub(crate) fn new(standing: Rc<Standing>, keepalive: Option<Keepalive>) -> ClientSession {
        ClientSession {
            calls: Slab::new(CALLS_MAX),
            standing,
            sweep_at: Instant::MAX,
            keepalive,
            heads: Heads::default(),
            plain_ends: BlockMap::default(),
        }
    }

    /// Opens a stream for a call with one response.
    #[inline]
    pub(crate) fn open_one(
        &mut self,
        io: &mut Io<'_>,
        opening: &Opening<'_>,
        end: EndStream,
    ) -> Result<Key, Unopened> {
        self.open(io, opening, end, Body::One(Gathered::new(take_buffer()))).map(|(key, _)| key)
    }

    /// Opens a stream for a call with one request, which `encode` appends, and one response. Says beside the key whether the
    /// request was sent, as [`send`](Self::send) does.
    #[inline]
    pub(crate) fn open_unary(
        &mut self,
        io: &mut Io<'_>,
        opening: &Opening<'_>,
        encode: impl FnOnce(&mut Gather<'_>) -> Result<(), Status>,
    ) -> Result<(Key, Result<(), Status>), Unopened> {
        let body = Body::One(Gathered::new(take_buffer()));
        let (key, stream) = self.open(io, opening, EndStream::No, body)?;
        Ok((key, ClientSession::send_on(io, stream, EndStream::Yes, encode)))
    }

    /// Opens a stream for a call whose responses go to `inbound`.
    pub(crate) fn open_many(
        &mut self,
        io: &mut Io<'_>,
        opening: &Opening<'_>,
        end: EndStream,
        inbound: Rc<Inbound>,
        origin: Rc<Origin>,
    ) -> Result<Key, Unopened> {
        self.open(io, opening, end, Body::Many { inbound, origin }).map(|(key, _)| key)
    }

    #[inline]
    fn open(
        &mut self,
        io: &mut Io<'_>,
        opening: &Opening<'_>,
        end: EndStream,
        body: Body,
    ) -> Result<(Key, StreamKey), Unopened> {
        if self.standing.phase() != Phase::Ready {
            return Err(Unopened::Leaving);
        }
        let Some(key) = self.calls.vacant_key() else { return Err(Unopened::Full) };
        let stream = match io.wire.open_template(opening.head, opening.more, end, key.index()) {
            Ok(stream) => stream,
            Err(OpenError::Full) => return Err(Unopened::Full),
            Err(OpenError::GoingAway | OpenError::Exhausted) => {
                self.standing.set_phase(Phase::Leaving, |waker| io.wake_after(waker));
                return Err(Unopened::Leaving);
            }
        };
        let call = Call {
            stream,
            deadline: opening.deadline,
            receive_max: opening.receive_max,
            accept: opening.accept,
            encoding: Encoding::Identity,
            begun: Begun::No,
            body,
            metadata: None,
            trailers: Metadata::new(),
            end: None,
            waker: None,
            pump: None,
        };
        let inserted = self.calls.insert(call).is_ok();
        debug_assert!(inserted, "there was a vacant key just before");
        self.standing.opened();
        if opening.deadline < self.sweep_at {
            self.sweep_at = opening.deadline;
            io.set_timer(SWEEP, opening.deadline);
        }
        if let Some(keepalive) = &mut self.keepalive
            && let Some(at) = keepalive.call_began(io.now)
        {
            io.set_timer(KEEPALIVE, at);
        }
        Ok((key, stream))
    }

    /// Sends a message: `encode` appends it, prefix included.
    ///
    /// # Errors
    /// What `encode` says: no message was sent then, and the call is to be ended. `Ok` also where the call had ended before.
    #[inline]
    pub(crate) fn send(
        &mut self,
        io: &mut Io<'_>,
        key: Key,
        end: EndStream,
        encode: impl FnOnce(&mut Gather<'_>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let Some(call) = self.calls.get(key) else { return Ok(()) };
        ClientSession::send_on(io, call.stream, end, encode)
    }

    #[inline]
    fn send_on(
        io: &mut Io<'_>,
        stream: StreamKey,
        end: EndStream,
        encode: impl FnOnce(&mut Gather<'_>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let Some(stream) = io.wire.stream(stream) else { return Ok(()) };
        let mut encoded = Ok(());
        let _ = stream.send_gathered(end, |out| encoded = guarded(out, encode));
        encoded
    }

    /// Sends the end of the requests.
    pub(crate) fn send_end(&mut self, io: &mut Io<'_>, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        if let Some(stream) = io.wire.stream(call.stream) {
            let _ = stream.send_data(&[], EndStream::Yes);
        }
    }

    /// Ready when requests can be sent, or need not be any more.
    pub(crate) fn poll_room(&mut self, io: &mut Io<'_>, key: Key, cx: &Context<'_>) -> Poll<Room> {
        let Some(call) = self.calls.get_mut(key) else { return Poll::Ready(Room::Over) };
        let Some(mut stream) = io.wire.stream(call.stream) else { return Poll::Ready(Room::Over) };
        if stream.send_room() > 0 {
            return Poll::Ready(Room::Left);
        }
        call.pump = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Has `cx` woken when the call ends, while its pump waits for requests.
    pub(crate) fn watch_end(&mut self, key: Key, cx: &Context<'_>) {
        if let Some(call) = self.calls.get_mut(key)
            && call.end.is_none()
            && !call.pump.as_ref().is_some_and(|known| known.will_wake(cx.waker()))
        {
            call.pump = Some(cx.waker().clone());
        }
    }

    /// The outcome of a call with one response, once it is there.
    #[inline]
    pub(crate) fn poll_one(&mut self, key: Key, cx: &Context<'_>) -> Poll<Outcome> {
        let Some(call) = self.calls.get_mut(key) else { return Poll::Ready(Outcome::gone()) };
        let Some(end) = call.end.take() else {
            wait(call, cx);
            return Poll::Pending;
        };
        let message = match &mut call.body {
            Body::One(gathered) => std::mem::take(gathered),
            Body::Many { .. } => Gathered::default(),
        };
        // Taken one by one: the whole is larger than what is wanted of it.
        let outcome = Outcome {
            end,
            begun: call.begun,
            encoding: call.encoding,
            metadata: call.metadata.take().map(Metadata::from_shared).unwrap_or_default(),
            trailers: std::mem::take(&mut call.trailers),
            message,
        };
        self.calls.remove(key);
        Poll::Ready(outcome)
    }

    /// The head of a call with many responses, or its end without one.
    pub(crate) fn poll_head(
        &mut self,
        key: Key,
        cx: &Context<'_>,
    ) -> Poll<Result<(Encoding, Metadata), Outcome>> {
        let Some(call) = self.calls.get_mut(key) else { return Poll::Ready(Err(Outcome::gone())) };
        let succeeded = matches!(&call.end, Some(End::Answered(status)) if status.code() == Code::Ok);
        match (call.begun, &call.end) {
            (Begun::Yes, _) => {}
            (Begun::No, None) => {
                wait(call, cx);
                return Poll::Pending;
            }
            (Begun::No, Some(_)) if succeeded => {}
            (Begun::No, Some(_)) => return self.poll_one(key, cx).map(Err),
        }
        let metadata = call.metadata.take().map(Metadata::from_shared).unwrap_or_default();
        Poll::Ready(Ok((call.encoding, metadata)))
    }

    /// The caller is done with a call: its stream ends if it has not. How it ended, and the trailers, if it has.
    pub(crate) fn give_up(&mut self, io: &mut Io<'_>, key: Key) -> Option<(End, Metadata)> {
        let call = self.calls.remove(key)?;
        if let Some(stream) = io.wire.stream(call.stream) {
            stream.reset(ErrorCode::CANCEL);
        }
        if let Some(pump) = call.pump {
            io.wake_after(pump);
        }
        if call.end.is_none() {
            ClientSession::closed_one(&self.standing, io);
        }
        Some((call.end?, call.trailers))
    }

    /// Ends a call that has not ended, for a reason of its caller's side.
    pub(crate) fn abort(&mut self, io: &mut Io<'_>, key: Key, lost: Lost) {
        if self.calls.get(key).is_some_and(|call| call.end.is_none()) {
            self.finish(io, key, lost.into());
        }
    }

    /// The reader is done with so many bytes.
    pub(crate) fn credit(io: &mut Io<'_>, stream: StreamKey, bytes: u32) {
        if let Some(mut stream) = io.wire.stream(stream) {
            stream.credit(bytes);
        }
    }

    /// As `give_up`, whether the connection lives or not.
    pub(crate) fn release(link: &ClientLink, key: Key) -> Option<(End, Metadata)> {
        link.with(|session, io| session.give_up(io, key)).unwrap_or_else(|| {
            let call = link.session(|session| session.calls.remove(key))?;
            Some((call.end?, call.trailers))
        })
    }

    /// The stream of a call.
    pub(crate) fn stream_of(&self, key: Key) -> Option<StreamKey> {
        self.calls.get(key).map(|call| call.stream)
    }

    /// A stream is free again.
    #[inline]
    fn closed_one(standing: &Standing, io: &mut Io<'_>) {
        if let Some(waker) = standing.closed() {
            io.wake_after(waker);
        }
    }

    fn headers(&mut self, io: &mut Io<'_>, tag: u32, end_stream: bool, too_large: bool) {
        let Some((key, call)) = self.calls.at_mut(tag) else { return };
        if call.end.is_some() {
            return;
        }
        if too_large {
            return self.fail(io, key, Cause::HeadersTooLarge);
        }
        let head = match self.heads.read(io.wire.known_block(), io.wire.fields(), call.accept) {
            Ok(head) => head,
            Err(cause) => return self.fail(io, key, cause),
        };
        if end_stream {
            return self.trailers(io, key);
        }
        call.encoding = head.encoding;
        call.begun = Begun::Yes;
        if head.metadata == Presence::Yes {
            call.metadata = Some(io.wire.take_fields(take_fields));
        }
        if matches!(call.body, Body::Many { .. })
            && let Some(waker) = call.waker.take()
        {
            io.wake_after(waker);
        }
    }

    /// The response has ended with a status, or should have.
    fn trailers(&mut self, io: &mut Io<'_>, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let known = io.wire.known_block();
        let is_plain = self.plain_ends.get(known).is_some() || plain_success(io.wire.fields());
        let fields = io.wire.fields();
        let end = match is_plain {
            true => {
                self.plain_ends.insert(known, ());
                End::Answered(Status::ok())
            }
            false => match Status::from_fields(fields) {
                Some(status) => {
                    call.trailers = Metadata::copy_of(fields);
                    End::Answered(status)
                }
                None => Lost::new(Cause::MissingStatus).into(),
            },
        };
        self.finish(io, key, end);
    }

    fn data(&mut self, io: &mut Io<'_>, tag: u32, payload: &[u8], end_stream: bool) {
        let Some((key, call)) = self.calls.at_mut(tag) else { return };
        if call.end.is_some() {
            return;
        }
        let refused = match &mut call.body {
            Body::One(gathered) => match gathered.push(payload, call.receive_max) {
                Ok(credit) => {
                    if !end_stream && credit > 0 {
                        ClientSession::credit(io, call.stream, credit);
                    }
                    None
                }
                Err(error) => Some(Cause::from(error)),
            },
            Body::Many { inbound, .. } => {
                inbound.push(payload, |reader| io.wake_after(reader.clone()));
                let credit = inbound.take_credit();
                if credit > 0 {
                    ClientSession::credit(io, call.stream, credit);
                }
                None
            }
        };
        match refused {
            Some(cause) => self.fail(io, key, cause),
            None if end_stream => self.fail(io, key, Cause::MissingStatus),
            None => {}
        }
    }

    fn reset(&mut self, io: &mut Io<'_>, tag: u32, code: ErrorCode, by: ResetBy) {
        let Some((key, call)) = self.calls.at_mut(tag) else { return };
        if call.end.is_some() {
            return;
        }
        let lost = match by {
            ResetBy::Goaway => Lost::unseen(Cause::Goaway { code: self.standing.goaway_code() }),
            ResetBy::Peer if code == ErrorCode::REFUSED_STREAM => Lost::unseen(Cause::Refused),
            // The server's clock has rung first, and it says so in this way.
            ResetBy::Peer if code == ErrorCode::CANCEL && call.deadline <= io.now => {
                Lost::new(Cause::Deadline(Place::Response))
            }
            ResetBy::Peer if code == ErrorCode::CANCEL => Lost::new(Cause::Cancelled),
            ResetBy::Peer => Lost::new(Cause::Reset { code }),
            ResetBy::Us => Lost::new(Cause::Protocol { reason: format!("it was reset with {code}").into() }),
        };
        self.finish(io, key, lost.into());
    }

    /// Ends a call for a fault that was found on this side.
    fn fail(&mut self, io: &mut Io<'_>, key: Key, cause: Cause) {
        self.finish(io, key, Lost::new(cause).into());
    }

    #[inline]
    fn finish(&mut self, io: &mut Io<'_>, key: Key, end: End) {
        let Some(call) = self.calls.get_mut(key) else { return };
        // What the server has not read of the requests it will not read any more.
        if let Some(stream) = io.wire.stream(call.stream) {
            stream.reset(match &end {
                End::Answered(_) => ErrorCode::NO_ERROR,
                End::Lost(_) => ErrorCode::CANCEL,
            });
        }
        let now = io.now;
        // Who waits in line goes first: the caller whose call has ended may have the next one ready.
        ClientSession::closed_one(&self.standing, io);
        conclude(call, end, now, |waker| io.wake_after(waker));
    }

    /// Ends the calls whose deadline is over.
    fn sweep(&mut self, io: &mut Io<'_>) {
        let mut next = Instant::MAX;
        let mut due = Vec::new();
        for (key, call) in self.calls.iter() {
            if call.end.is_some() {
                continue;
            }
            if call.deadline <= io.now {
                due.push(key);
            } else {
                next = next.min(call.deadline);
            }
        }
        for key in due {
            self.fail(io, key, Cause::Deadline(Place::Response));
        }
        self.sweep_at = next;
        if next < Instant::MAX {
            io.set_timer(SWEEP, next);
        }
    }

    fn keep_alive(&mut self, io: &mut Io<'_>) {
        let streams = self.standing.streams();
        let Some(keepalive) = &mut self.keepalive else { return };
        match keepalive.due(io.now, streams) {
            Next::Rest => {}
            Next::Wait(at) => io.set_timer(KEEPALIVE, at),
            Next::Ping(at) => {
                io.wire.ping(crate::keepalive::PAYLOAD);
                io.set_timer(KEEPALIVE, at);
            }
            Next::Dead(after) => {
                let cause = Cause::KeepaliveTimeout { after };
                let now = io.now;
                self.lose_all(cause, now, |waker| io.wake_after(waker));
                io.wire.goaway(ErrorCode::NO_ERROR, b"keepalive timeout");
            }
        }
    }

    /// The connection is over, and all calls with it. Who is to hear of it goes to `woken`.
    fn lose_all(&mut self, cause: Cause, now: Instant, mut woken: impl FnMut(Waker)) {
        let lost = Lost::new(cause.clone());
        self.standing.lose(cause);
        self.standing.set_phase(Phase::Closed, &mut woken);
        for (_, call) in self.calls.iter_mut() {
            if call.end.is_none() {
                conclude(call, lost.clone().into(), now, &mut woken);
                let nobody = self.standing.closed();
                debug_assert!(nobody.is_none(), "there is no room here any more");
            }
        }
    }
}

impl Session for ClientSession {
    fn event(&mut self, io: &mut Io<'_>, event: &Event<'_>) {
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.heard(io.now);
            let at = if matches!(event, Event::Pong { .. }) { keepalive.answered() } else { None };
            if let Some(at) = at {
                io.set_timer(KEEPALIVE, at);
            }
        }
        match *event {
            Event::Headers { tag, end_stream, too_large, .. } => self.headers(io, tag, end_stream, too_large),
            Event::Data { tag, payload, end_stream, .. } => self.data(io, tag, payload, end_stream),
            Event::Trailers { tag, too_large, .. } => {
                let Some((key, call)) = self.calls.at_mut(tag) else { return };
                match (call.end.is_none(), too_large) {
                    (true, false) => self.trailers(io, key),
                    (true, true) => self.fail(io, key, Cause::HeadersTooLarge),
                    (false, _) => {}
                }
            }
            Event::Reset { tag, code, by, .. } => self.reset(io, tag, code, by),
            Event::Settings => {
                let room = io.wire.open_capacity();
                self.standing.set_allowed(room + io.wire.streams_count());
                if self.standing.phase() == Phase::Greeting {
                    self.standing.set_phase(Phase::Ready, |waker| io.wake_after(waker));
                    if let Some(at) = self.keepalive.as_mut().and_then(|keepalive| keepalive.start(io.now)) {
                        io.set_timer(KEEPALIVE, at);
                    }
                }
                self.standing.room(room, |waker| io.wake_after(waker));
            }
            Event::Goaway { code, debug, .. } => {
                self.standing.goaway(code, debug);
                self.standing.set_phase(Phase::Leaving, |waker| io.wake_after(waker));
            }
            Event::Informational { .. } | Event::Pong { .. } => {}
        }
    }

    fn wake(&mut self, _: &mut Io<'_>, _: u32) {}

    fn timer(&mut self, io: &mut Io<'_>, slot: u32) {
        match slot {
            SWEEP => self.sweep(io),
            _ => self.keep_alive(io),
        }
    }

    fn writable(&mut self, io: &mut Io<'_>, tag: u32) {
        if let Some((_, call)) = self.calls.at_mut(tag)
            && let Some(pump) = call.pump.take()
        {
            io.wake_after(pump);
        }
    }

    fn drain(&mut self, io: &mut Io<'_>) {
        self.standing.set_phase(Phase::Leaving, |waker| io.wake_after(waker));
    }

    fn closed(&mut self, reason: &CloseReason, woken: &mut Vec<Waker>) {
        let cause = match reason {
            CloseReason::Protocol(error) => Cause::Protocol { reason: error.to_string().into() },
            CloseReason::Tls(error) if !matches!(error, TlsError::RecordTimeout) => {
                Cause::Tls { reason: error.to_string().into() }
            }
            CloseReason::Shutdown => Cause::WorkerEnded,
            other => Cause::ConnectionLost { reason: Arc::from(other.to_string()) },
        };
        // A GOAWAY that named an error is why it was closed.
        let cause = match self.standing.goaway_code() {
            ErrorCode::NO_ERROR => cause,
            code => Cause::ConnectionLost { reason: format!("the server went away with {code}").into() },
        };
        self.lose_all(cause, corelane_runtime::now(), |waker| woken.push(waker));
    }
}

/// Whether requests can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Left,
    /// The call has ended.
    Over,
}

#[inline]
fn wait(call: &mut Call, cx: &Context<'_>) {
    if !call.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        call.waker = Some(cx.waker().clone());
    }
}

/// Notes how a call ended; the tasks that want to know go to `woken`.
#[inline]
fn conclude(call: &mut Call, end: End, now: Instant, mut woken: impl FnMut(Waker)) {
    if let Body::Many { inbound, origin } = &call.body {
        inbound.set_trailers(call.trailers.clone());
        let reader = |waker: &Waker| woken(waker.clone());
        match &end {
            End::Answered(status) if status.code() == Code::Ok => inbound.end(reader),
            End::Answered(status) => {
                let status = origin.failure(Cause::Server, now).into_status(Some(status.clone()));
                inbound.fail(status, reader);
            }
            End::Lost(lost) => {
                let status = origin.failure(lost.cause.clone(), now).into_status(lost.status.clone());
                inbound.fail(status, reader);
            }
        }
    }
    call.end = Some(end);
    call.waker.take().into_iter().for_each(&mut woken);
    call.pump.take().into_iter().for_each(woken);
}

/// Whether trailers say OK and nothing else: nearly all do.
#[inline]
fn plain_success(fields: &FieldList) -> bool {
    fields.len() == 1 && fields.get_known(Name::GrpcStatus) == Some(b"0")
}
