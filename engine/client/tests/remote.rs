//! Calls from threads that are no workers: from any executor, or from none.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use corelane_call::{Code, Request, Stream, stream};
use corelane_client::{
    Answer, BlockingCaller, Caller, Cause, Channel, Engine, Method, RemoteCaller, RemoteChannel,
    RemoteStreaming,
};
use corelane_runtime::{Backend, Workers};
use support::peer::{Peer, message};
use support::{CHAT, ECHO, JOIN, Running, SPLIT, Text, eventually, failure, told};

/// An executor for one future, as others have it.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Both backends, as far as the kernel has them.
fn engines() -> Vec<Engine> {
    let mut engines = vec![Engine::start_on(Workers::Count(2), Backend::Epoll).unwrap()];
    match Engine::start_on(Workers::Count(2), Backend::Uring) {
        Ok(engine) => engines.push(engine),
        Err(error) => eprintln!("left out the io_uring half: {error}"),
    }
    engines
}

fn remote(engine: &Engine, target: &str) -> RemoteCaller {
    RemoteCaller::new(RemoteChannel::on(engine, Channel::builder(target).build().unwrap()))
}

async fn echo(caller: &RemoteCaller, text: &str) -> Result<String, corelane_call::Status> {
    caller.unary(ECHO, Text::new(), Request::new(text.to_owned())).await.map(Answer::into_inner)
}

async fn words(mut stream: RemoteStreaming<String>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(word) = stream.message().await.unwrap() {
        all.push(word);
    }
    all
}

#[test]
fn everything_that_crosses_threads_may() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let caller = remote(&engine, "ipv4:127.0.0.1:1");
    is_shared(&engine);
    is_shared(&caller);
    is_shared(&RemoteChannel::connect("ipv4:127.0.0.1:1").unwrap());
    is_shared(&BlockingCaller::new(RemoteChannel::connect("ipv4:127.0.0.1:1").unwrap()));
    is_send(&caller.unary(ECHO, Text::new(), Request::new(String::new())));
    is_send(&caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())));
    is_send(&caller.client_streaming(JOIN, Text::new(), Request::new(stream::iter([String::new()]))));
    is_send(&caller.bidi(CHAT, Text::new(), Request::new(stream::iter([String::new()]))));
    fn streams<T: Stream + Send + Unpin>() {}
    streams::<RemoteStreaming<String>>();
    fn sends<T: Send>() {}
    sends::<Answer<String>>();
}

#[test]
fn many_threads_call_through_few_workers() {
    let server = Running::start();
    for engine in engines() {
        let caller = remote(&engine, &server.target);
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let caller = caller.clone();
                thread::spawn(move || {
                    for call in 0..100 {
                        let text = format!("{thread} {call}");
                        assert_eq!(block_on(echo(&caller, &text)).unwrap(), text);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn connections_outlive_the_calls_and_go_with_the_last_handle() {
    for engine in engines() {
        let server = Running::start();
        let caller = remote(&engine, &server.target);
        for _ in 0..20 {
            assert_eq!(block_on(echo(&caller, "hello")).unwrap(), "hello");
        }
        assert_eq!(server.handle.counters().connections_accepted, 2, "one for each worker");
        let other = caller.clone();
        drop(caller);
        assert_eq!(block_on(echo(&other, "hello")).unwrap(), "hello");
        assert_eq!(server.handle.counters().connections_accepted, 2);
        drop(other);
        eventually("the connections' end", || server.handle.counters().connections_open == 0);
    }
}

#[test]
fn all_four_shapes_come_back_with_what_goes_with_them() {
    let server = Running::start();
    for engine in engines() {
        let caller = remote(&engine, &server.target);
        block_on(async {
            let mut request = Request::new("metadata x-word".to_owned());
            request.metadata_mut().insert("x-word", "lane").unwrap();
            let answer = caller.unary(ECHO, Text::new(), request).await.unwrap();
            assert_eq!(answer.metadata().get("x-head"), Some("lane"));
            assert_eq!(answer.trailers().get("x-tail"), Some("lane"));
            assert_eq!(answer.get_ref(), "lane");

            let mut request = Request::new("timeout".to_owned());
            request.set_timeout(Duration::from_secs(30));
            let left = caller.unary(ECHO, Text::new(), request).await.unwrap().into_inner();
            assert!(left.parse::<u32>().unwrap() <= 30_000);

            let request = Request::new("a b c".to_owned());
            let answer = caller.server_streaming(SPLIT, Text::new(), request).await.unwrap();
            assert_eq!(words(answer.into_inner()).await, ["a", "b", "c"]);

            let requests = Request::new(stream::iter(["x", "y"].map(str::to_owned)));
            let answer = caller.client_streaming(JOIN, Text::new(), requests).await.unwrap();
            assert_eq!(answer.into_inner(), "x y");

            let requests = Request::new(stream::iter(["x", "y"].map(str::to_owned)));
            let answer = caller.bidi(CHAT, Text::new(), requests).await.unwrap();
            assert_eq!(words(answer.into_inner()).await, ["X", "Y"]);
        });
    }
}

#[test]
fn statuses_come_with_their_failure() {
    let server = Running::start();
    for engine in engines() {
        let caller = remote(&engine, &server.target);
        let status = block_on(echo(&caller, "fail 5")).unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "as you wish"));
        assert!(matches!(failure(&status).cause, Cause::Server));
        assert_eq!(failure(&status).endpoint.as_deref(), Some(&*server.address()));
        let mut answer = block_on(async {
            let request = Request::new("a !".to_owned());
            caller.server_streaming(SPLIT, Text::new(), request).await.unwrap().into_inner()
        });
        assert_eq!(block_on(answer.message()).unwrap().as_deref(), Some("a"));
        assert_eq!(block_on(answer.message()).unwrap_err().code(), Code::Aborted);
        assert_eq!(block_on(answer.message()).unwrap(), None);
    }
}

#[test]
fn a_long_stream_waits_for_its_reader_and_loses_nothing() {
    let server = Running::start();
    for engine in engines() {
        let caller = remote(&engine, &server.target);
        let expected: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let request = Request::new(expected.join(" "));
        let answer = block_on(caller.server_streaming(SPLIT, Text::new(), request)).unwrap();
        assert_eq!(block_on(words(answer.into_inner())), expected);
    }
}

fn with_trailers() -> Peer {
    Peer::answering(|wire, call| {
        wire.head(call.stream);
        wire.data(call.stream, &message("a"));
        wire.trailers(call.stream, &[("grpc-status", "0"), ("x-tail", "lane")]);
    })
}

#[test]
fn trailers_of_a_stream_are_there_when_it_has_ended() {
    let peer = with_trailers();
    for engine in engines() {
        let caller = remote(&engine, &peer.target);
        block_on(async {
            let answer =
                caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())).await.unwrap();
            let mut stream = answer.into_inner();
            assert_eq!(stream.message().await.unwrap().as_deref(), Some("a"));
            assert_eq!(stream.message().await.unwrap(), None);
            assert_eq!(stream.take_trailers().unwrap().get("x-tail"), Some("lane"));
            assert!(stream.take_trailers().is_none());
        });
        let caller =
            BlockingCaller::new(RemoteChannel::on(&engine, Channel::builder(&peer.target).build().unwrap()));
        let answer = caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())).unwrap();
        let mut stream = answer.into_inner();
        assert_eq!(stream.by_ref().map(Result::unwrap).collect::<Vec<_>>(), ["a"]);
        assert_eq!(stream.take_trailers().unwrap().get("x-tail"), Some("lane"));
    }
}

#[test]
fn a_future_that_is_dropped_cancels_its_call() {
    let server = Running::start();
    for engine in engines() {
        let caller = remote(&engine, &server.target);
        let dropped = server.seen.dropped();
        let started = server.seen.started();
        let call = caller.unary(ECHO, Text::new(), Request::new("hang".to_owned()));
        eventually("the handler", || server.seen.started() == started + 1);
        drop(call);
        eventually("its end", || server.seen.dropped() == dropped + 1);

        let request = Request::new("a …".to_owned());
        let mut answer = block_on(caller.server_streaming(SPLIT, Text::new(), request)).unwrap().into_inner();
        assert_eq!(block_on(answer.message()).unwrap().as_deref(), Some("a"));
        drop(answer);
        eventually("the stream's end", || server.seen.dropped() == dropped + 2);
    }
}

#[test]
fn an_engine_that_ends_tells_the_calls_in_flight() {
    let server = Running::start();
    for engine in engines() {
        let caller = remote(&engine, &server.target);
        let started = server.seen.started();
        let call = caller.unary(ECHO, Text::new(), Request::new("hang".to_owned()));
        let request = Request::new("a …".to_owned());
        let mut answer = block_on(caller.server_streaming(SPLIT, Text::new(), request)).unwrap().into_inner();
        assert_eq!(block_on(answer.message()).unwrap().as_deref(), Some("a"));
        eventually("the handlers", || server.seen.started() == started + 2);
        engine.drain(Duration::ZERO);
        for status in [block_on(call).unwrap_err(), block_on(answer.message()).unwrap_err()] {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            assert!(matches!(failure(&status).cause, Cause::WorkerEnded), "{status:?}");
        }
        assert_eq!(block_on(answer.message()).unwrap(), None);
        eventually("that it takes no more", || {
            let status = block_on(echo(&caller, "late")).unwrap_err();
            matches!(failure(&status).cause, Cause::WorkerEnded)
        });
    }
}

#[test]
fn calls_outlive_the_handles_that_began_them() {
    let server = Running::start();
    let caller = RemoteCaller::new(RemoteChannel::connect(&server.target).unwrap());
    let call = caller.unary(ECHO, Text::new(), Request::new("hello".to_owned()));
    drop(caller);
    assert_eq!(block_on(call).unwrap().into_inner(), "hello");

    let caller = RemoteCaller::new(RemoteChannel::connect(&server.target).unwrap());
    // More than the worker hands over before somebody reads.
    let expected: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let request = Request::new(expected.join(" "));
    let answer = block_on(caller.server_streaming(SPLIT, Text::new(), request)).unwrap().into_inner();
    drop(caller);
    assert_eq!(block_on(words(answer)), expected);
}

#[test]
fn blocking_calls_have_all_four_shapes() {
    let server = Running::start();
    for engine in engines() {
        let channel = Channel::builder(&server.target).build().unwrap();
        let caller = BlockingCaller::new(RemoteChannel::on(&engine, channel));
        let answer = caller.unary(ECHO, Text::new(), Request::new("hello".to_owned())).unwrap();
        assert_eq!(answer.into_inner(), "hello");
        let answer = caller.server_streaming(SPLIT, Text::new(), Request::new("a b".to_owned())).unwrap();
        assert_eq!(answer.into_inner().map(Result::unwrap).collect::<Vec<_>>(), ["a", "b"]);
        let words = || Request::new(["x", "y"].map(str::to_owned));
        assert_eq!(caller.client_streaming(JOIN, Text::new(), words()).unwrap().into_inner(), "x y");
        let answer = caller.bidi(CHAT, Text::new(), words()).unwrap();
        assert_eq!(answer.into_inner().map(Result::unwrap).collect::<Vec<_>>(), ["X", "Y"]);
        let status = caller.unary(ECHO, Text::new(), Request::new("fail 7".to_owned())).unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
    }
}

#[test]
fn a_blocking_stream_that_is_dropped_cancels_its_call() {
    let server = Running::start();
    let caller = BlockingCaller::new(RemoteChannel::connect(&server.target).unwrap());
    let answer = caller.server_streaming(SPLIT, Text::new(), Request::new("a …".to_owned())).unwrap();
    let mut stream = answer.into_inner();
    assert_eq!(stream.next().unwrap().unwrap(), "a");
    drop(stream);
    eventually("its end", || server.seen.dropped() == 1);
}

#[test]
fn a_worker_that_would_wait_for_itself_is_told_so() {
    let server = Running::start();
    for engine in engines() {
        let channel = Channel::builder(&server.target).build().unwrap();
        let caller = BlockingCaller::new(RemoteChannel::on(&engine, channel));
        let status = engine.block_on(move || async move {
            caller.unary(ECHO, Text::new(), Request::new("hello".to_owned())).unwrap_err()
        });
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("a worker cannot wait"), "{status}");
    }
}

#[test]
fn a_full_mailbox_fails_the_call_and_not_the_worker() {
    let server = Running::start();
    for engine in engines().into_iter().take(1) {
        let caller = remote(&engine, &server.target);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let (entered, inside) = std::sync::mpsc::channel();
        for worker in 0..engine.workers() {
            let (held, entered) = (held.clone(), entered.clone());
            let hold = move || async move {
                entered.send(()).unwrap();
                let _ = held.lock().unwrap().recv();
            };
            engine.spawn_on(worker, hold).unwrap();
        }
        (0..engine.workers()).for_each(|_| inside.recv().unwrap());
        let mut calls = Vec::new();
        for _ in 0..=engine.workers() * corelane_runtime::limits::MAILBOX_MESSAGES_MAX {
            calls.push(Box::pin(caller.unary(ECHO, Text::new(), Request::new("hello".to_owned()))));
        }
        let status = block_on(calls.pop().unwrap()).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(matches!(failure(&status).cause, Cause::MailboxFull));
        assert!(told(&status).starts_with("the worker's mailbox is full"));
        drop(release);
        for call in calls {
            assert_eq!(block_on(call).unwrap().into_inner(), "hello");
        }
    }
}

#[test]
fn a_method_without_a_service_is_unimplemented_from_afar_too() {
    let server = Running::start();
    let caller = RemoteCaller::new(RemoteChannel::connect(&server.target).unwrap());
    let method = Method::new("/test.Nowhere/Nothing");
    let status = block_on(caller.unary(method, Text::new(), Request::new(String::new()))).unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[test]
fn workers_and_other_threads_share_a_channel() {
    let server = Running::start();
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let channel = Channel::builder(&server.target).build().unwrap();
    let caller = RemoteCaller::new(RemoteChannel::on(&engine, channel.clone()));
    let opened = engine.block_on(move || async move {
        let local = Caller::new(channel.local());
        support::say(&local, "here").await.unwrap();
        // Not awaited by blocking: the worker goes on meanwhile.
        assert_eq!(echo(&caller, "there").await.unwrap(), "there");
        local.channel().pools()[0].1.opened
    });
    assert_eq!(opened, 1);
}
