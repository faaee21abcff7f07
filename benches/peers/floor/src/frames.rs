//! As much HTTP/2 as it takes to keep a load generator content: whole frames in, canned frames out.
//!
//! Does not: validate anything. What is malformed is skipped, and what is too large is waited for.

use std::rc::Rc;

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// What a peer has sent is credited in portions of a quarter of the smallest window a connection can have.
const CREDIT_BYTES: u32 = 16_000;

/// Frame types, RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
/// The same bit on different frames.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// MAX_CONCURRENT_STREAMS 10,000; INITIAL_WINDOW_SIZE 8 MiB - 1.
const OUR_SETTINGS: [u8; 12] = [0, 3, 0, 0, 0x27, 0x10, 0, 4, 0, 0x7f, 0xff, 0xff];
/// What a connection's window is raised by at once, so that large requests do not wait for credit.
const FIRST_CREDIT: u32 = 8 << 20;
/// `:status: 200` by index, `content-type: application/grpc` as a literal that is not indexed.
const RESPONSE_HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
/// `grpc-status: 0` as a literal that is not indexed.
const RESPONSE_TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";

/// All frames of a reply, with the stream's id left out.
pub(crate) struct Reply {
    frames: Vec<u8>,
    /// Where in `frames` the ids belong.
    ids: Vec<usize>,
}

impl Reply {
    /// A reply with a `bench.v1.Reply` of `size` octets of payload.
    pub(crate) fn new(size: usize) -> Reply {
        let message = message(size);
        let mut reply = Reply { frames: Vec::new(), ids: Vec::new() };
        reply.push(HEADERS, END_HEADERS, RESPONSE_HEAD);
        for part in message.chunks(PAYLOAD_BYTES_MAX) {
            reply.push(DATA, 0, part);
        }
        reply.push(HEADERS, END_HEADERS | END_STREAM, RESPONSE_TRAILERS);
        reply
    }

    fn push(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        self.ids.push(self.frames.len() + 5);
        push_frame(&mut self.frames, kind, flags, 0, payload);
    }

    fn write(&self, stream: u32, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.frames);
        for at in &self.ids {
            out[begin + at..begin + at + 4].copy_from_slice(&stream.to_be_bytes());
        }
    }
}

/// The length-prefixed message of a reply.
fn message(size: usize) -> Vec<u8> {
    let mut body = Vec::new();
    if size > 0 {
        body.push(0x0a); // field 1, length-delimited
        let mut rest = size;
        while rest > 0x7f {
            body.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        body.push(rest.to_le_bytes()[0]);
        body.resize(body.len() + size, 0);
    }
    let len = u32::try_from(body.len()).expect("a payload of less than 4 GiB");
    [&[0], &len.to_be_bytes()[..], &body].concat()
}

fn push_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("frames have three octets for it");
    out.extend_from_slice(&len.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// What is known of one connection.
pub(crate) struct Connection {
    reply: Rc<Reply>,
    greeted: bool,
    /// The beginning of a frame whose end has not arrived.
    partial: Vec<u8>,
    out: Vec<u8>,
    uncredited: u32,
}

impl Connection {
    pub(crate) fn new(reply: Rc<Reply>) -> Connection {
        Connection { reply, greeted: false, partial: Vec::new(), out: Vec::new(), uncredited: 0 }
    }

    /// What is to be sent; the buffer is expected back.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// A buffer whose content was sent.
    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.out = buffer;
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        if self.partial.is_empty() {
            let used = self.parse(bytes);
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut held = std::mem::take(&mut self.partial);
            held.extend_from_slice(bytes);
            let used = self.parse(&held);
            held.drain(..used);
            self.partial = held;
        }
        if self.uncredited > CREDIT_BYTES {
            let credit = std::mem::take(&mut self.uncredited).to_be_bytes();
            push_frame(&mut self.out, WINDOW_UPDATE, 0, 0, &credit);
        }
    }

    /// Answers the whole frames in `bytes`; returns how many octets they took.
    fn parse(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if !self.greeted {
            if bytes.len() < PREFACE_BYTES {
                return 0;
            }
            self.greeted = true;
            at = PREFACE_BYTES;
            push_frame(&mut self.out, SETTINGS, 0, 0, &OUR_SETTINGS);
            push_frame(&mut self.out, WINDOW_UPDATE, 0, 0, &FIRST_CREDIT.to_be_bytes());
        }
        while let Some(head) = bytes.get(at..at + HEAD_BYTES) {
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some(payload) = bytes.get(at + HEAD_BYTES..at + HEAD_BYTES + len) else { break };
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            self.answer(head[3], head[4], stream, payload);
            at += HEAD_BYTES + len;
        }
        at
    }

    fn answer(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match kind {
            DATA | HEADERS => {
                if kind == DATA {
                    self.uncredited +=
                        u32::try_from(payload.len()).expect("a frame's length has three octets");
                }
                if flags & END_STREAM != 0 {
                    self.reply.write(stream, &mut self.out);
                }
            }
            SETTINGS if flags & ACK == 0 => push_frame(&mut self.out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => push_frame(&mut self.out, PING, ACK, 0, payload),
            _ => {}
        }
    }
}
