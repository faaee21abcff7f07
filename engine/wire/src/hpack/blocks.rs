//! Whole header blocks that come again, kept with what they were decoded to.
//!
//! A block means the same for as long as the table is the same, or has changed in a way that its [`Shape`] follows. Heads and trailers
//! of gRPC's calls come again and again, and are few: to compare one is a fraction of decoding it, and what was found out about its
//! list before, a [`BlockMap`] remembers.
//!
//! Bounded: [`BLOCKS_MAX`] blocks of at most [`BLOCK_LEN_MAX`] octets, with lists of at most [`LIST_SIZE_MAX`], for a connection; a
//! peer that changes something else in each block pays for a look at them, and now and then for a copy.
//!
//! Invariant: what is kept was decoded whole and within the limits, and put nothing but a timeout into the table.

use alloc::sync::Arc;
use alloc::vec::Vec;

use core::num::NonZeroU32;
use core::time::Duration;

use super::ListLimits;
use super::dynamic_table::DynamicTable;
use super::shape::{Difference, Shape};
use crate::field::{FieldList, Name};

/// Blocks that are kept: a few methods' heads, or a head and trailers.
const BLOCKS_MAX: usize = 8;
/// The longest block that is kept.
const BLOCK_LEN_MAX: usize = 256;
/// The largest list that is kept (sizes are those of RFC 9113, section 6.5.2): each octet of a block may stand for the whole table.
const LIST_SIZE_MAX: usize = 2_048;
/// Of so many blocks that find no room, one replaces another.
const REPLACE_EVERY: u32 = 32;
/// As many changes as no table sees.
const NO_TABLE: u64 = u64::MAX;

/// A header block that has come before and means the same still, but perhaps for its [`timeout`](Self::timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBlock {
    /// Where it is kept.
    place: u8,
    /// Which of all those that its connection has kept.
    number: NonZeroU32,
    timeout: Option<Duration>,
}

impl KnownBlock {
    /// The value of its `grpc-timeout`, if that may differ from one time to the next. All else is the same each time.
    #[inline]
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
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
    refused: u32,
    /// The table's changes for which none was found that means nothing any more.
    searched: u64,
    /// Where a timeout is decoded to.
    scratch: Vec<u8>,
    /// Storage of a shape that came to nothing.
    moving: Vec<u8>,
}

#[derive(Debug)]
struct Block {
    raw: Vec<u8>,
    /// Metadata may share them.
    fields: Arc<FieldList>,
    /// Calls still had them when they had to change: calls have copies from then on, in lists that are used again.
    copied: bool,
    number: NonZeroU32,
    /// The table before the block.
    before: TableState,
    /// The table's changes for which an equal block has just the same fields, or [`NO_TABLE`]: the timeout of one that has one is
    /// that of the last block that was like it.
    equal_for: u64,
    /// How it may differ.
    shape: Option<Shape>,
}

/// Which table a block was decoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableState {
    changes: u64,
    inserted: u64,
}

impl TableState {
    #[inline]
    pub(super) fn of(table: &DynamicTable) -> TableState {
        TableState { changes: table.changes(), inserted: table.inserted() }
    }

    /// This, after one more insertion.
    fn after_one(self) -> TableState {
        TableState { changes: self.changes + 1, inserted: self.inserted + 1 }
    }
}

impl Block {
    /// How it may differ by now, and how far its indices have moved.
    fn moved(&self, inserted: u64) -> Option<(&Shape, u8)> {
        let shape = self.shape.as_ref()?;
        Some((shape, shape.moved(inserted - self.before.inserted)?))
    }

    /// The fields, to change them.
    fn own_fields(&mut self) -> &mut FieldList {
        self.copied |= Arc::get_mut(&mut self.fields).is_none();
        Arc::make_mut(&mut self.fields)
    }
}

impl Blocks {
    /// The block that is as `raw`, if its list keeps within the limits. If it has a timeout that enters the table, it has done so
    /// afterwards.
    #[inline]
    pub(super) fn find(
        &mut self,
        raw: &[u8],
        table: &mut DynamicTable,
        limits: ListLimits,
    ) -> Option<KnownBlock> {
        let changes = table.changes();
        let known =
            (0_u8..).zip(&self.kept).find(|(_, block)| block.equal_for == changes && block.raw == raw);
        let Some((place, block)) = known else { return self.find_like(raw, table, limits) };
        let fits = limits.hold(block.fields.len(), block.fields.size());
        fits.then_some(KnownBlock { place, number: block.number, timeout: None })
    }

    /// The block that differs from `raw` only as its shape allows.
    #[inline(never)]
    fn find_like(&mut self, raw: &[u8], table: &mut DynamicTable, limits: ListLimits) -> Option<KnownBlock> {
        let Blocks { kept, scratch, .. } = self;
        let changes = table.changes();
        // What may only be equal was compared before.
        for (place, block) in (0_u8..).zip(kept).filter(|(_, block)| block.equal_for != changes) {
            let Some((shape, moved)) = block.moved(table.inserted()) else { continue };
            let Some(difference) = shape.compare(&block.raw, raw, moved, table, scratch) else { continue };
            let size = match &difference {
                Difference::Moved => block.fields.size(),
                Difference::Timeout(replaced) => replaced.size_of(&block.fields),
            };
            if !limits.hold(block.fields.len(), size) {
                return None;
            }
            let mut timeout = None;
            if let Difference::Timeout(replaced) = difference {
                replaced.apply(block.own_fields(), table);
                timeout = Some(replaced.timeout);
            }
            return Some(KnownBlock { place, number: block.number, timeout });
        }
        None
    }

    /// What a block means that was found just before.
    #[inline]
    pub(super) fn fields(&self, block: KnownBlock) -> &FieldList {
        &self.kept[usize::from(block.place)].fields
    }

    /// The same, to be shared, unless that has not paid.
    #[inline]
    pub(super) fn shared_fields(&self, block: KnownBlock) -> Option<Arc<FieldList>> {
        let block = &self.kept[usize::from(block.place)];
        (!block.copied).then(|| block.fields.clone())
    }

    /// Keeps what `raw` was decoded to, with the table from `before` to `after`; [`find`](Self::find) has not found it just then.
    pub(super) fn keep(&mut self, raw: &[u8], fields: &FieldList, before: TableState, after: TableState) {
        if raw.len() > BLOCK_LEN_MAX || fields.size() > LIST_SIZE_MAX {
            return;
        }
        let inserts = after != before;
        let may_insert = || after == before.after_one() && fields.get_known(Name::GrpcTimeout).is_some();
        if inserts && !may_insert() {
            return;
        }
        let Some(place) = self.place(after) else { return };
        let shape = Shape::of(raw, fields, &mut self.moving);
        let has_timeout = shape.as_ref().is_some_and(Shape::has_timeout);
        let equal_for = if has_timeout { NO_TABLE } else { before.changes };
        // One that inserts has to be read as one, whatever it inserts.
        if inserts && !has_timeout {
            return;
        }
        let Some(number) = self.next_number() else { return };
        if place == self.kept.len() {
            let (raw, fields) = (raw.to_vec(), Arc::new(fields.clone()));
            return self.kept.push(Block { raw, fields, copied: false, number, before, equal_for, shape });
        }
        let block = &mut self.kept[place];
        (block.copied, block.number, block.before) = (false, number, before);
        (block.equal_for, block.shape) = (equal_for, shape);
        block.raw.clear();
        block.raw.extend_from_slice(raw);
        match Arc::get_mut(&mut block.fields) {
            Some(own) => own.copy_from(fields),
            // A call still has the ones before.
            None => block.fields = Arc::new(fields.clone()),
        }
    }

    /// Where another block may be kept: where none is, or one that means nothing any more; or now and then in place of another.
    fn place(&mut self, now: TableState) -> Option<usize> {
        if self.kept.len() < BLOCKS_MAX {
            return Some(self.kept.len());
        }
        if now.changes != self.searched {
            let is_stale =
                |block: &Block| block.moved(now.inserted).is_none() && block.equal_for != now.changes;
            if let Some(stale) = self.kept.iter().position(is_stale) {
                return Some(stale);
            }
            self.searched = now.changes;
        }
        self.refused = self.refused.wrapping_add(1);
        let is_due = self.refused.is_multiple_of(REPLACE_EVERY);
        is_due.then_some((self.refused / REPLACE_EVERY) as usize % BLOCKS_MAX)
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
        *self = Blocks::numbered_from(self.numbered);
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        // A shape is as long as its block.
        let held = |block: &Block| 2 * block.raw.capacity() + block.fields.capacity_bytes();
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

    fn find(blocks: &mut Blocks, raw: &[u8], table: &mut DynamicTable) -> Option<KnownBlock> {
        blocks.find(raw, table, LIMITS)
    }

    fn keep(blocks: &mut Blocks, raw: &[u8], fields: &FieldList, table: &DynamicTable) {
        blocks.keep(raw, fields, TableState::of(table), TableState::of(table));
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
        let limits = ListLimits { size_max: 1 << 20, fields_max: BLOCK_LEN_MAX };
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
        let mut table = DynamicTable::new(4096);
        found.insert(None, 'n');
        assert_eq!(found.get(None), None);
        keep(&mut blocks, b"good", &list, &table);
        keep(&mut blocks, b"bad", &list, &table);
        let good = find(&mut blocks, b"good", &mut table);
        assert!(good.is_some() && found.get(good).is_none());
        found.insert(good, 'g');
        assert_eq!(found.get(good), Some(&'g'));
        assert_eq!(found.get(find(&mut blocks, b"bad", &mut table)), None);
        // The table has changed: what comes to the same place is another.
        table.resize(4096);
        assert_eq!(find(&mut blocks, b"good", &mut table), None);
        keep(&mut blocks, b"good", &list, &table);
        assert_eq!(found.get(find(&mut blocks, b"good", &mut table)), None);
        // So is what takes the place of another.
        for n in 0..1_000_u32 {
            found.insert(find(&mut blocks, b"good", &mut table), 'g');
            keep(&mut blocks, &n.to_be_bytes(), &list, &table);
            let block = find(&mut blocks, &n.to_be_bytes(), &mut table);
            assert_eq!(found.get(block), None, "{n} is taken for another");
        }
    }

    #[test]
    fn numbers_do_not_come_again() {
        let mut table = DynamicTable::new(4096);
        let mut blocks = Blocks { numbered: u32::MAX - 1, ..Blocks::default() };
        let list = FieldList::from_iter([("x", "1")]);
        keep(&mut blocks, b"last", &list, &table);
        keep(&mut blocks, b"none", &list, &table);
        assert!(find(&mut blocks, b"last", &mut table).is_some());
        assert_eq!(find(&mut blocks, b"none", &mut table), None);
    }

    #[test]
    fn they_are_few_and_short() {
        let list = |size: usize| FieldList::from_iter([("x", "v".repeat(size - 33))]);
        let (mut blocks, table) = (Blocks::default(), DynamicTable::new(4096));
        keep(&mut blocks, &[0; BLOCK_LEN_MAX + 1], &list(40), &table);
        keep(&mut blocks, b"long", &list(LIST_SIZE_MAX + 1), &table);
        assert!(blocks.kept.is_empty());
        for n in 0..1_000_u32 {
            keep(&mut blocks, &n.to_be_bytes(), &list(LIST_SIZE_MAX), &table);
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
