//! What a server, a full endpoint or a neighbour's call cannot hold up.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use corelane_call::{Code, Codec, Request, Status, stream};
use corelane_client::{Cause, Channel, Place};
use corelane_policy::resilience::BreakerConfig;
use corelane_runtime::{sleep, spawn_local};
use support::peer::{MAX_CONCURRENT_STREAMS, Peer};
use support::{
    JOIN, Running, Text, begin, caller_with, failure, on_both, on_one_stream, say, short_backoff, soon, until,
};

#[test]
fn a_hedged_call_ends_at_its_deadline_however_long_the_server_asks_it_to_wait() {
    let peer = Peer::answering(|wire, call| {
        wire.fail(call.stream, "14", &[("grpc-retry-pushback-ms", "2147483647")])
    });
    let config = r#"{"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "60s",
        "nonFatalStatusCodes": ["UNAVAILABLE"]}}]}"#;
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).default_service_config(config));
        async move {
            caller.channel().ready().await.unwrap();
            let mut request = Request::new("hello".to_owned());
            request.set_timeout(Duration::from_secs(1));
            let call = async move { caller.unary(support::ECHO, Text::new(), request).await };
            let status = soon(call).await.unwrap_err();
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Deadline(Place::Backoff)), "{status}");
            assert!(matches!(failure.before.as_ref().unwrap().cause, Cause::Server), "{status}");
        }
    });
}

#[test]
fn an_attempt_that_cannot_be_made_again_is_not_cut_short() {
    let peer = Peer::answering(|wire, call| {
        if let Some(words) = wire.request(call) {
            wire.answer(call.stream, &words.join(" "));
        }
    });
    let config = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "0.01s",
        "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"],
        "perAttemptRecvTimeout": "0.02s"}}]}"#;
    let target = peer.target.clone();
    on_both(move || {
        // No request is kept.
        let builder = Channel::builder(&target).default_service_config(config).retry_buffer_bytes(0);
        let caller = caller_with(builder);
        async move {
            let (sender, words) = stream::channel(1);
            let upload = async move { caller.client_streaming(JOIN, Text::new(), Request::new(words)).await };
            let feed = async move {
                sender.send("one".to_owned()).await.unwrap();
                // Longer than an attempt may take.
                sleep(Duration::from_millis(60)).await;
                sender.send("two".to_owned()).await.unwrap();
            };
            let (joined, ()) = support::both(upload, feed).await;
            assert_eq!(joined.unwrap().into_inner(), "one two");
        }
    });
}

#[test]
fn a_call_in_line_gets_a_connection_that_could_not_be_made_at_first() {
    let peer = Peer::start(|wire| {
        if wire.number == 1 {
            return;
        }
        wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
        let is_first = wire.number == 0;
        while let Some(call) = wire.call() {
            // The first connection's only stream stays in use.
            if !is_first {
                wire.answer(call.stream, "here");
            }
        }
    });
    let target = peer.target.clone();
    support::run(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 2).backoff(short_backoff()));
        async move {
            caller.channel().ready().await.unwrap();
            let endless = begin(say(&caller, "endless")).await;
            let other = caller.clone();
            assert_eq!(soon(async move { say(&other, "other").await }).await.unwrap(), "here");
            drop(endless);
        }
    });
}

#[test]
fn who_waits_for_a_stream_comes_before_who_has_just_had_it() {
    on_one_stream(|caller| async move {
        let served = Rc::new(Cell::new(false));
        let (greedy, is_served) = (caller.clone(), served.clone());
        spawn_local(async move {
            while !is_served.get() {
                say(&greedy, "again").await.unwrap();
            }
        });
        let patient = served.clone();
        spawn_local(async move {
            say(&caller, "once").await.unwrap();
            patient.set(true);
        });
        until("the other call", || served.get()).await;
    });
}

/// A codec without words.
#[derive(Clone)]
struct Speechless;

impl Codec for Speechless {
    type Encode = String;
    type Decode = String;

    fn encode(&self, _: &String, _: &mut Vec<u8>) -> Result<(), Status> {
        Err(Status::internal("words fail me"))
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, Status> {
        Text::new().decode(bytes)
    }
}

#[test]
fn an_endpoint_is_not_blamed_for_what_could_not_be_sent() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let config = BreakerConfig {
            consecutive_failures: Some(1),
            failure_codes: [Code::Internal].into_iter().collect(),
            ..BreakerConfig::default()
        };
        let caller = caller_with(Channel::builder(&target).circuit_breaker(config).retry_buffer_bytes(0));
        async move {
            for _ in 0..2 {
                let words = Request::new(stream::iter(["a".to_owned()]));
                let status = caller.client_streaming(JOIN, Speechless, words).await.unwrap_err();
                assert!(matches!(failure(&status).cause, Cause::Encode), "{status}");
            }
        }
    });
}
