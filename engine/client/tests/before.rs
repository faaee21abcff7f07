//! What a failure says of what had gone wrong before it.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::error::Error;
use std::time::Duration;

use corelane_client::{Cause, Channel, Failure, Place};
use support::peer::Peer;
use support::{caller_with, deserted, failure, on_both, say};

/// The failure under another one, as programs that walk chains of errors get it.
fn source(failure: &Failure) -> &Failure {
    failure.source().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_deadline_that_was_over_before_a_connection_came_names_the_connections_trouble() {
    let address = deserted();
    on_both(move || {
        let builder = Channel::builder(format!("ipv4:{address}")).wait_for_ready();
        let caller = caller_with(builder.timeout(Duration::from_millis(30)));
        let address = address.clone();
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Deadline(Place::Connecting)), "{status}");
            let trouble = source(failure);
            assert!(matches!(trouble.cause, Cause::Connect { .. }), "{trouble}");
            assert_eq!(trouble.endpoint.as_deref(), Some(&*address));
            assert!(status.message().contains("; before that: cannot connect: "), "{status}");
        }
    });
}

#[test]
fn a_deadline_that_was_over_before_a_retry_names_the_attempt_before() {
    let peer = Peer::answering(|wire, call| wire.fail(call.stream, "14", &[]));
    let (target, address) = (peer.target.clone(), peer.address.clone());
    let policy = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "60s",
        "maxBackoff": "60s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
    on_both(move || {
        let builder = Channel::builder(&target).default_service_config(policy);
        let caller = caller_with(builder.timeout(Duration::from_millis(300)));
        let address = address.clone();
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Deadline(Place::Backoff)), "{status}");
            let first = source(failure);
            assert!(matches!(first.cause, Cause::Server), "{first}");
            assert_eq!((first.endpoint.as_deref(), first.attempt), (Some(&*address), 1));
        }
    });
}
