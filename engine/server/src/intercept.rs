//! Interceptors around a call: they see its parts before the handler does, and its end after it.
//!
//! Does not: cost anything where there are none. Invariant: `after` follows exactly where all of `before` let the call
//! through; a panic in either is an error of the call.

use std::pin::Pin;
use std::rc::Rc;

use corelane_call::{CallParts, Code, Ending, Metadata, Peer, Status};
use corelane_wire::Instant;

use crate::call::{Call, Passed};
use crate::dispatch::guard;
use crate::methods::{Entry, Interception, Options};
use crate::worker::Worker;

/// Interceptors that may wait, at work on a call.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Result<Box<CallParts>, Status>>>>;

/// Lets the interceptors see a call; none of them may wait.
#[inline]
pub(crate) fn before(entry: &Entry, worker: &Worker, parts: &mut CallParts) -> Result<(), Status> {
    if entry.options.interception == Interception::None {
        return Ok(());
    }
    match guard(|| entry.options.interceptors.before(parts)) {
        Ok(passed) => passed,
        Err(panic) => Err(worker.panicked(entry.path, &panic)),
    }
}

/// The same where some may wait: the parts come back when all have let the call through.
pub(crate) fn begin(options: &Rc<Options>, mut parts: Box<CallParts>) -> Waiting {
    let options = options.clone();
    Box::pin(async move {
        options.interceptors.before_async(&mut parts).await?;
        Ok(parts)
    })
}

/// Lets the interceptors see how a call ended, and add to what is sent.
#[inline]
pub(crate) fn after(
    call: &Call,
    entry: &Entry,
    worker: &Worker,
    peer: &Peer,
    now: Instant,
    ending: Result<Metadata, Status>,
) -> Result<Metadata, Status> {
    if entry.options.interception == Interception::None || call.passed == Passed::No {
        return ending;
    }
    let (mut trailers, mut status) = match ending {
        Ok(trailers) => (trailers, Status::ok()),
        Err(mut status) => (std::mem::take(status.metadata_mut()), status),
    };
    let mut view = Ending {
        path: entry.path,
        code: status.code(),
        message: status.message(),
        trailers: &mut trailers,
        peer: Some(peer),
        elapsed: Some(now.since(call.started)),
    };
    if let Err(panic) = guard(|| entry.options.interceptors.after(&mut view)) {
        worker.panicked(entry.path, &panic);
    }
    if status.code() == Code::Ok {
        return Ok(trailers);
    }
    if !trailers.is_empty() {
        *status.metadata_mut() = trailers;
    }
    Err(status)
}
