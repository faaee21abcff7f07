//! Why a service config is refused.

use std::fmt;

use super::LEN_MAX;

/// Why a service config is refused, as a whole: the one that was valid before stays (gRFC A21).
///
/// The text alone is enough to act on: where, what must be there, what is there.
///
/// ```
/// use corelane_policy::config::ServiceConfig;
///
/// let refused = ServiceConfig::from_json(r#"{"retryThrottling": {"maxTokens": 0, "tokenRatio": 0.1}}"#);
/// assert_eq!(
///     refused.unwrap_err().to_string(),
///     "retryThrottling.maxTokens: must be a whole number from 1 to 1000, is 0",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceConfigError {
    /// The text is longer than any service config should be; nothing of it was read.
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The text is not JSON, or nested deeper than 128 values.
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A value is missing or not as it must be.
    Invalid {
        /// Where it stands, as `methodConfig[1].timeout`; empty for the text as a whole.
        path: String,
        /// What it must be, and what it is.
        reason: String,
    },
}

impl From<serde_json::Error> for ServiceConfigError {
    fn from(error: serde_json::Error) -> ServiceConfigError {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        ServiceConfigError::NotJson { line: error.line(), column: error.column(), reason: reason.to_owned() }
    }
}

impl fmt::Display for ServiceConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceConfigError::TooLong { bytes } => {
                write!(f, "service config: must be at most {LEN_MAX} bytes long, is {bytes} bytes long")
            }
            ServiceConfigError::NotJson { line, column, reason } => {
                write!(f, "service config: no JSON at line {line}, column {column}: {reason}")
            }
            ServiceConfigError::Invalid { path, reason } if path.is_empty() => {
                write!(f, "service config: {reason}")
            }
            ServiceConfigError::Invalid { path, reason } => write!(f, "{path}: {reason}"),
        }
    }
}

impl std::error::Error for ServiceConfigError {}
