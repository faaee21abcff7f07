//! Header fields: the list that HPACK reads and writes.
//!
//! A [`FieldList`] is an arena of bytes and a row of entries: a field costs no allocation of its own, and a list that is
//! cleared and filled again costs none at all. Each entry remembers what was learned about its field (the well-known
//! [`Name`], whether it is sensitive, whether it kept the character rules), so nothing is looked at twice; the dynamic
//! tables of HPACK keep the same entries, and an indexed field is one copy.
//!
//! Does not: know which pseudo-header fields a request needs or in what order (the connection does), hide anything from
//! its reader (`grpc::Metadata` does), or limit its own growth (the decoder is given limits).
//!
//! Invariant: entries stand in the arena in their order, without gaps: entry `i + 1` starts where entry `i` ends, and the
//! last one ends where the arena does. The arena holds a field's value, preceded by its name unless the name is well known.

mod name;

use alloc::vec::Vec;
use core::fmt;

pub use name::Name;

/// What RFC 7541 section 4.1 adds to the octets of each field.
pub(crate) const FIELD_OVERHEAD: usize = 32;

/// What an entry remembers besides its lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const NONE: Marks = Marks(0);
    pub(crate) const SENSITIVE: Marks = Marks(1);
    pub(crate) const NAME_MALFORMED: Marks = Marks(2);
    pub(crate) const VALUE_MALFORMED: Marks = Marks(4);

    pub(crate) const fn has(self, other: Marks) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    pub(crate) const fn only(self, other: Marks) -> Marks {
        Marks(self.0 & other.0)
    }

    const fn is_malformed(self) -> bool {
        self.has(Self::NAME_MALFORMED.with(Self::VALUE_MALFORMED))
    }

    /// The verdict on a name by RFC 9113, section 8.2.1: not empty, no control byte, space, upper case or byte above
    /// 0x7e, and a colon in front at most.
    pub(crate) fn of_name(name: &[u8], known: Name) -> Marks {
        if known.is_known() {
            return Marks::NONE;
        }
        let rest = name.strip_prefix(b":").unwrap_or(name);
        // A fold without an early exit: the compiler makes it a few vector instructions.
        let bad = rest.iter().fold(rest.is_empty(), |bad, &byte| {
            bad | (byte <= b' ') | (byte >= 0x7f) | byte.is_ascii_uppercase() | (byte == b':')
        });
        if bad { Marks::NAME_MALFORMED } else { Marks::NONE }
    }

    /// The verdict on a value: no space around it, and no control byte but the tab. RFC 9113, section 8.2.1 forbids NUL,
    /// CR and LF; the other control bytes are forbidden by RFC 9110, section 5.5, and no gRPC value may have them.
    pub(crate) fn of_value(value: &[u8]) -> Marks {
        let edge = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let (words, rest) = value.as_chunks::<8>();
        let suspicious = words.iter().any(|word| may_have_control(*word));
        // A fold without an early exit, as above. The octets of a word are looked at one by one only where one may be bad.
        let looked_at = if suspicious { value } else { rest };
        let bad = looked_at.iter().fold(edge(value.first()) | edge(value.last()), |bad, &byte| {
            bad | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
        });
        if bad { Marks::VALUE_MALFORMED } else { Marks::NONE }
    }
}

/// Whether one of eight octets may be a control byte; never misses one, and takes the tab for one.
#[inline]
fn may_have_control(word: [u8; 8]) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * LOW;
    let word = u64::from_ne_bytes(word);
    // An octet below n, for n up to 0x80, borrows into its highest bit; one that had that bit is none of them.
    let below = |word: u64, n: u64| word.wrapping_sub(LOW * n) & !word & HIGH;
    below(word, 0x20) | below(word ^ (LOW * 0x7f), 1) != 0
}

/// Where a field lies in an arena and what is known of it: the memento that lists and HPACK tables share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: u32,
    pub(crate) name_len: u32,
    pub(crate) value_len: u32,
    pub(crate) known: Name,
    pub(crate) marks: Marks,
}

impl Entry {
    /// The bytes of the name that stand in the arena.
    pub(crate) const fn name_stored(&self) -> usize {
        if self.known.is_known() { 0 } else { self.name_len as usize }
    }

    /// The bytes of the field that stand in the arena.
    pub(crate) const fn stored(&self) -> usize {
        self.name_stored() + self.value_len as usize
    }

    /// The field's size by RFC 7541, section 4.1.
    pub(crate) const fn size(&self) -> usize {
        self.name_len as usize + self.value_len as usize + FIELD_OVERHEAD
    }

    /// The field, given the bytes that this entry stored.
    pub(crate) fn field<'a>(&self, stored: &'a [u8]) -> Field<'a> {
        let (name, value) = stored.split_at(self.name_stored());
        let name = if self.known.is_known() { self.known.as_bytes() } else { name };
        Field { name, value, known: self.known, sensitive: self.marks.has(Marks::SENSITIVE) }
    }
}

/// One field of a list.
///
/// `Debug` shows the value of a sensitive field, and of one whose name sounds like a credential, as redacted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name's bytes, lower case if the field is well formed.
    pub name: &'a [u8],
    /// The value's bytes.
    pub value: &'a [u8],
    /// The name, if it is a well-known one.
    pub known: Name,
    /// Never to be indexed by any hop (RFC 7541, section 7.1.3), nor shown in a log.
    pub sensitive: bool,
}

impl Field<'_> {
    /// Should the value stay out of logs?
    fn is_secret(&self) -> bool {
        const PARTS: [&[u8]; 8] =
            [b"auth", b"cookie", b"token", b"secret", b"password", b"credential", b"api-key", b"apikey"];
        let sounds =
            |part: &[u8]| self.name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
        // `:authority` sounds like a credential, so the known names answer for themselves.
        self.sensitive
            || self.known == Name::Cookie
            || (!self.known.is_known() && PARTS.iter().any(|part| sounds(part)))
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name.escape_ascii())?;
        if self.is_secret() { f.write_str("[redacted]") } else { write!(f, "{}", self.value.escape_ascii()) }
    }
}

/// A list of header fields, in order, in one arena.
///
/// ```
/// use corelane_wire::{FieldList, Name};
///
/// let mut fields = FieldList::new();
/// fields.push_known(Name::Status, b"200");
/// fields.push(b"content-type", b"application/grpc");
/// fields.push_sensitive(b"x-session", b"opaque");
///
/// assert_eq!(fields.len(), 3);
/// assert_eq!(fields.get_known(Name::ContentType), Some(&b"application/grpc"[..]));
/// assert_eq!(fields.get(b":status"), Some(&b"200"[..]));
/// assert!(!fields.is_malformed());
/// ```
#[derive(Clone, Default)]
pub struct FieldList {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    size: usize,
    malformed: bool,
}

impl FieldList {
    /// An empty list, which owns no heap.
    #[must_use]
    pub const fn new() -> FieldList {
        FieldList { bytes: Vec::new(), entries: Vec::new(), size: 0, malformed: false }
    }

    /// Empties the list and keeps its storage.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.size = 0;
        self.malformed = false;
    }

    /// Becomes a copy of `other`, in its own storage.
    pub fn copy_from(&mut self, other: &FieldList) {
        self.bytes.clone_from(&other.bytes);
        self.entries.clone_from(&other.entries);
        self.size = other.size;
        self.malformed = other.malformed;
    }

    /// Whether `other` has the same fields in the same order, with the same marks.
    #[inline]
    pub(crate) fn is_same(&self, other: &FieldList) -> bool {
        self.size == other.size && self.bytes == other.bytes && self.entries == other.entries
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there no field?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The list's size by RFC 7541, section 4.1: the octets of names and values, and 32 for each field.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Did a field break the character rules (RFC 9113, section 8.2.1)? A message with such a field is malformed.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// The bytes of heap that this list holds, used or not.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Appends a field.
    ///
    /// Positions have 32 bits: a field of 4 GiB, or one behind so many bytes, is left out, and the list is malformed.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.append(name, value, Name::of(name), Marks::NONE);
    }

    /// Appends a field whose name is a known one: no bytes of the name are compared or stored. [`Name::Other`] and
    /// [`Name::OtherPseudo`] spell no name, so they make a malformed field.
    pub fn push_known(&mut self, name: Name, value: &[u8]) {
        self.append(name.as_bytes(), value, name, Marks::NONE);
    }

    /// Appends a field that no hop may index (RFC 7541, section 7.1.3) and no log may show.
    pub fn push_sensitive(&mut self, name: &[u8], value: &[u8]) {
        self.append(name, value, Name::of(name), Marks::SENSITIVE);
    }

    /// The fields in their order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.bytes, entries: self.entries.iter() }
    }

    /// The field at a position.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Field<'_>> {
        let entry = self.entries.get(index)?;
        Some(entry.field(stored(&self.bytes, entry)))
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The value of the first field of this well-known name.
    #[must_use]
    pub fn get_known(&self, name: Name) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|entry| entry.known == name)?;
        Some(entry.field(stored(&self.bytes, entry)).value)
    }

    /// The values of all fields of this name, in their order.
    pub fn get_all<'a, 'n>(&'a self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let known = Name::of(name);
        self.iter()
            .filter(move |field| field.known == known && (known.is_known() || field.name == name))
            .map(|field| field.value)
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let (mut end, mut size, mut malformed) = (0_usize, 0, false);
        let bytes = &mut self.bytes;
        self.entries.retain_mut(|entry| {
            if !keep(entry.field(stored(bytes, entry))) {
                return false;
            }
            let start = entry.start as usize;
            bytes.copy_within(start..start + entry.stored(), end);
            entry.start = u32::try_from(end).expect("kept fields only move to the front");
            end += entry.stored();
            size += entry.size();
            malformed |= entry.marks.is_malformed();
            true
        });
        self.bytes.truncate(end);
        (self.size, self.malformed) = (size, malformed);
    }

    /// Removes all fields of this name and says how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let (known, before) = (Name::of(name), self.len());
        if self.entries.iter().any(|entry| entry.known == known) {
            self.retain(|field| field.known != known || (!known.is_known() && field.name != name));
        }
        before - self.len()
    }

    /// Gives a field another value, a short one that keeps the character rules.
    pub(crate) fn set_value(&mut self, index: usize, value: &[u8]) {
        let [entry, behind @ ..] = &mut self.entries[index..] else { return };
        let start = entry.start as usize + entry.name_stored();
        let (len_before, len) = (entry.value_len, u32::try_from(value.len()).expect("it is short"));
        let before = start..start + len_before as usize;
        if len_before == len {
            return self.bytes[before].copy_from_slice(value);
        }
        entry.value_len = len;
        behind.iter_mut().for_each(|entry| entry.start = entry.start - len_before + len);
        self.size = self.size - before.len() + value.len();
        self.bytes.splice(before, value.iter().copied());
    }

    fn append(&mut self, name: &[u8], value: &[u8], known: Name, marks: Marks) {
        let marks = marks.with(Marks::of_name(name, known)).with(Marks::of_value(value));
        let position = |len: usize| u32::try_from(len).ok();
        let entry = position(self.bytes.len()).zip(position(name.len())).zip(position(value.len()));
        let Some(((start, name_len), value_len)) = entry else {
            self.malformed = true;
            return;
        };
        let stored = if known.is_known() { &[][..] } else { name };
        self.bytes.reserve(stored.len() + value.len());
        self.bytes.extend_from_slice(stored);
        self.bytes.extend_from_slice(value);
        self.close(Entry { start, name_len, value_len, known, marks });
    }
}

/// What the HPACK decoder does with a list: it writes a field's bytes at the arena's end, and only then knows whether the
/// field enters the list. Between the two the list's last entry does not end where the arena does.
impl FieldList {
    /// The arena, to append a field's bytes to.
    pub(crate) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes the arena's last bytes a field; they are what the entry says.
    pub(crate) fn close(&mut self, entry: Entry) {
        debug_assert_eq!(entry.start as usize + entry.stored(), self.bytes.len());
        self.size += entry.size();
        self.malformed |= entry.marks.is_malformed();
        self.entries.push(entry);
    }

    /// Appends a field from a table: its bytes as the table stored them, and what the table knows of it.
    pub(crate) fn copy(&mut self, entry: &Entry, stored: &[u8]) {
        debug_assert_eq!(stored.len(), entry.stored());
        let start =
            u32::try_from(self.bytes.len()).expect("limits of the decoder keep the arena below 4 GiB");
        self.bytes.extend_from_slice(stored);
        self.close(Entry { start, ..*entry });
    }

    /// The last field, as a table would store it.
    pub(crate) fn last_stored(&self) -> Option<(Entry, &[u8])> {
        self.entries.last().map(|entry| (*entry, stored(&self.bytes, entry)))
    }

    /// Forgets bytes that did not become a field.
    pub(crate) fn abandon(&mut self) {
        let end = self.entries.last().map_or(0, |entry| entry.start as usize + entry.stored());
        self.bytes.truncate(end);
    }
}

fn stored<'a>(bytes: &'a [u8], entry: &Entry) -> &'a [u8] {
    let start = entry.start as usize;
    &bytes[start..start + entry.stored()]
}

/// The fields of a list, in their order.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    entries: core::slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let entry = self.entries.next()?;
        Some(entry.field(stored(self.bytes, entry)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next_back()?;
        Some(entry.field(stored(self.bytes, entry)))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> IntoIterator for &'a FieldList {
    type Item = Field<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for FieldList {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for FieldList {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> FieldList {
        let mut list = FieldList::new();
        list.extend(fields);
        list
    }
}

/// Equal lists have equal fields in the same order.
impl PartialEq for FieldList {
    fn eq(&self, other: &FieldList) -> bool {
        self.size == other.size && self.iter().eq(other.iter())
    }
}

impl Eq for FieldList {}

impl fmt::Debug for FieldList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn an_entry_is_sixteen_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn fields_come_back_in_their_order() {
        let mut list = FieldList::new();
        list.push(b":path", b"/a");
        list.push(b"x-a", b"1");
        list.push_known(Name::Te, b"trailers");
        list.push_sensitive(b"x-a", b"2");
        list.push(b"empty", b"");
        let got: Vec<_> = list.iter().map(|f| (f.name, f.value, f.known, f.sensitive)).collect();
        assert_eq!(
            got,
            [
                (&b":path"[..], &b"/a"[..], Name::Path, false),
                (b"x-a", b"1", Name::Other, false),
                (b"te", b"trailers", Name::Te, false),
                (b"x-a", b"2", Name::Other, true),
                (b"empty", b"", Name::Other, false),
            ]
        );
        assert_eq!(list.size(), 5 + 2 + 3 + 1 + 2 + 8 + 3 + 1 + 5 + 5 * 32);
        assert_eq!(list.get_all(b"x-a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(list.get(b"x-b"), None);
        assert_eq!(list.get_known(Name::Te), Some(&b"trailers"[..]));
        assert_eq!(list.get_known(Name::Host), None);
        assert_eq!(list.at(1).map(|f| f.value), Some(&b"1"[..]));
        assert_eq!(list.at(5), None);
        assert!(list.iter().rev().map(|f| f.name).eq([&b"empty"[..], b"x-a", b"te", b"x-a", b":path"]));
    }

    #[test]
    fn clear_keeps_the_storage_and_forgets_the_verdict() {
        let mut list = FieldList::new();
        assert_eq!(list.capacity_bytes(), 0);
        list.push(b"BAD", b"1");
        let capacity = list.capacity_bytes();
        list.clear();
        assert_eq!((list.len(), list.size(), list.is_malformed()), (0, 0, false));
        assert_eq!(list.capacity_bytes(), capacity);
        assert_eq!(list, FieldList::new());
    }

    #[test]
    fn removal_leaves_a_list_as_if_the_field_had_never_been() {
        let all = [(":path", "/a"), ("x-a", "1"), ("te", "trailers"), ("x-a", "22"), ("BAD", "2"), ("z", "")];
        let mut list: FieldList = all.into_iter().collect();
        assert!(list.is_malformed());
        assert_eq!(list.remove(b"x-a"), 2);
        assert_eq!(list.remove(b"x-a"), 0);
        assert_eq!(list.remove(b"te"), 1);
        assert_eq!(list.remove(b"x-other"), 0);
        assert!(list.is_malformed());
        assert_eq!(list.remove(b"BAD"), 1);
        assert!(!list.is_malformed());
        assert_eq!(list, [(":path", "/a"), ("z", "")].into_iter().collect());
        list.push(b"y", b"9");
        assert_eq!(list, [(":path", "/a"), ("z", ""), ("y", "9")].into_iter().collect());
        list.retain(|field| field.value == b"9");
        assert_eq!(list, [("y", "9")].into_iter().collect());
        assert_eq!(list.size(), 34);
    }

    #[test]
    fn the_character_rules_are_kept() {
        let malformed = |name: &[u8], value: &[u8]| {
            let mut list = FieldList::new();
            list.push(name, value);
            list.is_malformed()
        };
        for name in [&b"a"[..], b"x-y_z.0", b":foo", b"a!#$%&'*+-.^_`|~"] {
            assert!(!malformed(name, b"v"), "{}", name.escape_ascii());
        }
        for name in
            [&b""[..], b":", b"A", b"x-Y", b"a b", b"a\0", b"a\x7f", b"\xe4", b"a:", b"::a", b":a:b", b"a\r"]
        {
            assert!(malformed(name, b"v"), "{}", name.escape_ascii());
        }
        for value in [&b""[..], b"a", b"a b", b"a\tb", b"\xe4", b"~", b"a:B"] {
            assert!(!malformed(b"n", value), "{}", value.escape_ascii());
        }
        for value in [&b" "[..], b" a", b"a ", b"\ta", b"a\t", b"a\0b", b"a\rb", b"a\nb", b"\x7f", b"\x1b"] {
            assert!(malformed(b"n", value), "{}", value.escape_ascii());
            assert!(malformed(b"te", value), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_known_push_of_no_name_is_malformed() {
        let mut list = FieldList::new();
        list.push_known(Name::Other, b"v");
        assert!(list.is_malformed());
        assert_eq!(list.at(0).map(|field| field.name), Some(&b""[..]));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut list = FieldList::new();
        list.push(b":authority", b"host");
        list.push(b"authorization", b"Bearer hidden");
        list.push(b"cookie", b"hidden");
        list.push(b"x-api-key", b"hidden");
        list.push_sensitive(b"x-plain", b"hidden");
        list.push(b"x-bytes", b"\xff");
        assert_eq!(
            format!("{list:?}"),
            "[:authority: host, authorization: [redacted], cookie: [redacted], x-api-key: [redacted], \
             x-plain: [redacted], x-bytes: \\xff]"
        );
    }
}
