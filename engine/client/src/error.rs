//! What can go wrong, with its place: typed causes under a [`Status`].
//!
//! A call that fails gives a status. Where it failed in this process, and not by the server's own word alone, the status has a
//! [`Failure`] as its source, which says why ([`Cause`]), to which endpoint, at which attempt and after how long. The status's
//! message says all of it too.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use corelane_call::{Code, GatherError, Status};
use corelane_wire::frame::ErrorCode;

/// A channel that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The target is none.
    Target(String),
    /// The service config given to the builder is none; the text has the path and the reason.
    ServiceConfig(String),
    /// An option has a value that makes no sense.
    Option {
        /// Which one.
        name: &'static str,
        /// Why.
        reason: String,
    },
    /// The workers could not be started.
    Start(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Target(text) => f.write_str(text),
            BuildError::ServiceConfig(text) => write!(f, "the service config is refused: {text}"),
            BuildError::Option { name, reason } => write!(f, "{name}: {reason}"),
            BuildError::Start(text) => write!(f, "cannot start workers for the client: {text}"),
        }
    }
}

impl Error for BuildError {}

impl From<BuildError> for Status {
    fn from(error: BuildError) -> Status {
        Status::invalid_argument(error.to_string())
    }
}

/// What a call was doing when its time was over or it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Waiting for the name to be resolved, or for a connection.
    Connecting,
    /// Waiting for a stream on a connection that has as many as the server allows.
    Queue,
    /// Sent, and waiting for the server.
    Response,
    /// Waiting to be tried again.
    Backoff,
    /// Sent, and waiting for the server, for as long as one attempt may (`perAttemptRecvTimeout`).
    Attempt,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Connecting => "while no connection was ready",
            Place::Queue => {
                "while it waited for a free stream: all connections had as many calls as the server allows"
            }
            Place::Response => "while the server had not answered",
            Place::Backoff => "while it waited to be tried again",
            Place::Attempt => "while the server had not answered this attempt",
        })
    }
}

/// Why a call failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The name could not be resolved.
    Resolve {
        /// What the resolver said.
        reason: Arc<str>,
    },
    /// The resolver knows the name and gave no address.
    NoEndpoints,
    /// The resolver's service config was refused, and there is none from before.
    ServiceConfig {
        /// Path and reason.
        reason: Arc<str>,
    },
    /// The endpoint refused the connection, or the network did.
    Connect {
        /// What the kernel said.
        reason: Arc<str>,
    },
    /// The endpoint did not answer within the connect timeout.
    ConnectTimeout {
        /// The timeout.
        after: Duration,
    },
    /// The TLS handshake failed.
    Tls {
        /// What was wrong.
        reason: Arc<str>,
    },
    /// The proxy refused, or could not be reached.
    Proxy {
        /// What was wrong.
        reason: Arc<str>,
    },
    /// Connected, but what answered does not speak HTTP/2, or hung up before it did.
    Handshake {
        /// What happened.
        reason: Arc<str>,
    },
    /// The worker has as many connections as it may.
    TooManyConnections,
    /// The health service of the endpoint says that it does not serve (gRFC A17).
    Unhealthy {
        /// What it said.
        reason: Arc<str>,
    },
    /// The channel was shut down.
    ChannelShutdown,
    /// The worker ended before the call did.
    WorkerEnded,
    /// The worker's mailbox is full: it is not keeping up with the calls of other threads.
    MailboxFull,
    /// Too many calls wait on this channel.
    QueueFull {
        /// How many may.
        max: usize,
    },
    /// The circuit breaker of this endpoint and method is open.
    BreakerOpen {
        /// When it will let a probe through.
        retry_after: Option<Duration>,
    },
    /// The client's own rate limit.
    RateLimited {
        /// When there will be room.
        retry_after: Duration,
    },
    /// An interceptor refused the call.
    Interceptor,
    /// The call's credentials could not be had.
    Credentials,
    /// The request is larger than the method or the caller allows.
    RequestTooLarge,
    /// The request could not be encoded.
    Encode,
    /// The deadline was over.
    Deadline(Place),
    /// The server cancelled the call (RST_STREAM with CANCEL). A caller that gives a call up drops it, and hears nothing.
    Cancelled,
    /// The stream of requests was dropped before it ended: it panicked, or its worker ended.
    RequestStream,
    /// The server reset the stream.
    Reset {
        /// Its code.
        code: ErrorCode,
    },
    /// The server refused the stream without looking at it (REFUSED_STREAM).
    Refused,
    /// The server went away without having looked at the call (GOAWAY).
    Goaway {
        /// Its code.
        code: ErrorCode,
    },
    /// The connection was lost while the call was in flight: it may have been executed.
    ConnectionLost {
        /// How.
        reason: Arc<str>,
    },
    /// The server broke the protocol, on this stream or on the connection.
    Protocol {
        /// What rule.
        reason: Arc<str>,
    },
    /// The server did not answer a keepalive PING in time.
    KeepaliveTimeout {
        /// How long it had.
        after: Duration,
    },
    /// An HTTP status other than 200, so what answered is no gRPC server: a proxy, most likely.
    HttpStatus(u16),
    /// A content type that is not gRPC's.
    ContentType(Arc<str>),
    /// An encoding of messages that this client does not know or did not offer.
    Encoding(Arc<str>),
    /// The response ended without a status.
    MissingStatus,
    /// A unary response without a message.
    MissingMessage,
    /// A unary response with more than one message.
    ExtraMessage,
    /// The response ended in the middle of a message.
    CutMessage,
    /// Response headers or trailers over the limit.
    HeadersTooLarge,
    /// A response that is larger than the method or the caller allows.
    ResponseTooLarge {
        /// Octets that it announced; `None` where they were too many only once they were decompressed.
        len: Option<u32>,
        /// Octets that are accepted.
        max: usize,
    },
    /// A response that cannot be decompressed or decoded.
    Decode,
    /// The server said so itself.
    Server,
}

impl Cause {
    /// Whether it is the request's own fault, which says nothing about the endpoint.
    pub(crate) fn is_of_the_request(&self) -> bool {
        matches!(self, Cause::Encode | Cause::RequestTooLarge | Cause::RequestStream)
    }

    /// The code of a call that failed for this cause alone; `None` where the status has one of its own.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        Some(match self {
            Cause::Resolve { .. }
            | Cause::NoEndpoints
            | Cause::ServiceConfig { .. }
            | Cause::Connect { .. }
            | Cause::ConnectTimeout { .. }
            | Cause::Tls { .. }
            | Cause::Proxy { .. }
            | Cause::Handshake { .. }
            | Cause::Unhealthy { .. }
            | Cause::ChannelShutdown
            | Cause::WorkerEnded
            | Cause::BreakerOpen { .. }
            | Cause::Refused
            | Cause::Goaway { .. }
            | Cause::ConnectionLost { .. }
            | Cause::KeepaliveTimeout { .. } => Code::Unavailable,
            Cause::TooManyConnections
            | Cause::MailboxFull
            | Cause::QueueFull { .. }
            | Cause::RateLimited { .. }
            | Cause::RequestTooLarge
            | Cause::HeadersTooLarge
            | Cause::ResponseTooLarge { .. } => Code::ResourceExhausted,
            Cause::Deadline(_) => Code::DeadlineExceeded,
            Cause::Cancelled | Cause::RequestStream => Code::Cancelled,
            Cause::Reset { code } => Code::from_error_code(*code),
            Cause::HttpStatus(status) => Code::from_http_status(*status),
            Cause::Protocol { .. }
            | Cause::Encoding(_)
            | Cause::Encode
            | Cause::CutMessage
            | Cause::Decode => Code::Internal,
            Cause::MissingStatus | Cause::ContentType(_) => Code::Unknown,
            Cause::MissingMessage | Cause::ExtraMessage => Code::Unimplemented,
            Cause::Interceptor | Cause::Credentials | Cause::Server => return None,
        })
    }
}

/// Why what came is not one message.
impl From<GatherError> for Cause {
    fn from(error: GatherError) -> Cause {
        match error {
            GatherError::Missing => Cause::MissingMessage,
            GatherError::Cut => Cause::CutMessage,
            GatherError::Extra => Cause::ExtraMessage,
            GatherError::TooLarge { len, max } => Cause::ResponseTooLarge { len: Some(len), max },
            GatherError::BadFlag(_) => Cause::Protocol { reason: error.to_string().into() },
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Resolve { reason } => write!(f, "the name cannot be resolved: {reason}"),
            Cause::NoEndpoints => f.write_str("the name resolves to no address"),
            Cause::ServiceConfig { reason } => write!(f, "the service config is refused: {reason}"),
            Cause::Connect { reason } => write!(f, "cannot connect: {reason}"),
            Cause::ConnectTimeout { after } => write!(f, "cannot connect: no answer within {after:?}"),
            Cause::Tls { reason } => write!(f, "the TLS handshake failed: {reason}"),
            Cause::Proxy { reason } => write!(f, "the proxy failed: {reason}"),
            Cause::Handshake { reason } => write!(f, "what answered does not speak HTTP/2: {reason}"),
            Cause::TooManyConnections => f.write_str("the worker has as many connections as it may"),
            Cause::Unhealthy { reason } => write!(f, "the endpoint is not healthy: {reason}"),
            Cause::ChannelShutdown => f.write_str("the channel is shut down"),
            Cause::WorkerEnded => f.write_str("the worker ended before the call did"),
            Cause::MailboxFull => {
                f.write_str("the worker's mailbox is full: it cannot keep up with other threads")
            }
            Cause::QueueFull { max } => {
                write!(f, "{max} calls wait on this channel already, which is its limit")
            }
            Cause::BreakerOpen { retry_after: Some(after) } => {
                write!(f, "the circuit breaker is open, and lets a probe through in {after:?}")
            }
            Cause::BreakerOpen { retry_after: None } => {
                f.write_str("the circuit breaker is open: it is held so, or its probes are under way")
            }
            Cause::RateLimited { retry_after } => {
                write!(f, "the client's own rate limit is reached; there is room in {retry_after:?}")
            }
            Cause::Interceptor => f.write_str("an interceptor refused the call"),
            Cause::Credentials => f.write_str("there are no credentials for the call"),
            Cause::RequestTooLarge => f.write_str("the request is too large"),
            Cause::Encode => f.write_str("the request cannot be encoded"),
            Cause::Deadline(place) => write!(f, "the deadline was over {place}"),
            Cause::Cancelled => f.write_str("the server cancelled the call"),
            Cause::RequestStream => f.write_str("the stream of requests was dropped before it ended"),
            Cause::Reset { code } => write!(f, "the server reset the stream ({code})"),
            Cause::Refused => f.write_str("the server refused the stream without looking at it"),
            Cause::Goaway { code } => {
                write!(f, "the server went away ({code}) without having looked at the call")
            }
            Cause::ConnectionLost { reason } => {
                write!(f, "the connection was lost while the call was in flight: {reason}")
            }
            Cause::Protocol { reason } => write!(f, "the server broke the protocol: {reason}"),
            Cause::KeepaliveTimeout { after } => {
                write!(f, "the server did not answer a keepalive PING within {after:?}")
            }
            Cause::HttpStatus(status) => {
                write!(f, "HTTP status {status}: what answered is no gRPC server, but a proxy perhaps")
            }
            Cause::ContentType(found) => write!(f, "content-type {found:?} is not application/grpc"),
            Cause::Encoding(name) => write!(f, "messages are encoded as {name:?}, which was not offered"),
            Cause::MissingStatus => f.write_str("the response ended without a grpc-status"),
            Cause::MissingMessage => f.write_str("the response has no message, where one is expected"),
            Cause::ExtraMessage => {
                f.write_str("the response has more than one message, where one is expected")
            }
            Cause::CutMessage => f.write_str("the response ended in the middle of a message"),
            Cause::HeadersTooLarge => f.write_str("the response's headers or trailers are over the limit"),
            Cause::ResponseTooLarge { len: Some(len), max } => {
                write!(f, "the response has {len} bytes, and {max} are accepted")
            }
            Cause::ResponseTooLarge { len: None, max } => {
                write!(f, "the response has more than the {max} bytes that are accepted")
            }
            Cause::Decode => f.write_str("the response cannot be decoded"),
            Cause::Server => f.write_str("the server answered with this status"),
        }
    }
}

/// Where and why a call failed: the [source](Error::source) of its status.
///
/// ```
/// use corelane_client::Failure;
///
/// # fn retry_elsewhere(_: &str) {}
/// # fn look(status: corelane_call::Status) {
/// if let Some(failure) = Failure::of(&status) {
///     println!("{} at {:?}, attempt {}", failure.cause, failure.endpoint, failure.attempt);
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// The endpoint of the last attempt, if one was chosen: `127.0.0.1:50051`.
    pub endpoint: Option<Arc<str>>,
    /// Which attempt it was: 1 for the first, 0 if none was made.
    pub attempt: u32,
    /// How long the call took.
    pub elapsed: Duration,
    /// What had gone wrong before: the attempt that was to be made again, or the connection that was waited for.
    pub before: Option<Arc<Failure>>,
    /// Why it was not tried again, where that is not a matter of course.
    pub stop: Option<corelane_policy::resilience::Stop>,
}

impl Failure {
    /// The failure under a status; `None` for one that was made elsewhere.
    #[must_use]
    pub fn of(status: &Status) -> Option<&Failure> {
        status.source()?.downcast_ref()
    }

    /// Of a call that came nowhere.
    pub(crate) fn at_once(cause: Cause) -> Failure {
        Failure { cause, endpoint: None, attempt: 0, elapsed: Duration::ZERO, before: None, stop: None }
    }

    /// The status of a call that failed so. `status` has the code and what else is known of it, where the cause does not say.
    #[cold]
    pub(crate) fn into_status(self, status: Option<Status>) -> Status {
        let code = self.cause.code();
        let mut status = match status {
            Some(status) if code.is_none() => status,
            Some(status) => Status::new(status.code(), format!("{self}: {}", status.message())),
            None => Status::new(code.unwrap_or(Code::Unknown), self.to_string()),
        };
        status.set_source(Arc::new(self));
        status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.cause)?;
        if let Some(endpoint) = &self.endpoint {
            write!(f, "endpoint {endpoint}, ")?;
        }
        if self.attempt > 1 {
            write!(f, "attempt {}, ", self.attempt)?;
        }
        write!(f, "after {:?}", rounded(self.elapsed))?;
        if let Some(stop) = self.stop {
            write!(f, ", not tried again: {stop}")?;
        }
        f.write_str(")")?;
        match &self.before {
            Some(before) => write!(f, "; before that: {before}"),
            None => Ok(()),
        }
    }
}

/// To three digits or so: what nobody reads is left out.
fn rounded(elapsed: Duration) -> Duration {
    let nanos = elapsed.as_nanos();
    let step = match nanos {
        0..10_000 => 1,
        10_000..10_000_000 => 1_000,
        10_000_000..10_000_000_000 => 1_000_000,
        _ => 100_000_000,
    };
    Duration::from_nanos(u64::try_from(nanos / step * step).unwrap_or(u64::MAX))
}

/// Its source is what had gone wrong before.
impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.before.as_deref().map(|before| before as _)
    }
}
