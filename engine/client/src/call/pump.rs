//! What sends a stream of requests: a task beside the call, so that requests go out while the caller waits for something else.
//!
//! The call says where to send (see [`Feed`]); when all streams there are over the pump waits to be told of another or to be
//! ended. A request is asked for when one of the streams has all before it, and room: none waits for a slower one.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corelane_call::message::{encode_gathered, encode_message};
use corelane_call::{Codec, CompressionSwitch, Encoding, Status, Stream};
use corelane_memory::Gather;
use corelane_runtime::spawn_local;
use corelane_wire::frame::EndStream;

use super::feed::{Feed, Target};
use super::unary::cause_of;
use crate::Cause;
use crate::end::Lost;
use crate::session::Room;

/// Messages that each target gets in one turn before other tasks have theirs.
const MESSAGES_PER_TURN: usize = 64;

/// Starts a pump of `requests`, which sends nothing before it has a target.
pub(super) fn start<C, S>(requests: S, codec: C, packing: Packing, kept_bytes_max: usize) -> Rc<Feed>
where
    C: Codec,
    S: Stream<Item = C::Encode> + 'static,
{
    let feed = Rc::new(Feed::new(kept_bytes_max));
    let mut pump = Pump { feed: feed.clone(), requests: Box::pin(requests), codec, packing };
    spawn_local(async move { poll_fn(|cx| pump.poll(cx)).await });
    feed
}

/// How messages are packed.
pub(super) struct Packing {
    pub(super) encoding: Encoding,
    pub(super) switch: Option<CompressionSwitch>,
    pub(super) size_max: usize,
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
            if self.round(cx).is_pending() {
                return self.feed.wait(cx);
            }
        }
        cx.waker().wake_by_ref();
        self.feed.wait(cx)
    }

    /// Sends each target one message of those that are kept; if all that have room have them all, gets another.
    fn round(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut moved = false;
        let mut first = None;
        let mut index = 0;
        while let Some(target) = self.feed.target(index) {
            match target.poll_room(cx) {
                Poll::Ready(Room::Over) => {
                    self.feed.leave(&target);
                    moved = true;
                    continue;
                }
                Poll::Ready(Room::Left) if self.feed.forward(&target) => moved = true,
                Poll::Ready(Room::Left) => first = first.or(Some(target)),
                Poll::Pending => {}
            }
            index += 1;
        }
        if moved {
            return Poll::Ready(());
        }
        match first {
            Some(target) if !self.feed.is_drained() => self.fetch(&target, cx),
            _ => Poll::Pending,
        }
    }

    /// Gets the next request; `first` is a target that has room for it.
    fn fetch(&mut self, first: &Target, cx: &mut Context<'_>) -> Poll<()> {
        match self.requests.as_mut().poll_next(cx) {
            Poll::Pending => {
                self.watch_ends(cx);
                return Poll::Pending;
            }
            Poll::Ready(None) => self.feed.drain(),
            Poll::Ready(Some(request)) => {
                if let Err(status) = self.take(&request, first) {
                    let lost = Lost { status: Some(status.clone()), ..Lost::new(cause_of(&status)) };
                    self.feed.fail(&lost);
                }
            }
        }
        Poll::Ready(())
    }

    /// The requests may be long in coming, and nobody may want them meanwhile.
    fn watch_ends(&self, cx: &Context<'_>) {
        let mut index = 0;
        while let Some(target) = self.feed.target(index) {
            target.link.session(|session| session.watch_end(target.key, cx));
            index += 1;
        }
    }

    /// Encodes a request, straight into its stream if nobody else will need it.
    fn take(&self, request: &C::Encode, first: &Target) -> Result<(), Status> {
        let (encoding, max) = (self.packing.encoding(), self.packing.size_max);
        if self.feed.is_alone(first) {
            let encode = |out: &mut Gather<'_>| encode_gathered(&self.codec, request, encoding, max, out);
            return first
                .link
                .with(|session, io| session.send(io, first.key, EndStream::No, encode))
                .unwrap_or(Ok(()));
        }
        let mut bytes = Vec::new();
        encode_message(&self.codec, request, encoding, max, &mut bytes)?;
        self.feed.keep(bytes, first);
        Ok(())
    }
}

/// A pump that ends before its requests did ends the call: they panicked, or the worker ends.
impl<C, S> Drop for Pump<C, S> {
    fn drop(&mut self) {
        if !self.feed.is_done() && !self.feed.is_drained() {
            self.feed.fail(&Lost::new(Cause::RequestStream));
        }
        self.feed.forget_targets();
    }
}
