//! What a client's methods take: a bare message or a whole request, a bare stream or a request around one.

use futures_core::Stream;

use crate::Request;

/// What can be sent as a unary request: a message, or a [`Request`] with metadata around it.
///
/// ```
/// use corelane_call::{IntoRequest, Request};
///
/// fn call(request: impl IntoRequest<u8>) -> u8 {
///     request.into_request().into_inner()
/// }
/// assert_eq!(call(1), 1);
/// assert_eq!(call(Request::new(2)), 2);
/// ```
pub trait IntoRequest<T> {
    /// The request.
    fn into_request(self) -> Request<T>;
}

impl<T> IntoRequest<T> for T {
    fn into_request(self) -> Request<T> {
        Request::new(self)
    }
}

impl<T> IntoRequest<T> for Request<T> {
    fn into_request(self) -> Request<T> {
        self
    }
}

/// What can be sent as a streaming request: a stream of messages, or a [`Request`] with metadata around it.
pub trait IntoStreamingRequest {
    /// The stream inside.
    type Stream: Stream<Item = Self::Message> + 'static;
    /// Its messages.
    type Message;

    /// The request.
    fn into_streaming_request(self) -> Request<Self::Stream>;
}

impl<S: Stream + 'static> IntoStreamingRequest for S {
    type Stream = S;
    type Message = S::Item;

    fn into_streaming_request(self) -> Request<S> {
        Request::new(self)
    }
}

impl<S: Stream + 'static> IntoStreamingRequest for Request<S> {
    type Stream = S;
    type Message = S::Item;

    fn into_streaming_request(self) -> Request<S> {
        self
    }
}
