//! Streams of requests that cannot go on: the call ends, whatever the policy says of its code, for nobody is left to send them again.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::sync::{Arc, Mutex};

use corelane_call::{Code, Codec, Request, Status, Stream, stream};
use corelane_client::{Caller, Cause, Channel};
use support::peer::Peer;
use support::{CHAT, ECHO, JOIN, Text, caller_with, failure, on_both, say};

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

/// Makes both kinds of call against a peer that answers neither; each is made once. A third call closes the account: the peer reads
/// it, on the same connection, behind all that the others have sent.
fn ends_once<S>(requests: fn() -> S, code: Code, is_right: fn(&Cause) -> bool)
where
    S: Stream<Item = String> + 'static,
{
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = paths.clone();
    let peer = Peer::answering(move |wire, call| {
        let path = call.field(":path").unwrap();
        seen.lock().unwrap().push(path.clone());
        if path == ECHO.path() {
            wire.answer(call.stream, "hello");
        }
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).default_service_config(POLICY));
        let paths = paths.clone();
        async move {
            let joined = join(&caller, requests()).await;
            let answers = caller.bidi(CHAT, Picky, Request::new(requests())).await.map(|_| ());
            for status in [joined.unwrap_err(), answers.unwrap_err()] {
                assert_eq!((status.code(), failure(&status).attempt), (code, 1), "{status}");
                assert!(is_right(&failure(&status).cause), "{status}");
            }
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            let paths = std::mem::take(&mut *paths.lock().unwrap());
            assert_eq!(paths, [JOIN, CHAT, ECHO].map(|method| method.path()));
        }
    });
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
