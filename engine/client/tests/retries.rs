//! What is tried again, how often and when; and what never is.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::pin::Pin;
use std::time::Duration;

use corelane_call::{Code, Request, Response, Status, stream};
use corelane_client::{Caller, Cause, Channel, Place};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::Stop;
use corelane_wire::frame::{ErrorCode, Flags, Kind};
use support::counting::{Counting, numbers, previous, with_peer};
use support::peer::{Incoming, Peer, Wire, message};
use support::{CHAT, JOIN, SPLIT, Text, caller_with, collect, failure, on_both, say, throttled, told, until};

/// Retries UNAVAILABLE up to this many times in all, after pauses of `backoff`.
fn policy(attempts: u32, backoff: &str) -> String {
    format!(
        r#"{{"methodConfig": [{{"name": [{{}}], "retryPolicy": {{"maxAttempts": {attempts}, "initialBackoff": "{backoff}",
            "maxBackoff": "{backoff}", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}}}]}}"#
    )
}

#[test]
fn attempts_go_on_until_one_succeeds_and_say_how_many_went_before() {
    let counting = Counting::start(|wire, call, number| match number {
        0 | 1 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "at last"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(3, "0.01s")),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "at last");
            assert_eq!(previous(&attempts), numbers([None, Some("1"), Some("2")]));
        },
    );
}

#[test]
fn attempts_end_at_the_policys_number_and_the_error_says_so() {
    let counting =
        Counting::start(|wire, call, _| wire.fail(call.stream, "14", &[("grpc-message", "not now")]));
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(3, "0.01s")),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unavailable, "not now"));
            let failure = failure(&status);
            assert_eq!((failure.attempt, failure.stop), (3, Some(Stop::Attempts)));
            assert_eq!(Counting::taken(&attempts).len(), 3);
        },
    );
}

#[test]
fn the_text_of_an_error_has_the_attempt_and_why_there_was_no_other() {
    let counting = Counting::start(|wire, call, _| {
        wire.headers(call.stream, &[(":status", "503")], Flags::END_STREAM);
    });
    let address = counting.peer.address.clone();
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")),
        move |caller, _| {
            let address = address.clone();
            async move {
                let status = say(&caller, "hello").await.unwrap_err();
                let text = format!(
                    "HTTP status 503: what answered is no gRPC server, but a proxy perhaps (endpoint {address}, attempt 2, \
                     after …, not tried again: all attempts that the policy allows were made)"
                );
                assert_eq!(told(&status), text);
            }
        },
    );
}

#[test]
fn other_codes_are_not_tried_again() {
    let counting = Counting::start(|wire, call, _| wire.fail(call.stream, "13", &[]));
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, "0.01s")),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::Internal, 1));
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

#[test]
fn a_program_that_wants_no_retries_gets_none() {
    let counting = Counting::start(|wire, call, _| wire.fail(call.stream, "14", &[]));
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, "0.01s")).disable_retries(),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap_err().code(), Code::Unavailable);
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

#[test]
fn the_server_says_when_to_try_again() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.fail(call.stream, "14", &[("grpc-retry-pushback-ms", "1")]),
        _ => wire.answer(call.stream, "now"),
    });
    with_peer(
        &counting,
        // The policy's own pause would outlast any test.
        |builder| builder.default_service_config(policy(2, "3600s")),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "now");
            assert_eq!(Counting::taken(&attempts).len(), 2);
        },
    );
}

#[test]
fn a_server_that_says_never_is_obeyed() {
    for word in ["-1", "never", "99999999999999999999"] {
        let counting = Counting::start(move |wire, call, _| {
            wire.fail(call.stream, "14", &[("grpc-retry-pushback-ms", word)]);
        });
        with_peer(
            &counting,
            |builder| builder.default_service_config(policy(5, "0.01s")),
            |caller, attempts| async move {
                let status = say(&caller, "hello").await.unwrap_err();
                assert_eq!(failure(&status).stop, Some(Stop::Pushback));
                assert_eq!(Counting::taken(&attempts).len(), 1);
            },
        );
    }
}

#[test]
fn a_server_most_of_whose_calls_fail_gets_no_retries() {
    let counting = Counting::start(|wire, call, _| wire.fail(call.stream, "14", &[]));
    with_peer(
        &counting,
        |builder| builder.default_service_config(throttled(4, "0.1", &policy(5, "0.01s"))),
        |caller, attempts| async move {
            // Four tokens: the first failure leaves three, the second two, which is not more than half.
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(failure(&status).stop, Some(Stop::Throttled));
            assert_eq!(Counting::taken(&attempts).len(), 2);
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).stop, failure(&status).attempt), (Some(Stop::Throttled), 1));
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

/// It cannot be retried once the response has begun, and is a failure all the same.
#[test]
fn a_server_that_fails_behind_a_head_gets_no_retries_either() {
    let counting = Counting::start(|wire, call, number| {
        if number == 0 {
            wire.head(call.stream);
            wire.trailers(call.stream, &[("grpc-status", "14")]);
        } else {
            wire.fail(call.stream, "14", &[]);
        }
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(throttled(4, "0.1", &policy(5, "0.01s"))),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).stop, failure(&status).attempt), (None, 1));
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).stop, failure(&status).attempt), (Some(Stop::Throttled), 1));
            assert_eq!(Counting::taken(&attempts).len(), 2);
        },
    );
}

#[test]
fn a_stream_of_responses_counts_for_the_throttle_as_it_ends() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => {
            wire.head(call.stream);
            wire.trailers(call.stream, &[("grpc-status", "14")]);
        }
        1 | 4 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "yes"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(throttled(4, "1", &policy(5, "0.01s"))),
        |caller, attempts| async move {
            let stream = async || {
                let request = Request::new("hello".to_owned());
                collect(caller.server_streaming(SPLIT, Text::new(), request).await.unwrap().into_inner())
                    .await
            };
            // Four tokens: the stream leaves three, and the call two, which is not more than half.
            assert_eq!(stream().await.unwrap_err().code(), Code::Unavailable);
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).stop, failure(&status).attempt), (Some(Stop::Throttled), 1));
            // Two streams that end well bring two.
            for _ in 0..2 {
                assert_eq!(stream().await.unwrap(), ["yes"]);
            }
            assert_eq!(say(&caller, "hello").await.unwrap(), "yes");
            assert_eq!(previous(&attempts), numbers([None, None, None, None, None, Some("1")]));
        },
    );
}

#[test]
fn what_cannot_be_sent_costs_the_server_no_retries() {
    let counting = Counting::start(|wire, call, _| match call.field("grpc-previous-rpc-attempts") {
        None => wire.fail(call.stream, "8", &[]),
        Some(_) => wire.answer(call.stream, "yes"),
    });
    with_peer(
        &counting,
        |builder| {
            let config = throttled(4, "0.1", &policy(2, "0.01s"));
            builder.default_service_config(config.replace("UNAVAILABLE", "RESOURCE_EXHAUSTED"))
        },
        |mut caller, _| async move {
            caller.max_encoding_message_size(10);
            for _ in 0..4 {
                let status = say(&caller, "0123456789").await.unwrap_err();
                assert!(matches!(failure(&status).cause, Cause::RequestTooLarge), "{status}");
            }
            assert_eq!(say(&caller, "hello").await.unwrap(), "yes");
        },
    );
}

#[test]
fn calls_that_succeed_earn_retries_back() {
    let counting = Counting::start(|wire, call, number| match number {
        0 | 1 | 4 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "yes"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(throttled(4, "1", &policy(5, "0.01s"))),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).stop, failure(&status).attempt), (Some(Stop::Throttled), 2));
            // Two tokens are left, and each success brings one.
            for _ in 0..3 {
                assert_eq!(say(&caller, "hello").await.unwrap(), "yes");
            }
            assert_eq!(previous(&attempts), numbers([None, Some("1"), None, None, None, Some("1")]));
        },
    );
}

#[test]
fn a_request_that_is_too_large_is_not_tried_again() {
    let counting = Counting::start(|wire, call, _| wire.answer(call.stream, "yes"));
    with_peer(
        &counting,
        |builder| {
            let config = policy(3, "0.01s").replace("UNAVAILABLE", "RESOURCE_EXHAUSTED");
            builder.default_service_config(config)
        },
        |mut caller, _| async move {
            caller.max_encoding_message_size(10);
            let status = say(&caller, "0123456789").await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::RequestTooLarge), "{status}");
            assert_eq!((failure(&status).attempt, failure(&status).stop), (1, None));
        },
    );
}

#[test]
fn how_long_a_call_took_is_how_long_all_its_attempts_took() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.fail(call.stream, "14", &[("grpc-retry-pushback-ms", "30")]),
        _ => wire.fail(call.stream, "14", &[]),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).attempt, Counting::taken(&attempts).len()), (2, 2));
            assert!(failure(&status).elapsed >= Duration::from_millis(30), "{:?}", failure(&status));
        },
    );
}

#[test]
fn what_the_server_refused_is_sent_again_once_without_any_policy() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.reset(call.stream, ErrorCode::REFUSED_STREAM),
        _ => wire.answer(call.stream, "welcome"),
    });
    with_peer(
        &counting,
        |builder| builder.disable_retries(),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "welcome");
            assert_eq!(previous(&attempts), numbers([None, None]));
        },
    );
    let refusing = Counting::start(|wire, call, _| wire.reset(call.stream, ErrorCode::REFUSED_STREAM));
    with_peer(
        &refusing,
        |builder| builder,
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::Refused));
            assert_eq!(Counting::taken(&attempts).len(), 2);
        },
    );
}

#[test]
fn what_came_too_late_for_a_server_that_goes_away_is_sent_on_another_connection() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.goaway(0, ErrorCode::NO_ERROR, b""),
        _ => wire.answer(call.stream, "welcome"),
    });
    with_peer(
        &counting,
        |builder| builder,
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "welcome");
            let attempts = Counting::taken(&attempts);
            assert_eq!(attempts.len(), 2);
            assert_ne!(attempts[0].connection, attempts[1].connection);
            assert_eq!(attempts[1].previous, None);
        },
    );
}

/// Whatever may have been executed: a reset, a lost connection, a status.
fn fates() -> [fn(&mut Wire, &Incoming); 3] {
    [
        |wire, call| wire.reset(call.stream, ErrorCode::INTERNAL_ERROR),
        |wire, _| wire.hang_up(),
        |wire, call| wire.fail(call.stream, "14", &[]),
    ]
}

#[test]
fn what_may_have_been_executed_is_never_sent_again_without_a_policy() {
    for fate in fates() {
        let counting = Counting::start(move |wire, call, _| fate(wire, call));
        with_peer(
            &counting,
            |builder| builder,
            |caller, attempts| async move {
                let status = say(&caller, "hello").await.unwrap_err();
                assert_eq!(failure(&status).attempt, 1);
                let words = stream::iter(["a", "b"].map(str::to_owned));
                assert!(caller.client_streaming(JOIN, Text::new(), Request::new(words)).await.is_err());
                assert_eq!(Counting::taken(&attempts).len(), 2);
            },
        );
    }
}

#[test]
fn a_lost_connection_is_tried_again_where_the_policy_says_so() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.hang_up(),
        _ => wire.answer(call.stream, "again"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "again");
            assert_eq!(previous(&attempts), numbers([None, Some("1")]));
        },
    );
}

/// A policy that gives each attempt a time of its own, and names no code.
fn impatient(attempts: u32) -> String {
    let codes = r#""retryableStatusCodes": ["UNAVAILABLE"]"#;
    policy(attempts, "0.01s").replace(codes, r#""perAttemptRecvTimeout": "0.02s""#)
}

#[test]
fn an_attempt_that_is_not_answered_in_its_own_time_is_tried_again_without_any_code() {
    let counting = Counting::start(|_, _, _| ());
    with_peer(
        &counting,
        |builder| builder.default_service_config(impatient(3)),
        |caller, attempts| async move {
            let words = || Request::new(stream::iter(["a".to_owned()]));
            let calls: [Pin<Box<dyn Future<Output = Status>>>; 4] = [
                Box::pin(async { say(&caller, "hello").await.unwrap_err() }),
                Box::pin(async { caller.client_streaming(JOIN, Text::new(), words()).await.unwrap_err() }),
                Box::pin(async {
                    let request = Request::new(String::new());
                    caller.server_streaming(SPLIT, Text::new(), request).await.unwrap_err()
                }),
                Box::pin(async { caller.bidi(CHAT, Text::new(), words()).await.unwrap_err() }),
            ];
            for call in calls {
                let status = call.await;
                let failure = failure(&status);
                assert!(matches!(failure.cause, Cause::Deadline(Place::Attempt)), "{status:?}");
                assert_eq!((status.code(), failure.attempt), (Code::DeadlineExceeded, 3));
                assert_eq!(failure.stop, Some(Stop::Attempts));
                until("all attempts", || attempts.lock().unwrap().len() == 3).await;
                assert_eq!(previous(&attempts), numbers([None, Some("1"), Some("2")]));
            }
        },
    );
}

#[test]
fn attempts_that_are_not_answered_in_their_own_time_use_the_servers_retries_up() {
    let counting = Counting::start(|_, _, _| ());
    with_peer(
        &counting,
        |builder| builder.default_service_config(throttled(4, "0.1", &impatient(5))),
        |caller, _| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).stop, failure(&status).attempt), (Some(Stop::Throttled), 2));
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).stop, failure(&status).attempt), (Some(Stop::Throttled), 1));
        },
    );
}

#[test]
fn a_response_that_has_begun_commits_the_call() {
    let counting = Counting::start(|wire, call, _| {
        wire.head(call.stream);
        wire.data(call.stream, &message("half of the answer"));
        wire.trailers(call.stream, &[("grpc-status", "14")]);
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, "0.01s")),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::Unavailable, 1));
            let requests = stream::iter(["a".to_owned()]);
            let status =
                caller.client_streaming(JOIN, Text::new(), Request::new(requests)).await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::Unavailable, 1));
            let words =
                caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())).await.unwrap();
            let status = collect(words.into_inner()).await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::Unavailable, 1));
            assert_eq!(Counting::taken(&attempts).len(), 3);
        },
    );
}

/// A peer that fails each first attempt when it has read so much of the request, and answers the second with all that it read.
fn reading(refuse: fn(&mut Wire, &Incoming)) -> Counting {
    Counting::start(move |wire, call, number| {
        let Some(words) = wire.request(call) else { return };
        match number {
            0 => refuse(wire, call),
            _ => wire.answer(call.stream, &words.join(" ")),
        }
    })
}

async fn join(caller: &Caller, words: impl IntoIterator<Item = String> + 'static) -> Result<String, Status> {
    let requests = Request::new(stream::iter(words));
    caller.client_streaming(JOIN, Text::new(), requests).await.map(Response::into_inner)
}

#[test]
fn streams_of_requests_are_sent_again_completely() {
    let refusals: [fn(&mut Wire, &Incoming); 3] = [
        |wire, call| wire.fail(call.stream, "14", &[]),
        |wire, call| wire.reset(call.stream, ErrorCode::REFUSED_STREAM),
        |wire, _| wire.hang_up(),
    ];
    for refuse in refusals {
        let counting = reading(refuse);
        with_peer(
            &counting,
            |builder| builder.default_service_config(policy(2, "0.01s")),
            |caller, attempts| async move {
                let words: Vec<String> = (0..100).map(|n| n.to_string()).collect();
                assert_eq!(join(&caller, words.clone()).await.unwrap(), words.join(" "));
                assert_eq!(Counting::taken(&attempts).len(), 2);
            },
        );
    }
}

#[test]
fn a_stream_that_is_refused_half_way_is_sent_again_from_its_beginning() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => {
            // The first message is there, the last is not.
            while wire.next().is_some_and(|(header, _)| header.kind != Kind::DATA) {}
            wire.fail(call.stream, "14", &[]);
        }
        _ => {
            let words = wire.request(call).unwrap_or_default();
            wire.answer(call.stream, &words.join(" "));
        }
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")),
        |caller, attempts| async move {
            let (sender, words) = stream::channel(1);
            let call = caller.client_streaming(JOIN, Text::new(), Request::new(words));
            let feed = async {
                sender.send("one".to_owned()).await.unwrap();
                until("the second attempt", || attempts.lock().unwrap().len() == 2).await;
                sender.send("two".to_owned()).await.unwrap();
                drop(sender);
            };
            let joined = support::beside(call, feed).await;
            assert_eq!(joined.unwrap().into_inner(), "one two");
        },
    );
}

#[test]
fn a_conversation_is_begun_again_until_it_is_answered() {
    let counting = reading(|wire, call| wire.fail(call.stream, "14", &[]));
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")),
        |caller, _| async move {
            let words = Request::new(stream::iter(["a", "b"].map(str::to_owned)));
            let answers = caller.bidi(CHAT, Text::new(), words).await.unwrap().into_inner();
            assert_eq!(collect(answers).await.unwrap(), ["a b"]);
        },
    );
}

#[test]
fn more_requests_than_are_kept_commit_the_call() {
    let counting = reading(|wire, call| wire.fail(call.stream, "14", &[]));
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")).retry_buffer_bytes(100),
        |caller, attempts| async move {
            let large = || (0..4).map(|_| "x".repeat(40));
            let status = join(&caller, large()).await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::Unavailable, 1));
            assert_eq!(Counting::taken(&attempts).len(), 1);
            let small: Vec<String> = vec!["x".repeat(40), "y".repeat(40)];
            assert_eq!(join(&caller, small.clone()).await.unwrap(), small.join(" "));
            assert_eq!(Counting::taken(&attempts).len(), 2);
        },
    );
}

#[test]
fn another_attempt_goes_to_another_endpoint() {
    let failing = Counting::start(|wire, call, _| wire.fail(call.stream, "14", &[]));
    let working = Peer::answering(|wire, call| wire.answer(call.stream, "yes"));
    let target = format!("ipv4:{},{}", failing.peer.address, working.address);
    on_both(move || {
        let builder = Channel::builder(&target)
            .balancer(BalancerConfig::RoundRobin)
            .default_service_config(policy(2, "0.001s"));
        let caller = caller_with(builder);
        async move {
            until("both", || {
                caller.channel().pools().iter().filter(|(_, pool)| pool.open == 1).count() == 2 || {
                    caller.channel().wake();
                    false
                }
            })
            .await;
            for _ in 0..20 {
                assert_eq!(say(&caller, "hello").await.unwrap(), "yes");
            }
        }
    });
    assert!(Counting::taken(&failing.attempts).len() >= 10);
}
