//! What a failure says of what had gone wrong before it.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::error::Error;
use std::time::Duration;

use corelane_call::Request;
use corelane_client::{Cause, Channel, Failure, Place, WaitForReady};
use support::peer::Peer;
use support::{ECHO, Text, caller, caller_with, deserted, failure, on_both, say};

/// The failure under another one, as programs that walk chains of errors get it.
fn source(failure: &Failure) -> &Failure {
    failure.source().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_deadline_that_was_over_before_a_connection_came_names_the_connections_trouble() {
    let address = deserted();
    on_both(move || {
        let (caller, address) = (caller(&format!("ipv4:{address}")), address.clone());
        async move {
            // Fails as soon as there is trouble to name.
            let status = say(&caller, "hello").await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::Connect { .. }), "{status}");
            let mut patient = Request::new("hello".to_owned());
            patient.extensions_mut().insert(WaitForReady(true));
            patient.set_timeout(Duration::from_millis(30));
            let status = caller.unary(ECHO, Text::new(), patient).await.unwrap_err();
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Deadline(Place::Connecting)), "{status}");
            let trouble = source(failure);
            assert!(matches!(trouble.cause, Cause::Connect { .. }), "{trouble}");
            assert_eq!(trouble.endpoint.as_deref(), Some(address.address()));
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
        let caller = caller_with(builder.timeout(Duration::from_secs(1)));
        let address = address.clone();
        async move {
            caller.channel().ready().await.unwrap();
            let status = say(&caller, "hello").await.unwrap_err();
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Deadline(Place::Backoff)), "{status}");
            let first = source(failure);
            assert!(matches!(first.cause, Cause::Server), "{first}");
            assert_eq!((first.endpoint.as_deref(), first.attempt), (Some(&*address), 1));
        }
    });
}
