//! A request and what travels with it.
//!
//! [`CallParts`] is everything but the message: interceptors see it before a message is decoded, and the typed
//! [`Request`] is made from it without copying.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corelane_wire::Instant;
use corelane_wire::grpc::Metadata;

use crate::{Extensions, Peer, pool};

/// Everything about a call but its message: what an [`Interceptor`](crate::Interceptor) sees and may change.
///
/// The default has no metadata, no peer, no deadline and the path `""`, and owns no heap.
#[derive(Debug, Default)]
pub struct CallParts {
    /// The request's metadata.
    pub metadata: Metadata,
    /// Values that travel inside this process only.
    pub extensions: Extensions,
    /// The method, as on the wire: `/package.Service/Method`; `""` where none was chosen yet.
    pub path: &'static str,
    /// The connection that the call came by.
    pub peer: Option<Rc<Peer>>,
    /// When the call ends whether it is done or not.
    pub deadline: Option<Instant>,
    /// The time a client gives the call; becomes `grpc-timeout`.
    pub timeout: Option<Duration>,
    /// Whether the message of a unary request came with its compressed flag set.
    pub compressed: bool,
}

impl CallParts {
    /// The parts of a call of the method `path`, all else empty.
    #[must_use]
    pub fn new(path: &'static str) -> CallParts {
        let mut parts = CallParts::default();
        parts.path = path;
        parts
    }

    /// The same in a box that an earlier request of this thread has left, for [`Request::from_boxed`].
    #[inline]
    #[must_use]
    pub fn boxed(path: &'static str) -> Box<CallParts> {
        let mut parts = pool::take_parts();
        parts.path = path;
        parts
    }
}

/// The storage of the metadata goes to the next request that this thread reads: see [`take_fields`](crate::take_fields).
impl Drop for CallParts {
    #[inline]
    fn drop(&mut self) {
        if let Some(fields) = std::mem::take(&mut self.metadata).into_shared() {
            pool::give_fields(fields);
        }
    }
}

/// The parts of a request, or none yet.
///
/// In a box, since a request is moved from hand to hand, and each of the futures that it is handed down through keeps room for it
/// for as long as a handler waits. The box goes to a later request of its thread.
#[derive(Debug, Default)]
struct Boxed(Option<Box<CallParts>>);

impl Boxed {
    #[inline]
    fn get(&self) -> Option<&CallParts> {
        self.0.as_deref()
    }

    #[inline]
    fn get_mut(&mut self) -> &mut CallParts {
        self.0.get_or_insert_with(pool::take_parts)
    }

    fn take(&mut self) -> CallParts {
        self.0.as_deref_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl Drop for Boxed {
    #[inline]
    fn drop(&mut self) {
        if let Some(mut boxed) = self.0.take() {
            *boxed = CallParts::default();
            pool::give_parts(boxed);
        }
    }
}

/// A message (or a stream of them) and what the caller sent along.
///
/// ```
/// use corelane_call::Request;
///
/// let mut request = Request::new("ping");
/// request.metadata_mut().insert("x-tenant", "blue").unwrap();
/// let request = request.map(str::len);
/// assert_eq!(request.metadata().get("x-tenant"), Some("blue"));
/// assert_eq!(request.into_inner(), 4);
/// ```
#[derive(Debug, Default)]
pub struct Request<T> {
    call: Boxed,
    message: T,
}

impl<T> Request<T> {
    /// A request without metadata.
    #[must_use]
    pub fn new(message: T) -> Request<T> {
        Request { call: Boxed::default(), message }
    }

    /// Joins metadata, extensions and message; what [`Request::into_parts`] took apart.
    #[must_use]
    pub fn from_parts(metadata: Metadata, extensions: Extensions, message: T) -> Request<T> {
        let mut call = CallParts::default();
        call.metadata = metadata;
        call.extensions = extensions;
        Request::from_call(call, message)
    }

    /// Metadata, extensions and message. Peer and deadline are lost; [`Request::into_call`] keeps them.
    #[must_use]
    pub fn into_parts(mut self) -> (Metadata, Extensions, T) {
        let mut call = self.call.take();
        let metadata = std::mem::take(&mut call.metadata);
        let extensions = std::mem::take(&mut call.extensions);
        (metadata, extensions, self.message)
    }

    /// Joins a call's parts and its message.
    #[must_use]
    pub fn from_call(call: CallParts, message: T) -> Request<T> {
        let mut boxed = pool::take_parts();
        *boxed = call;
        Request::from_boxed(boxed, message)
    }

    /// Joins a call's parts and its message; the parts stay where they are.
    #[inline]
    #[must_use]
    pub fn from_boxed(call: Box<CallParts>, message: T) -> Request<T> {
        Request { call: Boxed(Some(call)), message }
    }

    /// The call's parts and its message.
    #[must_use]
    pub fn into_call(mut self) -> (CallParts, T) {
        (self.call.take(), self.message)
    }

    /// The call's parts, to change them.
    #[inline]
    #[must_use]
    pub fn call_mut(&mut self) -> &mut CallParts {
        self.call.get_mut()
    }

    /// The metadata that the caller sent.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        const NONE: &Metadata = &Metadata::new();
        self.call.get().map_or(NONE, |call| &call.metadata)
    }

    /// The metadata, to change it.
    #[must_use]
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.call_mut().metadata
    }

    /// What interceptors left for the handler.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        const NONE: &Extensions = &Extensions::new();
        self.call.get().map_or(NONE, |call| &call.extensions)
    }

    /// The extensions, to change them.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.call_mut().extensions
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

    /// The same request with another message.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Request<U> {
        Request { call: self.call, message: change(self.message) }
    }

    /// The method, as on the wire: `/package.Service/Method`; `""` where none was chosen yet.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.call.get().map_or("", |call| call.path)
    }

    /// The connection that the call came by.
    #[must_use]
    pub fn peer(&self) -> Option<&Rc<Peer>> {
        self.call.get()?.peer.as_ref()
    }

    /// The other end's TCP address.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peer()?.remote().inet()
    }

    /// Our end's TCP address.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.peer()?.local().inet()
    }

    /// When the call ends whether it is done or not.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.call.get()?.deadline
    }

    /// How much of the deadline is left at `now`: zero once it passed, `None` without a deadline.
    #[must_use]
    pub fn time_remaining(&self, now: Instant) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.since(now))
    }

    /// Gives the call this much time; a client sends it as `grpc-timeout`.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.call_mut().timeout = Some(timeout);
    }

    /// The time that [`Request::set_timeout`] gave.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.call.get()?.timeout
    }

    /// Whether the message of a unary request came compressed. For a stream, ask
    /// [`Streaming::last_was_compressed`](crate::Streaming::last_was_compressed).
    #[must_use]
    pub fn was_compressed(&self) -> bool {
        self.call.get().is_some_and(|call| call.compressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;

    fn request() -> Request<u8> {
        let remote: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let peer = Rc::new(Peer::new(remote.into(), Address::Unix(None)));
        let mut call = CallParts::new("/a.B/C");
        call.peer = Some(peer);
        call.deadline = Some(Instant::from_nanos(1_000));
        call.compressed = true;
        Request::from_call(call, 3)
    }

    #[test]
    fn mapping_keeps_what_travels_along() {
        let mut request = request();
        request.extensions_mut().insert('x');
        request.metadata_mut().insert("k", "v").unwrap();
        let request = request.map(|message| message + 1);
        assert_eq!(*request.get_ref(), 4);
        assert_eq!(request.path(), "/a.B/C");
        assert_eq!(request.extensions().get::<char>(), Some(&'x'));
        assert_eq!(request.metadata().get("k"), Some("v"));
        assert_eq!(request.remote_addr(), Some("192.0.2.1:1".parse().unwrap()));
        assert_eq!(request.local_addr(), None);
        assert!(request.was_compressed());
    }

    #[test]
    fn a_request_is_its_message_and_a_box_that_goes_round() {
        assert_eq!(size_of::<Request<[u64; 4]>>(), 5 * 8);
        let request = request();
        let address = request.call.get().map(|call| &raw const *call);
        drop(request);
        let again = Request::from_boxed(CallParts::boxed("/a.B/D"), ());
        assert_eq!(again.call.get().map(|call| &raw const *call), address);
        assert_eq!((again.path(), again.deadline(), again.was_compressed()), ("/a.B/D", None, false));
        assert!(again.peer().is_none() && again.metadata().is_empty());
    }

    #[test]
    fn a_request_without_parts_has_those_of_the_default() {
        let mut request = Request::new(());
        assert!(request.call.get().is_none(), "nothing was asked of them");
        assert!(request.metadata().is_empty() && request.extensions().is_empty());
        assert_eq!((request.path(), request.timeout(), request.remote_addr()), ("", None, None));
        request.extensions_mut().insert(7_u8);
        assert_eq!(request.into_call().0.extensions.get::<u8>(), Some(&7));
    }

    #[test]
    fn remaining_time_ends_at_zero() {
        let request = request();
        assert_eq!(request.time_remaining(Instant::from_nanos(400)), Some(Duration::from_nanos(600)));
        assert_eq!(request.time_remaining(Instant::from_nanos(1_001)), Some(Duration::ZERO));
        assert_eq!(Request::new(()).time_remaining(Instant::from_nanos(0)), None);
    }

    #[test]
    fn parts_go_apart_and_together() {
        let (call, message) = request().into_call();
        assert_eq!((call.path, message), ("/a.B/C", 3));
        let (metadata, extensions, message) = Request::from_call(call, message).into_parts();
        let mut request = Request::from_parts(metadata, extensions, message);
        assert_eq!(request.deadline(), None);
        request.set_timeout(Duration::from_secs(1));
        assert_eq!(request.timeout(), Some(Duration::from_secs(1)));
        *request.get_mut() += 1;
        assert_eq!(request.into_inner(), 4);
    }
}
