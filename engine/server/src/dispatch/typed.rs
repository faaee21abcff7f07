//! What all shapes of a method have in common: start, poll and drop a call, with user code behind a guard.
//!
//! Does not: know how a shape polls; [`Drive`] does.

use std::task::{Context, Poll};

use corelane_call::{Metadata, Status};
use corelane_observe::CallKind;

use super::slots::{Reuse, Slots};
use super::{Arrival, Method, Panic, Progress, Requests, guard};
use crate::reply::Reply;

/// How a call ended: trailing metadata, or an error.
pub(crate) type Ending = Result<Metadata, Status>;

/// One shape of a method, with its types.
pub(crate) trait Drive {
    /// What holds a running call.
    type Home: Reuse;
    /// How many messages a request has.
    const REQUESTS: Requests;
    /// Which kind of calls this is.
    const KIND: CallKind;
    /// Decodes the request and calls the handler: `home` holds its future then.
    fn begin(&self, home: &mut Self::Home, arrival: Arrival<'_>) -> Result<(), Status>;
    /// Polls what `home` holds, and sends what it yields. `home` is vacant once the call is over, unless there was a panic.
    fn drive(&self, home: &mut Self::Home, cx: &mut Context<'_>, reply: &mut Reply<'_>) -> Poll<Ending>;
}

/// A method and its running calls.
pub(crate) struct Typed<D: Drive> {
    shape: D,
    homes: Slots<D::Home>,
}

impl<D: Drive> Typed<D> {
    pub(crate) fn new(shape: D) -> Typed<D> {
        Typed { shape, homes: Slots::new() }
    }

    /// Ends a call that is done or has panicked.
    #[inline]
    fn settle(&self, mut home: D::Home, polled: Result<Ending, Panic>, reply: &mut Reply<'_>) -> Progress {
        let ending = match polled {
            Ok(ending) => ending,
            Err(panic) => Err(reply.panicked(&panic)),
        };
        if !home.is_vacant()
            && let Err(panic) = guard(|| home.vacate())
        {
            reply.panicked(&panic);
        }
        self.retire(home);
        Progress::Done(ending)
    }

    /// Keeps a home for the next call. One whose destructor has panicked may still hold something: it is let go.
    #[inline]
    fn retire(&self, home: D::Home) {
        if home.is_vacant() {
            self.homes.give_back(home);
        } else if let Err(panic) = guard(|| drop(home)) {
            tracing::error!(panic = panic.message(), "a handler's destructor panicked twice");
        }
    }
}

impl<D: Drive> Method for Typed<D> {
    fn requests(&self) -> Requests {
        D::REQUESTS
    }

    fn kind(&self) -> CallKind {
        D::KIND
    }

    fn start(&self, arrival: Arrival<'_>, cx: &mut Context<'_>, reply: &mut Reply<'_>) -> Progress {
        let mut home = self.homes.vacant();
        let polled = guard(|| match self.shape.begin(&mut home, arrival) {
            Ok(()) => self.shape.drive(&mut home, cx, reply),
            Err(status) => Poll::Ready(Err(status)),
        });
        let polled = match polled {
            Ok(Poll::Pending) => return Progress::Pending(self.homes.keep(home)),
            Ok(Poll::Ready(ending)) => Ok(ending),
            Err(panic) => Err(panic),
        };
        self.settle(home, polled, reply)
    }

    fn poll(&self, index: u32, cx: &mut Context<'_>, reply: &mut Reply<'_>) -> Progress {
        let mut home = self.homes.take(index).expect("the session polls a pending call, and one at a time");
        let polled = match guard(|| self.shape.drive(&mut home, cx, reply)) {
            Ok(Poll::Pending) => {
                self.homes.put_back(index, home);
                return Progress::Pending(index);
            }
            Ok(Poll::Ready(ending)) => Ok(ending),
            Err(panic) => Err(panic),
        };
        self.homes.forget(index);
        self.settle(home, polled, reply)
    }

    fn cancel(&self, index: u32) -> Result<(), Panic> {
        let Some(mut home) = self.homes.take(index) else { return Ok(()) };
        self.homes.forget(index);
        let dropped = guard(|| home.vacate());
        self.retire(home);
        dropped
    }
}
