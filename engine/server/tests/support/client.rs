//! A small blocking client on `wire` in client role: enough to see every frame that matters of an answer.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant as StdInstant};

use corelane_wire::connection::{Config, Connection, Event, Role, StreamKey};
use corelane_wire::frame::{EndStream, ErrorCode};
use corelane_wire::{FieldList, Instant};
use prost::Message;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has come back on one stream.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) head: Option<Vec<(String, String)>>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Vec<(String, String)>>,
    pub(crate) ended: bool,
    pub(crate) reset: Option<ErrorCode>,
}

impl Answer {
    fn lookup<'a>(fields: Option<&'a Vec<(String, String)>>, name: &str) -> Option<&'a str> {
        fields?.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Answer::lookup(self.head.as_ref(), name)
    }

    /// From the trailers, or from the head of an answer that has nothing else.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        Answer::lookup(self.trailers.as_ref(), name).or_else(|| {
            let only = self.trailers.is_none() && self.ended;
            only.then(|| self.header(name)).flatten()
        })
    }

    pub(crate) fn is_trailers_only(&self) -> bool {
        self.trailers.is_none() && self.ended && self.body.is_empty()
    }

    /// Whether the stream is over.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }

    /// `grpc-status`.
    pub(crate) fn code(&self) -> u32 {
        let code = self.trailer("grpc-status").unwrap_or_else(|| panic!("no grpc-status in {self:?}"));
        code.parse().unwrap()
    }

    /// `grpc-message`, decoded where it was encoded.
    pub(crate) fn message(&self) -> String {
        let mut text = Vec::new();
        let mut bytes = self.trailer("grpc-message").unwrap_or_default().bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'%' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    text.push(u8::from_str_radix(digits, 16).unwrap());
                }
                other => text.push(other),
            }
        }
        String::from_utf8(text).unwrap()
    }

    /// The messages that are complete: their compressed-flags and bytes.
    pub(crate) fn frames(&self) -> Vec<(u8, &[u8])> {
        let mut frames = Vec::new();
        let mut rest = &self.body[..];
        while let Some((prefix, tail)) = rest.split_first_chunk::<5>() {
            let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
            let Some((payload, tail)) = tail.split_at_checked(len) else { break };
            frames.push((prefix[0], payload));
            rest = tail;
        }
        frames
    }

    pub(crate) fn messages<M: Message + Default>(&self) -> Vec<M> {
        self.frames().into_iter().map(|(_, payload)| M::decode(payload).unwrap()).collect()
    }

    /// The one message of a call that succeeded.
    pub(crate) fn only<M: Message + Default>(&self) -> M {
        assert_eq!(self.code(), 0, "{self:?}");
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{self:?}");
        messages.remove(0)
    }
}

/// A message with its prefix.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    framed_raw(0, &message.encode_to_vec())
}

pub(crate) fn framed_raw(flag: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flag];
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// One connection.
pub(crate) struct Client {
    socket: TcpStream,
    pub(crate) wire: Connection,
    started: StdInstant,
    input: Vec<u8>,
    answers: HashMap<StreamKey, Answer>,
    /// A GOAWAY has arrived.
    pub(crate) goaway: Option<(u32, ErrorCode)>,
    /// The server has closed the connection.
    pub(crate) closed: bool,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::with_config(address, Config { max_concurrent_streams: 1_000_000, ..Config::default() })
    }

    pub(crate) fn with_config(address: SocketAddr, config: Config) -> Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let wire = Connection::new(Role::Client, config, Instant::from_nanos(0));
        Client {
            socket,
            wire,
            started: StdInstant::now(),
            input: Vec::new(),
            answers: HashMap::new(),
            goaway: None,
            closed: false,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap())
    }

    /// Opens a call; `extra` fields replace those of the same name, and a value of "-" takes one away.
    pub(crate) fn open(&mut self, path: &str, extra: &[(&str, &str)], end: EndStream) -> StreamKey {
        let mut request = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        for field in extra {
            match request.iter_mut().find(|known| known.0 == field.0) {
                Some(known) => known.1 = field.1,
                None => request.push(*field),
            }
        }
        let mut fields = FieldList::new();
        for (name, value) in request.into_iter().filter(|field| field.1 != "-") {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let key = self.wire.open(&fields, end).unwrap();
        self.answers.insert(key, Answer::default());
        key
    }

    pub(crate) fn send(&mut self, key: StreamKey, bytes: &[u8], end: EndStream) {
        if let Some(stream) = self.wire.stream(key) {
            stream.send_data(bytes, end).unwrap();
        }
    }

    pub(crate) fn reset(&mut self, key: StreamKey) {
        self.wire.stream(key).unwrap().reset(ErrorCode::CANCEL);
    }

    pub(crate) fn answer(&self, key: StreamKey) -> &Answer {
        &self.answers[&key]
    }

    /// Writes what is due and reads what has come, once.
    pub(crate) fn turn(&mut self) {
        let now = self.now();
        self.wire.transmit(now);
        let out = std::mem::take(self.wire.output());
        if let Err(error) = self.socket.write_all(&out) {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
        let mut chunk = [0; 64 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(len) => self.input.extend_from_slice(&chunk[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed = true,
            Err(error) => panic!("{error}"),
        }
        self.take_events();
    }

    fn take_events(&mut self) {
        let now = self.now();
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        loop {
            let received = self.wire.receive(now, &input[at..]).expect("the server keeps to the protocol");
            at += received.consumed;
            let Some(event) = received.event else { break };
            note(&mut self.wire, &mut self.answers, &mut self.goaway, event);
        }
        self.input.extend_from_slice(&input[at..]);
    }

    /// Works until `done`.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Client) -> bool) {
        let started = StdInstant::now();
        while !done(self) {
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}: {:?}", self.answers);
            self.turn();
        }
        // What the last events made us say (credits, acknowledgements) is sent as well.
        self.flush();
    }

    /// Writes what is due.
    pub(crate) fn flush(&mut self) {
        let now = self.now();
        self.wire.transmit(now);
        let out = std::mem::take(self.wire.output());
        let _ = self.socket.write_all(&out);
    }

    /// Works until the call is over.
    pub(crate) fn finish(&mut self, key: StreamKey) -> Answer {
        self.until("the end of a call", |client| client.answers[&key].is_over() || client.closed);
        self.answers.remove(&key).unwrap()
    }

    /// A whole call with one request.
    pub(crate) fn unary(&mut self, path: &str, extra: &[(&str, &str)], message: &impl Message) -> Answer {
        let key = self.open(path, extra, EndStream::No);
        self.send(key, &framed(message), EndStream::Yes);
        self.finish(key)
    }
}

fn strings(fields: &FieldList) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|field| (text(field.name), text(field.value))).collect()
}

fn note(
    wire: &mut Connection,
    answers: &mut HashMap<StreamKey, Answer>,
    goaway: &mut Option<(u32, ErrorCode)>,
    event: Event<'_>,
) {
    match event {
        Event::Headers { key, end_stream, .. } => {
            let Some(answer) = answers.get_mut(&key) else { return };
            answer.head = Some(strings(wire.fields()));
            answer.ended |= end_stream;
        }
        Event::Data { key, payload, end_stream, .. } => {
            let Some(answer) = answers.get_mut(&key) else { return };
            answer.body.extend_from_slice(payload);
            answer.ended |= end_stream;
            if let Some(mut stream) = wire.stream(key) {
                stream.credit(u32::try_from(payload.len()).unwrap());
            }
        }
        Event::Trailers { key, .. } => {
            let Some(answer) = answers.get_mut(&key) else { return };
            answer.trailers = Some(strings(wire.fields()));
            answer.ended = true;
        }
        Event::Reset { key, code, .. } => {
            if let Some(answer) = answers.get_mut(&key) {
                answer.reset = Some(code);
            }
        }
        Event::Goaway { last_stream, code, .. } => *goaway = Some((last_stream.get(), code)),
        Event::Informational { .. } | Event::Settings | Event::Pong { .. } => {}
    }
}
