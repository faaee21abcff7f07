//! Streams of messages through a server's connection: DATA frames in, decoded; messages encoded, DATA frames out.
//!
//! The peer's frames are made before; what it must credit, it credits between steps.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use corelane_call::message::encode_message;
use corelane_call::{Inbound, Streaming};
use corelane_wire::Instant;
use corelane_wire::connection::{Config, Connection, Event, Role, StreamKey};
use corelane_wire::frame::{EndStream, StreamId, WINDOW_DEFAULT, write_data, write_window_update};
use corelane_wire::grpc::Encoding;

use super::Path;
use super::codec::{CODEC, encoded, request};
use super::hpack;
use crate::proto::Request;

/// Messages in a step, unless they are large.
const MESSAGES: u32 = 100;
const SIZE_MAX: usize = 4 << 20;
const NOW: Instant = Instant::from_nanos(1);
const STREAM: StreamId = StreamId::new(1);

/// A server with one stream that is open in both directions.
fn server() -> (Connection, StreamKey) {
    let mut client = Connection::new(Role::Client, Config::default(), NOW);
    let mut server = Connection::new(Role::Server, Config::default(), NOW);
    client.open(&hpack::request(), EndStream::No).expect("the first call");
    let key = read(&mut server, client.output(), |_, event| match event {
        Event::Headers { key, .. } => Some(key),
        _ => None,
    });
    let key = key.expect("the head has arrived");
    let stream = server.stream(key).expect("it is open");
    stream.send_headers(&hpack::response(), EndStream::No).expect("the first head");
    server.output().clear();
    (server, key)
}

/// Hands `bytes` over, until `wanted` gives something.
fn read<T>(
    connection: &mut Connection,
    bytes: &[u8],
    mut wanted: impl FnMut(&mut Connection, Event<'_>) -> Option<T>,
) -> Option<T> {
    let mut at = 0;
    loop {
        let received = connection.receive(NOW, &bytes[at..]).expect("the peer keeps to the protocol");
        at += received.consumed;
        if let Some(found) = wanted(connection, received.event?) {
            return Some(found);
        }
    }
}

/// Receives messages, one in each DATA frame, and decodes them.
pub struct Receive {
    server: Connection,
    inbound: Rc<Inbound>,
    messages: Streaming<Request>,
    bytes: Vec<u8>,
}

impl Receive {
    /// With so many octets of payload.
    #[must_use]
    pub fn new(payload: usize) -> Receive {
        let mut bytes = Vec::new();
        let message = encoded(&request(payload));
        (0..MESSAGES).for_each(|_| write_data(&mut bytes, STREAM, EndStream::No, &message));
        let inbound = Rc::new(Inbound::new());
        let messages = Streaming::new(CODEC, inbound.clone(), Encoding::Identity, SIZE_MAX);
        let mut path = Receive { server: server().0, inbound, messages, bytes };
        (0..4).for_each(|_| path.step());
        path
    }
}

impl Path for Receive {
    fn operations(&self) -> u64 {
        u64::from(MESSAGES)
    }

    fn prepare(&mut self) {
        self.server.output().clear();
    }

    fn step(&mut self) {
        let Receive { server, inbound, messages, bytes } = self;
        let mut count = 0;
        let mut cx = Context::from_waker(Waker::noop());
        read(server, bytes, |server, event| {
            let Event::Data { key, payload, .. } = event else { return None::<()> };
            inbound.push(payload, Waker::wake_by_ref);
            while let Poll::Ready(message) = messages.poll_message(&mut cx) {
                message.expect("it decodes").expect("the stream does not end");
                count += 1;
            }
            server.stream(key).expect("it stays open").credit(inbound.take_credit());
            None
        });
        server.transmit(NOW);
        assert_eq!(count, MESSAGES, "each was taken");
    }
}

/// Encodes messages into DATA frames.
pub struct Send {
    server: Connection,
    key: StreamKey,
    request: Request,
    /// In a step.
    messages: u32,
    /// What the peer credits after each step.
    credits: Vec<u8>,
}

impl Send {
    /// With so many octets of payload.
    #[must_use]
    pub fn new(payload: usize) -> Send {
        let (server, key) = server();
        let request = request(payload);
        let each = u32::try_from(encoded(&request).len()).expect("it is small");
        // As many as the stream's window lets go.
        let messages = MESSAGES.min(WINDOW_DEFAULT / each);
        let octets = each * messages;
        let mut credits = Vec::new();
        write_window_update(&mut credits, StreamId::ZERO, octets);
        write_window_update(&mut credits, STREAM, octets);
        let mut path = Send { server, key, request, messages, credits };
        for _ in 0..4 {
            path.step();
            path.prepare();
        }
        path
    }
}

impl Path for Send {
    fn operations(&self) -> u64 {
        u64::from(self.messages)
    }

    fn prepare(&mut self) {
        self.server.output().clear();
        read(&mut self.server, &self.credits, |_, _| None::<()>);
    }

    fn step(&mut self) {
        let Send { server, key, request, messages, .. } = self;
        for _ in 0..*messages {
            let stream = server.stream(*key).expect("it stays open");
            let encode = |out: &mut Vec<u8>| {
                encode_message(&CODEC, request, Encoding::Identity, SIZE_MAX, out)
                    .expect("it is small enough");
            };
            stream.send_with(EndStream::No, encode).expect("the head came before");
        }
        server.transmit(NOW);
        assert_eq!(server.stream(*key).expect("it stays open").queued(), 0, "windows held nothing back");
    }
}
