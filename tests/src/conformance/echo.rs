//! What the service tells of a request, and how definitions become headers and statuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use corelane::prost::Message;
use corelane::prost_types::Any;
use corelane::{Code, Metadata, MetadataValue, Request, Status, time};

use crate::protos::connectrpc::conformance::v1::conformance_payload::RequestInfo;
use crate::protos::connectrpc::conformance::v1::{Error, Header};

const TYPE_PREFIX: &str = "type.googleapis.com/connectrpc.conformance.v1";

/// `google.rpc.Status`, which travels in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "corelane::prost")]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// What is told of a request besides its messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    headers: Vec<Header>,
    timeout_ms: Option<i64>,
}

impl Seen {
    pub(super) fn of<T>(request: &Request<T>) -> Seen {
        let timeout_ms = request
            .time_remaining(time::now())
            .map(|left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
        Seen { headers: headers_of(request.metadata()), timeout_ms }
    }

    pub(super) fn with(&self, requests: Vec<Any>) -> RequestInfo {
        RequestInfo {
            request_headers: self.headers.clone(),
            timeout_ms: self.timeout_ms,
            requests,
            connect_get_info: None,
        }
    }
}

/// All values of each name together, in order, as text.
pub(super) fn headers_of(metadata: &Metadata) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (name, value) in metadata.iter() {
        let value = match value {
            MetadataValue::Ascii(text) => text.to_owned(),
            MetadataValue::Binary(octets) => STANDARD_NO_PAD.encode(octets),
            MetadataValue::Malformed(octets) => String::from_utf8_lossy(octets).into_owned(),
        };
        match headers.iter_mut().find(|header| header.name == name) {
            Some(header) => header.value.push(value),
            None => headers.push(Header { name: name.to_owned(), value: vec![value] }),
        }
    }
    headers
}

/// Packs a message of the suite.
pub(super) fn pack(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("{TYPE_PREFIX}.{name}"), value: message.encode_to_vec() }
}

/// Adds what a definition lists.
pub(super) fn add(headers: &[Header], metadata: &mut Metadata) -> Result<(), Status> {
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        for value in &header.value {
            let added = match name.ends_with("-bin") {
                true => {
                    let octets = STANDARD_NO_PAD
                        .decode(value.trim_end_matches('='))
                        .map_err(|error| Status::internal(format!("{name}: {error}")))?;
                    metadata.append_bin(&name, &octets)
                }
                false => metadata.append(&name, value),
            };
            added.map_err(|error| Status::internal(error.to_string()))?;
        }
    }
    Ok(())
}

/// The status of a definition's error, with `info` as one more of its details.
pub(super) fn status(error: Error, info: Option<&RequestInfo>) -> Status {
    let mut details = error.details;
    details.extend(info.map(|info| pack("ConformancePayload.RequestInfo", info)));
    let message = error.message.unwrap_or_default();
    let code = Code::from_i32(error.code);
    let encoded = RpcStatus { code: error.code, message: message.clone(), details }.encode_to_vec();
    Status::with_details(code, message, encoded)
}
