//! Blocks of lists that come again and again, kept as they were encoded.
//!
//! With a frozen table such a block is the same bytes each time: to know the list and copy the bytes costs little beside encoding
//! it (1,420 instructions for the nine fields of a gRPC request, 2026-11). One is known by its number; one with
//! a number that is new is compared, field by field, for two services may well have the same heads.
//!
//! Does not: decide what is a template; callers know. Invariant: what is kept was encoded with the table as it is now, and is given
//! only for exactly the same fields.

use alloc::vec::Vec;
use core::ops::Deref;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::field::FieldList;

/// A list that comes again and again, and does not change any more: the head of a method's requests, the trailers of success.
///
/// ```
/// use corelane_wire::FieldList;
/// use corelane_wire::hpack::Template;
///
/// let trailers = Template::from(FieldList::from_iter([("grpc-status", "0")]));
/// assert_eq!(trailers.get(b"grpc-status"), Some(&b"0"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct Template {
    fields: FieldList,
    /// No other list has it, but clones of this one.
    number: u64,
}

impl From<FieldList> for Template {
    fn from(fields: FieldList) -> Template {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        // Relaxed: that numbers differ is all that matters, and nothing else is shared.
        Template { fields, number: NUMBERS.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Deref for Template {
    type Target = FieldList;

    fn deref(&self) -> &FieldList {
        &self.fields
    }
}

/// Templates of one connection: a client's methods, or a server's heads and trailers.
const TEMPLATES_MAX: usize = 16;
/// Of so many lists that find no room, one replaces another: who uses more than [`TEMPLATES_MAX`] in turn would else copy each
/// time.
const REPLACE_EVERY: u32 = 32;
/// The longest block that is kept.
const BLOCK_LEN_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Templates {
    kept: Vec<Kept>,
    refused: u32,
}

#[derive(Debug)]
struct Kept {
    /// The last of all with these fields.
    number: u64,
    fields: FieldList,
    block: Vec<u8>,
}

impl Templates {
    /// What `template` was encoded to.
    #[inline]
    pub(super) fn find(&mut self, template: &Template) -> Option<&[u8]> {
        // A server's heads and trailers take turns.
        let has_number = |kept: &Kept| kept.number == template.number;
        let index = match self.kept.iter().position(has_number) {
            Some(index) => index,
            None => self.search(template)?,
        };
        self.kept.get(index).map(|kept| &kept.block[..])
    }

    #[cold]
    fn search(&mut self, template: &Template) -> Option<usize> {
        let index = self.kept.iter().position(|kept| kept.fields.is_same(template))?;
        self.kept[index].number = template.number;
        Some(index)
    }

    /// Keeps what `template` was encoded to.
    pub(super) fn keep(&mut self, template: &Template, block: &[u8]) {
        if block.len() > BLOCK_LEN_MAX {
            return;
        }
        let Template { number, ref fields } = *template;
        let template = Kept { number, fields: fields.clone(), block: block.to_vec() };
        if self.kept.len() < TEMPLATES_MAX {
            self.kept.push(template);
            return;
        }
        self.refused = self.refused.wrapping_add(1);
        if self.refused.is_multiple_of(REPLACE_EVERY) {
            let index = (self.refused / REPLACE_EVERY) as usize % TEMPLATES_MAX;
            self.kept[index] = template;
        }
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        let held = |template: &Kept| template.block.capacity() + template.fields.capacity_bytes();
        self.kept.capacity() * size_of::<Kept>() + self.kept.iter().map(held).sum::<usize>()
    }

    /// The table has changed.
    pub(super) fn expire(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::hpack::{Decoder, Encoder, ListLimits, Outcome};

    fn list(path: &str) -> Template {
        let fields = [(":method", "POST"), (":scheme", "http"), (":path", path), ("te", "trailers")];
        FieldList::from_iter(fields).into()
    }

    #[test]
    fn a_template_decodes_to_the_same_list_however_often_and_whatever_comes_between() {
        let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
        let mut more = FieldList::new();
        more.push(b"x-differs", b"1");
        for round in 0..200_u32 {
            // More paths than are kept, sizes that change, and what is no template.
            let template = list(&format!("/a.B/{}", round % 23));
            if round % 50 == 49 {
                encoder.set_peer_table_size(if round % 100 == 99 { 4096 } else { 300 });
            }
            let (mut block, mut decoded) = (Vec::new(), FieldList::new());
            let with_more = (round % 3 == 0).then_some(&more);
            encoder.encode_template(&template, with_more, &mut block);
            let limits = ListLimits { size_max: 4096, fields_max: 100 };
            assert_eq!(decoder.decode(&block, limits, &mut decoded), Ok(Outcome::Complete));
            let mut expected = template.fields.clone();
            if with_more.is_some() {
                expected.push(b"x-differs", b"1");
            }
            assert_eq!(decoded, expected, "round {round}");
        }
        assert!(encoder.capacity_bytes() < 64 * 1024);
    }

    #[test]
    fn an_encoder_that_shrinks_keeps_its_table_and_says_the_same() {
        let mut encoder = Encoder::new(4096);
        let encode = |encoder: &mut Encoder| {
            let mut block = Vec::new();
            encoder.encode_template(&list("/a.B/C"), None, &mut block);
            block
        };
        // The first one inserts its fields, and is no template.
        encode(&mut encoder);
        let table_only = encoder.capacity_bytes();
        let block = encode(&mut encoder);
        assert!(encoder.capacity_bytes() > table_only + block.len());
        encoder.shrink();
        assert_eq!(encoder.capacity_bytes(), table_only);
        assert_eq!(encode(&mut encoder), block);
    }

    #[test]
    fn a_list_that_differs_in_one_octet_is_another() {
        let mut templates = Templates::default();
        templates.keep(&list("/a.B/C"), b"block");
        assert_eq!(templates.find(&list("/a.B/C")), Some(&b"block"[..]));
        assert_eq!(templates.find(&list("/a.B/D")), None);
        let mut sensitive = FieldList::new();
        sensitive.push_sensitive(b"x", b"1");
        let mut plain = FieldList::new();
        plain.push(b"x", b"1");
        let (sensitive, plain) = (Template::from(sensitive), Template::from(plain));
        templates.keep(&plain, b"plain");
        assert_eq!(templates.find(&sensitive), None);
        assert_eq!(templates.find(&plain), Some(&b"plain"[..]));
        templates.expire();
        assert_eq!(templates.find(&plain), None);
    }

    #[test]
    fn they_are_few_and_short() {
        let mut templates = Templates::default();
        templates.keep(&list("/long"), &[0; BLOCK_LEN_MAX + 1]);
        assert!(templates.kept.is_empty());
        for n in 0..1_000 {
            templates.keep(&list(&format!("/{n}")), b"block");
        }
        assert_eq!(templates.kept.len(), TEMPLATES_MAX);
        assert!(templates.capacity_bytes() < 16 * 1024, "{}", templates.capacity_bytes());
    }
}
