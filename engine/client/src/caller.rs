//! What a generated client holds: a channel, and how its calls are made.

use std::fmt;
use std::rc::Rc;

use corelane_call::{
    AsyncInterceptor, CallParts, Code, Codec, Encoding, EncodingSet, Ending, Interceptor, Interceptors,
    Metadata, Request, Response, Status, Stream, Streaming,
};

use crate::call::{self, Plan, Requests, UnaryCall};
use crate::credentials::{CallCredentials, CallTo, ChannelSecurity};
use crate::error::Failure;
use crate::{Cause, Channel, Method};

/// The largest response that is accepted unless a client says otherwise: gRPC's customary 4 MiB.
pub const DECODING_SIZE_MAX: usize = 4 * 1024 * 1024;

/// How the calls of one client are made.
#[derive(Clone, Debug)]
pub(crate) struct CallerOptions {
    pub(crate) send: Encoding,
    pub(crate) accept: EncodingSet,
    pub(crate) receive_max: usize,
    pub(crate) send_max: usize,
}

impl Default for CallerOptions {
    fn default() -> CallerOptions {
        CallerOptions {
            send: Encoding::Identity,
            // As the C core does it: a server that compresses must not find a client that cannot read.
            accept: [Encoding::Gzip, Encoding::Deflate].into_iter().collect(),
            receive_max: DECODING_SIZE_MAX,
            send_max: usize::MAX,
        }
    }
}

/// A channel and the options of one generated client. A clone shares both.
///
/// On the worker, a call is made directly: its future writes into the connection's output when it is first polled, and no task
/// stands between.
#[derive(Clone)]
pub struct Caller {
    channel: Channel,
    options: CallerOptions,
    interceptors: Option<Rc<Interceptors>>,
    credentials: Option<Rc<dyn CallCredentials>>,
}

/// The plan of a call, or why there is none; a refusal ends the call here. No function, so that a plan that is there at once costs
/// no future, and what must be waited for is boxed.
macro_rules! planned {
    ($caller:expr, $method:expr, $parts:expr) => {
        match $caller.plan_at_once($method, $parts)? {
            Some(plan) => Ok(plan),
            None => Box::pin($caller.plan($method, $parts)).await?,
        }
    };
}

impl Caller {
    /// Calls over `channel`.
    #[must_use]
    pub fn new(channel: Channel) -> Caller {
        Caller::with_options(channel, CallerOptions::default())
    }

    pub(crate) fn with_options(channel: Channel, options: CallerOptions) -> Caller {
        Caller { channel, options, interceptors: None, credentials: None }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Puts an interceptor around every call, behind those that are there.
    pub fn add_interceptor(&mut self, interceptor: impl Interceptor) {
        Rc::make_mut(self.interceptors.get_or_insert_default()).push(interceptor);
    }

    /// Puts an interceptor that may wait around every call, behind those that are there.
    pub fn add_async_interceptor(&mut self, interceptor: impl AsyncInterceptor) {
        Rc::make_mut(self.interceptors.get_or_insert_default()).push_async(interceptor);
    }

    /// Says for whom the calls are made.
    pub fn set_credentials(&mut self, credentials: impl CallCredentials) {
        self.credentials = Some(Rc::new(credentials));
    }

    /// Compresses requests in this way.
    pub fn send_compressed(&mut self, encoding: Encoding) {
        self.options.send = encoding;
    }

    /// Accepts responses that are compressed in this way; gzip and deflate are accepted unless
    /// [`accept_uncompressed`](Self::accept_uncompressed) says otherwise.
    pub fn accept_compressed(&mut self, encoding: Encoding) {
        self.options.accept.insert(encoding);
    }

    /// Accepts no compressed responses, but in the ways that are named after this.
    pub fn accept_uncompressed(&mut self) {
        self.options.accept = EncodingSet::default();
    }

    /// Refuses responses that are larger than this many bytes: 4 MiB unless it is set.
    pub fn max_decoding_message_size(&mut self, limit: usize) {
        self.options.receive_max = limit;
    }

    /// Refuses to send requests that are larger than this many bytes: no limit unless it is set.
    pub fn max_encoding_message_size(&mut self, limit: usize) {
        self.options.send_max = limit;
    }

    /// One request, one response. The call is sent when its future is first polled.
    ///
    /// # Errors
    /// The call's status; [`Failure::of`] says where it failed if it failed on this side.
    #[inline]
    pub fn unary<C: Codec>(
        &self,
        method: Method,
        codec: C,
        request: Request<C::Encode>,
    ) -> impl Future<Output = Result<Response<C::Decode>, Status>> + use<'_, C> {
        UnaryCall::new(self, method, codec, request)
    }

    /// One request, a stream of responses.
    ///
    /// # Errors
    /// As [`unary`](Self::unary); a stream that fails later gives its status in place of a message.
    pub async fn server_streaming<C: Codec>(
        &self,
        method: Method,
        codec: C,
        request: Request<C::Encode>,
    ) -> Result<Response<Streaming<C::Decode>>, Status> {
        let (mut parts, message) = request.into_call();
        let answer = match planned!(self, method, &mut parts) {
            Ok(plan) => call::many(plan, &codec, Requests::One(&message)).await,
            Err(status) => Err(status),
        };
        self.after(method, answer, |_| None)
    }

    /// A stream of requests, one response. The requests are polled by a task of their own, on this worker.
    ///
    /// # Errors
    /// As [`unary`](Self::unary).
    pub async fn client_streaming<C, S>(
        &self,
        method: Method,
        codec: C,
        request: Request<S>,
    ) -> Result<Response<C::Decode>, Status>
    where
        C: Codec,
        S: Stream<Item = C::Encode> + 'static,
    {
        let (mut parts, requests) = request.into_call();
        let answer = match planned!(self, method, &mut parts) {
            Ok(plan) => {
                let feed = call::feed(&plan, codec.clone(), requests, &mut parts);
                call::one_of_many(plan, &codec, feed).await
            }
            Err(status) => Err(status),
        };
        self.ended(method, answer)
    }

    /// A stream of requests, a stream of responses. The requests are polled by a task of their own, on this worker.
    ///
    /// # Errors
    /// As [`server_streaming`](Self::server_streaming).
    pub async fn bidi<C, S>(
        &self,
        method: Method,
        codec: C,
        request: Request<S>,
    ) -> Result<Response<Streaming<C::Decode>>, Status>
    where
        C: Codec,
        S: Stream<Item = C::Encode> + 'static,
    {
        let (mut parts, requests) = request.into_call();
        let answer = match planned!(self, method, &mut parts) {
            Ok(plan) => {
                let feed = call::feed(&plan, codec.clone(), requests, &mut parts);
                call::many(plan, &codec, Requests::Many(feed)).await
            }
            Err(status) => Err(status),
        };
        self.after(method, answer, |_| None)
    }

    /// What the call is to be like, where nothing must be waited for: so it is for nearly all, and their futures stay small.
    ///
    /// # Errors
    /// An interceptor refuses it.
    #[inline]
    pub(crate) fn plan_at_once(&self, method: Method, parts: &mut CallParts) -> Result<Option<Plan>, Status> {
        let local = self.channel.local();
        if self.credentials.is_some() || local.is_early() {
            return Ok(None);
        }
        parts.path = method.path();
        if let Some(interceptors) = &self.interceptors {
            if interceptors.has_async() {
                return Ok(None);
            }
            interceptors.before(parts).map_err(refused)?;
        }
        Ok(Some(Plan::new(local, method, &self.options, parts)))
    }

    /// What the call is to be like, when interceptors and credentials have had their say and its channel knows its service config.
    ///
    /// # Errors
    /// An interceptor refuses it, or there are no credentials: the interceptors do not hear of its end. Within, what else fails.
    pub(crate) async fn plan(
        &self,
        method: Method,
        parts: &mut CallParts,
    ) -> Result<Result<Plan, Status>, Status> {
        parts.path = method.path();
        if let Some(interceptors) = &self.interceptors {
            let passed = match interceptors.has_async() {
                true => interceptors.before_async(parts).await,
                false => interceptors.before(parts),
            };
            passed.map_err(refused)?;
        }
        if let Some(credentials) = &self.credentials {
            self.authorize(&**credentials, parts).await?;
        }
        let mut plan = Plan::new(self.channel.local(), method, &self.options, parts);
        let known = plan.await_config(&self.options, parts).await;
        Ok(known.map(|()| plan).map_err(|failure| failure.into_status(None)))
    }

    /// Adds who the call is made for.
    async fn authorize(
        &self,
        credentials: &dyn CallCredentials,
        parts: &mut CallParts,
    ) -> Result<(), Status> {
        let shared = &self.channel.local().shared;
        let call = CallTo { authority: &shared.authority, path: parts.path, security: shared.security() };
        let refused = |status| Failure::at_once(Cause::Credentials).into_status(Some(status));
        if credentials.needs() == ChannelSecurity::Tls && call.security == ChannelSecurity::Plaintext {
            return Err(refused(Status::unauthenticated(
                "the call has credentials that must not be sent without TLS, and the channel has none: give the channel TLS, \
                 or credentials that may be sent over plaintext",
            )));
        }
        let metadata = credentials.metadata(&call).await.map_err(refused)?;
        parts.metadata.merge(&metadata);
        Ok(())
    }

    /// As `after`, for a call with one response.
    #[inline]
    pub(crate) fn ended<T>(
        &self,
        method: Method,
        answer: Result<Response<T>, Status>,
    ) -> Result<Response<T>, Status> {
        self.after(method, answer, |response| Some(response.trailers_mut()))
    }

    /// Tells the interceptors how the call ended; what came last in a good answer is where `trailers` says.
    #[inline]
    fn after<T>(
        &self,
        method: Method,
        mut answer: Result<T, Status>,
        trailers: impl FnOnce(&mut T) -> Option<&mut Metadata>,
    ) -> Result<T, Status> {
        let Some(interceptors) = &self.interceptors else { return answer };
        let (path, mut none) = (method.path(), Metadata::new());
        let (code, message, trailers) = match &mut answer {
            Ok(response) => (Code::Ok, String::new(), trailers(response).unwrap_or(&mut none)),
            Err(status) => (status.code(), status.message().to_owned(), status.metadata_mut()),
        };
        let message = message.as_str();
        interceptors.after(&mut Ending { path, code, message, trailers, peer: None, elapsed: None });
        answer
    }
}

/// An interceptor's refusal, as the caller gets it.
#[cold]
fn refused(status: Status) -> Status {
    Failure::at_once(Cause::Interceptor).into_status(Some(status))
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("channel", &self.channel)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
