//! From fields to a block (RFC 7541, sections 6 and 7.1).
//!
//! The policy is a frozen table: a field whose name is known to repeat is inserted when it first comes, as long as nothing
//! has to be evicted for it, and then it is there for the connection's life. What a gRPC peer says in every block is so
//! one octet each, its index never changes, and nothing is inserted again. The alternative, first in, first out, lets a
//! field that differs in each call push out those that do not, and moves every index each time.
//!
//! Does not: choose the fields' order, which is the caller's, or use more than 4096 octets of table, whatever the peer
//! allows: what a peer says in SETTINGS is no reason to hold more memory.
//!
//! Invariant: the table holds what the peer's table holds once it has decoded all blocks begun so far.

use super::dynamic_table::DynamicTable;
use super::static_table;
use super::templates::{Template, Templates};
use super::{TABLE_SIZE_DEFAULT, huffman, integer};
use crate::field::{Entry, Field, FieldList, Marks, Name};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// How a field is to be represented (RFC 7541, section 6). One that stands in a table as it is goes as its index, unless
/// it is never to be indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// Insert it into the table while there is room (section 6.2.1).
    Incremental,
    /// Leave the table as it is (section 6.2.2).
    Literal,
    /// As a literal, and so for every hop to come (section 6.2.3).
    Never,
}

/// The encoder of one connection.
///
/// ```
/// use corelane_wire::hpack::{Encoder, Indexing};
///
/// let (mut encoder, mut block) = (Encoder::new(4096), Vec::new());
/// encoder.begin(&mut block);
/// encoder.field(b":status", b"200", Indexing::Literal, &mut block);
/// encoder.field(b"x-key", b"1", Indexing::Literal, &mut block);
/// assert_eq!(block, b"\x88\x00\x05x-key\x011");
/// ```
#[derive(Debug)]
pub struct Encoder {
    table: DynamicTable,
    /// The names in the table, a bit for each number: most fields need not be looked for.
    names: u32,
    /// Our own bound of the table's size.
    size_cap: u32,
    /// The table's size that the peer knows of.
    size_announced: u32,
    /// The table's size now, and the smallest it was since the last block.
    size: u32,
    size_lowest: u32,
    strings: Strings,
    templates: Templates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strings {
    Plain,
    /// With the Huffman code where it is shorter.
    Shorter,
}

/// Where a field was found.
enum Found {
    Field(usize),
    Name(usize),
    Nothing,
}

/// An encoder that sleeps: without what it has kept to be faster.
#[derive(Debug)]
pub(crate) struct DormantEncoder {
    table: Option<Box<DynamicTable>>,
    names: u32,
    size_cap: u32,
    size_announced: u32,
    size: u32,
    size_lowest: u32,
    strings: Strings,
}

impl DormantEncoder {
    /// The encoder again.
    pub(crate) fn unfold(self) -> Encoder {
        let DormantEncoder { table, names, size_cap, size_announced, size, size_lowest, strings } = self;
        let (table, templates) = (DynamicTable::unfold(table), Templates::default());
        Encoder { table, names, size_cap, size_announced, size, size_lowest, strings, templates }
    }
}

impl Encoder {
    /// An encoder that uses a table of `table_size_max` octets at most, and never more than 4096.
    #[must_use]
    pub fn new(table_size_max: u32) -> Encoder {
        let size = table_size_max.min(TABLE_SIZE_DEFAULT);
        Encoder {
            table: DynamicTable::new(size),
            names: 0,
            size_cap: size,
            size_announced: TABLE_SIZE_DEFAULT,
            size,
            size_lowest: size,
            strings: Strings::Plain,
            templates: Templates::default(),
        }
    }

    /// Encodes strings with the Huffman code where that is shorter, or all of them plainly, as a new encoder does: the
    /// literals of a call are few and short, and a plain one is a copy.
    pub fn huffman(&mut self, enable: bool) {
        self.strings = if enable { Strings::Shorter } else { Strings::Plain };
        self.templates.expire();
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE has this value now. What has changed is announced at the front of the next
    /// block: the smallest size since the last one, and the final one (RFC 7541, section 4.2).
    pub fn set_peer_table_size(&mut self, size: u32) {
        self.size = size.min(self.size_cap);
        self.size_lowest = self.size_lowest.min(self.size);
        self.table.resize(self.size);
        self.names = self.table.names();
        self.templates.expire();
    }

    /// The dynamic table's size by RFC 7541, section 4.1.
    #[must_use]
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// The bytes of heap that the encoder holds: a few times the table's size, and as much for each template.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.table.capacity_bytes() + self.templates.capacity_bytes()
    }

    /// What must outlive a quiet time.
    pub(crate) fn fold(self) -> DormantEncoder {
        let Encoder { table, names, size_cap, size_announced, size, size_lowest, strings, templates: _ } =
            self;
        let table = table.fold();
        DormantEncoder { table, names, size_cap, size_announced, size, size_lowest, strings }
    }

    /// Gives back what only a busy connection needs.
    pub(crate) fn shrink(&mut self) {
        self.templates = Templates::default();
    }

    /// Appends a whole block. What is known to repeat in gRPC's calls is inserted into the table while there is room.
    pub fn encode(&mut self, fields: &FieldList, out: &mut Vec<u8>) {
        self.begin(out);
        for field in fields {
            self.represent(&field, policy(&field), out);
        }
    }

    /// As [`encode`](Self::encode), for a list that comes again and again: what it was encoded to is kept, and copied as long as
    /// the table has not changed. `more` is encoded behind it, for what differs from block to block.
    pub fn encode_template(&mut self, template: &Template, more: Option<&FieldList>, out: &mut Vec<u8>) {
        self.begin(out);
        if let Some(block) = self.templates.find(template) {
            out.extend_from_slice(block);
        } else {
            let (start, changes) = (out.len(), self.table.changes());
            for field in &**template {
                self.represent(&field, policy(&field), out);
            }
            // A block that inserts something is good once.
            if self.table.changes() == changes {
                self.templates.keep(template, &out[start..]);
            }
        }
        for field in more.into_iter().flatten() {
            self.represent(&field, policy(&field), out);
        }
    }

    /// The whole block that `template` makes, if it is kept and nothing else is due.
    #[inline]
    pub(crate) fn kept(&mut self, template: &Template) -> Option<&[u8]> {
        let size_is_known = self.size == self.size_announced && self.size == self.size_lowest;
        if size_is_known { self.templates.find(template) } else { None }
    }

    /// Begins a block that is made by [`field`](Self::field): appends the size updates that are due.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if self.size_lowest < self.size_announced && self.size_lowest < self.size {
            write_size_update(self.size_lowest, out);
            self.size_announced = self.size_lowest;
        }
        if self.size != self.size_announced {
            write_size_update(self.size, out);
            self.size_announced = self.size;
        }
        self.size_lowest = self.size;
    }

    /// Appends one field of a block that was begun.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        let field = Field { name, value, known: Name::of(name), sensitive: false };
        self.represent(&field, indexing, out);
    }

    fn represent(&mut self, field: &Field<'_>, indexing: Indexing, out: &mut Vec<u8>) {
        debug_assert_eq!(self.size, self.size_announced, "a block has to be begun");
        let name_index = match self.find(field) {
            Found::Field(index) if indexing != Indexing::Never => return integer::write(index, 7, 0x80, out),
            Found::Field(index) | Found::Name(index) => index,
            Found::Nothing => 0,
        };
        match indexing {
            Indexing::Incremental if self.insert(field) => integer::write(name_index, 6, 0x40, out),
            Indexing::Incremental | Indexing::Literal => integer::write(name_index, 4, 0, out),
            Indexing::Never => integer::write(name_index, 4, 0x10, out),
        }
        if name_index == 0 {
            self.write_string(field.name, out);
        }
        self.write_string(field.value, out);
    }

    fn find(&self, field: &Field<'_>) -> Found {
        let Field { name, value, known, .. } = *field;
        if let Some(index) = static_table::field_index(known, name, value) {
            return Found::Field(index);
        }
        let mut found = static_table::name_index(known, name).map_or(Found::Nothing, Found::Name);
        if self.names & bit(known) == 0 {
            return found;
        }
        // The table is short and never churns, so what comes in every call was inserted first and is found first.
        for (index, row) in self.table.rows_of(known) {
            let there = row.field();
            if there.name == name {
                if there.value == value {
                    return Found::Field(index);
                }
                if matches!(found, Found::Nothing) {
                    found = Found::Name(index);
                }
            }
        }
        found
    }

    /// Inserts a field if nothing has to be evicted for it, and says whether it did.
    fn insert(&mut self, field: &Field<'_>) -> bool {
        let (Ok(name_len), Ok(value_len)) = (field.name.len().try_into(), field.value.len().try_into())
        else {
            return false;
        };
        let entry = Entry { start: 0, name_len, value_len, known: field.known, marks: Marks::NONE };
        let fits = self.table.has_room(entry.size());
        if fits {
            let name = if field.known.is_known() { &[][..] } else { field.name };
            self.table.insert(&entry, name, field.value);
            self.names |= bit(field.known);
            // Every index has moved.
            self.templates.expire();
        }
        fits
    }

    fn write_string(&self, string: &[u8], out: &mut Vec<u8>) {
        if self.strings == Strings::Shorter {
            let len = huffman::encoded_len(string);
            if len < string.len() {
                integer::write(len, 7, 0x80, out);
                return huffman::encode(string, out);
            }
        }
        integer::write(string.len(), 7, 0, out);
        out.extend_from_slice(string);
    }
}

/// What repeats from call to call on a connection; all else would only fill the table.
fn policy(field: &Field<'_>) -> Indexing {
    match field.known {
        _ if field.sensitive => Indexing::Never,
        Name::ContentType
        | Name::Method
        | Name::Scheme
        | Name::Authority
        | Name::Path
        | Name::Te
        | Name::UserAgent
        | Name::GrpcEncoding
        | Name::GrpcAcceptEncoding => Indexing::Incremental,
        Name::GrpcStatus if field.value == b"0" => Indexing::Incremental,
        _ => Indexing::Literal,
    }
}

/// The bit of a name in a set of names.
fn bit(known: Name) -> u32 {
    1 << known.number()
}

fn write_size_update(size: u32, out: &mut Vec<u8>) {
    integer::write(usize::try_from(size).expect("4096 at most"), 5, 0x20, out);
}
