//! Encoding with codecs that are not ours, into the output of a connection that others share.

use corelane_call::Status;
use corelane_runtime::guard;

/// Appends a message: whatever `encode` does, no half message stays in `out`.
#[inline]
pub(crate) fn guarded(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Status>,
) -> Result<(), Status> {
    let start = out.len();
    guard(|| encode(out)).unwrap_or_else(|panic| {
        out.truncate(start);
        Err(Status::internal(format!("the codec panicked: {}", panic.message())))
    })
}
