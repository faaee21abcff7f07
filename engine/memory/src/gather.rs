//! Bytes to be sent, of which the large pieces are referenced where they lie, not copied.
//!
//! What is small is written behind one another into a vector, the *heads*; a [`Pieces`] says which referenced bytes come at
//! which place between them. A [`Gather`] is the two while something is written: an encoder that hands over its [`Bytes`] as
//! [`bytes::Buf`]s has the large ones referenced.
//!
//! Does not: send, or cut into frames. Invariant: the places of pieces do not fall, and none is behind the heads' end.
//! (The alternative, a chain of buffers as `Buf::chain` makes, costs a box for each small part between two pieces.)

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};

/// What is at least as long is referenced. A copy of 4 KiB that is in the cache costs about 100 ns, as much as the bookkeeping
/// of a piece and the kernel's of another part of a write.
pub const PIECE_MIN: usize = 4 * 1024;
/// A slice that has no owner to be referenced with is copied into one of its own from here on, since it would be copied more
/// than once between other bytes.
const OWNED_MIN: usize = 64 * 1024;

/// Bytes that are referenced, and where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// So many bytes of the heads come before it.
    pub at: usize,
    /// The bytes.
    pub bytes: Bytes,
}

/// Referenced bytes in their order; those of one place follow one another.
#[derive(Debug, Default)]
pub struct Pieces {
    list: VecDeque<Piece>,
    /// Bytes in all of them.
    len: usize,
}

impl Pieces {
    /// None, and no memory.
    #[must_use]
    pub const fn new() -> Pieces {
        Pieces { list: VecDeque::new(), len: 0 }
    }

    /// Bytes that are referenced.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is referenced.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many there are.
    #[inline]
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// References `bytes` behind what was referenced before, at `at`. Nothing happens for no bytes.
    pub fn push(&mut self, at: usize, bytes: Bytes) {
        debug_assert!(self.list.back().is_none_or(|last| last.at <= at), "pieces come in their order");
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.list.push_back(Piece { at, bytes });
        }
    }

    /// The first one.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<&Piece> {
        self.list.front()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.list.iter()
    }

    /// Takes at most `max` bytes off the front of the first one.
    ///
    /// # Panics
    /// If there is none.
    pub fn take(&mut self, max: usize) -> Bytes {
        let first = self.list.front_mut().expect("the caller has seen one");
        let taken = if first.bytes.len() > max {
            first.bytes.split_to(max)
        } else {
            self.list.pop_front().expect("it is the first").bytes
        };
        self.len -= taken.len();
        taken
    }

    /// Forgets those behind the first `count`.
    pub fn truncate(&mut self, count: usize) {
        while self.list.len() > count {
            self.len -= self.list.pop_back().map_or(0, |piece| piece.bytes.len());
        }
    }

    /// Takes those behind the first `count`, as if `base` bytes of the heads were not there, behind what `to` has.
    pub fn move_tail(&mut self, count: usize, base: usize, to: &mut Pieces) {
        for piece in self.list.drain(count.min(self.list.len())..) {
            self.len -= piece.bytes.len();
            to.push(piece.at - base, piece.bytes);
        }
    }

    /// The first `bytes` of the heads are no longer there; nothing stood between them.
    pub fn shift(&mut self, bytes: usize) {
        for piece in &mut self.list {
            piece.at -= bytes;
        }
    }

    /// Copies all pieces to where they stand between `heads`, and forgets them.
    pub fn join(&mut self, heads: &mut Vec<u8>) {
        let mut joined = Vec::with_capacity(heads.len() + self.len);
        let mut from = 0;
        for piece in self.list.drain(..) {
            joined.extend_from_slice(&heads[from..piece.at]);
            joined.extend_from_slice(&piece.bytes);
            from = piece.at;
        }
        joined.extend_from_slice(&heads[from..]);
        self.len = 0;
        *heads = joined;
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.list.clear();
        self.len = 0;
    }
}

/// Something to write to, whose large pieces are referenced.
///
/// ```
/// use bytes::{BufMut, Bytes};
/// use corelane_memory::{Gather, Pieces};
///
/// let (mut heads, mut pieces) = (Vec::new(), Pieces::new());
/// let mut out = Gather::new(&mut heads, &mut pieces);
/// out.put_slice(b"head");
/// out.put(Bytes::from(vec![7; 5000])); // referenced
/// out.put(Bytes::from_static(b"tail")); // too short for that
/// assert_eq!(out.len(), 5008);
/// assert_eq!(heads, b"headtail");
/// assert_eq!(pieces.first().map(|piece| (piece.at, piece.bytes.len())), Some((4, 5000)));
/// ```
#[derive(Debug)]
pub struct Gather<'a> {
    heads: &'a mut Vec<u8>,
    pieces: &'a mut Pieces,
}

/// How far a [`Gather`] had been written.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    heads: usize,
    pieces: usize,
    len: usize,
}

impl<'a> Gather<'a> {
    /// Writes behind what `heads` and `pieces` have.
    #[inline]
    pub fn new(heads: &'a mut Vec<u8>, pieces: &'a mut Pieces) -> Gather<'a> {
        Gather { heads, pieces }
    }

    /// Bytes written, those before included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len() + self.pieces.len()
    }

    /// Whether nothing was written, nor was there anything before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where small bytes go: what is appended comes behind all that was written.
    #[inline]
    pub fn heads(&mut self) -> &mut Vec<u8> {
        self.heads
    }

    /// Writes `bytes`, by reference if they are long.
    #[inline]
    pub fn append(&mut self, bytes: Bytes) {
        self.put(bytes);
    }

    /// References `bytes`, however short they are.
    pub fn reference(&mut self, bytes: Bytes) {
        self.pieces.push(self.heads.len(), bytes);
    }

    /// Where it stands now.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { heads: self.heads.len(), pieces: self.pieces.count(), len: self.len() }
    }

    /// Bytes written since.
    #[inline]
    #[must_use]
    pub fn written_since(&self, mark: Mark) -> usize {
        self.len() - mark.len
    }

    /// The small bytes that were written since.
    #[inline]
    pub fn heads_since(&mut self, mark: Mark) -> &mut [u8] {
        &mut self.heads[mark.heads..]
    }

    /// Forgets what was written since.
    pub fn rewind(&mut self, mark: Mark) {
        self.heads.truncate(mark.heads);
        self.pieces.truncate(mark.pieces);
    }

    #[cold]
    fn copy_aside(&mut self, bytes: &[u8]) {
        self.reference(Bytes::copy_from_slice(bytes));
    }
}

// SAFETY: `remaining_mut`, `chunk_mut` and `advance_mut` are those of the one vector, which keeps the trait's contract:
// the chunk is its spare room, and its length grows by what was advanced.
#[allow(unsafe_code)]
unsafe impl BufMut for Gather<'_> {
    #[inline]
    fn remaining_mut(&self) -> usize {
        self.heads.remaining_mut()
    }

    #[inline]
    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has written `count` bytes to the chunk, which is the vector's.
        unsafe { self.heads.advance_mut(count) }
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.heads.chunk_mut()
    }

    #[inline]
    fn put<T: Buf>(&mut self, mut source: T)
    where
        Self: Sized,
    {
        let len = source.remaining();
        if len >= PIECE_MIN {
            return self.reference(source.copy_to_bytes(len));
        }
        self.heads.put(source);
    }

    #[inline]
    fn put_slice(&mut self, source: &[u8]) {
        if source.len() >= OWNED_MIN {
            return self.copy_aside(source);
        }
        self.heads.extend_from_slice(source);
    }

    #[inline]
    fn put_u8(&mut self, byte: u8) {
        self.heads.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn joined(heads: &mut Vec<u8>, pieces: &mut Pieces) -> Vec<u8> {
        pieces.join(heads);
        core::mem::take(heads)
    }

    #[test]
    fn what_is_large_is_referenced_and_stays_in_its_place() {
        let (mut heads, mut pieces) = (Vec::new(), Pieces::new());
        let large = Bytes::from(vec![1; PIECE_MIN]);
        let mut out = Gather::new(&mut heads, &mut pieces);
        out.put_u8(0);
        out.put(large.clone());
        out.put(large.slice(1..));
        out.put_slice(&[2; PIECE_MIN]);
        out.put_slice(&[3; OWNED_MIN]);
        assert_eq!(out.len(), 3 * PIECE_MIN + OWNED_MIN);
        assert_eq!((heads.len(), pieces.count()), (2 * PIECE_MIN, 2));
        assert_eq!(pieces.first().unwrap().bytes.as_ptr(), large.as_ptr(), "not a copy");
        let expected = [vec![0], vec![1; 2 * PIECE_MIN - 1], vec![2; PIECE_MIN], vec![3; OWNED_MIN]].concat();
        assert_eq!(joined(&mut heads, &mut pieces), expected);
        assert!(pieces.is_empty());
    }

    #[test]
    fn what_was_written_since_a_mark_can_be_taken_back() {
        let (mut heads, mut pieces) = (b"a".to_vec(), Pieces::new());
        pieces.push(0, Bytes::from_static(b"first"));
        let mut out = Gather::new(&mut heads, &mut pieces);
        let mark = out.mark();
        out.put_slice(b"bc");
        out.reference(Bytes::from_static(b"second"));
        assert_eq!(out.written_since(mark), 8);
        assert_eq!(out.heads_since(mark), b"bc");
        out.rewind(mark);
        assert_eq!((out.len(), out.written_since(mark)), (6, 0));
        assert_eq!(joined(&mut heads, &mut pieces), b"firsta");
    }

    #[test]
    fn pieces_are_taken_in_parts_and_moved() {
        let mut pieces = Pieces::new();
        pieces.push(1, Bytes::from_static(b"abc"));
        pieces.push(5, Bytes::from_static(b"def"));
        pieces.push(7, Bytes::new());
        assert_eq!((pieces.take(2), pieces.len(), pieces.count()), (Bytes::from_static(b"ab"), 4, 2));
        let mut other = Pieces::new();
        pieces.move_tail(1, 3, &mut other);
        assert_eq!((pieces.len(), other.len()), (1, 3));
        assert_eq!(other.first().unwrap().at, 2);
        other.shift(2);
        assert_eq!(other.take(9), Bytes::from_static(b"def"));
        assert!(other.is_empty());
        pieces.clear();
        assert_eq!((pieces.len(), pieces.count()), (0, 0));
    }
}
