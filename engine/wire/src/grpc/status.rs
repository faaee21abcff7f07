//! How a call ended: the code, its message, its details (statuscodes.md, PROTOCOL-HTTP2.md "Responses").

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::metadata::Metadata;
use super::{base64, percent};
use crate::field::{FieldList, Name};
use crate::frame::ErrorCode;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $text:literal, $new:ident;)+) => {
        /// A status code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Code {
            /// Every code, by its number.
            pub const ALL: [Code; 17] = [$(Code::$variant),+];

            /// Its name, as gRPC's documents spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $text,)+
                }
            }
        }

        impl Status {
            $(
                #[doc = concat!("A status with the code ", $text, ".")]
                #[must_use]
                pub fn $new(message: impl Into<String>) -> Status {
                    Status::new(Code::$variant, message)
                }
            )+
        }
    };
}

codes! {
    /// No error.
    Ok = 0, "OK", ok_with_message;
    /// The caller gave the call up.
    Cancelled = 1, "CANCELLED", cancelled;
    /// An error of no known kind.
    Unknown = 2, "UNKNOWN", unknown;
    /// The request is wrong, whatever the state of the system.
    InvalidArgument = 3, "INVALID_ARGUMENT", invalid_argument;
    /// Time ran out.
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED", deadline_exceeded;
    /// There is no such thing.
    NotFound = 5, "NOT_FOUND", not_found;
    /// There is such a thing already.
    AlreadyExists = 6, "ALREADY_EXISTS", already_exists;
    /// The caller may not do this.
    PermissionDenied = 7, "PERMISSION_DENIED", permission_denied;
    /// A quota or a limit is reached.
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED", resource_exhausted;
    /// The system is not in the state that this needs.
    FailedPrecondition = 9, "FAILED_PRECONDITION", failed_precondition;
    /// A conflict with another operation.
    Aborted = 10, "ABORTED", aborted;
    /// Past the end.
    OutOfRange = 11, "OUT_OF_RANGE", out_of_range;
    /// There is no such method.
    Unimplemented = 12, "UNIMPLEMENTED", unimplemented;
    /// Something that must hold does not.
    Internal = 13, "INTERNAL", internal;
    /// Not now: trying again may help.
    Unavailable = 14, "UNAVAILABLE", unavailable;
    /// Data is lost for good.
    DataLoss = 15, "DATA_LOSS", data_loss;
    /// The caller is not known.
    Unauthenticated = 16, "UNAUTHENTICATED", unauthenticated;
}

impl Code {
    /// The code of that number; an unknown one is UNKNOWN, as gRPC asks.
    #[must_use]
    pub const fn from_i32(number: i32) -> Code {
        if 0 <= number && number < Code::ALL.len() as i32 {
            Code::ALL[number as usize]
        } else {
            Code::Unknown
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What the number looks like in `grpc-status`.
    #[must_use]
    pub const fn digits(self) -> &'static str {
        const DIGITS: [&str; 17] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
        DIGITS[self as usize]
    }

    /// What an HTTP status means where a server sent no gRPC status (http-grpc-status-mapping.md).
    #[must_use]
    pub const fn from_http_status(status: u16) -> Code {
        match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }

    /// What RST_STREAM with this code means for a call (PROTOCOL-HTTP2.md, "Errors").
    #[must_use]
    pub fn from_error_code(code: ErrorCode) -> Code {
        match code {
            ErrorCode::REFUSED_STREAM => Code::Unavailable,
            ErrorCode::CANCEL => Code::Cancelled,
            ErrorCode::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            ErrorCode::INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Internal,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a call ended. An OK without a message owns no memory, and a `Result` with this error is two words.
///
/// ```
/// use corelane_wire::grpc::{Code, Status};
///
/// let status = Status::not_found("no user 7");
/// assert_eq!((status.code(), status.message()), (Code::NotFound, "no user 7"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    code: Code,
    rest: Option<Box<Rest>>,
}

/// What most statuses have little of.
#[derive(Clone, Default, PartialEq, Eq)]
struct Rest {
    message: String,
    details: Vec<u8>,
    metadata: Metadata,
}

impl Status {
    /// A status with a message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Status {
        let message = message.into();
        let rest = (!message.is_empty()).then(|| Box::new(Rest { message, ..Rest::default() }));
        Status { code, rest }
    }

    /// OK.
    #[must_use]
    pub const fn ok() -> Status {
        Status { code: Code::Ok, rest: None }
    }

    /// A status with binary details: an encoded `google.rpc.Status`, sent as `grpc-status-details-bin`.
    #[must_use]
    pub fn with_details(code: Code, message: impl Into<String>, details: impl Into<Vec<u8>>) -> Status {
        let mut status = Status::new(code, message);
        status.rest_mut().details = details.into();
        status
    }

    /// A status with metadata, sent in the trailers.
    #[must_use]
    pub fn with_metadata(code: Code, message: impl Into<String>, metadata: Metadata) -> Status {
        let mut status = Status::new(code, message);
        status.rest_mut().metadata = metadata;
        status
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The message, for developers to read.
    #[must_use]
    pub fn message(&self) -> &str {
        self.rest.as_ref().map_or("", |rest| &rest.message)
    }

    /// The binary details; empty if there are none.
    #[must_use]
    pub fn details(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], |rest| &rest.details)
    }

    /// The metadata that goes with it.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        const NONE: &Metadata = &Metadata::new();
        self.rest.as_ref().map_or(NONE, |rest| &rest.metadata)
    }

    /// The metadata that goes with it, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.rest_mut().metadata
    }

    /// Adds this status to trailers: `grpc-status`, and what there is of message, details and metadata.
    pub fn to_fields(&self, fields: &mut FieldList) {
        fields.push_known(Name::GrpcStatus, self.code.digits().as_bytes());
        let Some(rest) = &self.rest else { return };
        if !rest.message.is_empty() {
            let mut encoded = Vec::with_capacity(rest.message.len());
            percent::encode(&rest.message, &mut encoded);
            fields.push_known(Name::GrpcMessage, &encoded);
        }
        if !rest.details.is_empty() {
            fields.push_known(Name::GrpcStatusDetailsBin, base64::encode(&rest.details).as_bytes());
        }
        rest.metadata.append_to(fields);
    }

    /// The status in trailers; `None` without a `grpc-status`. Details that are not base64 are dropped: they must not turn one
    /// error into another.
    #[must_use]
    pub fn from_fields(fields: &FieldList) -> Option<Status> {
        let digits = fields.get_known(Name::GrpcStatus)?;
        let number = core::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        let message = fields.get_known(Name::GrpcMessage).map(percent::decode).unwrap_or_default();
        let mut status = Status::new(number.map_or(Code::Unknown, Code::from_i32), message);
        if let Some(details) =
            fields.get_known(Name::GrpcStatusDetailsBin).and_then(|it| base64::decode(it).ok())
        {
            status.rest_mut().details = details;
        }
        let metadata = Metadata::from_fields(fields.clone());
        if !metadata.is_empty() {
            status.rest_mut().metadata = metadata;
        }
        Some(status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            "" => write!(f, "{}", self.code),
            message => write!(f, "{}: {message}", self.code),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Status");
        shown.field("code", &self.code).field("message", &self.message());
        shown.field("details_bytes", &self.details().len()).field("metadata", self.metadata());
        shown.finish()
    }
}

impl core::error::Error for Status {}

impl From<Code> for Status {
    fn from(code: Code) -> Status {
        Status { code, rest: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const _: () = assert!(size_of::<Result<(), Status>>() <= 16);

    #[test]
    fn codes_have_their_numbers() {
        for (number, code) in (0..).zip(Code::ALL) {
            assert_eq!(Code::from_i32(number), code);
            assert_eq!(code.digits().parse::<i32>(), Ok(number));
        }
        assert_eq!(Code::from_i32(17), Code::Unknown);
        assert_eq!(Code::from_i32(-1), Code::Unknown);
        assert_eq!(Code::DeadlineExceeded.to_string(), "DEADLINE_EXCEEDED");
    }

    #[test]
    fn trailers_without_a_status_have_none() {
        assert_eq!(Status::from_fields(&FieldList::new()), None);
        let mut fields = FieldList::new();
        fields.push(b"grpc-status", b"zero");
        fields.push(b"grpc-status-details-bin", b"!");
        let status = Status::from_fields(&fields).unwrap();
        assert_eq!((status.code(), status.details()), (Code::Unknown, &[][..]));
    }

    proptest! {
        #[test]
        fn trailers_round_trip(number in 0i32..17, message: String, details: Vec<u8>, value in "[ -~]{0,20}") {
            let mut metadata = Metadata::new();
            metadata.insert("x-key", value.trim()).unwrap();
            metadata.insert_bin("y-bin", &details).unwrap();
            let mut status = Status::with_metadata(Code::from_i32(number), message, metadata);
            status.rest_mut().details = details;
            let mut fields = FieldList::new();
            status.to_fields(&mut fields);
            prop_assert!(!fields.is_malformed());
            prop_assert_eq!(Status::from_fields(&fields), Some(status));
        }
    }

    use alloc::string::ToString;
}
