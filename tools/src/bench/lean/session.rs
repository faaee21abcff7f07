//! One connection's calls: as soon as one has ended, the next one that is due goes out, within the same event.
//!
//! The number of a slot is the tag of its stream. What all events of a turn send leaves in one write at the turn's end.
//!
//! Does not: connect, retry, or keep responses, but for a sample.
//!
//! Invariant: a slot is free, or its call is in flight and its stream has its tag.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use corelane::{Code, Status};
use corelane_runtime::{CloseReason, Io, Session, clock};
use corelane_wire::connection::{Event, ResetBy, StreamKey};
use corelane_wire::frame::{EndStream, ErrorCode};
use corelane_wire::{FieldList, Instant, Name};

use super::body::Body;
use super::range::Range;
use crate::bench::recorder::{Call, Failure, Traffic};

/// The timer of all deadlines.
const SWEEP: u32 = 0;

/// The window of a stream is opened anew in steps of this.
const CREDIT_BYTES: u32 = 64 * 1024;

/// A sample that grows beyond this is let go.
const SAMPLE_BYTES_MAX: usize = 1024 * 1024;

/// The time, on the clock that everything here counts with.
#[inline]
pub(super) fn now_ns() -> u64 {
    clock().as_nanos()
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The server's SETTINGS have not come.
    Greeting,
    /// It takes calls.
    Ready,
    /// It takes no new ones.
    Leaving,
    /// It is over.
    Closed,
}

/// What whoever keeps the connection sees of it.
pub(super) struct Standing {
    phase: Cell<Phase>,
    reason: RefCell<String>,
    waker: Cell<Option<Waker>>,
}

impl Standing {
    pub(super) fn new() -> Rc<Standing> {
        let (phase, waker) = (Cell::new(Phase::Greeting), Cell::new(None));
        Rc::new(Standing { phase, reason: RefCell::default(), waker })
    }

    fn go_on(&self, phase: Phase) -> Option<Waker> {
        if phase > self.phase.get() {
            self.phase.set(phase);
            return self.waker.take();
        }
        None
    }

    /// Ready when the connection has come beyond `known`.
    pub(super) fn poll_beyond(&self, known: Phase, cx: &Context<'_>) -> Poll<Phase> {
        if self.phase.get() > known {
            return Poll::Ready(self.phase.get());
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Why it is over.
    pub(super) fn reason(&self) -> String {
        self.reason.borrow().clone()
    }
}

/// A call in flight.
#[derive(Default)]
struct Slot {
    stream: Option<StreamKey>,
    intended_ns: u64,
    started_ns: u64,
    body: Body,
    /// Octets of the stream's window that were used and not given back.
    used: u32,
    /// What is wrong already, while the call has not ended.
    wrong: Option<Box<Status>>,
    sample: Option<Vec<u8>>,
}

/// See the module.
pub(super) struct Gun {
    range: Rc<Range>,
    standing: Rc<Standing>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// When the sweep comes.
    sweep_at: Instant,
}

impl Gun {
    pub(super) fn new(range: Rc<Range>, standing: Rc<Standing>, streams: u32) -> Gun {
        let slots = (0..streams).map(|_| Slot::default()).collect();
        Gun { range, standing, slots, free: (0..streams).rev().collect(), sweep_at: Instant::MAX }
    }

    /// Sends calls that are due, `count` at most, while there is room; says how many.
    #[inline]
    pub(super) fn fire(&mut self, io: &mut Io<'_>, now_ns: u64, count: usize) -> usize {
        let mut fired = 0;
        while fired < count && self.standing.phase.get() == Phase::Ready && io.wire.open_capacity() > 0 {
            let Some(tag) = self.free.last().copied() else { break };
            let Some(intended_ns) = self.range.next(now_ns) else { break };
            if !self.send(io, tag, intended_ns, now_ns) {
                self.range.put_back(intended_ns);
                break;
            }
            self.free.pop();
            fired += 1;
        }
        fired
    }

    /// Sends a call, unless the connection takes no more.
    #[inline]
    fn send(&mut self, io: &mut Io<'_>, tag: u32, intended_ns: u64, now_ns: u64) -> bool {
        let round = &self.range.round;
        let Ok(key) = io.wire.open_template(&round.head, None, EndStream::No) else {
            // Its stream ids are used up, or one side goes away: it finishes what it has.
            io.wire.drain(io.now);
            if let Some(waker) = self.standing.go_on(Phase::Leaving) {
                io.wake_after(waker);
            }
            return false;
        };
        let mut stream = io.wire.stream(key).expect("it was opened just now");
        stream.set_tag(tag);
        stream.send_data(&round.request, EndStream::Yes).expect("the head has been sent, and no end");
        let slot = slot_of(&mut self.slots, tag).expect("free slots are slots");
        slot.stream = Some(key);
        (slot.intended_ns, slot.started_ns) = (intended_ns, now_ns);
        (slot.body, slot.used) = (Body::default(), 0);
        slot.sample = self.range.is_sample().then(Vec::new);
        self.range.sent();
        if let Some(deadline) = round.deadline {
            let at = Instant::from_nanos(now_ns) + deadline;
            if at < self.sweep_at {
                self.sweep_at = at;
                io.set_timer(SWEEP, at);
            }
        }
        true
    }

    #[inline]
    fn headers(&mut self, io: &mut Io<'_>, tag: u32, end_stream: bool, too_large: bool) {
        if end_stream {
            return self.trailers(io, tag, too_large);
        }
        let Some(slot) = slot_of(&mut self.slots, tag) else { return };
        match io.wire.fields().get_known(Name::Status) {
            Some(b"200") => {}
            other => slot.wrong = Some(Box::new(of_http(other.unwrap_or_default()))),
        }
    }

    #[inline]
    fn data(&mut self, io: &mut Io<'_>, tag: u32, payload: &[u8], end_stream: bool) {
        let Some(slot) = slot_of(&mut self.slots, tag) else { return };
        slot.body.push(payload);
        if let Some(sample) = &mut slot.sample {
            sample.extend_from_slice(payload);
            if sample.len() > SAMPLE_BYTES_MAX {
                slot.sample = None;
            }
        }
        if end_stream {
            let text = "the response ended without a status";
            return self.end(io, tag, Err(Failure { code: Code::Unknown, text }));
        }
        slot.used += u32::try_from(payload.len()).expect("a frame is far smaller");
        if slot.used >= CREDIT_BYTES
            && let Some(mut stream) = slot.stream.and_then(|key| io.wire.stream(key))
        {
            stream.credit(std::mem::take(&mut slot.used));
        }
    }

    /// The call has ended as the server says.
    #[inline]
    fn trailers(&mut self, io: &mut Io<'_>, tag: u32, too_large: bool) {
        let Some(slot) = slot_of(&mut self.slots, tag) else { return };
        if slot.wrong.is_none() && !too_large && is_success(io.wire.fields()) {
            let fault = fault_of(slot, &self.range);
            let outcome = fault.map_or(Ok(()), |text| Err(Failure { code: Code::Internal, text }));
            return self.end(io, tag, outcome);
        }
        let status = match slot.wrong.take() {
            Some(wrong) => *wrong,
            None if too_large => Status::internal("the response's head or trailers are too large"),
            None => Status::from_fields(io.wire.fields())
                .unwrap_or_else(|| of_http(io.wire.fields().get_known(Name::Status).unwrap_or_default())),
        };
        self.end(io, tag, Err(Failure { code: status.code(), text: status.message() }));
    }

    #[cold]
    fn reset(&mut self, io: &mut Io<'_>, tag: u32, code: ErrorCode, by: ResetBy) {
        let (status, text) = match by {
            ResetBy::Goaway => (Code::Unavailable, "the server went away without having begun".to_owned()),
            ResetBy::Peer if code == ErrorCode::REFUSED_STREAM => {
                (Code::Unavailable, "the server refused the stream".to_owned())
            }
            ResetBy::Peer => (Code::Internal, format!("the server reset the stream with {code}")),
            ResetBy::Us => (Code::Internal, format!("the server broke the protocol: {code}")),
        };
        self.end(io, tag, Err(Failure { code: status, text: &text }));
    }

    /// A call has ended; its slot takes the next one at once.
    #[inline]
    fn end(&mut self, io: &mut Io<'_>, tag: u32, outcome: Result<(), Failure<'_>>) {
        let now_ns = now_ns();
        if !self.conclude(tag, now_ns, outcome, |key| {
            // Part of the request may not have left, or the fault was found here.
            if let Some(stream) = io.wire.stream(key) {
                stream.reset(ErrorCode::CANCEL);
            }
        }) {
            return;
        }
        self.fire(io, now_ns, usize::MAX);
    }

    /// Notes how a call ended, and frees its slot; says whether there was a call.
    #[inline]
    fn conclude(
        &mut self,
        tag: u32,
        now_ns: u64,
        outcome: Result<(), Failure<'_>>,
        close: impl FnOnce(StreamKey),
    ) -> bool {
        let Some(slot) = slot_of(&mut self.slots, tag) else { return false };
        let Some(key) = slot.stream.take() else { return false };
        close(key);
        (slot.wrong, slot.sample) = (None, None);
        let sent = self.range.round.request_bytes;
        self.range.ended(Call {
            intended_ns: slot.intended_ns,
            started_ns: slot.started_ns,
            ended_ns: now_ns,
            traffic: Traffic {
                messages_sent: 1,
                messages_received: slot.body.messages,
                bytes_sent: sent,
                bytes_received: slot.body.bytes,
            },
            outcome,
        });
        self.free.push(tag);
        true
    }

    /// Ends the calls whose deadline is over.
    fn sweep(&mut self, io: &mut Io<'_>, deadline: Duration) {
        let (mut due, mut next) = (Vec::new(), Instant::MAX);
        for (tag, slot) in (0_u32..).zip(&self.slots).filter(|(_, slot)| slot.stream.is_some()) {
            let at = Instant::from_nanos(slot.started_ns) + deadline;
            if at <= io.now { due.push(tag) } else { next = next.min(at) }
        }
        self.sweep_at = next;
        if next < Instant::MAX {
            io.set_timer(SWEEP, next);
        }
        let text = format!("no answer within {deadline:?}");
        for tag in due {
            self.end(io, tag, Err(Failure { code: Code::DeadlineExceeded, text: &text }));
        }
    }
}

impl Session for Gun {
    #[inline]
    fn event(&mut self, io: &mut Io<'_>, event: Event<'_>) {
        match event {
            Event::Headers { tag, end_stream, too_large, .. } => self.headers(io, tag, end_stream, too_large),
            Event::Data { tag, payload, end_stream, .. } => self.data(io, tag, payload, end_stream),
            Event::Trailers { tag, too_large, .. } => self.trailers(io, tag, too_large),
            Event::Reset { tag, code, by, .. } => self.reset(io, tag, code, by),
            Event::Settings => {
                if let Some(waker) = self.standing.go_on(Phase::Ready) {
                    io.wake_after(waker);
                }
                // There may be room for more streams than before.
                self.fire(io, now_ns(), usize::MAX);
            }
            Event::Goaway { .. } => {
                if let Some(waker) = self.standing.go_on(Phase::Leaving) {
                    io.wake_after(waker);
                }
            }
            Event::Informational { .. } | Event::Pong { .. } => {}
        }
    }

    fn wake(&mut self, _: &mut Io<'_>, _: u32) {}

    fn timer(&mut self, io: &mut Io<'_>, _: u32) {
        if let Some(deadline) = self.range.round.deadline {
            self.sweep(io, deadline);
        }
    }

    fn writable(&mut self, _: &mut Io<'_>, _: u32) {}

    fn drain(&mut self, io: &mut Io<'_>) {
        if let Some(waker) = self.standing.go_on(Phase::Leaving) {
            io.wake_after(waker);
        }
    }

    fn closed(&mut self, reason: &CloseReason) {
        let (now_ns, text) = (now_ns(), reason.to_string());
        for tag in (0_u32..).take(self.slots.len()) {
            let failure = Failure { code: Code::Unavailable, text: &text };
            self.conclude(tag, now_ns, Err(failure), |_| {});
        }
        *self.standing.reason.borrow_mut() = text;
        if let Some(waker) = self.standing.go_on(Phase::Closed) {
            waker.wake();
        }
    }
}

#[inline]
fn slot_of(slots: &mut [Slot], tag: u32) -> Option<&mut Slot> {
    usize::try_from(tag).ok().and_then(|tag| slots.get_mut(tag))
}

/// Whether trailers say OK and nothing else: nearly all do.
#[inline]
fn is_success(fields: &FieldList) -> bool {
    fields.get_known(Name::GrpcStatus) == Some(b"0")
}

/// What is wrong with the body of a call that the server says has succeeded.
#[inline]
fn fault_of(slot: &mut Slot, range: &Range) -> Option<&'static str> {
    match (slot.body.messages, slot.body.is_whole()) {
        (1, true) => {}
        (_, false) => return Some("the response ends within a message"),
        (0, true) => return Some("the response has no message"),
        (_, true) => return Some("the response to a unary call has more than one message"),
    }
    match slot.sample.take() {
        Some(sample) if !range.round.answer.accepts(&sample) => Some("the response cannot be decoded"),
        _ => None,
    }
}

/// What an HTTP status in place of gRPC's means (http-grpc-status-mapping.md).
#[cold]
fn of_http(status: &[u8]) -> Status {
    let code = match status {
        b"200" => return Status::new(Code::Unknown, "the response ended without a status"),
        b"400" => Code::Internal,
        b"401" => Code::Unauthenticated,
        b"403" => Code::PermissionDenied,
        b"404" => Code::Unimplemented,
        b"429" | b"502" | b"503" | b"504" => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("HTTP status {}", String::from_utf8_lossy(status)))
}
