//! Streams for handlers: from an iterator, through a channel, from an async block.
//!
//! All of it lives on one thread and nothing here is `Send`: a response stream is polled by the connection that it goes out
//! on, and only while there is room to send, so a slow reader holds its own handler back and no other.
//!
//! Does not: combine streams. `futures-util` or `tokio-stream` work on these as on any [`Stream`].

mod channel;
mod produce;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use channel::{Receiver, SendError, Sender, TrySendError, channel};
use corelane_wire::grpc::Status;
use futures_core::Stream;
pub use produce::{Produce, produce};

/// A response stream of any shape, for methods whose stream types differ from branch to branch.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>>>>;

/// The items of `items`, each ready when asked for.
///
/// ```
/// use corelane_call::{Response, Status, stream};
///
/// let response = Response::new(stream::iter((1..=3).map(Ok::<u32, Status>)));
/// ```
pub fn iter<I: IntoIterator>(items: I) -> Iter<I::IntoIter> {
    Iter { items: items.into_iter() }
}

/// The stream that [`iter`] makes.
#[derive(Clone, Debug)]
pub struct Iter<I> {
    items: I,
}

/// The items are never pinned.
impl<I> Unpin for Iter<I> {}

impl<I: Iterator> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.items.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// The next item of any stream; `None` at its end. Can be dropped and called again.
pub async fn next<S: Stream + Unpin + ?Sized>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn an_iterator_becomes_a_stream() {
        let mut stream: BoxStream<u8> = Box::pin(iter([Ok(1), Err(Status::aborted("end"))]));
        assert_eq!(stream.size_hint(), (2, Some(2)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(std::pin::pin!(next(&mut stream)).poll(&mut cx), Poll::Ready(Some(Ok(1)))));
        assert!(matches!(stream.as_mut().poll_next(&mut cx), Poll::Ready(Some(Err(_)))));
        assert!(matches!(stream.as_mut().poll_next(&mut cx), Poll::Ready(None)));
    }
}
