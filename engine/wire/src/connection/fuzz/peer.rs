//! The other end, which keeps to no rule: frames as a script chooses them, most of them legal or nearly so, for a connection does
//! not live long otherwise.
//!
//! Does not read what the connection answers; which streams are open it is told.

use alloc::vec::Vec;

use super::script::Script;
use crate::connection::shutdown::DRAIN_PING;
use crate::connection::{Cause, Role};
use crate::field::FieldList;
use crate::frame::{self, EndStream, ErrorCode, Flags, Kind, MAX_FRAME_SIZE_MIN, PREFACE, StreamId};
use crate::hpack::Encoder;

/// Frames that one step repeats at most; more than a budget allows.
const REPEATS_MAX: usize = 255;
/// Octets that the peer says ahead of what is read, at most.
const AHEAD_MAX: usize = 256 * 1024;
static OCTETS: [u8; MAX_FRAME_SIZE_MIN as usize + 1] = [b'p'; MAX_FRAME_SIZE_MIN as usize + 1];

/// Heads of a request that are as they should be.
const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x"), ("te", "trailers")],
    &[(":method", "GET"), (":scheme", "http"), (":path", "/")],
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), ("content-length", "100")],
];
const RESPONSES: [&[(&str, &str)]; 4] = [
    &[(":status", "200"), ("content-type", "application/grpc")],
    &[(":status", "200"), ("content-length", "100")],
    &[(":status", "100")],
    &[(":status", "404")],
];
const TRAILERS: [&[(&str, &str)]; 2] = [&[("grpc-status", "0")], &[("grpc-status", "0"), ("a", "b")]];
/// Lists that break a rule of RFC 9113, sections 8.2 and 8.3, wherever they stand.
const MALFORMED: [&[(&str, &str)]; 8] = [
    &[],
    &[(":method", "POST"), (":method", "POST"), (":scheme", "http"), (":path", "/")],
    &[(":method", "POST"), (":scheme", "http"), (":path", "a.B/C"), (":status", "200")],
    &[("A", "b")],
    &[(":status", "200"), ("connection", "close")],
    &[("a", "b\r\nc"), (":status", "200")],
    &[(":status", "101")],
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), ("content-length", "+1"), ("te", "gzip")],
];

/// The streams that both ends know.
#[derive(Clone, Copy)]
pub(super) struct Opened<'a> {
    pub(super) open: &'a [u32],
    /// The highest one that was ever open.
    pub(super) last: u32,
}

pub(super) struct Peer {
    /// Which end it talks to.
    role: Role,
    /// One thing in so many breaks a rule that costs the connection; none, if it is zero.
    wild: u8,
    /// What it has said and is on its way.
    pub(super) said: Vec<u8>,
    encoder: Encoder,
    /// The stream that a client opens next.
    next: u32,
    /// The frame that it has sent last.
    last: Vec<u8>,
}

impl Peer {
    /// A peer that greets, unless the script has it begin with something else.
    pub(super) fn new(role: Role, script: &mut Script<'_>) -> Peer {
        let wild = script.pick(&[0, 0, 0, 100, 100, 40, 40, 8]);
        let mut peer =
            Peer { role, wild, said: Vec::new(), encoder: Encoder::new(4096), next: 1, last: Vec::new() };
        if role == Role::Server && !peer.breaks_a_rule(script) {
            peer.said.extend_from_slice(PREFACE);
        }
        if !peer.breaks_a_rule(script) {
            frame::write_settings(&mut peer.said, &[]);
        }
        peer
    }

    /// Whether its connection may end so: without wild frames each of its frames is well-formed, though more or later than it may be.
    pub(super) fn may_earn(&self, cause: Cause) -> bool {
        let is_of_form = matches!(
            cause,
            Cause::Frame(_)
                | Cause::HeaderBlock(_)
                | Cause::Preface
                | Cause::FirstFrame
                | Cause::InterruptedBlock
                | Cause::StrayContinuation
                | Cause::Push
        );
        self.wild > 0 || !is_of_form
    }

    fn breaks_a_rule(&self, script: &mut Script<'_>) -> bool {
        self.wild > 0 && script.once_in(self.wild)
    }

    /// Says one thing. `table_size` is what the connection has announced for HPACK.
    pub(super) fn speak(&mut self, opened: Opened<'_>, table_size: u32, script: &mut Script<'_>) {
        if self.said.len() > AHEAD_MAX {
            return;
        }
        if self.breaks_a_rule(script) {
            return match script.below(4) {
                0 => self.said.extend_from_slice(script.raw(40)),
                1 => self.continuations(opened, script),
                _ => self.any(opened, script),
            };
        }
        match script.below(32) {
            0..=9 => self.block(opened, script),
            10..=16 => self.data(opened, script),
            17..=20 => self.window_update(opened, script),
            21 | 22 => self.settings(script),
            23 => {
                self.encoder.set_peer_table_size(table_size);
                self.put(Kind::SETTINGS, Flags::ACK, 0, &[], script);
            }
            24 | 25 => self.ping(script),
            26 | 27 => {
                let Some(stream) = self.stream(opened, script) else { return };
                let code = script.below(16) as u32;
                self.put(Kind::RST_STREAM, Flags::NONE, stream, &code.to_be_bytes(), script);
            }
            28 | 29 => self.repeat(script),
            30 if script.below(2) == 0 => self.leave(opened, script),
            30 if self.role == Role::Server => self.churn(script),
            _ => {
                let Some(stream) = self.stream(opened, script) else { return };
                self.put(Kind::PRIORITY, Flags::NONE, stream, &[0, 0, 0, 1, 7], script);
            }
        }
    }

    /// A stream: mostly one that is open, or one that has ended.
    fn stream(&mut self, opened: Opened<'_>, script: &mut Script<'_>) -> Option<u32> {
        if self.breaks_a_rule(script) {
            let next = if self.role == Role::Server { self.next } else { opened.last + 2 };
            return Some(script.pick(&[next, next + 1, next + 2, 0, 1, 2, StreamId::MAX.get(), u32::MAX]));
        }
        match script.below(8) {
            0 if opened.last > 4 => Some(opened.last - 2 * script.below(3) as u32),
            _ if opened.open.is_empty() => (opened.last > 0).then_some(opened.last),
            _ => Some(script.pick(opened.open)),
        }
    }

    /// A header block, whole or in parts.
    fn block(&mut self, opened: Opened<'_>, script: &mut Script<'_>) {
        let opens = self.role == Role::Server && (script.below(2) == 0 || opened.open.is_empty());
        let stream = if opens { Some(self.next) } else { self.stream(opened, script) };
        let Some(stream) = stream else { return };
        let block = self.fields(opens, script);
        let mut flags = if script.below(4) == 0 { Flags::END_STREAM } else { Flags::NONE };
        if stream >= self.next && stream % 2 == 1 && stream < 1 << 20 {
            self.next = stream + 2;
        }
        let mut payload = Vec::new();
        if script.once_in(16) {
            let pad = script.byte();
            flags = flags | Flags::PADDED;
            payload.push(pad);
            payload.extend_from_slice(&block);
            payload.resize(payload.len() + usize::from(pad), 0);
            return self.put(Kind::HEADERS, flags | Flags::END_HEADERS, stream, &payload, script);
        }
        if script.once_in(16) {
            flags = flags | Flags::PRIORITY;
            payload.extend_from_slice(&[0, 0, 0, 0, 9]);
        }
        let parts = if script.once_in(4) { 2 + script.below(3) } else { 1 };
        let mut pieces = block.chunks(block.len().div_ceil(parts).clamp(1, OCTETS.len() - 1));
        payload.extend_from_slice(pieces.next().unwrap_or(&[]));
        let ends = |more: usize| if more == 0 { Flags::END_HEADERS } else { Flags::NONE };
        self.put(Kind::HEADERS, flags | ends(pieces.len()), stream, &payload, script);
        while let Some(piece) = pieces.next() {
            self.put(Kind::CONTINUATION, ends(pieces.len()), stream, piece, script);
        }
    }

    /// The octets of a header block.
    fn fields(&mut self, opens: bool, script: &mut Script<'_>) -> Vec<u8> {
        let mut block = Vec::new();
        let legal = match (self.role, opens) {
            (Role::Server, true) => script.pick(&REQUESTS),
            (Role::Client, _) if script.below(2) == 0 => script.pick(&RESPONSES),
            _ => script.pick(&TRAILERS),
        };
        let mut fields = FieldList::from_iter(legal.iter().copied());
        match script.below(32) {
            0 if self.wild > 0 => block.extend_from_slice(script.raw(30)),
            1..=3 => fields = FieldList::from_iter(script.pick(&MALFORMED).iter().copied()),
            5 => fields.push(b"large", &OCTETS[..script.pick(&[1_000, 16_000, OCTETS.len()])]),
            6 => (0..script.below(256)).for_each(|_| fields.push(b"many", b"")),
            7 => fields.push(b"raw", script.raw(20)),
            _ => {}
        }
        if block.is_empty() {
            self.encoder.encode(&fields, &mut block);
        }
        block
    }

    fn data(&mut self, opened: Opened<'_>, script: &mut Script<'_>) {
        let Some(stream) = self.stream(opened, script) else { return };
        let len = match self.breaks_a_rule(script) {
            true => OCTETS.len(),
            false => script.pick(&[1, 100, 0, 5, 1_000, 10_000, 16_384, 16_384]),
        };
        let flags = if script.once_in(4) { Flags::END_STREAM } else { Flags::NONE };
        if !script.once_in(6) {
            return self.put(Kind::DATA, flags, stream, &OCTETS[..len], script);
        }
        let pad = script.byte();
        let mut payload = Vec::from([pad]);
        payload.extend_from_slice(&OCTETS[..len.min(1_000)]);
        payload.resize(payload.len() + usize::from(pad), 0);
        self.put(Kind::DATA, flags | Flags::PADDED, stream, &payload, script);
    }

    fn window_update(&mut self, opened: Opened<'_>, script: &mut Script<'_>) {
        let stream = if script.below(3) == 0 { Some(0) } else { self.stream(opened, script) };
        let Some(stream) = stream else { return };
        let increment = match script.below(8) {
            0 if self.wild > 0 => script.word(),
            1 => 1 << 20,
            _ => 1 + 64 * u32::from(script.byte()),
        };
        self.put(Kind::WINDOW_UPDATE, Flags::NONE, stream, &increment.to_be_bytes(), script);
    }

    fn settings(&mut self, script: &mut Script<'_>) {
        let mut payload = Vec::new();
        let entries = if self.breaks_a_rule(script) { script.below(64) } else { script.below(4) };
        for _ in 0..entries {
            let id = script.pick(&[4, 4, 4, 3, 1, 5, 6, 0, 2, 8, 9]);
            let value = match script.below(4) {
                _ if matches!(id, 2 | 8 | 9) && self.wild != 8 => 0,
                0 if self.wild > 0 => script.word(),
                _ if id == 5 => MAX_FRAME_SIZE_MIN + 100 * u32::from(script.byte()),
                _ => u32::from(script.byte()) * script.pick(&[1, 0, 16, 257]),
            };
            payload.extend_from_slice(&[0, id]);
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.put(Kind::SETTINGS, Flags::NONE, 0, &payload, script);
    }

    fn ping(&mut self, script: &mut Script<'_>) {
        let flags = if script.below(2) == 0 { Flags::ACK } else { Flags::NONE };
        let payload = if script.below(2) == 0 { DRAIN_PING } else { [script.byte(); 8] };
        self.put(Kind::PING, flags, 0, &payload, script);
    }

    /// The same frame again, or many of them.
    fn repeat(&mut self, script: &mut Script<'_>) {
        // A header block again is another block: what it has put into the table is in there twice.
        let is_block = |kind: &u8| [Kind::HEADERS.0, Kind::CONTINUATION.0].contains(kind);
        if self.wild == 0 && self.last.get(3).is_some_and(is_block) {
            return;
        }
        let times = if script.below(4) == 0 { script.below(REPEATS_MAX + 1) } else { script.below(4) };
        for _ in 0..times {
            if self.said.len() < AHEAD_MAX {
                self.said.extend_from_slice(&self.last);
            }
        }
    }

    /// Parts of a header block that nobody began, or that does not end.
    fn continuations(&mut self, opened: Opened<'_>, script: &mut Script<'_>) {
        let stream = self.stream(opened, script).unwrap_or(1);
        let (times, len) = (script.below(16), script.pick(&[16_384, 0, 1, 100]));
        if script.below(4) > 0 {
            self.put(Kind::HEADERS, Flags::NONE, stream, &[], script);
        }
        for _ in 0..times {
            self.put(Kind::CONTINUATION, Flags::NONE, stream, &OCTETS[..len], script);
        }
        let flags = if script.below(2) == 0 { Flags::END_HEADERS } else { Flags::NONE };
        self.put(Kind::CONTINUATION, flags, stream, script.raw(10), script);
    }

    /// Streams that are opened, and reset before they can be answered.
    fn churn(&mut self, script: &mut Script<'_>) {
        let fields = FieldList::from_iter(script.pick(&REQUESTS).iter().copied());
        for _ in 0..script.below(256) {
            let (mut block, stream) = (Vec::new(), StreamId::new(self.next));
            self.next += 2;
            self.encoder.encode(&fields, &mut block);
            frame::write_headers(&mut self.said, stream, EndStream::No, &block, MAX_FRAME_SIZE_MIN);
            frame::write_rst_stream(&mut self.said, stream, ErrorCode::CANCEL);
        }
    }

    fn leave(&mut self, opened: Opened<'_>, script: &mut Script<'_>) {
        let last = if script.below(2) == 0 { None } else { self.stream(opened, script) };
        let last = last.unwrap_or(StreamId::MAX.get());
        let mut payload = Vec::from(last.to_be_bytes());
        payload.extend_from_slice(&u32::from(script.byte() % 16).to_be_bytes());
        payload.extend_from_slice(script.raw(10));
        self.put(Kind::GOAWAY, Flags::NONE, 0, &payload, script);
    }

    /// Any kind, with any flags and any payload.
    fn any(&mut self, opened: Opened<'_>, script: &mut Script<'_>) {
        let kind = if script.below(2) == 0 { Kind(script.byte()) } else { Kind(script.byte() % 11) };
        let (flags, stream) = (Flags(script.byte()), self.stream(opened, script).unwrap_or(0));
        let payload = script.raw(24);
        self.put(kind, flags, stream, payload, script);
    }

    /// A frame, which the script may spoil.
    fn put(&mut self, kind: Kind, flags: Flags, stream: u32, payload: &[u8], script: &mut Script<'_>) {
        let (mut len, mut flags, mut kind, mut stream) = (payload.len() as u32, flags, kind, stream);
        let spoiled = if self.breaks_a_rule(script) { script.below(8) } else { 8 };
        match spoiled {
            0 => len = script.word() & 0x00ff_ffff,
            1 => len = (len + 1) & 0x00ff_ffff,
            2 => len = len.saturating_sub(1),
            3 => flags = Flags(script.byte()),
            4 => flags = Flags(flags.0 ^ 1 << script.below(8)),
            5 => kind = Kind(script.byte() % 11),
            6 => stream = script.word(),
            7 => stream |= 1 << 31,
            _ => {}
        }
        self.last.clear();
        self.last.extend_from_slice(&len.to_be_bytes()[1..]);
        self.last.extend_from_slice(&[kind.0, flags.0]);
        self.last.extend_from_slice(&stream.to_be_bytes());
        self.last.extend_from_slice(payload);
        self.said.extend_from_slice(&self.last);
    }
}
