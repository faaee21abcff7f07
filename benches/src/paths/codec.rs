//! Messages: into the connection's output and out of the receive buffer, by the codec that generated code uses.

use std::hint::black_box;

use bytes::Bytes;
use corelane_call::ProstCodec;
use corelane_call::message::{PREFIX_LEN, decode_message, encode_message};
use corelane_wire::grpc::{Encoding, Message};

use super::Path;
use crate::proto::Request;

/// Messages in a step.
const MESSAGES: u64 = 100;
const SIZE_MAX: usize = 4 << 20;

/// What is sent and received.
pub(super) const CODEC: ProstCodec<Request, Request> = ProstCodec::new();

/// A request with so many octets of payload.
#[must_use]
pub fn request(payload: usize) -> Request {
    Request { payload: Bytes::from(vec![7; payload]), response_size: 16, messages: 1 }
}

/// As it is sent, with its prefix.
#[must_use]
pub fn encoded(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message(&CODEC, request, Encoding::Identity, SIZE_MAX, &mut out).expect("it is small enough");
    out
}

/// Encodes requests behind one another.
pub struct Encode {
    request: Request,
    out: Vec<u8>,
}

impl Encode {
    /// With so many octets of payload.
    #[must_use]
    pub fn new(payload: usize) -> Encode {
        let mut path = Encode { request: request(payload), out: Vec::new() };
        path.step();
        path
    }
}

impl Path for Encode {
    fn operations(&self) -> u64 {
        MESSAGES
    }

    fn step(&mut self) {
        self.out.clear();
        for _ in 0..MESSAGES {
            let request = black_box(&self.request);
            encode_message(&CODEC, request, Encoding::Identity, SIZE_MAX, &mut self.out)
                .expect("it is small enough");
        }
    }
}

/// Decodes a request.
pub struct Decode {
    bytes: Vec<u8>,
}

impl Decode {
    /// With so many octets of payload.
    #[must_use]
    pub fn new(payload: usize) -> Decode {
        Decode { bytes: encoded(&request(payload)) }
    }
}

impl Path for Decode {
    fn operations(&self) -> u64 {
        MESSAGES
    }

    fn step(&mut self) {
        for _ in 0..MESSAGES {
            let message = Message { compressed: false, payload: black_box(&self.bytes[PREFIX_LEN..]) };
            let decoded = decode_message(&CODEC, message, Encoding::Identity, SIZE_MAX);
            black_box(decoded.expect("it was encoded before"));
        }
    }
}
