//! How a handler says what is compressed: a whole response, or message by message.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corelane_wire::grpc::{Encoding, EncodingSet, Status};
use futures_core::Stream;

use crate::Response;

/// How one response (or a client's request) is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As the service (or the channel) is configured.
    #[default]
    Service,
    /// Not at all.
    Off,
    /// With this encoding, if the other end accepts it.
    Use(Encoding),
}

impl Compression {
    /// The encoding to use, where the service compresses with the first of `service` that is accepted, and the other end
    /// accepts `accepted`. `Identity` where nothing fits, so a choice can never make a call fail.
    #[must_use]
    pub fn resolve(self, service: &[Encoding], accepted: EncodingSet) -> Encoding {
        let chosen = match self {
            Compression::Off => None,
            Compression::Use(encoding) => accepted.contains(encoding).then_some(encoding),
            Compression::Service => service.iter().copied().find(|&encoding| accepted.contains(encoding)),
        };
        chosen.unwrap_or(Encoding::Identity)
    }
}

/// Whether the *next* message of a response stream is compressed: a handle that the handler's stream keeps and the sender
/// reads as each message leaves the stream.
///
/// It can only take compression away: in a response that has no encoding every message goes out as it is.
/// Where messages wait in a queue of the handler's own between the decision and the sender, the decision must travel with
/// the message: see [`per_message`].
///
/// ```
/// use corelane_call::{CompressionSwitch, Response, Status, stream};
///
/// let switch = CompressionSwitch::new();
/// let on = switch.clone();
/// let mut response = Response::new(stream::iter((0..4).map(move |n| {
///     if n % 2 == 0 { on.on() } else { on.off() } // runs when the sender asks for message n
///     Ok::<_, Status>(n)
/// })));
/// response.set_compression_switch(&switch);
/// ```
#[derive(Clone, Debug)]
pub struct CompressionSwitch(Rc<Cell<bool>>);

impl CompressionSwitch {
    /// A switch that is on: messages are compressed as the response is.
    #[must_use]
    pub fn new() -> CompressionSwitch {
        CompressionSwitch(Rc::new(Cell::new(true)))
    }

    /// Compresses from the next message on, as the response is.
    pub fn on(&self) {
        self.0.set(true);
    }

    /// Sends messages as they are from the next one on.
    pub fn off(&self) {
        self.0.set(false);
    }

    /// Whether the next message is compressed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.get()
    }
}

impl Default for CompressionSwitch {
    fn default() -> Self {
        CompressionSwitch::new()
    }
}

/// A response whose messages each say how they are sent: [`Compression::Off`] as they are, all else as the response is.
///
/// ```
/// use corelane_call::compression::{Compression, per_message};
/// use corelane_call::{Response, Status, stream};
///
/// let messages = [("small", Compression::Off), ("large", Compression::Service)];
/// let response: Response<_> = per_message(stream::iter(messages.map(Ok::<_, Status>)));
/// ```
#[must_use]
pub fn per_message<S, T>(messages: S) -> Response<PerMessage<S>>
where
    S: Stream<Item = Result<(T, Compression), Status>>,
{
    let switch = CompressionSwitch::new();
    let mut response = Response::new(PerMessage { messages: Box::pin(messages), switch: switch.clone() });
    response.set_compression_switch(&switch);
    response
}

/// The stream of a response made by [`per_message`].
#[derive(Debug)]
pub struct PerMessage<S> {
    messages: Pin<Box<S>>,
    switch: CompressionSwitch,
}

impl<S, T> Stream for PerMessage<S>
where
    S: Stream<Item = Result<(T, Compression), Status>>,
{
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(next) = self.messages.as_mut().poll_next(cx) else { return Poll::Pending };
        Poll::Ready(next.map(|item| {
            item.map(|(message, compression)| {
                self.switch.0.set(compression != Compression::Off);
                message
            })
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.messages.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::stream;

    #[test]
    fn the_first_encoding_of_the_service_that_is_accepted_is_used() {
        let accepted = EncodingSet::from_iter([Encoding::Gzip, Encoding::Deflate]);
        let service = [Encoding::Zstd, Encoding::Deflate, Encoding::Gzip];
        assert_eq!(Compression::Service.resolve(&service, accepted), Encoding::Deflate);
        assert_eq!(Compression::Service.resolve(&[], accepted), Encoding::Identity);
        assert_eq!(Compression::Off.resolve(&service, accepted), Encoding::Identity);
        assert_eq!(Compression::Use(Encoding::Gzip).resolve(&[], accepted), Encoding::Gzip);
        assert_eq!(Compression::Use(Encoding::Zstd).resolve(&service, accepted), Encoding::Identity);
    }

    #[test]
    fn a_message_that_waits_in_a_queue_keeps_its_choice() {
        let messages = [(1, Compression::Off), (2, Compression::Service), (3, Compression::Off)];
        let (reply, stream) = per_message(stream::iter(messages.map(Ok))).into_reply();
        let mut stream = std::pin::pin!(stream);
        let mut cx = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        while let Poll::Ready(Some(Ok(message))) = stream.as_mut().poll_next(&mut cx) {
            seen.push((message, reply.message_encoding(Encoding::Gzip)));
        }
        assert_eq!(seen, [(1, Encoding::Identity), (2, Encoding::Gzip), (3, Encoding::Identity)]);
    }
}
