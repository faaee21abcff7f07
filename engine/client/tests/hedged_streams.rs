//! Copies of calls with a stream in either direction (gRFC A6): which of them goes on, and what becomes of the others.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use corelane_call::{Code, Request, Status, stream};
use corelane_client::{Caller, Cause, Channel};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::Stop;
use corelane_wire::frame::ErrorCode;
use support::counting::{Attempt, Counting, numbers, previous, resets, with_peer};
use support::hedging::{
    CANCELLED, NEVER, all_ended, answer_each, chat, join, policy, requests, split, words,
};
use support::peer::{Wire, message};
use support::{CHAT, Running, Seen, Text, beside, both, caller_with, failure, on_both, until};

type Answers = Pin<Box<dyn Future<Output = Result<Vec<String>, Status>>>>;

/// A call of each kind that has a stream, with `a` for a request.
const KINDS: [fn(Caller) -> Answers; 3] = [
    |caller| Box::pin(async move { Ok(vec![join(&caller, stream::iter(words(["a"]))).await?]) }),
    |caller| Box::pin(async move { split(&caller, "a").await }),
    |caller| Box::pin(async move { chat(&caller, stream::iter(words(["a"]))).await }),
];

/// Has each of these kinds of call made to a peer that reacts so, under this policy.
fn with_each<F>(
    kinds: &[fn(Caller) -> Answers],
    config: &str,
    react: fn(&mut Wire, &[Attempt], usize),
    test: impl Fn(Answers, Arc<Mutex<Vec<Attempt>>>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let counting = Counting::reading(|_| false, react);
    for &kind in kinds {
        let (test, config) = (test.clone(), config.to_owned());
        with_peer(
            &counting,
            move |builder| builder.default_service_config(config.clone()),
            move |caller, attempts| {
                let call = kind(caller.clone());
                let test = test(call, attempts);
                async move {
                    caller.channel().ready().await.unwrap();
                    test.await;
                }
            },
        );
    }
}

#[test]
fn the_first_copy_that_is_answered_goes_on_and_the_others_are_cancelled() {
    with_each(
        &KINDS,
        &policy(3, "0s"),
        |wire, attempts, _| {
            if all_ended(attempts, 3) {
                wire.answer(attempts[1].stream, "quick");
            }
        },
        |call, attempts| async move {
            assert_eq!(call.await.unwrap(), ["quick"]);
            until("the resets", || resets(&attempts) == [CANCELLED, None, CANCELLED]).await;
            assert_eq!(requests(&attempts), [["a"]; 3]);
            assert_eq!(previous(&attempts), numbers([None, Some("1"), Some("2")]));
        },
    );
}

#[test]
fn a_stream_without_an_answer_is_a_good_one() {
    with_each(
        &KINDS[1..],
        &policy(2, "0s"),
        |wire, attempts, _| {
            if all_ended(attempts, 2) {
                wire.fail(attempts[1].stream, "0", &[]);
            }
        },
        |call, attempts| async move {
            assert_eq!(call.await.unwrap(), words([]));
            until("the reset", || resets(&attempts) == [CANCELLED, None]).await;
        },
    );
}

#[test]
fn a_failure_that_is_not_fatal_sends_the_next_copy_at_once() {
    with_each(
        &KINDS,
        &policy(3, NEVER),
        |wire, attempts, number| match number {
            0 | 1 if attempts[number].ended => wire.fail(attempts[number].stream, "14", &[]),
            _ => answer_each(wire, attempts, number),
        },
        |call, attempts| async move {
            assert_eq!(call.await.unwrap(), ["all"]);
            assert_eq!(requests(&attempts), [["a"]; 3]);
            assert_eq!(previous(&attempts), numbers([None, Some("1"), Some("2")]));
        },
    );
}

#[test]
fn a_failure_that_is_not_fatal_leaves_the_other_copies_alone() {
    with_each(
        &KINDS,
        &policy(2, "0s"),
        |wire, attempts, _| {
            if all_ended(attempts, 2) {
                wire.fail(attempts[0].stream, "14", &[]);
                wire.answer(attempts[1].stream, "the other");
            }
        },
        |call, attempts| async move {
            assert_eq!(call.await.unwrap(), ["the other"]);
            assert_eq!(resets(&attempts), [None, None]);
        },
    );
}

#[test]
fn any_other_failure_ends_the_call_and_the_copies_in_flight() {
    with_each(
        &KINDS,
        &policy(3, "0s"),
        |wire, attempts, _| {
            if all_ended(attempts, 3) {
                wire.fail(attempts[1].stream, "3", &[("grpc-message", "nonsense")]);
            }
        },
        |call, attempts| async move {
            let status = call.await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "nonsense"));
            assert_eq!((failure(&status).attempt, failure(&status).stop), (2, None));
            until("the resets", || resets(&attempts) == [CANCELLED, None, CANCELLED]).await;
        },
    );
}

#[test]
fn when_all_copies_fail_the_last_failure_is_the_calls() {
    with_each(
        &KINDS,
        &policy(2, NEVER),
        |wire, attempts, number| {
            if attempts[number].ended {
                let text = ["first", "second"][number];
                wire.fail(attempts[number].stream, "14", &[("grpc-message", text)]);
            }
        },
        |call, attempts| async move {
            let status = call.await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unavailable, "second"));
            assert_eq!((failure(&status).attempt, failure(&status).stop), (2, Some(Stop::Attempts)));
            assert_eq!(Counting::taken(&attempts).len(), 2);
        },
    );
}

#[test]
fn a_stream_that_fails_after_its_beginning_is_the_answer() {
    with_each(
        &KINDS[1..],
        &policy(2, NEVER),
        |wire, attempts, number| {
            if attempts[number].ended {
                wire.head(attempts[number].stream);
                wire.data(attempts[number].stream, &message("half of the answer"));
                wire.trailers(attempts[number].stream, &[("grpc-status", "14")]);
            }
        },
        |call, attempts| async move {
            let status = call.await.unwrap_err();
            assert_eq!((status.code(), failure(&status).attempt), (Code::Unavailable, 1));
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

#[test]
fn a_server_that_says_never_gets_no_further_copy() {
    with_each(
        &KINDS,
        &policy(5, NEVER),
        |wire, attempts, number| {
            if attempts[number].ended {
                wire.fail(attempts[number].stream, "14", &[("grpc-retry-pushback-ms", "-1")]);
            }
        },
        |call, attempts| async move {
            let status = call.await.unwrap_err();
            assert_eq!((status.code(), failure(&status).stop), (Code::Unavailable, Some(Stop::Pushback)));
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

#[test]
fn the_server_says_when_the_next_copy_may_come() {
    with_each(
        &KINDS,
        &policy(2, NEVER),
        |wire, attempts, number| match number {
            0 if attempts[0].ended => wire.fail(attempts[0].stream, "14", &[("grpc-retry-pushback-ms", "1")]),
            _ => answer_each(wire, attempts, number),
        },
        |call, attempts| async move {
            assert_eq!(call.await.unwrap(), ["all"]);
            assert_eq!(previous(&attempts), numbers([None, Some("1")]));
        },
    );
}

#[test]
fn what_a_server_has_refused_is_sent_again_and_is_no_copy() {
    with_each(
        &KINDS,
        &policy(2, NEVER),
        |wire, attempts, number| match number {
            0 if attempts[0].ended => wire.reset(attempts[0].stream, ErrorCode::REFUSED_STREAM),
            _ => answer_each(wire, attempts, number),
        },
        |call, attempts| async move {
            assert_eq!(call.await.unwrap(), ["all"]);
            assert_eq!(requests(&attempts), [["a"]; 2]);
            assert_eq!(previous(&attempts), numbers([None, None]));
        },
    );
}

#[test]
fn a_program_that_wants_no_retries_sends_no_copies() {
    let counting = Counting::reading(|_| false, answer_each);
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, "0s")).disable_retries(),
        |caller, attempts| async move {
            for kind in KINDS {
                assert_eq!(kind(caller.clone()).await.unwrap(), ["all"]);
            }
            assert_eq!(previous(&attempts), [None, None, None]);
        },
    );
}

#[test]
fn a_call_that_is_dropped_takes_all_its_copies_with_it() {
    with_each(
        &KINDS,
        &policy(3, "0s"),
        |_, _, _| (),
        |call, attempts| async move {
            beside(until("three copies", || attempts.lock().unwrap().len() == 3), call).await;
            until("the resets", || resets(&attempts) == [CANCELLED; 3]).await;
        },
    );
}

#[test]
fn the_deadline_is_the_calls_and_ends_all_copies() {
    with_each(
        &KINDS,
        &policy(3, "0s").replace("20s", "0.2s"),
        |_, _, _| (),
        |call, attempts| async move {
            let status = call.await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::Deadline(_)), "{status}");
            until("the resets", || resets(&attempts) == [CANCELLED; 3]).await;
        },
    );
}

#[test]
fn each_copy_goes_to_another_endpoint() {
    let silent = Counting::reading(|_| false, |_, _, _| ());
    let working = Counting::reading(|_| false, answer_each);
    let target = format!("ipv4:{},{}", silent.peer.address, working.peer.address);
    let attempts = silent.attempts.clone();
    on_both(move || {
        // Left to itself it would send many a call to the silent one twice.
        let builder = Channel::builder(&target)
            .balancer(BalancerConfig::Random)
            .default_service_config(policy(2, "0s"));
        let (caller, attempts) = (caller_with(builder), attempts.clone());
        async move {
            Counting::taken(&attempts);
            connected(&caller).await;
            for kind in KINDS.into_iter().cycle().take(24) {
                assert_eq!(kind(caller.clone()).await.unwrap(), ["all"]);
            }
            until("the resets", || resets(&attempts) == [CANCELLED; 24]).await;
        }
    });
}

/// Waits for a connection to each of two endpoints.
async fn connected(caller: &Caller) {
    until("both connections", || {
        caller.channel().wake();
        caller.channel().pools().iter().filter(|(_, pool)| pool.open == 1).count() == 2
    })
    .await;
}

/// Makes a call in two copies, each to a server of ours.
fn with_servers<F>(test: impl Fn(Caller, [Arc<Seen>; 2]) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    on_both(move || {
        let servers = [Running::start(), Running::start()];
        let target = format!("ipv4:{},{}", servers[0].address(), servers[1].address());
        let builder = Channel::builder(&target)
            .balancer(BalancerConfig::RoundRobin)
            .default_service_config(policy(2, "0s"));
        let caller = caller_with(builder);
        let seen = [servers[0].seen.clone(), servers[1].seen.clone()];
        let test = test(caller.clone(), seen.clone());
        async move {
            connected(&caller).await;
            test.await;
            let is_over = |seen: &Arc<Seen>| seen.started() == seen.dropped();
            until("the end of all handlers", || seen.iter().all(is_over)).await;
            drop(servers);
        }
    });
}

#[test]
fn servers_join_the_words_of_both_copies_and_one_answer_is_heard() {
    with_servers(|caller, seen| async move {
        let (sender, words) = stream::channel(1);
        let feed = async {
            sender.send("one".to_owned()).await.unwrap();
            until("both handlers", || seen.iter().all(|seen| seen.started() == 1)).await;
            sender.send("two".to_owned()).await.unwrap();
            drop(sender);
        };
        let (joined, ()) = both(join(&caller, words), feed).await;
        assert_eq!(joined.unwrap(), "one two");
    });
}

#[test]
fn a_server_is_heard_to_the_end_of_its_stream() {
    with_servers(|caller, _| async move {
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        assert_eq!(split(&caller, &many.join(" ")).await.unwrap(), many);
        assert_eq!(chat(&caller, stream::iter(many.clone())).await.unwrap(), many);
    });
}

#[test]
fn a_conversation_goes_on_with_the_server_that_was_first() {
    with_servers(|caller, seen| async move {
        let (sender, words) = stream::channel(1);
        let answers = caller.bidi(CHAT, Text::new(), Request::new(words)).await.unwrap();
        let mut answers = answers.into_inner();
        for n in 0..100 {
            sender.send(format!("word {n}")).await.unwrap();
            assert_eq!(answers.message().await.unwrap(), Some(format!("WORD {n}")));
        }
        let open = || seen.iter().map(|seen| seen.started() - seen.dropped()).sum::<usize>();
        until("the end of the other handler", || open() == 1).await;
        drop(sender);
        assert_eq!(answers.message().await.unwrap(), None);
    });
}
