//! What the compression cases ask for: whether a request came compressed, and whether a response shall be.

use corelane::Status;
use corelane::compression::CompressionSwitch;

use crate::protos::grpc::testing::BoolValue;

/// Checks what a client expects of its own message: the probe by which the cases find out whether a server looks at all.
pub(super) fn check(expected: Option<&BoolValue>, compressed: bool) -> Result<(), Status> {
    match expected {
        Some(expected) if expected.value != compressed => {
            let (came, should) = if compressed { ("compressed", "plain") } else { ("plain", "compressed") };
            Err(Status::invalid_argument(format!("the request came {came} and should have come {should}")))
        }
        _ => Ok(()),
    }
}

/// Whether a response is to be compressed. Nobody who does not ask gets one.
pub(super) fn wanted(asked: Option<&BoolValue>) -> bool {
    asked.is_some_and(|asked| asked.value)
}

/// Turns compression on or off for the next message of a stream.
pub(super) fn choose(switch: &CompressionSwitch, asked: Option<&BoolValue>) {
    if wanted(asked) {
        switch.on();
    } else {
        switch.off();
    }
}
