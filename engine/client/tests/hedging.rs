//! Copies of one unary call, sent before the first has failed (gRFC A6): when the next goes out, which answer counts, and what becomes of
//! the others.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::time::Duration;

use corelane_call::{Code, Request};
use corelane_client::{Cause, Channel};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::Stop;
use corelane_wire::frame::ErrorCode;
use support::counting::{Counting, numbers, previous, resets, with_peer};
use support::hedging::{NEVER, policy};
use support::peer::Peer;
use support::{ECHO, Running, Text, begin, beside, caller_with, failure, on_both, say, throttled, until};

#[test]
fn the_first_good_answer_counts_and_the_other_copies_are_cancelled() {
    let counting = Counting::start(|wire, call, number| {
        if number == 1 {
            wire.answer(call.stream, "quick");
        }
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "quick");
            until("the reset", || resets(&attempts) == [Some(ErrorCode::CANCEL), None]).await;
            assert_eq!(previous(&attempts), numbers([None, Some("1")]));
            assert_eq!(caller.channel().pools()[0].1.opened, 1);
        },
    );
}

#[test]
fn no_copy_goes_out_before_its_time() {
    let counting = Counting::start(|wire, call, number| {
        if number > 0 {
            wire.answer(call.stream, "another call");
        }
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, NEVER)),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let slow = begin(say(&caller, "slow")).await;
            let others = async {
                for _ in 0..10 {
                    assert_eq!(say(&caller, "hello").await.unwrap(), "another call");
                }
            };
            beside(others, slow).await;
            assert_eq!(previous(&attempts), vec![None; 11]);
        },
    );
}

#[test]
fn there_are_as_many_copies_as_the_policy_says_and_never_more_than_five() {
    for (attempts_max, copies) in [(3, 3), (100, 5)] {
        let counting = Counting::start(move |wire, call, number| {
            if number == copies - 1 {
                wire.answer(call.stream, "the last");
            }
        });
        with_peer(
            &counting,
            move |builder| builder.default_service_config(policy(attempts_max, "0s")),
            move |caller, attempts| async move {
                assert_eq!(say(&caller, "hello").await.unwrap(), "the last");
                // What is sent after the last copy is seen after it.
                let mut expected = vec![Some(ErrorCode::CANCEL); copies];
                expected[copies - 1] = None;
                until("the resets", || resets(&attempts) == expected).await;
                let expected = [None, Some("1"), Some("2"), Some("3"), Some("4")];
                assert_eq!(previous(&attempts), numbers(expected)[..copies]);
            },
        );
    }
}

#[test]
fn a_failure_that_is_not_fatal_sends_the_next_copy_at_once() {
    let counting = Counting::start(|wire, call, number| match number {
        0 | 1 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "at last"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(3, NEVER)),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "at last");
            assert_eq!(previous(&attempts), numbers([None, Some("1"), Some("2")]));
        },
    );
}

#[test]
fn any_other_failure_ends_the_call_and_the_copies_in_flight() {
    let counting = Counting::start(|wire, call, number| {
        if number == 1 {
            wire.fail(call.stream, "3", &[("grpc-message", "nonsense")]);
        }
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0s")),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "nonsense"));
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Server), "{failure:?}");
            assert_eq!((failure.attempt, failure.stop), (2, None));
            until("the reset", || resets(&attempts) == [Some(ErrorCode::CANCEL), None]).await;
        },
    );
}

#[test]
fn when_all_copies_fail_the_last_failure_is_the_calls_and_says_that_there_was_no_other() {
    let counting = Counting::start(|wire, call, number| {
        wire.fail(call.stream, "14", &[("grpc-message", ["first", "second"][number])]);
    });
    let address = counting.peer.address.clone();
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, NEVER)),
        move |caller, attempts| {
            let address = address.clone();
            async move {
                let status = say(&caller, "hello").await.unwrap_err();
                assert_eq!((status.code(), status.message()), (Code::Unavailable, "second"));
                let failure = failure(&status);
                assert_eq!(failure.endpoint.as_deref(), Some(&*address));
                assert_eq!((failure.attempt, failure.stop), (2, Some(Stop::Attempts)));
                assert_eq!(Counting::taken(&attempts).len(), 2);
            }
        },
    );
}

#[test]
fn a_server_that_says_never_gets_no_further_copy() {
    let counting =
        Counting::start(|wire, call, _| wire.fail(call.stream, "14", &[("grpc-retry-pushback-ms", "-1")]));
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, NEVER)),
        |caller, attempts| async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::Unavailable, 1));
            assert_eq!(failure(&status).stop, Some(Stop::Pushback));
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

#[test]
fn the_server_says_when_the_next_copy_may_come() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.fail(call.stream, "14", &[("grpc-retry-pushback-ms", "1")]),
        _ => wire.answer(call.stream, "now"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, NEVER)),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "now");
            assert_eq!(previous(&attempts), numbers([None, Some("1")]));
        },
    );
    // Without a push-back it would be sent at once.
    let patient = Counting::start(|wire, call, number| match number {
        0 => wire.fail(call.stream, "14", &[("grpc-retry-pushback-ms", "3600000")]),
        _ => wire.answer(call.stream, "another call"),
    });
    with_peer(
        &patient,
        |builder| builder.default_service_config(policy(2, NEVER)),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let pushed = begin(say(&caller, "hello")).await;
            let others = async {
                for _ in 0..10 {
                    assert_eq!(say(&caller, "hello").await.unwrap(), "another call");
                }
            };
            beside(others, pushed).await;
            assert_eq!(previous(&attempts), vec![None; 11]);
        },
    );
}

#[test]
fn a_server_most_of_whose_calls_fail_gets_one_copy_of_each() {
    let counting = Counting::start(|wire, call, number| match number {
        0..=2 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "alone"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(throttled(4, "0.1", &policy(5, NEVER))),
        |caller, attempts| async move {
            // Four tokens: the first failure leaves three, the second two, which is not more than half.
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).attempt, failure(&status).stop), (2, Some(Stop::Throttled)));
            assert_eq!(attempts.lock().unwrap().len(), 2);
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((failure(&status).attempt, failure(&status).stop), (1, Some(Stop::Throttled)));
            assert_eq!(say(&caller, "hello").await.unwrap(), "alone");
            assert_eq!(previous(&attempts), numbers([None, Some("1"), None, None]));
        },
    );
}

#[test]
fn a_throttled_call_waits_for_the_one_copy_it_has() {
    let counting = Counting::start(|wire, call, number| match number {
        0..=1 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "alone"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(throttled(2, "0.1", &policy(2, "0s"))),
        |caller, attempts| async move {
            // Both copies are out at once. Each costs a token, and then there is none left.
            assert_eq!(say(&caller, "hello").await.unwrap_err().code(), Code::Unavailable);
            assert_eq!(attempts.lock().unwrap().len(), 2);
            assert_eq!(say(&caller, "hello").await.unwrap(), "alone");
            assert_eq!(previous(&attempts), numbers([None, Some("1"), None]));
        },
    );
}

#[test]
fn what_a_server_has_refused_is_sent_again_and_is_no_copy() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.reset(call.stream, ErrorCode::REFUSED_STREAM),
        _ => wire.answer(call.stream, "welcome"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, NEVER)),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "welcome");
            assert_eq!(previous(&attempts), numbers([None, None]));
        },
    );
}

#[test]
fn a_program_that_wants_no_retries_sends_no_copies() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "a copy"),
    });
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, "0s")).disable_retries(),
        |caller, attempts| async move {
            assert_eq!(say(&caller, "hello").await.unwrap_err().code(), Code::Unavailable);
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

#[test]
fn each_copy_goes_to_another_endpoint() {
    let silent = Counting::start(|_, _, _| ());
    let working = Peer::answering(|wire, call| wire.answer(call.stream, "yes"));
    let target = format!("ipv4:{},{}", silent.peer.address, working.address);
    let attempts = silent.attempts.clone();
    on_both(move || {
        let builder = Channel::builder(&target)
            .balancer(BalancerConfig::RoundRobin)
            .default_service_config(policy(2, "0s"));
        let (caller, attempts) = (caller_with(builder), attempts.clone());
        async move {
            Counting::taken(&attempts);
            until("both", || {
                caller.channel().wake();
                caller.channel().pools().iter().filter(|(_, pool)| pool.open == 1).count() == 2
            })
            .await;
            for _ in 0..20 {
                assert_eq!(say(&caller, "hello").await.unwrap(), "yes");
            }
            let expected = vec![Some(ErrorCode::CANCEL); 20];
            until("the resets", || resets(&attempts) == expected).await;
        }
    });
}

/// The first copy has the only stream, and nobody may wait for it.
#[test]
fn a_copy_for_which_there_is_no_room_does_not_end_the_others() {
    let server = Running::narrow(1);
    let target = server.target.clone();
    on_both(move || {
        let builder = Channel::builder(&target).connections(1, 1).pending_calls_max(0);
        let caller = caller_with(builder.default_service_config(policy(2, "0s")));
        async move {
            caller.channel().ready().await.unwrap();
            // The server's SETTINGS have come, and with them the number of streams.
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            assert_eq!(caller.channel().pools()[0].1.misses, 1);
        }
    });
}

#[test]
fn a_call_that_is_dropped_takes_all_its_copies_with_it() {
    let counting = Counting::start(|_, _, _| ());
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(3, "0s")),
        |caller, attempts| async move {
            let call = say(&caller, "hello");
            beside(until("three copies", || attempts.lock().unwrap().len() == 3), call).await;
            until("the resets", || resets(&attempts) == [Some(ErrorCode::CANCEL); 3]).await;
        },
    );
}

#[test]
fn the_deadline_is_the_calls_and_not_each_copys() {
    let counting = Counting::start(|_, _, _| ());
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(3, "0s")),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let mut request = Request::new("hello".to_owned());
            request.set_timeout(Duration::from_millis(200));
            let status = caller.unary(ECHO, Text::new(), request).await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert!(matches!(failure(&status).cause, Cause::Deadline(_)), "{status}");
            until("the resets", || resets(&attempts) == [Some(ErrorCode::CANCEL); 3]).await;
        },
    );
}

#[test]
fn no_copy_goes_out_after_the_deadline() {
    let counting = Counting::start(|_, _, _| ());
    with_peer(
        &counting,
        |builder| {
            builder.default_service_config(policy(5, NEVER).replace("UNAVAILABLE", "DEADLINE_EXCEEDED"))
        },
        |caller, _| async move {
            caller.channel().ready().await.unwrap();
            let mut request = Request::new("hello".to_owned());
            request.set_timeout(Duration::from_millis(50));
            let status = caller.unary(ECHO, Text::new(), request).await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::DeadlineExceeded, 1));
        },
    );
}
