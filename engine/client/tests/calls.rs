//! Calls of all four shapes against our own server, on both backends.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use corelane_call::{Code, Request, Response, stream};
use corelane_client::{Cause, Failure};
use support::{CHAT, ECHO, JOIN, NOBODY, Running, SPLIT, Text, caller, collect, on_both, say};

#[test]
fn unary_calls_bring_metadata_both_ways() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            let mut request = Request::new("metadata x-word".to_owned());
            request.metadata_mut().insert("x-word", "lane").unwrap();
            let response = caller.unary(ECHO, Text::new(), request).await.unwrap();
            assert_eq!(response.metadata().get("x-head"), Some("lane"));
            assert_eq!(response.trailers().get("x-tail"), Some("lane"));
            assert_eq!(response.into_inner(), "lane");
        }
    });
}

#[test]
fn statuses_of_the_server_come_as_they_are_with_where_they_came_from() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let (caller, address) = (caller(&target), address.clone());
        async move {
            let status = say(&caller, "fail 5").await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::NotFound, "as you wish"));
            let failure = Failure::of(&status).unwrap();
            assert!(matches!(failure.cause, Cause::Server));
            assert_eq!((failure.endpoint.as_deref(), failure.attempt), (Some(&*address), 1));
            let unknown = caller.unary(NOBODY, Text::new(), Request::new(String::new())).await.unwrap_err();
            assert_eq!(unknown.code(), Code::Unimplemented);
        }
    });
}

#[test]
fn streams_go_either_way_and_both() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            let words = Request::new("a b c".to_owned());
            let words = caller.server_streaming(SPLIT, Text::new(), words).await.unwrap().into_inner();
            assert_eq!(collect(words).await.unwrap(), ["a", "b", "c"]);

            let words = stream::iter(["x", "y", "z"].map(str::to_owned));
            let joined = caller.client_streaming(JOIN, Text::new(), Request::new(words)).await;
            assert_eq!(joined.map(Response::into_inner).unwrap(), "x y z");

            let (sender, words) = stream::channel(1);
            let mut answers = caller.bidi(CHAT, Text::new(), Request::new(words)).await.unwrap().into_inner();
            for word in ["one", "two", "three"] {
                sender.send(word.to_owned()).await.unwrap();
                assert_eq!(answers.message().await.unwrap(), Some(word.to_uppercase()));
            }
            drop(sender);
            assert_eq!(answers.message().await.unwrap(), None);
        }
    });
}

#[test]
fn a_stream_that_fails_gives_what_came_before_and_then_its_status() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            let words = Request::new("a b !".to_owned());
            let mut words = caller.server_streaming(SPLIT, Text::new(), words).await.unwrap().into_inner();
            assert_eq!(words.message().await.unwrap().as_deref(), Some("a"));
            assert_eq!(words.message().await.unwrap().as_deref(), Some("b"));
            let status = words.message().await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Aborted, "an exclamation mark"));
            assert!(Failure::of(&status).is_some());
            assert_eq!(words.message().await.unwrap(), None);
        }
    });
}

#[test]
fn large_messages_pass_the_windows_of_both_sides() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            let text = "corelane".repeat(400_000);
            assert!(say(&caller, &text).await.unwrap() == text);
            let parts: Vec<String> = (0..40).map(|n| format!("{n}{}", "x".repeat(100_000))).collect();
            let joined =
                caller.client_streaming(JOIN, Text::new(), Request::new(stream::iter(parts.clone()))).await;
            assert!(joined.unwrap().into_inner() == parts.join(" "));
            let mut answers = caller
                .bidi(CHAT, Text::new(), Request::new(stream::iter(parts.clone())))
                .await
                .unwrap()
                .into_inner();
            for part in parts {
                assert!(answers.message().await.unwrap().unwrap() == part.to_uppercase());
            }
            assert_eq!(answers.message().await.unwrap(), None);
        }
    });
}
