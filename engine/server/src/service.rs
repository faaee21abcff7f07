//! What a service is to the server: a name, options, and methods that it registers.

use corelane_call::{AsyncInterceptor, Encoding, EncodingSet, Interceptor, Interceptors};

use crate::methods::Methods;

/// The largest message that is accepted unless a service says otherwise: gRPC's customary 4 MiB.
pub const DECODING_SIZE_MAX: usize = 4 * 1024 * 1024;

/// A service: generated code implements it (`GreeterServer`), and so can code written by hand.
///
/// It is made on the worker that serves it, by the factory given to [`crate::Builder::add_service`], and never leaves that
/// thread: it needs neither `Send` nor `Sync`.
pub trait Service {
    /// The service's full name, as it stands in the paths of its methods.
    const NAME: &'static str;

    /// Adds the service's methods to those of the worker.
    fn register(self, methods: &mut Methods);
}

/// What holds for all methods of a service. Generated servers have methods of the same names.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    pub(crate) accept: EncodingSet,
    /// In the order of preference.
    pub(crate) send: Vec<Encoding>,
    pub(crate) decoding_size_max: usize,
    pub(crate) encoding_size_max: usize,
    pub(crate) interceptors: Interceptors,
}

impl Default for ServiceOptions {
    fn default() -> ServiceOptions {
        ServiceOptions {
            accept: EncodingSet::default(),
            send: Vec::new(),
            decoding_size_max: DECODING_SIZE_MAX,
            encoding_size_max: usize::MAX,
            interceptors: Interceptors::new(),
        }
    }
}

impl ServiceOptions {
    /// The options of a service that sets none: no compression, requests up to 4 MiB.
    #[must_use]
    pub fn new() -> ServiceOptions {
        ServiceOptions::default()
    }

    /// Accepts requests that are compressed in this way; may be called for several ways.
    pub fn accept_compressed(&mut self, encoding: Encoding) -> &mut ServiceOptions {
        self.accept.insert(encoding);
        self
    }

    /// Compresses responses in this way for clients that accept it. May be called for several ways: of those that a client
    /// accepts, the one that was named first is used.
    pub fn send_compressed(&mut self, encoding: Encoding) -> &mut ServiceOptions {
        self.send.push(encoding);
        self
    }

    /// Refuses request messages of more octets than this, counted after decompression: 4 MiB unless it is set.
    pub fn max_decoding_message_size(&mut self, limit: usize) -> &mut ServiceOptions {
        self.decoding_size_max = limit;
        self
    }

    /// Refuses to send response messages of more octets than this: no limit unless it is set.
    pub fn max_encoding_message_size(&mut self, limit: usize) -> &mut ServiceOptions {
        self.encoding_size_max = limit;
        self
    }

    /// Adds an interceptor: they see each call in the order in which they were added, after the server's own.
    pub fn interceptor(&mut self, interceptor: impl Interceptor) -> &mut ServiceOptions {
        self.interceptors.push(interceptor);
        self
    }

    /// Adds an interceptor that may wait. Where there is one, each call pays for a boxed future.
    pub fn async_interceptor(&mut self, interceptor: impl AsyncInterceptor) -> &mut ServiceOptions {
        self.interceptors.push_async(interceptor);
        self
    }
}
