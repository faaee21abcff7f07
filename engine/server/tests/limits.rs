//! Limits of the server, each reached.

mod support;

use corelane_observe::Limit;
use corelane_server::{Server, StartError, Workers};
use corelane_wire::frame::{EndStream, ErrorCode};
use support::client::{framed, framed_raw};
use support::service::{CHAT, COUNT, ECHO, Note, Probe, SUM};
use support::{Running, eventually};

const RESOURCE_EXHAUSTED: u32 = 8;

#[test]
fn a_request_message_over_the_limit_is_refused_with_both_numbers() {
    let server = Running::with(
        |builder| builder,
        |options| {
            options.max_decoding_message_size(100);
        },
    );
    let mut client = server.client();
    for path in [ECHO, COUNT, SUM, CHAT] {
        let key = client.open(path, &[], EndStream::No);
        client.send(key, &framed_raw(0, &[0; 101]), EndStream::No);
        let answer = client.finish(key);
        assert_eq!(answer.code(), RESOURCE_EXHAUSTED, "{path}");
        let message = answer.message();
        assert!(message.contains("101") && message.contains("100"), "{path}: {message}");
    }
    let fits = framed(&Note::new(&"x".repeat(98), 0));
    assert_eq!(fits.len(), 105);
    let key = client.open(ECHO, &[], EndStream::No);
    client.send(key, &fits, EndStream::Yes);
    assert_eq!(client.finish(key).code(), 0);
}

#[test]
fn four_mebibytes_are_the_default() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(ECHO, &[], EndStream::No);
    client.send(key, &[0, 0, 0x40, 0, 1], EndStream::No);
    let answer = client.finish(key);
    assert_eq!(answer.code(), RESOURCE_EXHAUSTED, "at its prefix, before a single octet of it has come");
}

#[test]
fn a_response_message_over_the_limit_is_not_sent() {
    let server = Running::with(
        |builder| builder,
        |options| {
            options.max_encoding_message_size(100);
        },
    );
    let mut client = server.client();
    let answer = client.unary(ECHO, &[], &Note::new("large", 101));
    assert_eq!((answer.code(), answer.body.len()), (RESOURCE_EXHAUSTED, 0));
    assert_eq!(client.unary(ECHO, &[], &Note::new("large", 50)).code(), 0);
}

#[test]
fn calls_beyond_the_workers_limit_are_refused() {
    let server = Running::with(|builder| builder.concurrency_limit_per_worker(2), |_| ());
    let mut client = server.client();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let key = client.open(CHAT, &[], EndStream::No);
            client.send(key, &framed(&Note::default()), EndStream::No);
            client.until("an answer", |client| client.answer(key).frames().len() == 1);
            key
        })
        .collect();
    let answer = client.unary(ECHO, &[], &Note::default());
    assert_eq!(answer.code(), RESOURCE_EXHAUSTED);
    assert_eq!(answer.message(), "the worker runs as many calls as it may: 2");
    client.reset(held[0]);
    client.until("the cancellation", |_| server.handle.counters().calls_cancelled == 1);
    assert_eq!(client.unary(ECHO, &[], &Note::default()).code(), 0, "the permit is back");
}

#[test]
fn streams_beyond_the_connections_limit_are_refused_and_counted() {
    let server = Running::with(|builder| builder.max_concurrent_streams(3), |_| ());
    let mut client = server.client();
    // Before the server's SETTINGS have arrived the client may open more, and is told which were too many.
    let keys: Vec<_> = (0..5).map(|_| client.open(CHAT, &[], EndStream::No)).collect();
    client.until("the refusals", |client| client.answer(keys[4]).reset.is_some());
    let resets: Vec<_> = keys.iter().map(|key| client.answer(*key).reset).collect();
    let refused = Some(ErrorCode::REFUSED_STREAM);
    assert_eq!(resets, [None, None, None, refused, refused]);
    client.reset(keys[0]);
    client.until("the figures", |_| {
        let seen = server.handle.counters();
        (seen.limit_hits(Limit::Streams), seen.resets_in, seen.resets_out) == (2, 1, 2)
    });
}

#[test]
fn a_client_that_does_nothing_but_reset_is_told_to_calm_down_and_nobody_else_is() {
    let server = Running::start();
    let (mut rapid, mut other) = (server.client(), server.client());
    assert_eq!(other.unary(ECHO, &[], &Note::default()).code(), 0);
    rapid.until("the greeting", |client| client.wire.counters().controls_received > 0);
    // More in one write than the server gives back while it reads them.
    for _ in 0..100 {
        if rapid.goaway.is_some() || rapid.closed {
            break;
        }
        for _ in 0..1_000 {
            let key = rapid.open(CHAT, &[], EndStream::No);
            rapid.reset(key);
        }
        rapid.turn();
    }
    rapid.until("the end", |client| client.closed);
    if let Some((_, code)) = rapid.goaway {
        assert_eq!(code, ErrorCode::ENHANCE_YOUR_CALM);
    }
    eventually("the figures", || {
        let seen = server.handle.counters();
        (seen.limit_hits(Limit::Resets), seen.calls_in_flight) == (1, 0)
    });
    assert_eq!(other.unary(ECHO, &[], &Note::default()).code(), 0);
}

#[test]
fn connections_beyond_the_workers_limit_are_closed() {
    let server = Running::with(|builder| builder.max_connections(1), |_| ());
    let mut first = server.client();
    assert_eq!(first.unary(ECHO, &[], &Note::default()).code(), 0);
    let mut second = server.client();
    second.until("the end", |client| client.closed);
    drop(first);
    eventually("a place", || {
        let mut third = server.client();
        let key = third.open(ECHO, &[], EndStream::No);
        third.send(key, &framed(&Note::default()), EndStream::Yes);
        third.until("an end", |client| client.closed || client.answer(key).is_over());
        third.answer(key).ended
    });
}

#[test]
fn a_start_that_cannot_succeed_says_why() {
    let builder = || Server::builder().workers(Workers::Count(1));
    let probe = || Probe::new(std::sync::Arc::default());
    let said = |error: StartError| error.to_string();

    let twice = builder().add_service(probe).add_service(probe).start("127.0.0.1:0");
    assert_eq!(said(twice.unwrap_err()), "the service test.Probe was added twice");
    assert_eq!(
        said(builder().add_service(Twice::default).start("127.0.0.1:0").unwrap_err()),
        "the method /test.Twice/Echo was added twice"
    );
    let panicking = || -> Twice { panic!("no database") };
    assert_eq!(
        said(builder().add_service(panicking).start("127.0.0.1:0").unwrap_err()),
        "the services could not be made: panicked: no database"
    );
    assert_eq!(
        said(builder().start("nowhere").unwrap_err()),
        "\"nowhere\" is not an address: give an IP address and a port, or unix:/path"
    );
    assert_eq!(
        said(builder().max_frame_size(1).start("127.0.0.1:0").unwrap_err()),
        "the frame size must be between 16,384 and 16,777,215 octets"
    );
    let running = Running::start();
    assert_eq!(said(builder().start(running.address).unwrap_err()), format!("{} is in use", running.address));
}

/// A service that registers a method twice.
#[derive(Default)]
struct Twice;

impl corelane_server::Service for Twice {
    const NAME: &'static str = "test.Twice";

    fn register(self, methods: &mut corelane_server::Methods) {
        use corelane_call::{ProstCodec, Request, Response};
        for _ in 0..2 {
            methods.unary("/test.Twice/Echo", ProstCodec::default(), |request: Request<Note>| async {
                Ok(Response::new(request.into_inner()))
            });
        }
    }
}
