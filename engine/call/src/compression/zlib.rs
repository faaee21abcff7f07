//! DEFLATE with zlib's and gzip's wrapping, by `flate2` on zlib-rs.

use std::cell::RefCell;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status as Progress};

use super::{Failure, Sink};

/// zlib's own default: the level that other gRPC stacks use, and the knee of its speed-for-size curve.
const LEVEL: u32 = 6;
const WINDOW_BITS: u8 = 15;

thread_local! {
    static GZIP: RefCell<Option<Compress>> = const { RefCell::new(None) };
    static DEFLATE: RefCell<Option<Compress>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// Appends `input` as one gzip member.
pub(super) fn gzip(input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    GZIP.with_borrow_mut(|slot| {
        let make = || Compress::new_gzip(flate2::Compression::new(LEVEL), WINDOW_BITS);
        run_compressor(slot.get_or_insert_with(make), input, out)
    })
}

/// Appends `input` as one zlib stream.
pub(super) fn deflate(input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    DEFLATE.with_borrow_mut(|slot| {
        let make = || Compress::new(flate2::Compression::new(LEVEL), true);
        run_compressor(slot.get_or_insert_with(make), input, out)
    })
}

fn run_compressor(machine: &mut Compress, input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    machine.reset();
    // DEFLATE grows what it cannot shrink by 5 bytes for each 16 KiB block at most, plus the wrapping.
    out.reserve(input.len() / 2 + 64);
    loop {
        let taken = usize::try_from(machine.total_in()).expect("no more is taken than was given");
        match machine.compress_vec(&input[taken..], out, FlushCompress::Finish) {
            Ok(Progress::StreamEnd) => return Ok(()),
            Ok(Progress::Ok | Progress::BufError) => out.reserve(input.len() / 2 + 64),
            Err(_) => return Err(Failure::Compressor),
        }
    }
}

/// Appends what the zlib stream `input` holds.
pub(super) fn inflate(input: &[u8], sink: &mut Sink<'_>) -> Result<(), Failure> {
    let taken = with_inflater(Wrapping::Zlib, |machine| run_inflater(machine, input, sink))?;
    if taken == input.len() { Ok(()) } else { Err(Failure::Malformed) }
}

/// What surrounds the DEFLATE data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// RFC 1950: header and Adler-32, checked by the inflater.
    Zlib,
    /// None: RFC 1951 alone.
    Raw,
}

/// Runs `work` with this thread's inflater, reset.
pub(super) fn with_inflater<R>(wrapping: Wrapping, work: impl FnOnce(&mut Decompress) -> R) -> R {
    INFLATE.with_borrow_mut(|slot| {
        let machine = slot.get_or_insert_with(|| Decompress::new(false));
        machine.reset(wrapping == Wrapping::Zlib);
        work(machine)
    })
}

/// Inflates one stream from the front of `input`; says how many bytes of it that took.
pub(super) fn run_inflater(
    machine: &mut Decompress,
    input: &[u8],
    sink: &mut Sink<'_>,
) -> Result<usize, Failure> {
    loop {
        sink.reserve()?;
        let (taken, produced) = (machine.total_in(), machine.total_out());
        let at = usize::try_from(taken).expect("no more is taken than was given");
        match machine.decompress_vec(&input[at..], sink.out, FlushDecompress::None) {
            Ok(Progress::StreamEnd) => {
                sink.produced()?;
                return Ok(usize::try_from(machine.total_in()).expect("no more is taken than was given"));
            }
            // Neither took nor gave although there was room: the input ends early.
            Ok(_) if machine.total_in() == taken && machine.total_out() == produced => {
                return Err(Failure::Malformed);
            }
            Ok(_) => {}
            Err(_) => return Err(Failure::Malformed),
        }
    }
}
