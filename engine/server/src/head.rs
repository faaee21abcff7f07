//! A request's head: is it gRPC, which method does it want, by when, and how are its messages encoded?
//!
//! Does not: check what makes a request well-formed HTTP/2, which `wire` has done. Invariant: reads the fields once, and
//! allocates only to explain a refusal.

use std::time::Duration;

use corelane_call::Status;
use corelane_wire::grpc::{Encoding, EncodingSet, timeout};
use corelane_wire::hpack::{BlockMap, KnownBlock};
use corelane_wire::{FieldList, Name};

use crate::methods::Entry;
use crate::refusal::Refusal;
use crate::router::Router;

/// What the head of a gRPC request says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Index of the method.
    pub(crate) method: u32,
    /// What is left of the client's patience.
    pub(crate) timeout: Option<Duration>,
    /// How the request's messages are encoded.
    pub(crate) encoding: Encoding,
    /// How the response's may be.
    pub(crate) accept: EncodingSet,
}

/// Why a request does not become a call.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is not gRPC: the answer is plain HTTP.
    Http(Refusal),
    /// It is, and gets a status.
    Grpc(Status),
    /// Its encoding is not accepted: a status, and a list of those that are.
    Encoding(Status, EncodingSet),
}

/// The fields that count, as they came.
#[derive(Default)]
struct Raw<'a> {
    method: &'a [u8],
    path: &'a [u8],
    content_type: Option<&'a [u8]>,
    timeout: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    accept: Option<&'a [u8]>,
}

impl<'a> Raw<'a> {
    #[inline]
    fn read(fields: &'a FieldList) -> Raw<'a> {
        let mut raw = Raw::default();
        for field in fields.iter() {
            match field.known {
                Name::Method => raw.method = field.value,
                Name::Path => raw.path = field.value,
                Name::ContentType => raw.content_type = Some(field.value),
                Name::GrpcTimeout => raw.timeout = Some(field.value),
                Name::GrpcEncoding => raw.encoding = Some(field.value),
                Name::GrpcAcceptEncoding => raw.accept = Some(field.value),
                _ => {}
            }
        }
        raw
    }
}

/// The heads of one connection that come again, so that they are read once.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    known: BlockMap<Head>,
}

impl Heads {
    /// As [`read`], of `fields` that are of this block.
    #[inline]
    pub(crate) fn read(
        &mut self,
        block: Option<KnownBlock>,
        fields: &FieldList,
        router: &Router,
        methods: &[Entry],
    ) -> Result<Head, Refused> {
        if let Some(head) = self.known.get(block) {
            let timeout = block.and_then(|block| block.timeout()).or(head.timeout);
            return Ok(Head { timeout, ..*head });
        }
        let head = read(fields, router, methods)?;
        self.known.insert(block, head);
        Ok(head)
    }
}

/// Reads the head of a request.
fn read(fields: &FieldList, router: &Router, methods: &[Entry]) -> Result<Head, Refused> {
    let raw = Raw::read(fields);
    if raw.method != b"POST" {
        return Err(Refused::Http(Refusal::method(raw.method)));
    }
    match raw.content_type {
        Some(content_type) if is_grpc(content_type) => {}
        other => return Err(Refused::Http(Refusal::content_type(other))),
    }
    let Some(method) = router.find(raw.path) else {
        return Err(Refused::Grpc(Status::unimplemented(router.explain(raw.path))));
    };
    let accepted = methods[method as usize].options.accept;
    let encoding = match raw.encoding {
        None => Encoding::Identity,
        Some(name) => encoding(name, accepted)?,
    };
    let timeout = match raw.timeout {
        None => None,
        Some(value) => Some(patience(value)?),
    };
    let accept = raw.accept.map_or_else(EncodingSet::default, EncodingSet::parse);
    Ok(Head { method, timeout, encoding, accept })
}

/// The message encodings that we implement are protobuf's, by either of its names.
#[inline]
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    if content_type == GRPC {
        return true;
    }
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    media_type.eq_ignore_ascii_case(GRPC) || media_type.eq_ignore_ascii_case(b"application/grpc+proto")
}

/// The request's encoding, if the service accepts it.
#[inline]
fn encoding(name: &[u8], accepted: EncodingSet) -> Result<Encoding, Refused> {
    match Encoding::from_name(name) {
        Some(Encoding::Identity) => Ok(Encoding::Identity),
        Some(encoding) if accepted.contains(encoding) => Ok(encoding),
        _ => {
            let name = String::from_utf8_lossy(name);
            let status = Status::unimplemented(format!("requests encoded as {name:?} are not accepted"));
            Err(Refused::Encoding(status, accepted))
        }
    }
}

#[inline]
fn patience(value: &[u8]) -> Result<Duration, Refused> {
    timeout::parse(value).ok_or_else(|| {
        let value = String::from_utf8_lossy(value);
        Refused::Grpc(Status::internal(format!("malformed grpc-timeout: {value:?}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Methods;
    use corelane_call::{Code, Interceptors, ProstCodec, Request, Response};

    fn read_fields(changes: &[(&str, &str)]) -> Result<Head, Refused> {
        let mut options = crate::ServiceOptions::new();
        options.accept_compressed(Encoding::Gzip);
        let mut methods = Methods::new(Interceptors::new());
        let codec = ProstCodec::<String, String>::default();
        methods
            .options(options)
            .unary("/a.B/C", codec, |_: Request<String>| async { Ok(Response::new(String::new())) });
        let entries = methods.into_entries();
        let router = Router::new(vec!["/a.B/C"]);
        let mut request =
            vec![(":method", "POST"), (":path", "/a.B/C"), ("content-type", "application/grpc")];
        for change in changes {
            match request.iter_mut().find(|field| field.0 == change.0) {
                Some(field) => field.1 = change.1,
                None => request.push(*change),
            }
        }
        let mut fields = FieldList::new();
        for (name, value) in request.iter().filter(|field| field.1 != "-") {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        read(&fields, &router, &entries)
    }

    fn http_status(changes: &[(&str, &str)]) -> u16 {
        match read_fields(changes) {
            Err(Refused::Http(refusal)) => refusal.status(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_request_has_no_deadline_and_no_encoding() {
        let head = read_fields(&[]).unwrap();
        assert_eq!((head.method, head.timeout, head.encoding), (0, None, Encoding::Identity));
        assert!(!head.accept.contains(Encoding::Gzip));
    }

    #[test]
    fn what_the_client_offers_is_read() {
        let head = read_fields(&[
            ("grpc-timeout", "250m"),
            ("grpc-encoding", "gzip"),
            ("grpc-accept-encoding", "identity,zstd"),
        ])
        .unwrap();
        assert_eq!(head.timeout, Some(Duration::from_millis(250)));
        assert_eq!(head.encoding, Encoding::Gzip);
        assert!(head.accept.contains(Encoding::Zstd) && !head.accept.contains(Encoding::Gzip));
    }

    #[test]
    fn only_posts_of_protobuf_are_grpc() {
        assert_eq!(http_status(&[(":method", "GET")]), 405);
        for other in
            ["-", "application/json", "application/grpc+json", "application/grpc-web", "application/grpcx"]
        {
            assert_eq!(http_status(&[("content-type", other)]), 415, "{other}");
        }
        for grpc in ["application/grpc+proto", "application/grpc; charset=utf-8", "Application/gRPC"] {
            assert!(read_fields(&[("content-type", grpc)]).is_ok(), "{grpc}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_is_unimplemented() {
        let Err(Refused::Grpc(status)) = read_fields(&[(":path", "/a.B/D")]) else { panic!() };
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unimplemented, "unknown method D for service a.B")
        );
    }

    #[test]
    fn an_encoding_that_the_service_does_not_accept_is_unimplemented() {
        for name in ["zstd", "foo"] {
            let Err(Refused::Encoding(status, accepted)) = read_fields(&[("grpc-encoding", name)]) else {
                panic!("{name}")
            };
            assert_eq!(status.code(), Code::Unimplemented);
            assert_eq!(status.message(), format!("requests encoded as {name:?} are not accepted"));
            assert!(accepted.contains(Encoding::Gzip));
        }
    }

    #[test]
    fn a_malformed_timeout_is_internal() {
        for value in ["", "1", "m", "123456789m", "-1S", "1x"] {
            let Err(Refused::Grpc(status)) = read_fields(&[("grpc-timeout", value)]) else {
                panic!("{value}")
            };
            assert_eq!(status.code(), Code::Internal, "{value:?}");
        }
    }
}
