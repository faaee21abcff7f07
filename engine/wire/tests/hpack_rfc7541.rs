//! The examples of RFC 7541, appendix C.

#[path = "support/hpack_story.rs"]
#[expect(dead_code, reason = "only the hexadecimal reader is used here")]
mod hpack_story;

use corelane_wire::FieldList;
use corelane_wire::hpack::{Decoder, Encoder, Indexing, ListLimits, Outcome};
use hpack_story::hex;

type Fields = &'static [(&'static str, &'static str)];

const LIMITS: ListLimits = ListLimits { size_max: 16_384, fields_max: 100 };

const REQUEST_1: Fields =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const REQUEST_2: Fields = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const REQUEST_3: Fields = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];
const RESPONSE_1: Fields = &[
    (":status", "302"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
];
const RESPONSE_2: Fields = &[
    (":status", "307"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
];
const RESPONSE_3: Fields = &[
    (":status", "200"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
    ("location", "https://www.example.com"),
    ("content-encoding", "gzip"),
    ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
];

/// Appendices C.3 and C.4: the block, its fields, the table's size behind it.
const REQUESTS_PLAIN: [(&str, Fields, usize); 3] = [
    ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUEST_1, 57),
    ("8286 84be 5808 6e6f 2d63 6163 6865", REQUEST_2, 110),
    ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", REQUEST_3, 164),
];
const REQUESTS_HUFFMAN: [(&str, Fields, usize); 3] = [
    ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUEST_1, 57),
    ("8286 84be 5886 a8eb 1064 9cbf", REQUEST_2, 110),
    ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUEST_3, 164),
];

/// Appendices C.5 and C.6, with a table of 256 octets, so that entries are evicted.
const RESPONSES_PLAIN: [(&str, Fields, usize); 3] = [
    (
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
         6c65 2e63 6f6d",
        RESPONSE_1,
        222,
    ),
    ("4803 3330 37c1 c0bf", RESPONSE_2, 222),
    (
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
         3d31",
        RESPONSE_3,
        215,
    ),
];
const RESPONSES_HUFFMAN: [(&str, Fields, usize); 3] = [
    (
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        RESPONSE_1,
        222,
    ),
    ("4883 640e ffc1 c0bf", RESPONSE_2, 222),
    (
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
         9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        RESPONSE_3,
        215,
    ),
];

fn list(fields: Fields) -> FieldList {
    fields.iter().copied().collect()
}

fn decode_one(block: &str) -> (FieldList, usize) {
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    assert_eq!(decoder.decode(&hex(block), LIMITS, &mut fields), Ok(Outcome::Complete));
    (fields, decoder.table_size())
}

fn assert_decodes(table_size: u32, examples: &[(&str, Fields, usize)]) {
    let (mut decoder, mut fields) = (Decoder::new(table_size), FieldList::new());
    for &(block, expected, size) in examples {
        fields.clear();
        assert_eq!(decoder.decode(&hex(block), LIMITS, &mut fields), Ok(Outcome::Complete));
        assert_eq!(fields, list(expected));
        assert_eq!(decoder.table_size(), size);
    }
}

#[test]
fn c_2_each_representation() {
    let custom = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    assert_eq!(decode_one(custom), (list(&[("custom-key", "custom-header")]), 55));
    assert_eq!(decode_one("040c 2f73 616d 706c 652f 7061 7468"), (list(&[(":path", "/sample/path")]), 0));
    assert_eq!(decode_one("82"), (list(&[(":method", "GET")]), 0));

    let mut secret = FieldList::new();
    secret.push_sensitive(b"password", b"secret");
    assert_eq!(decode_one("1008 7061 7373 776f 7264 0673 6563 7265 74"), (secret, 0));
}

#[test]
fn c_3_and_c_4_requests() {
    assert_decodes(4096, &REQUESTS_PLAIN);
    assert_decodes(4096, &REQUESTS_HUFFMAN);
}

#[test]
fn c_5_and_c_6_responses_with_eviction() {
    assert_decodes(256, &RESPONSES_PLAIN);
    assert_decodes(256, &RESPONSES_HUFFMAN);
}

#[test]
fn the_requests_are_encoded_to_the_same_octets() {
    for (huffman, examples) in [(false, REQUESTS_PLAIN), (true, REQUESTS_HUFFMAN)] {
        let mut encoder = Encoder::new(4096);
        encoder.huffman(huffman);
        for (expected, fields, size) in examples {
            let mut block = Vec::new();
            encoder.begin(&mut block);
            for (name, value) in fields {
                encoder.field(name.as_bytes(), value.as_bytes(), Indexing::Incremental, &mut block);
            }
            assert_eq!(block, hex(expected));
            assert_eq!(encoder.table_size(), size);
        }
    }
}

#[test]
fn the_literals_of_c_2_are_encoded_to_the_same_octets() {
    let encode = |name: &str, value: &str, indexing| {
        let (mut encoder, mut block) = (Encoder::new(4096), Vec::new());
        encoder.begin(&mut block);
        encoder.field(name.as_bytes(), value.as_bytes(), indexing, &mut block);
        block
    };
    assert_eq!(encode(":path", "/sample/path", Indexing::Literal), hex("040c 2f73 616d 706c 652f 7061 7468"));
    assert_eq!(
        encode("password", "secret", Indexing::Never),
        hex("1008 7061 7373 776f 7264 0673 6563 7265 74")
    );
    assert_eq!(encode(":method", "GET", Indexing::Literal), hex("82"));
}
