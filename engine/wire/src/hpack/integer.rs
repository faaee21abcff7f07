//! Integers with a prefix (RFC 7541, section 5.1).
//!
//! Invariant: an integer takes at most [`OCTETS_MAX`] octets, so its value is below 2^28 + 2^8 and no sum overflows.

use super::DecodeError;
use alloc::vec::Vec;

/// The octets an integer may take, the one with the prefix included. The largest value so far is 2^28 + 254: no length or
/// table size of ours comes near it, and a longer run of continuation octets is an attack (CVE-2023-33953).
pub(super) const OCTETS_MAX: usize = 5;

/// Reads an integer whose prefix is the low `prefix_bits` of the first octet, and moves `rest` behind it.
#[inline]
pub(super) fn read(rest: &mut &[u8], prefix_bits: u32) -> Result<u32, DecodeError> {
    debug_assert!((4..=7).contains(&prefix_bits));
    let (&first, tail) = rest.split_first().ok_or(DecodeError::Truncated)?;
    let prefix_max = (1_u32 << prefix_bits) - 1;
    let prefix = u32::from(first) & prefix_max;
    *rest = tail;
    if prefix < prefix_max { Ok(prefix) } else { read_continued(rest, prefix_max) }
}

/// Reads what follows a prefix that is full.
fn read_continued(rest: &mut &[u8], prefix_max: u32) -> Result<u32, DecodeError> {
    let mut value = prefix_max;
    for at in 0..OCTETS_MAX - 1 {
        let &octet = rest.get(at).ok_or(DecodeError::Truncated)?;
        value += u32::from(octet & 0x7f) << (7 * at);
        if octet & 0x80 == 0 {
            *rest = &rest[at + 1..];
            return Ok(value);
        }
    }
    Err(DecodeError::IntegerTooLong)
}

/// Appends an integer; `pattern` holds the bits above the prefix in the first octet.
#[inline]
pub(super) fn write(value: usize, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let prefix_max = (1_u8 << prefix_bits) - 1;
    debug_assert_eq!(pattern & prefix_max, 0);
    match u8::try_from(value) {
        Ok(small) if small < prefix_max => out.push(pattern | small),
        _ => {
            out.push(pattern | prefix_max);
            write_continued(value - usize::from(prefix_max), out);
        }
    }
}

fn write_continued(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(low_seven(value) | 0x80);
        value >>= 7;
    }
    out.push(low_seven(value));
}

fn low_seven(value: usize) -> u8 {
    u8::try_from(value & 0x7f).expect("seven bits fit an octet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    fn read_all(mut octets: &[u8], prefix_bits: u32) -> Result<(u32, usize), DecodeError> {
        let value = read(&mut octets, prefix_bits)?;
        Ok((value, octets.len()))
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7541, appendix C.1.
        assert_eq!(read_all(&[0b1110_1010], 5), Ok((10, 0)));
        assert_eq!(read_all(&[0b0001_1111, 0b1001_1010, 0b0000_1010], 5), Ok((1337, 0)));
        let mut out = Vec::new();
        write(10, 5, 0, &mut out);
        write(1337, 5, 0b1110_0000, &mut out);
        assert_eq!(out, [0b0000_1010, 0b1111_1111, 0b1001_1010, 0b0000_1010]);
    }

    #[test]
    fn five_octets_are_the_most() {
        assert_eq!(read_all(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 9], 7), Ok((127 + (1 << 28) - 1, 1)));
        assert_eq!(read_all(&[0x7f, 0x80, 0x80, 0x80, 0x00], 7), Ok((127, 0)));
        assert_eq!(read_all(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00], 7), Err(DecodeError::IntegerTooLong));
        assert_eq!(read_all(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], 7), Err(DecodeError::IntegerTooLong));
    }

    #[test]
    fn an_integer_that_ends_early_is_truncated() {
        for octets in [&[][..], &[0x7f], &[0x7f, 0x80], &[0x7f, 0x80, 0x80, 0x80]] {
            assert_eq!(read_all(octets, 7), Err(DecodeError::Truncated));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in 0_usize..1 << 28, prefix_bits in 4_u32..8, tail in 0_usize..3) {
            let mut out = Vec::new();
            let pattern = !((1_u8 << prefix_bits) - 1);
            write(value, prefix_bits, pattern, &mut out);
            prop_assert_eq!(out[0] & pattern, pattern);
            out.extend(vec![0xff; tail]);
            prop_assert_eq!(read_all(&out, prefix_bits), Ok((u32::try_from(value).unwrap(), tail)));
        }
    }
}
