//! A peer that does as its script says, frame by frame: what no well-behaved server of ours would do.
//!
//! Each connection has a thread, which runs the script from the first octet on. A script that returns closes its connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use corelane_wire::FieldList;
use corelane_wire::frame::{ErrorCode, Flags, HEADER_LEN, Header, Kind, StreamId};
use corelane_wire::hpack::{Decoder, ListLimits};
use prost::Message;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A listener whose connections follow a script.
pub(crate) struct Peer {
    pub(crate) target: String,
    pub(crate) address: String,
    /// Connections so far.
    pub(crate) connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn start(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over, script) = (connections.clone(), ended.clone(), Arc::new(script));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, script) = (stream.unwrap(), script.clone());
                stream.set_nodelay(true).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut wire = Wire { stream, number, decoder: Decoder::new(4096) };
                    script(&mut wire);
                    wire.close();
                });
            }
        });
        let target = format!("ipv4:{address}");
        Peer { target, address, connections, ended, accepting: Some(accepting) }
    }

    /// Greets, and has `answer` look at each call.
    pub(crate) fn answering(answer: impl Fn(&mut Wire, &Incoming) + Send + Sync + 'static) -> Peer {
        Peer::start(move |wire| {
            wire.greet(&[]);
            while let Some(call) = wire.call() {
                answer(wire, &call);
            }
        })
    }

    /// A peer of so many connections whose scripts wait for their cues: each connection's are sent by its number.
    pub(crate) fn cued(
        connections: usize,
        script: impl Fn(&mut Wire, &dyn Fn()) + Send + Sync + 'static,
    ) -> (Peer, Vec<Sender<()>>) {
        let (cues, waits): (Vec<_>, Vec<_>) = (0..connections).map(|_| channel()).unzip();
        let waits: Vec<Mutex<Receiver<()>>> = waits.into_iter().map(Mutex::new).collect();
        let peer = Peer::start(move |wire| {
            let number = wire.number;
            script(wire, &|| {
                // A test that is over gives all cues.
                let _ = waits[number].lock().unwrap().recv();
            });
        });
        (peer, cues)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Only a connection gets the thread out of accept(2).
        let _ = TcpStream::connect(&self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// A request's head.
pub(crate) struct Incoming {
    pub(crate) stream: u32,
    pub(crate) head: FieldList,
    /// The request has no body.
    ended: bool,
}

impl Incoming {
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.head.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// One connection of a peer's.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Which of the peer's connections this is: 0 is the first.
    pub(crate) number: usize,
    decoder: Decoder,
}

pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;

impl Wire {
    /// Takes the client's preface and sends SETTINGS.
    pub(crate) fn greet(&mut self, settings: &[(u16, u32)]) {
        let mut preface = [0; PREFACE.len()];
        if self.stream.read_exact(&mut preface).is_err() {
            return;
        }
        assert_eq!(preface, PREFACE);
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.send(Kind::SETTINGS, Flags::NONE, 0, &payload);
    }

    /// Reads an HTTP/1.1 request's head.
    pub(crate) fn http1(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.stream.read_exact(&mut byte).is_ok() {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// The next frame; `None` when the client is gone.
    pub(crate) fn frame(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_LEN];
        self.stream.read_exact(&mut header).ok()?;
        let header = Header::parse(&header);
        let mut payload = vec![0; usize::try_from(header.len).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        Some((header, payload))
    }

    /// The next frame that is no SETTINGS or PING; those are acknowledged.
    pub(crate) fn next(&mut self) -> Option<(Header, Vec<u8>)> {
        loop {
            let (header, payload) = self.frame()?;
            match header.kind {
                Kind::SETTINGS if !header.flags.contains(Flags::ACK) => {
                    self.send(Kind::SETTINGS, Flags::ACK, 0, &[]);
                }
                Kind::PING if !header.flags.contains(Flags::ACK) => {
                    self.send(Kind::PING, Flags::ACK, 0, &payload);
                }
                Kind::SETTINGS | Kind::PING => {}
                _ => return Some((header, payload)),
            }
        }
    }

    /// The next request's head, past whatever else comes.
    pub(crate) fn call(&mut self) -> Option<Incoming> {
        loop {
            let (header, payload) = self.next()?;
            if header.kind == Kind::HEADERS {
                return Some(self.incoming(header, &payload));
            }
        }
    }

    /// A request by its HEADERS frame.
    pub(crate) fn incoming(&mut self, header: Header, payload: &[u8]) -> Incoming {
        let mut head = FieldList::new();
        let limits = ListLimits { size_max: 1 << 20, fields_max: 1_000 };
        let _ = self.decoder.decode(payload, limits, &mut head).unwrap();
        let ended = header.flags.contains(Flags::END_STREAM);
        Incoming { stream: header.stream.get(), head, ended }
    }

    /// The messages of a request, to its end; `None` if it is reset or the client goes.
    pub(crate) fn request(&mut self, call: &Incoming) -> Option<Vec<String>> {
        let mut body = Vec::new();
        let mut ended = call.ended;
        while !ended {
            let (header, payload) = self.next()?;
            if header.stream.get() != call.stream {
                continue;
            }
            match header.kind {
                Kind::DATA => body.extend_from_slice(&payload),
                Kind::RST_STREAM => return None,
                _ => {}
            }
            ended = header.kind == Kind::DATA && header.flags.contains(Flags::END_STREAM);
            if !ended {
                self.credit(0, payload.len());
                self.credit(call.stream, payload.len());
            }
        }
        Some(texts(&body).0)
    }

    /// Gives the client room for so many more octets on a stream, or with 0 on the connection.
    pub(crate) fn credit(&mut self, stream: u32, bytes: usize) {
        if bytes > 0 {
            let bytes = u32::try_from(bytes).unwrap();
            self.send(Kind::WINDOW_UPDATE, Flags::NONE, stream, &bytes.to_be_bytes());
        }
    }

    /// Reads until the client closes.
    pub(crate) fn until_closed(&mut self) {
        while self.next().is_some() {}
    }

    /// Sends octets as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        // A client that has gone meanwhile is no fault of the script's.
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, kind: Kind, flags: Flags, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        let mut frame = Header { len, kind, flags, stream: StreamId::new(stream) }.to_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.raw(&frame);
    }

    /// A block of fields, none of them indexed.
    pub(crate) fn headers(&mut self, stream: u32, fields: &[(&str, &str)], ended: Flags) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            string(&mut block, name);
            string(&mut block, value);
        }
        self.send(Kind::HEADERS, Flags::END_HEADERS | ended, stream, &block);
    }

    /// The head of a gRPC response.
    pub(crate) fn head(&mut self, stream: u32) {
        self.headers(stream, &[(":status", "200"), ("content-type", "application/grpc")], Flags::NONE);
    }

    pub(crate) fn data(&mut self, stream: u32, payload: &[u8]) {
        self.send(Kind::DATA, Flags::NONE, stream, payload);
    }

    /// Trailers behind a head.
    pub(crate) fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.headers(stream, fields, Flags::END_STREAM);
    }

    /// A response of one text.
    pub(crate) fn answer(&mut self, stream: u32, text: &str) {
        self.head(stream);
        self.data(stream, &message(text));
        self.trailers(stream, &[("grpc-status", "0")]);
    }

    /// Answers all calls that come.
    pub(crate) fn answer_all(&mut self, text: &str) {
        while let Some(call) = self.call() {
            self.answer(call.stream, text);
        }
    }

    /// A response of nothing but a status, and more fields.
    pub(crate) fn fail(&mut self, stream: u32, status: &str, more: &[(&str, &str)]) {
        let mut fields =
            vec![(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", status)];
        fields.extend_from_slice(more);
        self.trailers(stream, &fields);
    }

    pub(crate) fn reset(&mut self, stream: u32, code: ErrorCode) {
        self.send(Kind::RST_STREAM, Flags::NONE, stream, &code.get().to_be_bytes());
    }

    pub(crate) fn goaway(&mut self, last: u32, code: ErrorCode, debug: &[u8]) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend_from_slice(&code.get().to_be_bytes());
        payload.extend_from_slice(debug);
        self.send(Kind::GOAWAY, Flags::NONE, 0, &payload);
    }

    /// Ends the connection in the middle of whatever goes on.
    pub(crate) fn hang_up(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends FIN and reads the rest, so that the client sees an end and no reset.
    fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        while self.frame().is_some() {}
    }
}

/// A text as a message with its prefix.
pub(crate) fn message(text: &str) -> Vec<u8> {
    let body = text.to_owned().encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// The texts in a body of messages, and how many octets of one that is not whole are behind them.
pub(crate) fn texts(mut body: &[u8]) -> (Vec<String>, usize) {
    let mut texts = Vec::new();
    while let [_, a, b, c, d, more @ ..] = body {
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some((message, rest)) = more.split_at_checked(len) else { break };
        texts.push(String::decode(message).unwrap());
        body = rest;
    }
    (texts, body.len())
}

/// A string literal without Huffman's code (RFC 7541, section 5.2).
fn string(block: &mut Vec<u8>, text: &str) {
    let mut len = text.len();
    if len < 127 {
        block.push(u8::try_from(len).unwrap());
    } else {
        block.push(127);
        len -= 127;
        while len >= 128 {
            block.push(u8::try_from(len % 128 + 128).unwrap());
            len /= 128;
        }
        block.push(u8::try_from(len).unwrap());
    }
    block.extend_from_slice(text.as_bytes());
}
