//! A shutdown loses nothing that was accepted, and ends what takes too long.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use corelane_wire::frame::{EndStream, ErrorCode};
use support::client::{Client, framed};
use support::service::{CHAT, ECHO, Note};
use support::{Running, eventually};

#[test]
fn calls_in_flight_finish_and_then_the_connection_ends() {
    let server = Running::start();
    let mut client = server.client();
    let slow = client.open(ECHO, &[], EndStream::No);
    client.send(slow, &framed(&Note::new("sleep", 200)), EndStream::Yes);
    client.until("the handler", |_| server.seen.started.load(Ordering::SeqCst) == 1);
    server.handle.shutdown();
    client.until("the first GOAWAY", |client| client.goaway.is_some());
    assert_eq!(client.finish(slow).code(), 0);
    client.until("the end", |client| client.closed);
    // The second GOAWAY has named the last stream that was served.
    assert_eq!(client.goaway, Some((1, ErrorCode::NO_ERROR)));
    server.handle.join().unwrap();
}

#[test]
fn a_grace_that_is_over_cuts_calls_off() {
    let server = Running::start();
    let mut client = server.client();
    let stuck = client.open(ECHO, &[], EndStream::No);
    client.send(stuck, &framed(&Note::new("pend", 0)), EndStream::Yes);
    client.until("the handler", |_| server.seen.started.load(Ordering::SeqCst) == 1);
    server.handle.shutdown_within(Duration::from_millis(50));
    client.until("the end", |client| client.closed);
    assert_eq!(server.seen.dropped.load(Ordering::SeqCst), 1);
    server.handle.join().unwrap();
}

#[test]
fn no_call_that_was_accepted_is_lost_under_load() {
    let server = Running::start();
    let address = server.address;
    let answered = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) && client.goaway.is_none() {
                    let keys: Vec<_> = (0..20)
                        .map(|number| {
                            let key = client.open(ECHO, &[], EndStream::No);
                            client.send(key, &framed(&Note::new("sleep", number % 3)), EndStream::Yes);
                            key
                        })
                        .collect();
                    for key in keys {
                        // `finish` panics if a stream is lost: it ends with an answer.
                        let answer = client.finish(key);
                        assert_eq!(answer.code(), 0, "{answer:?}");
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                }
                client.until("the end", |client| client.closed);
            });
        }
        eventually("some calls", || answered.load(Ordering::SeqCst) > 500);
        server.handle.shutdown();
        stop.store(true, Ordering::SeqCst);
    });
    let counters = server.handle.counters();
    assert_eq!(counters.calls_ok, answered.load(Ordering::SeqCst) as u64);
    assert_eq!(counters.calls_in_flight, 0);
    server.handle.join().unwrap();
}

#[test]
fn a_drained_server_takes_no_new_connections_and_ends_without_any() {
    let server = Running::start();
    let stopper = server.handle.stopper();
    std::thread::spawn(move || stopper.shutdown());
    let started = Instant::now();
    server.handle.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn a_dropped_handle_ends_the_server_at_once() {
    let server = Running::start();
    let mut client = server.client();
    let key = client.open(CHAT, &[], EndStream::No);
    client.send(key, &framed(&Note::default()), EndStream::No);
    client.until("an answer", |client| client.answer(key).frames().len() == 1);
    let seen = server.seen.clone();
    drop(server);
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 1);
    client.until("the end", |client| client.closed);
}

#[test]
fn calls_that_arrive_after_the_first_goaway_are_served() {
    let server = Running::start();
    let mut client = server.client();
    let held = client.open(CHAT, &[], EndStream::No);
    client.send(held, &framed(&Note::default()), EndStream::No);
    client.until("an answer", |client| client.answer(held).frames().len() == 1);
    // The client opens a call while the announcement is on its way to it: it has not read it yet.
    server.handle.shutdown();
    let late = client.open(ECHO, &[], EndStream::No);
    client.send(late, &framed(&Note::new("late", 1)), EndStream::Yes);
    assert_eq!(client.finish(late).only::<Note>(), Note::new("late", 1));
    client.send(held, &[], EndStream::Yes);
    assert_eq!(client.finish(held).code(), 0);
    client.until("the end", |client| client.closed);
    server.handle.join().unwrap();
}
