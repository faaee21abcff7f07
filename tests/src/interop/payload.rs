//! Payloads: as many zeros as were asked for.

use corelane::Status;

use crate::protos::grpc::testing::{Payload, PayloadType};

/// The largest payload that is made; the cases ask for a few hundred KiB.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A payload of `size` zeros.
pub(super) fn zeros(kind: i32, size: i32) -> Result<Payload, Status> {
    if kind != i32::from(PayloadType::Compressable) {
        return Err(Status::invalid_argument(format!("payload type {kind} is not offered")));
    }
    let size = usize::try_from(size)
        .map_err(|_| Status::invalid_argument(format!("a payload of {size} octets was asked for")))?;
    if size > PAYLOAD_BYTES_MAX {
        return Err(Status::invalid_argument(format!(
            "a payload of {size} octets was asked for; {PAYLOAD_BYTES_MAX} is the most"
        )));
    }
    Ok(Payload { r#type: kind, body: vec![0; size] })
}

/// How many octets came along.
pub(super) fn size_of(payload: Option<&Payload>) -> usize {
    payload.map_or(0, |payload| payload.body.len())
}
