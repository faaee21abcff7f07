//! Answers to requests that are not gRPC: an HTTP status and one line of text.
//!
//! Does not: answer before the request has ended (unless it goes on for long), since clients that still send would take
//! the end of the answer for a failure.

use corelane_wire::connection::Connection;
use corelane_wire::connection::StreamKey;
use corelane_wire::frame::EndStream;
use corelane_wire::{FieldList, Name};

/// Octets of a refused request that are read and dropped before it is answered all the same.
pub(crate) const DISCARDED_MAX: usize = 256 * 1024;

/// An answer in plain HTTP.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: &'static str,
    text: &'static str,
    allow: bool,
    /// The request was a HEAD: its answer has no body.
    headless: bool,
    /// Octets of the request that were dropped.
    pub(crate) discarded: usize,
}

impl Refusal {
    const fn new(status: &'static str, text: &'static str) -> Refusal {
        Refusal { status, text, allow: false, headless: false, discarded: 0 }
    }

    /// The method is not POST.
    pub(crate) fn method(method: &[u8]) -> Refusal {
        let answer = Refusal::new("405", "gRPC expects POST requests with content-type application/grpc\n");
        Refusal { allow: true, headless: method == b"HEAD", ..answer }
    }

    /// The content type is not gRPC's.
    pub(crate) fn content_type(content_type: Option<&[u8]>) -> Refusal {
        let text = match content_type {
            None => "the content-type is missing: gRPC expects application/grpc\n",
            Some(_) => {
                "the content-type is not supported: gRPC expects application/grpc or application/grpc+proto\n"
            }
        };
        Refusal::new("415", text)
    }

    /// The header list is over its limits.
    pub(crate) fn fields_too_large() -> Refusal {
        Refusal::new("431", "the request's header fields are too large\n")
    }

    /// The HTTP status.
    #[cfg(test)]
    pub(crate) fn status(&self) -> u16 {
        self.status.parse().unwrap()
    }

    /// Sends the answer.
    pub(crate) fn send(&self, wire: &mut Connection, key: StreamKey) {
        let mut fields = FieldList::new();
        fields.push_known(Name::Status, self.status.as_bytes());
        fields.push_known(Name::ContentType, b"text/plain; charset=utf-8");
        fields.push_known(Name::ContentLength, self.text.len().to_string().as_bytes());
        if self.allow {
            fields.push(b"allow", b"POST");
        }
        let Some(stream) = wire.stream(key) else { return };
        let end = if self.headless { EndStream::Yes } else { EndStream::No };
        let sent = stream.send_headers(&fields, end);
        debug_assert!(sent.is_ok(), "nothing was sent before");
        if let Some(stream) = wire.stream(key).filter(|_| !self.headless) {
            let sent = stream.send_data(self.text.as_bytes(), EndStream::Yes);
            debug_assert!(sent.is_ok(), "the head was sent just before");
        }
    }
}
