//! Copies of calls with a stream in either direction (gRFC A6): which of them goes on, what each gets of the requests, and what
//! becomes of the others.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use corelane_call::{Code, Request, Response, Status, Stream, stream};
use corelane_client::{Caller, Cause, Channel};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::Stop;
use corelane_wire::frame::ErrorCode;
use support::counting::{Attempt, Counting, numbers, previous, resets, with_peer};
use support::peer::{Wire, message};
use support::{
    CHAT, JOIN, Running, SPLIT, Seen, Text, beside, both, caller_with, collect, failure, on_both, soon, until,
};

/// Longer than any test: a copy that waits for it never goes.
const NEVER: &str = "3600s";

const CANCELLED: Option<ErrorCode> = Some(ErrorCode::CANCEL);

/// Sends up to this many copies, `delay` apart; UNAVAILABLE does not end the call. The deadline is for what would hang.
fn policy(attempts: u32, delay: &str) -> String {
    format!(
        r#"{{"methodConfig": [{{"name": [{{}}], "timeout": "20s", "hedgingPolicy": {{"maxAttempts": {attempts}, "hedgingDelay": "{delay}",
            "nonFatalStatusCodes": ["UNAVAILABLE"]}}}}]}}"#
    )
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// More than a stream's first window and the queue before it take, and less than is kept.
fn many_words() -> Vec<String> {
    (0..48).map(|n| format!("{n:04096}")).collect()
}

async fn join(caller: &Caller, requests: impl Stream<Item = String> + 'static) -> Result<String, Status> {
    caller.client_streaming(JOIN, Text::new(), Request::new(requests)).await.map(Response::into_inner)
}

async fn split(caller: &Caller, text: &str) -> Result<Vec<String>, Status> {
    let answers = caller.server_streaming(SPLIT, Text::new(), Request::new(text.to_owned())).await?;
    collect(answers.into_inner()).await
}

async fn chat(
    caller: &Caller,
    requests: impl Stream<Item = String> + 'static,
) -> Result<Vec<String>, Status> {
    let answers = caller.bidi(CHAT, Text::new(), Request::new(requests)).await?;
    collect(answers.into_inner()).await
}

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

/// Whether there are so many copies, each with all its requests.
fn all_ended(attempts: &[Attempt], count: usize) -> bool {
    attempts.len() == count && attempts.iter().all(|attempt| attempt.ended)
}

/// What has come of the requests of each attempt.
fn requests(attempts: &Mutex<Vec<Attempt>>) -> Vec<Vec<String>> {
    attempts.lock().unwrap().iter().map(|attempt| attempt.requests.clone()).collect()
}

/// Answers the attempt that has all its requests.
fn answer_each(wire: &mut Wire, attempts: &[Attempt], number: usize) {
    if attempts[number].ended {
        wire.answer(attempts[number].stream, "all");
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
                // A window's octets and a queue's, in messages of 4,104.
                until("what is queued", || asked.get() == 32).await;
                assert_eq!(split(&caller, "a").await.unwrap(), ["all"]);
                assert_eq!(asked.get(), 32);
            };
            beside(calls, join(&caller, words)).await;
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
