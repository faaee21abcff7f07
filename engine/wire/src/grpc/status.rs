//! How a call ended: the code, its message, its details (statuscodes.md, PROTOCOL-HTTP2.md "Responses").

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
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

    /// What an HTTP status means where a server sent no gRPC status (http-grpc-status-mapping.md): for clients only, and
    /// not to be turned around.
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
    ///
    /// STREAM_CLOSED and HTTP_1_1_REQUIRED have no entry there, for no stream should end so: if one does, a protocol was
    /// broken, which is INTERNAL. Codes that nobody knows are UNKNOWN.
    #[must_use]
    pub fn from_error_code(code: ErrorCode) -> Code {
        match code {
            ErrorCode::REFUSED_STREAM => Code::Unavailable,
            ErrorCode::CANCEL => Code::Cancelled,
            ErrorCode::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            ErrorCode::INADEQUATE_SECURITY => Code::PermissionDenied,
            code if code.name().is_some() => Code::Internal,
            _ => Code::Unknown,
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
#[derive(Clone)]
pub struct Status {
    code: Code,
    rest: Option<Box<Rest>>,
}

/// What most statuses have little of.
#[derive(Clone, Default)]
struct Rest {
    message: String,
    details: Vec<u8>,
    metadata: Metadata,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Status {
    /// A status with a message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Status {
        Status::with_details_and_metadata(code, message, Vec::new(), Metadata::new())
    }

    /// OK.
    #[must_use]
    pub const fn ok() -> Status {
        Status { code: Code::Ok, rest: None }
    }

    /// A status with binary details: an encoded `google.rpc.Status`, sent as `grpc-status-details-bin`.
    #[must_use]
    pub fn with_details(code: Code, message: impl Into<String>, details: impl Into<Vec<u8>>) -> Status {
        Status::with_details_and_metadata(code, message, details, Metadata::new())
    }

    /// A status with metadata, sent in the trailers.
    #[must_use]
    pub fn with_metadata(code: Code, message: impl Into<String>, metadata: Metadata) -> Status {
        Status::with_details_and_metadata(code, message, Vec::new(), metadata)
    }

    /// A status with binary details and metadata.
    #[must_use]
    pub fn with_details_and_metadata(
        code: Code,
        message: impl Into<String>,
        details: impl Into<Vec<u8>>,
        metadata: Metadata,
    ) -> Status {
        let rest = Rest { message: message.into(), details: details.into(), metadata, source: None };
        let silent = rest.message.is_empty() && rest.details.is_empty() && rest.metadata.is_empty();
        Status { code, rest: if silent { None } else { Some(Box::new(rest)) } }
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
        &mut self.rest.get_or_insert_default().metadata
    }

    /// What brought this status about in this process, which [`Error::source`] then gives. It is never sent, and two statuses
    /// with different sources may be equal.
    pub fn set_source(&mut self, source: Arc<dyn Error + Send + Sync>) {
        self.rest.get_or_insert_default().source = Some(source);
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
        let code = number.map_or(Code::Unknown, Code::from_i32);
        let details = fields.get_known(Name::GrpcStatusDetailsBin).and_then(|it| base64::decode(it).ok());
        let metadata = Metadata::copy_of(fields);
        Some(Status::with_details_and_metadata(code, message, details.unwrap_or_default(), metadata))
    }
}

/// Equal statuses say the same.
impl PartialEq for Status {
    fn eq(&self, other: &Status) -> bool {
        self.code == other.code
            && self.message() == other.message()
            && self.details() == other.details()
            && self.metadata() == other.metadata()
    }
}

impl Eq for Status {}

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

impl Error for Status {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.rest.as_ref()?.source.as_deref()?;
        Some(source)
    }
}

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

    fn sent(status: &Status) -> FieldList {
        let mut fields = FieldList::new();
        status.to_fields(&mut fields);
        fields
    }

    #[test]
    fn a_status_that_says_only_its_code_owns_nothing() {
        assert!(Status::ok().rest.is_none());
        assert!(Status::with_details(Code::Aborted, "", Vec::new()).rest.is_none());
        let good = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")];
        let read = Status::from_fields(&good.into_iter().collect()).unwrap();
        assert!(read.rest.is_none());
        let mut touched = Status::ok();
        touched.metadata_mut();
        assert_eq!(touched, read);
        assert_eq!(sent(&touched), [("grpc-status", "0")].into_iter().collect());
    }

    #[test]
    fn all_parts_are_sent_encoded() {
        let mut status = Status::with_details(Code::NotFound, "nö ", [1, 2]);
        status.metadata_mut().insert("x-why", "told to").unwrap();
        status.metadata_mut().insert_bin("x-bin", b"f").unwrap();
        let expected = [
            ("grpc-status", "5"),
            ("grpc-message", "n%C3%B6%20"),
            ("grpc-status-details-bin", "AQI"),
            ("x-why", "told to"),
            ("x-bin", "Zg"),
        ];
        assert_eq!(sent(&status), expected.into_iter().collect());
    }

    #[test]
    fn debug_shows_no_details_and_no_secrets() {
        let mut status = Status::with_details(Code::Internal, "m", *b"hidden");
        status.metadata_mut().insert("authorization", "hidden").unwrap();
        let shown = alloc::format!("{status:?}");
        assert!(!shown.contains("hidden") && shown.contains("details_bytes: 6"), "{shown}");
    }

    #[test]
    fn http_statuses_follow_their_table() {
        let table = [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (431, Code::Unknown),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
        ];
        for status in 0..1000 {
            let expected = table.iter().find(|row| row.0 == status).map_or(Code::Unknown, |row| row.1);
            assert_eq!(Code::from_http_status(status), expected, "{status}");
        }
    }

    #[test]
    fn resets_follow_their_table() {
        let others = [
            (7, Code::Unavailable),
            (8, Code::Cancelled),
            (11, Code::ResourceExhausted),
            (12, Code::PermissionDenied),
            (14, Code::Unknown),
            (u32::MAX, Code::Unknown),
        ];
        for number in (0..15).chain([u32::MAX]) {
            let expected = others.iter().find(|row| row.0 == number).map_or(Code::Internal, |row| row.1);
            assert_eq!(Code::from_error_code(ErrorCode::new(number)), expected, "{number}");
        }
    }

    proptest! {
        #[test]
        fn trailers_round_trip(number in 0i32..17, message: String, details: Vec<u8>, value in "[ -~]{0,20}") {
            let mut metadata = Metadata::new();
            metadata.insert("x-key", value.trim()).unwrap();
            metadata.insert_bin("y-bin", &details).unwrap();
            let status = Status::with_details_and_metadata(Code::from_i32(number), message, details, metadata);
            let fields = sent(&status);
            prop_assert!(!fields.is_malformed());
            prop_assert_eq!(Status::from_fields(&fields), Some(status));
        }
    }

    use alloc::string::ToString;
}
