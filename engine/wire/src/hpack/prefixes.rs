//! What the indexed fields in front of a header block mean, kept for the blocks that begin in the same way.
//!
//! A client whose metadata differs from call to call puts what its calls have in common into the table, and what differs behind it:
//! the block is new each time, and all but its tail is known. Reading the nine fields of a gRPC request that are indexed took 1,300
//! instructions; to compare their octets and to copy the list takes 80 (2026-11).
//!
//! Bounded: [`PREFIXES_MAX`] for a connection, of at most [`RAW_MAX`] octets, with lists of at most [`LIST_SIZE_MAX`].
//!
//! Invariant: what is kept was decoded with the table as it is now, from the front of a block, whole and within the limits.

use alloc::vec::Vec;

use super::ListLimits;
use crate::field::FieldList;

/// Prefixes that are kept: those of a few methods.
const PREFIXES_MAX: usize = 4;
/// The shortest prefix that is worth it.
const RAW_MIN: usize = 3;
/// The longest one.
const RAW_MAX: usize = 64;
/// The largest list that is kept (RFC 9113, section 6.5.2): each octet may stand for the whole table.
const LIST_SIZE_MAX: usize = 2_048;

#[derive(Debug)]
struct Prefix {
    raw: Vec<u8>,
    fields: FieldList,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    kept: Vec<Prefix>,
    /// The one to be replaced next.
    oldest: usize,
    /// The state of the table that they are good for.
    changes: u64,
}

/// A place in the line of those that are kept, which a block may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The table was the same for the block before: what this one begins with may well come again.
    Open,
    /// It was not. A peer that changes it with each block would pay for what it can never use.
    Closed,
}

impl Prefixes {
    /// Whether a prefix may be kept now; forgets those that are good no more.
    #[inline]
    pub(super) fn admission(&mut self, changes: u64) -> Admission {
        if changes == self.changes {
            return Admission::Open;
        }
        self.kept.clear();
        self.changes = changes;
        Admission::Closed
    }

    /// The fields that the front of `block` means, if they keep within the limits, and what follows it.
    #[inline]
    pub(super) fn find<'b>(&self, block: &'b [u8], limits: ListLimits) -> Option<(&FieldList, &'b [u8])> {
        let (prefix, tail) = self.kept.iter().find_map(|prefix| {
            // More that is indexed may follow, and then another prefix is longer.
            let tail = block.strip_prefix(&prefix.raw[..])?;
            tail.first().is_none_or(|first| *first < 0x80).then_some((prefix, tail))
        })?;
        let fits = limits.hold(prefix.fields.len(), prefix.fields.size());
        fits.then_some((&prefix.fields, tail))
    }

    /// Keeps what `raw` was decoded to.
    pub(super) fn keep(&mut self, raw: &[u8], fields: &FieldList) {
        if !(RAW_MIN..=RAW_MAX).contains(&raw.len()) || fields.size() > LIST_SIZE_MAX {
            return;
        }
        if self.kept.len() < PREFIXES_MAX {
            return self.kept.push(Prefix { raw: raw.to_vec(), fields: fields.clone() });
        }
        let prefix = &mut self.kept[self.oldest];
        self.oldest = (self.oldest + 1) % PREFIXES_MAX;
        prefix.raw.clear();
        prefix.raw.extend_from_slice(raw);
        prefix.fields.copy_from(fields);
    }

    /// Forgets all, and gives the memory back.
    pub(super) fn shrink(&mut self) {
        self.kept = Vec::new();
        self.oldest = 0;
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        let held = |prefix: &Prefix| prefix.raw.capacity() + prefix.fields.capacity_bytes();
        self.kept.capacity() * size_of::<Prefix>() + self.kept.iter().map(held).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::hpack::{Decoder, Encoder, Outcome};

    const LIMITS: ListLimits = ListLimits { size_max: 4096, fields_max: 100 };

    fn decoded(decoder: &mut Decoder, block: &[u8], limits: ListLimits) -> (Outcome, FieldList) {
        let mut fields = FieldList::new();
        let outcome = decoder.decode(block, limits, &mut fields).unwrap();
        (outcome, fields)
    }

    /// `GET`, `http`, `/`, and a literal that no table gets.
    fn block(front: &[u8], value: &str) -> Vec<u8> {
        [front, &[0x00, 1, b'x', u8::try_from(value.len()).unwrap()], value.as_bytes()].concat()
    }

    #[test]
    fn what_follows_a_known_front_is_read_and_the_front_means_the_same() {
        let mut decoder = Decoder::new(4096);
        for round in 0..50 {
            let value = format!("{round}");
            // Fronts that begin with one another, more than are kept.
            let fronts: [&[u8]; 6] = [
                b"\x82",
                b"\x82\x86",
                b"\x82\x86\x84",
                b"\x82\x86\x84\x88",
                b"\x86\x84\x82",
                b"\x84\x86\x82",
            ];
            let front = fronts[round % 6];
            let (_, fields) = decoded(&mut decoder, &block(front, &value), LIMITS);
            assert_eq!((fields.len(), fields.get(b"x")), (front.len() + 1, Some(value.as_bytes())));
            let mut plain = FieldList::new();
            let mut fresh = Decoder::new(4096);
            assert_eq!(fresh.decode(&block(front, &value), LIMITS, &mut plain), Ok(Outcome::Complete));
            assert_eq!(fields, plain, "round {round}");
        }
    }

    #[test]
    fn a_front_means_another_once_the_table_has_changed() {
        let mut decoder = Decoder::new(4096);
        for number in 0..10 {
            // Index 62 is what was inserted last.
            let insert = [&b"\x40\x01y\x01"[..], &[b'0' + number]].concat();
            assert_eq!(decoded(&mut decoder, &insert, LIMITS).0, Outcome::Complete);
            for round in 0..4 {
                let (_, fields) = decoded(&mut decoder, &block(b"\xbe\x82\x86", &format!("{round}")), LIMITS);
                assert_eq!(fields.get(b"y"), Some(&[b'0' + number][..]));
            }
        }
    }

    #[test]
    fn limits_hold_for_a_front_that_is_known() {
        let mut decoder = Decoder::new(4096);
        for round in 0..3 {
            assert_eq!(
                decoded(&mut decoder, &block(b"\x82\x86\x84", &format!("{round}")), LIMITS).1.len(),
                4
            );
        }
        let (outcome, fields) =
            decoded(&mut decoder, &block(b"\x82\x86\x84", "9"), ListLimits { fields_max: 2, ..LIMITS });
        assert_eq!((outcome, fields.len()), (Outcome::TooLarge, 2));
        let (outcome, fields) =
            decoded(&mut decoder, &block(b"\x82\x86\x84", "9"), ListLimits { fields_max: 3, ..LIMITS });
        assert_eq!((outcome, fields.len()), (Outcome::TooLarge, 3));
    }

    #[test]
    fn they_are_few_and_short() {
        let list = |size: usize| FieldList::from_iter([("x", "v".repeat(size - 33))]);
        let mut prefixes = Prefixes::default();
        prefixes.keep(&[0x82; RAW_MIN - 1], &list(40));
        prefixes.keep(&[0x82; RAW_MAX + 1], &list(40));
        prefixes.keep(b"\x82\x82\x82", &list(LIST_SIZE_MAX + 1));
        assert!(prefixes.kept.is_empty());
        for number in 0..1_000_u32 {
            prefixes.keep(&number.to_be_bytes(), &list(LIST_SIZE_MAX));
        }
        assert_eq!(prefixes.kept.len(), PREFIXES_MAX);
        assert!(prefixes.capacity_bytes() < PREFIXES_MAX * (RAW_MAX + 2 * LIST_SIZE_MAX));
        assert_eq!(prefixes.admission(1), Admission::Closed);
        assert!(prefixes.kept.is_empty(), "they were good for another table");
        assert_eq!(prefixes.admission(1), Admission::Open);
    }

    #[test]
    fn whatever_the_fronts_lists_are_those_that_were_encoded() {
        let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
        for round in 0..2_000_u32 {
            let mut list = FieldList::new();
            list.push(b":method", b"POST");
            list.push(b":scheme", b"http");
            list.push(b":path", format!("/{}", round % 7).as_bytes());
            list.push(b"te", b"trailers");
            list.push(b"grpc-timeout", format!("{round}m").as_bytes());
            let mut block = Vec::new();
            encoder.encode(&list, &mut block);
            assert_eq!(decoded(&mut decoder, &block, LIMITS), (Outcome::Complete, list));
        }
        assert!(decoder.capacity_bytes() < 32 * 1024);
    }
}
