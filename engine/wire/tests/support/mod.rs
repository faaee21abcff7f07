//! A connection under test and the raw other end: tests read like packet traces.
#![allow(dead_code, unreachable_pub, missing_docs)] // Each test file uses its own part.

use corelane_wire::connection::{Config, Connection, ConnectionError, Event, ResetBy, Role, StreamKey};
use corelane_wire::frame::{
    self, EndStream, ErrorCode, Frame, HEADER_LEN, Header, PREFACE, SettingId, StreamId,
};
use corelane_wire::hpack::{Decoder, Encoder, ListLimits, Outcome};
use corelane_wire::{FieldList, Instant};

/// An [`Event`] that owns what it names.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Headers { stream: u32, fields: Vec<(String, String)>, end: bool },
    Informational { stream: u32 },
    Trailers { stream: u32, fields: Vec<(String, String)> },
    Data { stream: u32, payload: Vec<u8>, end: bool },
    Reset { stream: u32, code: ErrorCode, by: ResetBy },
    Settings,
    Goaway { last: u32, code: ErrorCode },
    Pong { payload: [u8; 8] },
}

/// A frame that the connection under test wrote.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrote {
    Headers { stream: u32, fields: Vec<(String, String)>, end: bool },
    Data { stream: u32, payload: Vec<u8>, end: bool },
    RstStream { stream: u32, code: ErrorCode },
    Settings,
    SettingsAck,
    Ping { ack: bool, payload: [u8; 8] },
    GoAway { last: u32, code: ErrorCode },
    WindowUpdate { stream: u32, increment: u32 },
}

pub fn list(fields: &[(&str, &str)]) -> FieldList {
    let mut list = FieldList::new();
    for (name, value) in fields {
        list.push(name.as_bytes(), value.as_bytes());
    }
    list
}

pub fn pairs(fields: &FieldList) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

pub fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
}

pub const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x")];
pub const OK: [(&str, &str); 1] = [(":status", "200")];
pub const DONE: [(&str, &str); 1] = [("grpc-status", "0")];

pub fn end(yes: bool) -> EndStream {
    if yes { EndStream::Yes } else { EndStream::No }
}

/// The connection under test, with the raw bytes of its peer.
pub struct Trace {
    pub connection: Connection,
    pub now: Instant,
    keys: Vec<(u32, StreamKey)>,
    unread: Vec<u8>,
    encoder: Encoder,
    decoder: Decoder,
    read: Vec<u8>,
}

impl Trace {
    /// A server that has seen nothing yet.
    pub fn fresh(role: Role, config: Config) -> Trace {
        let now = Instant::from_nanos(1_000_000_000);
        Trace {
            connection: Connection::new(role, config, now),
            now,
            keys: Vec::new(),
            unread: Vec::new(),
            encoder: Encoder::new(4096),
            decoder: Decoder::new(4096),
            read: Vec::new(),
        }
    }

    /// A server past its handshake, its first output read away.
    pub fn server(config: Config) -> Trace {
        let mut trace = Trace::fresh(Role::Server, config);
        trace.raw(PREFACE);
        assert_eq!(trace.send(|out| frame::write_settings(out, &[])), [Seen::Settings]);
        assert!(trace.send(frame::write_settings_ack).is_empty());
        trace.output();
        trace
    }

    /// A client past its handshake.
    pub fn client(config: Config) -> Trace {
        let mut trace = Trace::fresh(Role::Client, config);
        assert_eq!(trace.send(|out| frame::write_settings(out, &[])), [Seen::Settings]);
        assert!(trace.send(frame::write_settings_ack).is_empty());
        assert_eq!(trace.connection.output().drain(..PREFACE.len()).as_slice(), PREFACE);
        trace.output();
        trace
    }

    pub fn key(&self, stream: u32) -> StreamKey {
        self.keys.iter().rev().find(|(id, _)| *id == stream).expect("the stream was opened").1
    }

    pub fn note(&mut self, stream: u32, key: StreamKey) {
        self.keys.push((stream, key));
    }

    /// Feeds bytes and returns the events, or the error that ended the connection.
    pub fn try_raw(&mut self, bytes: &[u8]) -> Result<Vec<Seen>, ConnectionError> {
        self.unread.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.unread);
        let (mut at, mut seen) = (0, Vec::new());
        loop {
            let received = self.connection.receive(self.now, &input[at..])?;
            at += received.consumed;
            let Some(event) = received.event else { break };
            let event = self.see(event);
            seen.push(event);
        }
        self.unread = input[at..].to_vec();
        #[cfg(debug_assertions)]
        self.connection.check_invariants();
        Ok(seen)
    }

    pub fn raw(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.try_raw(bytes).expect("the connection lives")
    }

    pub fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<Seen> {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.raw(&bytes)
    }

    /// Sends what must end the connection, and returns the code of the GOAWAY that says so.
    pub fn send_fatal(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> ErrorCode {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let error = self.try_raw(&bytes).expect_err("the connection ends");
        let goaway = self.output().pop();
        assert!(
            matches!(goaway, Some(Wrote::GoAway { code, .. }) if code == error.code),
            "{goaway:?} {error}"
        );
        assert_eq!(self.connection.receive(self.now, &[]), Err(error), "the error sticks");
        error.code
    }

    pub fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end_stream: bool) -> Vec<Seen> {
        let block = self.encode(fields);
        self.send(|out| frame::write_headers(out, StreamId::new(stream), end(end_stream), &block, 16_384))
    }

    pub fn data(&mut self, stream: u32, payload: &[u8], end_stream: bool) -> Vec<Seen> {
        self.send(|out| write_data(out, stream, payload, end_stream))
    }

    pub fn encode(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.encode(&list(fields), &mut block);
        block
    }

    /// What the connection has written since it was asked last.
    pub fn output(&mut self) -> Vec<Wrote> {
        self.connection.transmit(self.now);
        let bytes = std::mem::take(self.connection.output());
        self.read.extend_from_slice(&bytes);
        let (mut at, mut wrote) = (0, Vec::new());
        while let Some((header, rest)) = self.read[at..].split_first_chunk::<HEADER_LEN>() {
            let header = Header::parse(header);
            let payload = &rest[..header.len as usize];
            at += HEADER_LEN + payload.len();
            wrote.push(read_frame(frame::parse(header, payload).expect("a legal frame"), &mut self.decoder));
        }
        self.read.drain(..at);
        wrote
    }

    fn see(&mut self, event: Event<'_>) -> Seen {
        let stream_of = |trace: &Trace, key: StreamKey| {
            trace.keys.iter().rev().find(|(_, known)| *known == key).map_or(0, |(id, _)| *id)
        };
        match event {
            Event::Headers { key, end_stream, .. } => {
                if let Some(mut stream) = self.connection.stream(key) {
                    let id = stream.id().get();
                    self.keys.push((id, key));
                }
                let fields = pairs(self.connection.fields());
                Seen::Headers { stream: stream_of(self, key), fields, end: end_stream }
            }
            Event::Informational { key, .. } => Seen::Informational { stream: stream_of(self, key) },
            Event::Trailers { key, .. } => {
                Seen::Trailers { stream: stream_of(self, key), fields: pairs(self.connection.fields()) }
            }
            Event::Data { key, payload, end_stream, .. } => {
                Seen::Data { stream: stream_of(self, key), payload: payload.to_vec(), end: end_stream }
            }
            Event::Reset { key, code, by, .. } => Seen::Reset { stream: stream_of(self, key), code, by },
            Event::Settings => Seen::Settings,
            Event::Goaway { last_stream, code, .. } => Seen::Goaway { last: last_stream.get(), code },
            Event::Pong { payload } => Seen::Pong { payload },
        }
    }
}

fn read_frame(frame: Frame<'_>, decoder: &mut Decoder) -> Wrote {
    match frame {
        Frame::Headers(headers) => {
            assert!(headers.end_headers, "tests use small heads");
            let mut fields = FieldList::new();
            let limits = ListLimits { size_max: 1 << 20, fields_max: 1000 };
            let outcome = decoder.decode(headers.fragment, limits, &mut fields).expect("a legal block");
            assert_eq!(outcome, Outcome::Complete);
            Wrote::Headers { stream: headers.stream.get(), fields: pairs(&fields), end: headers.end_stream }
        }
        Frame::Data(data) => {
            Wrote::Data { stream: data.stream.get(), payload: data.payload.to_vec(), end: data.end_stream }
        }
        Frame::RstStream(reset) => Wrote::RstStream { stream: reset.stream.get(), code: reset.code },
        Frame::Settings(settings) if settings.ack => Wrote::SettingsAck,
        Frame::Settings(_) => Wrote::Settings,
        Frame::Ping(ping) => Wrote::Ping { ack: ping.ack, payload: ping.payload },
        Frame::GoAway(goaway) => Wrote::GoAway { last: goaway.last_stream.get(), code: goaway.code },
        Frame::WindowUpdate(update) => {
            Wrote::WindowUpdate { stream: update.stream.get(), increment: update.increment }
        }
        other => panic!("not expected from us: {other:?}"),
    }
}

pub fn write_data(out: &mut Vec<u8>, stream: u32, payload: &[u8], end_stream: bool) {
    frame::write_data(out, StreamId::new(stream), end(end_stream), payload);
}

pub fn setting(id: SettingId, value: u32) -> impl FnOnce(&mut Vec<u8>) {
    move |out| frame::write_settings(out, &[(id, value)])
}

pub fn id(stream: u32) -> StreamId {
    StreamId::new(stream)
}

/// A server as it comes.
pub fn server() -> Trace {
    Trace::server(Config::default())
}

/// A server with stream 1 open, its request's head read.
pub fn called() -> Trace {
    let mut trace = server();
    trace.headers(1, &POST, false);
    trace
}

/// Answers a request whole.
pub fn answer(trace: &mut Trace, stream: u32, payload: &[u8]) {
    let key = trace.key(stream);
    trace.connection.stream(key).expect("live").send_headers(&list(&OK), EndStream::No).expect("legal");
    trace.connection.stream(key).expect("live").send_data(payload, EndStream::No).expect("legal");
    trace.connection.stream(key).expect("live").send_trailers(&list(&DONE)).expect("legal");
}
