//! How messages become bytes and back.
//!
//! Does not: frame or compress; [`message`](crate::message) does, around any codec.

use std::fmt;
use std::marker::PhantomData;

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

    /// The message that `payload` holds.
    ///
    /// # Errors
    /// The status that ends the call: `INTERNAL` where the bytes are no such message.
    fn decode(&self, payload: &[u8]) -> Result<Self::Decode, Status>;
}

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
        item.encode(out).map_err(|error| Status::internal(format!("cannot encode the message: {error}")))
    }

    fn decode(&self, payload: &[u8]) -> Result<D, Status> {
        // prost refuses nesting deeper than 100, so recursion is bounded.
        D::decode(payload).map_err(|error| Status::internal(format!("cannot decode the message: {error}")))
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
}
