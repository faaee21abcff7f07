//! The gzip file format around DEFLATE (RFC 1952), for reading.
//!
//! `flate2`'s inflater can read the wrapping itself, but its `reset` only goes back to zlib or raw, so a reused inflater
//! needs the few bytes around it parsed here. Members may follow each other (RFC 1952 section 2.2), as Go's writer makes them.

use flate2::Crc;

use super::zlib::{Wrapping, run_inflater, with_inflater};
use super::{Failure, Sink};

/// RFC 1952 section 2.3: two magic bytes, method, flags, time (4), extra flags, system.
const HEADER_LEN: usize = 10;
/// CRC-32 and length of what came out, both little-endian.
const TRAILER_LEN: usize = 8;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
const METHOD_DEFLATE: u8 = 8;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
/// RFC 1952 section 2.3.1.2: "must be zero", since they would announce fields that we cannot skip.
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Appends what the members of `input` hold.
pub(super) fn decompress(mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), Failure> {
    loop {
        input = member(input, sink)?;
        if input.is_empty() {
            return Ok(());
        }
    }
}

/// Appends what the member at the front of `input` holds; returns what follows it.
fn member<'a>(input: &'a [u8], sink: &mut Sink<'_>) -> Result<&'a [u8], Failure> {
    let data = skip_header(input).ok_or(Failure::Malformed)?;
    let start = sink.out.len();
    let taken = with_inflater(Wrapping::Raw, |machine| run_inflater(machine, data, sink))?;
    let (trailer, rest) =
        data.get(taken..).and_then(|rest| rest.split_at_checked(TRAILER_LEN)).ok_or(Failure::Malformed)?;
    let mut crc = Crc::new();
    crc.update(&sink.out[start..]);
    let (sum, len) = trailer.split_at(size_of::<u32>());
    let intact = sum == crc.sum().to_le_bytes() && len == crc.amount().to_le_bytes();
    if intact { Ok(rest) } else { Err(Failure::Malformed) }
}

/// What follows the header and its optional fields; `None` where they are malformed or cut short.
fn skip_header(input: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = input.split_at_checked(HEADER_LEN)?;
    let flags = header[3];
    if header[..2] != MAGIC || header[2] != METHOD_DEFLATE || flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let mut crc = Crc::new();
        crc.update(&input[..input.len() - rest.len()]);
        let (found, after) = rest.split_first_chunk::<2>()?;
        // RFC 1952: the two least significant bytes of the CRC-32 of all header bytes before it.
        if found != &crc.sum().to_le_bytes()[..2] {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::zlib;

    const PLAIN: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

    fn unpack(input: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        decompress(input, &mut Sink { out: &mut out, start: 0, max: 1000, grow_bytes: 16 })?;
        Ok(out)
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        zlib::gzip(text, &mut out).unwrap();
        out
    }

    #[test]
    fn members_follow_each_other() {
        let input = [packed(b"one "), packed(b""), packed(b"two")].concat();
        assert_eq!(unpack(&input), Ok(b"one two".to_vec()));
    }

    #[test]
    fn optional_fields_are_skipped() {
        let mut header = PLAIN.to_vec();
        header[3] = FLAG_EXTRA | FLAG_NAME | FLAG_COMMENT | FLAG_HEADER_CRC;
        header.extend_from_slice(b"\x03\x00abcname\0comment\0");
        let mut crc = Crc::new();
        crc.update(&header);
        header.extend_from_slice(&crc.sum().to_le_bytes()[..2]);
        let mut input = header.clone();
        input.extend_from_slice(&packed(b"text")[HEADER_LEN..]);
        assert_eq!(unpack(&input), Ok(b"text".to_vec()));

        let last = header.len() - 1;
        input[last] ^= 1;
        assert_eq!(unpack(&input), Err(Failure::Malformed), "header checksum");
    }

    #[test]
    fn every_cut_and_every_broken_check_is_malformed() {
        let whole = packed(b"some text, some text");
        for end in 0..whole.len() {
            assert_eq!(unpack(&whole[..end]), Err(Failure::Malformed), "cut at {end}");
        }
        for at in [0, 1, 2, whole.len() - 1, whole.len() - 8] {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            assert_eq!(unpack(&broken), Err(Failure::Malformed), "byte {at}");
        }
        let mut reserved = whole.clone();
        reserved[3] = 0x80;
        assert_eq!(unpack(&reserved), Err(Failure::Malformed));
        assert_eq!(unpack(&[whole.as_slice(), b"junk"].concat()), Err(Failure::Malformed));
    }

    #[test]
    fn optional_fields_that_never_end_are_malformed() {
        for flag in [FLAG_EXTRA, FLAG_NAME, FLAG_COMMENT, FLAG_HEADER_CRC] {
            let mut header = PLAIN;
            header[3] = flag;
            assert_eq!(skip_header(&header), None, "flag {flag}");
        }
        let mut header = PLAIN.to_vec();
        header[3] = FLAG_EXTRA;
        header.extend_from_slice(&[0xff, 0xff, 1]);
        assert_eq!(skip_header(&header), None);
    }
}
