//! Whole header blocks that come again, kept with what they were decoded to.
//!
//! A block that changes no table means the same for as long as no other block has changed it either. Heads and trailers of gRPC's
//! calls are such blocks once the tables have settled, and few: to compare one is a fraction of decoding it, and what was found out
//! about its list before, a [`BlockMap`] remembers.
//!
//! Bounded: [`BLOCKS_MAX`] blocks of at most [`BLOCK_LEN_MAX`] octets, with lists of at most [`LIST_SIZE_MAX`], for a connection; a
//! peer that changes something in each block pays for a look at their lengths, and now and then for a copy.
//!
//! Invariant: what is kept was decoded with the table as it is now, whole and within the limits, and changed nothing.

use alloc::sync::Arc;
use alloc::vec::Vec;

use core::num::NonZeroU32;

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

/// A header block that has come before, byte for byte, and means the same still. Two of one connection that are equal have equal
/// fields; of others it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBlock {
    /// Where it is kept.
    place: u8,
    /// Which of all those that its connection has kept.
    number: NonZeroU32,
}

/// What was found out about blocks of one connection, so that it need not be found out again.
///
/// Forgets a block when another is added that has taken its place. Holds no memory until something is added.
#[derive(Debug)]
pub struct BlockMap<T> {
    /// By the block's place; whose finding it is, and the finding.
    found: Vec<Option<(NonZeroU32, T)>>,
}

impl<T> Default for BlockMap<T> {
    fn default() -> BlockMap<T> {
        BlockMap { found: Vec::new() }
    }
}

impl<T> BlockMap<T> {
    /// What was added of `block`, if it is one that is known.
    #[inline]
    #[must_use]
    pub fn get(&self, block: Option<KnownBlock>) -> Option<&T> {
        let block = block?;
        match self.found.get(usize::from(block.place)) {
            Some(Some((number, found))) if *number == block.number => Some(found),
            _ => None,
        }
    }

    /// Adds what was found out about `block`, if it is one that is known.
    pub fn insert(&mut self, block: Option<KnownBlock>, finding: T) {
        let Some(block) = block else { return };
        if self.found.is_empty() {
            self.found.resize_with(BLOCKS_MAX, || None);
        }
        if let Some(place) = self.found.get_mut(usize::from(block.place)) {
            *place = Some((block.number, finding));
        }
    }

    /// Forgets all, and gives the memory back.
    pub fn shrink(&mut self) {
        self.found = Vec::new();
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    kept: Vec<Block>,
    /// The number that was given last.
    numbered: u32,
    /// The state of the table that they are good for.
    changes: u64,
    refused: u32,
}

#[derive(Debug)]
struct Block {
    raw: Vec<u8>,
    /// Metadata may share them.
    fields: Arc<FieldList>,
    number: NonZeroU32,
}

impl Blocks {
    /// The block that is as `raw`, if its list keeps within the limits.
    #[inline]
    pub(super) fn find(&mut self, raw: &[u8], changes: u64, limits: ListLimits) -> Option<KnownBlock> {
        if changes != self.changes {
            self.kept.clear();
            self.changes = changes;
        }
        let (place, block) = (0_u8..).zip(&self.kept).find(|(_, block)| block.raw == raw)?;
        let fits = block.fields.len() <= limits.fields_max && block.fields.size() <= limits.size_max;
        fits.then_some(KnownBlock { place, number: block.number })
    }

    /// What a block means that was found just before.
    #[inline]
    pub(super) fn fields(&self, block: KnownBlock) -> &Arc<FieldList> {
        &self.kept[usize::from(block.place)].fields
    }

    /// Keeps what `raw` was decoded to; [`find`](Self::find) has not found it just before.
    pub(super) fn keep(&mut self, raw: &[u8], fields: &FieldList) {
        if raw.len() > BLOCK_LEN_MAX || fields.size() > LIST_SIZE_MAX {
            return;
        }
        if self.kept.len() < BLOCKS_MAX {
            let Some(number) = self.next_number() else { return };
            return self.kept.push(Block { raw: raw.to_vec(), fields: Arc::new(fields.clone()), number });
        }
        self.refused = self.refused.wrapping_add(1);
        if self.refused.is_multiple_of(REPLACE_EVERY) {
            let Some(number) = self.next_number() else { return };
            let block = &mut self.kept[(self.refused / REPLACE_EVERY) as usize % BLOCKS_MAX];
            block.number = number;
            block.raw.clear();
            block.raw.extend_from_slice(raw);
            match Arc::get_mut(&mut block.fields) {
                Some(own) => own.copy_from(fields),
                // A call still has the ones before.
                None => block.fields = Arc::new(fields.clone()),
            }
        }
    }

    /// A number that no block of this connection has had. There is none after 2^32 of them, and nothing is kept any more: a peer that
    /// waits for a number to come again could have a block taken for one that was found good.
    fn next_number(&mut self) -> Option<NonZeroU32> {
        self.numbered = self.numbered.checked_add(1)?;
        NonZeroU32::new(self.numbered)
    }

    /// None yet, with the numbers that follow `numbered`.
    pub(super) fn numbered_from(numbered: u32) -> Blocks {
        Blocks { numbered, ..Blocks::default() }
    }

    /// The number that was given last.
    pub(super) fn numbered(&self) -> u32 {
        self.numbered
    }

    /// Forgets all, and gives the memory back.
    pub(super) fn shrink(&mut self) {
        self.kept = Vec::new();
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
    fn what_was_found_out_holds_for_the_same_block_only() {
        let mut blocks = Blocks::default();
        let mut found = BlockMap::default();
        let list = FieldList::from_iter([("x", "1")]);
        let find = |blocks: &mut Blocks, raw: &[u8], changes| blocks.find(raw, changes, LIMITS);
        found.insert(None, 'n');
        assert_eq!(found.get(None), None);
        blocks.keep(b"good", &list);
        blocks.keep(b"bad", &list);
        let good = find(&mut blocks, b"good", 0);
        assert!(good.is_some() && found.get(good).is_none());
        found.insert(good, 'g');
        assert_eq!(found.get(good), Some(&'g'));
        assert_eq!(found.get(find(&mut blocks, b"bad", 0)), None);
        // The table has changed: what comes to the same place is another.
        assert_eq!(find(&mut blocks, b"good", 1), None);
        blocks.keep(b"good", &list);
        assert_eq!(found.get(find(&mut blocks, b"good", 1)), None);
        // So is what takes the place of another.
        for n in 0..1_000_u32 {
            found.insert(find(&mut blocks, b"good", 1), 'g');
            blocks.keep(&n.to_be_bytes(), &list);
            let block = find(&mut blocks, &n.to_be_bytes(), 1);
            assert_eq!(found.get(block), None, "{n} is taken for another");
        }
    }

    #[test]
    fn numbers_do_not_come_again() {
        let mut blocks = Blocks { numbered: u32::MAX - 1, ..Blocks::default() };
        let list = FieldList::from_iter([("x", "1")]);
        blocks.keep(b"last", &list);
        blocks.keep(b"none", &list);
        assert!(blocks.find(b"last", 0, LIMITS).is_some());
        assert_eq!(blocks.find(b"none", 0, LIMITS), None);
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
