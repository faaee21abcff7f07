//! Replays the blocks that Python's `hpack` has judged (`tests/corpus/hpack`): the same fields, or the same refusal.

#[path = "support/hpack_story.rs"]
mod hpack_story;

use corelane_wire::FieldList;
use corelane_wire::hpack::{DecodeError, Decoder, ListLimits, Outcome};
use hpack_story::{Step, Triple};

const STORIES: &str = include_str!("../../../tests/corpus/hpack/stories.txt");
const LIMITS: ListLimits = ListLimits { size_max: 1 << 24, fields_max: 1_000 };

fn triples(fields: &FieldList) -> Vec<Triple> {
    fields.iter().map(|f| (f.name.to_vec(), f.value.to_vec(), f.sensitive)).collect()
}

#[test]
fn every_block_gives_the_fields_that_the_oracle_found() {
    let (mut blocks, mut refused) = (0, 0);
    for story in hpack_story::read(STORIES) {
        let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
        for (number, step) in story.steps.iter().enumerate() {
            fields.clear();
            match step {
                Step::Size(size) => decoder.set_table_size_max(*size),
                Step::Block(block, expected) => {
                    blocks += 1;
                    let outcome = decoder.decode(block, LIMITS, &mut fields);
                    assert_eq!(outcome, Ok(Outcome::Complete), "{} {number}", story.name);
                    assert_eq!(&triples(&fields), expected, "{} {number}", story.name);
                }
                Step::Refused(block) => {
                    refused += 1;
                    let outcome = decoder.decode(block, LIMITS, &mut fields);
                    assert!(outcome.is_err(), "{} {number}", story.name);
                }
            }
        }
    }
    assert!(blocks >= 400 && refused >= 15, "{blocks} blocks, {refused} refused");
}

#[test]
fn a_block_that_is_too_large_leaves_the_table_right() {
    // Odd blocks are decoded with a limit that no list keeps; the even ones still give every field.
    for story in hpack_story::read(STORIES) {
        let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
        let tight = ListLimits { size_max: 40, fields_max: 1 };
        for (number, step) in story.steps.iter().enumerate() {
            fields.clear();
            match step {
                Step::Size(size) => decoder.set_table_size_max(*size),
                Step::Block(block, expected) if number % 2 == 1 => {
                    let outcome =
                        decoder.decode(block, tight, &mut fields).expect("the block is well formed");
                    assert!(fields.size() <= 40 && fields.len() <= 1);
                    assert_eq!(outcome == Outcome::Complete, fields.len() == expected.len());
                }
                Step::Block(block, expected) => {
                    assert_eq!(decoder.decode(block, LIMITS, &mut fields), Ok(Outcome::Complete));
                    assert_eq!(&triples(&fields), expected, "{} {number}", story.name);
                }
                Step::Refused(block) => {
                    let _: DecodeError = decoder.decode(block, tight, &mut fields).expect_err("malformed");
                }
            }
        }
    }
}
