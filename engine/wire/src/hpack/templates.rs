//! Blocks of lists that come again and again, kept as they were encoded.
//!
//! With a frozen table such a block is the same bytes each time: to compare the list and copy the bytes costs a tenth of encoding
//! it (140 instructions in place of 1,420 for the nine fields of a gRPC request, 2026-11).
//!
//! Does not: decide what is a template; callers know. Invariant: what is kept was encoded with the table as it is now, and is given
//! only for exactly the same fields.

use alloc::vec::Vec;

use crate::field::FieldList;

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
    kept: Vec<Template>,
    /// Where the last one was found.
    latest: usize,
    refused: u32,
}

#[derive(Debug)]
struct Template {
    fields: FieldList,
    block: Vec<u8>,
}

impl Templates {
    /// What `fields` was encoded to.
    #[inline]
    pub(super) fn find(&mut self, fields: &FieldList) -> Option<&[u8]> {
        let is_it = |template: &Template| template.fields.is_same(fields);
        if !self.kept.get(self.latest).is_some_and(is_it) {
            self.latest = self.kept.iter().position(is_it)?;
        }
        self.kept.get(self.latest).map(|template| &template.block[..])
    }

    /// Keeps what `fields` was encoded to.
    pub(super) fn keep(&mut self, fields: &FieldList, block: &[u8]) {
        if block.len() > BLOCK_LEN_MAX {
            return;
        }
        let template = Template { fields: fields.clone(), block: block.to_vec() };
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
        let held = |template: &Template| template.block.capacity() + template.fields.capacity_bytes();
        self.kept.capacity() * size_of::<Template>() + self.kept.iter().map(held).sum::<usize>()
    }

    /// The table has changed.
    pub(super) fn expire(&mut self) {
        self.kept.clear();
        self.latest = 0;
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::hpack::{Decoder, Encoder, ListLimits, Outcome};

    fn list(path: &str) -> FieldList {
        let mut fields = FieldList::new();
        for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", path), ("te", "trailers")] {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        fields
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
            let mut expected = template.clone();
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
        templates.keep(&plain, b"plain");
        assert_eq!(templates.find(&sensitive), None);
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
