//! What a fuzzer calls. A unit test calls it too, with the committed stories and with octets of a seeded generator.

use super::{Decoder, Encoder, ListLimits, Outcome};
use crate::field::FieldList;
use alloc::vec::Vec;

/// Decodes `data` as the blocks of one connection, with limits that `data` chooses, and encodes again what came out.
///
/// # Panics
///
/// If a promise of the decoder or of the encoder is broken.
pub fn fuzz_decode(data: &[u8]) {
    let [table, size, count, settings, blocks @ ..] = data else { return };
    let table_size_max = u32::from(*table) * 32;
    let limits = ListLimits { size_max: usize::from(*size) * 64, fields_max: usize::from(*count) };
    let (mut decoder, mut fields) = (Decoder::new(table_size_max), FieldList::new());
    let (mut encoder, mut back) = (Encoder::new(table_size_max), Decoder::new(4096));
    encoder.huffman(settings & 1 == 1);
    let mut rest = blocks;
    while let [len, tail @ ..] = rest {
        let (block, tail) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = tail;
        fields.clear();
        let outcome = decoder.decode(block, limits, &mut fields);
        assert!(decoder.table_size() <= 255 * 32);
        assert!(fields.size() <= limits.size_max && fields.len() <= limits.fields_max);
        assert_eq!(fields.size(), fields.iter().map(|f| f.name.len() + f.value.len() + 32).sum::<usize>());
        assert_eq!(fields.is_malformed(), rebuilt(&fields).is_malformed());
        assert_same_again(&fields, &mut encoder, &mut back);
        if let Err(error) = outcome {
            assert_eq!(decoder.decode(&[], limits, &mut fields), Err(error), "an error stays");
            return;
        }
        if settings & 2 == 2 {
            let size = u32::from(*len) * 8;
            decoder.set_table_size_max(size);
            encoder.set_peer_table_size(size);
        }
    }
}

/// The same fields, pushed one by one: what the tables remember has to be what a second look finds.
fn rebuilt(fields: &FieldList) -> FieldList {
    let mut list = FieldList::new();
    for field in fields {
        if field.sensitive {
            list.push_sensitive(field.name, field.value);
        } else {
            list.push(field.name, field.value);
        }
    }
    assert_eq!(&list, fields);
    list
}

fn assert_same_again(fields: &FieldList, encoder: &mut Encoder, decoder: &mut Decoder) {
    let (mut block, mut again) = (Vec::new(), FieldList::new());
    encoder.encode(fields, &mut block);
    let limits = ListLimits { size_max: usize::MAX, fields_max: usize::MAX };
    assert_eq!(decoder.decode(&block, limits, &mut again), Ok(Outcome::Complete));
    assert_eq!(&again, fields);
    assert_eq!(encoder.table_size(), decoder.table_size());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steele, Lea and Flood's SplitMix64: the same numbers on every machine.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        }

        fn octet(&mut self) -> u8 {
            self.next().to_be_bytes()[0]
        }

        fn below(&mut self, bound: usize) -> usize {
            usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
        }
    }

    #[test]
    fn random_octets() {
        let mut random = Random(1);
        for _ in 0..20_000 {
            let len = random.below(300);
            let data: Vec<u8> = (0..len).map(|_| random.octet()).collect();
            fuzz_decode(&data);
        }
    }

    #[test]
    fn the_stories_with_octets_changed() {
        let mut random = Random(2);
        for data in stories() {
            fuzz_decode(&data);
            for _ in 0..300 {
                let mut changed = data.clone();
                for _ in 0..=random.below(3) {
                    let at = random.below(changed.len());
                    match random.below(4) {
                        0 => changed[at] = random.octet(),
                        1 => changed[at] ^= 1 << random.below(8),
                        2 => changed.insert(at, random.octet()),
                        _ => changed.truncate(at.max(4)),
                    }
                }
                fuzz_decode(&changed);
            }
        }
    }

    /// The blocks of each committed story, as the body takes them.
    fn stories() -> Vec<Vec<u8>> {
        let text = include_str!("../../../../tests/corpus/hpack/stories.txt");
        let mut stories = Vec::new();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("story", _)) => stories.push(std::vec![128, 255, 255, 0]),
                Some(("block", hex)) => {
                    let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                    let block: Vec<u8> = (0..hex.len()).step_by(2).map(octet).collect();
                    let Ok(len) = u8::try_from(block.len()) else { continue };
                    let story = stories.last_mut().unwrap();
                    story.push(len);
                    story.extend(block);
                }
                _ => {}
            }
        }
        assert!(stories.len() > 10);
        stories
    }
}
