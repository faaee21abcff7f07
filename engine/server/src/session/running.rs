//! Calls that run: from a request that is here to the poll that says how far its handler has come.

use std::rc::Rc;
use std::task::{Context, Poll};

use corelane_call::{CallParts, Gathered, Inbound, Inherited, Metadata, Peer, Status, take_buffer};
use corelane_runtime::Io;

use super::{ServerSession, slot};
use crate::call::{Call, Held, Passed, State, Timer};
use crate::dispatch::{Arrival, Body, Progress, guard};
use crate::intercept;
use crate::methods::Interception;
use crate::reply::{self, Reply};
use crate::worker::Worker;

/// What becomes of a call after it was looked at.
pub(super) enum Step {
    /// It goes on, and keeps its place.
    Waits,
    /// It is over: trailing metadata, or an error.
    Ends(Result<Metadata, Status>),
}

/// The request is here, or begins to be: the interceptors see it, then the handler. The call stays where it is meanwhile.
#[inline]
pub(super) fn start(
    worker: &Worker,
    peer: &Rc<Peer>,
    io: &mut Io<'_>,
    index: u32,
    call: &mut Call,
    body: Body<'_>,
) -> Step {
    let entry = worker.entry(call.method);
    let mut parts = CallParts::boxed(entry.path);
    parts.metadata = std::mem::take(&mut call.metadata);
    parts.peer = Some(peer.clone());
    parts.deadline = call.deadline;
    parts.compressed = body.is_compressed();
    if entry.options.interception == Interception::Async {
        let body = match body {
            Body::Message(message) => Held::Message(Gathered::of(message, take_buffer())),
            Body::Gathered(gathered) => Held::Message(gathered),
            Body::Stream(inbound) => Held::Stream(inbound),
        };
        call.state = State::Intercepted { waiting: intercept::begin(&entry.options, parts), body };
        return pass(worker, io, index, call);
    }
    match intercept::before(entry, worker, &mut parts) {
        Ok(()) => run(worker, io, index, call, parts, body),
        Err(status) => Step::Ends(Err(status)),
    }
}

/// Asks the interceptors that may wait.
fn pass(worker: &Worker, io: &mut Io<'_>, index: u32, call: &mut Call) -> Step {
    let State::Intercepted { waiting, .. } = &mut call.state else { return Step::Waits };
    let (_, waker) = io.poll_parts(slot(index));
    let inherited = Inherited::enter(call.deadline);
    let passed = match guard(|| waiting.as_mut().poll(&mut Context::from_waker(waker))) {
        Ok(Poll::Pending) => {
            arm(io, index, call);
            return Step::Waits;
        }
        Ok(Poll::Ready(passed)) => passed,
        Err(panic) => Err(worker.panicked(worker.entry(call.method).path, &panic)),
    };
    drop(inherited);
    let State::Intercepted { waiting, body } = call.state.take() else { return Step::Waits };
    if let Err(panic) = guard(|| drop(waiting)) {
        worker.panicked(worker.entry(call.method).path, &panic);
    }
    let body = match body {
        Held::Stream(inbound) => Body::Stream(inbound),
        Held::Message(gathered) => Body::Gathered(gathered),
    };
    match passed {
        Ok(parts) => run(worker, io, index, call, parts, body),
        Err(status) => Step::Ends(Err(status)),
    }
}

/// Calls the handler and polls it, at once. A call whose handler answers at once leaves no trace: its state is changed only
/// when it goes on.
#[inline]
fn run(
    worker: &Worker,
    io: &mut Io<'_>,
    index: u32,
    call: &mut Call,
    parts: Box<CallParts>,
    body: Body<'_>,
) -> Step {
    call.passed = Passed::Yes;
    let entry = worker.entry(call.method);
    let inbound = match &body {
        Body::Stream(inbound) => Some(inbound.clone()),
        Body::Message(_) | Body::Gathered(_) => {
            worker.counters.messages_in.increment();
            None
        }
    };
    let (wire, waker) = io.poll_parts(slot(index));
    let mut reply = Reply::new(wire, call.key, &mut call.reply, entry, worker);
    let decoding_size_max = entry.options.decoding_size_max;
    let arrival = Arrival { parts, body, encoding: call.encoding, decoding_size_max };
    let inherited = Inherited::enter(call.deadline);
    let progress = entry.method.start(arrival, &mut Context::from_waker(waker), &mut reply);
    drop(inherited);
    let yielded = reply.yielded;
    if let Progress::Pending(_) = progress
        && let Some(mut stream) = io.wire.stream(call.key)
    {
        // By this, it is told that it may send again.
        stream.set_tag(index);
    }
    settle(worker, io, index, call, inbound, progress, yielded)
}

/// Takes note of what a poll has come to.
#[inline]
fn settle(
    worker: &Worker,
    io: &mut Io<'_>,
    index: u32,
    call: &mut Call,
    inbound: Option<Rc<Inbound>>,
    progress: Progress,
    yielded: bool,
) -> Step {
    if let Some(inbound) = &inbound {
        worker.counters.messages_in.add(inbound.take_messages());
    }
    let running = match progress {
        Progress::Pending(running) => running,
        Progress::Done(ending) => return Step::Ends(ending),
    };
    if let Some(inbound) = &inbound {
        // What the handler has read, the client may send again.
        reply::credit(io.wire, call.key, inbound.take_credit());
    }
    call.state = State::Running { index: running, inbound };
    arm(io, index, call);
    if yielded {
        io.wake_later(slot(index));
    }
    Step::Waits
}

impl ServerSession {
    /// The request of a call is here, or begins to be.
    pub(super) fn start(&mut self, io: &mut Io<'_>, index: u32, body: Body<'_>) {
        let ServerSession { worker, peer, places, .. } = self;
        let Some(call) = places.call(index) else { return };
        let step = start(worker, peer, io, index, call, body);
        self.go_on(io, index, step);
    }

    /// A call was woken, or has room to send again.
    pub(super) fn resume(&mut self, io: &mut Io<'_>, index: u32) {
        let ServerSession { worker, places, .. } = self;
        let Some(call) = places.call(index) else { return };
        let step = match &call.state {
            State::Running { .. } => poll(worker, io, index, call),
            State::Intercepted { .. } => pass(worker, io, index, call),
            State::Gathering(_) | State::Polling => return,
        };
        self.go_on(io, index, step);
    }

    /// Ends a call that is over.
    #[inline]
    pub(super) fn go_on(&mut self, io: &mut Io<'_>, index: u32, step: Step) {
        if let Step::Ends(ending) = step {
            self.end(io, index, ending);
        }
    }
}

/// Polls a call whose handler runs.
#[inline]
fn poll(worker: &Worker, io: &mut Io<'_>, index: u32, call: &mut Call) -> Step {
    let State::Running { index: running, inbound } = call.state.take() else { return Step::Waits };
    let entry = worker.entry(call.method);
    let (wire, waker) = io.poll_parts(slot(index));
    let mut reply = Reply::new(wire, call.key, &mut call.reply, entry, worker);
    let inherited = Inherited::enter(call.deadline);
    let progress = entry.method.poll(running, &mut Context::from_waker(waker), &mut reply);
    drop(inherited);
    let yielded = reply.yielded;
    settle(worker, io, index, call, inbound, progress, yielded)
}

/// Sets the timer of a call that goes on, unless it is set or the call may take for ever.
#[inline]
fn arm(io: &mut Io<'_>, index: u32, call: &mut Call) {
    if let Some(deadline) = call.deadline.filter(|_| call.timer == Timer::Unset) {
        call.timer = Timer::Set;
        io.set_timer(slot(index), deadline);
    }
}
