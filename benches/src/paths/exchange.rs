//! The protocol alone: calls through a client's and a server's connection, from bytes to bytes, without sockets, handlers or
//! messages. Both sides together, or one of them against a [`Script`].
//!
//! Heads and trailers that repeat are templates, as in the engine.

use corelane_wire::connection::{Config, Connection, Event, Role, Stream, StreamKey, TAG_NONE};
use corelane_wire::frame::EndStream;
use corelane_wire::grpc::Prefix;
use corelane_wire::hpack::Template;
use corelane_wire::{FieldList, Instant};

use super::Path;
use super::hpack::{METADATA, request, response, timeout};
use super::script::Script;

const NOW: Instant = Instant::from_nanos(1);
/// Batches until every table, list and buffer is as it will be.
const WARM_UP: usize = 4;

/// What is exchanged in a step.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Calls, all of them open at once.
    pub calls: usize,
    /// Octets of each message.
    pub message: usize,
}

impl Size {
    /// 100 calls with 16 octets.
    pub const SMALL: Size = Size { calls: 100, message: 16 };
    /// 100 calls with 1 KiB.
    pub const MEDIUM: Size = Size { calls: 100, message: 1024 };
    /// Four calls with 64 KiB.
    pub const LARGE: Size = Size { calls: 4, message: 64 * 1024 };
}

/// What goes with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extras {
    /// Nothing.
    None,
    /// A timeout that differs from call to call, and three pairs of metadata that do not.
    DeadlineAndMetadata,
}

/// What a client sends.
#[derive(Debug)]
pub struct Requests {
    head: Template,
    /// What comes behind the head, for each call of a batch.
    more: Vec<Option<FieldList>>,
    /// The body, and how it is cut.
    pieces: Vec<Vec<u8>>,
}

impl Requests {
    /// So many calls of `path` in a batch, each with these messages, or pieces of them.
    #[must_use]
    pub fn new(path: &str, pieces: Vec<Vec<u8>>, calls: usize, extras: Extras) -> Requests {
        let fields = request();
        let head = fields.iter().map(|field| match field.name {
            b":path" => (field.name.to_vec(), path.as_bytes().to_vec()),
            name => (name.to_vec(), field.value.to_vec()),
        });
        let more = |number| match extras {
            Extras::None => None,
            Extras::DeadlineAndMetadata => {
                let mut more = FieldList::from_iter([timeout(number)]);
                more.extend(METADATA);
                Some(more)
            }
        };
        Requests { head: head.collect::<FieldList>().into(), more: (0..calls).map(more).collect(), pieces }
    }

    /// Calls in a batch.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.more.len()
    }

    /// Ids that a batch uses up.
    #[must_use]
    pub fn ids(&self) -> u32 {
        2 * u32::try_from(self.calls()).expect("a batch is small")
    }

    /// Octets of the bodies of a batch.
    fn octets(&self) -> u32 {
        let octets = self.pieces.iter().map(Vec::len).sum::<usize>() * self.calls();
        u32::try_from(octets).expect("a batch is small")
    }

    /// Opens the calls of a batch.
    ///
    /// # Panics
    /// If the server does not let so many be open.
    pub fn open(&self, client: &mut Connection) {
        for more in &self.more {
            let key = client.open_template(&self.head, more.as_ref(), EndStream::No, TAG_NONE);
            let key = key.expect("the server allows as many");
            for (number, piece) in self.pieces.iter().enumerate() {
                let end = if number + 1 == self.pieces.len() { EndStream::Yes } else { EndStream::No };
                open(client, key).send_data(piece, end).expect("the head came before");
            }
        }
        client.transmit(NOW);
    }
}

/// Hands `bytes` to a client; says how many calls that ended.
///
/// # Panics
/// If they are not what a server sends.
pub fn finish(client: &mut Connection, bytes: &[u8]) -> usize {
    let (mut at, mut ended) = (0, 0);
    loop {
        let received = client.receive(NOW, &bytes[at..]).expect("the peer keeps to the protocol");
        at += received.consumed;
        match received.event {
            None => break,
            Some(Event::Data { key, payload, .. }) => {
                let octets = u32::try_from(payload.len()).expect("a frame is far smaller");
                open(client, key).credit(octets);
            }
            Some(Event::Trailers { .. }) => ended += 1,
            Some(Event::Reset { .. }) => panic!("a call was reset"),
            Some(_) => {}
        }
    }
    client.transmit(NOW);
    assert_eq!(at, bytes.len(), "frames come whole");
    ended
}

/// What a server answers.
struct Replies {
    head: Template,
    message: Vec<u8>,
    trailers: Template,
}

impl Replies {
    fn new(message: usize) -> Replies {
        let trailers = FieldList::from_iter([("grpc-status", "0")]);
        Replies { head: response().into(), message: message_of(message), trailers: trailers.into() }
    }

    /// Hands `bytes` to a server, and answers what is complete.
    fn serve(&self, server: &mut Connection, bytes: &[u8]) {
        let mut at = 0;
        loop {
            let received = server.receive(NOW, &bytes[at..]).expect("the peer keeps to the protocol");
            at += received.consumed;
            let Some(event) = received.event else { break };
            let Event::Data { key, payload, end_stream, .. } = event else { continue };
            let octets = u32::try_from(payload.len()).expect("a frame is far smaller");
            open(server, key).credit(octets);
            if end_stream {
                self.answer(server, key);
            }
        }
        server.transmit(NOW);
        assert_eq!(at, bytes.len(), "frames come whole");
    }

    fn answer(&self, server: &mut Connection, key: StreamKey) {
        let in_order = "head, message and trailers come in this order";
        open(server, key).send_headers_template(&self.head, EndStream::No).expect(in_order);
        let write = |out: &mut Vec<u8>| out.extend_from_slice(&self.message);
        open(server, key).send_with(EndStream::No, write).expect(in_order);
        open(server, key).send_trailers_template(&self.trailers).expect(in_order);
    }
}

/// A stream that has not ended.
fn open(connection: &mut Connection, key: StreamKey) -> Stream<'_> {
    connection.stream(key).expect("it lives until both sides have ended it")
}

/// A gRPC message with so many octets.
#[must_use]
pub fn message_of(octets: usize) -> Vec<u8> {
    let len = u32::try_from(octets).expect("far smaller");
    [&Prefix { compressed: false, len }.to_bytes()[..], &vec![7; octets]].concat()
}

/// Both sides.
pub struct Exchange {
    client: Connection,
    server: Connection,
    requests: Requests,
    replies: Replies,
    /// What is under way, kept for its storage.
    bytes: Vec<u8>,
}

impl Exchange {
    /// A client and a server that know one another.
    #[must_use]
    pub fn new(size: Size, extras: Extras) -> Exchange {
        let requests =
            Requests::new("/bench.v1.Bench/Unary", vec![message_of(size.message)], size.calls, extras);
        let mut exchange = Exchange {
            client: Connection::new(Role::Client, Config::default(), NOW),
            server: Connection::new(Role::Server, Config::default(), NOW),
            requests,
            replies: Replies::new(size.message),
            bytes: Vec::new(),
        };
        // One call less would be enough, but SETTINGS go first: the server's say how many calls may be open.
        exchange.pass();
        (0..WARM_UP).for_each(|_| exchange.step());
        exchange
    }

    /// Carries what each has to say to the other, until neither has.
    fn pass(&mut self) -> usize {
        let mut ended = 0;
        loop {
            take(&mut self.client, &mut self.bytes);
            self.replies.serve(&mut self.server, &self.bytes);
            let is_silent = self.bytes.is_empty();
            take(&mut self.server, &mut self.bytes);
            ended += finish(&mut self.client, &self.bytes);
            if is_silent && self.bytes.is_empty() {
                return ended;
            }
        }
    }
}

/// Puts a connection's output in place of `bytes`.
fn take(connection: &mut Connection, bytes: &mut Vec<u8>) {
    bytes.clear();
    std::mem::swap(connection.output(), bytes);
}

impl Path for Exchange {
    fn operations(&self) -> u64 {
        self.requests.calls() as u64
    }

    fn step(&mut self) {
        self.requests.open(&mut self.client);
        assert_eq!(self.pass(), self.requests.calls(), "every call was answered");
    }
}

/// A server whose client is a script.
pub struct ServerSide {
    exchange: Exchange,
    script: Script,
}

impl ServerSide {
    /// A server that has been called before.
    #[must_use]
    pub fn new(size: Size, extras: Extras) -> ServerSide {
        let mut exchange = Exchange::new(size, extras);
        exchange.requests.open(&mut exchange.client);
        let script = Script::new(exchange.client.output(), exchange.requests.octets());
        exchange.pass();
        let mut side = ServerSide { exchange, script };
        for _ in 0..WARM_UP {
            side.prepare();
            side.step();
        }
        side
    }
}

impl Path for ServerSide {
    fn operations(&self) -> u64 {
        self.exchange.operations()
    }

    fn prepare(&mut self) {
        self.script.advance(self.exchange.requests.ids());
        self.exchange.server.output().clear();
    }

    fn step(&mut self) {
        let Exchange { server, replies, .. } = &mut self.exchange;
        replies.serve(server, self.script.bytes());
        assert_eq!(server.streams_count(), 0, "every call was answered");
    }
}

/// A client whose server is a script.
pub struct ClientSide {
    exchange: Exchange,
    script: Script,
}

impl ClientSide {
    /// A client that has called before.
    #[must_use]
    pub fn new(size: Size, extras: Extras) -> ClientSide {
        let mut exchange = Exchange::new(size, extras);
        exchange.requests.open(&mut exchange.client);
        take(&mut exchange.client, &mut exchange.bytes);
        exchange.replies.serve(&mut exchange.server, &exchange.bytes);
        let script = Script::new(exchange.server.output(), exchange.requests.octets());
        exchange.pass();
        let mut side = ClientSide { exchange, script };
        for _ in 0..WARM_UP {
            side.prepare();
            side.step();
        }
        side
    }
}

impl Path for ClientSide {
    fn operations(&self) -> u64 {
        self.exchange.operations()
    }

    fn prepare(&mut self) {
        self.script.advance(self.exchange.requests.ids());
        self.exchange.client.output().clear();
    }

    fn step(&mut self) {
        let Exchange { client, requests, .. } = &mut self.exchange;
        requests.open(client);
        assert_eq!(finish(client, self.script.bytes()), requests.calls(), "every call was answered");
    }
}
