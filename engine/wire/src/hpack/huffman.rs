//! The Huffman code (RFC 7541, section 5.2 and appendix B), both ways.
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and each length
//! continues where the one before ended. So the lengths are the whole table, and `const fn`s make the rest of them.
//!
//! Decoding looks up 12 bits at a time and finds up to two symbols, as most that occur in fields have 5 to 7 bits; the
//! rare ones beyond 12 bits are found by comparing with the end of each length. The alternative is a machine with a state
//! for each inner node of the tree, fed 4 bits at a time: its table is as large (16 KiB), but it needs 1.5 steps a symbol
//! where this needs about 0.6, and each step has to wait for the one before in both.
//!
//! Invariant: a decoded string is at most 8/5 of its code's octets, as no code is shorter than 5 bits.

use super::DecodeError;
use alloc::vec::Vec;

/// The bits of each symbol's code. The last one is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const BITS_MIN: usize = 5;
const BITS_MAX: usize = 30;
/// The bits of one look-up.
const LOOK_BITS: usize = 12;

/// What the lengths say of the canonical code.
struct Canon {
    /// All symbols, by length and then by value, which is the order of their codes.
    symbols: [u16; 257],
    /// For each length, where its symbols start in `symbols`.
    starts: [u16; BITS_MAX + 1],
    /// For each length, its first code, and the code that follows its last one.
    first: [u32; BITS_MAX + 1],
    end: [u32; BITS_MAX + 1],
}

const CANON: Canon = canon();
static CODES: [u32; 257] = codes();
static LOOK: [Look; 1 << LOOK_BITS] = look();
static CANON_RARE: Canon = canon();

#[expect(clippy::cast_possible_truncation, reason = "`try_from` is not const; there are 257 symbols")]
const fn canon() -> Canon {
    let mut canon = Canon {
        symbols: [0; 257],
        starts: [0; BITS_MAX + 1],
        first: [0; BITS_MAX + 1],
        end: [0; BITS_MAX + 1],
    };
    let (mut at, mut code, mut bits) = (0, 0, 1);
    while bits <= BITS_MAX {
        code <<= 1;
        canon.starts[bits] = at as u16;
        canon.first[bits] = code;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == bits {
                canon.symbols[at] = symbol as u16;
                at += 1;
                code += 1;
            }
            symbol += 1;
        }
        canon.end[bits] = code;
        bits += 1;
    }
    assert!(at == 257 && code == 1 << BITS_MAX, "the code is complete, and its last word is EOS");
    canon
}

const fn codes() -> [u32; 257] {
    let mut codes = [0; 257];
    let (mut at, mut bits) = (0, 1);
    while bits <= BITS_MAX {
        let mut code = CANON.first[bits];
        while code < CANON.end[bits] {
            codes[CANON.symbols[at] as usize] = code;
            (at, code) = (at + 1, code + 1);
        }
        bits += 1;
    }
    codes
}

/// What the next 12 bits hold.
#[derive(Clone, Copy)]
struct Look {
    /// The first symbol, and the second if there is one.
    symbols: [u8; 2],
    /// The bits of the first symbol; 0 if its code is longer than a look.
    bits_first: u8,
    /// The bits of both symbols; as `bits_first` if there is but one.
    bits: u8,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "`try_from` is not const; the symbols seen here are octets"
)]
const fn look() -> [Look; 1 << LOOK_BITS] {
    let mut table = [Look { symbols: [0; 2], bits_first: 0, bits: 0 }; 1 << LOOK_BITS];
    let mut window = 0;
    while window < table.len() {
        let (symbol, bits) = common_symbol(window, LOOK_BITS);
        if bits > 0 {
            let rest = LOOK_BITS - bits;
            let (symbol_then, bits_then) = common_symbol(window & ((1 << rest) - 1), rest);
            table[window] = Look {
                symbols: [symbol as u8, symbol_then as u8],
                bits_first: bits as u8,
                bits: (bits + bits_then) as u8,
            };
        }
        window += 1;
    }
    table
}

/// The symbol at the front of `width` bits, and its bits; both 0 if no code of those bits is complete.
const fn common_symbol(window: usize, width: usize) -> (u16, usize) {
    let mut bits = BITS_MIN;
    while bits <= width {
        let code = (window >> (width - bits)) as u32;
        if code < CANON.end[bits] {
            return (CANON.symbols[CANON.starts[bits] as usize + (code - CANON.first[bits]) as usize], bits);
        }
        bits += 1;
    }
    (0, 0)
}

/// A window on the code's bits: the next ones are the highest of `word`, and `count` of them are filled.
struct Bits<'a> {
    rest: &'a [u8],
    word: u64,
    count: usize,
}

impl Bits<'_> {
    /// Fills the word to 56 bits at least, or with all that is left.
    #[inline]
    fn fill(&mut self) {
        if let Some(eight) = self.rest.first_chunk() {
            // Whole octets only are counted. The bits beyond them are set too, to what the next fill will set.
            self.word |= u64::from_be_bytes(*eight) >> self.count;
            let octets = (63 - self.count) / 8;
            self.rest = &self.rest[octets..];
            self.count += octets * 8;
        } else {
            while let (true, [first, rest @ ..]) = (self.count <= 56, self.rest) {
                self.word |= u64::from(*first) << (56 - self.count);
                self.rest = rest;
                self.count += 8;
            }
        }
    }

    #[inline]
    fn take(&mut self, bits: usize) {
        debug_assert!(bits <= self.count);
        self.word <<= bits;
        self.count -= bits;
    }

    #[inline]
    fn look(&self) -> Look {
        LOOK[top(self.word, LOOK_BITS)]
    }
}

/// The highest bits of a word.
#[inline]
fn top(word: u64, bits: usize) -> usize {
    usize::try_from(word >> (64 - bits)).expect("at most 30 bits are looked at")
}

/// A symbol whose code is longer than a look: its octet and its bits. EOS is refused (RFC 7541, section 5.2).
#[cold]
fn rare_symbol(word: u64) -> Result<(u8, usize), DecodeError> {
    for bits in LOOK_BITS + 1..=BITS_MAX {
        let code = top(word, bits);
        if code < CANON_RARE.end[bits] as usize {
            let at = usize::from(CANON_RARE.starts[bits]) + code - CANON_RARE.first[bits] as usize;
            let octet = u8::try_from(CANON_RARE.symbols[at]).map_err(|_| DecodeError::Huffman)?;
            return Ok((octet, bits));
        }
    }
    unreachable!("the code is complete")
}

/// Appends the string that `code` stands for. After an error, what was appended is of no meaning.
pub(super) fn decode(code: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let start = out.len();
    // Room for the longest string these octets can hold, and for the second octet of the last look. It is written as a
    // slice: two octets at each look, of which one may be overwritten by the next.
    out.resize(start + code.len() * 8 / BITS_MIN + 2, 0);
    let mut at = start;
    let mut bits = Bits { rest: code, word: 0, count: 0 };
    loop {
        if bits.count < BITS_MAX {
            bits.fill();
            if bits.count < BITS_MAX {
                break;
            }
        }
        let look = bits.look();
        if look.bits > 0 {
            out[at..at + 2].copy_from_slice(&look.symbols);
            at += 1 + usize::from(look.bits != look.bits_first);
            bits.take(usize::from(look.bits));
        } else {
            let (octet, taken) = rare_symbol(bits.word)?;
            out[at] = octet;
            at += 1;
            bits.take(taken);
        }
    }
    at += decode_end(bits, &mut out[at..])?;
    out.truncate(at);
    Ok(())
}

/// Decodes the last few bits, symbol by symbol, and checks that what remains is padding: at most 7 bits of EOS, which are
/// ones (RFC 7541, section 5.2). Says how many octets it wrote.
fn decode_end(mut bits: Bits<'_>, out: &mut [u8]) -> Result<usize, DecodeError> {
    debug_assert!(bits.rest.is_empty() && bits.count < BITS_MAX);
    let mut at = 0;
    while bits.count > 0 {
        // With ones behind the end, padding looks like the start of EOS.
        let word = bits.word | (u64::MAX >> bits.count);
        let look = LOOK[top(word, LOOK_BITS)];
        let (octet, taken) = match look.bits_first {
            0 if word == u64::MAX => (0, BITS_MAX),
            0 => rare_symbol(word)?,
            first => (look.symbols[0], usize::from(first)),
        };
        if taken > bits.count {
            let is_padding = bits.count < 8 && word == u64::MAX;
            return if is_padding { Ok(at) } else { Err(DecodeError::Huffman) };
        }
        out[at] = octet;
        at += 1;
        bits.take(taken);
    }
    Ok(at)
}

/// The octets of a string's code.
pub(super) fn encoded_len(string: &[u8]) -> usize {
    let bits: usize = string.iter().map(|&octet| usize::from(LENGTHS[usize::from(octet)])).sum();
    bits.div_ceil(8)
}

/// Appends a string's code, padded with ones.
pub(super) fn encode(string: &[u8], out: &mut Vec<u8>) {
    // The lowest `count` bits of `word` are still to be written, fewer than 32 of them between two symbols.
    let (mut word, mut count) = (0_u64, 0_u32);
    for &octet in string {
        let bits = u32::from(LENGTHS[usize::from(octet)]);
        word = word << bits | u64::from(CODES[usize::from(octet)]);
        count += bits;
        if count >= 32 {
            count -= 32;
            let [.., a, b, c, d] = (word >> count).to_be_bytes();
            out.extend_from_slice(&[a, b, c, d]);
        }
    }
    let padding = (8 - count % 8) % 8;
    let word = (word << padding) | ((1 << padding) - 1);
    let octets = (count + padding) / 8;
    let all = word.to_be_bytes();
    out.extend_from_slice(&all[all.len() - usize::try_from(octets).expect("four at most")..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EOS: usize = 256;

    fn encoded(string: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(string, &mut out);
        assert_eq!(out.len(), encoded_len(string));
        out
    }

    fn decoded(code: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut out = b"before".to_vec();
        decode(code, &mut out)?;
        assert_eq!(&out[..6], b"before");
        Ok(out.split_off(6))
    }

    /// Decodes bit by bit, by the codes alone.
    fn decoded_slowly(code: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let (mut out, mut word, mut bits) = (Vec::new(), 0, 0);
        for bit in code.iter().flat_map(|octet| (0..8).rev().map(move |bit| u32::from(octet >> bit & 1))) {
            (word, bits) = (word << 1 | bit, bits + 1);
            let found = (0..257).find(|&symbol| CODES[symbol] == word && LENGTHS[symbol] == bits);
            if let Some(symbol) = found {
                out.push(u8::try_from(symbol).map_err(|_| DecodeError::Huffman)?);
                (word, bits) = (0, 0);
            }
        }
        if bits < 8 && word == (1 << bits) - 1 { Ok(out) } else { Err(DecodeError::Huffman) }
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // From RFC 7541, appendix B.
        assert_eq!((CODES[0], LENGTHS[0]), (0x1ff8, 13));
        assert_eq!((CODES[usize::from(b'0')], LENGTHS[usize::from(b'0')]), (0, 5));
        assert_eq!((CODES[usize::from(b'z')], LENGTHS[usize::from(b'z')]), (0x7b, 7));
        assert_eq!((CODES[10], LENGTHS[10]), (0x3fff_fffc, 30));
        assert_eq!((CODES[249], LENGTHS[249]), (0x0fff_fffe, 28));
        assert_eq!((CODES[255], LENGTHS[255]), (0x3ff_ffee, 26));
        assert_eq!((CODES[EOS], LENGTHS[EOS]), (0x3fff_ffff, 30));
    }

    #[test]
    fn the_strings_of_the_rfc() {
        let www: &[u8] = &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        for (string, code) in [
            (&b""[..], &[][..]),
            (b"www.example.com", www),
            (b"no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            (b"302", &[0x64, 0x02]),
            (b"private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
        ] {
            assert_eq!(encoded(string), code);
            assert_eq!(decoded(code).as_deref(), Ok(string));
        }
    }

    #[test]
    fn every_octet_alone_and_between_others() {
        for octet in 0..=255_u8 {
            for string in [&[octet][..], &[octet, octet], &[b'a', octet, b'X', octet, b'%'], &[octet; 40]] {
                assert_eq!(decoded(&encoded(string)).as_deref(), Ok(string));
            }
        }
    }

    #[test]
    fn padding_is_ones_and_fewer_than_eight() {
        // `0` has five zeros as its code.
        assert_eq!(decoded(&[0b0000_0111]).as_deref(), Ok(&b"0"[..]));
        for code in
            [&[0b0000_0110][..], &[0b0000_0011], &[0b0000_0111, 0xff], &[0xff], &[0xff, 0xff], &[0xff; 3]]
        {
            assert_eq!(decoded(code), Err(DecodeError::Huffman), "{code:x?}");
        }
        // `&` has eight bits, 0xf8, so whatever follows is padding and too much of it.
        assert_eq!(decoded(&[0xf8]).as_deref(), Ok(&b"&"[..]));
        assert_eq!(decoded(&[0xf8, 0xff]), Err(DecodeError::Huffman));
    }

    #[test]
    fn eos_is_refused_wherever_it_stands() {
        assert_eq!(decoded(&[0xff; 4]), Err(DecodeError::Huffman));
        assert_eq!(decoded(&[0xff; 40]), Err(DecodeError::Huffman));
        let mut code = encoded(&[b'&'; 20]);
        code.extend([0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoded(&code), Err(DecodeError::Huffman));
        code.extend(encoded(b"more and more and more"));
        assert_eq!(decoded(&code), Err(DecodeError::Huffman));
    }

    #[test]
    fn a_code_cut_short_is_refused() {
        // The four octets of LF (30 bits) without their last one.
        let code = encoded(b"\n");
        assert_eq!(decoded(&code).as_deref(), Ok(&b"\n"[..]));
        assert_eq!(decoded(&code[..3]), Err(DecodeError::Huffman));
    }

    proptest! {
        #[test]
        fn any_string_comes_back(string in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encoded(&string)), Ok(string));
        }

        #[test]
        fn text_comes_back(string in "[ -~]{0,200}") {
            prop_assert_eq!(decoded(&encoded(string.as_bytes())), Ok(string.into_bytes()));
        }

        #[test]
        fn any_octets_decode_as_bit_by_bit(code in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decoded(&code), decoded_slowly(&code));
        }

        #[test]
        fn octets_near_the_end_of_the_code_decode_as_bit_by_bit(
            code in prop::collection::vec(prop::sample::select(&[0xff_u8, 0xfe, 0xfb, 0xf8, 0x7f, 0][..]), 0..12)
        ) {
            prop_assert_eq!(decoded(&code), decoded_slowly(&code));
        }
    }
}
