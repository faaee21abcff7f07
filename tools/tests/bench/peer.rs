//! A peer that answers each request with the same frames, or leaves.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use socket2::{Domain, Socket, Type};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a request on this stream is answered with; `None` ends the connection.
pub(crate) type Answer = fn(u32) -> Option<Vec<u8>>;

/// It listens until the test ends.
pub(crate) struct Peer {
    pub(crate) target: String,
    connections: Arc<AtomicUsize>,
    /// Reserves the port of one that listens no more.
    _bound: Option<Socket>,
}

impl Peer {
    pub(crate) fn start(answer: Answer) -> Peer {
        Peer::with_settings(&[], answer)
    }

    /// Greets with these settings.
    pub(crate) fn with_settings(settings: &'static [u8], answer: Answer) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                // Relaxed: it is read when the program that connects has ended, which orders the two.
                count.fetch_add(1, Ordering::Relaxed);
                let socket = socket.unwrap();
                thread::spawn(move || converse(socket, settings, answer));
            }
        });
        Peer { target, connections, _bound: None }
    }

    /// Listens for a connection for each of these only; nobody else gets the port.
    pub(crate) fn of<const N: usize>(answers: [Answer; N]) -> Peer {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.set_reuse_address(true).unwrap();
        bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = bound.local_addr().unwrap().as_socket().unwrap();
        let listener = TcpListener::bind(address).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        thread::spawn(move || {
            for answer in answers {
                let (socket, _) = listener.accept().unwrap();
                // Relaxed: as above.
                count.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || converse(socket, &[], answer));
            }
        });
        Peer { target: address.to_string(), connections, _bound: Some(bound) }
    }

    /// How many there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// `None` when the connection has ended.
fn converse(mut socket: TcpStream, settings: &[u8], answer: Answer) -> Option<()> {
    socket.read_exact(&mut [0; 24]).ok()?;
    socket.write_all(&frame(SETTINGS, 0, 0, settings)).ok()?;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        socket.read_exact(&mut payload).ok()?;
        match kind {
            SETTINGS if flags & ACK == 0 => socket.write_all(&frame(SETTINGS, ACK, 0, &[])).ok()?,
            HEADERS => match answer(u32::from_be_bytes(id)) {
                Some(frames) => socket.write_all(&frames).ok()?,
                None => return leave(&mut socket),
            },
            _ => {}
        }
    }
}

/// Sends FIN and reads the rest, so that the program sees an end and no reset.
fn leave(socket: &mut TcpStream) -> Option<()> {
    socket.shutdown(Shutdown::Write).ok()?;
    io::copy(socket, &mut io::sink()).ok().map(|_| ())
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

pub(crate) fn reset(id: u32, code: u8) -> Option<Vec<u8>> {
    Some(frame(RST_STREAM, 0, id, &[0, 0, 0, code]))
}

/// Nothing was begun, and nothing will be.
pub(crate) fn goaway() -> Option<Vec<u8>> {
    Some(frame(GOAWAY, 0, 0, &[0; 8]))
}

/// A response with these pieces as its body, and OK.
pub(crate) fn success(id: u32, body: &[&[u8]]) -> Option<Vec<u8>> {
    let mut frames = frame(HEADERS, END_HEADERS, id, &status("200"));
    body.iter().for_each(|piece| frames.extend(frame(DATA, 0, id, piece)));
    // A literal with a new name (RFC 7541 section 6.2.2).
    let trailers = [&[0, 11], &b"grpc-status"[..], &[1, b'0']].concat();
    frames.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &trailers));
    Some(frames)
}

/// What is no gRPC.
pub(crate) fn page(id: u32, http: &str) -> Option<Vec<u8>> {
    let head = frame(HEADERS, END_HEADERS, id, &status(http));
    Some([head, frame(DATA, END_STREAM, id, b"<html>")].concat())
}

/// A literal whose name is that of entry 8 in the static table, `:status`.
fn status(http: &str) -> Vec<u8> {
    [&[8, 3], http.as_bytes()].concat()
}
