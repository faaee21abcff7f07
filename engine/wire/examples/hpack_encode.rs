//! Encodes the fields of HPACK stories with our encoder, for `tests/corpus/hpack/check.py` to decode with Python's `hpack`.
//!
//! Takes the path of a file of stories and writes the same stories with our blocks, each story three times: as
//! `Encoder::encode` makes it, the same with Huffman codes, and with every field offered to the table.

#[path = "../tests/support/hpack_story.rs"]
mod hpack_story;

use corelane_wire::FieldList;
use corelane_wire::hpack::{Encoder, Indexing};
use hpack_story::{Step, Story, Triple};
use std::io::Write;

#[derive(Clone, Copy)]
enum Manner {
    Plain,
    Huffman,
    Eager,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("the path of a file of stories is missing")?;
    let mut out = std::io::stdout().lock();
    for story in hpack_story::read(&std::fs::read_to_string(path)?) {
        for (word, manner) in
            [("plain", Manner::Plain), ("huffman", Manner::Huffman), ("eager", Manner::Eager)]
        {
            writeln!(out, "story {}/{word}", story.name)?;
            tell(&story, manner, &mut out)?;
        }
    }
    Ok(())
}

fn tell(story: &Story, manner: Manner, out: &mut impl Write) -> std::io::Result<()> {
    let mut encoder = Encoder::new(4096);
    encoder.huffman(!matches!(manner, Manner::Plain));
    for step in &story.steps {
        match step {
            Step::Size(size) => {
                encoder.set_peer_table_size(*size);
                writeln!(out, "size {size}")?;
            }
            Step::Block(_, fields) => {
                let block = encode(&mut encoder, fields, manner);
                let hex: String = block.iter().map(|octet| format!("{octet:02x}")).collect();
                writeln!(out, "block {hex}")?;
            }
            Step::Refused(block) => writeln!(out, "# {} octets that a decoder refuses", block.len())?,
        }
    }
    Ok(())
}

fn encode(encoder: &mut Encoder, fields: &[Triple], manner: Manner) -> Vec<u8> {
    let mut block = Vec::new();
    if let Manner::Eager = manner {
        encoder.begin(&mut block);
        for (name, value, sensitive) in fields {
            let indexing = if *sensitive { Indexing::Never } else { Indexing::Incremental };
            encoder.field(name, value, indexing, &mut block);
        }
        return block;
    }
    let mut list = FieldList::new();
    for (name, value, sensitive) in fields {
        if *sensitive {
            list.push_sensitive(name, value);
        } else {
            list.push(name, value);
        }
    }
    encoder.encode(&list, &mut block);
    block
}
