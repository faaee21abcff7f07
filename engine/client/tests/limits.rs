//! The client's own rate limit: what it counts, for whom, and when there is room again.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::time::Duration;

use corelane_call::{Code, Request, Status, stream};
use corelane_client::{Caller, Cause, Channel, Idempotency};
use corelane_policy::cache::CacheConfig;
use corelane_policy::resilience::RateLimitConfig;
use support::counting::{Counting, with_peer};
use support::{CHAT, ECHO, JOIN, Running, SPLIT, Text, caller_with, failure, on_both, run, say, told};

/// So many calls, and then none for longer than any test.
fn only(calls: u32) -> RateLimitConfig {
    RateLimitConfig { calls, per: Duration::from_secs(3_600 * u64::from(calls)), burst: calls }
}

fn assert_limited(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted);
    let Cause::RateLimited { retry_after } = failure(status).cause else { panic!("{status:?}") };
    assert!(
        retry_after > Duration::from_secs(3_000) && retry_after <= Duration::from_secs(3_600),
        "{status}"
    );
    let text = format!("the client's own rate limit is reached; there is room in {retry_after:?} (after …)");
    assert_eq!(told(status), text);
    assert_eq!((failure(status).endpoint.as_deref(), failure(status).attempt), (None, 0));
}

#[test]
fn what_is_over_the_limit_fails_at_once_and_reaches_nobody() {
    let server = Running::start();
    let (target, seen) = (server.target.clone(), server.seen.clone());
    on_both(move || {
        let (caller, seen) = (caller_with(Channel::builder(&target).rate_limit(only(3))), seen.clone());
        async move {
            let before = seen.started();
            for _ in 0..3 {
                assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            }
            for _ in 0..10 {
                assert_limited(&say(&caller, "hello").await.unwrap_err());
            }
            assert_eq!(seen.started(), before + 3);
        }
    });
}

#[test]
fn calls_of_all_shapes_count() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).rate_limit(only(4)));
        async move {
            let text = || Request::new("a".to_owned());
            let texts = || Request::new(stream::iter(["a".to_owned()]));
            say(&caller, "hello").await.unwrap();
            caller.server_streaming(SPLIT, Text::new(), text()).await.unwrap();
            caller.client_streaming(JOIN, Text::new(), texts()).await.unwrap();
            caller.bidi(CHAT, Text::new(), texts()).await.unwrap();
            let refused = [
                say(&caller, "hello").await.unwrap_err(),
                caller.server_streaming(SPLIT, Text::new(), text()).await.unwrap_err(),
                caller.client_streaming(JOIN, Text::new(), texts()).await.unwrap_err(),
                caller.bidi(CHAT, Text::new(), texts()).await.unwrap_err(),
            ];
            refused.iter().for_each(assert_limited);
        }
    });
}

#[test]
fn the_limit_is_for_all_workers_together() {
    let server = Running::start();
    let shared = Channel::builder(&server.target).rate_limit(only(2)).build().unwrap();
    for _ in 0..2 {
        let shared = shared.clone();
        run(move || async move {
            assert_eq!(say(&Caller::new(shared.local()), "hello").await.unwrap(), "hello");
        });
    }
    run(move || async move {
        assert_limited(&say(&Caller::new(shared.local()), "hello").await.unwrap_err());
    });
    assert_eq!(server.seen.started(), 2);
}

#[test]
fn a_call_counts_once_however_often_it_is_tried() {
    let counting = Counting::start(|wire, call, number| match number {
        0 | 1 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "at last"),
    });
    let config = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.01s",
        "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
    with_peer(
        &counting,
        move |builder| builder.rate_limit(only(1)).default_service_config(config),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "at last");
            assert_limited(&say(&caller, "hello").await.unwrap_err());
            assert_eq!(Counting::taken(&attempts).len(), 3);
        },
    );
}

#[test]
fn there_is_room_again_when_the_failure_said_so() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let limit = RateLimitConfig { calls: 1, per: Duration::from_millis(50), burst: 1 };
        let caller = caller_with(Channel::builder(&target).rate_limit(limit));
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            // On a slow machine there may be room already.
            if let Err(status) = say(&caller, "hello").await {
                let Cause::RateLimited { retry_after } = failure(&status).cause else { panic!("{status:?}") };
                assert!(retry_after <= Duration::from_millis(50), "{status}");
                corelane_runtime::sleep(retry_after).await;
                // Nobody else calls: whoever has waited for so long is let out.
                assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            }
        }
    });
}

#[test]
fn responses_that_are_kept_cost_nothing() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let builder = Channel::builder(&target).rate_limit(only(1)).response_cache(CacheConfig::default());
        let caller = caller_with(builder);
        async move {
            let get = ECHO.with_idempotency(Idempotency::NoSideEffects);
            for _ in 0..3 {
                // Only the first goes out.
                let request = Request::new("hello".to_owned());
                assert_eq!(caller.unary(get, Text::new(), request).await.unwrap().into_inner(), "hello");
            }
        }
    });
}
