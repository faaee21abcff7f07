//! How calls end: answered, expired, or given up by the client.

use corelane_call::{Code, Metadata, Peer, Status, give_buffer};
use corelane_runtime::Io;
use corelane_wire::Instant;

use super::{SWEEP, ServerSession, slot};
use crate::call::{Call, Exchange, Held, State, Timer};
use crate::dispatch::guard;
use crate::intercept;
use crate::reply;
use crate::worker::Worker;

impl ServerSession {
    /// The last word of a call whose handler is done, or never began.
    #[inline]
    pub(super) fn end(&mut self, io: &mut Io<'_>, index: u32, ending: Result<Metadata, Status>) {
        let ServerSession { worker, peer, places, .. } = self;
        let Some(call) = places.call(index) else { return };
        if call.timer == Timer::Set {
            io.clear_timer(slot(index));
        }
        let ending = conclude(worker, peer, call, io.now, ending);
        reply::end(io.wire, call.key, &call.reply, worker, ending);
        io.profile_call(call.started, || worker.entry(call.method).method.kind());
        retire(&mut call.state);
        places.free(index);
    }

    /// A call's deadline has passed.
    pub(super) fn expire(&mut self, io: &mut Io<'_>, index: u32) {
        let Some(call) = self.places.call(index) else { return };
        if call.deadline.is_none_or(|deadline| deadline > io.now) {
            return;
        }
        call.timer = Timer::Unset;
        let (state, method) = (call.state.take(), call.method);
        self.drop_state(state, method);
        self.worker.counters.deadlines_exceeded.increment();
        self.end(io, index, Err(Status::deadline_exceeded("the deadline of the call has passed")));
    }

    /// The client has gone away from a call.
    pub(super) fn cancel(&mut self, io: &mut Io<'_>, index: u32) {
        let Some(exchange) = self.places.take(index) else { return };
        if let Exchange::Call(Call { timer: Timer::Set, .. }) = &exchange {
            io.clear_timer(slot(index));
        }
        self.drop_exchange(exchange, io.now);
    }

    /// The connection is over, and all of its calls are.
    pub(super) fn abandon(&mut self) {
        for exchange in self.places.take_all() {
            self.drop_exchange(exchange, self.now);
        }
    }

    /// Drops a call that is not answered.
    fn drop_exchange(&self, exchange: Exchange, now: Instant) {
        let Exchange::Call(mut call) = exchange else { return };
        self.drop_state(call.state.take(), call.method);
        self.worker.counters.calls_cancelled.increment();
        let ending = Err(Status::cancelled("the client has gone away"));
        drop(conclude(&self.worker, &self.peer, &call, now, ending));
        retire(&mut call.state);
    }

    /// Drops whatever runs for a call.
    fn drop_state(&self, state: State, method: u32) {
        let entry = self.worker.entry(method);
        let dropped = match state {
            State::Running { index, .. } => entry.method.cancel(index),
            State::Intercepted { waiting, .. } => guard(|| drop(waiting)),
            State::Gathering(_) | State::Polling => Ok(()),
        };
        if let Err(panic) = dropped {
            self.worker.panicked(entry.path, &panic);
        }
    }

    /// Has the sweep look at calls whose request is not complete when the first of them expires.
    #[inline]
    pub(super) fn watch(&mut self, io: &mut Io<'_>, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.sweep_at.is_none_or(|at| deadline < at) {
            self.sweep_at = Some(deadline);
            io.set_timer(SWEEP, deadline);
        }
    }

    /// Ends the calls whose request did not become complete in time.
    pub(super) fn sweep(&mut self, io: &mut Io<'_>) {
        self.sweep_at = None;
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        for (index, call) in self.places.calls() {
            let Call { state: State::Gathering(_), deadline: Some(deadline), .. } = call else { continue };
            if *deadline <= io.now {
                expired.push(index);
            } else if next.is_none_or(|next| *deadline < next) {
                next = Some(*deadline);
            }
        }
        for index in expired {
            self.expire(io, index);
        }
        self.watch(io, next);
    }
}

/// Tells the interceptors and the counters how a call has ended.
#[inline]
fn conclude(
    worker: &Worker,
    peer: &Peer,
    call: &Call,
    now: Instant,
    ending: Result<Metadata, Status>,
) -> Result<Metadata, Status> {
    let entry = worker.entry(call.method);
    let ending = intercept::after(call, entry, worker, peer, now, ending);
    let code = ending.as_ref().err().map_or(Code::Ok, Status::code);
    let nanos = u64::try_from(now.since(call.started).as_nanos()).unwrap_or(u64::MAX);
    worker.counters.call_ended(code as u32, nanos);
    ending
}

/// Keeps what the next call can use.
#[inline]
fn retire(state: &mut State) {
    match state {
        State::Gathering(Some(gathered)) | State::Intercepted { body: Held::Message(gathered), .. } => {
            give_buffer(std::mem::take(gathered).into_storage());
        }
        _ => {}
    }
}
