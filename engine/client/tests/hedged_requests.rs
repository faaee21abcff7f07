//! Streams of requests of hedged calls (gRFC A6): what each copy gets of them and when, and how much is kept.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::Cell;
use std::rc::Rc;

use corelane_call::{Code, Request, Stream, stream};
use corelane_client::Cause;
use corelane_wire::frame::ErrorCode;
use support::counting::{Attempt, Counting, resets, with_peer};
use support::hedging::{
    CANCELLED, NEVER, all_ended, answer_each, chat, join, policy, requests, split, words,
};
use support::peer::{Wire, message};
use support::{CHAT, Text, beside, both, collect, failure, soon, until};

/// More than a stream's first window and the queue before it take, and less than is kept.
fn many_words() -> Vec<String> {
    (0..48).map(|n| format!("{n:04096}")).collect()
}

#[test]
fn a_copy_that_goes_out_later_gets_all_requests_from_the_first_on() {
    let counting = Counting::reading(
        |_| false,
        |wire, attempts, _| {
            if all_ended(attempts, 2) {
                wire.answer(attempts[0].stream, "slow");
            }
        },
    );
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0.01s")),
        |caller, attempts| async move {
            let (sender, words) = stream::channel(1);
            let feed = async {
                sender.send("one".to_owned()).await.unwrap();
                until("the first request", || requests(&attempts) == [["one"]; 2]).await;
                sender.send("two".to_owned()).await.unwrap();
                until("the second request", || requests(&attempts) == [["one", "two"]; 2]).await;
                drop(sender);
            };
            let (joined, ()) = both(join(&caller, words), feed).await;
            assert_eq!(joined.unwrap(), "slow");
            until("the reset", || resets(&attempts) == [None, CANCELLED]).await;
        },
    );
}

#[test]
fn a_copy_without_room_does_not_hold_up_the_others() {
    let counting = Counting::reading(|number| number == 0, answer_each);
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0s")),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            assert_eq!(join(&caller, stream::iter(many_words())).await.unwrap(), "all");
            until("the reset", || resets(&attempts) == [CANCELLED, None]).await;
            let requests = requests(&attempts);
            assert_eq!(requests[1], many_words());
            // The octets of 15 messages are as many as fit into the window of RFC 9113.
            assert_eq!(requests[0], many_words()[..15]);
        },
    );
}

#[test]
fn a_copy_that_is_behind_gets_what_it_does_not_have_when_it_is_chosen() {
    let counting = Counting::reading(
        |number| number == 0,
        |wire, attempts, number| {
            let behind = &attempts[0];
            if number == 1 && attempts[1].ended {
                wire.head(behind.stream);
                wire.credit(behind.stream, 1 << 20);
            }
            if number == 0 && behind.ended {
                wire.data(behind.stream, &message("at last"));
                wire.trailers(behind.stream, &[("grpc-status", "0")]);
            }
        },
    );
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0s")),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            assert_eq!(chat(&caller, stream::iter(many_words())).await.unwrap(), ["at last"]);
            until("the reset", || resets(&attempts) == [None, CANCELLED]).await;
            assert_eq!(requests(&attempts), [many_words(), many_words()]);
        },
    );
}

#[test]
fn the_chosen_copy_goes_on_to_its_end_and_gets_all_later_requests() {
    let counting = Counting::reading(
        |_| false,
        |wire, attempts, number| {
            let count = attempts[number].requests.len();
            if count == 1 && attempts.len() == 3 && attempts.iter().all(|attempt| attempt.requests.len() == 1)
            {
                wire.head(attempts[1].stream);
                wire.data(attempts[1].stream, &message("one!"));
            } else if attempts[number].ended {
                wire.trailers(attempts[1].stream, &[("grpc-status", "0")]);
            } else if count > 1 {
                wire.data(
                    attempts[1].stream,
                    &message(&format!("{}!", attempts[number].requests[count - 1])),
                );
            }
        },
    );
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(3, "0s")),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let (sender, words) = stream::channel(1);
            sender.send("one".to_owned()).await.unwrap();
            let answers = caller.bidi(CHAT, Text::new(), Request::new(words)).await.unwrap();
            let mut answers = answers.into_inner();
            assert_eq!(answers.message().await.unwrap().as_deref(), Some("one!"));
            until("the resets", || resets(&attempts) == [CANCELLED, None, CANCELLED]).await;
            for word in ["two", "three"] {
                sender.send(word.to_owned()).await.unwrap();
                assert_eq!(answers.message().await.unwrap(), Some(format!("{word}!")));
            }
            drop(sender);
            assert_eq!(answers.message().await.unwrap(), None);
            assert_eq!(requests(&attempts), [&["one"][..], &["one", "two", "three"], &["one"]]);
        },
    );
}

#[test]
fn more_requests_than_are_kept_leave_one_copy_and_the_others_are_cancelled() {
    let counting = Counting::reading(|_| false, answer_each);
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(5, "0s")).retry_buffer_bytes(100),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let large: Vec<String> = (0..4).map(|_| "x".repeat(40)).collect();
            assert_eq!(join(&caller, stream::iter(large.clone())).await.unwrap(), "all");
            let left = [None, CANCELLED, CANCELLED, CANCELLED, CANCELLED];
            until("the resets", || resets(&attempts) == left).await;
            assert_eq!(requests(&attempts)[0], large);
        },
    );
}

#[test]
fn the_other_copies_are_cancelled_though_nobody_has_answered_yet() {
    let counting = Counting::reading(|_| false, answer_each);
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(3, "0s")).retry_buffer_bytes(100),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let (sender, words) = stream::channel(4);
            let feed = async {
                for _ in 0..3 {
                    sender.send("x".repeat(40)).await.unwrap();
                }
                until("the resets", || resets(&attempts) == [None, CANCELLED, CANCELLED]).await;
                drop(sender);
            };
            // A task of its own: nobody else's wake-up helps it.
            let call = soon(async move { chat(&caller, words).await });
            let (answers, ()) = both(call, feed).await;
            assert_eq!(answers.unwrap(), ["all"]);
        },
    );
}

#[test]
fn the_copy_that_is_left_is_the_one_that_has_the_most() {
    let counting = Counting::reading(|number| number == 0, answer_each);
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0s")).retry_buffer_bytes(150_000),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            assert_eq!(join(&caller, stream::iter(many_words())).await.unwrap(), "all");
            until("the reset", || resets(&attempts) == [CANCELLED, None]).await;
            assert_eq!(requests(&attempts)[1], many_words());
        },
    );
}

#[test]
fn no_copy_goes_out_once_not_all_requests_are_kept() {
    let failing = |wire: &mut Wire, attempts: &[Attempt], number: usize| {
        if attempts[number].ended {
            wire.fail(attempts[number].stream, "14", &[]);
        }
    };
    let counting = Counting::reading(|_| false, failing);
    for (kept_max, copies) in [(0, 1), (60, 1), (100, 2)] {
        with_peer(
            &counting,
            move |builder| builder.default_service_config(policy(2, NEVER)).retry_buffer_bytes(kept_max),
            move |caller, attempts| async move {
                let requests = || stream::iter((0..2).map(|_| "x".repeat(40)));
                let joined = join(&caller, requests()).await.map(|_| ());
                let answers = chat(&caller, requests()).await.map(|_| ());
                for status in [joined.unwrap_err(), answers.unwrap_err()] {
                    assert_eq!((status.code(), failure(&status).attempt), (Code::Unavailable, copies));
                }
                assert_eq!(Counting::taken(&attempts).len(), 2 * usize::try_from(copies).unwrap());
            },
        );
    }
}

#[test]
fn no_request_is_asked_for_while_no_copy_has_room() {
    let counting = Counting::reading(|_| true, answer_each);
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0s")),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let asked = Rc::new(Cell::new(0));
            let count = asked.clone();
            let words = stream::iter((0..).map(move |n| {
                count.set(count.get() + 1);
                format!("{n:04096}")
            }));
            let calls = async {
                until("what there is room for", || requests(&attempts).iter().map(Vec::len).eq([15, 15]))
                    .await;
                assert_eq!(split(&caller, "a").await.unwrap(), ["all"]);
                // At most a window's octets and a queue's, in messages of 4,104. A queue that was full asks again only
                // once half of it has gone: how full the window's end finds it is a matter of turns.
                assert!((15..=32).contains(&asked.get()), "{} requests", asked.get());
            };
            beside(calls, join(&caller, words)).await;
        },
    );
}

#[test]
fn a_copy_that_is_alone_is_not_sent_again_though_the_server_has_refused_it() {
    let counting = Counting::reading(
        |_| false,
        |wire, attempts, number| {
            if attempts[number].ended {
                wire.reset(attempts[number].stream, ErrorCode::REFUSED_STREAM);
            }
        },
    );
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, NEVER)).retry_buffer_bytes(60),
        |caller, attempts| async move {
            let requests = stream::iter((0..2).map(|_| "x".repeat(40)));
            let status = join(&caller, requests).await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::Refused), "{status}");
            assert_eq!(Counting::taken(&attempts).len(), 1);
        },
    );
}

#[test]
fn whoever_produces_requests_hears_that_the_chosen_server_wants_no_more() {
    let counting = Counting::reading(
        |_| false,
        |wire, attempts, _| {
            if attempts.len() == 2 && attempts.iter().all(|attempt| attempt.requests.len() == 1) {
                wire.answer(attempts[1].stream, "enough");
            }
        },
    );
    with_peer(
        &counting,
        |builder| builder.default_service_config(policy(2, "0s")),
        |caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            let (sender, words) = stream::channel(1);
            sender.send("one".to_owned()).await.unwrap();
            let answers = caller.bidi(CHAT, Text::new(), Request::new(words)).await.unwrap();
            // Nobody reads the answers meanwhile.
            until("the end of the requests", || sender.is_closed()).await;
            assert_eq!(collect(answers.into_inner()).await.unwrap(), ["enough"]);
            until("the reset", || resets(&attempts)[0] == CANCELLED).await;
        },
    );
}

/// Has both kinds of call with a stream of requests made, in three copies that nobody answers: all must fail for a cause that `is`
/// so.
fn fails_in_all_copies<S>(requests: fn() -> S, is: fn(&Cause) -> bool)
where
    S: Stream<Item = String> + 'static,
{
    let counting = Counting::reading(|_| false, |_, _, _| ());
    with_peer(
        &counting,
        |builder| {
            let codes = r#""CANCELLED", "RESOURCE_EXHAUSTED""#;
            builder.default_service_config(policy(3, "0s").replace(r#""UNAVAILABLE""#, codes))
        },
        move |mut caller, attempts| async move {
            caller.channel().ready().await.unwrap();
            caller.max_encoding_message_size(10);
            let joined = join(&caller, requests()).await.map(|_| ());
            let answers = chat(&caller, requests()).await.map(|_| ());
            for status in [joined.unwrap_err(), answers.unwrap_err()] {
                assert!(is(&failure(&status).cause), "{status}");
            }
            until("the resets", || resets(&attempts) == [CANCELLED; 6]).await;
        },
    );
}

#[test]
fn a_request_that_is_too_large_ends_all_copies_whatever_the_policy_says() {
    fails_in_all_copies(
        || stream::iter(words(["a", "0123456789"])),
        |cause| matches!(cause, Cause::RequestTooLarge),
    );
}

#[test]
fn requests_that_panic_end_all_copies_whatever_the_policy_says() {
    fails_in_all_copies(
        || stream::iter((0..2).map(|n| if n == 0 { "a".to_owned() } else { panic!("on purpose") })),
        |cause| matches!(cause, Cause::RequestStream),
    );
}
