//! How calls end before their time: deadlines, cancellation, closed connections, panics.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use corelane_wire::frame::EndStream;
use support::client::{Client, framed};
use support::service::{CHAT, COUNT, ECHO, Note, SUM};
use support::{Running, eventually};

const DEADLINE_EXCEEDED: u32 = 4;
const INTERNAL: u32 = 13;

/// Starts a call and waits until its handler runs.
fn begin(
    server: &Running,
    client: &mut Client,
    path: &str,
    note: &Note,
) -> corelane_wire::connection::StreamKey {
    let started = server.seen.started.load(Ordering::SeqCst);
    let key = client.open(path, &[], EndStream::No);
    let end = if path == SUM || path == CHAT { EndStream::No } else { EndStream::Yes };
    client.send(key, &framed(note), end);
    client.until("the handler", |_| server.seen.started.load(Ordering::SeqCst) > started);
    key
}

fn dropped(server: &Running) -> usize {
    server.seen.dropped.load(Ordering::SeqCst)
}

#[test]
fn an_expired_deadline_drops_the_handler_and_answers() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[("grpc-timeout", "30m")], &Note::new("pend", 0));
    assert_eq!(
        (answer.code(), answer.message()),
        (DEADLINE_EXCEEDED, "the deadline of the call has passed".into())
    );
    assert_eq!(dropped(&server), 1);
    assert_eq!(server.handle.counters().deadlines_exceeded, 1);
}

#[test]
fn a_deadline_also_ends_a_stream_of_responses() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(COUNT, &[("grpc-timeout", "30m")], &Note::new("pend", 2));
    assert_eq!(answer.messages::<Note>().len(), 2);
    assert_eq!(answer.code(), DEADLINE_EXCEEDED);
    assert_eq!(dropped(&server), 1);
}

#[test]
fn a_deadline_of_zero_is_over_before_the_handler_runs() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[("grpc-timeout", "0n")], &Note::new("", 0));
    assert_eq!(answer.code(), DEADLINE_EXCEEDED);
    assert_eq!(server.seen.started.load(Ordering::SeqCst), 0);
}

#[test]
fn a_deadline_holds_for_a_request_that_never_ends() {
    let server = Running::start();
    let mut client = server.client();
    for timeout in ["40m", "20m"] {
        let key = client.open(ECHO, &[("grpc-timeout", timeout)], EndStream::No);
        assert_eq!(client.finish(key).code(), DEADLINE_EXCEEDED);
    }
    let slow = client.open(ECHO, &[("grpc-timeout", "60m")], EndStream::No);
    let fast = client.open(ECHO, &[("grpc-timeout", "20m")], EndStream::No);
    assert_eq!(client.finish(fast).code(), DEADLINE_EXCEEDED);
    assert_eq!(client.finish(slow).code(), DEADLINE_EXCEEDED);
    assert_eq!(server.seen.started.load(Ordering::SeqCst), 0);
}

#[test]
fn the_server_has_a_default_and_a_maximum() {
    let server = Running::with(
        |builder| builder.timeout(Duration::from_millis(30)).max_timeout(Duration::from_secs(5)),
        |_| (),
    );
    let mut client = server.client();
    assert_eq!(client.unary(ECHO, &[], &Note::new("pend", 0)).code(), DEADLINE_EXCEEDED);
    let left = client.unary(ECHO, &[("grpc-timeout", "1H")], &Note::new("time", 0)).only::<Note>().number;
    assert!((4000..=5000).contains(&left), "{left} ms of the maximum");
    let left = client.unary(ECHO, &[("grpc-timeout", "2S")], &Note::new("time", 0)).only::<Note>().number;
    assert!((1000..=2000).contains(&left), "{left} ms of the client's");
}

#[test]
fn calls_that_differ_in_their_timeouts_alone_have_deadlines_of_their_own() {
    let server = Running::start();
    let mut client = server.client();
    for (timeout, seconds) in
        [("100S", 100), ("300S", 300), ("100S", 100), ("5000S", 5000), ("8M", 480), ("100S", 100)]
    {
        let extra = [("grpc-timeout", timeout), ("x-tenant", "one")];
        let left = client.unary(ECHO, &extra, &Note::new("time", 0)).only::<Note>().number;
        assert!(((seconds - 60) * 1000..=seconds * 1000).contains(&left), "{left} ms of {timeout}");
    }
    assert_eq!(
        client.unary(ECHO, &[("grpc-timeout", "100s"), ("x-tenant", "one")], &Note::new("time", 0)).code(),
        INTERNAL
    );
}

#[test]
fn a_call_that_is_in_time_is_not_disturbed_by_its_timer() {
    let server = Running::start();
    let mut client = server.client();
    let answer = client.unary(ECHO, &[("grpc-timeout", "10S")], &Note::new("sleep", 20));
    assert_eq!(answer.only::<Note>().text, "sleep");
    // The slot is used again, by a call that must not inherit the timer.
    assert_eq!(client.unary(ECHO, &[], &Note::new("sleep", 20)).code(), 0);
}

#[test]
fn a_reset_drops_the_handler_at_once() {
    let server = Running::start();
    let mut client = server.client();
    for (done, (path, text)) in
        [(ECHO, "pend"), (COUNT, "pend"), (SUM, ""), (CHAT, "")].into_iter().enumerate()
    {
        let key = begin(&server, &mut client, path, &Note::new(text, 0));
        client.reset(key);
        client.until("the drop", |_| dropped(&server) == done + 1);
    }
    assert_eq!(server.handle.counters().calls_cancelled, 4);
    assert_eq!(client.unary(ECHO, &[], &Note::new("still there", 0)).code(), 0);
}

#[test]
fn a_closed_connection_drops_its_handlers() {
    let server = Running::start();
    let mut client = server.client();
    begin(&server, &mut client, ECHO, &Note::new("pend", 0));
    begin(&server, &mut client, COUNT, &Note::new("pend", 1));
    begin(&server, &mut client, CHAT, &Note::new("", 1));
    drop(client);
    eventually("the drops", || dropped(&server) == 3);
    assert_eq!(server.handle.counters().calls_cancelled, 3);
}

#[test]
fn a_panic_is_internal_and_tells_the_client_nothing_else() {
    let server = Running::start();
    let mut client = server.client();
    let bystander = begin(&server, &mut client, ECHO, &Note::new("sleep", 200));
    for text in ["panic", "panic late"] {
        let answer = client.unary(ECHO, &[], &Note::new(text, 0));
        assert_eq!((answer.code(), answer.message()), (INTERNAL, "handler panicked".to_owned()));
    }
    let answer = client.unary(COUNT, &[], &Note::new("panic", 2));
    assert_eq!(answer.messages::<Note>().len(), 2);
    assert_eq!((answer.code(), answer.message()), (INTERNAL, "handler panicked".to_owned()));
    assert_eq!(server.handle.counters().panics, 3);
    assert_eq!(client.finish(bystander).code(), 0, "other calls of the connection go on");
    assert_eq!(server.client().unary(ECHO, &[], &Note::default()).code(), 0, "and the worker does");
}

#[test]
fn a_destructor_that_panics_is_only_counted() {
    let server = Running::start();
    let mut client = server.client();
    let key = begin(&server, &mut client, ECHO, &Note::new("panic in drop", 0));
    client.reset(key);
    client.until("the panic", |_| server.handle.counters().panics == 1);
    let answer = client.unary(ECHO, &[("grpc-timeout", "20m")], &Note::new("panic in drop", 0));
    assert_eq!(answer.code(), DEADLINE_EXCEEDED);
    assert_eq!(server.handle.counters().panics, 2);
    assert_eq!(client.unary(ECHO, &[], &Note::default()).code(), 0);
}

#[test]
fn a_client_that_does_not_read_stops_its_stream_and_nobody_else() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(COUNT, &[], EndStream::No);
    client.send(key, &framed(&Note::new("forever", 0)), EndStream::Yes);
    client.flush();
    let mut other = server.client();
    for _ in 0..20 {
        assert_eq!(other.unary(ECHO, &[], &Note::default()).code(), 0);
    }
    client.until("some messages", |client| client.answer(key).frames().len() > 1000);
    client.reset(key);
    client.until("the drop", |_| dropped(&server) == 21);
}
