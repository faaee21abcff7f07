//! Calls that run: from a request that is here to the poll that says how far its handler has come.

use std::rc::Rc;
use std::task::{Context, Poll};

use corelane_call::{CallParts, Gathered, Inbound, Inherited, take_buffer};
use corelane_runtime::Io;

use super::{ServerSession, slot};
use crate::call::{Call, Exchange, Held, Passed, State, Timer};
use crate::dispatch::{Arrival, Body, Progress, guard};
use crate::intercept;
use crate::methods::Interception;
use crate::reply::{self, Reply};

impl ServerSession {
    /// The request is here, or begins to be: the interceptors see it, then the handler.
    #[inline]
    pub(super) fn start(&mut self, io: &mut Io<'_>, index: u32, body: Body<'_>) {
        let ServerSession { worker, peer, exchanges, .. } = self;
        let Some((_, Exchange::Call(call))) = exchanges.at_mut(index) else { return };
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
            return self.pass(io, index);
        }
        match intercept::before(entry, worker, &mut parts) {
            Ok(()) => self.run(io, index, parts, body),
            Err(status) => self.end(io, index, Err(status)),
        }
    }

    /// Asks the interceptors that may wait.
    fn pass(&mut self, io: &mut Io<'_>, index: u32) {
        let worker = self.worker.clone();
        let Some(call) = self.call(index) else { return };
        let State::Intercepted { waiting, .. } = &mut call.state else { return };
        let (_, waker) = io.poll_parts(slot(index));
        let inherited = Inherited::enter(call.deadline);
        let passed = match guard(|| waiting.as_mut().poll(&mut Context::from_waker(waker))) {
            Ok(Poll::Pending) => return arm(io, index, call),
            Ok(Poll::Ready(passed)) => passed,
            Err(panic) => Err(worker.panicked(worker.entry(call.method).path, &panic)),
        };
        drop(inherited);
        let State::Intercepted { waiting, body } = call.state.take() else { return };
        if let Err(panic) = guard(|| drop(waiting)) {
            worker.panicked(worker.entry(call.method).path, &panic);
        }
        let parts = match passed {
            Ok(parts) => parts,
            Err(status) => return self.end(io, index, Err(status)),
        };
        match body {
            Held::Stream(inbound) => self.run(io, index, parts, Body::Stream(inbound)),
            Held::Message(gathered) => self.run(io, index, parts, Body::Gathered(gathered)),
        }
    }

    /// Calls the handler and polls it, at once.
    #[inline]
    fn run(&mut self, io: &mut Io<'_>, index: u32, parts: Box<CallParts>, body: Body<'_>) {
        let ServerSession { worker, exchanges, .. } = self;
        let Some((_, Exchange::Call(call))) = exchanges.at_mut(index) else { return };
        call.state = State::Polling;
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
        self.settle(io, index, inbound, progress, yielded);
    }

    /// A call was woken, or has room to send again.
    pub(super) fn resume(&mut self, io: &mut Io<'_>, index: u32) {
        let ServerSession { worker, exchanges, .. } = self;
        let Some((_, Exchange::Call(call))) = exchanges.at_mut(index) else { return };
        match &call.state {
            State::Running { .. } => {}
            State::Intercepted { .. } => return self.pass(io, index),
            State::Gathering(_) | State::Polling => return,
        }
        let State::Running { index: running, inbound } = call.state.take() else { return };
        let entry = worker.entry(call.method);
        let (wire, waker) = io.poll_parts(slot(index));
        let mut reply = Reply::new(wire, call.key, &mut call.reply, entry, worker);
        let inherited = Inherited::enter(call.deadline);
        let progress = entry.method.poll(running, &mut Context::from_waker(waker), &mut reply);
        drop(inherited);
        let yielded = reply.yielded;
        self.settle(io, index, inbound, progress, yielded);
    }

    /// Takes note of what a poll has come to.
    #[inline]
    fn settle(
        &mut self,
        io: &mut Io<'_>,
        index: u32,
        inbound: Option<Rc<Inbound>>,
        progress: Progress,
        yielded: bool,
    ) {
        if let Some(inbound) = &inbound {
            self.worker.counters.messages_in.add(inbound.take_messages());
        }
        let running = match progress {
            Progress::Pending(running) => running,
            Progress::Done(ending) => return self.end(io, index, ending),
        };
        let Some(call) = self.call(index) else { return };
        if let Some(inbound) = &inbound {
            // What the handler has read, the client may send again.
            reply::credit(io.wire, call.key, inbound.take_credit());
        }
        call.state = State::Running { index: running, inbound };
        arm(io, index, call);
        if yielded {
            io.wake_later(slot(index));
        }
    }
}

/// Sets the timer of a call that goes on, unless it is set or the call may take for ever.
#[inline]
fn arm(io: &mut Io<'_>, index: u32, call: &mut Call) {
    if let Some(deadline) = call.deadline.filter(|_| call.timer == Timer::Unset) {
        call.timer = Timer::Set;
        io.set_timer(slot(index), deadline);
    }
}
