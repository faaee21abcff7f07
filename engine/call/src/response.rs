//! A response and what travels with it: leading metadata, trailing metadata, how to compress it.

use corelane_wire::grpc::{Encoding, Metadata};

use crate::{Compression, CompressionSwitch, Extensions, pool};

/// Everything about a response but its message.
///
/// The default has neither metadata nor trailers, compresses as the service does, and owns no heap.
#[derive(Debug, Default)]
pub struct ReplyParts {
    /// Metadata sent before the first message.
    pub metadata: Metadata,
    /// Metadata sent after the last message, beside the status.
    pub trailers: Metadata,
    /// Values that travel inside this process only.
    pub extensions: Extensions,
    /// Boxed: few responses say anything about it, and all are moved.
    choice: Option<Box<Choice>>,
}

/// How a response is compressed.
#[derive(Clone, Debug, Default)]
struct Choice {
    compression: Compression,
    /// Message by message, if the handler asked for it.
    switch: Option<CompressionSwitch>,
}

/// The metadata's storage goes to a later call.
impl Drop for ReplyParts {
    #[inline]
    fn drop(&mut self) {
        for metadata in [&mut self.metadata, &mut self.trailers] {
            if let Some(fields) = std::mem::take(metadata).into_shared() {
                pool::give_fields(fields);
            }
        }
    }
}

impl ReplyParts {
    /// The default.
    #[must_use]
    pub const fn new() -> ReplyParts {
        ReplyParts {
            metadata: Metadata::new(),
            trailers: Metadata::new(),
            extensions: Extensions::new(),
            choice: None,
        }
    }

    /// How this response is compressed.
    #[inline]
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.choice.as_ref().map_or(Compression::default(), |choice| choice.compression)
    }

    /// Whether anything here matters once the head is sent.
    #[inline]
    #[must_use]
    pub fn outlive_head(&self) -> bool {
        self.choice.is_some() || !self.trailers.is_empty()
    }

    fn choice(&mut self) -> &mut Choice {
        self.choice.get_or_insert_default()
    }

    /// The encoding of the next message, in a response whose `grpc-encoding` is `encoding`: the same, or `Identity`
    /// where the handler's [`CompressionSwitch`] is off.
    #[must_use]
    pub fn message_encoding(&self, encoding: Encoding) -> Encoding {
        match self.choice.as_ref().and_then(|choice| choice.switch.as_ref()) {
            Some(switch) if !switch.is_on() => Encoding::Identity,
            _ => encoding,
        }
    }
}

/// The response's message came compressed: an extension of a unary response that a client has received. For a stream, ask
/// [`Streaming::last_was_compressed`](crate::Streaming::last_was_compressed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WasCompressed;

/// A message (or a stream of them) and what the handler sends along.
///
/// ```
/// use corelane_call::Response;
///
/// let mut response = Response::new(42);
/// response.metadata_mut().insert("x-cache", "hit").unwrap();
/// response.trailers_mut().insert("x-cost", "3").unwrap();
/// response.disable_compression();
/// assert_eq!(*response.get_ref(), 42);
/// ```
#[derive(Debug, Default)]
pub struct Response<T> {
    reply: ReplyParts,
    message: T,
}

impl<T> Response<T> {
    /// A response without metadata.
    #[must_use]
    pub fn new(message: T) -> Response<T> {
        Response { reply: ReplyParts::default(), message }
    }

    /// Joins metadata, message and extensions; what [`Response::into_parts`] took apart.
    #[must_use]
    pub fn from_parts(metadata: Metadata, message: T, extensions: Extensions) -> Response<T> {
        let mut reply = ReplyParts::default();
        reply.metadata = metadata;
        reply.extensions = extensions;
        Response { reply, message }
    }

    /// Metadata, message and extensions. Trailers and compression are lost; [`Response::into_reply`] keeps them.
    #[must_use]
    pub fn into_parts(mut self) -> (Metadata, T, Extensions) {
        let metadata = std::mem::take(&mut self.reply.metadata);
        (metadata, self.message, std::mem::take(&mut self.reply.extensions))
    }

    /// Joins a reply's parts and its message.
    #[must_use]
    pub fn from_reply(reply: ReplyParts, message: T) -> Response<T> {
        Response { reply, message }
    }

    /// The reply's parts and its message.
    #[must_use]
    pub fn into_reply(self) -> (ReplyParts, T) {
        (self.reply, self.message)
    }

    /// The metadata that goes before the first message.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.reply.metadata
    }

    /// The metadata that goes before the first message, to change it.
    #[must_use]
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.reply.metadata
    }

    /// The metadata that goes after the last message.
    #[must_use]
    pub fn trailers(&self) -> &Metadata {
        &self.reply.trailers
    }

    /// The metadata that goes after the last message, to change it.
    #[must_use]
    pub fn trailers_mut(&mut self) -> &mut Metadata {
        &mut self.reply.trailers
    }

    /// Values that travel inside this process only.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.reply.extensions
    }

    /// The extensions, to change them.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.reply.extensions
    }

    /// The message.
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.message
    }

    /// The message, to change it.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.message
    }

    /// The message alone.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.message
    }

    /// The same response with another message.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Response<U> {
        Response { reply: self.reply, message: change(self.message) }
    }

    /// How this response is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.reply.compression()
    }

    /// Sends this response uncompressed, whatever the service does.
    pub fn disable_compression(&mut self) {
        self.reply.choice().compression = Compression::Off;
    }

    /// Compresses this response with `encoding`, if the caller accepts it.
    pub fn set_compression(&mut self, encoding: Encoding) {
        self.reply.choice().compression = Compression::Use(encoding);
    }

    /// Lets `switch` say for each message of a stream whether it is compressed: see [`CompressionSwitch`].
    pub fn set_compression_switch(&mut self, switch: &CompressionSwitch) {
        self.reply.choice().switch = Some(switch.clone());
    }
}

/// So that `Ok(message.into())` answers a call.
impl<T> From<T> for Response<T> {
    fn from(message: T) -> Response<T> {
        Response::new(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_keeps_what_travels_along() {
        let mut response = Response::new(1_u8);
        response.metadata_mut().insert("a", "1").unwrap();
        response.trailers_mut().insert("b", "2").unwrap();
        response.extensions_mut().insert('x');
        response.set_compression(Encoding::Gzip);
        let response = response.map(u32::from);
        assert_eq!(response.metadata().get("a"), Some("1"));
        assert_eq!(response.trailers().get("b"), Some("2"));
        assert_eq!(response.extensions().get::<char>(), Some(&'x'));
        assert_eq!(response.compression(), Compression::Use(Encoding::Gzip));
        let (reply, message) = response.into_reply();
        assert_eq!(message, 1_u32);
        assert_eq!(Response::from_reply(reply, ()).trailers().get("b"), Some("2"));
    }

    #[test]
    fn the_switch_decides_message_by_message() {
        let switch = CompressionSwitch::new();
        let mut response = Response::new(());
        assert_eq!(response.into_reply().0.message_encoding(Encoding::Gzip), Encoding::Gzip);
        response = Response::new(());
        response.set_compression_switch(&switch);
        let (reply, ()) = response.into_reply();
        assert_eq!(reply.message_encoding(Encoding::Gzip), Encoding::Gzip);
        switch.off();
        assert_eq!(reply.message_encoding(Encoding::Gzip), Encoding::Identity);
        switch.on();
        assert_eq!(reply.message_encoding(Encoding::Gzip), Encoding::Gzip);
        assert_eq!(reply.message_encoding(Encoding::Identity), Encoding::Identity);
    }
}
