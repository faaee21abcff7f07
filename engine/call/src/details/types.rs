//! The messages of `google/rpc/status.proto` and `google/rpc/error_details.proto`, by hand: field numbers are theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::{DecodeError, Message};

/// `google.protobuf.Any`: a message of a type that its name says.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Any {
    /// `type.googleapis.com/` and the full name of the type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message's bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.Status`: what `grpc-status-details-bin` holds.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RpcStatus {
    /// The status code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// The message for developers.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Details of any types.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct WireDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct WireRetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<WireDuration>,
}

/// When to try again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryInfo {
    /// How long to wait at least.
    pub retry_delay: Option<Duration>,
}

/// The largest `google.protobuf.Duration`: 10,000 years.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

impl RetryInfo {
    /// Its type, in an [`Any`].
    pub const TYPE_URL: &'static str = "type.googleapis.com/google.rpc.RetryInfo";

    /// To wait for `retry_delay`; longer than 10,000 years is 10,000 years.
    #[must_use]
    pub fn new(retry_delay: Option<Duration>) -> RetryInfo {
        RetryInfo { retry_delay }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let retry_delay = self.retry_delay.map(|delay| {
            let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX).min(DURATION_SECONDS_MAX);
            let nanos = i32::try_from(delay.subsec_nanos()).expect("less than a billion");
            WireDuration { seconds, nanos }
        });
        WireRetryInfo { retry_delay }.encode_to_vec()
    }

    /// A negative delay is none at all.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<RetryInfo, DecodeError> {
        let read = WireRetryInfo::decode(bytes)?;
        let retry_delay = read.retry_delay.map(|delay| {
            let seconds = u64::try_from(delay.seconds.min(DURATION_SECONDS_MAX)).unwrap_or(0);
            let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999);
            if delay.seconds < 0 || delay.nanos < 0 { Duration::ZERO } else { Duration::new(seconds, nanos) }
        });
        Ok(RetryInfo { retry_delay })
    }
}

/// Where it went wrong, for developers. Not for callers who are not trusted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DebugInfo {
    /// The stack, innermost first.
    #[prost(string, repeated, tag = "1")]
    pub stack_entries: Vec<String>,
    /// What else the server knows.
    #[prost(string, tag = "2")]
    pub detail: String,
}

/// A quota that was not kept.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct QuotaViolation {
    /// Whose quota: `clientip:192.0.2.1`, `project:blue`.
    #[prost(string, tag = "1")]
    pub subject: String,
    /// How it was exceeded, and where to ask for more.
    #[prost(string, tag = "2")]
    pub description: String,
}

/// Quotas that were not kept.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct QuotaFailure {
    /// Which.
    #[prost(message, repeated, tag = "1")]
    pub violations: Vec<QuotaViolation>,
}

/// The cause of an error, for programs.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ErrorInfo {
    /// The cause in `UPPER_SNAKE_CASE`, unique within `domain`.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Who defines `reason`: `example.com`.
    #[prost(string, tag = "2")]
    pub domain: String,
    /// More about this one error.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
}

/// A condition that does not hold.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PreconditionViolation {
    /// What kind, as the service names them: `TOS`.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// What it is about.
    #[prost(string, tag = "2")]
    pub subject: String,
    /// How to make it hold.
    #[prost(string, tag = "3")]
    pub description: String,
}

/// Conditions that do not hold.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PreconditionFailure {
    /// Which.
    #[prost(message, repeated, tag = "1")]
    pub violations: Vec<PreconditionViolation>,
}

/// A field that is wrong.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FieldViolation {
    /// Its path in the request: `user.emails[2]`.
    #[prost(string, tag = "1")]
    pub field: String,
    /// What is wrong with it.
    #[prost(string, tag = "2")]
    pub description: String,
}

/// Fields that are wrong.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BadRequest {
    /// Which.
    #[prost(message, repeated, tag = "1")]
    pub field_violations: Vec<FieldViolation>,
}

/// What to tell the service's owners about the request.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RequestInfo {
    /// The request's name in the service's logs.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// What the service needs to look into it.
    #[prost(string, tag = "2")]
    pub serving_data: String,
}

/// The resource that the error is about.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ResourceInfo {
    /// What kind it is.
    #[prost(string, tag = "1")]
    pub resource_type: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub resource_name: String,
    /// Who owns it.
    #[prost(string, tag = "3")]
    pub owner: String,
    /// What went wrong with it.
    #[prost(string, tag = "4")]
    pub description: String,
}

/// Where to read more.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct HelpLink {
    /// What is there.
    #[prost(string, tag = "1")]
    pub description: String,
    /// The address.
    #[prost(string, tag = "2")]
    pub url: String,
}

/// Where to read more.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Help {
    /// Where.
    #[prost(message, repeated, tag = "1")]
    pub links: Vec<HelpLink>,
}

/// A message for users, in their language.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LocalizedMessage {
    /// The language (BCP 47): `fr-CH`.
    #[prost(string, tag = "1")]
    pub locale: String,
    /// The message.
    #[prost(string, tag = "2")]
    pub message: String,
}

macro_rules! details {
    ($($type:ident)+) => {
        $(
            impl $type {
                /// Its type, in an [`Any`].
                pub const TYPE_URL: &'static str =
                    concat!("type.googleapis.com/google.rpc.", stringify!($type));

                pub(super) fn to_bytes(&self) -> Vec<u8> {
                    self.encode_to_vec()
                }

                pub(super) fn from_bytes(bytes: &[u8]) -> Result<$type, DecodeError> {
                    $type::decode(bytes)
                }
            }
        )+
    };
}

details! {
    DebugInfo QuotaFailure ErrorInfo PreconditionFailure BadRequest RequestInfo ResourceInfo Help LocalizedMessage
}
