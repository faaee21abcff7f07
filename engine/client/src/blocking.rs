//! Calls that block the thread that makes them.

use corelane_call::{Codec, Encoding, Metadata, Request, Status};

use crate::{Answer, Method, RemoteCaller, RemoteChannel, RemoteStreaming};

/// Messages that arrive, as an iterator that blocks.
#[derive(Debug)]
pub struct BlockingStreaming<T> {
    inner: RemoteStreaming<T>,
}

impl<T> BlockingStreaming<T> {
    /// The trailing metadata, once the stream has ended.
    #[must_use]
    pub fn take_trailers(&mut self) -> Option<Metadata> {
        self.inner.take_trailers()
    }
}

impl<T> Iterator for BlockingStreaming<T> {
    type Item = Result<T, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// A channel for any thread, with calls that block.
#[derive(Clone, Debug)]
pub struct BlockingCaller {
    _inner: RemoteCaller,
}

impl BlockingCaller {
    /// Calls over `channel`.
    #[must_use]
    pub fn new(channel: RemoteChannel) -> BlockingCaller {
        BlockingCaller { _inner: RemoteCaller::new(channel) }
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
    ///
    /// # Errors
    /// The call's status.
    pub fn unary<C>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<C::Encode>,
    ) -> Result<Answer<C::Decode>, Status>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        todo!()
    }

    /// One request, a stream of responses.
    ///
    /// # Errors
    /// The call's status.
    pub fn server_streaming<C>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<C::Encode>,
    ) -> Result<Answer<BlockingStreaming<C::Decode>>, Status>
    where
        C: Codec + Send,
        C::Encode: Send,
        C::Decode: Send,
    {
        todo!()
    }

    /// A stream of requests, one response. The iterator runs on the worker's thread, so it must not block for long.
    ///
    /// # Errors
    /// The call's status.
    pub fn client_streaming<C, I>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<I>,
    ) -> Result<Answer<C::Decode>, Status>
    where
        C: Codec + Send,
        C::Decode: Send,
        I: IntoIterator<Item = C::Encode>,
        I::IntoIter: Send + 'static,
    {
        todo!()
    }

    /// A stream of requests, a stream of responses. The iterator runs on the worker's thread, so it must not block for long.
    ///
    /// # Errors
    /// The call's status.
    pub fn bidi<C, I>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<I>,
    ) -> Result<Answer<BlockingStreaming<C::Decode>>, Status>
    where
        C: Codec + Send,
        C::Decode: Send,
        I: IntoIterator<Item = C::Encode>,
        I::IntoIter: Send + 'static,
    {
        todo!()
    }
}
