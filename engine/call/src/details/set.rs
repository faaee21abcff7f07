//! The set of details that one error has: at most one of each type.

use std::time::Duration;

use prost::DecodeError;

use super::types::{
    Any, BadRequest, DebugInfo, ErrorInfo, FieldViolation, Help, HelpLink, LocalizedMessage,
    PreconditionFailure, PreconditionViolation, QuotaFailure, QuotaViolation, RequestInfo, ResourceInfo,
    RetryInfo,
};

macro_rules! set {
    ($($(#[doc = $doc:literal])+ $type:ident $field:ident;)+) => {
        /// One standard detail.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorDetail {
            $($(#[doc = $doc])+ $type($type),)+
        }

        impl ErrorDetail {
            /// As it travels.
            #[must_use]
            pub fn to_any(&self) -> Any {
                let (type_url, value) = match self {
                    $(ErrorDetail::$type(detail) => ($type::TYPE_URL, detail.to_bytes()),)+
                };
                Any { type_url: type_url.to_owned(), value }
            }

            /// The detail that travelled; `None` where its type is not one of the standard ones.
            pub(super) fn from_any(any: &Any) -> Option<Result<ErrorDetail, DecodeError>> {
                match any.type_url.as_str() {
                    $($type::TYPE_URL => Some($type::from_bytes(&any.value).map(ErrorDetail::$type)),)+
                    _ => None,
                }
            }
        }

        $(
            impl From<$type> for ErrorDetail {
                fn from(detail: $type) -> ErrorDetail {
                    ErrorDetail::$type(detail)
                }
            }
        )+

        /// The standard details of one error, at most one of each type.
        ///
        /// ```
        /// use std::time::Duration;
        /// use corelane_call::details::ErrorDetails;
        ///
        /// let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(5)));
        /// details.set_error_info("QUOTA", "example.com", [("limit", "10")]);
        /// assert_eq!(details.error_info().unwrap().metadata["limit"], "10");
        /// ```
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct ErrorDetails {
            $($field: Option<$type>,)+
        }

        impl ErrorDetails {
            $(
                $(#[doc = $doc])+
                #[must_use]
                pub fn $field(&self) -> Option<&$type> {
                    self.$field.as_ref()
                }
            )+

            /// Puts a detail in; it replaces the one of its type.
            pub fn set(&mut self, detail: ErrorDetail) -> &mut Self {
                match detail {
                    $(ErrorDetail::$type(detail) => self.$field = Some(detail),)+
                }
                self
            }
        }

        impl IntoIterator for ErrorDetails {
            type Item = ErrorDetail;
            type IntoIter = std::vec::IntoIter<ErrorDetail>;

            fn into_iter(self) -> Self::IntoIter {
                let details = [$(self.$field.map(ErrorDetail::$type),)+];
                details.into_iter().flatten().collect::<Vec<_>>().into_iter()
            }
        }
    };
}

set! {
    /// When to try again.
    RetryInfo retry_info;
    /// Where it went wrong.
    DebugInfo debug_info;
    /// Quotas that were not kept.
    QuotaFailure quota_failure;
    /// The cause, for programs.
    ErrorInfo error_info;
    /// Conditions that do not hold.
    PreconditionFailure precondition_failure;
    /// Fields that are wrong.
    BadRequest bad_request;
    /// What to tell the service's owners.
    RequestInfo request_info;
    /// The resource that the error is about.
    ResourceInfo resource_info;
    /// Where to read more.
    Help help;
    /// A message for users.
    LocalizedMessage localized_message;
}

/// The last of each type stays.
impl FromIterator<ErrorDetail> for ErrorDetails {
    fn from_iter<I: IntoIterator<Item = ErrorDetail>>(details: I) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        for detail in details {
            set.set(detail);
        }
        set
    }
}

/// Making a set of one detail, and putting more in.
impl ErrorDetails {
    /// None.
    #[must_use]
    pub fn new() -> ErrorDetails {
        ErrorDetails::default()
    }

    /// A set with [`RetryInfo`].
    #[must_use]
    pub fn with_retry_info(retry_delay: Option<Duration>) -> ErrorDetails {
        ErrorDetails { retry_info: Some(RetryInfo { retry_delay }), ..ErrorDetails::default() }
    }

    /// Sets [`RetryInfo`].
    pub fn set_retry_info(&mut self, retry_delay: Option<Duration>) -> &mut Self {
        self.set(RetryInfo { retry_delay }.into())
    }

    /// A set with [`DebugInfo`].
    #[must_use]
    pub fn with_debug_info(stack: impl Into<Vec<String>>, detail: impl Into<String>) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.set_debug_info(stack, detail);
        set
    }

    /// Sets [`DebugInfo`].
    pub fn set_debug_info(&mut self, stack: impl Into<Vec<String>>, detail: impl Into<String>) -> &mut Self {
        self.set(DebugInfo { stack_entries: stack.into(), detail: detail.into() }.into())
    }

    /// A set with [`QuotaFailure`].
    #[must_use]
    pub fn with_quota_failure(violations: impl Into<Vec<QuotaViolation>>) -> ErrorDetails {
        QuotaFailure { violations: violations.into() }.into()
    }

    /// A set with one quota that was not kept.
    #[must_use]
    pub fn with_quota_failure_violation(
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.add_quota_failure_violation(subject, description);
        set
    }

    /// Sets [`QuotaFailure`].
    pub fn set_quota_failure(&mut self, violations: impl Into<Vec<QuotaViolation>>) -> &mut Self {
        self.set(QuotaFailure { violations: violations.into() }.into())
    }

    /// Adds a quota that was not kept.
    pub fn add_quota_failure_violation(
        &mut self,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> &mut Self {
        let violation = QuotaViolation { subject: subject.into(), description: description.into() };
        self.quota_failure.get_or_insert_default().violations.push(violation);
        self
    }

    /// A set with [`ErrorInfo`].
    #[must_use]
    pub fn with_error_info<K: Into<String>, V: Into<String>>(
        reason: impl Into<String>,
        domain: impl Into<String>,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.set_error_info(reason, domain, metadata);
        set
    }

    /// Sets [`ErrorInfo`].
    pub fn set_error_info<K: Into<String>, V: Into<String>>(
        &mut self,
        reason: impl Into<String>,
        domain: impl Into<String>,
        metadata: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        let metadata = metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.set(ErrorInfo { reason: reason.into(), domain: domain.into(), metadata }.into())
    }

    /// A set with [`PreconditionFailure`].
    #[must_use]
    pub fn with_precondition_failure(violations: impl Into<Vec<PreconditionViolation>>) -> ErrorDetails {
        PreconditionFailure { violations: violations.into() }.into()
    }

    /// A set with one condition that does not hold.
    #[must_use]
    pub fn with_precondition_failure_violation(
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.add_precondition_failure_violation(kind, subject, description);
        set
    }

    /// Sets [`PreconditionFailure`].
    pub fn set_precondition_failure(
        &mut self,
        violations: impl Into<Vec<PreconditionViolation>>,
    ) -> &mut Self {
        self.set(PreconditionFailure { violations: violations.into() }.into())
    }

    /// Adds a condition that does not hold.
    pub fn add_precondition_failure_violation(
        &mut self,
        kind: impl Into<String>,
        subject: impl Into<String>,
        description: impl Into<String>,
    ) -> &mut Self {
        let violation = PreconditionViolation {
            r#type: kind.into(),
            subject: subject.into(),
            description: description.into(),
        };
        self.precondition_failure.get_or_insert_default().violations.push(violation);
        self
    }

    /// A set with [`BadRequest`].
    #[must_use]
    pub fn with_bad_request(violations: impl Into<Vec<FieldViolation>>) -> ErrorDetails {
        BadRequest { field_violations: violations.into() }.into()
    }

    /// A set with one field that is wrong.
    #[must_use]
    pub fn with_bad_request_violation(
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.add_bad_request_violation(field, description);
        set
    }

    /// Sets [`BadRequest`].
    pub fn set_bad_request(&mut self, violations: impl Into<Vec<FieldViolation>>) -> &mut Self {
        self.set(BadRequest { field_violations: violations.into() }.into())
    }

    /// Adds a field that is wrong.
    pub fn add_bad_request_violation(
        &mut self,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> &mut Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        self.bad_request.get_or_insert_default().field_violations.push(violation);
        self
    }

    /// Whether a field was said to be wrong.
    #[must_use]
    pub fn has_bad_request_violations(&self) -> bool {
        self.bad_request.as_ref().is_some_and(|detail| !detail.field_violations.is_empty())
    }

    /// A set with [`RequestInfo`].
    #[must_use]
    pub fn with_request_info(request_id: impl Into<String>, serving_data: impl Into<String>) -> ErrorDetails {
        RequestInfo { request_id: request_id.into(), serving_data: serving_data.into() }.into()
    }

    /// Sets [`RequestInfo`].
    pub fn set_request_info(
        &mut self,
        request_id: impl Into<String>,
        serving_data: impl Into<String>,
    ) -> &mut Self {
        let detail = RequestInfo { request_id: request_id.into(), serving_data: serving_data.into() };
        self.set(detail.into())
    }

    /// A set with [`ResourceInfo`].
    #[must_use]
    pub fn with_resource_info(
        resource_type: impl Into<String>,
        resource_name: impl Into<String>,
        owner: impl Into<String>,
        description: impl Into<String>,
    ) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.set_resource_info(resource_type, resource_name, owner, description);
        set
    }

    /// Sets [`ResourceInfo`].
    pub fn set_resource_info(
        &mut self,
        resource_type: impl Into<String>,
        resource_name: impl Into<String>,
        owner: impl Into<String>,
        description: impl Into<String>,
    ) -> &mut Self {
        let detail = ResourceInfo {
            resource_type: resource_type.into(),
            resource_name: resource_name.into(),
            owner: owner.into(),
            description: description.into(),
        };
        self.set(detail.into())
    }

    /// A set with [`Help`].
    #[must_use]
    pub fn with_help(links: impl Into<Vec<HelpLink>>) -> ErrorDetails {
        Help { links: links.into() }.into()
    }

    /// A set with one link.
    #[must_use]
    pub fn with_help_link(description: impl Into<String>, url: impl Into<String>) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.add_help_link(description, url);
        set
    }

    /// Sets [`Help`].
    pub fn set_help(&mut self, links: impl Into<Vec<HelpLink>>) -> &mut Self {
        self.set(Help { links: links.into() }.into())
    }

    /// Adds a link.
    pub fn add_help_link(&mut self, description: impl Into<String>, url: impl Into<String>) -> &mut Self {
        let link = HelpLink { description: description.into(), url: url.into() };
        self.help.get_or_insert_default().links.push(link);
        self
    }

    /// A set with [`LocalizedMessage`].
    #[must_use]
    pub fn with_localized_message(locale: impl Into<String>, message: impl Into<String>) -> ErrorDetails {
        LocalizedMessage { locale: locale.into(), message: message.into() }.into()
    }

    /// Sets [`LocalizedMessage`].
    pub fn set_localized_message(
        &mut self,
        locale: impl Into<String>,
        message: impl Into<String>,
    ) -> &mut Self {
        self.set(LocalizedMessage { locale: locale.into(), message: message.into() }.into())
    }
}

/// A set of one.
impl<T: Into<ErrorDetail>> From<T> for ErrorDetails {
    fn from(detail: T) -> ErrorDetails {
        let mut set = ErrorDetails::new();
        set.set(detail.into());
        set
    }
}
