//! What goes around a call: the words of a request's head that are not its caller's, for whom it is made, and interceptors, whichever
//! way the call goes.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;

use corelane_call::{AsyncInterceptor, BoxFuture, CallParts, Code, Ending, Interceptor, Metadata, Status};
use corelane_client::{
    BearerToken, CallCredentials, CallTo, Caller, Cause, Channel, ChannelBuilder, ChannelSecurity,
};
use support::peer::{Incoming, Peer, Wire};
use support::{caller_with, failure, on_both, say};

/// Answers each call with these fields of its head.
fn telling(fields: &'static [&'static str]) -> Peer {
    Peer::answering(|wire, call| {
        let told: Vec<String> = fields.iter().map(|name| call.field(name).unwrap_or_default()).collect();
        wire.answer(call.stream, &told.join(" "));
    })
}

/// What a caller, made like this, is told.
fn told(
    fields: &'static [&'static str],
    build: fn(ChannelBuilder) -> ChannelBuilder,
    prepare: fn(&mut Caller),
    expected: &'static str,
) {
    let peer = telling(fields);
    let target = peer.target.clone();
    on_both(move || {
        let mut caller = caller_with(build(Channel::builder(&target)));
        prepare(&mut caller);
        async move { assert_eq!(say(&caller, "hello").await.unwrap(), expected) }
    });
}

#[test]
fn a_request_says_who_sends_it() {
    const OURS: &str = concat!("grpc-rust-corelane/", env!("CARGO_PKG_VERSION"));
    const BOTH: &str = concat!("shop/3 grpc-rust-corelane/", env!("CARGO_PKG_VERSION"));
    told(&["user-agent"], |builder| builder, |_| (), OURS);
    told(&["user-agent"], |builder| builder.user_agent("shop/3"), |_| (), BOTH);
}

#[test]
fn an_authority_of_ones_own_replaces_the_targets() {
    told(&[":authority"], |builder| builder.authority("orders.internal"), |_| (), "orders.internal");
}

#[test]
fn credentials_go_out_where_they_may() {
    let token = |caller: &mut Caller| {
        caller.set_credentials(BearerToken::new("opaque").unwrap().over_plaintext());
    };
    told(&["authorization"], |builder| builder, token, "Bearer opaque");
}

/// Credentials that must be fetched, and are for one method at one authority.
struct Fetched(Code);

impl CallCredentials for Fetched {
    fn metadata<'a>(&'a self, call: &'a CallTo<'a>) -> BoxFuture<'a, Result<Metadata, Status>> {
        Box::pin(async move {
            corelane_runtime::yield_now().await;
            if self.0 != Code::Ok {
                return Err(Status::new(self.0, "no token today"));
            }
            let mut metadata = Metadata::new();
            metadata.insert("x-for", &format!("{}{}", call.authority, call.path))?;
            Ok(metadata)
        })
    }

    fn needs(&self) -> ChannelSecurity {
        ChannelSecurity::Plaintext
    }
}

#[test]
fn credentials_are_waited_for_and_know_what_they_are_for() {
    let fetched = |caller: &mut Caller| caller.set_credentials(Fetched(Code::Ok));
    told(&["x-for"], |builder| builder.authority("orders"), fetched, "orders/test.Texts/Echo");
}

#[test]
fn a_call_without_its_credentials_fails_with_their_status() {
    let peer = telling(&[]);
    let target = peer.target.clone();
    on_both(move || {
        let mut caller = caller_with(Channel::builder(&target));
        caller.set_credentials(Fetched(Code::Unauthenticated));
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "no token today"));
            assert!(matches!(failure(&status).cause, Cause::Credentials));
        }
    });
}

type Heard = Rc<RefCell<Vec<String>>>;

/// Notes what it hears, under its name.
struct Noting(&'static str, Heard);

impl Noting {
    fn note(&self, text: &str) {
        self.1.borrow_mut().push(format!("{} {text}", self.0));
    }
}

impl Interceptor for Noting {
    fn before(&self, call: &mut CallParts) -> Result<(), Status> {
        self.note(call.path);
        // A value that lives as long as the call.
        call.extensions.insert(Guard(self.0, self.1.clone()));
        call.metadata.insert("x-seen", self.0)?;
        Ok(())
    }

    fn after(&self, ending: &mut Ending<'_>) {
        self.note(&format!("{:?}", ending.code));
    }
}

struct Guard(&'static str, Heard);

impl Drop for Guard {
    fn drop(&mut self) {
        self.1.borrow_mut().push(format!("{} dropped", self.0));
    }
}

/// As `Noting`, after a wait.
struct Waiting(Noting);

impl AsyncInterceptor for Waiting {
    fn before<'a>(&'a self, call: &'a mut CallParts) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            corelane_runtime::yield_now().await;
            self.0.before(call)
        })
    }

    fn after(&self, ending: &mut Ending<'_>) {
        self.0.after(ending);
    }
}

/// How a peer takes a call.
type Answer = fn(&mut Wire, &Incoming);

fn well(wire: &mut Wire, call: &Incoming) {
    wire.answer(call.stream, &call.field("x-seen").unwrap_or_default());
}

fn badly(wire: &mut Wire, call: &Incoming) {
    wire.fail(call.stream, "5", &[]);
}

fn at_the_second_attempt(wire: &mut Wire, call: &Incoming) {
    match call.field("grpc-previous-rpc-attempts") {
        None => wire.fail(call.stream, "14", &[]),
        Some(_) => well(wire, call),
    }
}

const RETRIES: &str = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.01s",
    "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;

/// Has interceptors that `add` adds hear of a call that is answered like this, and compares what they heard.
fn hears(answer: Answer, add: fn(&mut Caller, &Heard), code: Code) {
    let peer = Peer::answering(answer);
    let target = peer.target.clone();
    on_both(move || {
        let heard = Heard::default();
        let mut caller = caller_with(Channel::builder(&target).default_service_config(RETRIES));
        add(&mut caller, &heard);
        async move {
            match say(&caller, "hello").await {
                Ok(seen) => assert_eq!((seen.as_str(), Code::Ok), ("first", code)),
                Err(status) => assert_eq!(status.code(), code),
            }
            let end = format!("first {code:?}");
            assert_eq!(*heard.borrow(), ["first /test.Texts/Echo", &end, "first dropped"]);
        }
    });
}

#[test]
fn an_interceptor_hears_once_of_a_call_and_once_of_its_end() {
    let add = |caller: &mut Caller, heard: &Heard| caller.add_interceptor(Noting("first", heard.clone()));
    hears(well, add, Code::Ok);
    hears(badly, add, Code::NotFound);
    // However many attempts are made.
    hears(at_the_second_attempt, add, Code::Ok);
}

#[test]
fn an_interceptor_that_waits_hears_the_same() {
    let add = |caller: &mut Caller, heard: &Heard| {
        caller.add_async_interceptor(Waiting(Noting("first", heard.clone())));
    };
    hears(well, add, Code::Ok);
    hears(badly, add, Code::NotFound);
    hears(at_the_second_attempt, add, Code::Ok);
}
