//! Calls from any thread and any async runtime: they go to a worker through its mailbox and come back the same way.

use std::pin::Pin;
use std::task::{Context, Poll};

use corelane_call::{Codec, Encoding, Metadata, Request, Status, Stream};

use crate::{BuildError, Engine, Method};

/// A channel that any thread may use.
#[derive(Clone, Debug)]
pub struct RemoteChannel {}

impl RemoteChannel {
    /// A channel to `target` on workers of its own: one thread, which ends with the last clone.
    ///
    /// # Errors
    /// [`BuildError`] says what is wrong.
    pub fn connect(_target: impl Into<String>) -> Result<RemoteChannel, BuildError> {
        todo!()
    }

    /// A channel on the workers of `engine`.
    #[must_use]
    pub fn on(_engine: &Engine, _channel: crate::SharedChannel) -> RemoteChannel {
        todo!()
    }
}

/// A response that may go to any thread.
#[derive(Clone, Debug, Default)]
pub struct Answer<T> {
    metadata: Metadata,
    trailers: Metadata,
    message: T,
}

impl<T> Answer<T> {
    /// The message.
    pub fn get_ref(&self) -> &T {
        &self.message
    }

    /// The message alone.
    pub fn into_inner(self) -> T {
        self.message
    }

    /// The leading metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The trailing metadata; empty for a stream, which has not ended yet.
    pub fn trailers(&self) -> &Metadata {
        &self.trailers
    }
}

/// Messages that arrive from a worker; also a [`Stream`].
#[derive(Debug)]
pub struct RemoteStreaming<T> {
    _items: Vec<T>,
}

impl<T> RemoteStreaming<T> {
    /// The next message; `None` after the last one.
    ///
    /// # Errors
    /// The status of the call.
    pub async fn message(&mut self) -> Result<Option<T>, Status> {
        todo!()
    }

    /// The trailing metadata, once the stream has ended.
    #[must_use]
    pub fn take_trailers(&mut self) -> Option<Metadata> {
        todo!()
    }
}

impl<T> Stream for RemoteStreaming<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        todo!()
    }
}

/// A channel for any thread, and the options of one generated client.
#[derive(Clone, Debug)]
pub struct RemoteCaller {
    _channel: RemoteChannel,
}

impl RemoteCaller {
    /// Calls over `channel`.
    #[must_use]
    pub fn new(channel: RemoteChannel) -> RemoteCaller {
        RemoteCaller { _channel: channel }
    }

    /// Compresses requests in this way.
    pub fn send_compressed(&mut self, _encoding: Encoding) {}

    /// Accepts responses that are compressed in this way.
    pub fn accept_compressed(&mut self, _encoding: Encoding) {}

    /// Refuses responses that are larger than this many bytes.
    pub fn max_decoding_message_size(&mut self, _limit: usize) {}

    /// Refuses to send requests that are larger than this many bytes.
    pub fn max_encoding_message_size(&mut self, _limit: usize) {}

    /// One request, one response.
    pub fn unary<C>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<C::Encode>,
    ) -> impl Future<Output = Result<Answer<C::Decode>, Status>> + Send + use<C>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        async move { todo!() }
    }

    /// One request, a stream of responses.
    pub fn server_streaming<C>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<C::Encode>,
    ) -> impl Future<Output = Result<Answer<RemoteStreaming<C::Decode>>, Status>> + Send + use<C>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        async move { todo!() }
    }

    /// A stream of requests, one response.
    pub fn client_streaming<C, S>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<S>,
    ) -> impl Future<Output = Result<Answer<C::Decode>, Status>> + Send + use<C, S>
    where
        C: Codec + Send,
        C::Decode: Send,
        S: Stream<Item = C::Encode> + Send + 'static,
    {
        async move { todo!() }
    }

    /// A stream of requests, a stream of responses.
    pub fn bidi<C, S>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<S>,
    ) -> impl Future<Output = Result<Answer<RemoteStreaming<C::Decode>>, Status>> + Send + use<C, S>
    where
        C: Codec + Send,
        C::Decode: Send,
        S: Stream<Item = C::Encode> + Send + 'static,
    {
        async move { todo!() }
    }
}
