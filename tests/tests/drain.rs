//! A server that shuts down loses no call that it has accepted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use h2::client::Builder;
use support::client::Client;
use support::service::{ECHO, GATE};
use support::{Running, on_each_backend, until};

#[test]
fn calls_in_flight_finish_and_new_ones_go_elsewhere() {
    on_each_backend(
        |builder| builder.shutdown_grace(support::HANG),
        |Running { address, seen, handle }| async move {
            let handle = handle.take();
            let (client, connection) = Client::connect_with(address, &Builder::new()).await;
            let calls: Vec<_> = (0..10)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { client.call(GATE, b"wait").await })
                })
                .collect();
            until(|| seen.get(|seen| &seen.begun) == 10).await;
            handle.shutdown();
            // The client hears of it: no further call is accepted on this connection.
            while let Ok(reply) = client.call(ECHO, b"late").await {
                assert_eq!(reply.status(), "0", "an accepted call is answered");
            }
            assert!(calls.iter().all(|call| !call.is_finished()), "the calls in flight are still waiting");
            seen.open.store(1, Ordering::SeqCst);
            for call in calls {
                let reply = call.await.unwrap().unwrap();
                assert_eq!((reply.status(), &reply.messages[..]), ("0", &[b"wait".to_vec()][..]));
            }
            connection.await.unwrap().unwrap();
            handle.join().unwrap();
            assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
        },
    );
}

#[test]
fn under_load_every_call_is_answered_or_was_never_accepted() {
    on_each_backend(
        |builder| builder,
        |Running { address, handle, .. }| async move {
            let handle = handle.take();
            let mut tasks = Vec::new();
            for _ in 0..8 {
                let client = Client::connect(address).await;
                tasks.push(tokio::spawn(async move {
                    let mut answered = 0_u64;
                    loop {
                        match client.call(ECHO, b"load").await {
                            Ok(reply) => {
                                assert_eq!((reply.status(), reply.messages.len()), ("0", 1));
                                answered += 1;
                            }
                            // Refused by GOAWAY, before a handler saw it; or the connection had ended already.
                            Err(error) if error.is_go_away() || error.is_io() || is_closed(&error) => {
                                return answered;
                            }
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }));
            }
            until(|| handle.counters().calls_ok > 1000).await;
            handle.shutdown();
            let mut answered = 0;
            for task in tasks {
                answered += task.await.unwrap();
            }
            let counters = handle.counters();
            handle.join().unwrap();
            assert_eq!(counters.calls_ok, answered, "whatever the server has answered has arrived");
            assert_eq!(counters.calls_started, answered, "and it has begun nothing else");
        },
    );
}

/// What `h2` says on our side of a connection that the other side has ended in order.
fn is_closed(error: &h2::Error) -> bool {
    error.is_library() || error.to_string().contains("closed")
}

#[test]
fn the_grace_is_an_end() {
    on_each_backend(
        |builder| builder.shutdown_grace(Duration::from_millis(50)),
        |Running { address, seen, handle }| async move {
            let handle = handle.take();
            let client = Client::connect(address).await;
            let call = tokio::spawn(async move { client.call(GATE, b"for ever").await });
            until(|| seen.get(|seen| &seen.begun) == 1).await;
            handle.shutdown();
            let ending = call.await.unwrap();
            assert!(
                ending.is_err() || ending.is_ok_and(|reply| reply.status() == "14"),
                "UNAVAILABLE, or cut off"
            );
            handle.join().unwrap();
        },
    );
}
