//! What sends a stream of requests: a task beside the call, so that requests go out while the caller waits for something else.
//!
//! Until the response begins, what was sent is kept, up to a limit, for an attempt on another connection. The call says where to
//! send; when its stream is over the pump waits to be told of another or to be ended.
//!
//! Invariant: every attempt gets all messages, in order, from the first.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corelane_call::message::encode_message;
use corelane_call::{Codec, CompressionSwitch, Encoding, Stream};
use corelane_memory::Key;
use corelane_policy::resilience::Committed;
use corelane_runtime::spawn_local;
use corelane_wire::frame::EndStream;

use super::unary::cause_of;
use crate::Cause;
use crate::end::Lost;
use crate::session::{ClientLink, Room};

/// Messages that are sent in one turn before others have theirs.
const MESSAGES_PER_TURN: usize = 64;

/// What the call and its pump share.
pub(crate) struct Feed {
    target: RefCell<Option<(ClientLink, Key)>>,
    /// Messages of `kept` that the target has.
    position: Cell<usize>,
    /// Shared with whoever sends one: nothing here is borrowed meanwhile.
    kept: RefCell<Vec<Rc<Vec<u8>>>>,
    kept_bytes: Cell<usize>,
    kept_bytes_max: usize,
    committed: Cell<bool>,
    /// The requests have ended.
    drained: Cell<bool>,
    /// The target knows that.
    closed: Cell<bool>,
    /// The target has ended.
    over: Cell<bool>,
    ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Feed {
    /// Starts a pump of `requests`, which sends nothing before it has a target.
    pub(crate) fn start<C, S>(requests: S, codec: C, packing: Packing, kept_bytes_max: usize) -> Rc<Feed>
    where
        C: Codec,
        S: Stream<Item = C::Encode> + 'static,
    {
        let feed = Rc::new(Feed {
            target: RefCell::default(),
            position: Cell::new(0),
            kept: RefCell::default(),
            kept_bytes: Cell::new(0),
            kept_bytes_max,
            committed: Cell::new(kept_bytes_max == 0),
            drained: Cell::new(false),
            closed: Cell::new(false),
            over: Cell::new(false),
            ended: Cell::new(false),
            waker: RefCell::default(),
        });
        let mut pump = Pump { feed: feed.clone(), requests: Box::pin(requests), codec, packing };
        spawn_local(async move { poll_fn(|cx| pump.poll(cx)).await });
        feed
    }

    /// Sends everything there, from the first message on.
    pub(crate) fn aim(&self, link: ClientLink, key: Key) {
        *self.target.borrow_mut() = Some((link, key));
        self.position.set(0);
        self.closed.set(false);
        self.over.set(false);
        self.wake();
    }

    /// Whether another attempt is possible.
    pub(crate) fn committed(&self) -> Committed {
        if self.committed.get() { Committed::Yes } else { Committed::No }
    }

    /// The response has begun: no further attempt will be made.
    pub(crate) fn commit(&self) {
        // What the target does not have yet is kept until it does.
        self.committed.set(true);
        self.tidy();
        if self.over.get() {
            self.wake();
        }
    }

    /// Nobody will want a request any more: the server has ended the call, and no further attempt will be made. Whoever produces
    /// them must hear of it though nobody has read the end of the answers yet.
    fn is_done(&self) -> bool {
        self.ended.get() || self.over.get() && self.committed.get()
    }

    /// Nothing more is to be sent.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        self.target.take();
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&self, cx: &Context<'_>) -> Poll<()> {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Keeps a message for another attempt, unless that is too much.
    fn keep(&self, message: Vec<u8>) {
        let bytes = self.kept_bytes.get() + message.len();
        if bytes > self.kept_bytes_max {
            self.committed.set(true);
        }
        self.kept_bytes.set(bytes);
        self.kept.borrow_mut().push(Rc::new(message));
    }

    /// What everybody who will need it has is let go.
    fn tidy(&self) {
        if self.committed.get() && self.position.get() > 0 && self.position.get() == self.kept.borrow().len()
        {
            self.kept.borrow_mut().clear();
            self.position.set(0);
            self.kept_bytes.set(0);
        }
    }
}

/// How messages are packed.
pub(crate) struct Packing {
    pub(crate) encoding: Encoding,
    pub(crate) switch: Option<CompressionSwitch>,
    pub(crate) size_max: usize,
}

impl Packing {
    fn encoding(&self) -> Encoding {
        match &self.switch {
            Some(switch) if !switch.is_on() => Encoding::Identity,
            _ => self.encoding,
        }
    }
}

struct Pump<C, S> {
    feed: Rc<Feed>,
    requests: Pin<Box<S>>,
    codec: C,
    packing: Packing,
}

impl<C, S> Pump<C, S>
where
    C: Codec,
    S: Stream<Item = C::Encode>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..MESSAGES_PER_TURN {
            if self.feed.is_done() {
                return Poll::Ready(());
            }
            let target = self.feed.target.borrow().clone();
            let Some((link, key)) = target else { return self.feed.wait(cx) };
            let room =
                link.with(|session, io| session.poll_room(io, key, cx)).unwrap_or(Poll::Ready(Room::Over));
            match room {
                Poll::Pending => return self.feed.wait(cx),
                Poll::Ready(Room::Over) => {
                    self.feed.target.take();
                    self.feed.over.set(true);
                    continue;
                }
                Poll::Ready(Room::Left) => {}
            }
            if self.feed.closed.get() {
                return self.feed.wait(cx);
            }
            if self.step(&link, key, cx).is_pending() {
                return self.feed.wait(cx);
            }
        }
        cx.waker().wake_by_ref();
        self.feed.wait(cx)
    }

    /// Sends one message, or the end.
    fn step(&mut self, link: &ClientLink, key: Key, cx: &mut Context<'_>) -> Poll<()> {
        let position = self.feed.position.get();
        let kept = self.feed.kept.borrow().get(position).cloned();
        if let Some(kept) = kept {
            link.with(|session, io| {
                session.send(io, key, EndStream::No, |out| {
                    out.extend_from_slice(&kept);
                    Ok(())
                })
            });
            self.feed.position.set(position + 1);
            self.feed.tidy();
            return Poll::Ready(());
        }
        if self.feed.drained.get() {
            link.with(|session, io| session.send_end(io, key));
            self.feed.closed.set(true);
            return Poll::Ready(());
        }
        let request = match self.requests.as_mut().poll_next(cx) {
            Poll::Pending => {
                link.session(|session| session.watch_end(key, cx));
                return Poll::Pending;
            }
            Poll::Ready(None) => {
                self.feed.drained.set(true);
                return Poll::Ready(());
            }
            Poll::Ready(Some(request)) => request,
        };
        self.send(link, key, &request);
        Poll::Ready(())
    }

    fn send(&mut self, link: &ClientLink, key: Key, request: &C::Encode) {
        let (encoding, max) = (self.packing.encoding(), self.packing.size_max);
        let sent = if self.feed.committed.get() {
            let direct = |out: &mut Vec<u8>| encode_message(&self.codec, request, encoding, max, out);
            link.with(|session, io| session.send(io, key, EndStream::No, direct)).unwrap_or(Ok(()))
        } else {
            let mut bytes = Vec::new();
            encode_message(&self.codec, request, encoding, max, &mut bytes).map(|()| self.feed.keep(bytes))
        };
        if let Err(status) = sent {
            self.feed.ended.set(true);
            // Another attempt would wait for requests that nobody sends.
            self.feed.committed.set(true);
            let lost = Lost { status: Some(status.clone()), ..Lost::new(cause_of(&status)) };
            link.with(|session, io| session.abort(io, key, lost));
        }
    }
}

/// A pump that ends before its requests did ends the call: they panicked, or the worker ends.
impl<C, S> Drop for Pump<C, S> {
    fn drop(&mut self) {
        let unfinished = !self.feed.is_done() && !self.feed.drained.get();
        if unfinished {
            // Another attempt would wait for requests that nobody sends.
            self.feed.committed.set(true);
        }
        let target = self.feed.target.take();
        if let Some((link, key)) = target.filter(|_| unfinished) {
            link.with(|session, io| session.abort(io, key, Lost::new(Cause::RequestStream)));
        }
    }
}
