//! Responses that are kept: which, for whom, for how long, and how many.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use corelane_call::{Code, Request, Response, Status};
use corelane_client::{Caller, Cause, Channel, Idempotency, Method, Place};
use corelane_policy::cache::CacheConfig;
use corelane_runtime::{spawn_local, yield_now};
use support::counting::{Counting, with_peer};
use support::peer::{Incoming, Peer, Wire};
use support::{
    ECHO, Running, SPLIT, Text, begin, caller_with, collect, failure, on_both, repeated, told, until,
};

/// A method that changes nothing, so that its responses may be kept.
const GET: Method = ECHO.with_idempotency(Idempotency::NoSideEffects);

/// Keeps responses for longer than any test.
fn lasting() -> CacheConfig {
    CacheConfig { ttl: Duration::from_secs(3_600), ..CacheConfig::default() }
}

async fn get(caller: &Caller, text: &str) -> Result<String, Status> {
    caller.unary(GET, Text::new(), Request::new(text.to_owned())).await.map(Response::into_inner)
}

/// Runs `test` on both backends with a caller that keeps responses, and a count of the calls that reach the server.
fn with_cache<F>(
    config: CacheConfig,
    test: impl Fn(Caller, Box<dyn Fn() -> usize>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let server = Running::start();
    let (target, seen) = (server.target.clone(), server.seen.clone());
    on_both(move || {
        let (seen, before) = (seen.clone(), seen.started());
        let caller = caller_with(Channel::builder(&target).response_cache(config));
        test(caller, Box::new(move || seen.started() - before))
    });
}

#[test]
fn a_response_is_asked_for_once_and_comes_with_all_its_metadata() {
    with_cache(lasting(), |caller, calls| async move {
        for _ in 0..10 {
            let mut request = Request::new("metadata x-word".to_owned());
            request.metadata_mut().insert("x-word", "lane").unwrap();
            let response = caller.unary(GET, Text::new(), request).await.unwrap();
            assert_eq!(response.metadata().get("x-head"), Some("lane"));
            assert_eq!(response.trailers().get("x-tail"), Some("lane"));
            assert_eq!(response.into_inner(), "lane");
        }
        assert_eq!(calls(), 1);
    });
}

#[test]
fn only_methods_without_side_effects_are_kept() {
    with_cache(lasting(), |caller, calls| async move {
        // Harmless to repeat is not the same as needless to repeat.
        let idempotent = Method::new("/test.Texts/Echo").with_idempotency(Idempotency::Idempotent);
        for _ in 0..5 {
            let request = Request::new("hello".to_owned());
            assert_eq!(caller.unary(idempotent, Text::new(), request).await.unwrap().into_inner(), "hello");
        }
        assert_eq!(calls(), 5);
    });
    with_cache(lasting(), |caller, calls| async move {
        for _ in 0..5 {
            assert_eq!(support::say(&caller, "hello").await.unwrap(), "hello");
        }
        assert_eq!(calls(), 5);
    });
    with_cache(lasting(), |caller, calls| async move {
        let split = SPLIT.with_idempotency(Idempotency::NoSideEffects);
        for _ in 0..5 {
            let words = caller.server_streaming(split, Text::new(), Request::new("a b".to_owned())).await;
            assert_eq!(collect(words.unwrap().into_inner()).await.unwrap(), ["a", "b"]);
        }
        assert_eq!(calls(), 5);
    });
}

#[test]
fn without_a_cache_every_call_is_made() {
    let server = Running::start();
    let (target, seen) = (server.target.clone(), server.seen.clone());
    on_both(move || {
        let (caller, seen, before) = (support::caller(&target), seen.clone(), seen.started());
        async move {
            for _ in 0..5 {
                assert_eq!(get(&caller, "hello").await.unwrap(), "hello");
            }
            assert_eq!(seen.started(), before + 5);
        }
    });
}

#[test]
fn what_is_kept_is_for_the_same_request_with_the_same_metadata() {
    with_cache(lasting(), |caller, calls| async move {
        for (name, value) in [("x-user", "ann"), ("x-user", "bob"), ("x-other", "ann")] {
            for _ in 0..3 {
                let mut request = Request::new("metadata x-user".to_owned());
                request.metadata_mut().insert(name, value).unwrap();
                let seen = caller.unary(GET, Text::new(), request).await.unwrap().into_inner();
                assert_eq!(seen, if name == "x-user" { value } else { "none" });
            }
        }
        assert_eq!(calls(), 3);
        assert_eq!(get(&caller, "another").await.unwrap(), "another");
        assert_eq!(calls(), 4);
    });
}

#[test]
fn a_response_is_not_given_out_after_its_time() {
    let config = CacheConfig { ttl: Duration::from_millis(1), ..CacheConfig::default() };
    with_cache(config, |caller, calls| async move {
        repeated("the response's time to be over", async || {
            assert_eq!(get(&caller, "hello").await.unwrap(), "hello");
            (calls() == 3).then_some(())
        })
        .await;
    });
}

#[test]
fn failures_are_not_kept() {
    with_cache(lasting(), |caller, calls| async move {
        for _ in 0..3 {
            assert_eq!(get(&caller, "fail 5").await.unwrap_err().code(), Code::NotFound);
        }
        assert_eq!(calls(), 3);
    });
}

#[test]
fn as_many_responses_are_kept_as_may_be_and_the_oldest_goes_first() {
    let config = CacheConfig { entries_max: 2, ..lasting() };
    with_cache(config, |caller, calls| async move {
        for text in ["a", "b", "a", "c"] {
            assert_eq!(get(&caller, text).await.unwrap(), text);
        }
        assert_eq!(calls(), 3);
        for text in ["a", "c", "a"] {
            assert_eq!(get(&caller, text).await.unwrap(), text);
        }
        assert_eq!(calls(), 3, "b was used least recently");
        assert_eq!(get(&caller, "b").await.unwrap(), "b");
        assert_eq!(calls(), 4);
    });
}

#[test]
fn no_more_bytes_are_kept_than_may_be() {
    let config = CacheConfig { bytes_max: 10_000, ..lasting() };
    with_cache(config, |caller, calls| async move {
        for _ in 0..2 {
            assert_eq!(get(&caller, "repeat 20000").await.unwrap().len(), 20_000);
        }
        assert_eq!(calls(), 2, "too large to be kept at all");
        for text in ["repeat 4000", "repeat 4001", "repeat 4002"] {
            get(&caller, text).await.unwrap();
        }
        assert_eq!(calls(), 5);
        get(&caller, "repeat 4002").await.unwrap();
        assert_eq!(calls(), 5);
        get(&caller, "repeat 4000").await.unwrap();
        assert_eq!(calls(), 6, "it went to make room");
    });
}

/// A peer that answers when it is told to: the number of the call, as it saw them.
fn on_demand() -> (Counting, mpsc::Sender<()>) {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let counting = Counting::start(move |wire, call, number| {
        if gone.lock().unwrap().recv().is_ok() {
            wire.answer(call.stream, &format!("answer {number}"));
        }
    });
    (counting, go)
}

#[test]
fn calls_for_the_same_thing_at_the_same_time_are_made_once() {
    let (counting, go) = on_demand();
    with_peer(
        &counting,
        |builder| builder.response_cache(lasting()),
        move |caller, attempts| {
            let go = go.clone();
            async move {
                let (done, answers) = mpsc::channel();
                for _ in 0..20 {
                    let (caller, done) = (caller.clone(), done.clone());
                    spawn_local(async move { done.send(get(&caller, "hello").await).unwrap() });
                }
                until("the call", || attempts.lock().unwrap().len() == 1).await;
                yield_now().await;
                go.send(()).unwrap();
                let mut all = Vec::new();
                until("the answers", || {
                    all.extend(answers.try_iter().map(Result::unwrap));
                    all.len() == 20
                })
                .await;
                assert_eq!(all, vec!["answer 0"; 20]);
                assert_eq!(attempts.lock().unwrap().len(), 1);
            }
        },
    );
}

#[test]
fn whoever_waits_for_a_call_that_is_given_up_makes_it() {
    let (counting, go) = on_demand();
    with_peer(
        &counting,
        |builder| builder.response_cache(lasting()),
        move |caller, attempts| {
            let go = go.clone();
            async move {
                caller.channel().ready().await.unwrap();
                let first = begin(get(&caller, "hello")).await;
                let second = begin(get(&caller, "hello")).await;
                let third = begin(get(&caller, "hello")).await;
                drop(first);
                (0..2).for_each(|_| go.send(()).unwrap());
                let (second, third) = support::both(second, third).await;
                assert_eq!((second.unwrap(), third.unwrap()), ("answer 1".to_owned(), "answer 1".to_owned()));
                assert_eq!(attempts.lock().unwrap().len(), 2);
            }
        },
    );
}

#[test]
fn whoever_waits_for_a_call_that_fails_makes_it() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let counting = Counting::start(move |wire, call, number| {
        let _ = gone.lock().unwrap().recv();
        match number {
            0 => wire.fail(call.stream, "14", &[]),
            _ => wire.answer(call.stream, "better"),
        }
    });
    with_peer(
        &counting,
        |builder| builder.response_cache(lasting()),
        move |caller, attempts| {
            let go = go.clone();
            async move {
                caller.channel().ready().await.unwrap();
                let first = begin(get(&caller, "hello")).await;
                let second = begin(get(&caller, "hello")).await;
                (0..2).for_each(|_| go.send(()).unwrap());
                let (first, second) = support::both(first, second).await;
                assert_eq!(first.unwrap_err().code(), Code::Unavailable);
                assert_eq!(second.unwrap(), "better");
                assert_eq!(attempts.lock().unwrap().len(), 2);
            }
        },
    );
}

#[test]
fn whoever_waits_for_anothers_call_has_a_deadline_of_its_own() {
    let (counting, go) = on_demand();
    with_peer(
        &counting,
        |builder| builder.response_cache(lasting()),
        move |caller, attempts| {
            let go = go.clone();
            async move {
                caller.channel().ready().await.unwrap();
                let first = begin(get(&caller, "hello")).await;
                let mut request = Request::new("hello".to_owned());
                request.set_timeout(Duration::from_millis(20));
                let status = caller.unary(GET, Text::new(), request).await.unwrap_err();
                assert_eq!(status.code(), Code::DeadlineExceeded);
                assert!(matches!(failure(&status).cause, Cause::Deadline(Place::Response)), "{status}");
                go.send(()).unwrap();
                assert_eq!(first.await.unwrap(), "answer 0");
                assert_eq!(attempts.lock().unwrap().len(), 1);
            }
        },
    );
}

#[test]
fn more_than_may_wait_make_their_own_calls() {
    let (counting, go) = on_demand();
    with_peer(
        &counting,
        |builder| builder.response_cache(CacheConfig { followers_max: 1, ..lasting() }),
        move |caller, attempts| {
            let go = go.clone();
            async move {
                caller.channel().ready().await.unwrap();
                let leads = begin(get(&caller, "hello")).await;
                let follows = begin(get(&caller, "hello")).await;
                let passes = begin(get(&caller, "hello")).await;
                (0..2).for_each(|_| go.send(()).unwrap());
                let (leads, follows) = support::both(leads, follows).await;
                assert_eq!(
                    (leads.unwrap(), follows.unwrap()),
                    ("answer 0".to_owned(), "answer 0".to_owned())
                );
                assert_eq!(passes.await.unwrap(), "answer 1");
                assert_eq!(attempts.lock().unwrap().len(), 2);
            }
        },
    );
}

/// How a call fails that goes through a cache, and how one that does not: the same way.
fn fails_alike(answer: fn(&mut Wire, &Incoming)) {
    let peer = Peer::answering(answer);
    let target = peer.target.clone();
    on_both(move || {
        let keeping = caller_with(Channel::builder(&target).response_cache(lasting()));
        let plain = support::caller(&target);
        async move {
            let kept = get(&keeping, "hello").await.unwrap_err();
            let other = get(&plain, "hello").await.unwrap_err();
            assert_eq!((kept.code(), told(&kept)), (other.code(), told(&other)));
            let (kept, other) = (failure(&kept), failure(&other));
            assert_eq!((&kept.endpoint, kept.attempt), (&other.endpoint, other.attempt));
        }
    });
}

#[test]
fn a_cache_changes_nothing_about_how_calls_fail() {
    // Without a message.
    fails_alike(|wire, call| wire.fail(call.stream, "0", &[]));
    // With one that cannot be decoded.
    fails_alike(|wire, call| {
        wire.head(call.stream);
        wire.data(call.stream, &[0, 0, 0, 0, 1, 0xff]);
        wire.trailers(call.stream, &[("grpc-status", "0")]);
    });
}

#[test]
fn what_is_kept_may_be_too_large_for_another_caller() {
    with_cache(lasting(), |caller, _| async move {
        let mut small = caller.clone();
        small.max_decoding_message_size(10);
        assert_eq!(get(&caller, "repeat 100").await.unwrap().len(), 100);
        let status = get(&small, "repeat 100").await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(matches!(failure(&status).cause, Cause::ResponseTooLarge { .. }), "{status}");
    });
}
