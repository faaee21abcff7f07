//! Messages in a stream of octets: a flag, a length of four octets, the payload (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").

use alloc::vec::Vec;
use core::fmt;

/// Octets before each message.
pub const PREFIX_LEN: usize = 5;

/// What precedes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Whether the payload is compressed, as `grpc-encoding` says.
    pub compressed: bool,
    /// Octets of payload.
    pub len: u32,
}

/// One message, borrowed from where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// The payload.
    pub payload: &'a [u8],
}

/// What is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeframeError {
    /// The prefix announces more than is accepted.
    TooLarge {
        /// What it announces.
        len: u32,
        /// What is accepted.
        max: usize,
    },
    /// The flag is neither 0 nor 1.
    BadFlag(u8),
}

impl fmt::Display for DeframeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeframeError::TooLarge { len, max } => {
                write!(f, "the message has {len} octets, and at most {max} are accepted")
            }
            DeframeError::BadFlag(flag) => write!(f, "the message's compressed-flag is {flag}, not 0 or 1"),
        }
    }
}

impl core::error::Error for DeframeError {}

impl Prefix {
    /// Reads a prefix.
    ///
    /// # Errors
    /// [`DeframeError::BadFlag`].
    #[inline]
    pub const fn parse(octets: &[u8; PREFIX_LEN]) -> Result<Prefix, DeframeError> {
        let [flag, len @ ..] = *octets;
        if flag > 1 {
            return Err(DeframeError::BadFlag(flag));
        }
        Ok(Prefix { compressed: flag == 1, len: u32::from_be_bytes(len) })
    }

    /// Its octets.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; PREFIX_LEN] {
        let [len0, len1, len2, len3] = self.len.to_be_bytes();
        [self.compressed as u8, len0, len1, len2, len3]
    }
}

/// The message that `octets` are, if they are exactly one of at most `max` octets: what a small call's DATA frame holds.
#[inline]
#[must_use]
pub fn whole(octets: &[u8], max: usize) -> Option<Message<'_>> {
    let (prefix, payload) = octets.split_first_chunk()?;
    let prefix = Prefix::parse(prefix).ok()?;
    let fits = prefix.len as usize == payload.len() && payload.len() <= max;
    fits.then_some(Message { compressed: prefix.compressed, payload })
}

/// Takes messages out of a stream of octets that was cut anywhere.
///
/// Holds what was pushed and not taken yet; it never allocates what a prefix only promises.
///
/// ```
/// use corelane_wire::grpc::Deframer;
///
/// let mut deframer = Deframer::new();
/// deframer.push(&[0, 0, 0, 0, 2, b'h']);
/// assert_eq!(deframer.next(100)?, None);
/// deframer.push(b"i");
/// assert_eq!(deframer.next(100)?.unwrap().payload, b"hi");
/// # Ok::<(), corelane_wire::grpc::DeframeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// What was taken: `at <= buffer.len()`.
    at: usize,
}

impl Deframer {
    /// An empty one, which owns no memory.
    #[must_use]
    pub const fn new() -> Deframer {
        Deframer { buffer: Vec::new(), at: 0 }
    }

    /// An empty one that uses the storage of `buffer`.
    #[must_use]
    pub fn from_buffer(mut buffer: Vec<u8>) -> Deframer {
        buffer.clear();
        Deframer { buffer, at: 0 }
    }

    /// Gives the storage back.
    #[must_use]
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.buffer.clear();
        self.buffer
    }

    /// Adds octets.
    pub fn push(&mut self, octets: &[u8]) {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        } else if self.at * 2 > self.buffer.len() {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// Octets that were pushed and not taken.
    #[inline]
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Whether nothing is left.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffered() == 0
    }

    /// The next message, if all of it is here.
    ///
    /// # Errors
    /// [`DeframeError`], at the prefix; the stream has no messages after that.
    pub fn next(&mut self, max: usize) -> Result<Option<Message<'_>>, DeframeError> {
        let Some((prefix, rest)) = self.buffer[self.at..].split_first_chunk() else { return Ok(None) };
        let prefix = Prefix::parse(prefix)?;
        let len = prefix.len as usize;
        if len > max {
            return Err(DeframeError::TooLarge { len: prefix.len, max });
        }
        let Some(payload) = rest.get(..len) else { return Ok(None) };
        self.at += PREFIX_LEN + len;
        Ok(Some(Message { compressed: prefix.compressed, payload }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(payload: &[u8], compressed: bool) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        [&Prefix { compressed, len }.to_bytes()[..], payload].concat()
    }

    #[test]
    fn a_length_is_refused_at_its_prefix() {
        let mut deframer = Deframer::new();
        deframer.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(deframer.next(4), Err(DeframeError::TooLarge { len: u32::MAX, max: 4 }));
        let mut deframer = Deframer::new();
        deframer.push(&[2, 0, 0, 0, 0]);
        assert_eq!(deframer.next(4), Err(DeframeError::BadFlag(2)));
    }

    #[test]
    fn the_limit_itself_is_accepted() {
        let mut deframer = Deframer::new();
        deframer.push(&framed(b"12345", false));
        let refused = Err(DeframeError::TooLarge { len: 5, max: 4 });
        assert_eq!(deframer.next(4), refused);
        assert_eq!(deframer.next(4), refused);
        assert_eq!(deframer.next(5), Ok(Some(Message { compressed: false, payload: b"12345" })));
    }

    #[test]
    fn storage_does_not_grow_with_the_stream() {
        let (mut deframer, bytes) = (Deframer::new(), framed(&[7; 100], false));
        // Always half a message behind, so that the buffer is never empty.
        deframer.push(&bytes[..50]);
        for _ in 0..1000 {
            deframer.push(&bytes[50..]);
            deframer.push(&bytes[..50]);
            assert_eq!(deframer.next(100).unwrap().map(|message| message.payload.len()), Some(100));
        }
        let storage = deframer.into_buffer();
        assert!(storage.is_empty() && storage.capacity() <= 1024, "{}", storage.capacity());
        assert!(Deframer::from_buffer(storage).is_empty());
    }

    #[test]
    fn whole_takes_exactly_one() {
        let one = framed(b"abc", true);
        assert_eq!(whole(&one, 3), Some(Message { compressed: true, payload: b"abc" }));
        assert_eq!(whole(&one, 2), None);
        assert_eq!(whole(&one[..7], 3), None);
        assert_eq!(whole(&[&one[..], &[0]].concat(), 3), None);
        assert_eq!(whole(&[7, 0, 0, 0, 0], 3), None);
    }

    proptest! {
        #[test]
        fn messages_come_out_wherever_they_are_cut(
            messages in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..50), any::<bool>()), 0..20),
            cuts in proptest::collection::vec(1usize..40, 1..60),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|(payload, flag)| framed(payload, *flag)).collect();
            let (mut deframer, mut found, mut rest) = (Deframer::new(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                deframer.push(piece);
                rest = behind;
                while let Some(message) = deframer.next(50).unwrap() {
                    found.push((message.payload.to_vec(), message.compressed));
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, messages);
            prop_assert!(deframer.is_empty());
        }

        #[test]
        fn anything_is_read_without_a_panic(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut deframer = Deframer::new();
            deframer.push(&octets);
            while let Ok(Some(message)) = deframer.next(64) {
                prop_assert!(message.payload.len() <= 64);
            }
        }
    }
}
