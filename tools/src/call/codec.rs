//! Messages of types that are known only when the program runs.

use corelane::Status;
use corelane::codegen::Codec;
use corelane::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

/// Sends messages that know their type, receives messages of the type that it holds.
#[derive(Clone, Debug)]
pub(crate) struct DynamicCodec {
    output: MessageDescriptor,
}

impl DynamicCodec {
    pub(crate) fn new(output: MessageDescriptor) -> DynamicCodec {
        DynamicCodec { output }
    }
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;

    fn encode(&self, item: &DynamicMessage, out: &mut Vec<u8>) -> Result<(), Status> {
        item.encode(out).map_err(|error| Status::internal(format!("cannot encode the message: {error}")))
    }

    fn decode(&self, payload: &[u8]) -> Result<DynamicMessage, Status> {
        DynamicMessage::decode(self.output.clone(), payload).map_err(|error| {
            Status::internal(format!("cannot decode a {}: {error}", self.output.full_name()))
        })
    }
}

#[cfg(test)]
mod tests {
    use corelane::Code;
    use prost_reflect::{DescriptorPool, Value};

    use super::*;

    #[test]
    fn a_message_survives_the_wire() {
        let pool = DescriptorPool::decode(crate::call::DESCRIPTORS).unwrap();
        let user = pool.get_message_by_name("example.v1.GetUserRequest").unwrap();
        let mut message = DynamicMessage::new(user.clone());
        message.set_field_by_number(1, Value::U64(7));
        let codec = DynamicCodec::new(user);
        let mut bytes = Vec::new();
        codec.encode(&message, &mut bytes).unwrap();
        assert_eq!(codec.decode(&bytes).unwrap(), message);
        let status = codec.decode(b"\x0a\x7f").unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().starts_with("cannot decode a example.v1.GetUserRequest: "), "{status:?}");
    }
}
