//! A stream written as an async block: what it sends is what the stream yields.
//!
//! The block is polled by whoever polls the stream, so it needs no task of its own and is dropped with the call.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use corelane_wire::grpc::Status;
use futures_core::Stream;

use super::channel::{Receiver, Sender, channel};
use crate::BoxFuture;

/// The stream of what the block sends. It ends when the block does; an error that the block returns is its last item.
///
/// At most one item waits: the block goes on when it was taken.
///
/// ```
/// use corelane_call::{BoxStream, Request, Response, Status, Streaming, stream};
///
/// // A bidirectional method that answers each message as it comes.
/// async fn chat(request: Request<Streaming<String>>) -> Result<Response<BoxStream<String>>, Status> {
///     let mut lines = request.into_inner();
///     Ok(Response::new(Box::pin(stream::produce(async move |out| {
///         while let Some(line) = lines.message().await? {
///             out.send(line.to_uppercase()).await.map_err(|_| Status::cancelled("nobody listens"))?;
///         }
///         Ok(())
///     }))))
/// }
/// ```
pub fn produce<T, F>(block: F) -> Produce<T>
where
    T: 'static,
    F: AsyncFnOnce(Sender<T>) -> Result<(), Status> + 'static,
{
    let (sender, receiver) = channel(1);
    Produce { items: receiver, block: Some(Box::pin(async move { block(sender).await })) }
}

/// The stream that [`produce`] makes.
pub struct Produce<T> {
    items: Receiver<T>,
    /// `None` once it returned.
    block: Option<BoxFuture<'static, Result<(), Status>>>,
}

impl<T> Stream for Produce<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(Some(item)) = Pin::new(&mut self.items).poll_next(cx) {
            return Poll::Ready(Some(Ok(item)));
        }
        let ended = match self.block.as_mut().map(|block| block.as_mut().poll(cx)) {
            Some(Poll::Ready(result)) => {
                self.block = None;
                Some(result)
            }
            Some(Poll::Pending) => None,
            None => return Poll::Ready(None),
        };
        match (Pin::new(&mut self.items).poll_next(cx), ended) {
            (Poll::Ready(Some(item)), ended) => {
                // An error still has to come after the item that was sent just before it.
                if let Some(Err(status)) = ended {
                    self.block = Some(Box::pin(std::future::ready(Err(status))));
                }
                Poll::Ready(Some(Ok(item)))
            }
            (_, Some(Err(status))) => Poll::Ready(Some(Err(status))),
            (_, Some(Ok(()))) => Poll::Ready(None),
            (_, None) => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for Produce<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Produce").field("ended", &self.block.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn next<T>(stream: &mut Produce<T>, waker: &Waker) -> Poll<Option<Result<T, Status>>> {
        Pin::new(stream).poll_next(&mut Context::from_waker(waker))
    }

    /// Polls until something comes, as a task would: again only when it was woken.
    fn run<T>(mut stream: Produce<T>) -> Vec<Result<T, Status>> {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        let mut items = Vec::new();
        loop {
            let woken = counter.0.load(Ordering::Relaxed);
            match next(&mut stream, &waker) {
                Poll::Ready(Some(item)) => items.push(item),
                Poll::Ready(None) => return items,
                Poll::Pending => assert!(counter.0.load(Ordering::Relaxed) > woken, "nobody would wake it"),
            }
        }
    }

    #[test]
    fn what_the_block_sends_is_what_comes() {
        let stream = produce(async |out| {
            for n in 0..5 {
                out.send(n).await.unwrap();
            }
            Ok(())
        });
        let items: Vec<u32> = run(stream).into_iter().map(Result::unwrap).collect();
        assert_eq!(items, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_error_comes_last() {
        let stream = produce(async |out| {
            out.send(1).await.unwrap();
            Err(Status::aborted("enough"))
        });
        let items = run(stream);
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].as_ref().unwrap(), &1);
        assert_eq!(items[1].as_ref().unwrap_err().message(), "enough");
    }

    #[test]
    fn the_block_runs_no_further_than_one_item_ahead() {
        let sent = Rc::new(Cell::new(0));
        let count = sent.clone();
        let mut stream = produce(async move |out| {
            for n in 1..=10 {
                out.send(n).await.unwrap();
                count.set(n);
            }
            Ok(())
        });
        assert!(matches!(next(&mut stream, Waker::noop()), Poll::Ready(Some(Ok(1)))));
        assert_eq!(sent.get(), 1);
        assert!(matches!(next(&mut stream, Waker::noop()), Poll::Ready(Some(Ok(2)))));
        assert_eq!(sent.get(), 2);
    }

    #[test]
    fn dropping_the_stream_drops_the_block() {
        let held = Rc::new(());
        let inside = held.clone();
        let mut stream = produce(async move |out: Sender<()>| {
            let _inside = inside;
            out.closed().await;
            Ok(())
        });
        assert!(next(&mut stream, Waker::noop()).is_pending());
        assert_eq!(Rc::strong_count(&held), 2);
        drop(stream);
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
