//! What a connection costs its worker in bytes of heap: while it is idle, after calls too, and with 100 streams in flight.
//!
//! Counted by the allocator, on the worker's thread: everything is in it that a connection causes there, its share of the
//! worker's own tables included; the kernel's memory and the allocator's rounding are not.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use corelane_call::{ProstCodec, Request, Response, Status, Streaming};
use corelane_server::{Backend, Methods, Server, ServerHandle, Service, Workers};
use corelane_wire::frame::EndStream;
use futures_core::Stream;
use support::client::{Client, framed};
use support::service::Note;
use support::{eventually, live};

#[global_allocator]
static ALLOCATOR: live::Live = live::Live;

/// Connections that are looked at together: tables grow by doubling, and are nearly full below a power of two.
const CONNECTIONS: usize = 250;
/// Bytes that an idle connection may hold that has greeted and never called.
const IDLE_BYTES_MAX: isize = 1_850;
/// Bytes that an idle connection may hold that has made calls: its tables of header fields come on top.
const IDLE_AFTER_CALLS_BYTES_MAX: isize = 2_304;
/// Connections with streams in flight.
const BUSY_CONNECTIONS: usize = 16;
const STREAMS: usize = 100;
/// Bytes that a connection with 100 streams in flight may hold, by method. Each has sent a message, which was read, and its handler
/// waits for what will not come yet; handlers' futures and streams are in it.
const BUSY_BYTES_MAX: [(&str, EndStream, isize); 3] = [
    ("/test.Sums/Wait", EndStream::Yes, 52_000),
    ("/test.Sums/Sum", EndStream::No, 64_000),
    ("/test.Sums/Echo", EndStream::No, 60_000),
];
/// One test at a time: they count with one counter.
static TURN: Mutex<()> = Mutex::new(());
/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts the calls whose handlers wait.
struct Sums(Arc<AtomicUsize>);

/// Says what it hears, and counts what it has heard.
struct Echo(Streaming<Note>, Arc<AtomicUsize>);

impl Stream for Echo {
    type Item = Result<Note, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let heard = ready!(self.0.poll_message(cx)).transpose();
        self.1.fetch_add(heard.iter().len(), Ordering::SeqCst);
        Poll::Ready(heard)
    }
}

impl Service for Sums {
    const NAME: &'static str = "test.Sums";

    fn register(self, methods: &mut Methods) {
        live::count_here();
        let codec = ProstCodec::<Note, Note>::default;
        methods.unary("/test.Sums/Next", codec(), |request: Request<Note>| async move {
            let number = request.get_ref().number + 1;
            Ok(Response::new(Note { text: String::new(), number }))
        });
        let waiting = self.0.clone();
        methods.unary("/test.Sums/Wait", codec(), move |request: Request<Note>| {
            let waiting = waiting.clone();
            async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                pending::<()>().await;
                Ok(Response::new(request.into_inner()))
            }
        });
        let waiting = self.0.clone();
        methods.bidi("/test.Sums/Echo", codec(), move |request: Request<Streaming<Note>>| {
            let echo = Echo(request.into_inner(), waiting.clone());
            async move { Ok(Response::new(echo)) }
        });
        let waiting = self.0;
        methods.client_streaming("/test.Sums/Sum", codec(), move |request: Request<Streaming<Note>>| {
            let waiting = waiting.clone();
            async move {
                let mut notes = request.into_inner();
                let mut number = 0;
                while let Some(note) = notes.message().await? {
                    number += note.number;
                    waiting.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Response::new(Note { text: String::new(), number }))
            }
        });
    }
}

fn start(backend: Backend, waiting: &Arc<AtomicUsize>) -> Option<ServerHandle> {
    let waiting = waiting.clone();
    let builder = Server::builder().workers(Workers::Count(1)).backend(backend);
    match builder.add_service(move || Sums(waiting.clone())).start("127.0.0.1:0") {
        Ok(handle) => Some(handle),
        Err(error) if backend == Backend::Uring => {
            eprintln!("left out the io_uring half: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Ends a server, so that what it gives back is not counted for the next one.
fn stop(server: ServerHandle) {
    server.shutdown_within(Duration::ZERO);
    server.join().unwrap();
}

/// A client that has greeted and was greeted.
fn connect(server: &ServerHandle) -> Client {
    let mut client = Client::connect(server.addresses()[0].as_tcp().unwrap());
    client.until("the greeting", |client| client.wire.counters().controls_received > 0);
    client
}

/// Calls until the worker holds no more than `bytes_max` for each of `count` connections more than `before`: each call is a turn
/// of the worker, and the sweep comes between two of them.
fn settle(probe: &mut Client, before: isize, count: usize, bytes_max: isize) -> isize {
    let started = Instant::now();
    loop {
        probe.unary("/test.Sums/Next", &[], &Note::new("", 1)).only::<Note>();
        let each = (live::bytes() - before) / count.cast_signed();
        if each <= bytes_max {
            return each;
        }
        assert!(started.elapsed() < PATIENCE, "{each} bytes a connection are not given back");
    }
}

fn an_idle_connection_on(backend: Backend) {
    let Some(server) = start(backend, &Arc::default()) else { return };
    let mut probe = connect(&server);
    probe.unary("/test.Sums/Next", &[], &Note::new("", 1));
    let before = live::bytes();
    let silent: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
    println!("{backend:?}: {} bytes idle", settle(&mut probe, before, CONNECTIONS, IDLE_BYTES_MAX));
    let before = live::bytes();
    let mut callers: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
    for number in (1..4).cycle().take(3 * CONNECTIONS) {
        let caller = &mut callers[number as usize % CONNECTIONS];
        caller.unary("/test.Sums/Next", &[("x-client", "a value")], &Note::new("", number));
    }
    for caller in &mut callers {
        // All at once, so that what lies beside a stream has been there for many.
        let keys: Vec<_> = (0..20)
            .map(|number| {
                let key = caller.open("/test.Sums/Next", &[("x-client", "a value")], EndStream::No);
                caller.send(key, &framed(&Note::new("", number)), EndStream::Yes);
                key
            })
            .collect();
        for key in keys {
            caller.finish(key).only::<Note>();
        }
    }
    let each = settle(&mut probe, before, CONNECTIONS, IDLE_AFTER_CALLS_BYTES_MAX);
    println!("{backend:?}: {each} bytes idle after calls");
    drop((silent, callers, probe));
    stop(server);
}

#[test]
fn an_idle_connection_gives_back_what_it_holds() {
    let _turn = TURN.lock();
    an_idle_connection_on(Backend::Epoll);
    an_idle_connection_on(Backend::Uring);
}

#[test]
fn what_a_large_message_leaves_is_given_back() {
    let _turn = TURN.lock();
    let server = start(Backend::Epoll, &Arc::default()).unwrap();
    let lines = server.memory_per_worker().lines();
    assert!(lines.contains(&("large message buffers", 32 << 20)), "{lines:?}");
    let mut probe = connect(&server);
    probe.unary("/test.Sums/Next", &[], &Note::new("", 1));
    let before = live::bytes();
    for _ in 0..2 {
        probe.unary("/test.Sums/Next", &[], &Note::new(&"x".repeat(300_000), 1)).only::<Note>();
    }
    // The receive buffer of 64 KiB goes sooner or later, too.
    println!("{} bytes after a large message", settle(&mut probe, before, 1, 16_384));
    stop(server);
}

fn a_busy_connection_on(backend: Backend, method: &str, end: EndStream, bytes_max: isize) {
    let waiting = Arc::new(AtomicUsize::new(0));
    let Some(server) = start(backend, &waiting) else { return };
    let mut probe = connect(&server);
    probe.unary("/test.Sums/Next", &[], &Note::new("", 1));
    let before = live::bytes();
    let mut callers: Vec<_> = (0..BUSY_CONNECTIONS).map(|_| connect(&server)).collect();
    let mut keys = Vec::new();
    for caller in &mut callers {
        for number in 0..STREAMS {
            let key = caller.open(method, &[], EndStream::No);
            caller.send(key, &framed(&Note::new("", u32::try_from(number).unwrap())), end);
            keys.push(key);
        }
        caller.flush();
    }
    eventually("all handlers wait", || waiting.load(Ordering::SeqCst) == BUSY_CONNECTIONS * STREAMS);
    let each = settle(&mut probe, before, BUSY_CONNECTIONS, bytes_max);
    println!("{backend:?}: {each} bytes with {STREAMS} streams of {method} in flight");
    for (caller, keys) in callers.iter_mut().zip(keys.chunks(STREAMS)).filter(|_| end == EndStream::No) {
        for key in keys {
            caller.send(*key, &[], EndStream::Yes);
            caller.finish(*key).only::<Note>();
        }
    }
    drop((callers, probe));
    stop(server);
}

#[test]
fn a_connection_with_streams_in_flight_holds_little() {
    let _turn = TURN.lock();
    for (method, end, bytes_max) in BUSY_BYTES_MAX {
        a_busy_connection_on(Backend::Epoll, method, end, bytes_max);
        a_busy_connection_on(Backend::Uring, method, end, bytes_max);
    }
}
