//! Encoding with codecs that are not ours, into the output of a connection that others share.

use std::panic::{AssertUnwindSafe, catch_unwind};

use corelane_call::Status;

/// Appends a message: whatever `encode` does, no half message stays in `out`.
#[inline]
pub(crate) fn guarded(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Status>,
) -> Result<(), Status> {
    let start = out.len();
    catch_unwind(AssertUnwindSafe(|| encode(out))).unwrap_or_else(|panic| {
        out.truncate(start);
        let text = panic.downcast_ref::<&str>().copied();
        let text =
            text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it did not say why");
        Err(Status::internal(format!("the codec panicked: {text}")))
    })
}
