//! What a generated client holds: a channel, and how its calls are made.

use corelane_call::{Codec, Encoding, Interceptor, Request, Response, Status, Stream, Streaming};

use crate::{Channel, Method};

/// A channel and the options of one generated client. A clone shares both.
#[derive(Clone, Debug)]
pub struct Caller {
    channel: Channel,
}

impl Caller {
    /// Calls over `channel`.
    #[must_use]
    pub fn new(channel: Channel) -> Caller {
        Caller { channel }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Puts an interceptor around every call, behind those that are there.
    pub fn add_interceptor(&mut self, _interceptor: impl Interceptor) {}

    /// Compresses requests in this way.
    pub fn send_compressed(&mut self, _encoding: Encoding) {}

    /// Accepts responses that are compressed in this way.
    pub fn accept_compressed(&mut self, _encoding: Encoding) {}

    /// Refuses responses that are larger than this many bytes: 4 MiB unless it is set.
    pub fn max_decoding_message_size(&mut self, _limit: usize) {}

    /// Refuses to send requests that are larger than this many bytes: no limit unless it is set.
    pub fn max_encoding_message_size(&mut self, _limit: usize) {}

    /// One request, one response.
    ///
    /// # Errors
    /// The call's status; [`crate::Failure::of`] says where it failed if it failed on this side.
    pub async fn unary<C: Codec>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<C::Encode>,
    ) -> Result<Response<C::Decode>, Status> {
        todo!()
    }

    /// One request, a stream of responses.
    ///
    /// # Errors
    /// As [`unary`](Self::unary).
    pub async fn server_streaming<C: Codec>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<C::Encode>,
    ) -> Result<Response<Streaming<C::Decode>>, Status> {
        todo!()
    }

    /// A stream of requests, one response.
    ///
    /// # Errors
    /// As [`unary`](Self::unary).
    pub async fn client_streaming<C, S>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<S>,
    ) -> Result<Response<C::Decode>, Status>
    where
        C: Codec,
        S: Stream<Item = C::Encode> + 'static,
    {
        todo!()
    }

    /// A stream of requests, a stream of responses.
    ///
    /// # Errors
    /// As [`unary`](Self::unary).
    pub async fn bidi<C, S>(
        &self,
        _method: Method,
        _codec: C,
        _request: Request<S>,
    ) -> Result<Response<Streaming<C::Decode>>, Status>
    where
        C: Codec,
        S: Stream<Item = C::Encode> + 'static,
    {
        todo!()
    }
}
