//! What one write sends: octets of ours, and between them payload that is referenced where it lies.
//!
//! Does not: wait. Invariant: what was written is gone from the front: `sent <= heads.len()`, and no piece stands before
//! `sent`.

use corelane_memory::Pieces;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

/// Parts of one write: as many frames, with a head each, as an output that is full holds of those that peers send by default.
const PARTS_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    heads: Vec<u8>,
    sent: usize,
    pieces: Pieces,
}

impl Outgoing {
    pub(crate) fn new(heads: Vec<u8>, pieces: Pieces) -> Outgoing {
        Outgoing { heads, sent: 0, pieces }
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.sent == self.heads.len() && self.pieces.is_empty()
    }

    /// Whether there is anything besides octets of ours.
    pub(super) fn is_gathered(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Takes what was written off the front.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let until = self.pieces.first().map_or(self.heads.len(), |piece| piece.at);
            let ours = bytes.min(until - self.sent);
            self.sent += ours;
            bytes -= ours;
            if bytes > 0 {
                bytes -= self.pieces.take(bytes).len();
            }
        }
    }

    /// The first part.
    pub(super) fn first(&self) -> &[u8] {
        let until = self.pieces.first().map_or(self.heads.len(), |piece| piece.at);
        match self.pieces.first() {
            Some(piece) if until == self.sent => &piece.bytes,
            _ => &self.heads[self.sent..until],
        }
    }

    /// The first parts, as many as `slices` has room for; says how many.
    fn parts<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut count, mut from) = (0, self.sent);
        let mut put = |part: &'a [u8]| {
            if !part.is_empty()
                && let Some(slice) = slices.get_mut(count)
            {
                *slice = IoSlice::new(part);
                count += 1;
            }
        };
        for piece in self.pieces.iter().take(PARTS_MAX) {
            put(&self.heads[from..piece.at]);
            put(&piece.bytes);
            from = piece.at;
        }
        if self.pieces.count() <= PARTS_MAX {
            put(&self.heads[from..]);
        }
        count
    }

    /// Sends what the socket takes now.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing.
    pub(super) fn send_now(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PARTS_MAX];
        let count = self.parts(&mut slices);
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(sendmsg(fd, &slices[..count], &mut SendAncillaryBuffer::default(), flags)?)
    }

    /// The storage of the octets that are ours.
    pub(crate) fn into_heads(self) -> Vec<u8> {
        self.heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corelane_memory::Bytes;

    fn outgoing() -> Outgoing {
        let mut pieces = Pieces::new();
        pieces.push(0, Bytes::from_static(b"first"));
        pieces.push(2, Bytes::from_static(b"second"));
        pieces.push(2, Bytes::from_static(b"third"));
        Outgoing::new(b"abcd".to_vec(), pieces)
    }

    fn joined(outgoing: &Outgoing, parts_max: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); parts_max];
        let count = outgoing.parts(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_write_may_be_cut_anywhere() {
        let whole = joined(&outgoing(), 8);
        assert_eq!(whole, b"firstabsecondthirdcd");
        for first in 0..=whole.len() {
            for second in 0..=whole.len() - first {
                let mut outgoing = outgoing();
                outgoing.advance(first);
                outgoing.advance(second);
                assert_eq!(joined(&outgoing, 8), whole[first + second..], "{first} and {second}");
                assert!(whole[first + second..].starts_with(outgoing.first()));
                assert_eq!(outgoing.is_done(), first + second == whole.len());
                assert_eq!(outgoing.first().is_empty(), outgoing.is_done());
            }
        }
    }

    #[test]
    fn more_parts_than_one_write_takes_are_left_for_the_next() {
        assert_eq!(joined(&outgoing(), 2), b"firstab");
        let mut pieces = Pieces::new();
        for at in 0..=PARTS_MAX {
            pieces.push(at, Bytes::from_static(b"."));
        }
        let outgoing = Outgoing::new(vec![b'h'; PARTS_MAX], pieces);
        let shown = joined(&outgoing, PARTS_MAX);
        assert_eq!(shown.len(), PARTS_MAX);
        assert!(b".h".repeat(PARTS_MAX).starts_with(&shown));
    }
}
