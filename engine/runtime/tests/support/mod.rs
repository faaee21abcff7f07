//! A small service over real sockets: a session whose paths behave in the ways that a worker must bear, and a blocking client
//! made of the same protocol, in the client's role.
#![allow(dead_code, unreachable_pub)] // each test program uses a part
#![allow(clippy::unwrap_used)]

pub mod caller;
pub mod certificates;

use corelane_runtime::{
    Address, Backend, CloseReason, Config, Handle, Io, PeerInfo, Session, SessionFactory, Workers, start,
};
use corelane_wire::connection::{Connection, Event, Role, StreamKey, TAG_NONE};
use corelane_wire::frame::{EndStream, ErrorCode};
use corelane_wire::{FieldList, Instant};
use std::collections::HashMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Whatever hangs fails after this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the sessions of a test tell it.
#[derive(Default)]
pub struct Log {
    pub closed: Mutex<Vec<String>>,
    pub drained: AtomicU64,
    pub spins: AtomicU64,
    pub cancelled: AtomicU64,
    pub workers: Mutex<Vec<usize>>,
    pub parked: Mutex<Vec<Waker>>,
}

pub struct Factory {
    pub log: Arc<Log>,
    pub worker: usize,
}

impl SessionFactory for Factory {
    type Session = Echo;

    fn session(&self, _peer: &Rc<PeerInfo>) -> Echo {
        self.log.workers.lock().unwrap().push(self.worker);
        Echo { log: self.log.clone(), calls: Vec::new(), free: Vec::new() }
    }
}

type Handler = Pin<Box<dyn Future<Output = Vec<u8>>>>;

struct Call {
    key: StreamKey,
    path: String,
    body: Vec<u8>,
    handler: Option<Handler>,
    /// What is still to be sent of a large reply.
    owed: usize,
}

/// Answers a request with its body. The path says how.
pub struct Echo {
    log: Arc<Log>,
    calls: Vec<Option<Call>>,
    free: Vec<u32>,
}

/// Counts handlers that are dropped before they end.
struct Guard(Arc<Log>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Echo {
    fn begin(&mut self, io: &mut Io<'_>, key: StreamKey) -> u32 {
        let path = String::from_utf8(io.wire.fields().get(b":path").unwrap().to_vec()).unwrap();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            u32::try_from(self.calls.len() - 1).unwrap()
        });
        io.wire.stream(key).unwrap().set_tag(slot);
        self.calls[slot as usize] = Some(Call { key, path, body: Vec::new(), handler: None, owed: 0 });
        slot
    }

    fn end(&mut self, io: &mut Io<'_>, slot: u32) {
        if self.calls[slot as usize].take().is_some() {
            io.clear_timer(slot);
            self.free.push(slot);
        }
    }

    /// The request is complete.
    fn handle(&mut self, io: &mut Io<'_>, slot: u32) {
        let log = self.log.clone();
        let call = self.calls[slot as usize].as_mut().unwrap();
        let body = std::mem::take(&mut call.body);
        let path = call.path.clone();
        let (verb, argument) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let number = argument.parse::<u64>().unwrap_or(0);
        let handler: Handler = match verb {
            "echo" => return self.reply(io, slot, &body),
            "large" => {
                call.owed = usize::try_from(number).unwrap();
                let stream = io.wire.stream(call.key).unwrap();
                stream.send_headers(&head(), EndStream::No).unwrap();
                return self.produce(io, slot);
            }
            "timer" => {
                call.body = body;
                return io.set_timer(slot, io.now + Duration::from_millis(number));
            }
            "core" => {
                let cores: Vec<usize> =
                    core_affinity::get_core_ids().unwrap().into_iter().map(|core| core.id).collect();
                return self.reply(io, slot, format!("{cores:?}").as_bytes());
            }
            // What a session must never do, to make its worker deaf for a while.
            "block" => {
                log.spins.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(number));
                return self.reply(io, slot, b"");
            }
            "panic" => panic!("a session that panics"),
            "sleep" => Box::pin(async move {
                let mut guard = Guard(log, false);
                corelane_runtime::sleep(Duration::from_millis(number)).await;
                guard.1 = true;
                body
            }),
            "spin" => Box::pin(async move {
                let _guard = Guard(log.clone(), false);
                loop {
                    log.spins.fetch_add(1, Ordering::Relaxed);
                    corelane_runtime::yield_now().await;
                }
            }),
            // Wakes itself at once, as a yield of another runtime does.
            "hog" => Box::pin(async move {
                let _guard = Guard(log.clone(), false);
                std::future::poll_fn(|cx| {
                    log.spins.fetch_add(1, Ordering::Relaxed);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
                .await
            }),
            "thread" => Box::pin(foreign(body)),
            // Waits for whoever takes its waker from the log.
            "park" => Box::pin(async move {
                let mut parked = false;
                std::future::poll_fn(|cx| {
                    if std::mem::replace(&mut parked, true) {
                        return Poll::Ready(());
                    }
                    log.parked.lock().unwrap().push(cx.waker().clone());
                    Poll::Pending
                })
                .await;
                b"woken".to_vec()
            }),
            other => panic!("no such path: {other}"),
        };
        call.handler = Some(handler);
        self.poll(io, slot);
    }

    fn poll(&mut self, io: &mut Io<'_>, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let Some(handler) = &mut call.handler else { return };
        let waker = io.waker(slot);
        if let Poll::Ready(body) = handler.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.reply(io, slot, &body);
        }
    }

    fn reply(&mut self, io: &mut Io<'_>, slot: u32, body: &[u8]) {
        let call = self.calls[slot as usize].as_ref().unwrap();
        if let Some(stream) = io.wire.stream(call.key) {
            stream.send_headers(&head(), EndStream::No).unwrap();
            io.wire.stream(call.key).unwrap().send_data(body, EndStream::Yes).unwrap();
        }
        self.end(io, slot);
    }

    /// Sends as much of a large reply as there is room for.
    fn produce(&mut self, io: &mut Io<'_>, slot: u32) {
        let call = self.calls[slot as usize].as_mut().unwrap();
        while let Some(mut stream) = io.wire.stream(call.key) {
            let bytes = stream.send_room().min(call.owed);
            call.owed -= bytes;
            if call.owed == 0 {
                stream.send_data(&vec![b'x'; bytes], EndStream::Yes).unwrap();
                return self.end(io, slot);
            }
            if bytes == 0 {
                return;
            }
            stream.send_data(&vec![b'x'; bytes], EndStream::No).unwrap();
        }
        self.end(io, slot);
    }
}

/// Completes when another thread says so.
async fn foreign(body: Vec<u8>) -> Vec<u8> {
    let shared = Arc::new(Mutex::new((false, None)));
    let other = shared.clone();
    std::thread::spawn(move || {
        let waker = {
            let mut shared = other.lock().unwrap();
            shared.0 = true;
            shared.1.take()
        };
        if let Some(waker) = waker {
            let waker: Waker = waker;
            waker.wake();
        }
    });
    std::future::poll_fn(|cx| {
        let mut shared = shared.lock().unwrap();
        if shared.0 {
            return Poll::Ready(());
        }
        shared.1 = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
    body
}

impl Session for Echo {
    fn event(&mut self, io: &mut Io<'_>, event: &Event<'_>) {
        match *event {
            Event::Headers { key, tag, end_stream, .. } => {
                assert_eq!(tag, TAG_NONE);
                let slot = self.begin(io, key);
                if end_stream {
                    self.handle(io, slot);
                }
            }
            Event::Data { key, tag, payload, end_stream } => {
                if let Some(mut stream) = io.wire.stream(key) {
                    stream.credit(u32::try_from(payload.len()).unwrap());
                }
                let call = self.calls[tag as usize].as_mut().unwrap();
                call.body.extend_from_slice(payload);
                if end_stream {
                    self.handle(io, tag);
                }
            }
            Event::Reset { tag, .. } if tag != TAG_NONE => self.end(io, tag),
            _ => {}
        }
    }

    fn wake(&mut self, io: &mut Io<'_>, slot: u32) {
        self.poll(io, slot);
    }

    fn timer(&mut self, io: &mut Io<'_>, slot: u32) {
        let body = std::mem::take(&mut self.calls[slot as usize].as_mut().unwrap().body);
        self.reply(io, slot, &body);
    }

    fn writable(&mut self, io: &mut Io<'_>, tag: u32) {
        if self.calls.get(tag as usize).is_some_and(Option::is_some) {
            self.produce(io, tag);
        }
    }

    fn drain(&mut self, _io: &mut Io<'_>) {
        self.log.drained.fetch_add(1, Ordering::Relaxed);
    }

    fn closed(&mut self, reason: &CloseReason, _: &mut Vec<Waker>) {
        self.calls.clear();
        self.log.closed.lock().unwrap().push(reason.to_string());
    }
}

fn head() -> FieldList {
    let mut fields = FieldList::new();
    fields.push(b":status", b"200");
    fields
}

/// One worker.
pub fn config(backend: Backend) -> Config {
    Config { workers: Workers::Count(1), backend, ..Config::default() }
}

/// An engine on one worker and a free port.
pub fn serve(backend: Backend) -> (Handle, Arc<Log>) {
    serve_with(config(backend))
}

pub fn serve_with(config: Config) -> (Handle, Arc<Log>) {
    serve_at(config, &["127.0.0.1:0".parse().unwrap()])
}

pub fn serve_at(config: Config, addresses: &[Address]) -> (Handle, Arc<Log>) {
    let log = Arc::new(Log::default());
    let shared = log.clone();
    let handle = start(config, addresses, move |worker| Factory { log: shared.clone(), worker }).unwrap();
    (handle, log)
}

/// How a call ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub body: Vec<u8>,
    pub ended: bool,
    pub reset: Option<ErrorCode>,
}

pub trait Transport: Read + Write + Send {}
impl<T: Read + Write + Send> Transport for T {}

/// A blocking client of one connection.
pub struct Client {
    pub stream: Box<dyn Transport>,
    pub wire: Connection,
    unread: Vec<u8>,
    pub replies: HashMap<StreamKey, Reply>,
    pub order: Vec<StreamKey>,
    pub goaways: Vec<ErrorCode>,
    /// The server closed.
    pub eof: bool,
}

impl Client {
    pub fn connect(handle: &Handle) -> Client {
        Client::to(&handle.addresses()[0])
    }

    pub fn to(address: &Address) -> Client {
        let stream: Box<dyn Transport> = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
        };
        Client::over(stream)
    }

    pub fn over(stream: Box<dyn Transport>) -> Client {
        let wire = Connection::new(Role::Client, caller::wire(), Instant::default());
        let (unread, replies, order, goaways) = Default::default();
        Client { stream, wire, unread, replies, order, goaways, eof: false }
    }

    /// Queues a call.
    pub fn open(&mut self, path: &str, body: &[u8]) -> StreamKey {
        let mut fields = FieldList::new();
        for (name, value) in
            [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test")]
        {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let end = if body.is_empty() { EndStream::Yes } else { EndStream::No };
        let key = self.wire.open(&fields, end).unwrap();
        self.replies.insert(key, Reply::default());
        if !body.is_empty() {
            self.wire.stream(key).unwrap().send_data(body, EndStream::Yes).unwrap();
        }
        key
    }

    /// Writes what is queued, as far as windows allow: the output takes only a part of it at a time.
    pub fn flush(&mut self) {
        while !self.eof {
            self.wire.transmit(Instant::default());
            let output = std::mem::take(self.wire.output());
            if output.is_empty() {
                return;
            }
            self.eof = self.stream.write_all(&output).is_err();
        }
    }

    /// Writes what is queued, reads once, and takes in what came.
    pub fn pump(&mut self) {
        self.flush();
        let mut bytes = vec![0; 1 << 16];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.eof = true,
            Ok(read) => self.unread.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => self.eof = true,
            Err(error) => panic!("the server does not answer: {error}"),
        }
        let unread = std::mem::take(&mut self.unread);
        let mut at = 0;
        loop {
            let received = self.wire.receive(Instant::default(), &unread[at..]).unwrap();
            at += received.consumed;
            match received.event {
                Some(event) => self.event(event),
                None => break,
            }
        }
        self.unread = unread[at..].to_vec();
        self.flush();
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Data { key, payload, end_stream, .. } => {
                if let Some(mut stream) = self.wire.stream(key) {
                    stream.credit(u32::try_from(payload.len()).unwrap());
                }
                let reply = self.replies.get_mut(&key).unwrap();
                reply.body.extend_from_slice(payload);
                if end_stream {
                    reply.ended = true;
                    self.order.push(key);
                }
            }
            Event::Reset { key, code, .. } => {
                let reply = self.replies.get_mut(&key).unwrap();
                (reply.ended, reply.reset) = (true, Some(code));
                self.order.push(key);
            }
            Event::Goaway { code, .. } => self.goaways.push(code),
            _ => {}
        }
    }

    /// Reads until the call has its reply.
    pub fn finish(&mut self, key: StreamKey) -> Reply {
        while !self.replies[&key].ended {
            assert!(!self.eof, "the server closed before it had answered");
            self.pump();
        }
        self.replies.remove(&key).unwrap()
    }

    pub fn call(&mut self, path: &str, body: &[u8]) -> Vec<u8> {
        let key = self.open(path, body);
        let reply = self.finish(key);
        assert_eq!(reply.reset, None);
        reply.body
    }

    /// Reads until the server closes.
    pub fn read_to_end(&mut self) {
        while !self.eof {
            self.pump();
        }
    }
}

/// Waits until `condition` holds; what it waits for is brought about by another thread.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "in vain waited until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a test on both backends; io_uring may be forbidden where the tests run.
pub fn on_both(test: fn(Backend)) {
    test(Backend::Epoll);
    match start(config(Backend::Uring), &["127.0.0.1:0".parse().unwrap()], |worker| Factory {
        log: Arc::default(),
        worker,
    }) {
        Ok(_) => test(Backend::Uring),
        Err(error) => eprintln!("left out the io_uring half: {error}"),
    }
}
