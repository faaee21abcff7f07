//! A message that arrives in pieces, where exactly one may come: a unary request, or a unary response.
//!
//! Does not: decode. Invariant: holds at most one message of the permitted size and its prefix; what is refused is refused
//! as soon as it shows, not when all of it is there. Storage grows with what has arrived, never to what a prefix promises:
//! only storage that an earlier message has left may be larger.

use std::fmt;

use bytes::Bytes;
use corelane_wire::grpc::{DeframeError, Message, PREFIX_LEN, Prefix};

use crate::pool;

/// Storage grows to as many times what it holds. With 2, the usual factor, a message of 1 MiB is moved 1.0 times; with 4, 0.3 times.
const GROWTH: usize = 4;
/// Octets of a message that the peer may send ahead of those that have come.
const AHEAD: usize = 16 * 1024 * 1024;

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

    /// Adds a piece; says how many octets the peer may send for it: those of the whole message, up to a limit, as soon as its prefix
    /// is here. They are to be credited at once, since the message cannot become whole otherwise.
    ///
    /// # Errors
    /// [`GatherError`] as soon as it shows.
    pub fn push(&mut self, piece: &[u8], size_max: usize) -> Result<u32, GatherError> {
        let before = self.wanted()?;
        if let Some(whole) = before {
            self.make_room(whole, piece.len());
        }
        self.bytes.extend_from_slice(piece);
        let Some(prefix) = self.prefix()? else { return Ok(0) };
        let whole = PREFIX_LEN + prefix.len as usize;
        if prefix.len as usize > size_max {
            return Err(GatherError::TooLarge { len: prefix.len, max: size_max });
        }
        if self.bytes.len() > whole {
            return Err(GatherError::Extra);
        }
        let credited = before.map_or(0, |whole| whole.min(self.bytes.len() - piece.len() + AHEAD));
        let credit = whole.min(self.bytes.len() + AHEAD) - credited;
        if before.is_none() {
            self.settle_in(whole);
        }
        Ok(u32::try_from(credit).expect("AHEAD and a frame are far smaller"))
    }

    /// The prefix has come: a long message goes to storage that has been large before, if there is some.
    fn settle_in(&mut self, whole: usize) {
        if whole > self.bytes.capacity()
            && let Some(mut larger) = pool::take_larger(whole)
        {
            larger.extend_from_slice(&self.bytes);
            pool::give_buffer(std::mem::replace(&mut self.bytes, larger));
        }
    }

    /// Makes room for a piece of a message of `whole` octets.
    fn make_room(&mut self, whole: usize, piece: usize) {
        let needed = self.bytes.len() + piece;
        if needed > self.bytes.capacity() {
            let room = needed.max(whole.min(GROWTH * self.bytes.len()));
            self.bytes.reserve_exact(room - self.bytes.len());
        }
    }

    /// Octets of the message and its prefix, once that has come.
    fn wanted(&self) -> Result<Option<usize>, GatherError> {
        Ok(self.prefix()?.map(|prefix| PREFIX_LEN + prefix.len as usize))
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

    /// Whether most of the storage is the message: what is kept of it keeps all of that.
    pub(crate) fn fills_storage(&self) -> bool {
        self.bytes.capacity() <= 2 * self.bytes.len()
    }

    /// The payload, for whoever wants to keep parts of it without copying: the storage goes to the next message when the last
    /// part is dropped.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        let from = PREFIX_LEN.min(self.bytes.len());
        Bytes::from_owner(Lent(self.bytes)).slice(from..)
    }

    fn prefix(&self) -> Result<Option<Prefix>, GatherError> {
        let Some(bytes) = self.bytes.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
        Prefix::parse(bytes).map(Some).map_err(|_| GatherError::BadFlag(bytes[0]))
    }
}

/// Storage that finds its way back.
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        pool::give_buffer(std::mem::take(&mut self.0));
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

    #[test]
    fn a_prefix_alone_makes_no_room() {
        let mut gathered = Gathered::default();
        let max = 4 << 20;
        gathered.push(&framed(&vec![0; max])[..6], max).unwrap();
        assert!(gathered.bytes.capacity() < 64, "{}", gathered.bytes.capacity());
        gathered.push(&[0; 1000], max).unwrap();
        assert!(gathered.bytes.capacity() < 5000, "{}", gathered.bytes.capacity());
    }

    #[test]
    fn all_of_a_message_is_credited_once_its_prefix_is_here() {
        let bytes = framed(&[7; 1000]);
        let mut gathered = Gathered::default();
        assert_eq!(gathered.push(&bytes[..3], 1000), Ok(0));
        assert_eq!(gathered.push(&bytes[3..10], 1000), Ok(1005));
        assert_eq!(gathered.push(&bytes[10..], 1000), Ok(0));
    }

    #[test]
    fn a_message_of_any_size_is_credited_exactly_once_and_never_far_ahead() {
        let bytes = framed(&vec![7; 3 * AHEAD]);
        let (mut gathered, mut credited) = (Gathered::default(), 0);
        for piece in bytes.chunks(1 << 20) {
            credited += gathered.push(piece, usize::MAX).unwrap() as usize;
            assert!(credited <= gathered.len() + AHEAD);
        }
        assert_eq!(credited, bytes.len());
    }

    #[test]
    fn storage_comes_back_when_the_last_part_is_dropped() {
        let mut gathered = Gathered::default();
        gathered.push(&framed(&[7; 100_000]), 100_000).unwrap();
        let address = gathered.bytes.as_ptr();
        let payload = gathered.into_payload();
        let part = payload.slice(10..20);
        assert_eq!((payload.len(), &part[..]), (100_000, &[7; 10][..]));
        drop(payload);
        assert!(pool::take_larger(100_000).is_none(), "a part still needs it");
        drop(part);
        let mut next = Gathered::default();
        next.push(&framed(&[8; 100_000])[..100], 100_000).unwrap();
        assert_eq!(next.bytes.as_ptr(), address, "the next message lies where this one was");
    }
}
