//! A request of one message that arrives in pieces.
//!
//! Does not: decode. Invariant: holds at most one message of the permitted size and its prefix; what is refused is refused
//! as soon as it shows, not when all of it is there.

use corelane_call::Status;
use corelane_wire::grpc::{DeframeError, Message, PREFIX_LEN, Prefix};

/// The pieces so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
}

impl Gathered {
    /// No piece yet; what `storage` holds is forgotten.
    pub(crate) fn new(mut storage: Vec<u8>) -> Gathered {
        storage.clear();
        Gathered { bytes: storage }
    }

    /// A message that has come in one piece and must be kept.
    pub(crate) fn of(message: Message<'_>, storage: Vec<u8>) -> Gathered {
        let len =
            u32::try_from(message.payload.len()).expect("the length was read from a prefix of four octets");
        let mut gathered = Gathered::new(storage);
        gathered.bytes.extend_from_slice(&Prefix { compressed: message.compressed, len }.to_bytes());
        gathered.bytes.extend_from_slice(message.payload);
        gathered
    }

    /// The storage, for the next message.
    pub(crate) fn into_storage(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED for a message of more than `size_max` octets, UNIMPLEMENTED for a second message, INTERNAL for a
    /// prefix that is none.
    pub(crate) fn push(&mut self, piece: &[u8], size_max: usize) -> Result<(), Status> {
        self.bytes.extend_from_slice(piece);
        let Some(prefix) = self.prefix()? else { return Ok(()) };
        let len = prefix.len as usize;
        if len > size_max {
            return Err(Status::resource_exhausted(
                DeframeError::TooLarge { len: prefix.len, max: size_max }.to_string(),
            ));
        }
        if self.bytes.len() > PREFIX_LEN + len {
            return Err(Status::unimplemented(
                "the method takes one request message, and more than one was sent",
            ));
        }
        Ok(())
    }

    /// The message, once the request has ended.
    ///
    /// # Errors
    /// UNIMPLEMENTED without a message, INTERNAL for a part of one.
    pub(crate) fn message(&self) -> Result<Message<'_>, Status> {
        if self.bytes.is_empty() {
            return Err(missing());
        }
        let prefix = self.prefix()?.filter(|prefix| self.bytes.len() == PREFIX_LEN + prefix.len as usize);
        let prefix =
            prefix.ok_or_else(|| Status::internal("the request ended in the middle of its message"))?;
        Ok(Message { compressed: prefix.compressed, payload: &self.bytes[PREFIX_LEN..] })
    }

    fn prefix(&self) -> Result<Option<Prefix>, Status> {
        let Some(bytes) = self.bytes.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        Prefix::parse(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// The request ended without a message.
pub(crate) fn missing() -> Status {
    Status::unimplemented("the method takes one request message, and none was sent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_call::Code;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn pieces_make_a_message_wherever_they_are_cut() {
        let bytes = framed(b"hello");
        for cut in 0..=bytes.len() {
            let mut gathered = Gathered::default();
            gathered.push(&bytes[..cut], 5).unwrap();
            gathered.push(&bytes[cut..], 5).unwrap();
            let message = gathered.message().unwrap();
            assert_eq!((message.compressed, message.payload), (false, &b"hello"[..]));
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_at_its_prefix() {
        let mut gathered = Gathered::default();
        let refused = gathered.push(&framed(b"123456")[..5], 5).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.message(), "the message has 6 octets, and at most 5 are accepted");
    }

    #[test]
    fn no_message_and_a_second_one_are_unimplemented() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.message().unwrap_err().code(), Code::Unimplemented);
        gathered.push(&framed(b"a"), 5).unwrap();
        assert_eq!(gathered.push(&framed(b"b"), 5).unwrap_err().code(), Code::Unimplemented);
    }

    #[test]
    fn a_part_of_a_message_is_internal() {
        let bytes = framed(b"hello");
        for cut in 1..bytes.len() {
            let mut gathered = Gathered::default();
            gathered.push(&bytes[..cut], 5).unwrap();
            assert_eq!(gathered.message().unwrap_err().code(), Code::Internal, "{cut}");
        }
    }

    #[test]
    fn an_odd_flag_is_internal() {
        assert_eq!(Gathered::default().push(&[2, 0, 0, 0, 0], 5).unwrap_err().code(), Code::Internal);
    }
}
