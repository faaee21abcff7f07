//! The messages that arrive on a streaming call, as the handler (or the client's caller) reads them.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corelane_wire::grpc::{Encoding, Metadata, Status};
use futures_core::Stream;

use crate::{Codec, Inbound};

/// Messages of type `T` that arrive one by one; each is decoded when it is asked for.
///
/// Also a [`Stream`] of `Result<T, Status>`. After an error it ends. Dropping it lets the rest of the stream pass unread.
///
/// ```
/// # use corelane_call::{Request, Response, Status, Streaming};
/// async fn sum(request: Request<Streaming<u64>>) -> Result<Response<u64>, Status> {
///     let mut numbers = request.into_inner();
///     let mut sum = 0;
///     while let Some(number) = numbers.message().await? {
///         sum += number;
///     }
///     Ok(Response::new(sum))
/// }
/// ```
pub struct Streaming<T> {
    inbound: Rc<Inbound>,
    decode: Box<Decode<T>>,
    encoding: Encoding,
    max: usize,
}

/// A codec's half; one of size zero is boxed without an allocation.
type Decode<T> = dyn Fn(&[u8]) -> Result<T, Status>;

impl<T> Streaming<T> {
    /// The reader of `inbound`, whose messages are compressed with `encoding` and hold at most `max` bytes each.
    #[must_use]
    pub fn new<C>(codec: C, inbound: Rc<Inbound>, encoding: Encoding, max: usize) -> Streaming<T>
    where
        C: Codec<Decode = T>,
    {
        Streaming { inbound, decode: Box::new(move |payload| codec.decode(payload)), encoding, max }
    }

    /// The next message; `None` after the last one.
    ///
    /// Can be dropped and called again: no message is lost.
    ///
    /// # Errors
    /// The status of the call, if it failed; `RESOURCE_EXHAUSTED` for a message over the limit; `INTERNAL` for one that
    /// cannot be decoded.
    pub async fn message(&mut self) -> Result<Option<T>, Status> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// [`Streaming::message`] for a hand-written future.
    ///
    /// # Errors
    /// As [`Streaming::message`].
    pub fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T>, Status>> {
        self.poll_item(cx).map(Option::transpose)
    }

    #[inline]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Status>>> {
        self.inbound.poll_message(cx, self.encoding, self.max, &*self.decode)
    }

    /// The trailing metadata, after the messages that were not read yet have passed. `None` where there was none, or when
    /// it was taken before.
    ///
    /// # Errors
    /// As [`Streaming::message`].
    pub async fn trailers(&mut self) -> Result<Option<Metadata>, Status> {
        while self.message().await?.is_some() {}
        Ok(self.inbound.take_trailers())
    }

    /// The trailing metadata, if it is here: after the last message. `None` where there was none, or when it was taken before.
    #[must_use]
    pub fn take_trailers(&self) -> Option<Metadata> {
        self.inbound.take_trailers()
    }

    /// Whether the last message came compressed; `false` before the first.
    #[must_use]
    pub fn last_was_compressed(&self) -> bool {
        self.inbound.last_was_compressed()
    }
}

impl<T> Stream for Streaming<T> {
    type Item = Result<T, Status>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl<T> Drop for Streaming<T> {
    fn drop(&mut self) {
        self.inbound.abandon();
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("encoding", &self.encoding)
            .field("max", &self.max)
            .field("buffered", &self.inbound.buffered())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use corelane_wire::grpc::Code;

    use super::*;
    use crate::ProstCodec;
    use crate::message::encode_message;

    const MAX: usize = 1024;

    fn streaming(encoding: Encoding) -> (Rc<Inbound>, Streaming<String>) {
        let inbound = Rc::new(Inbound::new());
        let codec = ProstCodec::<String, String>::default();
        (inbound.clone(), Streaming::new(codec, inbound, encoding, MAX))
    }

    fn push(inbound: &Inbound, text: &str, encoding: Encoding) -> usize {
        let mut bytes = Vec::new();
        let codec = ProstCodec::<String, String>::default();
        encode_message(&codec, &text.to_owned(), encoding, MAX, &mut bytes).unwrap();
        inbound.push(&bytes, Waker::wake_by_ref);
        bytes.len()
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not ready"),
        }
    }

    #[test]
    fn messages_are_decoded_one_by_one() {
        let (inbound, mut messages) = streaming(Encoding::Gzip);
        push(&inbound, "plain", Encoding::Identity);
        push(&inbound, "packed", Encoding::Gzip);
        inbound.end(Waker::wake_by_ref);
        assert_eq!(now(messages.message()).unwrap().as_deref(), Some("plain"));
        assert!(!messages.last_was_compressed());
        assert_eq!(now(messages.message()).unwrap().as_deref(), Some("packed"));
        assert!(messages.last_was_compressed());
        assert_eq!(now(messages.message()).unwrap(), None);
    }

    #[test]
    fn as_a_stream_it_ends_after_an_error() {
        let (inbound, mut messages) = streaming(Encoding::Identity);
        push(&inbound, "one", Encoding::Identity);
        inbound.push(b"\x00\x00\x00\x00\x01\xff", Waker::wake_by_ref);
        let mut cx = Context::from_waker(Waker::noop());
        let mut next = || Pin::new(&mut messages).poll_next(&mut cx);
        assert!(matches!(next(), Poll::Ready(Some(Ok(text))) if text == "one"));
        assert!(matches!(next(), Poll::Ready(Some(Err(status))) if status.code() == Code::Internal));
        assert!(matches!(next(), Poll::Ready(None)));
    }

    #[test]
    fn trailers_come_after_the_messages() {
        let (inbound, mut messages) = streaming(Encoding::Identity);
        push(&inbound, "unread", Encoding::Identity);
        let mut trailers = Metadata::new();
        trailers.insert("x-cost", "3").unwrap();
        inbound.set_trailers(trailers);
        inbound.end(Waker::wake_by_ref);
        assert_eq!(now(messages.trailers()).unwrap().unwrap().get("x-cost"), Some("3"));
        assert!(now(messages.trailers()).unwrap().is_none());
    }

    #[test]
    fn dropping_it_credits_what_was_not_read() {
        let (inbound, messages) = streaming(Encoding::Identity);
        let len = push(&inbound, "unread", Encoding::Identity);
        drop(messages);
        assert_eq!(inbound.take_credit() as usize, len);
    }
}
