//! Calls that block the thread that makes them, for programs without an async runtime.
//!
//! Does not: run on a worker, which would wait for itself.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use corelane_call::{Codec, Encoding, Metadata, Request, Status, Stream};

use crate::{Answer, Method, RemoteCaller, RemoteChannel, RemoteStreaming};

/// Messages that arrive, as an iterator that blocks. Dropping it cancels the call.
#[derive(Debug)]
pub struct BlockingStreaming<T> {
    inner: RemoteStreaming<T>,
}

impl<T> BlockingStreaming<T> {
    /// The trailing metadata, once: after the stream has ended.
    #[must_use]
    pub fn take_trailers(&mut self) -> Option<Metadata> {
        self.inner.take_trailers()
    }
}

impl<T> Iterator for BlockingStreaming<T> {
    type Item = Result<T, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        wait(std::future::poll_fn(|cx| Pin::new(&mut self.inner).poll_next(cx)))
    }
}

/// A channel for any thread, with calls that block.
#[derive(Clone, Debug)]
pub struct BlockingCaller {
    inner: RemoteCaller,
}

impl BlockingCaller {
    /// Calls over `channel`.
    #[must_use]
    pub fn new(channel: RemoteChannel) -> BlockingCaller {
        BlockingCaller { inner: RemoteCaller::new(channel) }
    }

    /// Compresses requests in this way.
    pub fn send_compressed(&mut self, encoding: Encoding) {
        self.inner.send_compressed(encoding);
    }

    /// Accepts responses that are compressed in this way.
    pub fn accept_compressed(&mut self, encoding: Encoding) {
        self.inner.accept_compressed(encoding);
    }

    /// Refuses responses that are larger than this many bytes.
    pub fn max_decoding_message_size(&mut self, limit: usize) {
        self.inner.max_decoding_message_size(limit);
    }

    /// Refuses to send requests that are larger than this many bytes.
    pub fn max_encoding_message_size(&mut self, limit: usize) {
        self.inner.max_encoding_message_size(limit);
    }

    /// One request, one response.
    ///
    /// # Errors
    /// As [`RemoteCaller::unary`].
    pub fn unary<C>(
        &self,
        method: Method,
        codec: C,
        request: Request<C::Encode>,
    ) -> Result<Answer<C::Decode>, Status>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        self.wait(self.inner.unary(method, codec, request))
    }

    /// One request, a stream of responses.
    ///
    /// # Errors
    /// As [`RemoteCaller::unary`].
    pub fn server_streaming<C>(
        &self,
        method: Method,
        codec: C,
        request: Request<C::Encode>,
    ) -> Result<Answer<BlockingStreaming<C::Decode>>, Status>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        self.wait(self.inner.server_streaming(method, codec, request)).map(blocking)
    }

    /// A stream of requests, one response. The iterator runs on the worker's thread, so it must not block for long.
    ///
    /// # Errors
    /// As [`RemoteCaller::unary`].
    pub fn client_streaming<C, I>(
        &self,
        method: Method,
        codec: C,
        request: Request<I>,
    ) -> Result<Answer<C::Decode>, Status>
    where
        C: Codec + Send,
        C::Decode: Send,
        I: IntoIterator<Item = C::Encode>,
        I::IntoIter: Send + 'static,
    {
        self.wait(self.inner.client_streaming(method, codec, request.map(|items| Iter(items.into_iter()))))
    }

    /// A stream of requests, a stream of responses. The iterator runs on the worker's thread, so it must not block for long.
    ///
    /// # Errors
    /// As [`RemoteCaller::unary`].
    pub fn bidi<C, I>(
        &self,
        method: Method,
        codec: C,
        request: Request<I>,
    ) -> Result<Answer<BlockingStreaming<C::Decode>>, Status>
    where
        C: Codec + Send,
        C::Decode: Send,
        I: IntoIterator<Item = C::Encode>,
        I::IntoIter: Send + 'static,
    {
        self.wait(self.inner.bidi(method, codec, request.map(|items| Iter(items.into_iter())))).map(blocking)
    }
}

fn blocking<T>(answer: Answer<RemoteStreaming<T>>) -> Answer<BlockingStreaming<T>> {
    answer.map(|inner| BlockingStreaming { inner })
}

/// An iterator as a stream that always has its next item.
struct Iter<I>(I);

impl<I> Unpin for Iter<I> {}

impl<I: Iterator> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl BlockingCaller {
    fn wait<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        if self.inner.is_here() {
            return Err(Status::failed_precondition(
                "a worker cannot wait for a call that it is to make itself: await a client of the worker's own channel",
            ));
        }
        wait(call)
    }
}

/// Blocks this thread until `future` has ended.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            // A wake that comes before this is kept by the thread's token.
            Poll::Pending => thread::park(),
        }
    }
}
