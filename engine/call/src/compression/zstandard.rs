//! Zstandard (RFC 8878), by the reference library.

use std::cell::RefCell;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective as EndDirective;
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, compress_bound,
};

use super::{Failure, Sink};

/// The library's own default.
const LEVEL: i32 = 3;
/// 8 MiB, what RFC 8878 section 3.1.1.1.2 recommends every decoder to support. The library's default of 128 MiB would let
/// a frame of a few bytes have that much allocated.
const WINDOW_LOG_MAX: u32 = 23;
/// A context that a message made larger than this is freed after it. At our level a compressor grows to 3.5 MiB (messages
/// from 2 MiB up) and is kept; a decompressor needs 94 KiB, and up to 8 MiB more only for a frame that hides its size.
const CONTEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

thread_local! {
    static COMPRESS: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    static DECOMPRESS: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// Appends `input` as one frame.
pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    COMPRESS.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) => context,
            None => slot.insert(new_compressor()?),
        };
        let result = run_compressor(context, input, out);
        if context.sizeof() > CONTEXT_BYTES_MAX {
            *slot = None;
        }
        result
    })
}

fn new_compressor() -> Result<CCtx<'static>, Failure> {
    let mut context = CCtx::try_create().ok_or(Failure::Compressor)?;
    context.set_parameter(CParameter::CompressionLevel(LEVEL)).map_err(|_| Failure::Compressor)?;
    Ok(context)
}

fn run_compressor(context: &mut CCtx<'_>, input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    context.reset(ResetDirective::SessionOnly).map_err(|_| Failure::Compressor)?;
    // With room for the worst case the frame is made in one pass, without the library's own buffers.
    out.reserve(compress_bound(input.len()));
    let mut source = InBuffer::around(input);
    let start = out.len();
    let mut target = OutBuffer::around_pos(out, start);
    let left = context
        .compress_stream2(&mut target, &mut source, EndDirective::ZSTD_e_end)
        .map_err(|_| Failure::Compressor)?;
    if left == 0 { Ok(()) } else { Err(Failure::Compressor) }
}

/// Appends what the frames of `input` hold.
pub(super) fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), Failure> {
    DECOMPRESS.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) => context,
            None => slot.insert(new_decompressor()?),
        };
        let result = run_decompressor(context, input, sink);
        if context.sizeof() > CONTEXT_BYTES_MAX {
            *slot = None;
        }
        result
    })
}

fn new_decompressor() -> Result<DCtx<'static>, Failure> {
    let mut context = DCtx::try_create().ok_or(Failure::Malformed)?;
    context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(|_| Failure::Malformed)?;
    Ok(context)
}

fn run_decompressor(context: &mut DCtx<'_>, input: &[u8], sink: &mut Sink<'_>) -> Result<(), Failure> {
    context.reset(ResetDirective::SessionOnly).map_err(|_| Failure::Malformed)?;
    let mut source = InBuffer::around(input);
    loop {
        sink.reserve()?;
        let (taken, produced) = (source.pos(), sink.out.len());
        let mut target = OutBuffer::around_pos(sink.out, produced);
        let left = context.decompress_stream(&mut target, &mut source).map_err(|_| Failure::Malformed)?;
        // Zero: a frame is complete. Another may follow.
        if left == 0 && source.pos() == input.len() {
            sink.produced()?;
            return Ok(());
        }
        // Neither took nor gave although there was room: the input ends early.
        if source.pos() == taken && sink.out.len() == produced {
            return Err(Failure::Malformed);
        }
    }
}
