//! Text for people: responses as JSON, metadata, and what went wrong.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corelane::details::{Any, StatusExt as _};
use corelane::{Metadata, MetadataValue, Status};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, SerializeOptions};

use crate::call::trouble::Trouble;

/// Whether values of metadata are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Shown,
    Hidden,
}

/// Writes a line, or several, to stdout.
///
/// # Errors
/// If nobody reads it any more.
pub(crate) fn show(text: &str) -> Result<(), Trouble> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    // Flushed, since somebody may answer a response with the next request.
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Trouble::Other(format!("cannot write to stdout: {error}")))
}

/// A message as JSON.
///
/// # Errors
/// If it holds an `Any` of a type that nobody has told about, or something else that JSON has no form for.
pub(crate) fn message(message: &DynamicMessage, options: &SerializeOptions) -> Result<String, String> {
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::pretty(&mut out);
    message.serialize_with_options(&mut json, options).map_err(|error| {
        format!("a {} cannot be shown as JSON: {error}", message.descriptor().full_name())
    })?;
    Ok(String::from_utf8(out).expect("JSON is UTF-8"))
}

/// Metadata under a title, in its order.
pub(crate) fn metadata(title: &str, metadata: &Metadata, values: Values) -> String {
    let mut text = format!("{title}:");
    if metadata.is_empty() {
        text.push_str(" none");
    }
    for (name, value) in metadata.iter() {
        let value = match (values, value) {
            (Values::Hidden, _) => "(not shown)".to_owned(),
            (Values::Shown, MetadataValue::Ascii(value)) => value.to_owned(),
            (Values::Shown, MetadataValue::Binary(value)) => STANDARD.encode(value),
            (Values::Shown, MetadataValue::Malformed(value)) => {
                format!("{} (malformed)", value.escape_ascii())
            }
        };
        text.push_str(&format!("\n  {name}: {value}"));
    }
    text
}

/// A status, its details, and what brought it about in this process.
pub(crate) fn status(status: &Status) -> String {
    let mut text = format!("  Code: {}", status.code());
    if !status.message().is_empty() {
        text.push_str(&format!("\n  Message: {}", indented(status.message())));
    }
    if !status.details().is_empty() {
        text.push_str("\n  Details:");
        match status.rpc_status() {
            Ok(rpc) => rpc.details.iter().for_each(|any| text.push_str(&detail(any))),
            Err(error) => {
                text.push_str(&format!(" {} bytes that are malformed: {error}", status.details().len()))
            }
        }
    }
    let mut source = status.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Where the client failed by itself, its message is the cause already.
        if cause_text != status.message() {
            text.push_str(&format!("\n  Caused by: {}", indented(&cause_text)));
        }
        source = cause.source();
    }
    text
}

/// Of the types that a detail may have, those of `google.rpc`.
static STANDARD_DETAILS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(crate::call::DESCRIPTORS).expect("the build script has made them")
});

fn detail(any: &Any) -> String {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let shown = STANDARD_DETAILS.get_message_by_name(name).and_then(|kind| {
        let read = DynamicMessage::decode(kind, any.value.as_slice()).ok()?;
        message(&read, &SerializeOptions::new()).ok()
    });
    let shown = shown.unwrap_or_else(|| format!("{} (base64)", STANDARD.encode(&any.value)));
    format!("\n    {name} {}", shown.replace('\n', "\n    "))
}

/// Lines behind the first one stand under it.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corelane::Code;
    use corelane::details::{ErrorDetail, ErrorDetails, RetryInfo};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_is_indented_json_with_names_as_json_has_them() {
        let pool = DescriptorPool::decode(crate::call::DESCRIPTORS).unwrap();
        let kind = pool.get_message_by_name("example.v1.ListUsersRequest").unwrap();
        let mut empty = serde_json::Deserializer::from_str(r#"{"page_size": 7}"#);
        let read = DynamicMessage::deserialize(kind, &mut empty).unwrap();
        assert_eq!(message(&read, &SerializeOptions::new()).unwrap(), "{\n  \"pageSize\": 7\n}");
        let kind = pool.get_message_by_name("example.v1.ListUsersRequest").unwrap();
        let options = SerializeOptions::new().skip_default_fields(false);
        assert_eq!(message(&DynamicMessage::new(kind), &options).unwrap(), "{\n  \"pageSize\": 0\n}");
    }

    #[test]
    fn metadata_is_shown_or_only_named() {
        let mut sent = Metadata::new();
        sent.append("x-key", "secret").unwrap();
        sent.append_bin("x-raw-bin", &[0, 1]).unwrap();
        let shown = "Trailers:\n  x-key: secret\n  x-raw-bin: AAE=";
        assert_eq!(metadata("Trailers", &sent, Values::Shown), shown);
        let hidden = "Trailers:\n  x-key: (not shown)\n  x-raw-bin: (not shown)";
        assert_eq!(metadata("Trailers", &sent, Values::Hidden), hidden);
        assert_eq!(metadata("Trailers", &Metadata::new(), Values::Shown), "Trailers: none");
    }

    #[test]
    fn details_of_standard_types_are_shown_as_json() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("name", "must not be empty");
        let mut details: Vec<ErrorDetail> = details.into_iter().collect();
        details.push(RetryInfo::new(Some(Duration::from_millis(1_500))).into());
        let failed = Status::with_error_details_vec(Code::InvalidArgument, "bad\nuser", details);
        let expected = r#"  Code: INVALID_ARGUMENT
  Message: bad
    user
  Details:
    google.rpc.BadRequest {
      "fieldViolations": [
        {
          "field": "name",
          "description": "must not be empty"
        }
      ]
    }
    google.rpc.RetryInfo {
      "retryDelay": "1.500s"
    }"#;
        assert_eq!(status(&failed), expected);
    }

    #[test]
    fn details_that_nobody_knows_are_shown_as_they_are() {
        // A google.rpc.Status whose one detail is of the type `a/b.C` with the bytes 00 01.
        let failed = Status::with_details(Code::Aborted, "", b"\x1a\x0b\x0a\x05a/b.C\x12\x02\x00\x01");
        assert_eq!(status(&failed), "  Code: ABORTED\n  Details:\n    b.C AAE= (base64)");
        let broken = status(&Status::with_details(Code::Aborted, "", b"\xff"));
        assert!(broken.starts_with("  Code: ABORTED\n  Details: 1 bytes that are malformed: "), "{broken}");
    }

    #[test]
    fn the_chain_of_causes_is_told_without_what_the_message_says_already() {
        let mut failed = Status::unavailable("cannot connect");
        failed.set_source(Arc::new(std::io::Error::other("cannot connect")));
        assert_eq!(status(&failed), "  Code: UNAVAILABLE\n  Message: cannot connect");
        failed.set_source(Arc::new(std::io::Error::other("refused")));
        assert_eq!(status(&failed), "  Code: UNAVAILABLE\n  Message: cannot connect\n  Caused by: refused");
    }
}
