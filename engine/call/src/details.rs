//! Rich errors: `google.rpc.Status` and the standard details of `google/rpc/error_details.proto`, in tonic_types' shape.
//!
//! A status carries them as the bytes of a `google.rpc.Status` in `grpc-status-details-bin`, where every gRPC stack finds
//! them. Details of unknown types are passed over when reading.
//!
//! Does not: bound their size. They travel in the trailers, where the peer's header-list limit holds; 8 KiB is safe.

mod set;
mod types;

pub use set::{ErrorDetail, ErrorDetails};
pub use types::{
    Any, BadRequest, DebugInfo, ErrorInfo, FieldViolation, Help, HelpLink, LocalizedMessage,
    PreconditionFailure, PreconditionViolation, QuotaFailure, QuotaViolation, RequestInfo, ResourceInfo,
    RetryInfo, RpcStatus,
};

use corelane_wire::grpc::{Code, Metadata, Status};
use prost::{DecodeError, Message};

/// Makes statuses with standard details, and reads them.
///
/// ```
/// use corelane_call::details::{ErrorDetails, StatusExt};
/// use corelane_call::{Code, Status};
///
/// let mut details = ErrorDetails::new();
/// details.add_bad_request_violation("name", "must not be empty");
/// let status = Status::with_error_details(Code::InvalidArgument, "bad user", details);
///
/// let read = status.get_error_details();
/// assert_eq!(read.bad_request().unwrap().field_violations[0].field, "name");
/// ```
pub trait StatusExt: Sized {
    /// A status with `details`.
    #[must_use]
    fn with_error_details(code: Code, message: impl Into<String>, details: ErrorDetails) -> Self;

    /// A status with `details` and metadata.
    #[must_use]
    fn with_error_details_and_metadata(
        code: Code,
        message: impl Into<String>,
        details: ErrorDetails,
        metadata: Metadata,
    ) -> Self;

    /// A status with `details` in their order; a type may come several times.
    #[must_use]
    fn with_error_details_vec(
        code: Code,
        message: impl Into<String>,
        details: impl IntoIterator<Item = ErrorDetail>,
    ) -> Self;

    /// A status with `details` in their order, and metadata.
    #[must_use]
    fn with_error_details_vec_and_metadata(
        code: Code,
        message: impl Into<String>,
        details: impl IntoIterator<Item = ErrorDetail>,
        metadata: Metadata,
    ) -> Self;

    /// The standard details; the last of each type.
    ///
    /// # Errors
    /// Where the bytes are no `google.rpc.Status`, or a detail is not of the type that it names.
    fn check_error_details(&self) -> Result<ErrorDetails, DecodeError>;

    /// The standard details; none where the bytes are malformed.
    #[must_use]
    fn get_error_details(&self) -> ErrorDetails {
        self.check_error_details().unwrap_or_default()
    }

    /// The standard details in their order.
    ///
    /// # Errors
    /// As [`StatusExt::check_error_details`].
    fn check_error_details_vec(&self) -> Result<Vec<ErrorDetail>, DecodeError>;

    /// The standard details in their order; none where the bytes are malformed.
    #[must_use]
    fn get_error_details_vec(&self) -> Vec<ErrorDetail> {
        self.check_error_details_vec().unwrap_or_default()
    }

    /// The `google.rpc.Status` itself, with details of any type.
    ///
    /// # Errors
    /// Where the bytes are none.
    fn rpc_status(&self) -> Result<RpcStatus, DecodeError>;

    /// A status from a `google.rpc.Status`, with details of any type.
    #[must_use]
    fn from_rpc_status(status: &RpcStatus) -> Self;
}

impl StatusExt for Status {
    fn with_error_details(code: Code, message: impl Into<String>, details: ErrorDetails) -> Status {
        Status::with_error_details_vec(code, message, details)
    }

    fn with_error_details_and_metadata(
        code: Code,
        message: impl Into<String>,
        details: ErrorDetails,
        metadata: Metadata,
    ) -> Status {
        Status::with_error_details_vec_and_metadata(code, message, details, metadata)
    }

    fn with_error_details_vec(
        code: Code,
        message: impl Into<String>,
        details: impl IntoIterator<Item = ErrorDetail>,
    ) -> Status {
        let details = details.into_iter().map(|detail| detail.to_any()).collect();
        Status::from_rpc_status(&RpcStatus {
            code: i32::from(code.number()),
            message: message.into(),
            details,
        })
    }

    fn with_error_details_vec_and_metadata(
        code: Code,
        message: impl Into<String>,
        details: impl IntoIterator<Item = ErrorDetail>,
        metadata: Metadata,
    ) -> Status {
        let mut status = Status::with_error_details_vec(code, message, details);
        *status.metadata_mut() = metadata;
        status
    }

    fn check_error_details(&self) -> Result<ErrorDetails, DecodeError> {
        Ok(self.check_error_details_vec()?.into_iter().collect())
    }

    fn check_error_details_vec(&self) -> Result<Vec<ErrorDetail>, DecodeError> {
        let status = self.rpc_status()?;
        status.details.iter().filter_map(ErrorDetail::from_any).collect()
    }

    fn rpc_status(&self) -> Result<RpcStatus, DecodeError> {
        RpcStatus::decode(self.details())
    }

    fn from_rpc_status(status: &RpcStatus) -> Status {
        Status::with_details(Code::from_i32(status.code), status.message.as_str(), status.encode_to_vec())
    }
}

#[cfg(test)]
mod tests;
