//! gzip, deflate and zstd, bounded both ways; and how a handler chooses among them.
//!
//! gRPC's `deflate` is the zlib format (RFC 1950), not raw DEFLATE. The machines' state is made once for each thread on
//! first use and reused by every message after: setting up a deflater costs more than compressing a small message with it.
//!
//! Does not: know the 5-byte message prefix ([`message`](crate::message) does), stream a message piece by piece, use
//! dictionaries. A message is compressed and decompressed whole, as gRPC defines it.
//!
//! Invariant: decompression never makes a buffer grow past the bytes that came out so far, doubled, nor past the limit
//! plus one byte; what the compressed bytes *promise* is never allocated.

mod choice;
mod gzip;
mod zlib;
mod zstandard;

pub use choice::{Compression, CompressionSwitch, PerMessage, per_message};

use corelane_wire::grpc::{Encoding, Status};

/// Appends `input`, compressed with `encoding`, to `out`. [`Encoding::Identity`] copies.
///
/// ```
/// use corelane_call::Encoding;
/// use corelane_call::compression::{compress, decompress};
///
/// let text = b"core lane ".repeat(100);
/// let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
/// compress(Encoding::Gzip, &text, &mut packed).unwrap();
/// assert!(packed.len() < 100);
/// decompress(Encoding::Gzip, &packed, 4096, &mut unpacked).unwrap();
/// assert_eq!(unpacked, text);
/// ```
///
/// # Errors
/// `INTERNAL` if the compressor fails, which only a lack of memory can cause; `out` is then as it was.
pub fn compress(encoding: Encoding, input: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
    let start = out.len();
    let result = match encoding {
        Encoding::Identity => {
            out.extend_from_slice(input);
            Ok(())
        }
        Encoding::Gzip => zlib::gzip(input, out),
        Encoding::Deflate => zlib::deflate(input, out),
        Encoding::Zstd => zstandard::compress(input, out),
    };
    result.map_err(|error| {
        out.truncate(start);
        error.into_status(encoding, 0)
    })
}

/// Appends what `input` holds, decompressed with `encoding`, to `out`: at most `max` bytes.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` as soon as more than `max` bytes come out: the rest is not decompressed. `INTERNAL` where `input`
/// is malformed, ends early or is followed by something else. `out` is then as it was.
pub fn decompress(encoding: Encoding, input: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), Status> {
    let start = out.len();
    let mut sink = Sink { out, start, max, grow_bytes: first_growth(input.len()) };
    let result = match encoding {
        Encoding::Identity => sink.copy(input),
        Encoding::Gzip => gzip::decompress(input, &mut sink),
        Encoding::Deflate => zlib::inflate(input, &mut sink),
        Encoding::Zstd => zstandard::decompress(input, &mut sink),
    };
    result.map_err(|error| {
        out.truncate(start);
        error.into_status(encoding, max)
    })
}

/// Why a message could not be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// More came out than the limit allows.
    TooLarge,
    /// The bytes break the format.
    Malformed,
    /// The compressor itself failed.
    Compressor,
}

impl Failure {
    #[cold]
    fn into_status(self, encoding: Encoding, max: usize) -> Status {
        let name = encoding.name();
        match self {
            Failure::TooLarge => Status::resource_exhausted(format!(
                "message too large: more than {max} bytes after decompression ({name}), the limit is {max}"
            )),
            Failure::Malformed => Status::internal(format!("malformed {name} message")),
            Failure::Compressor => Status::internal(format!("cannot compress the message ({name})")),
        }
    }
}

/// The first guess at how much comes out: messages shrink to a third or so; a bomb gains nothing from it.
fn first_growth(input_len: usize) -> usize {
    input_len.saturating_mul(4).max(256)
}

/// Where decompressed bytes go: a buffer that grows with what came out, up to one byte more than the limit.
struct Sink<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    max: usize,
    grow_bytes: usize,
}

impl Sink<'_> {
    fn copy(&mut self, input: &[u8]) -> Result<(), Failure> {
        if input.len() > self.max {
            return Err(Failure::TooLarge);
        }
        self.out.extend_from_slice(input);
        Ok(())
    }

    /// Makes room to write into. Room that the buffer already had may reach past the limit; it never grows past it.
    fn reserve(&mut self) -> Result<(), Failure> {
        let produced = self.produced()?;
        if self.out.capacity() == self.out.len() {
            // One byte past the limit, so that a message of exactly the limit ends without another round.
            let left = self.max.saturating_sub(produced).saturating_add(1);
            self.out.reserve_exact(self.grow_bytes.max(produced).min(left));
        }
        Ok(())
    }

    /// How much came out, if it is not too much.
    fn produced(&self) -> Result<usize, Failure> {
        let produced = self.out.len() - self.start;
        if produced > self.max { Err(Failure::TooLarge) } else { Ok(produced) }
    }
}

#[cfg(test)]
mod tests;
