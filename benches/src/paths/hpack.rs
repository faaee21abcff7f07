//! Header blocks: of requests that came before, that differ in their timeout, that are all new, and the first of a connection.

use std::hint::black_box;

use corelane_wire::FieldList;
use corelane_wire::hpack::{Decoder, Encoder, ListLimits, Outcome, Template};

use super::Path;

/// Blocks in a step.
const BLOCKS: usize = 100;
const TABLE_SIZE: u32 = 4096;
const LIMITS: ListLimits = ListLimits { size_max: 16 * 1024, fields_max: 100 };

/// The head of a request, as a gRPC client sends it.
#[must_use]
pub fn request() -> FieldList {
    FieldList::from_iter([
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/bench.v1.Bench/Unary"),
        (":authority", "127.0.0.1:50051"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-rust-corelane/0.1.0"),
        ("grpc-accept-encoding", "gzip, deflate, zstd"),
    ])
}

/// The head of a response.
#[must_use]
pub fn response() -> FieldList {
    FieldList::from_iter([(":status", "200"), ("content-type", "application/grpc")])
}

/// The field that differs from call to call: this one, of the call with this number. Numbers far apart repeat.
#[must_use]
pub fn timeout(number: usize) -> (&'static str, String) {
    ("grpc-timeout", format!("{}u", 9_000_000 + number * 37 % 1_000_000))
}

/// Three pairs that are the same in all calls.
pub const METADATA: [(&str, &str); 3] = [
    ("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJiZW5jaCJ9.c2lnbmF0dXJl"),
    ("x-tenant", "a-tenant-of-some-length"),
    ("x-client-version", "2026.11.27"),
];

fn with(mut list: FieldList, more: impl IntoIterator<Item = (&'static str, String)>) -> FieldList {
    list.extend(more);
    list
}

fn timeouts() -> Vec<FieldList> {
    (0..BLOCKS).map(|number| with(request(), [timeout(number)])).collect()
}

/// Values that no table knows, and that the Huffman code makes shorter.
fn metadata() -> Vec<FieldList> {
    let value = |number| format!("a value that is like no other, with number {number}");
    (0..BLOCKS)
        .map(|number| with(request(), [("x-request-id", value(number)), ("x-span", value(number * 7))]))
        .collect()
}

/// Whether what came before is known.
#[derive(Clone, Copy, PartialEq)]
enum Table {
    Kept,
    New,
}

/// Decodes blocks.
pub struct Decode {
    decoder: Decoder,
    blocks: Vec<Vec<u8>>,
    fields: FieldList,
    table: Table,
}

impl Decode {
    /// One request, which came before.
    #[must_use]
    pub fn warm() -> Decode {
        Decode::new(&[request()], Table::Kept, false)
    }

    /// As [`warm`](Self::warm), of a response.
    #[must_use]
    pub fn response() -> Decode {
        Decode::new(&[response()], Table::Kept, false)
    }

    /// Requests whose timeouts differ.
    #[must_use]
    pub fn timeouts() -> Decode {
        Decode::new(&timeouts(), Table::Kept, false)
    }

    /// Requests with metadata that differs, in Huffman's code.
    #[must_use]
    pub fn huffman() -> Decode {
        Decode::new(&metadata(), Table::Kept, true)
    }

    /// The first request of a connection.
    #[must_use]
    pub fn cold() -> Decode {
        Decode::new(&[request()], Table::New, true)
    }

    fn new(lists: &[FieldList], table: Table, huffman: bool) -> Decode {
        let (mut encoder, mut decoder) = (Encoder::new(TABLE_SIZE), Decoder::new(TABLE_SIZE));
        encoder.huffman(huffman);
        let mut fields = FieldList::new();
        let mut encode = |list: &FieldList| {
            let mut block = Vec::new();
            encoder.encode(list, &mut block);
            fields.clear();
            assert_eq!(decoder.decode(&block, LIMITS, &mut fields), Ok(Outcome::Complete));
            assert_eq!(fields, *list);
            block
        };
        let cold: Vec<_> = lists.iter().map(&mut encode).collect();
        let warm: Vec<_> = lists.iter().map(encode).collect();
        Decode { decoder, blocks: if table == Table::New { cold } else { warm }, fields, table }
    }
}

impl Path for Decode {
    fn operations(&self) -> u64 {
        BLOCKS as u64
    }

    fn step(&mut self) {
        for block in self.blocks.iter().cycle().take(BLOCKS) {
            if self.table == Table::New {
                self.decoder = Decoder::new(TABLE_SIZE);
            }
            self.fields.clear();
            let decoded = self.decoder.decode(black_box(block), LIMITS, &mut self.fields);
            assert_eq!(decoded, Ok(Outcome::Complete));
        }
    }
}

/// Encodes blocks.
pub struct Encode {
    encoder: Encoder,
    table: Table,
    lists: Vec<FieldList>,
    /// What comes before each list.
    template: Option<Template>,
    out: Vec<u8>,
}

impl Encode {
    /// One request, which went before.
    #[must_use]
    pub fn warm() -> Encode {
        Encode::new(vec![request()], None, Table::Kept)
    }

    /// As [`warm`](Self::warm), of a response.
    #[must_use]
    pub fn response() -> Encode {
        Encode::new(vec![response()], None, Table::Kept)
    }

    /// One request, which is known to repeat.
    #[must_use]
    pub fn template() -> Encode {
        Encode::new(vec![FieldList::new()], Some(request().into()), Table::Kept)
    }

    /// Requests which are known to repeat but for their timeouts.
    #[must_use]
    pub fn timeouts() -> Encode {
        let timeouts = (0..BLOCKS).map(|number| FieldList::from_iter([timeout(number)])).collect();
        Encode::new(timeouts, Some(request().into()), Table::Kept)
    }

    /// The first request of a connection.
    #[must_use]
    pub fn cold() -> Encode {
        Encode::new(vec![request()], None, Table::New)
    }

    fn new(lists: Vec<FieldList>, template: Option<Template>, table: Table) -> Encode {
        let mut path = Encode { encoder: Encoder::new(TABLE_SIZE), table, lists, template, out: Vec::new() };
        path.step();
        path
    }
}

impl Path for Encode {
    fn operations(&self) -> u64 {
        BLOCKS as u64
    }

    fn step(&mut self) {
        for list in self.lists.iter().cycle().take(BLOCKS) {
            if self.table == Table::New {
                self.encoder = Encoder::new(TABLE_SIZE);
            }
            self.out.clear();
            match &self.template {
                Some(template) => {
                    self.encoder.encode_template(template, Some(black_box(list)), &mut self.out)
                }
                None => self.encoder.encode(black_box(list), &mut self.out),
            }
            black_box(&self.out);
        }
    }
}
