//! From a block to fields (RFC 7541, sections 3 and 6).
//!
//! Strings are written straight to the arena of the list that the fields go to, where they are looked at once; what is
//! learned stays with the entry in the dynamic table. A field that comes by its index is a look-up and one copy.
//!
//! Does not: stop at a limit. The dynamic table belongs to the connection, not to the request: a list that is too large
//! is decoded to its end with nothing more stored, or else the next block would be read with a wrong table (CVE-2023-32731).
//!
//! Invariant: between two fields, the list's arena ends with its last field.

use super::blocks::{Blocks, KnownBlock, TableState};
use super::dynamic_table::DynamicTable;
use super::memo::Memos;
use super::prefixes::{Admission, Prefixes};
use super::{TABLE_SIZE_DEFAULT, huffman, integer};
use crate::field::{Entry, FieldList, Marks, Name};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// How large a list of fields may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// The most octets of names and values, and 32 for each field (RFC 9113, section 10.5.1). Beyond 4 GiB is as 4 GiB.
    pub size_max: usize,
    /// The most fields.
    pub fields_max: usize,
}

impl ListLimits {
    /// The arena of a list has 32-bit positions.
    fn size_bound(self) -> usize {
        self.size_max.min(1 << 31)
    }

    /// Whether a list of so many fields and of this size keeps within them.
    #[inline]
    pub(super) fn hold(self, fields: usize, size: usize) -> bool {
        fields <= self.fields_max && size <= self.size_max
    }
}

/// What became of a block that was decoded to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The list holds all fields.
    Complete,
    /// The list holds the fields that came before the first one beyond a limit. The table is right nonetheless.
    TooLarge,
}

/// Why a block cannot be decoded: COMPRESSION_ERROR of the whole connection (RFC 9113, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The block ends within a field.
    Truncated,
    /// An integer has more than five octets.
    IntegerTooLong,
    /// An index is zero or beyond the tables.
    Index,
    /// A Huffman code has EOS in it, or ends with anything but a few ones.
    Huffman,
    /// A size update stands behind a field.
    SizeUpdateMisplaced,
    /// A size update is beyond the size we allowed.
    SizeUpdateTooLarge,
    /// We have allowed less than the table's size, and the block after it does not start with a size update.
    SizeUpdateMissing,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Truncated => "the block ends within a field",
            DecodeError::IntegerTooLong => "an integer is too long",
            DecodeError::Index => "an index is in no table",
            DecodeError::Huffman => "a Huffman code is malformed",
            DecodeError::SizeUpdateMisplaced => "a table size update stands behind a field",
            DecodeError::SizeUpdateTooLarge => "a table size update is beyond the maximum",
            DecodeError::SizeUpdateMissing => "a table size update is missing",
        })
    }
}

impl core::error::Error for DecodeError {}

/// The decoder of one connection.
///
/// After an error its table is of no use, so it gives the same error for ever.
///
/// ```
/// use corelane_wire::FieldList;
/// use corelane_wire::hpack::{DecodeError, Decoder, ListLimits, Outcome};
///
/// let limits = ListLimits { size_max: 16_384, fields_max: 100 };
/// let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
/// assert_eq!(decoder.decode(&[0x83, 0x84], limits, &mut fields), Ok(Outcome::Complete));
/// assert_eq!(fields.get(b":method"), Some(&b"POST"[..]));
///
/// assert_eq!(decoder.decode(&[0xbe], limits, &mut fields), Err(DecodeError::Index));
/// assert_eq!(decoder.decode(&[0x83], limits, &mut fields), Err(DecodeError::Index));
/// ```
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    /// The most that a size update may say.
    size_allowed: u32,
    /// The next block must start with a size update that says this at most.
    size_required: Option<u32>,
    failed: Option<DecodeError>,
    memos: Memos,
    prefixes: Prefixes,
    blocks: Blocks,
}

/// A decoder that sleeps: without what it has kept to be faster.
#[derive(Debug)]
pub(crate) struct DormantDecoder {
    table: Option<Box<DynamicTable>>,
    size_allowed: u32,
    size_required: Option<u32>,
    /// Blocks numbered so far: no number may come again.
    numbered: u32,
}

impl DormantDecoder {
    /// The decoder again.
    pub(crate) fn unfold(self) -> Decoder {
        let DormantDecoder { table, size_allowed, size_required, numbered } = self;
        Decoder {
            table: DynamicTable::unfold(table),
            size_allowed,
            size_required,
            failed: None,
            memos: Memos::default(),
            prefixes: Prefixes::default(),
            blocks: Blocks::numbered_from(numbered),
        }
    }
}

impl Decoder {
    /// A decoder whose peer may use a table of `table_size_max`: the value of SETTINGS_HEADER_TABLE_SIZE, where the peer
    /// knows it beforehand. The table starts with that size, but with 4096 at most: a peer that uses more says so first.
    #[must_use]
    pub fn new(table_size_max: u32) -> Decoder {
        let table = DynamicTable::new(table_size_max.min(TABLE_SIZE_DEFAULT));
        Decoder {
            table,
            size_allowed: table_size_max,
            size_required: None,
            failed: None,
            memos: Memos::default(),
            prefixes: Prefixes::default(),
            blocks: Blocks::default(),
        }
    }

    /// Our SETTINGS_HEADER_TABLE_SIZE has another value, which the peer has acknowledged. If the table is larger than
    /// that now, the next block has to start with a size update (RFC 7541, section 4.2).
    pub fn set_table_size_max(&mut self, table_size_max: u32) {
        self.size_allowed = table_size_max;
        if usize::try_from(table_size_max).is_ok_and(|max| max < self.table.size_max()) {
            let required = self.size_required.unwrap_or(u32::MAX);
            self.size_required = Some(required.min(table_size_max));
        }
    }

    /// The dynamic table's size by RFC 7541, section 4.1.
    #[must_use]
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// The bytes of heap that the decoder holds: a few times the table's size at most.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        let kept = self.prefixes.capacity_bytes() + self.blocks.capacity_bytes();
        self.table.capacity_bytes() + self.memos.capacity_bytes() + kept
    }

    /// Decodes a whole block and appends its fields to `out`, as long as the list stays within the limits.
    ///
    /// # Errors
    ///
    /// The block is malformed. The list holds the fields before the error, the decoder is of no more use.
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: ListLimits,
        out: &mut FieldList,
    ) -> Result<Outcome, DecodeError> {
        if out.is_empty()
            && let Some(known) = self.known(block, limits)
        {
            out.copy_from(self.known_fields(known));
            return Ok(Outcome::Complete);
        }
        self.decode_anew(block, limits, out)
    }

    /// The block, if it has come before and still means the same: [`known_fields`](Self::known_fields) has its fields, until the
    /// next block is looked at, or [`shrink`](Self::shrink) is called. It has been decoded: what it puts into the table is there.
    #[inline]
    pub(crate) fn known(&mut self, block: &[u8], limits: ListLimits) -> Option<KnownBlock> {
        if self.size_required.is_some() || self.failed.is_some() {
            return None;
        }
        self.blocks.find(block, &mut self.table, limits)
    }

    /// The fields of a block that was known just before.
    #[inline]
    pub(crate) fn known_fields(&self, block: KnownBlock) -> &FieldList {
        self.blocks.fields(block)
    }

    /// The same to be shared, where they stay as they are.
    #[inline]
    pub(crate) fn shared_fields(&self, block: KnownBlock) -> Option<Arc<FieldList>> {
        self.blocks.shared_fields(block)
    }

    /// As [`decode`](Self::decode), for a block that is not known.
    pub(crate) fn decode_anew(
        &mut self,
        block: &[u8],
        limits: ListLimits,
        out: &mut FieldList,
    ) -> Result<Outcome, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let before = TableState::of(&self.table);
        let is_plain = out.is_empty() && self.size_required.is_none();
        let mut rest = block;
        let mut list = Limited { out, limits, outcome: Outcome::Complete };
        let mut decoded = self.size_updates(&mut rest);
        if decoded.is_ok() && is_plain {
            decoded = self.front(&mut rest, &mut list);
        }
        let decoded = decoded.and_then(|()| fields(&mut rest, &mut self.table, &mut self.memos, &mut list));
        if let Err(error) = decoded {
            list.out.abandon();
            self.failed = Some(error);
            return Err(error);
        }
        let outcome = list.outcome;
        if is_plain && outcome == Outcome::Complete {
            self.blocks.keep(block, out, before, TableState::of(&self.table));
        }
        Ok(outcome)
    }

    /// Reads the indexed fields at the front of a block, into a list that is empty.
    fn front(&mut self, rest: &mut &[u8], list: &mut Limited<'_>) -> Result<(), DecodeError> {
        let admission = self.prefixes.admission(self.table.changes());
        if let Some((fields, tail)) = self.prefixes.find(rest, list.limits) {
            list.out.copy_from(fields);
            *rest = tail;
            return Ok(());
        }
        let before = *rest;
        while let Some(0x80..) = rest.first() {
            indexed(rest, &self.table, list)?;
        }
        if admission == Admission::Open && list.outcome == Outcome::Complete {
            self.prefixes.keep(&before[..before.len() - rest.len()], list.out);
        }
        Ok(())
    }

    /// Gives back what only a busy connection needs.
    pub(crate) fn shrink(&mut self) {
        self.prefixes.shrink();
        self.blocks.shrink();
    }

    /// What must outlive a quiet time. The connection of a decoder that has failed is over, and does not sleep.
    pub(crate) fn fold(self) -> DormantDecoder {
        let Decoder { table, size_allowed, size_required, failed, memos: _, prefixes: _, blocks } = self;
        assert!(failed.is_none(), "what has failed does not go on");
        let numbered = blocks.numbered();
        DormantDecoder { table: table.fold(), size_allowed, size_required, numbered }
    }

    /// Reads the size updates at the front of a block (RFC 7541, section 6.3). The first one answers our reduction.
    fn size_updates(&mut self, rest: &mut &[u8]) -> Result<(), DecodeError> {
        while let Some(0x20..=0x3f) = rest.first() {
            let size = integer::read(rest, 5)?;
            if size > self.size_required.unwrap_or(u32::MAX).min(self.size_allowed) {
                return Err(DecodeError::SizeUpdateTooLarge);
            }
            self.size_required = None;
            self.table.resize(size);
        }
        if self.size_required.is_some() && !rest.is_empty() {
            return Err(DecodeError::SizeUpdateMissing);
        }
        Ok(())
    }
}

/// A list with its limits.
struct Limited<'a> {
    out: &'a mut FieldList,
    limits: ListLimits,
    outcome: Outcome,
}

impl Limited<'_> {
    /// May a field of this size enter? The first one that may not ends the list.
    #[inline]
    fn admits(&mut self, size: usize) -> bool {
        let fits = self.out.len() < self.limits.fields_max
            && self.out.size().saturating_add(size) <= self.limits.size_bound();
        if !fits {
            self.outcome = Outcome::TooLarge;
        }
        self.outcome == Outcome::Complete
    }
}

/// Reads fields to the block's end (RFC 7541, section 6).
fn fields(
    rest: &mut &[u8],
    table: &mut DynamicTable,
    memos: &mut Memos,
    list: &mut Limited<'_>,
) -> Result<(), DecodeError> {
    while let Some(&first) = rest.first() {
        match first {
            0x80.. => indexed(rest, table, list)?,
            0x40.. => literal(rest, 6, Marks::NONE, table, list, Insertion::Yes)?,
            0x20.. => return Err(DecodeError::SizeUpdateMisplaced),
            0x10.. => literal(rest, 4, Marks::SENSITIVE, table, list, Insertion::No)?,
            _ => match memos.find(rest) {
                Some((tail, entry, stored)) => {
                    *rest = tail;
                    if list.admits(entry.size()) {
                        list.out.copy(entry, stored);
                    }
                }
                None => {
                    let before = *rest;
                    literal(rest, 4, Marks::NONE, table, list, Insertion::No)?;
                    if list.outcome == Outcome::Complete {
                        memos.note(&before[..before.len() - rest.len()], list.out);
                    }
                }
            },
        }
    }
    Ok(())
}

/// Reads an indexed field (RFC 7541, section 6.1).
#[inline]
fn indexed(rest: &mut &[u8], table: &DynamicTable, list: &mut Limited<'_>) -> Result<(), DecodeError> {
    let index = integer::read(rest, 7)?;
    let row = usize::try_from(index).ok().and_then(|index| table.row(index));
    let row = row.ok_or(DecodeError::Index)?;
    if list.admits(row.entry.size()) {
        list.out.copy(&row.entry, row.stored);
    }
    Ok(())
}

/// Does a literal enter the dynamic table?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Insertion {
    Yes,
    No,
}

/// Reads a literal field (RFC 7541, section 6.2).
fn literal(
    rest: &mut &[u8],
    prefix_bits: u32,
    marks: Marks,
    table: &mut DynamicTable,
    list: &mut Limited<'_>,
    insertion: Insertion,
) -> Result<(), DecodeError> {
    let index = integer::read(rest, prefix_bits)?;
    let arena = list.out.arena();
    let start = arena.len();
    let name = if index == 0 { literal_name(rest, arena)? } else { indexed_name(index, table, arena)? };
    let value_start = arena.len();
    string(rest, arena)?;
    let value = &arena[value_start..];
    let value_len = u32::try_from(value.len()).expect("28 bits of length are 30 bits of string at most");
    let marks = marks.with(name.marks).with(Marks::of_value(value));
    let start_position = u32::try_from(start).expect("the limit keeps the list's arena below 2 GiB");
    let entry = Entry { start: start_position, name_len: name.len, value_len, known: name.known, marks };
    if insertion == Insertion::Yes {
        table.insert(&entry, &arena[start..value_start], &arena[value_start..]);
    }
    if list.admits(entry.size()) {
        list.out.close(entry);
    } else {
        list.out.abandon();
    }
    Ok(())
}

/// A literal's name, whose bytes stand in the arena unless it is well known.
struct LiteralName {
    known: Name,
    len: u32,
    marks: Marks,
}

fn literal_name(rest: &mut &[u8], arena: &mut Vec<u8>) -> Result<LiteralName, DecodeError> {
    let start = arena.len();
    string(rest, arena)?;
    let name = &arena[start..];
    let known = Name::of(name);
    let len = u32::try_from(name.len()).expect("28 bits of length are 30 bits of string at most");
    let marks = Marks::of_name(name, known);
    if known.is_known() {
        arena.truncate(start);
    }
    Ok(LiteralName { known, len, marks })
}

fn indexed_name(index: u32, table: &DynamicTable, arena: &mut Vec<u8>) -> Result<LiteralName, DecodeError> {
    let row = usize::try_from(index).ok().and_then(|index| table.row(index)).ok_or(DecodeError::Index)?;
    let entry = row.entry;
    arena.extend_from_slice(&row.stored[..entry.name_stored()]);
    let marks = entry.marks.only(Marks::NAME_MALFORMED);
    Ok(LiteralName { known: entry.known, len: entry.name_len, marks })
}

/// Appends a string (RFC 7541, section 5.2). Its length is checked against what is there before anything is stored.
fn string(rest: &mut &[u8], arena: &mut Vec<u8>) -> Result<(), DecodeError> {
    let is_huffman = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer::read(rest, 7)?;
    let octets = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
    let (octets, tail) = octets.ok_or(DecodeError::Truncated)?;
    *rest = tail;
    if is_huffman {
        return huffman::decode(octets, arena);
    }
    arena.extend_from_slice(octets);
    Ok(())
}
