//! The head of a response: is it gRPC's, and how are its messages encoded?

use corelane_call::{Encoding, EncodingSet};
use corelane_wire::hpack::{BlockMap, KnownBlock};
use corelane_wire::{FieldList, Name};

use crate::Cause;

/// What a response's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) encoding: Encoding,
    /// Whether there is metadata of the server's own.
    pub(crate) metadata: Presence,
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
        accept: EncodingSet,
    ) -> Result<Head, Cause> {
        if let Some(head) = self.known.get(block) {
            return Ok(*head);
        }
        let head = read(fields, accept)?;
        // What is accepted differs from call to call, and so may what a head with an encoding means.
        let mut encodings = fields.iter().filter(|field| field.known == Name::GrpcEncoding);
        if encodings.all(|field| field.value == b"identity") {
            self.known.insert(block, head);
        }
        Ok(head)
    }
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    No,
    Yes,
}

/// Reads the head of a response; `accept` is what was offered.
fn read(fields: &FieldList, accept: EncodingSet) -> Result<Head, Cause> {
    let mut status: &[u8] = b"";
    let mut content_type = None;
    let mut encoding = Encoding::Identity;
    let mut unknown = None;
    let mut metadata = Presence::No;
    let mut has_status = false;
    for field in fields.iter() {
        match field.known {
            Name::Status => status = field.value,
            Name::ContentType => content_type = Some(field.value),
            Name::GrpcStatus => has_status = true,
            Name::GrpcEncoding => match Encoding::from_name(field.value) {
                Some(known) if known == Encoding::Identity || accept.contains(known) => encoding = known,
                _ => unknown = Some(field.value),
            },
            Name::GrpcAcceptEncoding | Name::GrpcMessage | Name::GrpcStatusDetailsBin => {}
            _ => metadata = Presence::Yes,
        }
    }
    // A status of gRPC's own says more than one of HTTP's.
    if status != b"200" && !has_status {
        let code = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok());
        return Err(Cause::HttpStatus(code.unwrap_or(0)));
    }
    // A status without a content type is a server's in a hurry, and there is nothing to be mistaken about.
    let is_ours = content_type.map_or(has_status, is_grpc);
    if !is_ours {
        return Err(Cause::ContentType(text(content_type.unwrap_or_default())));
    }
    match unknown {
        Some(name) => Err(Cause::Encoding(text(name))),
        None => Ok(Head { encoding, metadata }),
    }
}

/// The most of a peer's words that an error repeats.
const QUOTED_MAX: usize = 100;

fn text(value: &[u8]) -> std::sync::Arc<str> {
    String::from_utf8_lossy(&value[..value.len().min(QUOTED_MAX)]).into()
}

fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    // As all say it.
    if content_type == GRPC {
        return true;
    }
    match content_type.split_at_checked(GRPC.len()) {
        Some((name, rest)) => {
            name.eq_ignore_ascii_case(GRPC)
                && matches!(rest, [] | [b';', ..] | [b'+', b'p', b'r', b'o', b't', b'o', ..])
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Result<Head, String> {
        let mut list = FieldList::new();
        fields.iter().for_each(|(name, value)| list.push(name.as_bytes(), value.as_bytes()));
        let accept = [Encoding::Gzip].into_iter().collect();
        read(&list, accept).map_err(|cause| cause.to_string())
    }

    const OK: (&str, &str) = (":status", "200");
    const GRPC: (&str, &str) = ("content-type", "application/grpc");

    #[test]
    fn a_plain_head_has_no_metadata() {
        let plain = Head { encoding: Encoding::Identity, metadata: Presence::No };
        assert_eq!(head(&[OK, GRPC]), Ok(plain));
        assert_eq!(head(&[OK, ("content-type", "application/grpc+proto;x=1")]), Ok(plain));
        let gzip = head(&[OK, GRPC, ("grpc-encoding", "gzip"), ("x-a", "1")]);
        assert_eq!(gzip, Ok(Head { encoding: Encoding::Gzip, metadata: Presence::Yes }));
    }

    #[test]
    fn what_is_not_grpc_is_named() {
        let html = head(&[OK, ("content-type", "text/html")]).unwrap_err();
        assert_eq!(html, "content-type \"text/html\" is not application/grpc");
        assert!(head(&[OK]).unwrap_err().contains("\"\""));
        assert!(head(&[(":status", "503"), GRPC]).unwrap_err().starts_with("HTTP status 503"));
        assert!(head(&[OK, ("content-type", "application/grpc-web")]).is_err());
        let zstd = head(&[OK, GRPC, ("grpc-encoding", "zstd")]).unwrap_err();
        assert_eq!(zstd, "messages are encoded as \"zstd\", which was not offered");
    }

    #[test]
    fn a_grpc_status_counts_whatever_http_says() {
        assert!(head(&[(":status", "503"), GRPC, ("grpc-status", "14")]).is_ok());
        assert!(head(&[OK, ("grpc-status", "14")]).is_ok());
    }
}
