//! Streams of requests that cannot go on: the call ends, whatever the policy says of its code, for nobody is left to send them again.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use corelane_call::{Code, Codec, Request, Status, Stream, stream};
use corelane_client::{Caller, Cause};
use support::peer::Peer;
use support::{CHAT, JOIN, Text, caller_with, failure, on_both};

/// Retries every code that a stream of requests can end with.
const POLICY: &str = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.001s",
    "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["INTERNAL", "CANCELLED", "RESOURCE_EXHAUSTED"]}}]}"#;

/// Text, but for one word.
#[derive(Clone)]
struct Picky;

impl Codec for Picky {
    type Encode = String;
    type Decode = String;

    fn encode(&self, text: &String, out: &mut Vec<u8>) -> Result<(), Status> {
        if text == "bad" { Err(Status::internal("words fail me")) } else { Text::new().encode(text, out) }
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, Status> {
        Text::new().decode(bytes)
    }
}

/// Makes both kinds of call against a peer that never answers; neither may be made twice.
fn ends_once<S>(requests: fn() -> S, code: Code, is_right: fn(&Cause) -> bool)
where
    S: Stream<Item = String> + 'static,
{
    let attempts = Arc::new(AtomicUsize::new(0));
    let seen = attempts.clone();
    let peer = Peer::answering(move |wire, call| {
        seen.fetch_add(1, Ordering::SeqCst);
        let _ = wire.request(call);
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(corelane_client::Channel::builder(&target).default_service_config(POLICY));
        async move {
            let joined = join(&caller, requests()).await;
            let answers = caller.bidi(CHAT, Picky, Request::new(requests())).await.map(|_| ());
            for status in [joined.unwrap_err(), answers.unwrap_err()] {
                assert_eq!((status.code(), failure(&status).attempt), (code, 1), "{status}");
                assert!(is_right(&failure(&status).cause), "{status}");
            }
        }
    });
    assert!(attempts.load(Ordering::SeqCst) <= 4, "two calls on two backends");
}

async fn join(caller: &Caller, requests: impl Stream<Item = String> + 'static) -> Result<(), Status> {
    caller.client_streaming(JOIN, Picky, Request::new(requests)).await.map(|_| ())
}

#[test]
fn a_request_that_cannot_be_encoded_is_not_tried_again() {
    let requests = || stream::iter(["good", "bad"].map(str::to_owned));
    ends_once(requests, Code::Internal, |cause| matches!(cause, Cause::Encode));
}

#[test]
fn requests_that_panic_are_not_asked_for_again() {
    let requests =
        || stream::iter((0..2).map(|n| if n == 0 { "a".to_owned() } else { panic!("on purpose") }));
    ends_once(requests, Code::Cancelled, |cause| matches!(cause, Cause::RequestStream));
}
