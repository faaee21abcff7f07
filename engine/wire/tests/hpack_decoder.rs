//! What the decoder refuses, what it limits, and what it remembers of a field.

use corelane_wire::hpack::{DecodeError, Decoder, ListLimits, Outcome};
use corelane_wire::{FieldList, Name};

const LIMITS: ListLimits = ListLimits { size_max: 16_384, fields_max: 100 };

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<FieldList, DecodeError> {
    let mut fields = FieldList::new();
    let outcome = decoder.decode(block, LIMITS, &mut fields)?;
    assert_eq!(outcome, Outcome::Complete);
    Ok(fields)
}

fn refusal(block: &[u8]) -> DecodeError {
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    let error = decoder.decode(block, LIMITS, &mut fields).expect_err("the block is malformed");
    assert_eq!(decoder.decode(b"\x82", LIMITS, &mut fields), Err(error), "an error stays");
    error
}

/// A literal that is inserted.
fn inserted(name: &[u8], value: &[u8]) -> Vec<u8> {
    let octet = |len: usize| [u8::try_from(len).expect("a short string")];
    [&[0x40][..], &octet(name.len()), name, &octet(value.len()), value].concat()
}

#[test]
fn an_index_beyond_the_tables_is_refused() {
    for block in
        [&b"\x80"[..], b"\xbe", b"\xff\xff\xff\xff\x7f", b"\x7e\x01a", b"\x0f\x2f\x01a", b"\x1f\x2f\x01a"]
    {
        assert_eq!(refusal(block), DecodeError::Index, "{block:x?}");
    }
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &inserted(b"x-a", b"1")).unwrap();
    assert_eq!(decode(&mut decoder, b"\xbe").unwrap().get(b"x-a"), Some(&b"1"[..]));
    assert_eq!(decode(&mut decoder, b"\xbf"), Err(DecodeError::Index));
}

#[test]
fn a_block_cut_within_a_field_is_truncated() {
    // An index, a literal, and one with a Huffman code.
    let block = [&b"\x82"[..], &inserted(b"x-name", b"value"), b"\x04\x82\x64\x02"].concat();
    let complete = [0, 1, 15, 19];
    for end in 0..=block.len() {
        let outcome = Decoder::new(4096).decode(&block[..end], LIMITS, &mut FieldList::new());
        let expected =
            if complete.contains(&end) { Ok(Outcome::Complete) } else { Err(DecodeError::Truncated) };
        assert_eq!(outcome, expected, "{end}");
    }
}

#[test]
fn a_length_beyond_the_block_stores_nothing() {
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    // A name of 2^28 octets, of which three are there.
    let block = b"\x40\x7f\x81\xff\xff\x7fabc";
    assert_eq!(decoder.decode(block, LIMITS, &mut fields), Err(DecodeError::Truncated));
    assert_eq!(fields.capacity_bytes(), 0);
    assert_eq!(refusal(b"\x40\xff\x81\xff\xff\x7fabc"), DecodeError::Truncated);
}

#[test]
fn integers_and_strings_that_are_malformed_are_refused() {
    assert_eq!(refusal(b"\xff\x80\x80\x80\x80\x00"), DecodeError::IntegerTooLong);
    assert_eq!(refusal(b"\x40\x7f\xff\xff\xff\xff\xff\xff\xff\x0f"), DecodeError::IntegerTooLong);
    assert_eq!(refusal(b"\x40\x01a\x84\xff\xff\xff\xff"), DecodeError::Huffman);
    assert_eq!(refusal(b"\x40\x01a\x82\xf8\xff"), DecodeError::Huffman);
    assert_eq!(refusal(b"\x40\x01a\x81\x00"), DecodeError::Huffman);
}

#[test]
fn the_list_keeps_what_came_before_an_error() {
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    assert_eq!(decoder.decode(b"\x82\x00\x03x-a\x05ab", LIMITS, &mut fields), Err(DecodeError::Truncated));
    assert_eq!(fields, [(":method", "GET")].into_iter().collect());
    fields.push(b"x", b"y");
    assert_eq!(fields, [(":method", "GET"), ("x", "y")].into_iter().collect());
}

#[test]
fn size_updates_stand_in_front_and_below_the_maximum() {
    // 4096, 4097, and one behind a field.
    assert_eq!(decode(&mut Decoder::new(4096), b"\x3f\xe1\x1f\x82").map(|fields| fields.len()), Ok(1));
    assert_eq!(refusal(b"\x3f\xe2\x1f\x82"), DecodeError::SizeUpdateTooLarge);
    assert_eq!(refusal(b"\x82\x20"), DecodeError::SizeUpdateMisplaced);
    // A table of 8192 is allowed, but has to be announced.
    let mut decoder = Decoder::new(8192);
    assert!(decode(&mut decoder, b"\x3f\xe1\x3f\x82").is_ok());
    assert_eq!(decode(&mut decoder, b"\x3f\xe2\x3f"), Err(DecodeError::SizeUpdateTooLarge));
}

#[test]
fn a_reduction_has_to_be_answered() {
    let mut decoder = Decoder::new(4096);
    decoder.set_table_size_max(100);
    assert_eq!(decode(&mut decoder, b"\x82"), Err(DecodeError::SizeUpdateMissing));

    // The lowest one counts, even if the maximum has grown since.
    let mut decoder = Decoder::new(4096);
    decoder.set_table_size_max(10);
    decoder.set_table_size_max(4096);
    assert_eq!(decode(&mut decoder, b"\x2b\x82"), Err(DecodeError::SizeUpdateTooLarge));

    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &inserted(b"x-a", b"1")).unwrap();
    decoder.set_table_size_max(10);
    decoder.set_table_size_max(4096);
    assert_eq!(decode(&mut decoder, b"\x2a\x3f\xe1\x1f\x82").map(|fields| fields.len()), Ok(1));
    assert_eq!(decoder.table_size(), 0);
    decode(&mut decoder, &inserted(b"x-a", b"1")).unwrap();
    assert_eq!(decoder.table_size(), 36);

    // A table that was smaller before needs no answer.
    decode(&mut decoder, b"\x3e\x82").unwrap();
    decoder.set_table_size_max(30);
    assert_eq!(decode(&mut decoder, b"\x82").map(|fields| fields.len()), Ok(1));
}

#[test]
fn a_list_is_limited_by_its_decoded_size() {
    // CVE-2016-1544: an entry of 4,000 octets, named by one octet each time.
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    let bomb = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'v'; 4_000], &[0xbe; 10_000]].concat();
    assert_eq!(decoder.decode(&bomb, LIMITS, &mut fields), Ok(Outcome::TooLarge));
    assert_eq!((fields.len(), fields.size()), (4, 4 * 4_033));
    assert!(fields.capacity_bytes() < 4 * LIMITS.size_max);
    assert_eq!(decode(&mut decoder, b"\xbe").unwrap().size(), 4_033);
}

#[test]
fn a_list_is_limited_by_its_fields() {
    // CVE-2026-49975: the field is tiny, but there are many.
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    let limits = ListLimits { size_max: usize::MAX, fields_max: 100 };
    assert_eq!(decoder.decode(&[0x82; 100], limits, &mut fields), Ok(Outcome::Complete));
    fields.clear();
    assert_eq!(decoder.decode(&[0x82; 101], limits, &mut fields), Ok(Outcome::TooLarge));
    assert_eq!(fields.len(), 100);
    fields.clear();
    // Each counts 32 octets and its own seven or ten.
    let limits = ListLimits { size_max: 42 * 3, fields_max: 100 };
    assert_eq!(decoder.decode(&[0x82; 3], limits, &mut fields), Ok(Outcome::Complete));
    fields.clear();
    assert_eq!(decoder.decode(&[0x82; 4], limits, &mut fields), Ok(Outcome::TooLarge));
    assert_eq!((fields.len(), fields.size()), (3, 126));
}

#[test]
fn nothing_enters_a_list_behind_the_field_that_was_too_large() {
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    let block = [&inserted(b"x-large", &[b'v'; 100])[..], &inserted(b"x-small", b"1"), b"\x82"].concat();
    let limits = ListLimits { size_max: 100, fields_max: 100 };
    assert_eq!(decoder.decode(&block, limits, &mut fields), Ok(Outcome::TooLarge));
    assert!(fields.is_empty() && fields.size() == 0);
    // Both are in the table all the same.
    let names: Vec<_> = decode(&mut decoder, b"\xbe\xbf").unwrap().iter().map(|f| f.name.to_vec()).collect();
    assert_eq!(names, [b"x-small", b"x-large"]);
}

#[test]
fn what_was_learned_of_a_literal_comes_with_its_index() {
    let mut decoder = Decoder::new(4096);
    let literals =
        [inserted(b"X-Upper", b"1"), inserted(b"x-value", b" 1"), inserted(b"grpc-timeout", b"1S")].concat();
    assert!(decode(&mut decoder, &literals).unwrap().is_malformed());
    let timeout = decode(&mut decoder, b"\xbe").unwrap();
    assert!(!timeout.is_malformed());
    assert_eq!(timeout.get_known(Name::GrpcTimeout), Some(&b"1S"[..]));
    assert!(decode(&mut decoder, b"\xbf").unwrap().is_malformed());
    assert!(decode(&mut decoder, b"\xc0").unwrap().is_malformed());
    // A name by its index brings the verdict on the name, not the one on the value it stood with.
    assert!(!decode(&mut decoder, b"\x0f\x30\x01v").unwrap().is_malformed());
    assert!(decode(&mut decoder, b"\x0f\x31\x01v").unwrap().is_malformed());
    assert!(decode(&mut decoder, b"\x0f\x2f\x01\x00").unwrap().is_malformed());
}

#[test]
fn an_entry_may_take_its_name_from_the_one_it_evicts() {
    // RFC 7541, section 4.4: the name is copied before the eviction.
    let mut decoder = Decoder::new(64);
    decode(&mut decoder, &inserted(b"x-name", b"1")).unwrap();
    let fields = decode(&mut decoder, b"\x7e\x0512345\xbe").unwrap();
    assert_eq!(fields, [("x-name", "12345"), ("x-name", "12345")].into_iter().collect());
}

#[test]
fn never_indexed_is_sensitive_and_enters_no_table() {
    let mut decoder = Decoder::new(4096);
    let fields = decode(&mut decoder, b"\x10\x03x-a\x01s\x1f\x08\x01b\x00\x03x-a\x01p").unwrap();
    let marks: Vec<_> = fields.iter().map(|f| (f.name.to_vec(), f.sensitive)).collect();
    assert_eq!(marks, [(b"x-a".to_vec(), true), (b"authorization".to_vec(), true), (b"x-a".to_vec(), false)]);
    assert_eq!(decoder.table_size(), 0);
}

#[test]
fn fields_are_appended_to_those_that_are_there() {
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    assert_eq!(decoder.decode(b"\x82", LIMITS, &mut fields), Ok(Outcome::Complete));
    assert_eq!(decoder.decode(b"\x86", LIMITS, &mut fields), Ok(Outcome::Complete));
    assert_eq!(fields, [(":method", "GET"), (":scheme", "http")].into_iter().collect());
}

#[test]
fn a_decoder_that_warmed_up_holds_little_memory() {
    let mut decoder = Decoder::new(4096);
    assert_eq!(decoder.capacity_bytes(), 0);
    for round in 0..10_000_u32 {
        let value = round.to_string().repeat(1 + round as usize % 20);
        decode(&mut decoder, &inserted(b"x-name", value.as_bytes())).unwrap();
    }
    assert!(decoder.capacity_bytes() <= 4 * 4096, "{}", decoder.capacity_bytes());
}
