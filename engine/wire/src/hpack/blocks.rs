//! Whole header blocks that come again, kept with what they were decoded to.
//!
//! A block that changes no table means the same for as long as no other block has changed it either. Heads and trailers of gRPC's
//! calls are such blocks once the tables have settled, and few: to compare one and copy its list is a quarter of decoding it.
//!
//! Bounded: [`BLOCKS_MAX`] blocks of at most [`BLOCK_LEN_MAX`] octets, with lists of at most [`LIST_SIZE_MAX`], for a connection; a
//! peer that changes something in each block pays for a look at their lengths, and now and then for a copy.
//!
//! Invariant: what is kept was decoded with the table as it is now, whole and within the limits, and changed nothing.

use alloc::vec::Vec;

use super::ListLimits;
use crate::field::FieldList;

/// Blocks that are kept: a few methods' heads, or a head and trailers.
const BLOCKS_MAX: usize = 8;
/// The longest block that is kept.
const BLOCK_LEN_MAX: usize = 128;
/// The largest list that is kept (sizes are those of RFC 9113, section 6.5.2): each octet of a block may stand for the whole table.
const LIST_SIZE_MAX: usize = 2_048;
/// Of so many blocks that find no room, one replaces another.
const REPLACE_EVERY: u32 = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    kept: Vec<Block>,
    /// The state of the table that they are good for.
    changes: u64,
    refused: u32,
}

#[derive(Debug)]
struct Block {
    raw: Vec<u8>,
    fields: FieldList,
}

impl Blocks {
    /// What `raw` means, if it is known.
    #[inline]
    pub(super) fn find(&mut self, raw: &[u8], changes: u64, limits: ListLimits) -> Option<&FieldList> {
        if changes != self.changes {
            self.kept.clear();
            self.changes = changes;
        }
        let block = self.kept.iter().find(|block| block.raw == raw)?;
        let fits = block.fields.len() <= limits.fields_max && block.fields.size() <= limits.size_max;
        fits.then_some(&block.fields)
    }

    /// Keeps what `raw` was decoded to; [`find`](Self::find) has not found it just before.
    pub(super) fn keep(&mut self, raw: &[u8], fields: &FieldList) {
        if raw.len() > BLOCK_LEN_MAX || fields.size() > LIST_SIZE_MAX {
            return;
        }
        if self.kept.len() < BLOCKS_MAX {
            return self.kept.push(Block { raw: raw.to_vec(), fields: fields.clone() });
        }
        self.refused = self.refused.wrapping_add(1);
        if self.refused.is_multiple_of(REPLACE_EVERY) {
            let block = &mut self.kept[(self.refused / REPLACE_EVERY) as usize % BLOCKS_MAX];
            block.raw.clear();
            block.raw.extend_from_slice(raw);
            block.fields.copy_from(fields);
        }
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        let held = |block: &Block| block.raw.capacity() + block.fields.capacity_bytes();
        self.kept.capacity() * size_of::<Block>() + self.kept.iter().map(held).sum::<usize>()
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

    #[test]
    fn a_block_that_comes_again_means_the_same_until_the_table_changes() {
        let mut decoder = Decoder::new(4096);
        // "x: 1" enters the table; index 62 is that, until "x: 2" enters it too.
        assert_eq!(decoded(&mut decoder, b"\x40\x01x\x011", LIMITS).0, Outcome::Complete);
        for _ in 0..3 {
            let (_, fields) = decoded(&mut decoder, b"\xbe", LIMITS);
            assert_eq!(fields.get(b"x"), Some(&b"1"[..]));
        }
        assert_eq!(decoded(&mut decoder, b"\x40\x01x\x012", LIMITS).0, Outcome::Complete);
        for _ in 0..3 {
            let (_, fields) = decoded(&mut decoder, b"\xbe", LIMITS);
            assert_eq!(fields.get(b"x"), Some(&b"2"[..]));
        }
    }

    #[test]
    fn a_block_that_inserts_is_decoded_each_time() {
        let mut decoder = Decoder::new(4096);
        for n in 1..5 {
            assert_eq!(decoded(&mut decoder, b"\x40\x01x\x011", LIMITS).0, Outcome::Complete);
            assert_eq!(decoder.table_size(), 34 * n);
        }
    }

    #[test]
    fn a_size_update_is_obeyed_in_a_block_that_is_known() {
        let mut decoder = Decoder::new(4096);
        assert_eq!(decoded(&mut decoder, b"\x40\x01x\x011", LIMITS).0, Outcome::Complete);
        for _ in 0..2 {
            assert_eq!(decoded(&mut decoder, b"\x83", LIMITS).0, Outcome::Complete);
        }
        decoder.set_table_size_max(0);
        let mut fields = FieldList::new();
        assert!(decoder.decode(b"\x83", LIMITS, &mut fields).is_err(), "the size update is missing");
    }

    #[test]
    fn limits_hold_for_what_is_known() {
        let mut decoder = Decoder::new(4096);
        for _ in 0..2 {
            assert_eq!(decoded(&mut decoder, b"\x83\x84", LIMITS).0, Outcome::Complete);
        }
        let one = ListLimits { fields_max: 1, ..LIMITS };
        let (outcome, fields) = decoded(&mut decoder, b"\x83\x84", one);
        assert_eq!((outcome, fields.len()), (Outcome::TooLarge, 1));
    }

    /// A field of the table is one octet in a block, however long it is.
    #[test]
    fn a_short_block_of_a_long_list_is_not_kept() {
        let mut decoder = Decoder::new(4096);
        let limits = ListLimits { size_max: 1 << 20, fields_max: 200 };
        let insert = [&b"\x40\x01x\x7f\xb9\x16"[..], &[b'v'; 3_000]].concat();
        assert_eq!(decoded(&mut decoder, &insert, limits).0, Outcome::Complete);
        let before = decoder.capacity_bytes();
        for count in 1..=BLOCK_LEN_MAX {
            let (outcome, fields) = decoded(&mut decoder, &[0xbe; BLOCK_LEN_MAX][..count], limits);
            assert_eq!((outcome, fields.len()), (Outcome::Complete, count));
        }
        assert_eq!(decoder.capacity_bytes(), before);
    }

    #[test]
    fn they_are_few_and_short() {
        let list = |size: usize| FieldList::from_iter([("x", "v".repeat(size - 33))]);
        let mut blocks = Blocks::default();
        blocks.keep(&[0; BLOCK_LEN_MAX + 1], &list(40));
        blocks.keep(b"long", &list(LIST_SIZE_MAX + 1));
        assert!(blocks.kept.is_empty());
        for n in 0..1_000_u32 {
            blocks.keep(&n.to_be_bytes(), &list(LIST_SIZE_MAX));
        }
        assert_eq!(blocks.kept.len(), BLOCKS_MAX);
        assert!(blocks.capacity_bytes() < BLOCKS_MAX * (BLOCK_LEN_MAX + LIST_SIZE_MAX));
    }

    #[test]
    fn whatever_is_known_lists_are_those_that_were_encoded() {
        let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
        for round in 0..2_000_u32 {
            let mut list = FieldList::new();
            list.push(b":path", format!("/{}", round % 7).as_bytes());
            list.push(b"x-more", format!("{}", round % 13).as_bytes());
            let mut block = Vec::new();
            encoder.encode(&list, &mut block);
            assert_eq!(decoded(&mut decoder, &block, LIMITS), (Outcome::Complete, list));
        }
        assert!(decoder.capacity_bytes() < 32 * 1024);
    }
}
