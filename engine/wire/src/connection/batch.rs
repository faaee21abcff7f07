//! Several messages for one DATA frame: what the second and every further one costs is its own octets.
//!
//! Does not: send; [`super::Stream::send_batch`] does. Invariant: holds whole messages only, and of one that does not fit behind the
//! others its beginning is known, so that it can be taken out again.

use corelane_memory::{Gather, Mark};

/// Messages of one stream that are about to be sent together.
#[derive(Debug)]
pub struct Batch<'a> {
    out: Gather<'a>,
    start: Mark,
    /// How far its whole messages go.
    whole: Mark,
    /// Octets of them.
    len: usize,
    /// Octets before the last of them that was added while there was room.
    before_last: usize,
    /// Octets that have room.
    room: usize,
}

impl<'a> Batch<'a> {
    /// No message yet, behind what `out` has.
    #[inline]
    pub(super) fn new(out: Gather<'a>, room: usize) -> Batch<'a> {
        let start = out.mark();
        Batch { out, start, whole: start, len: 0, before_last: 0, room }
    }

    /// Appends the message that `write` appends, however long it is. What was appended before an error is taken back; after a panic it
    /// is, too, if that is caught where the batch is being made.
    ///
    /// # Errors
    /// That of `write`.
    #[inline]
    pub fn add<E>(&mut self, write: impl FnOnce(&mut Gather<'_>) -> Result<(), E>) -> Result<(), E> {
        debug_assert!(
            self.len == self.out.written_since(self.start),
            "nothing is added to a batch after a panic"
        );
        let written = write(&mut self.out);
        if written.is_err() {
            self.out.rewind(self.whole);
        } else {
            if self.len <= self.room {
                // Past that, nothing fits a frame any more: all of it goes by way of the queue.
                self.before_last = self.len;
            }
            self.whole = self.out.mark();
            self.len = self.out.written_since(self.start);
            if self.len != self.out.heads_since(self.start).len() {
                // What is referenced goes by way of the queue, with nothing behind it.
                self.room = 0;
            }
        }
        written
    }

    /// Whether another message, if it is as long as the last one, would not have room. Stop then: one that has none is copied.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        2 * self.len - self.before_last > self.room
    }

    /// Takes back what a panic has left; says how many octets come before the last message.
    #[inline]
    pub(super) fn finish(mut self) -> usize {
        self.out.rewind(self.whole);
        self.before_last
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use corelane_memory::{Bytes, PIECE_MIN, Pieces};

    use super::*;

    fn put(batch: &mut Batch<'_>, octets: &[u8]) {
        let written: Result<(), ()> = batch.add(|out| {
            out.heads().extend_from_slice(octets);
            Ok(())
        });
        assert_eq!(written, Ok(()));
    }

    #[test]
    fn it_is_full_when_another_message_like_the_last_has_no_room() {
        let (mut heads, mut pieces) = (b"before".to_vec(), Pieces::new());
        let mut batch = Batch::new(Gather::new(&mut heads, &mut pieces), 10);
        assert!(!batch.is_full(), "the first one is always taken");
        put(&mut batch, b"four");
        assert!(!batch.is_full());
        put(&mut batch, b"two");
        assert!(!batch.is_full());
        put(&mut batch, b"two");
        assert!(batch.is_full());
        assert_eq!(batch.finish(), 7);
        assert_eq!(heads, b"beforefourtwotwo");
    }

    #[test]
    fn it_is_full_after_a_message_that_is_referenced() {
        let (mut heads, mut pieces) = (Vec::new(), Pieces::new());
        let mut batch = Batch::new(Gather::new(&mut heads, &mut pieces), 100 * PIECE_MIN);
        put(&mut batch, b"one");
        let written: Result<(), ()> = batch.add(|out| {
            out.append(Bytes::from_static(&[7; PIECE_MIN]));
            Ok(())
        });
        assert_eq!(written, Ok(()));
        assert!(batch.is_full());
        assert_eq!(batch.finish(), 3);
    }

    #[test]
    fn half_a_message_is_taken_back() {
        let (mut heads, mut pieces) = (Vec::new(), Pieces::new());
        let mut batch = Batch::new(Gather::new(&mut heads, &mut pieces), 100);
        put(&mut batch, b"one");
        let failed = batch.add(|out| {
            out.heads().extend_from_slice(b"hal");
            out.append(Bytes::from_static(&[7; PIECE_MIN]));
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        put(&mut batch, b"two");
        // What a panic would have left.
        batch.out.heads().extend_from_slice(b"hal");
        assert_eq!(batch.finish(), 3);
        assert_eq!((&heads[..], pieces.count()), (&b"onetwo"[..], 0));
    }
}
