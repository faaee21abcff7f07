//! How messages become bytes and back.
//!
//! Does not: frame or compress; [`message`](crate::message) does, around any codec.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use corelane_memory::Gather;
use corelane_wire::grpc::Status;
use prost::Message;

/// Turns messages of one method into bytes and back.
///
/// A codec is a value without state in all but odd cases: it is cloned for each call, and one of size zero costs nothing.
pub trait Codec: Clone + 'static {
    /// What is sent.
    type Encode: 'static;
    /// What is received.
    type Decode: 'static;

    /// Appends the bytes of `item` to `out`. What it appended before an error is thrown away.
    ///
    /// # Errors
    /// The status that ends the call: `INTERNAL` as a rule, since only our side can be at fault.
    fn encode(&self, item: &Self::Encode, out: &mut Vec<u8>) -> Result<(), Status>;

    /// As [`encode`](Self::encode); large pieces of the item may be referenced, and are not copied on their way to the socket
    /// then.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[inline]
    fn encode_gathered(&self, item: &Self::Encode, out: &mut Gather<'_>) -> Result<(), Status> {
        self.encode(item, out.heads())
    }

    /// The message that `payload` holds.
    ///
    /// # Errors
    /// The status that ends the call: `INTERNAL` where the bytes are no such message.
    fn decode(&self, payload: &[u8]) -> Result<Self::Decode, Status>;

    /// As [`decode`](Self::decode), of a payload that the message may keep parts of: large messages come this way. A part keeps
    /// the whole payload in memory.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    fn decode_shared(&self, payload: Bytes) -> Result<Self::Decode, Status> {
        self.decode(&payload)
    }
}

/// A `Bytes` field of at least as many octets is a part of the payload that it came in; a shorter one is a copy.
const SHARE_MIN: usize = 1024;
/// And of at least this part of the payload, which fills half of its storage or more: whoever keeps the field keeps at most twice
/// as many times its size.
const SHARE_PART: usize = 8;

/// Protocol Buffers by `prost`: sends `E`, receives `D`.
///
/// ```
/// use corelane_call::{Codec, ProstCodec};
///
/// let codec = ProstCodec::<String, u64>::default(); // prost reads and writes these as the well-known wrappers
/// let mut bytes = Vec::new();
/// codec.encode(&"hi".to_owned(), &mut bytes).unwrap();
/// assert_eq!(bytes, b"\x0a\x02hi");
/// assert_eq!(codec.decode(b"\x08\x07").unwrap(), 7);
/// ```
pub struct ProstCodec<E, D> {
    types: PhantomData<fn(E) -> D>,
}

impl<E, D> ProstCodec<E, D> {
    /// The codec; a value of size zero.
    #[must_use]
    pub const fn new() -> ProstCodec<E, D> {
        ProstCodec { types: PhantomData }
    }
}

impl<E, D> Codec for ProstCodec<E, D>
where
    E: Message + 'static,
    D: Message + Default + 'static,
{
    type Encode = E;
    type Decode = D;

    fn encode(&self, item: &E, out: &mut Vec<u8>) -> Result<(), Status> {
        item.encode(out).map_err(|error| too_long(&error))
    }

    #[inline]
    fn encode_gathered(&self, item: &E, out: &mut Gather<'_>) -> Result<(), Status> {
        item.encode(out).map_err(|error| too_long(&error))
    }

    fn decode(&self, payload: &[u8]) -> Result<D, Status> {
        // prost refuses nesting deeper than 100, so recursion is bounded.
        D::decode(Copied { rest: payload }).map_err(|error| malformed(&error))
    }

    fn decode_shared(&self, payload: Bytes) -> Result<D, Status> {
        let share_min = SHARE_MIN.max(payload.len() / SHARE_PART);
        D::decode(Sharing { rest: payload, share_min }).map_err(|error| malformed(&error))
    }
}

#[cold]
fn too_long(error: &prost::EncodeError) -> Status {
    Status::internal(format!("cannot encode the message: {error}"))
}

#[cold]
fn malformed(error: &prost::DecodeError) -> Status {
    Status::internal(format!("cannot decode the message: {error}"))
}

/// A payload that is read and hands out copies. A slice does that too, by way of a buffer that can grow, which takes three times
/// as many instructions as the copy of a small field.
struct Copied<'a> {
    rest: &'a [u8],
}

impl Buf for Copied<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.rest
    }

    #[inline]
    fn advance(&mut self, octets: usize) {
        self.rest = &self.rest[octets..];
    }

    #[inline]
    fn copy_to_bytes(&mut self, octets: usize) -> Bytes {
        let (part, rest) = self.rest.split_at(octets);
        self.rest = rest;
        Bytes::copy_from_slice(part)
    }
}

/// A payload that is read and hands out parts of itself.
struct Sharing {
    rest: Bytes,
    share_min: usize,
}

impl Buf for Sharing {
    #[inline]
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    #[inline]
    fn advance(&mut self, octets: usize) {
        self.rest.advance(octets);
    }

    fn copy_to_bytes(&mut self, octets: usize) -> Bytes {
        let part = self.rest.split_to(octets);
        if octets >= self.share_min { part } else { Bytes::copy_from_slice(&part) }
    }
}

impl<E, D> Clone for ProstCodec<E, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, D> Copy for ProstCodec<E, D> {}

impl<E, D> Default for ProstCodec<E, D> {
    fn default() -> Self {
        ProstCodec::new()
    }
}

impl<E, D> fmt::Debug for ProstCodec<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProstCodec")
    }
}

#[cfg(test)]
mod tests {
    use corelane_wire::grpc::Code;

    use super::*;

    #[test]
    fn bytes_that_are_no_message_are_internal() {
        let codec = ProstCodec::<(), String>::default();
        let status = codec.decode(b"\x0a\x7fshort").unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().starts_with("cannot decode the message: "), "{}", status.message());
    }

    #[test]
    fn is_of_size_zero() {
        assert_eq!(size_of::<ProstCodec<String, String>>(), 0);
    }

    #[test]
    fn a_large_field_is_a_part_of_its_payload_and_a_small_one_a_copy() {
        let codec = ProstCodec::<Bytes, Bytes>::default();
        for (len, is_part) in [(SHARE_MIN, true), (SHARE_MIN - 1, false)] {
            let mut bytes = Vec::new();
            codec.encode(&Bytes::from(vec![7; len]), &mut bytes).unwrap();
            let payload = Bytes::from(bytes);
            let field = codec.decode_shared(payload.clone()).unwrap();
            assert_eq!(field, vec![7; len]);
            assert_eq!(payload.as_ptr_range().contains(&field.as_ptr()), is_part, "{len}");
        }
        // A small part of a large payload would keep all of that.
        let share_min = SHARE_MIN.max((1 << 20) / SHARE_PART);
        let mut payload = Sharing { rest: Bytes::from(vec![7; 1 << 20]), share_min };
        let begin = payload.rest.as_ptr();
        assert_ne!(payload.copy_to_bytes(share_min - 1).as_ptr(), begin);
        assert_eq!(payload.copy_to_bytes(share_min).as_ptr(), begin.wrapping_add(share_min - 1));
    }

    #[test]
    fn a_large_field_is_referenced_where_it_lies() {
        let field = Bytes::from(vec![7; 100_000]);
        let codec = ProstCodec::<Bytes, Bytes>::default();
        let (mut heads, mut pieces) = (Vec::new(), corelane_memory::Pieces::new());
        codec.encode_gathered(&field, &mut Gather::new(&mut heads, &mut pieces)).unwrap();
        assert_eq!(pieces.first().map(|piece| piece.bytes.as_ptr()), Some(field.as_ptr()));
        pieces.join(&mut heads);
        assert_eq!(codec.decode(&heads).unwrap(), field);
    }
}
