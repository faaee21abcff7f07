//! Calls that end before their answer: given up by their caller, or out of time.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use corelane_call::{Code, Request, Response, Status, Stream, Streaming, stream};
use corelane_client::{Caller, Cause, Channel, Method, Place};
use corelane_runtime::Workers;
use corelane_server::{Methods, Server, Service};
use corelane_wire::frame::ErrorCode;
use support::counting::{Counting, resets, with_peer};
use support::peer::{Peer, message};
use support::{
    CHAT, ECHO, JOIN, Running, SPLIT, Seen, Text, begin, beside, caller, caller_with, failure, on_both,
    on_one_stream, say, told, until,
};

/// Polls `call` until `holds`, and drops it then.
async fn give_up<F: Future>(call: F, what: &str, holds: impl FnMut() -> bool) {
    beside(until(what, holds), call).await;
}

/// Has `call` begun and given up on both backends: its handler must be dropped each time.
fn is_dropped_with<F>(call: impl Fn(Caller) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let server = Running::start();
    let (target, seen) = (server.target.clone(), server.seen.clone());
    on_both(move || {
        let (caller, seen, call) = (caller(&target), seen.clone(), call.clone());
        async move {
            let started = seen.started();
            give_up(call(caller.clone()), "the handler", || seen.started() == started + 1).await;
            until("its end", || seen.dropped() == started + 1).await;
            // The connection is as good as before.
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
        }
    });
}

#[test]
fn a_unary_call_that_is_dropped_drops_its_handler() {
    is_dropped_with(|caller| async move {
        let _ = say(&caller, "hang").await;
    });
}

#[test]
fn a_stream_of_responses_that_is_dropped_drops_its_handler() {
    is_dropped_with(|caller| async move {
        let words = caller.server_streaming(SPLIT, Text::new(), Request::new("a …".to_owned())).await;
        let mut words: Streaming<String> = words.map(Response::into_inner).unwrap();
        assert_eq!(words.message().await.unwrap().as_deref(), Some("a"));
        let _ = words.message().await;
    });
}

#[test]
fn a_stream_of_requests_that_is_given_up_drops_its_handler_and_is_dropped() {
    is_dropped_with(|caller| async move {
        let (sender, words) = stream::channel::<String>(1);
        sender.send("a".to_owned()).await.unwrap();
        let _ = caller.client_streaming(JOIN, Text::new(), Request::new(words)).await;
    });
}

#[test]
fn a_conversation_that_is_dropped_drops_its_handler() {
    is_dropped_with(|caller| async move {
        let (sender, words) = stream::channel(1);
        let mut answers = caller.bidi(CHAT, Text::new(), Request::new(words)).await.unwrap().into_inner();
        sender.send("a".to_owned()).await.unwrap();
        assert_eq!(answers.message().await.unwrap().as_deref(), Some("A"));
        let _ = answers.message().await;
    });
}

/// Says when it is dropped.
struct Tell(Arc<AtomicBool>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Requests that say when they are dropped.
struct Told<S> {
    words: Pin<Box<S>>,
    _tell: Tell,
}

impl<S: Stream> Stream for Told<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.words.as_mut().poll_next(cx)
    }
}

#[test]
fn the_requests_of_a_call_go_with_it() {
    let server = Running::start();
    let (target, seen) = (server.target.clone(), server.seen.clone());
    on_both(move || {
        let (caller, seen) = (caller(&target), seen.clone());
        async move {
            let (gone, started) = (Arc::new(AtomicBool::new(false)), seen.started());
            let tell = Tell(gone.clone());
            let (_sender, words) = stream::channel::<String>(1);
            let requests = Told { words: Box::pin(words), _tell: tell };
            let call = caller.client_streaming(JOIN, Text::new(), Request::new(requests));
            give_up(call, "the handler", || seen.started() > started).await;
            until("the requests to be dropped", || gone.load(Ordering::SeqCst)).await;
        }
    });
}

#[test]
fn the_requests_of_a_conversation_that_the_server_has_ended_are_dropped() {
    let peer = Peer::answering(|wire, call| {
        wire.answer(call.stream, "enough");
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            let gone = Arc::new(AtomicBool::new(false));
            let (sender, words) = stream::channel::<String>(1);
            let requests = Told { words: Box::pin(words), _tell: Tell(gone.clone()) };
            let answers = caller.bidi(CHAT, Text::new(), Request::new(requests)).await.unwrap();
            // Whoever sends is told, though the answers have not been read yet.
            until("the requests to be dropped", || gone.load(Ordering::SeqCst)).await;
            assert!(sender.send("more".to_owned()).await.is_err());
            let mut answers: Streaming<String> = answers.into_inner();
            assert_eq!(answers.message().await.unwrap().as_deref(), Some("enough"));
            assert_eq!(answers.message().await.unwrap(), None);
        }
    });
}

#[test]
fn no_time_at_all_and_all_the_time_in_the_world_are_deadlines_too() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let longest = Channel::builder(&target)
            .connect_timeout(Duration::MAX)
            .idle_timeout(Some(Duration::MAX))
            .surplus_idle(Duration::MAX)
            .timeout(Duration::MAX);
        let (caller, longest) = (caller(&target), caller_with(longest));
        async move {
            for caller in [&caller, &longest] {
                let mut request = Request::new("hello".to_owned());
                request.set_timeout(Duration::MAX);
                assert_eq!(caller.unary(ECHO, Text::new(), request).await.unwrap().into_inner(), "hello");
                let mut request = Request::new("hang".to_owned());
                request.set_timeout(Duration::ZERO);
                let status = caller.unary(ECHO, Text::new(), request).await.unwrap_err();
                assert_eq!(status.code(), Code::DeadlineExceeded);
            }
        }
    });
}

#[test]
fn a_channel_that_is_shut_down_ends_the_calls_that_wait_and_no_others() {
    let server = Running::narrow(1);
    let silent = Peer::start(|wire| while wire.frame().is_some() {});
    let (narrow, target) = (server.target.clone(), silent.target.clone());
    on_both(move || {
        let (_keep, held) = std::sync::mpsc::channel::<()>();
        let resolve = move || {
            let _ = held.recv();
            Err("late".to_owned())
        };
        let waiting = [
            caller_with(Channel::builder("dns:///greeter").resolver(resolve)),
            caller_with(Channel::builder(&target).wait_for_ready()),
            caller_with(Channel::builder(&narrow).connections(1, 1)),
        ];
        async move {
            let _keep = _keep;
            let channel = waiting[2].channel();
            channel.ready().await.unwrap();
            let (sender, words) = stream::channel(1);
            let talk = waiting[2].bidi(CHAT, Text::new(), Request::new(words)).await;
            let mut answers: Streaming<String> = talk.unwrap().into_inner();
            for caller in &waiting {
                let call = begin(say(caller, "hello")).await;
                caller.channel().shut_down();
                let status = call.await.unwrap_err();
                assert!(matches!(failure(&status).cause, Cause::ChannelShutdown), "{status}");
            }
            sender.send("still here".to_owned()).await.unwrap();
            assert_eq!(answers.message().await.unwrap().as_deref(), Some("STILL HERE"));
            drop(sender);
            assert_eq!(answers.message().await.unwrap(), None);
        }
    });
}

/// A peer's view of a call that is dropped: the stream is reset, the connection stays.
#[test]
fn what_is_dropped_is_reset_with_cancel() {
    let counting = Counting::start(|wire, call, number| {
        if number > 0 {
            wire.head(call.stream);
            wire.data(call.stream, &message("a"));
        }
    });
    with_peer(
        &counting,
        |builder| builder,
        |caller, attempts| async move {
            let cancelled = async |calls| {
                until("the reset", || resets(&attempts) == vec![Some(ErrorCode::CANCEL); calls]).await;
            };
            let sent = || attempts.lock().unwrap().len() == 1;
            beside(until("the call", sent), say(&caller, "hello")).await;
            cancelled(1).await;
            let words = caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())).await;
            drop(words.unwrap());
            cancelled(2).await;
            let (_sender, requests) = stream::channel::<String>(1);
            let answers = caller.bidi(CHAT, Text::new(), Request::new(requests)).await;
            let mut answers = answers.unwrap().into_inner();
            assert_eq!(answers.message().await.unwrap().as_deref(), Some("a"));
            drop(answers);
            cancelled(3).await;
            let pool = caller.channel().pools()[0].1;
            assert_eq!((pool.opened, pool.idle), (1, 1));
        },
    );
}

/// How a call fails that has 50 ms.
async fn hurried(caller: &Caller, text: &str) -> (Code, String, Cause) {
    let mut request = Request::new(text.to_owned());
    request.set_timeout(Duration::from_millis(50));
    let status = caller.unary(ECHO, Text::new(), request).await.unwrap_err();
    (status.code(), told(&status), failure(&status).cause.clone())
}

#[test]
fn a_deadline_that_is_over_before_there_is_a_connection() {
    let peer = Peer::start(|wire| while wire.frame().is_some() {});
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            let (code, text, cause) = hurried(&caller, "hello").await;
            assert_eq!(code, Code::DeadlineExceeded);
            assert_eq!(text, "the deadline was over while no connection was ready (after …)");
            assert!(matches!(cause, Cause::Deadline(Place::Connecting)));
        }
    });
}

#[test]
fn a_deadline_that_is_over_before_the_name_is_resolved() {
    on_both(|| {
        let (_keep, held) = std::sync::mpsc::channel::<()>();
        let resolve = move || {
            let _ = held.recv();
            Err("late".to_owned())
        };
        let caller = caller_with(Channel::builder("dns:///greeter").resolver(resolve));
        async move {
            let _keep = _keep;
            let (code, _, cause) = hurried(&caller, "hello").await;
            assert_eq!(code, Code::DeadlineExceeded);
            assert!(matches!(cause, Cause::Deadline(Place::Connecting)));
        }
    });
}

#[test]
fn a_deadline_that_is_over_in_line_for_a_stream() {
    on_one_stream(|caller| async move {
        let _hangs = begin(say(&caller, "hang")).await;
        let (code, text, cause) = hurried(&caller, "hello").await;
        assert_eq!(code, Code::DeadlineExceeded, "{text}");
        assert!(matches!(cause, Cause::Deadline(Place::Queue)), "{text}");
        assert!(text.contains("while it waited for a free stream"), "{text}");
    });
}

/// A service config that retries UNAVAILABLE, with `more` in the policy.
fn retrying(more: &str) -> String {
    format!(
        r#"{{"methodConfig": [{{"name": [{{}}], "retryPolicy": {{"maxAttempts": 2, "initialBackoff": "60s",
            "maxBackoff": "60s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE", "DEADLINE_EXCEEDED"] {more}}}}}]}}"#
    )
}

#[test]
fn a_deadline_that_is_over_before_the_next_attempt() {
    let peer = Peer::answering(|wire, call| wire.fail(call.stream, "14", &[]));
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).default_service_config(retrying("")));
        async move {
            let (code, text, cause) = hurried(&caller, "hello").await;
            assert_eq!(code, Code::DeadlineExceeded);
            assert!(text.starts_with("the deadline was over while it waited to be tried again ("), "{text}");
            assert!(matches!(cause, Cause::Deadline(Place::Backoff)));
        }
    });
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    let peer = Peer::answering(|_, _| ());
    let target = peer.target.clone();
    on_both(move || {
        let config = retrying(r#", "perAttemptRecvTimeout": "0.02s""#).replace("60s", "0.01s");
        let caller = caller_with(Channel::builder(&target).default_service_config(config));
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Deadline(Place::Attempt)), "{failure:?}");
            assert_eq!(failure.attempt, 2);
        }
    });
}

#[test]
fn an_attempt_of_a_stream_that_takes_too_long_is_given_up_too() {
    let peer = Peer::answering(|_, _| ());
    let target = peer.target.clone();
    on_both(move || {
        let config = retrying(r#", "perAttemptRecvTimeout": "0.02s""#).replace("60s", "0.01s");
        let builder = Channel::builder(&target).timeout(Duration::from_secs(5));
        let caller = caller_with(builder.default_service_config(config));
        async move {
            let words = caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())).await;
            let requests = Request::new(stream::iter(["a".to_owned()]));
            let joined = caller.client_streaming(JOIN, Text::new(), requests).await;
            for status in [words.unwrap_err(), joined.unwrap_err()] {
                let failure = failure(&status);
                assert!(matches!(failure.cause, Cause::Deadline(Place::Attempt)), "{failure:?}");
                assert_eq!(failure.attempt, 2);
            }
        }
    });
}

#[test]
fn the_server_is_told_how_much_time_is_left() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let (caller, hasty) =
            (caller(&target), caller_with(Channel::builder(&target).timeout(Duration::from_secs(30))));
        let config = r#"{"methodConfig": [{"name": [{}], "timeout": "20s"}]}"#;
        let configured = caller_with(
            Channel::builder(&target).timeout(Duration::from_secs(30)).default_service_config(config),
        );
        async move {
            assert_eq!(say(&caller, "timeout").await.unwrap(), "none");
            let mut request = Request::new("timeout".to_owned());
            request.set_timeout(Duration::from_secs(10));
            let own = hasty.unary(ECHO, Text::new(), request).await.unwrap().into_inner();
            let left =
                [own, say(&hasty, "timeout").await.unwrap(), say(&configured, "timeout").await.unwrap()];
            for (left, most) in left.iter().zip([10_000, 30_000, 20_000]) {
                let left: u32 = left.parse().unwrap();
                assert!(left <= most && left > most - 10_000, "{left} of {most} ms");
            }
        }
    });
}

#[test]
fn deadlines_end_streams_too_and_their_handlers() {
    let server = Running::start();
    let (target, seen) = (server.target.clone(), server.seen.clone());
    on_both(move || {
        let (caller, seen) = (caller(&target), seen.clone());
        async move {
            caller.channel().ready().await.unwrap();
            let started = seen.started();
            let mut request = Request::new("a …".to_owned());
            request.set_timeout(Duration::from_millis(300)); // the first message comes well before
            let mut words = caller.server_streaming(SPLIT, Text::new(), request).await.unwrap().into_inner();
            assert_eq!(words.message().await.unwrap().as_deref(), Some("a"));
            assert_eq!(words.message().await.unwrap_err().code(), Code::DeadlineExceeded);

            let (_sender, requests) = stream::channel::<String>(1);
            let mut request = Request::new(requests);
            request.set_timeout(Duration::from_millis(100));
            let joined = caller.client_streaming(JOIN, Text::new(), request).await;
            assert_eq!(joined.unwrap_err().code(), Code::DeadlineExceeded);
            until("the handlers' end", || seen.dropped() == started + 2).await;
        }
    });
}

const RELAY: Method = Method::new("/test.Relay/Echo");

/// Passes on what it is asked to the server of texts.
struct Relay {
    target: String,
    seen: Arc<Seen>,
}

impl Service for Relay {
    const NAME: &'static str = "test.Relay";

    fn register(self, methods: &mut Methods) {
        let Relay { target, seen } = self;
        methods.unary(RELAY.path(), Text::new(), move |request: Request<String>| {
            let (caller, seen) = (caller(&target), seen.clone());
            async move {
                seen.started.fetch_add(1, Ordering::SeqCst);
                // Nothing of the request but its text goes on.
                say(&caller, request.get_ref()).await.map(Response::new)
            }
        });
    }
}

fn relay(target: &str) -> (corelane_server::ServerHandle, Arc<Seen>) {
    let (target, seen) = (target.to_owned(), Arc::new(Seen::default()));
    let shared = seen.clone();
    let builder = Server::builder()
        .workers(Workers::Count(1))
        .add_service(move || Relay { target: target.clone(), seen: shared.clone() });
    (builder.start("127.0.0.1:0").unwrap(), seen)
}

async fn relayed(caller: &Caller, text: &str, timeout: Option<Duration>) -> Result<String, Status> {
    let mut request = Request::new(text.to_owned());
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    caller.unary(RELAY, Text::new(), request).await.map(Response::into_inner)
}

#[test]
fn a_handlers_deadline_holds_for_the_calls_that_it_makes() {
    let server = Running::start();
    let (relay, _) = relay(&server.target);
    let target = format!("ipv4:{}", relay.addresses()[0]);
    on_both(move || {
        let caller = caller(&target);
        async move {
            assert_eq!(relayed(&caller, "timeout", None).await.unwrap(), "none");
            let left = relayed(&caller, "timeout", Some(Duration::from_secs(30))).await.unwrap();
            let left: u32 = left.parse().unwrap();
            assert!(left <= 30_000 && left > 20_000, "{left} of 30,000 ms");
        }
    });
}

#[test]
fn a_handler_that_is_cancelled_takes_its_calls_with_it() {
    let server = Running::start();
    let (relay, _) = relay(&server.target);
    let (target, seen) = (format!("ipv4:{}", relay.addresses()[0]), server.seen.clone());
    on_both(move || {
        let (caller, seen) = (caller(&target), seen.clone());
        async move {
            let started = seen.started();
            let call = relayed(&caller, "hang", None);
            give_up(call, "the call behind the relay", || seen.started() == started + 1).await;
            until("its end", || seen.dropped() == started + 1).await;
        }
    });
}

#[test]
fn a_response_that_comes_after_the_deadline_is_none() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let peer = Peer::answering(move |wire, call| {
        if call.stream == 1 {
            let _ = gone.lock().unwrap().recv();
            wire.answer(call.stream, "late");
        } else {
            wire.answer(call.stream, "in time");
        }
    });
    let target = peer.target.clone();
    on_both(move || {
        let (caller, go) = (caller(&target), go.clone());
        async move {
            let (code, ..) = hurried(&caller, "hello").await;
            assert_eq!(code, Code::DeadlineExceeded);
            go.send(()).unwrap();
            assert_eq!(say(&caller, "hello").await.unwrap(), "in time");
            assert_eq!(caller.channel().pools()[0].1.opened, 1);
        }
    });
}
