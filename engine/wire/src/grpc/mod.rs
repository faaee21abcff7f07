//! gRPC over HTTP/2 (PROTOCOL-HTTP2.md): what travels inside the frames.
//!
//! Each file is one piece of the protocol: the message prefix, the status, metadata and its binary values, the timeout, the
//! names of encodings. Does not: compress, decode messages, know streams.

pub mod base64;
pub mod encoding;
pub mod message;
pub mod metadata;
pub mod percent;
pub mod status;
pub mod timeout;

#[cfg(any(fuzzing, test))]
pub mod fuzz;

pub use encoding::{Encoding, EncodingSet};
pub use message::{DeframeError, Deframer, Message, PREFIX_LEN, Prefix, whole};
pub use metadata::{InvalidMetadata, Metadata, MetadataValue};
pub use status::{Code, Status};
