//! Encoding with codecs that are not ours, into the output of a connection that others share.

use corelane_call::Status;
use corelane_memory::Gather;
use corelane_runtime::guard;

/// Appends a message: whatever `encode` does, no half message stays in `out`.
#[inline]
pub(crate) fn guarded(
    out: &mut Gather<'_>,
    encode: impl FnOnce(&mut Gather<'_>) -> Result<(), Status>,
) -> Result<(), Status> {
    let start = out.mark();
    guard(|| encode(out)).unwrap_or_else(|panic| {
        out.rewind(start);
        Err(Status::internal(format!("the codec panicked: {}", panic.message())))
    })
}
