//! What the encoder writes: the frozen table, the announced sizes, the octets of a gRPC call.

use corelane_wire::FieldList;
use corelane_wire::hpack::{Decoder, Encoder, Indexing, ListLimits, Outcome};
use proptest::prelude::*;

const NO_LIMITS: ListLimits = ListLimits { size_max: usize::MAX, fields_max: usize::MAX };

fn block(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode(&fields.iter().copied().collect(), &mut out);
    out
}

#[test]
fn a_warm_call_is_an_octet_a_field() {
    let mut server = Encoder::new(4096);
    let (head, trailers) =
        ([(":status", "200"), ("content-type", "application/grpc")], [("grpc-status", "0")]);
    assert_eq!(block(&mut server, &head), b"\x88\x5f\x10application/grpc");
    assert_eq!(block(&mut server, &trailers), b"\x40\x0bgrpc-status\x010");
    assert_eq!(block(&mut server, &head), [0x88, 0xbf]);
    assert_eq!(block(&mut server, &trailers), [0xbe]);

    let mut client = Encoder::new(4096);
    let request = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a.B/C"),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "corelane"),
    ];
    block(&mut client, &request);
    assert_eq!(block(&mut client, &request), [0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe]);
}

#[test]
fn what_differs_in_each_call_leaves_the_table_as_it_is() {
    let mut encoder = Encoder::new(4096);
    block(&mut encoder, &[("grpc-status", "0")]);
    let size = encoder.table_size();
    // The name is taken from the table, the rest is a literal.
    assert_eq!(block(&mut encoder, &[("grpc-status", "5")]), b"\x0f\x2f\x015");
    assert_eq!(block(&mut encoder, &[("grpc-timeout", "1S")]), b"\x00\x0cgrpc-timeout\x021S");
    assert_eq!(block(&mut encoder, &[("x-id", "1")]), b"\x00\x04x-id\x011");
    assert_eq!(block(&mut encoder, &[("content-length", "7")]), b"\x0f\x0d\x017");
    assert_eq!(encoder.table_size(), size);
}

#[test]
fn a_full_table_is_frozen() {
    let mut encoder = Encoder::new(100);
    block(&mut encoder, &[]);
    assert_eq!(block(&mut encoder, &[("te", "trailers")]), b"\x40\x02te\x08trailers");
    assert_eq!(
        block(&mut encoder, &[(":path", "/too/large/for/the/rest")]),
        b"\x04\x17/too/large/for/the/rest"
    );
    assert_eq!(block(&mut encoder, &[(":path", "/small")]), b"\x44\x06/small");
    assert_eq!(block(&mut encoder, &[(":path", "/other")]), b"\x04\x06/other");
    assert_eq!(block(&mut encoder, &[("te", "trailers"), (":path", "/small")]), [0xbf, 0xbe]);
}

#[test]
fn sensitive_fields_are_never_indexed() {
    let mut encoder = Encoder::new(4096);
    let mut fields = FieldList::new();
    fields.push_sensitive(b"authorization", b"s");
    fields.push_sensitive(b"x-key", b"s");
    // Even what the static table has: an intermediary has to see that it is sensitive.
    fields.push_sensitive(b":method", b"GET");
    let mut out = Vec::new();
    encoder.encode(&fields, &mut out);
    assert_eq!(out, b"\x1f\x08\x01s\x10\x05x-key\x01s\x12\x03GET");
    assert_eq!(encoder.table_size(), 0);
}

#[test]
fn sizes_are_announced_once_the_lowest_first() {
    let mut encoder = Encoder::new(4096);
    block(&mut encoder, &[("te", "trailers")]);
    // More than our 4096 changes nothing.
    encoder.set_peer_table_size(65_536);
    assert_eq!(block(&mut encoder, &[("te", "trailers")]), [0xbe]);
    encoder.set_peer_table_size(0);
    encoder.set_peer_table_size(30);
    assert_eq!(block(&mut encoder, &[(":method", "GET")]), [0x20, 0x3e, 0x82]);
    encoder.set_peer_table_size(8_192);
    assert_eq!(block(&mut encoder, &[("te", "trailers")]), b"\x3f\xe1\x1f\x40\x02te\x08trailers");
    assert_eq!(block(&mut encoder, &[("te", "trailers")]), [0xbe]);
    // Down and up again between two blocks: the entries are gone.
    encoder.set_peer_table_size(0);
    encoder.set_peer_table_size(4_096);
    assert_eq!(block(&mut encoder, &[]), [0x20, 0x3f, 0xe1, 0x1f]);
    assert_eq!(encoder.table_size(), 0);
    assert_eq!(block(&mut encoder, &[]), []);
}

#[test]
fn a_cap_below_the_default_is_announced_at_first() {
    let mut encoder = Encoder::new(0);
    assert_eq!(block(&mut encoder, &[("te", "trailers")]), b"\x20\x00\x02te\x08trailers");
    encoder.set_peer_table_size(4_096);
    assert_eq!(block(&mut encoder, &[(":method", "GET")]), [0x82]);
}

#[test]
fn huffman_is_used_where_it_is_shorter() {
    let mut encoder = Encoder::new(4096);
    encoder.huffman(true);
    assert_eq!(block(&mut encoder, &[("x", "www.example.com")]), {
        let mut expected = b"\x00\x01x\x8c".to_vec();
        expected.extend([0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]);
        expected
    });
    assert_eq!(block(&mut encoder, &[("x", "{{{")]), b"\x00\x01x\x03{{{");
}

#[derive(Clone, Debug)]
enum Step {
    Block(Vec<(Vec<u8>, Vec<u8>, Indexing)>),
    List(Vec<(Vec<u8>, Vec<u8>, bool)>),
    Sizes(Vec<u32>),
}

const COMMON: [&str; 11] = [
    ":method",
    ":path",
    ":authority",
    ":status",
    "te",
    "content-type",
    "grpc-status",
    "x-a",
    "x-b",
    "cookie",
    "",
];

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::sample::select(&COMMON[..]).prop_map(|name| name.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(&["", "0", "GET", "200", "/", "trailers", "application/grpc"][..])
            .prop_map(|value| value.as_bytes().to_vec()),
        2 => "[ -~]{0,80}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let indexing = prop::sample::select(&[Indexing::Incremental, Indexing::Literal, Indexing::Never][..]);
    prop_oneof![
        3 => prop::collection::vec((name(), value(), indexing), 0..12).prop_map(Step::Block),
        3 => prop::collection::vec((name(), value(), any::<bool>()), 0..12).prop_map(Step::List),
        1 => prop::collection::vec(prop_oneof![0_u32..300, 0_u32..10_000], 1..4).prop_map(Step::Sizes),
    ]
}

proptest! {
    /// Whatever is encoded comes back, sensitivity included, and both tables stay the same.
    #[test]
    fn what_is_encoded_is_decoded(steps in prop::collection::vec(step(), 1..20), huffman: bool, cap in 0_u32..6_000) {
        let (mut encoder, mut decoder) = (Encoder::new(cap), Decoder::new(4096));
        encoder.huffman(huffman);
        for step in steps {
            let (mut fields, mut out) = (FieldList::new(), Vec::new());
            match step {
                Step::Sizes(sizes) => {
                    for size in sizes {
                        decoder.set_table_size_max(size);
                        encoder.set_peer_table_size(size);
                    }
                    continue;
                }
                Step::Block(block) => {
                    encoder.begin(&mut out);
                    for (name, value, indexing) in block {
                        encoder.field(&name, &value, indexing, &mut out);
                        push(&mut fields, &name, &value, indexing == Indexing::Never);
                    }
                }
                Step::List(list) => {
                    for (name, value, sensitive) in list {
                        push(&mut fields, &name, &value, sensitive);
                    }
                    encoder.encode(&fields, &mut out);
                }
            }
            let mut got = FieldList::new();
            prop_assert_eq!(decoder.decode(&out, NO_LIMITS, &mut got), Ok(Outcome::Complete));
            prop_assert_eq!(&got, &fields);
            prop_assert_eq!(got.is_malformed(), fields.is_malformed());
            prop_assert_eq!(got.size(), fields.size());
            prop_assert_eq!(encoder.table_size(), decoder.table_size());
            prop_assert!(encoder.table_size() <= 4096);
        }
    }
}

fn push(fields: &mut FieldList, name: &[u8], value: &[u8], sensitive: bool) {
    if sensitive { fields.push_sensitive(name, value) } else { fields.push(name, value) }
}
