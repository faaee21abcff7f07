//! One gRPC message in place: 5 bytes of prefix and its payload, into and out of buffers that belong to others.
//!
//! Writing reserves the prefix at the end of the buffer, lets the codec append behind it and fills the prefix in
//! afterwards, so that an uncompressed message is written once, straight into the connection's output. A compressed one
//! goes through a scratch buffer of the thread.
//!
//! Does not: cut payloads into messages; `wire`'s `Deframer` does.

use corelane_memory::{Gather, Mark, Pieces};
use corelane_wire::grpc::{Encoding, Message, Prefix, Status};

pub use corelane_wire::grpc::PREFIX_LEN;

use crate::compression::{compress, decompress};
use crate::pool::{give_buffer, with_scratch};
use crate::{Codec, Gathered};

/// A message below this is decoded from where it lies, and its storage used for the next one.
const SHARED_MIN: usize = 4 * 1024;

/// Appends `item` to `out` as one gRPC message, compressed with `encoding` unless that is [`Encoding::Identity`].
///
/// An item without any bytes is never compressed: there is nothing to gain, and not every peer can inflate it.
///
/// ```
/// use corelane_call::message::encode_message;
/// use corelane_call::{Encoding, ProstCodec};
///
/// let codec = ProstCodec::<String, String>::default();
/// let mut out = b"before".to_vec();
/// encode_message(&codec, &"hi".to_owned(), Encoding::Identity, 100, &mut out).unwrap();
/// assert_eq!(out, b"before\x00\x00\x00\x00\x04\x0a\x02hi");
/// ```
///
/// # Errors
/// `RESOURCE_EXHAUSTED` where the payload, as it would be sent, is longer than `max` or than a prefix can say; the codec's
/// status; `out` is then as it was.
pub fn encode_message<C: Codec>(
    codec: &C,
    item: &C::Encode,
    encoding: Encoding,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    let mut pieces = Pieces::new();
    let encoded = encode_gathered(codec, item, encoding, max, &mut Gather::new(out, &mut pieces));
    if !pieces.is_empty() {
        pieces.join(out);
    }
    encoded
}

/// As [`encode_message`], to where large pieces of the item may be referenced.
///
/// # Errors
/// As [`encode_message`].
#[inline]
pub fn encode_gathered<C: Codec>(
    codec: &C,
    item: &C::Encode,
    encoding: Encoding,
    max: usize,
    out: &mut Gather<'_>,
) -> Result<(), Status> {
    let start = out.mark();
    out.heads().extend_from_slice(&[0; PREFIX_LEN]);
    let written = if encoding == Encoding::Identity {
        codec.encode_gathered(item, out).map(|()| Packed::No)
    } else {
        with_scratch(|plain| {
            codec.encode(item, plain)?;
            pack(encoding, plain, out.heads())
        })
    };
    let sealed = written.and_then(|packed| seal(out, start, packed, max));
    if sealed.is_err() {
        out.rewind(start);
    }
    sealed
}

/// Whether the payload ended up compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packed {
    No,
    Yes,
}

/// Appends `plain` compressed.
fn pack(encoding: Encoding, plain: &[u8], out: &mut Vec<u8>) -> Result<Packed, Status> {
    if plain.is_empty() {
        return Ok(Packed::No);
    }
    compress(encoding, plain, out)?;
    Ok(Packed::Yes)
}

/// Fills in the prefix that was reserved at `start`, now that the payload stands behind it.
#[inline]
fn seal(out: &mut Gather<'_>, start: Mark, packed: Packed, max: usize) -> Result<(), Status> {
    let payload = out.written_since(start) - PREFIX_LEN;
    let prefix = out
        .heads_since(start)
        .first_chunk_mut::<PREFIX_LEN>()
        .expect("the prefix was reserved before the payload");
    match u32::try_from(payload) {
        Ok(len) if payload <= max => {
            *prefix = Prefix { compressed: packed == Packed::Yes, len }.to_bytes();
            Ok(())
        }
        _ => Err(too_large(payload, max.min(u32::MAX as usize))),
    }
}

/// The item that `message` holds, in a stream whose `grpc-encoding` is `encoding`.
///
/// # Errors
/// `INTERNAL` where the message is marked compressed but the stream has no encoding, or is malformed;
/// `RESOURCE_EXHAUSTED` where it holds more than `max` bytes, before or after decompression; the codec's status.
pub fn decode_message<C: Codec>(
    codec: &C,
    message: Message<'_>,
    encoding: Encoding,
    max: usize,
) -> Result<C::Decode, Status> {
    open(message, encoding, max, |payload| codec.decode(payload))
}

/// As [`decode_message`], of a message that came in pieces: parts of a large one become parts of the item, without a copy.
///
/// # Errors
/// As [`decode_message`], and `INTERNAL` where the pieces are not a message.
pub fn decode_gathered<C: Codec>(
    codec: &C,
    gathered: Gathered,
    encoding: Encoding,
    max: usize,
) -> Result<C::Decode, Status> {
    let message = gathered.message().map_err(|error| Status::internal(error.to_string()))?;
    let is_long = (SHARED_MIN..=max).contains(&message.payload.len());
    if is_long && !message.compressed && gathered.fills_storage() {
        return codec.decode_shared(gathered.into_payload());
    }
    let item = decode_message(codec, message, encoding, max);
    give_buffer(gathered.into_storage());
    item
}

/// Hands `decode` the payload of `message`, decompressed.
pub(crate) fn open<T>(
    message: Message<'_>,
    encoding: Encoding,
    max: usize,
    decode: impl FnOnce(&[u8]) -> Result<T, Status>,
) -> Result<T, Status> {
    if message.payload.len() > max {
        return Err(too_large(message.payload.len(), max));
    }
    if !message.compressed {
        return decode(message.payload);
    }
    with_scratch(|plain| {
        unpack(message.payload, encoding, max, plain)?;
        decode(plain)
    })
}

fn unpack(payload: &[u8], encoding: Encoding, max: usize, plain: &mut Vec<u8>) -> Result<(), Status> {
    if encoding == Encoding::Identity {
        // compression.md: "If the Compressed-Flag is set but the encoding is absent or identity: INTERNAL".
        return Err(Status::internal("the message is marked compressed, but the call has no grpc-encoding"));
    }
    // Some senders mark an empty message compressed without running the compressor.
    if payload.is_empty() {
        return Ok(());
    }
    decompress(encoding, payload, max, plain)
}

/// The refusal of a message of `len` bytes where `max` are allowed.
#[cold]
pub(crate) fn too_large(len: usize, max: usize) -> Status {
    Status::resource_exhausted(format!("message too large: {len} bytes, the limit is {max}"))
}

#[cfg(test)]
mod tests {
    use corelane_wire::grpc::Code;

    use super::*;
    use crate::ProstCodec;

    const CODEC: ProstCodec<Vec<u8>, Vec<u8>> = ProstCodec::new();

    fn encoded(item: &Vec<u8>, encoding: Encoding) -> Vec<u8> {
        let mut out = Vec::new();
        encode_message(&CODEC, item, encoding, usize::MAX, &mut out).unwrap();
        out
    }

    fn message(bytes: &[u8]) -> Message<'_> {
        let len = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        assert_eq!(bytes.len(), PREFIX_LEN + len as usize);
        Message { compressed: bytes[0] == 1, payload: &bytes[5..] }
    }

    #[test]
    fn every_encoding_round_trips() {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let item = b"lane".repeat(500);
            let bytes = encoded(&item, encoding);
            let message = message(&bytes);
            assert_eq!(message.compressed, encoding != Encoding::Identity);
            assert_eq!(message.compressed, bytes.len() < item.len());
            assert_eq!(decode_message(&CODEC, message, encoding, 4_000).unwrap(), item);
        }
    }

    #[test]
    fn an_empty_item_is_not_compressed() {
        assert_eq!(encoded(&Vec::new(), Encoding::Gzip), [0; 5]);
        let marked = Message { compressed: true, payload: b"" };
        assert_eq!(decode_message(&CODEC, marked, Encoding::Gzip, 10).unwrap(), b"");
    }

    #[test]
    fn a_message_over_the_sending_limit_leaves_no_trace() {
        let mut out = b"before".to_vec();
        let item = vec![7; 100];
        let status = encode_message(&CODEC, &item, Encoding::Identity, 101, &mut out).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "message too large: 102 bytes, the limit is 101");
        assert_eq!(out, b"before");
        encode_message(&CODEC, &item, Encoding::Identity, 102, &mut out).unwrap();
        assert_eq!(out.len(), 6 + 5 + 102);
    }

    #[test]
    fn a_message_over_the_receiving_limit_is_refused() {
        let plain = encoded(&vec![7; 100], Encoding::Identity);
        let status = decode_message(&CODEC, message(&plain), Encoding::Identity, 101).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "message too large: 102 bytes, the limit is 101");
        let packed = encoded(&vec![7; 100], Encoding::Gzip);
        let status = decode_message(&CODEC, message(&packed), Encoding::Gzip, 101).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }

    #[test]
    fn a_compressed_message_without_an_encoding_is_internal() {
        let packed = encoded(&vec![7; 100], Encoding::Gzip);
        let status = decode_message(&CODEC, message(&packed), Encoding::Identity, 1_000).unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        let empty = Message { compressed: true, payload: b"" };
        assert_eq!(decode_message(&CODEC, empty, Encoding::Identity, 9).unwrap_err().code(), Code::Internal);
    }

    #[derive(Clone)]
    struct Failing;

    impl Codec for Failing {
        type Encode = ();
        type Decode = ();

        fn encode(&self, (): &(), out: &mut Vec<u8>) -> Result<(), Status> {
            out.extend_from_slice(b"half");
            Err(Status::data_loss("no"))
        }

        fn decode(&self, _: &[u8]) -> Result<(), Status> {
            Err(Status::data_loss("no"))
        }
    }

    #[test]
    fn a_codec_that_fails_leaves_no_trace() {
        for encoding in [Encoding::Identity, Encoding::Zstd] {
            let mut out = b"before".to_vec();
            let status = encode_message(&Failing, &(), encoding, 100, &mut out).unwrap_err();
            assert_eq!(status.code(), Code::DataLoss);
            assert_eq!(out, b"before");
        }
    }
}
