//! One connection's calls: as soon as one has ended, the next one that is due goes out, within the same event.
//!
//! The number of a slot is the tag of its stream. What all events of a turn send leaves in one write at the turn's end.
//!
//! Does not: connect, retry, or keep responses, but for a sample.
//!
//! Invariant: a slot is free, or its call is in flight and its stream has its tag.

use std::rc::Rc;
use std::task::Waker;

use corelane::{Code, Status};
use corelane_runtime::{CloseReason, Io, Session, clock};
use corelane_wire::connection::{Event, ResetBy, StreamKey};
use corelane_wire::frame::{EndStream, ErrorCode};
use corelane_wire::{FieldList, Instant, Name};

use super::body::Body;
use super::ledger::{Ledger, Template};
use super::standing::{Phase, Standing};
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

impl Slot {
    /// When its call is given up, if there is one.
    #[inline]
    fn deadline(&self, template: &Template) -> Option<Instant> {
        self.stream.and(template.deadline).map(|deadline| Instant::from_nanos(self.started_ns) + deadline)
    }
}

/// See the module.
pub(super) struct LeanSession {
    ledger: Rc<Ledger>,
    standing: Rc<Standing>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// When the sweep comes.
    sweep_at: Instant,
}

impl LeanSession {
    pub(super) fn new(ledger: Rc<Ledger>, standing: Rc<Standing>, streams: u32) -> LeanSession {
        let slots = (0..streams).map(|_| Slot::default()).collect();
        LeanSession { ledger, standing, slots, free: (0..streams).rev().collect(), sweep_at: Instant::MAX }
    }

    /// Whether it may take another call, as far as is known here.
    pub(super) fn has_room(&self) -> bool {
        self.standing.is_ready() && !self.free.is_empty()
    }

    /// Sends calls that are due, `count` at most, while there is room; says how many.
    #[inline]
    pub(super) fn send_due(&mut self, io: &mut Io<'_>, now_ns: u64, count: usize) -> usize {
        let mut sent = 0;
        while sent < count && self.standing.is_ready() && io.wire.open_capacity() > 0 {
            let Some(tag) = self.free.last().copied() else { break };
            let Some(intended_ns) = self.ledger.next(now_ns) else { break };
            if !self.send(io, tag, intended_ns, now_ns) {
                self.ledger.put_back(intended_ns);
                break;
            }
            self.free.pop();
            sent += 1;
        }
        sent
    }

    /// Sends a call, unless the connection takes no more.
    #[inline]
    fn send(&mut self, io: &mut Io<'_>, tag: u32, intended_ns: u64, now_ns: u64) -> bool {
        let template = &self.ledger.template;
        let Ok(key) = io.wire.open_template(&template.head, None, EndStream::No, tag) else {
            // Its stream ids are used up, or one side goes away: it finishes what it has.
            io.wire.drain(io.now);
            self.standing.reach(Phase::Leaving, io);
            return false;
        };
        let stream = io.wire.stream(key).expect("it was opened just now");
        stream.send_data(&template.request, EndStream::Yes).expect("the head has been sent, and no end");
        let slot = slot_of(&mut self.slots, tag).expect("free slots are slots");
        slot.stream = Some(key);
        (slot.intended_ns, slot.started_ns) = (intended_ns, now_ns);
        (slot.body, slot.used) = (Body::default(), 0);
        slot.sample = self.ledger.samples.takes_next().then(Vec::new);
        self.ledger.sent(intended_ns);
        if let Some(deadline) = slot.deadline(template).filter(|deadline| *deadline < self.sweep_at) {
            self.sweep_at = deadline;
            io.set_timer(SWEEP, deadline);
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
            _ if too_large => slot.wrong = Some(Box::new(too_large_head())),
            Some(b"200") => {}
            other => slot.wrong = Some(Box::new(without_status(other))),
        }
    }

    #[inline]
    fn data(&mut self, io: &mut Io<'_>, tag: u32, payload: &[u8], end_stream: bool) {
        let Some(slot) = slot_of(&mut self.slots, tag) else { return };
        // What comes with a wrong head is somebody's page of HTML.
        if slot.wrong.is_none() {
            slot.body.push(payload);
        }
        if let Some(sample) = &mut slot.sample {
            sample.extend_from_slice(payload);
            if sample.len() > SAMPLE_BYTES_MAX {
                slot.sample = None;
            }
        }
        if end_stream {
            let status = slot.wrong.take().map_or_else(|| without_status(None), |wrong| *wrong);
            return self.fail(io, tag, &status);
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
        self.standing.answered();
        if slot.wrong.is_none() && !too_large && is_success(io.wire.fields()) {
            let fault = fault_of(slot, &self.ledger);
            return self.end(io, tag, fault.map_or(Ok(()), Err));
        }
        let status = match slot.wrong.take() {
            Some(wrong) => *wrong,
            None if too_large => too_large_head(),
            None => Status::from_fields(io.wire.fields())
                .unwrap_or_else(|| without_status(io.wire.fields().get_known(Name::Status))),
        };
        self.fail(io, tag, &status);
    }

    #[cold]
    fn reset(&mut self, io: &mut Io<'_>, tag: u32, code: ErrorCode, by: ResetBy) {
        let template = &self.ledger.template;
        let deadline = slot_of(&mut self.slots, tag).and_then(|slot| slot.deadline(template));
        // By a fresh reading: the turn may have begun before the deadline.
        let is_late = deadline.is_some_and(|deadline| deadline <= clock());
        let status = match by {
            ResetBy::Goaway => Status::unavailable("the server went away without having begun"),
            // The server's clock has rung first, and it says so in this way.
            ResetBy::Peer if code == ErrorCode::CANCEL && is_late => too_late(template),
            ResetBy::Peer => {
                Status::new(Code::from_error_code(code), format!("the server reset the stream with {code}"))
            }
            ResetBy::Us => Status::internal(format!("the server broke the protocol: {code}")),
        };
        self.fail(io, tag, &status);
    }

    #[cold]
    fn fail(&mut self, io: &mut Io<'_>, tag: u32, status: &Status) {
        self.end(io, tag, Err(Failure { code: status.code(), text: status.message() }));
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
        self.send_due(io, now_ns, usize::MAX);
        if let Some(waiter) = self.ledger.take_waiter() {
            io.wake_after(waiter);
        }
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
        let sent = self.ledger.template.request_bytes;
        self.ledger.ended(Call {
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
    fn sweep(&mut self, io: &mut Io<'_>) {
        let template = &self.ledger.template;
        let (mut due, mut next) = (Vec::new(), Instant::MAX);
        for (tag, slot) in (0_u32..).zip(&self.slots) {
            match slot.deadline(template) {
                Some(deadline) if deadline <= io.now => due.push(tag),
                Some(deadline) => next = next.min(deadline),
                None => {}
            }
        }
        let status = too_late(template);
        self.sweep_at = next;
        io.set_timer(SWEEP, next);
        for tag in due {
            self.fail(io, tag, &status);
        }
    }
}

impl Session for LeanSession {
    #[inline]
    fn event(&mut self, io: &mut Io<'_>, event: &Event<'_>) {
        match *event {
            Event::Headers { tag, end_stream, too_large, .. } => self.headers(io, tag, end_stream, too_large),
            Event::Data { tag, payload, end_stream, .. } => self.data(io, tag, payload, end_stream),
            Event::Trailers { tag, too_large, .. } => self.trailers(io, tag, too_large),
            Event::Reset { tag, code, by, .. } => self.reset(io, tag, code, by),
            Event::Settings => {
                let was_ready = self.standing.is_ready();
                self.standing.reach(Phase::Ready, io);
                // There may be room for more streams than before. The first calls go when it is in its place.
                if was_ready {
                    self.send_due(io, now_ns(), usize::MAX);
                }
            }
            Event::Goaway { .. } => {
                self.standing.reach(Phase::Leaving, io);
            }
            Event::Informational { .. } | Event::Pong { .. } => {}
        }
    }

    fn wake(&mut self, _: &mut Io<'_>, _: u32) {}

    fn timer(&mut self, io: &mut Io<'_>, _: u32) {
        self.sweep(io);
    }

    fn writable(&mut self, _: &mut Io<'_>, _: u32) {}

    fn drain(&mut self, io: &mut Io<'_>) {
        self.standing.reach(Phase::Leaving, io);
    }

    fn closed(&mut self, reason: &CloseReason, woken: &mut Vec<Waker>) {
        let (now_ns, text) = (now_ns(), reason.to_string());
        for tag in (0_u32..).take(self.slots.len()) {
            let failure = Failure { code: Code::Unavailable, text: &text };
            self.conclude(tag, now_ns, Err(failure), |_| {});
        }
        woken.extend(self.standing.close(text));
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

/// What is wrong with the body of a call that the server says has succeeded: the codes are the client's.
#[inline]
fn fault_of(slot: &mut Slot, ledger: &Ledger) -> Option<Failure<'static>> {
    let fault = |code, text| Some(Failure { code, text });
    match (slot.body.messages, slot.body.is_whole()) {
        (1, true) => {}
        (_, false) => return fault(Code::Internal, "the response ends within a message"),
        (0, true) => return fault(Code::Unimplemented, "the response has no message"),
        (_, true) => return fault(Code::Unimplemented, "the response has more than one message"),
    }
    match slot.sample.take() {
        Some(sample) if !ledger.template.answer.accepts(&sample) => {
            fault(Code::Internal, "the response cannot be decoded")
        }
        _ => None,
    }
}

/// The status of a response that has none of gRPC's; `http` is HTTP's, if one came with it.
#[cold]
fn without_status(http: Option<&[u8]>) -> Status {
    match http.and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok()) {
        None | Some(200) => Status::unknown("the response ended without a status"),
        Some(http) => {
            Status::new(Code::from_http_status(http), format!("the server answered with HTTP status {http}"))
        }
    }
}

#[cold]
fn too_large_head() -> Status {
    Status::resource_exhausted("the response's head or trailers are too large")
}

#[cold]
fn too_late(template: &Template) -> Status {
    Status::deadline_exceeded(format!("no answer within {:?}", template.deadline.unwrap_or_default()))
}
