//! The methods of one worker: what services register, and what a call looks up.

use std::rc::Rc;

use corelane_call::{Codec, Encoding, EncodingSet, Interceptors, Request, Response, Status, Streaming};
use corelane_wire::hpack::Template;
use futures_core::Stream;

use crate::dispatch::{Many, Method, One, SingleReply, StreamedReply, Typed};
use crate::reply;
use crate::service::ServiceOptions;

/// The methods that a worker serves, filled by [`crate::Service::register`].
///
/// ```
/// use corelane_call::{ProstCodec, Request, Response, Status};
/// use corelane_server::{Methods, Service};
///
/// struct Echo;
///
/// impl Service for Echo {
///     const NAME: &'static str = "example.Echo";
///
///     fn register(self, methods: &mut Methods) {
///         methods.unary("/example.Echo/Echo", ProstCodec::<String, String>::default(), |request: Request<String>| async {
///             Ok(Response::new(request.into_inner()))
///         });
///     }
/// }
/// ```
pub struct Methods {
    entries: Vec<Entry>,
    options: Rc<Options>,
    /// The server's own interceptors, which every service gets.
    interceptors: Interceptors,
    /// A path that was added twice; the first method has it.
    duplicate: Option<&'static str>,
}

/// One method and where it leads.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) method: Box<dyn Method>,
    pub(crate) options: Rc<Options>,
}

/// What holds for all methods of a service, prepared.
pub(crate) struct Options {
    pub(crate) accept: EncodingSet,
    /// In the order of preference.
    pub(crate) send: Box<[Encoding]>,
    pub(crate) decoding_size_max: usize,
    pub(crate) encoding_size_max: usize,
    /// The flat list: the server's, then the service's.
    pub(crate) interceptors: Interceptors,
    /// What the interceptors ask of each call.
    pub(crate) interception: Interception,
    /// The heads of replies without metadata, by encoding.
    heads: [Template; Encoding::ALL.len()],
}

/// What a service's interceptors ask of each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interception {
    /// Nothing: there are none.
    None,
    /// They are asked and answer at once.
    Sync,
    /// One of them may wait.
    Async,
}

impl Options {
    /// The head of a reply whose messages are encoded in this way.
    #[inline]
    pub(crate) fn head(&self, encoding: Encoding) -> &Template {
        &self.heads[encoding as usize]
    }
}

impl Methods {
    /// An empty table whose services all get these interceptors.
    pub(crate) fn new(interceptors: Interceptors) -> Methods {
        let options = Rc::new(prepare(ServiceOptions::default(), &interceptors));
        Methods { entries: Vec::new(), options, interceptors, duplicate: None }
    }

    /// A path that was added twice, if there is one.
    pub(crate) fn duplicate(&self) -> Option<&'static str> {
        self.duplicate
    }

    /// The methods, no two with the same path.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The options of the methods that are added from now on; a service calls it once, before its first method.
    pub fn options(&mut self, options: ServiceOptions) -> &mut Methods {
        self.options = Rc::new(prepare(options, &self.interceptors));
        self
    }

    /// Goes back to the defaults, for the next service.
    pub(crate) fn reset_options(&mut self) {
        self.options(ServiceOptions::default());
    }

    /// Adds a method with one request and one response.
    pub fn unary<C, F, Fut>(&mut self, path: &'static str, codec: C, handler: F) -> &mut Methods
    where
        C: Codec,
        F: Fn(Request<C::Decode>) -> Fut + 'static,
        Fut: Future<Output = Result<Response<C::Encode>, Status>> + 'static,
    {
        self.add(path, Typed::new(SingleReply::<C, F, Fut, One>::new(codec, handler)))
    }

    /// Adds a method with one request and a stream of responses.
    pub fn server_streaming<C, F, Fut, S>(&mut self, path: &'static str, codec: C, handler: F) -> &mut Methods
    where
        C: Codec,
        F: Fn(Request<C::Decode>) -> Fut + 'static,
        Fut: Future<Output = Result<Response<S>, Status>> + 'static,
        S: Stream<Item = Result<C::Encode, Status>> + 'static,
    {
        self.add(path, Typed::new(StreamedReply::<C, F, Fut, S, One>::new(codec, handler)))
    }

    /// Adds a method with a stream of requests and one response.
    pub fn client_streaming<C, F, Fut>(&mut self, path: &'static str, codec: C, handler: F) -> &mut Methods
    where
        C: Codec,
        F: Fn(Request<Streaming<C::Decode>>) -> Fut + 'static,
        Fut: Future<Output = Result<Response<C::Encode>, Status>> + 'static,
    {
        self.add(path, Typed::new(SingleReply::<C, F, Fut, Many>::new(codec, handler)))
    }

    /// Adds a method with a stream of requests and a stream of responses.
    pub fn bidi<C, F, Fut, S>(&mut self, path: &'static str, codec: C, handler: F) -> &mut Methods
    where
        C: Codec,
        F: Fn(Request<Streaming<C::Decode>>) -> Fut + 'static,
        Fut: Future<Output = Result<Response<S>, Status>> + 'static,
        S: Stream<Item = Result<C::Encode, Status>> + 'static,
    {
        self.add(path, Typed::new(StreamedReply::<C, F, Fut, S, Many>::new(codec, handler)))
    }

    fn add(&mut self, path: &'static str, method: impl Method + 'static) -> &mut Methods {
        if self.entries.iter().any(|entry| entry.path == path) {
            self.duplicate.get_or_insert(path);
            return self;
        }
        self.entries.push(Entry { path, method: Box::new(method), options: self.options.clone() });
        self
    }
}

/// Turns what a service has set into what a call needs.
fn prepare(options: ServiceOptions, server: &Interceptors) -> Options {
    let mut interceptors = server.clone();
    interceptors.extend(&options.interceptors);
    Options {
        heads: Encoding::ALL.map(|encoding| reply::head_fields(encoding, options.accept).into()),
        accept: options.accept,
        send: options.send.into(),
        decoding_size_max: options.decoding_size_max,
        encoding_size_max: options.encoding_size_max,
        interception: match (interceptors.is_empty(), interceptors.has_async()) {
            (true, _) => Interception::None,
            (false, false) => Interception::Sync,
            (false, true) => Interception::Async,
        },
        interceptors,
    }
}
