//! A message that arrives in pieces, where exactly one may come: a unary request, or a unary response.
//!
//! Does not: decode. Invariant: holds at most one message of the permitted size and its prefix; what is refused is refused
//! as soon as it shows, not when all of it is there.

use std::fmt;

use corelane_wire::grpc::{DeframeError, Message, PREFIX_LEN, Prefix};

/// Why the pieces are not one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatherError {
    /// Its prefix announces more than is accepted.
    TooLarge {
        /// Octets announced.
        len: u32,
        /// Octets accepted.
        max: usize,
    },
    /// A second message began.
    Extra,
    /// The stream ended without a message.
    Missing,
    /// The stream ended within the message.
    Cut,
    /// The first octet is neither 0 nor 1.
    BadFlag(u8),
}

impl fmt::Display for GatherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            GatherError::TooLarge { len, max } => DeframeError::TooLarge { len, max }.fmt(f),
            GatherError::Extra => f.write_str("more than one message was sent where one is expected"),
            GatherError::Missing => f.write_str("no message was sent where one is expected"),
            GatherError::Cut => f.write_str("the stream ended in the middle of its message"),
            GatherError::BadFlag(flag) => DeframeError::BadFlag(flag).fmt(f),
        }
    }
}

impl std::error::Error for GatherError {}

/// The pieces so far.
#[derive(Debug, Default)]
pub struct Gathered {
    bytes: Vec<u8>,
}

impl Gathered {
    /// No piece yet; what `storage` holds is forgotten.
    #[must_use]
    pub fn new(mut storage: Vec<u8>) -> Gathered {
        storage.clear();
        Gathered { bytes: storage }
    }

    /// A message that has come in one piece and must be kept.
    ///
    /// # Panics
    /// For a payload of 4 GiB or more, which no prefix can announce.
    #[must_use]
    pub fn of(message: Message<'_>, storage: Vec<u8>) -> Gathered {
        let len =
            u32::try_from(message.payload.len()).expect("the length was read from a prefix of four octets");
        let mut gathered = Gathered::new(storage);
        gathered.bytes.extend_from_slice(&Prefix { compressed: message.compressed, len }.to_bytes());
        gathered.bytes.extend_from_slice(message.payload);
        gathered
    }

    /// What was taken apart with [`into_storage`](Self::into_storage), as it was.
    #[must_use]
    pub fn whole(bytes: Vec<u8>) -> Gathered {
        Gathered { bytes }
    }

    /// Octets that came.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a message without octets is `Missing`")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The storage, for the next message.
    #[must_use]
    pub fn into_storage(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// [`GatherError`] as soon as it shows.
    pub fn push(&mut self, piece: &[u8], size_max: usize) -> Result<(), GatherError> {
        self.bytes.extend_from_slice(piece);
        let Some(prefix) = self.prefix()? else { return Ok(()) };
        let len = prefix.len as usize;
        if len > size_max {
            return Err(GatherError::TooLarge { len: prefix.len, max: size_max });
        }
        if self.bytes.len() > PREFIX_LEN + len {
            return Err(GatherError::Extra);
        }
        Ok(())
    }

    /// The message, once the stream has ended.
    ///
    /// # Errors
    /// [`GatherError::Missing`] without a message, [`GatherError::Cut`] for a part of one.
    pub fn message(&self) -> Result<Message<'_>, GatherError> {
        if self.bytes.is_empty() {
            return Err(GatherError::Missing);
        }
        let prefix = self.prefix()?.filter(|prefix| self.bytes.len() == PREFIX_LEN + prefix.len as usize);
        let prefix = prefix.ok_or(GatherError::Cut)?;
        Ok(Message { compressed: prefix.compressed, payload: &self.bytes[PREFIX_LEN..] })
    }

    fn prefix(&self) -> Result<Option<Prefix>, GatherError> {
        let Some(bytes) = self.bytes.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        Prefix::parse(bytes).map(Some).map_err(|_| GatherError::BadFlag(bytes[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(refused, GatherError::TooLarge { len: 6, max: 5 });
        assert_eq!(refused.to_string(), "the message has 6 octets, and at most 5 are accepted");
    }

    #[test]
    fn no_message_and_a_second_one_are_told_apart() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.message().unwrap_err(), GatherError::Missing);
        gathered.push(&framed(b"a"), 5).unwrap();
        assert_eq!(gathered.push(&framed(b"b"), 5).unwrap_err(), GatherError::Extra);
    }

    #[test]
    fn a_part_of_a_message_is_no_message() {
        let bytes = framed(b"hello");
        for cut in 1..bytes.len() {
            let mut gathered = Gathered::default();
            gathered.push(&bytes[..cut], 5).unwrap();
            assert_eq!(gathered.message().unwrap_err(), GatherError::Cut, "{cut}");
        }
    }

    #[test]
    fn an_odd_flag_is_refused() {
        assert_eq!(Gathered::default().push(&[2, 0, 0, 0, 0], 5).unwrap_err(), GatherError::BadFlag(2));
    }
}
