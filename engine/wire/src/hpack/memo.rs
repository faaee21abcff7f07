//! Paths that a client repeats as literals: remembered by their octets, so that each is decoded once.
//!
//! h2 and nghttp2 never index `:path` and Huffman-code it in every request: decoding it and looking at its characters was
//! a tenth of a small call. The octets of a literal with a static name mean the same whatever the dynamic table holds, and
//! say themselves how long they are, so a comparison of all of them is enough.
//!
//! Bounded: [`MEMOS_MAX`] paths of at most [`RAW_MAX`] octets for a connection; a client that changes its path in every
//! call only pays for the copies.

use crate::field::{Entry, FieldList};
use alloc::vec::Vec;

/// Paths remembered for a connection: most clients call few methods.
const MEMOS_MAX: usize = 4;
/// The longest representation that is remembered.
const RAW_MAX: usize = 128;
/// A literal that is not indexed, with the name of the static table's entries 4 and 5, `:path` (RFC 7541, 6.2.2).
const PATHS: core::ops::RangeInclusive<u8> = 0x04..=0x05;

#[derive(Debug)]
struct Memo {
    /// The representation as it came.
    raw: Vec<u8>,
    entry: Entry,
    stored: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memos {
    memos: Vec<Memo>,
    /// The one to be replaced next.
    oldest: usize,
}

impl Memos {
    /// What the literal at the front of `rest` was decoded to, and what follows it.
    #[inline]
    pub(super) fn find<'r>(&self, rest: &'r [u8]) -> Option<(&'r [u8], &Entry, &[u8])> {
        self.memos.iter().find_map(|memo| {
            let tail = rest.strip_prefix(&memo.raw[..])?;
            Some((tail, &memo.entry, &memo.stored[..]))
        })
    }

    /// Remembers the literal `raw`, which has just become the last field of `list`, if it is a path.
    pub(super) fn note(&mut self, raw: &[u8], list: &FieldList) {
        let is_path = raw.first().is_some_and(|first| PATHS.contains(first));
        let Some((entry, stored)) = list.last_stored().filter(|_| is_path && raw.len() <= RAW_MAX) else {
            return;
        };
        if self.memos.len() < MEMOS_MAX {
            return self.memos.push(Memo { raw: raw.to_vec(), entry, stored: stored.to_vec() });
        }
        let memo = &mut self.memos[self.oldest];
        self.oldest = (self.oldest + 1) % MEMOS_MAX;
        memo.raw.clear();
        memo.raw.extend_from_slice(raw);
        memo.entry = entry;
        memo.stored.clear();
        memo.stored.extend_from_slice(stored);
    }

    /// Octets of storage.
    pub(super) fn capacity_bytes(&self) -> usize {
        self.memos.iter().map(|memo| memo.raw.capacity() + memo.stored.capacity() + size_of::<Memo>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::{Decoder, ListLimits, Outcome};
    use alloc::format;

    const LIMITS: ListLimits = ListLimits { size_max: 16 * 1024, fields_max: 100 };

    /// A literal `:path` without indexing or Huffman code.
    fn path(text: &str) -> Vec<u8> {
        [&[0x04, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }

    #[test]
    fn repeated_paths_are_the_same_and_others_are_not_taken_for_them() {
        let mut decoder = Decoder::new(4096);
        for round in 0..3 {
            for text in ["/a", "/a/b", "/", "/a", "/\u{1}", "/long/and/longer"] {
                let mut list = FieldList::new();
                let block = [path(text), [&[0x00, 1, b'x', 1], &b"y"[..]].concat()].concat();
                assert_eq!(decoder.decode(&block, LIMITS, &mut list), Ok(Outcome::Complete));
                assert_eq!(list.get(b":path"), Some(text.as_bytes()), "round {round}");
                assert_eq!((list.len(), list.get(b"x")), (2, Some(&b"y"[..])));
                assert_eq!(list.is_malformed(), text == "/\u{1}", "what was found of a value stays with it");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_counts_for_the_limits() {
        let mut decoder = Decoder::new(4096);
        for number in 0..1_000 {
            let mut list = FieldList::new();
            let block = path(&format!("/{number}/{}", "x".repeat(100)));
            assert_eq!(decoder.decode(&block, LIMITS, &mut list), Ok(Outcome::Complete));
        }
        assert!(decoder.capacity_bytes() < 12 * 1024, "{}", decoder.capacity_bytes());
        let block = path(&format!("/999/{}", "x".repeat(100)));
        let small = ListLimits { size_max: 60, fields_max: 100 };
        let mut list = FieldList::new();
        assert_eq!(decoder.decode(&block, small, &mut list), Ok(Outcome::TooLarge));
        assert!(list.is_empty());
    }
}
