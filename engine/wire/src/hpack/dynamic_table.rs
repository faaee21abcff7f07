//! The dynamic table (RFC 7541, sections 2.3.2 and 4): first in, first out, bounded by its size.
//!
//! The stored bytes of all fields lie in one arena in the order of their insertion; a queue of entries says where. New
//! bytes go to the arena's end, eviction only moves the start of the live part, and an insertion that finds more dead bytes
//! than live ones moves the live part to the front. Each byte is so moved less than once for each byte inserted, no entry
//! is an allocation, and a table that was full once allocates no more. A ring of bytes would need no moving, but each
//! field that wraps around its end would be two copies, which every reader would have to know.
//!
//! Invariant: the sizes of the entries sum to `size`, which is at most `size_max`; the arena is at most twice the live
//! bytes and [`DEAD_BYTES_MIN`] more.

use super::static_table;
use super::{DYNAMIC_FIRST, TABLE_SIZE_DEFAULT};
use crate::field::{Entry, Field, Name};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Fewer dead bytes than these are not worth a move.
const DEAD_BYTES_MIN: usize = 256;

/// One field of a table: what is known of it, and the bytes that a field list stores of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) entry: Entry,
    pub(super) stored: &'a [u8],
}

impl<'a> Row<'a> {
    pub(super) fn field(&self) -> Field<'a> {
        self.entry.field(self.stored)
    }
}

#[derive(Debug)]
pub(super) struct DynamicTable {
    /// Newest last, as the bytes are.
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// The position of the arena's first byte. Positions count the stored bytes since the table was made, wrapping: an
    /// entry's `start` is one, so moving the live part to the front changes no entry.
    origin: u32,
    size: usize,
    size_max: usize,
    /// How often it may have become another one.
    changes: u64,
    /// Fields that have entered it.
    inserted: u64,
}

impl DynamicTable {
    pub(super) fn new(size_max: u32) -> DynamicTable {
        let size_max = to_usize(size_max);
        let (entries, bytes) = (VecDeque::new(), Vec::new());
        DynamicTable { entries, bytes, origin: 0, size: 0, size_max, changes: 0, inserted: 0 }
    }

    /// The table in as little memory as it needs: nothing while it is empty and of the size that it has at first.
    pub(super) fn fold(mut self) -> Option<Box<DynamicTable>> {
        if self.entries.is_empty() && self.size_max == to_usize(TABLE_SIZE_DEFAULT) {
            return None;
        }
        self.entries.shrink_to_fit();
        self.bytes.shrink_to_fit();
        Some(Box::new(self))
    }

    /// What was folded. How often it has changed is not remembered: whoever asks has forgotten what it kept.
    pub(super) fn unfold(folded: Option<Box<DynamicTable>>) -> DynamicTable {
        folded.map_or_else(|| DynamicTable::new(TABLE_SIZE_DEFAULT), |table| *table)
    }

    /// The sum of the entries' sizes (RFC 7541, section 4.1).
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    /// The bytes of heap that the table holds.
    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The field of an index, static or dynamic (RFC 7541, section 2.3.3).
    #[inline]
    pub(super) fn row(&self, index: usize) -> Option<Row<'_>> {
        if let Some(row) = static_table::TABLE.get(index.wrapping_sub(1)) {
            return Some(*row);
        }
        let age = index.checked_sub(DYNAMIC_FIRST)?;
        let position = self.entries.len().checked_sub(age + 1)?;
        Some(self.resolve(self.entries[position]))
    }

    /// The dynamic fields of a name with their indices, oldest first.
    pub(super) fn rows_of(&self, known: Name) -> impl Iterator<Item = (usize, Row<'_>)> {
        let last = DYNAMIC_FIRST + self.entries.len();
        let named = self.entries.iter().enumerate().filter(move |(_, entry)| entry.known == known);
        named.map(move |(position, &entry)| (last - 1 - position, self.resolve(entry)))
    }

    /// The names in the table, a bit for each name's number.
    pub(super) fn names(&self) -> u32 {
        self.entries.iter().fold(0, |names, entry| names | 1 << entry.known.number())
    }

    /// Can a field of this size be inserted without an eviction?
    pub(super) fn has_room(&self, size: usize) -> bool {
        size <= self.size_max - self.size
    }

    /// Inserts a field, evicting what stands in its way. One that is larger than the table empties it (RFC 7541,
    /// section 4.4). `name` and `value` are the bytes that the entry stores.
    pub(super) fn insert(&mut self, entry: &Entry, name: &[u8], value: &[u8]) {
        debug_assert_eq!(entry.stored(), name.len() + value.len());
        self.changes += 1;
        let Some(room) = self.size_max.checked_sub(entry.size()) else {
            self.evict_to(0);
            return;
        };
        self.evict_to(room);
        self.compact();
        let start = self.origin.wrapping_add(to_u32(self.bytes.len()));
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_back(Entry { start, ..*entry });
        self.size += entry.size();
        self.inserted += 1;
        self.check_invariants();
    }

    /// Changes the bound, evicting what is beyond it (RFC 7541, section 4.3).
    pub(super) fn resize(&mut self, size_max: u32) {
        self.changes += 1;
        self.size_max = to_usize(size_max);
        self.evict_to(self.size_max);
        self.check_invariants();
    }

    /// A number that is another one whenever the table is.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Fields that have entered it so far: a field's index grows by one whenever this does, for as long as it is there.
    #[inline]
    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// How many fields it holds.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many fields it would hold with one of this size inserted; `None` if none of this size can be.
    pub(super) fn len_with(&self, size: usize) -> Option<usize> {
        let room = self.size_max.checked_sub(size)?;
        let mut left = self.size;
        let evicted = self.entries.iter().take_while(|oldest| {
            let is_in_the_way = left > room;
            left -= oldest.size();
            is_in_the_way
        });
        Some(self.entries.len() - evicted.count() + 1)
    }

    fn resolve(&self, entry: Entry) -> Row<'_> {
        let start = to_usize(entry.start.wrapping_sub(self.origin));
        Row { entry, stored: &self.bytes[start..start + entry.stored()] }
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let oldest = self.entries.pop_front().expect("a table that has a size has an entry");
            self.size -= oldest.size();
        }
    }

    /// Drops the dead bytes in front of the oldest entry if they are more than what lives behind them.
    fn compact(&mut self) {
        let end = self.bytes.len();
        let dead =
            self.entries.front().map_or(end, |oldest| to_usize(oldest.start.wrapping_sub(self.origin)));
        let live = end - dead;
        if dead == end || dead > live.max(DEAD_BYTES_MIN) {
            self.bytes.copy_within(dead.., 0);
            self.bytes.truncate(live);
            self.origin = self.origin.wrapping_add(to_u32(dead));
        }
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            assert_eq!(self.entries.iter().map(Entry::size).sum::<usize>(), self.size);
            assert!(self.size <= self.size_max);
            if let (Some(oldest), Some(newest)) = (self.entries.front(), self.entries.back()) {
                let position = |entry: &Entry| to_usize(entry.start.wrapping_sub(self.origin));
                assert_eq!(position(newest) + newest.stored(), self.bytes.len());
                let live = self.bytes.len() - position(oldest);
                assert_eq!(live, self.entries.iter().map(Entry::stored).sum::<usize>());
            }
        }
    }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).expect("a usize has 32 bits at least")
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("the arena is a few times the table's size at most, and that is 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Marks;
    use proptest::prelude::*;

    fn entry(name: &[u8], value: &[u8]) -> Entry {
        let (known, marks) = (Name::of(name), Marks::NONE);
        Entry { start: 0, name_len: to_u32(name.len()), value_len: to_u32(value.len()), known, marks }
    }

    fn insert(table: &mut DynamicTable, name: &[u8], value: &[u8]) {
        let entry = entry(name, value);
        table.insert(&entry, if entry.known.is_known() { b"" } else { name }, value);
    }

    fn fields(table: &DynamicTable) -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..table.len())
            .map(|age| table.row(DYNAMIC_FIRST + age).unwrap().field())
            .map(|field| (field.name.to_vec(), field.value.to_vec()))
            .collect()
    }

    #[test]
    fn indices_count_from_the_static_table_to_the_oldest_entry() {
        let mut table = DynamicTable::new(4096);
        insert(&mut table, b"x-a", b"1");
        insert(&mut table, b"te", b"trailers");
        let name = |index| table.row(index).map(|row| row.field().name);
        assert_eq!(name(0), None);
        assert_eq!(name(1), Some(&b":authority"[..]));
        assert_eq!(name(61), Some(&b"www-authenticate"[..]));
        assert_eq!(name(62), Some(&b"te"[..]));
        assert_eq!(name(63), Some(&b"x-a"[..]));
        assert_eq!(name(64), None);
        assert_eq!(name(usize::MAX), None);
        insert(&mut table, b"te", b"");
        let rows =
            |known| table.rows_of(known).map(|(index, row)| (index, row.field().value)).collect::<Vec<_>>();
        assert_eq!(rows(Name::Te), [(63, &b"trailers"[..]), (62, b"")]);
        assert_eq!(rows(Name::Other), [(64, &b"1"[..])]);
        assert_eq!(rows(Name::Path), []);
        assert_eq!(table.names(), 1 << Name::Te.number() | 1 << Name::Other.number());
        assert_eq!(table.size(), 3 + 1 + 2 + 8 + 2 + 3 * 32);
    }

    /// The first octets of the names, newest first.
    fn names(table: &DynamicTable) -> Vec<u8> {
        fields(table).iter().map(|(name, _)| name[0]).collect()
    }

    #[test]
    fn the_oldest_goes_first_and_a_field_too_large_empties_the_table() {
        let mut table = DynamicTable::new(3 * 34);
        for name in [b"a", b"b", b"c", b"d"] {
            insert(&mut table, name, b"1");
        }
        assert_eq!(names(&table), b"dcb");
        assert!(!table.has_room(33));
        table.resize(2 * 34 + 33);
        assert_eq!(names(&table), b"dc");
        assert!(table.has_room(33));
        assert!(!table.has_room(34));
        insert(&mut table, b"large", &[b'v'; 100]);
        assert_eq!((table.len(), table.size()), (0, 0));
        insert(&mut table, b"e", b"1");
        assert_eq!(table.len(), 1);
        table.resize(0);
        assert_eq!((table.len(), table.names()), (0, 0));
        insert(&mut table, b"", b"");
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_table_that_was_full_allocates_no_more() {
        let mut table = DynamicTable::new(4096);
        let value = [b'v'; 300];
        for round in 0..1_000_usize {
            insert(&mut table, b"x-name", &value[..round % 300]);
        }
        let capacity = table.capacity_bytes();
        assert!(capacity <= 4 * 4096, "{capacity}");
        for round in 0..10_000_usize {
            insert(&mut table, b"x-name", &value[..round * 7 % 300]);
        }
        assert_eq!(table.capacity_bytes(), capacity);
    }

    #[test]
    fn positions_may_wrap() {
        let mut table = DynamicTable::new(200);
        table.origin = u32::MAX - 20;
        for round in 0..20_u8 {
            insert(&mut table, b"x", &[b'a' + round; 30]);
            assert_eq!(table.row(DYNAMIC_FIRST).unwrap().field().value, [b'a' + round; 30]);
        }
        assert_eq!(table.len(), 3);
        assert!(table.origin < 1_000, "it has wrapped");
    }

    proptest! {
        /// A list of pairs, trimmed at its end, is the reference.
        #[test]
        fn it_is_a_queue_bounded_by_its_size(
            steps in prop::collection::vec(
                (0_u32..20, prop::sample::select(&["x-a", "te", ":path", ""][..]), 0_usize..200),
                1..120,
            )
        ) {
            let mut table = DynamicTable::new(700);
            let (mut model, mut bound) = (Vec::<(Vec<u8>, Vec<u8>)>::new(), 700);
            for (number, (choice, name, len)) in steps.into_iter().enumerate() {
                if choice == 0 {
                    bound = len * 5;
                    table.resize(to_u32(bound));
                } else {
                    let value: Vec<u8> = core::iter::repeat_n(u8::try_from(number % 251).unwrap(), len).collect();
                    insert(&mut table, name.as_bytes(), &value);
                    model.insert(0, (name.as_bytes().to_vec(), value));
                }
                let mut sum = 0;
                model.retain(|(name, value)| {
                    sum += name.len() + value.len() + 32;
                    sum <= bound
                });
                prop_assert_eq!(fields(&table), model.clone());
            }
        }
    }
}
