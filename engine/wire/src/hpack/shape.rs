//! In what a header block may differ from one that was decoded before and still say the same.
//!
//! Two things change from call to call though the caller changes nothing. A deadline is sent as what is left of it, so the value of
//! `grpc-timeout` is another one each time. And peers that put that value into the table (as Go's and Java's do) move the indices of
//! all other fields with each call. A block that differs in no more than these is known as well as one that is equal.
//!
//! Does not: take a malformed timeout for one that is well-formed, or a field that was evicted for one that is there; whatever is
//! not as expected is not known, and decoded anew.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use super::dynamic_table::DynamicTable;
use super::{DYNAMIC_FIRST, huffman, integer};
use crate::field::{Entry, FieldList, Marks, Name};
use crate::grpc::timeout;

/// The longest timeout, in octets (gRPC's PROTOCOL-HTTP2: eight digits and a unit). Its Huffman code is shorter.
const TIMEOUT_LEN_MAX: usize = 9;
/// Says of a string that it is in Huffman's code, in front of its length (RFC 7541, section 5.2).
const HUFFMAN: u8 = 0x80;
/// An octet that says "indexed field" is the index and this, if it is no larger than the other (RFC 7541, section 6.1).
const INDEXED: usize = 0x80;
const INDEXED_MAX: u8 = 0xfe;
/// From the first index of the dynamic table, an index may move so far.
const MOVED_MAX: u8 = INDEXED_MAX - (INDEXED + DYNAMIC_FIRST) as u8;
/// The two highest bits of a literal that enters the table (RFC 7541, section 6.2.1).
const INCREMENTAL: u8 = 0x40;

/// How a block may differ.
#[derive(Debug)]
pub(super) struct Shape {
    /// For each octet, all ones if it is the index of a field in the dynamic table, which moves with each insertion.
    moving: Vec<u8>,
    /// The largest such octet before the gap, and behind it; 0 without one.
    oldest: [u8; 2],
    gap: Option<Gap>,
}

/// The literal `grpc-timeout`.
#[derive(Debug)]
struct Gap {
    /// Its octets.
    raw: Range<usize>,
    /// Where its value begins, if its name is a string.
    named_to: Option<usize>,
    /// Whether it enters the table.
    enters: bool,
    /// Which field it is.
    field: usize,
}

/// A timeout in place of that of the block that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced<'a> {
    field: usize,
    value: &'a [u8],
    /// What the value says.
    pub(super) timeout: Duration,
    /// Whether it enters the table.
    enters: bool,
}

impl Replaced<'_> {
    /// The list's size with this timeout.
    pub(super) fn size_of(&self, fields: &FieldList) -> usize {
        let before = fields.at(self.field).map_or(0, |field| field.value.len());
        fields.size() - before + self.value.len()
    }

    /// Makes it the timeout of the list, and of the table if it enters it.
    pub(super) fn apply(&self, fields: &mut FieldList, table: &mut DynamicTable) {
        fields.set_value(self.field, self.value);
        if self.enters {
            table.insert(&entry_of(self.value), &[], self.value);
        }
    }
}

/// What stands between a block and one that is kept.
#[derive(Debug)]
pub(super) enum Difference<'a> {
    /// Indices alone, or nothing.
    Moved,
    /// The timeout, and perhaps indices.
    Timeout(Replaced<'a>),
}

impl Shape {
    /// The shape of `raw`, which was decoded to `fields`, all of it. `None` if it may not differ at all, since more of it depends on
    /// the table than indices of one octet. `storage` is used if there is one.
    pub(super) fn of(raw: &[u8], fields: &FieldList, storage: &mut Vec<u8>) -> Option<Shape> {
        storage.clear();
        storage.resize(raw.len(), 0);
        let (mut rest, mut gap) = (raw, None);
        let (mut timeouts, mut oldest) = (0, [0; 2]);
        for (number, field) in fields.iter().enumerate() {
            let at = raw.len() - rest.len();
            let bits = match *rest.first()? {
                0x80.. => 7,
                0x40.. => 6,
                0x20.. => return None,
                _ => 4,
            };
            let index = usize::try_from(integer::read(&mut rest, bits).ok()?).ok()?;
            let is_timeout = field.known == Name::GrpcTimeout;
            timeouts += usize::from(is_timeout);
            if bits == 7 {
                if index >= DYNAMIC_FIRST {
                    // An index of several octets has no place for one more.
                    let is_one = raw.len() - rest.len() == at + 1;
                    storage[at] = is_one.then_some(u8::MAX)?;
                    let oldest = &mut oldest[usize::from(gap.is_some())];
                    *oldest = raw[at].max(*oldest);
                }
                continue;
            }
            if index == 0 {
                skip(&mut rest)?;
            }
            let value_at = raw.len() - rest.len();
            skip(&mut rest)?;
            if is_timeout && timeout::parse(field.value).is_some() {
                let raw = at..raw.len() - rest.len();
                let named_to = (index == 0).then_some(value_at);
                gap = Some(Gap { raw, named_to, enters: bits == 6, field: number });
            } else if bits == 6 || index >= DYNAMIC_FIRST {
                return None;
            }
        }
        // Of two timeouts one would have to be told from the other.
        let is_clear = rest.is_empty() && timeouts <= 1;
        is_clear.then(|| Shape { moving: core::mem::take(storage), oldest, gap })
    }

    /// How far indices have moved after so many insertions; `None` if that is too far for an octet.
    pub(super) fn moved(&self, insertions: u64) -> Option<u8> {
        if self.oldest == [0; 2] {
            return Some(0);
        }
        u8::try_from(insertions).ok().filter(|moved| *moved <= MOVED_MAX)
    }

    /// Whether the block has a timeout that may be another one.
    pub(super) fn has_timeout(&self) -> bool {
        self.gap.is_some()
    }

    /// How `block` differs from `kept`, which has this shape, after as many insertions as `moved`. `None` if it may say something else.
    /// `scratch` is for the octets of a timeout.
    pub(super) fn compare<'s>(
        &self,
        kept: &[u8],
        block: &'s [u8],
        moved: u8,
        table: &DynamicTable,
        scratch: &'s mut Vec<u8>,
    ) -> Option<Difference<'s>> {
        let Some(gap) = &self.gap else {
            let is_same = self.is_moved(0..kept.len(), kept, block, moved);
            return (is_same && is_there(self.oldest[0], moved, table.len())).then_some(Difference::Moved);
        };
        let (front, rest) = block.split_at_checked(gap.raw.start)?;
        let is_same = self.is_moved(0..gap.raw.start, kept, front, moved);
        if !is_same || !is_there(self.oldest[0], moved, table.len()) {
            return None;
        }
        let (&len, rest) = gap.skip_name(kept, rest, table)?.split_first()?;
        let (octets, rest) = rest.split_at_checked(usize::from(len & !HUFFMAN))?;
        if octets.len() > TIMEOUT_LEN_MAX {
            return None;
        }
        let mut value = octets;
        if len & HUFFMAN != 0 {
            scratch.clear();
            huffman::decode(octets, scratch).ok()?;
            value = scratch;
        }
        let timeout = timeout::parse(value)?;
        let enters = gap.enters;
        // What follows a timeout that enters the table is read after it has, and after what it evicts has gone.
        let len = if enters { table.len_with(entry_of(value).size())? } else { table.len() };
        let is_same = self.is_moved(gap.raw.end..kept.len(), kept, rest, moved);
        let replaced = Replaced { field: gap.field, value, timeout, enters };
        (is_same && is_there(self.oldest[1], moved, len)).then_some(Difference::Timeout(replaced))
    }

    /// Whether `block` is what this range of `kept` is, an octet to each, with all that moves moved.
    #[inline]
    fn is_moved(&self, range: Range<usize>, kept: &[u8], block: &[u8], moved: u8) -> bool {
        let (kept, moving) = (&kept[range.clone()], &self.moving[range]);
        if moved == 0 || kept.len() != block.len() {
            return kept == block;
        }
        // A fold without an early exit: the compiler makes it a few vector instructions. What saturates is no octet of an index, and
        // too old.
        let octets = kept.iter().zip(moving).zip(block);
        let differ = octets.fold(0, |differ, ((kept, moving), octet)| {
            differ | (kept.saturating_add(moving & moved) ^ octet)
        });
        differ == 0
    }
}

/// Whether the field is in a table of `len`, and its index an octet still, that `oldest` has been the index of.
#[inline]
fn is_there(oldest: u8, moved: u8, len: usize) -> bool {
    let octet = usize::from(oldest) + usize::from(moved);
    oldest == 0 || octet < (INDEXED + DYNAMIC_FIRST + len).min(usize::from(INDEXED_MAX) + 1)
}

impl Gap {
    /// What follows the literal's name at the front of `rest`, if it is a timeout's, of the same kind as in `kept`.
    fn skip_name<'b>(&self, kept: &[u8], rest: &'b [u8], table: &DynamicTable) -> Option<&'b [u8]> {
        if let Some(value_at) = self.named_to {
            return rest.strip_prefix(&kept[self.raw.start..value_at]);
        }
        let (kept_first, first) = (kept[self.raw.start], *rest.first()?);
        let (kind, bits) = if first & 0xc0 == INCREMENTAL { (0xc0, 6) } else { (0xf0, 4) };
        if (first ^ kept_first) & kind != 0 {
            return None;
        }
        let mut tail = rest;
        let index = integer::read(&mut tail, bits).ok()?;
        let row = table.row(usize::try_from(index).ok()?)?;
        (row.entry.known == Name::GrpcTimeout).then_some(tail)
    }
}

/// What a table knows of a timeout that is well-formed. It stores the value alone.
fn entry_of(timeout: &[u8]) -> Entry {
    let len = |octets: &[u8]| u32::try_from(octets.len()).expect("a timeout is short");
    let known = Name::GrpcTimeout;
    let (name_len, value_len) = (len(known.as_bytes()), len(timeout));
    Entry { start: 0, name_len, value_len, known, marks: Marks::NONE }
}

/// Skips a string (RFC 7541, section 5.2).
fn skip(rest: &mut &[u8]) -> Option<()> {
    let len = usize::try_from(integer::read(rest, 7).ok()?).ok()?;
    *rest = rest.get(len..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::hpack::{Decoder, ListLimits, Outcome};

    const LIMITS: ListLimits = ListLimits { size_max: 4096, fields_max: 100 };

    /// How a field is sent that stands in no table.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        Incremental,
        Without,
        Never,
    }

    /// An encoder that inserts whatever it is told to, first in, first out, as Go's and Java's do.
    struct Fifo {
        table: DynamicTable,
        huffman: bool,
    }

    impl Fifo {
        fn new(size: u32, huffman: bool) -> Fifo {
            Fifo { table: DynamicTable::new(size), huffman }
        }

        fn string(&self, text: &str, out: &mut Vec<u8>) {
            if self.huffman {
                integer::write(crate::hpack::huffman::encoded_len(text.as_bytes()), 7, 0x80, out);
                return crate::hpack::huffman::encode(text.as_bytes(), out);
            }
            integer::write(text.len(), 7, 0, out);
            out.extend_from_slice(text.as_bytes());
        }

        fn field(&mut self, name: &str, value: &str, kind: Kind, out: &mut Vec<u8>) {
            let rows =
                (1..DYNAMIC_FIRST + self.table.len()).map(|index| (index, self.table.row(index).unwrap()));
            let named: Vec<_> = rows.filter(|(_, row)| row.field().name == name.as_bytes()).collect();
            let same = named.iter().find(|(_, row)| row.field().value == value.as_bytes());
            if let Some((index, _)) = same.filter(|_| kind != Kind::Never) {
                return integer::write(*index, 7, 0x80, out);
            }
            let index = named.first().map_or(0, |(index, _)| *index);
            match kind {
                Kind::Incremental => integer::write(index, 6, 0x40, out),
                Kind::Without => integer::write(index, 4, 0, out),
                Kind::Never => integer::write(index, 4, 0x10, out),
            }
            if index == 0 {
                self.string(name, out);
            }
            self.string(value, out);
            if kind == Kind::Incremental {
                let known = Name::of(name.as_bytes());
                let stored = if known.is_known() { "" } else { name };
                let len = |text: &str| u32::try_from(text.len()).unwrap();
                let (name_len, value_len) = (len(name), len(value));
                let entry = Entry { start: 0, name_len, value_len, known, marks: Marks::NONE };
                self.table.insert(&entry, stored.as_bytes(), value.as_bytes());
            }
        }

        fn block(&mut self, fields: &[(&str, &str, Kind)]) -> Vec<u8> {
            let mut block = Vec::new();
            fields.iter().for_each(|(name, value, kind)| self.field(name, value, *kind, &mut block));
            block
        }
    }

    fn list(fields: &[(&str, &str, Kind)]) -> FieldList {
        let mut list = FieldList::new();
        for (name, value, kind) in fields {
            match kind {
                Kind::Never => list.push_sensitive(name.as_bytes(), value.as_bytes()),
                _ => list.push(name.as_bytes(), value.as_bytes()),
            }
        }
        list
    }

    /// How many of the blocks were known, all of them being read as what they are.
    fn known(decoder: &mut Decoder, encoder: &mut Fifo, calls: &[Vec<(&str, &str, Kind)>]) -> usize {
        let mut is_known = |fields: &Vec<(&str, &str, Kind)>| {
            let block = encoder.block(fields);
            let mut got = FieldList::new();
            let known = decoder.known(&block, LIMITS);
            match known {
                Some(known) => got.copy_from(decoder.known_fields(known)),
                None => assert_eq!(decoder.decode_anew(&block, LIMITS, &mut got), Ok(Outcome::Complete)),
            }
            assert_eq!(got, list(fields));
            assert_eq!(got.is_malformed(), list(fields).is_malformed());
            known.is_some()
        };
        calls.iter().filter(|fields| is_known(fields)).count()
    }

    /// A gRPC request whose timeout differs from the others', with metadata behind it.
    fn request(timeout: &str, kind: Kind) -> Vec<(&str, &str, Kind)> {
        let head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/a.B/C"),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        let field = |(name, value)| (name, value, Kind::Incremental);
        let behind = [("x-tenant", "one"), ("x-version", "2026.11")];
        let timeout = ("grpc-timeout", timeout, kind);
        head.map(field).into_iter().chain([timeout]).chain(behind.map(field)).collect()
    }

    fn timeouts(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{}u", 7 * number + 10)).collect()
    }

    #[test]
    fn a_timeout_that_no_table_gets_may_be_any() {
        for (kind, huffman) in [(Kind::Without, false), (Kind::Never, false), (Kind::Without, true)] {
            let (mut decoder, mut encoder) = (Decoder::new(4096), Fifo::new(4096, huffman));
            let timeouts = timeouts(300);
            let calls: Vec<_> = timeouts.iter().map(|timeout| request(timeout, kind)).collect();
            // The first one inserts the other fields, the second one is kept.
            assert_eq!(known(&mut decoder, &mut encoder, &calls), 298, "{kind:?}");
        }
    }

    #[test]
    fn a_timeout_that_enters_the_table_moves_what_is_there() {
        let (mut decoder, mut encoder) = (Decoder::new(4096), Fifo::new(4096, true));
        let timeouts = timeouts(1_000);
        let calls: Vec<_> = timeouts.iter().map(|timeout| request(timeout, Kind::Incremental)).collect();
        // In 80 calls all else is evicted once, and has indices of two octets in the last 15 of them.
        let known = known(&mut decoder, &mut encoder, &calls);
        assert!((700..850).contains(&known), "{known} of 1,000");
    }

    #[test]
    fn a_block_without_a_timeout_is_known_though_others_move_its_indices() {
        let (mut decoder, mut encoder) = (Decoder::new(4096), Fifo::new(4096, false));
        let timeouts = timeouts(40);
        let plain = |calls: &[Vec<_>]| {
            calls[0].iter().filter(|field: &&(_, _, _)| field.0 != "grpc-timeout").copied().collect()
        };
        let calls: Vec<Vec<_>> = timeouts.iter().map(|timeout| request(timeout, Kind::Incremental)).collect();
        let plain: Vec<_> = plain(&calls);
        let both: Vec<_> = calls.iter().flat_map(|call| [call.clone(), plain.clone()]).collect();
        assert_eq!(known(&mut decoder, &mut encoder, &both), 2 * 40 - 3);
    }

    #[test]
    fn what_a_call_still_has_is_not_changed_for_the_next_one() {
        let (mut decoder, mut encoder) = (Decoder::new(4096), Fifo::new(4096, false));
        let calls = ["1S", "2S"].map(|timeout| request(timeout, Kind::Without));
        known(&mut decoder, &mut encoder, &calls);
        let mut next = |timeout| {
            let block = encoder.block(&request(timeout, Kind::Without));
            let known = decoder.known(&block, LIMITS).expect("its like came before");
            (known.timeout(), decoder.shared_fields(known))
        };
        let (timeout, first) = next("3S");
        let first = first.expect("nobody has had them");
        assert_eq!(timeout, Some(Duration::from_secs(3)));
        let (timeout, second) = next("44S");
        assert_eq!(timeout, Some(Duration::from_secs(44)));
        assert_eq!(first.get(b"grpc-timeout"), Some(&b"3S"[..]));
        assert!(second.is_none(), "calls that last have copies, so that nothing is allocated for each");
    }

    #[test]
    fn a_malformed_timeout_is_no_other_timeout() {
        let (mut decoder, mut encoder) = (Decoder::new(4096), Fifo::new(4096, false));
        for timeout in ["1S", "2S", "3S"] {
            known(&mut decoder, &mut encoder, &[request(timeout, Kind::Without)]);
        }
        for bad in ["S", "", "1 S", "\0S", "1s", "123456789S", "1234567890123456S"] {
            assert_eq!(known(&mut decoder, &mut encoder, &[request(bad, Kind::Without)]), 0, "{bad:?}");
        }
        assert_eq!(known(&mut decoder, &mut encoder, &[request("99999999H", Kind::Without)]), 1);
    }

    #[test]
    fn limits_hold_for_another_timeout() {
        let (mut decoder, mut encoder) = (Decoder::new(4096), Fifo::new(4096, false));
        let calls = ["1S", "2S"].map(|timeout| request(timeout, Kind::Without));
        known(&mut decoder, &mut encoder, &calls);
        let block = encoder.block(&request("12345S", Kind::Without));
        let size = list(&request("12345S", Kind::Without)).size();
        for (limits, is_known) in [
            (ListLimits { size_max: size, ..LIMITS }, true),
            (ListLimits { size_max: size - 1, ..LIMITS }, false),
            (ListLimits { fields_max: 8, ..LIMITS }, false),
        ] {
            assert_eq!(decoder.known(&block, limits).is_some(), is_known, "{limits:?}");
        }
    }

    fn calls() -> impl Strategy<Value = Vec<Vec<(&'static str, &'static str, Kind)>>> {
        let kinds = &[Kind::Incremental, Kind::Incremental, Kind::Without, Kind::Never][..];
        let pair = prop::sample::select(
            &[
                (":path", "/a"),
                (":path", "/b"),
                (":method", "POST"),
                ("te", "trailers"),
                ("x", "1"),
                ("x", "2"),
                ("x-long", "a value of some length, so that a small table is soon full"),
                ("grpc-timeout", "bad"),
            ][..],
        );
        let timeout = prop::sample::select(&["1S", "2S", "30m", "400m", "5000u", "12345678n", "7H"][..]);
        let field = prop_oneof![
            3 => (pair, prop::sample::select(kinds)).prop_map(|((name, value), kind)| (name, value, kind)),
            2 => (timeout, prop::sample::select(kinds)).prop_map(|(value, kind)| ("grpc-timeout", value, kind)),
        ];
        let shapes = prop::collection::vec(prop::collection::vec(field, 0..7), 1..5);
        (shapes, prop::collection::vec((any::<prop::sample::Index>(), 0_usize..7), 1..120)).prop_map(
            |(shapes, calls)| {
                let call = |(shape, timeout): (prop::sample::Index, usize)| {
                    let mut fields = shape.get(&shapes).clone();
                    // The same as another call's, but for the timeouts.
                    let other = ["1S", "2S", "30m", "401m", "5002u", "12345670n", "7H"][timeout];
                    for field in &mut fields {
                        if field.0 == "grpc-timeout" && field.1 != "bad" {
                            field.1 = other;
                        }
                    }
                    fields
                };
                calls.into_iter().map(call).collect()
            },
        )
    }

    proptest! {
        /// Whatever repeats, moves or differs: lists are those that were encoded, and the tables stay the same.
        #[test]
        fn what_is_known_is_what_was_encoded(calls in calls(), size in 0_u32..600, huffman in any::<bool>()) {
            let (mut decoder, mut encoder) = (Decoder::new(4096), Fifo::new(4096, huffman));
            // Both tables shrink by a size update.
            let mut update = Vec::new();
            integer::write(usize::try_from(size).unwrap(), 5, 0x20, &mut update);
            encoder.table.resize(size);
            prop_assert!(decoder.decode(&update, LIMITS, &mut FieldList::new()).is_ok());
            known(&mut decoder, &mut encoder, &calls);
            prop_assert_eq!(decoder.table_size(), encoder.table.size());
        }
    }
}
