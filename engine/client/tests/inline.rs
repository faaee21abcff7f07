//! Wakers that poll at once, inside of the wake, as a bridge to another language or to callbacks may: whoever calls one must bear
//! that the future behind it comes back, reads on, ends its call and makes the next one.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use corelane_call::{Code, Request, Status};
use corelane_client::{Caller, Cause, Channel, ChannelBuilder, KeepaliveConfig};
use corelane_wire::frame::{ErrorCode, Flags, Kind};
use support::peer::{MAX_CONCURRENT_STREAMS, Peer, Wire, message};
use support::{Running, SPLIT, Text, caller, caller_with, failure, on_both, on_one_stream, say, until};

type Task = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    /// The futures of this thread's bridges, but for those that are being polled. Those that a test leaves are leaked: what they
    /// would reach for when they go has gone with the thread.
    static WAITING: RefCell<ManuallyDrop<HashMap<usize, Task>>> = RefCell::default();
}

/// The waker of a future that is polled wherever it is woken.
struct Bridge {
    number: usize,
    /// It was woken while it was polled.
    again: AtomicBool,
}

impl Bridge {
    fn poll(self: &Arc<Self>, mut future: Task) {
        let waker = Waker::from(self.clone());
        loop {
            self.again.store(false, Ordering::SeqCst);
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => return,
                Poll::Pending if self.again.load(Ordering::SeqCst) => {}
                Poll::Pending => break,
            }
        }
        WAITING.with_borrow_mut(|waiting| waiting.insert(self.number, future));
    }
}

impl Wake for Bridge {
    fn wake(self: Arc<Self>) {
        match WAITING.with_borrow_mut(|waiting| waiting.remove(&self.number)) {
            Some(future) => self.poll(future),
            None => self.again.store(true, Ordering::SeqCst),
        }
    }
}

/// A future that was handed to a bridge: what it has come to.
struct Bridged<T>(Rc<RefCell<Option<T>>>);

impl<T: 'static> Bridged<T> {
    /// Polls `future` here, and then wherever it is woken.
    fn new(future: impl Future<Output = T> + 'static) -> Bridged<T> {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        let bridge = Bridge { number: NUMBERS.fetch_add(1, Ordering::SeqCst), again: AtomicBool::new(false) };
        let outcome = Rc::new(RefCell::new(None));
        let place = outcome.clone();
        Arc::new(bridge).poll(Box::pin(async move {
            let output = future.await;
            *place.borrow_mut() = Some(output);
        }));
        Bridged(outcome)
    }

    async fn outcome(self) -> T {
        until("what was bridged", || self.0.borrow().is_some()).await;
        self.0.take().unwrap()
    }
}

/// A bridge that reads a stream to its end, and then makes another call.
struct Reading {
    /// "begun" and the messages, as they come.
    seen: Rc<RefCell<Vec<String>>>,
    end: Bridged<(Result<(), Status>, Result<String, Status>)>,
}

impl Reading {
    fn start(caller: &Caller) -> Reading {
        let (seen, caller) = (Rc::new(RefCell::new(Vec::new())), caller.clone());
        let place = seen.clone();
        let end = Bridged::new(async move {
            let end = Reading::read(&caller, &place).await;
            (end, say(&caller, "next").await)
        });
        Reading { seen, end }
    }

    async fn read(caller: &Caller, seen: &RefCell<Vec<String>>) -> Result<(), Status> {
        let words = caller.server_streaming(SPLIT, Text::new(), Request::new(String::new())).await;
        let mut words = words.unwrap().into_inner();
        seen.borrow_mut().push("begun".to_owned());
        while let Some(word) = words.message().await? {
            seen.borrow_mut().push(word);
        }
        Ok(())
    }

    /// Waits until nothing but this has come, and the bridge waits for more.
    async fn saw(&self, expected: &[&str]) {
        until("the words", || self.seen.borrow().len() >= expected.len()).await;
        assert_eq!(*self.seen.borrow(), expected);
    }
}

/// On each connection it begins a stream, does `then` with it at each further call, by its number from 1, and answers that.
fn beginning(then: impl Fn(&mut Wire, u32, usize) + Send + Sync + 'static) -> Peer {
    Peer::start(move |wire| {
        wire.greet(&[]);
        let Some(stream) = wire.call() else { return };
        wire.head(stream.stream);
        for number in 1.. {
            let Some(call) = wire.call() else { return };
            then(wire, stream.stream, number);
            wire.answer(call.stream, "done");
        }
    })
}

/// Has `caller` say something, and something else in the same wake that tells of the first answer.
async fn say_twice(caller: Caller, first: &'static str, then: &'static str) -> [Result<String, Status>; 2] {
    [say(&caller, first).await, say(&caller, then).await]
}

#[test]
fn the_first_call_of_a_channel_and_the_next_go_out_from_their_wakers() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            let [one, two] = Bridged::new(say_twice(caller, "one", "two")).outcome().await;
            assert_eq!((one.unwrap(), two.unwrap()), ("one".to_owned(), "two".to_owned()));
        }
    });
}

#[test]
fn messages_are_read_by_a_waker_as_they_come() {
    let peer = beginning(|wire, stream, number| wire.data(stream, &message(&format!("word {number}"))));
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            caller.channel().ready().await.unwrap();
            let reading = Reading::start(&caller);
            reading.saw(&["begun"]).await;
            assert_eq!(say(&caller, "go on").await.unwrap(), "done");
            reading.saw(&["begun", "word 1"]).await;
            assert_eq!(say(&caller, "go on").await.unwrap(), "done");
            reading.saw(&["begun", "word 1", "word 2"]).await;
        }
    });
}

/// The end of a stream that is read by a waker, where the server makes it so.
fn end_of_stream(ends: fn(&mut Wire, u32), code: Code) {
    let peer = beginning(move |wire, stream, number| {
        if number == 1 {
            ends(wire, stream);
        }
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            caller.channel().ready().await.unwrap();
            let reading = Reading::start(&caller);
            reading.saw(&["begun"]).await;
            assert_eq!(say(&caller, "end it").await.unwrap(), "done");
            let (end, next) = reading.end.outcome().await;
            assert_eq!(
                (end.map_or_else(|status| status.code(), |()| Code::Ok), next.unwrap()),
                (code, "done".to_owned())
            );
        }
    });
}

#[test]
fn the_end_of_a_stream_is_read_by_a_waker() {
    end_of_stream(|wire, stream| wire.trailers(stream, &[("grpc-status", "0")]), Code::Ok);
}

#[test]
fn the_failure_of_a_stream_is_read_by_a_waker() {
    end_of_stream(|wire, stream| wire.trailers(stream, &[("grpc-status", "10")]), Code::Aborted);
}

#[test]
fn the_reset_of_a_stream_is_read_by_a_waker() {
    end_of_stream(|wire, stream| wire.reset(stream, ErrorCode::CANCEL), Code::Cancelled);
}

#[test]
fn the_deadline_of_a_stream_is_read_by_a_waker() {
    let peer = Peer::answering(|wire, call| match call.field("grpc-timeout") {
        Some(_) => wire.head(call.stream),
        None => wire.answer(call.stream, "done"),
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            caller.channel().ready().await.unwrap();
            let reading = Bridged::new(async move {
                let mut request = Request::new(String::new());
                request.set_timeout(Duration::from_millis(300)); // the head comes well before
                let words = caller.server_streaming(SPLIT, Text::new(), request).await;
                (words.unwrap().into_inner().message().await, say(&caller, "next").await)
            });
            let (end, next) = reading.outcome().await;
            assert!(matches!(failure(&end.unwrap_err()).cause, Cause::Deadline(_)));
            assert_eq!(next.unwrap(), "done");
        }
    });
}

/// Each even connection begins a stream, gets one more call and ends as `dies` says; each odd one answers all.
fn mortal(dies: fn(&mut Wire)) -> Peer {
    Peer::start(move |wire| {
        wire.greet(&[]);
        if !wire.number.is_multiple_of(2) {
            while let Some(call) = wire.call() {
                wire.answer(call.stream, "here");
            }
        }
        let Some(stream) = wire.call() else { return };
        wire.head(stream.stream);
        if wire.call().is_some() {
            dies(wire);
        }
    })
}

/// A stream and a unary call lose their connection, which dies as `dies` says, and their wakers make the next calls.
fn lose(dies: fn(&mut Wire), build: fn(ChannelBuilder) -> ChannelBuilder, is_expected: fn(&Cause) -> bool) {
    let peer = mortal(dies);
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(build(Channel::builder(&target).connections(1, 1)));
        async move {
            caller.channel().ready().await.unwrap();
            let reading = Reading::start(&caller);
            reading.saw(&["begun"]).await;
            let calling = Bridged::new(say_twice(caller, "where are you?", "next"));
            let (end, next) = reading.end.outcome().await;
            let [lost, other_next] = calling.outcome().await;
            for status in [end.unwrap_err(), lost.unwrap_err()] {
                assert!(is_expected(&failure(&status).cause), "{status:?}");
            }
            assert_eq!((next.unwrap(), other_next.unwrap()), ("here".to_owned(), "here".to_owned()));
        }
    });
}

#[test]
fn a_connection_that_dies_is_heard_of_by_the_wakers_of_its_calls() {
    lose(|_| (), |builder| builder, |cause| matches!(cause, Cause::ConnectionLost { .. }));
}

#[test]
fn a_connection_that_breaks_the_protocol_is_heard_of_by_the_wakers_of_its_calls() {
    // A PING of one octet.
    let dies = |wire: &mut Wire| wire.send(Kind::PING, Flags::NONE, 0, &[0]);
    lose(dies, |builder| builder, |cause| matches!(cause, Cause::Protocol { .. }));
}

#[test]
fn a_connection_that_answers_no_ping_is_heard_of_by_the_wakers_of_its_calls() {
    let pings = |builder: ChannelBuilder| {
        let timeout = Duration::from_millis(100);
        builder.keepalive_unbounded(KeepaliveConfig {
            timeout,
            ..KeepaliveConfig::new(Duration::from_millis(10))
        })
    };
    // It reads on, and says nothing.
    let dies = |wire: &mut Wire| while wire.frame().is_some() {};
    lose(dies, pings, |cause| matches!(cause, Cause::KeepaliveTimeout { .. }));
}

/// Each even connection has one stream; once that is in use it ends as `ends` says. Each odd one answers all.
fn narrow(ends: fn(&mut Wire, u32)) -> Peer {
    Peer::start(move |wire| {
        let is_even = wire.number.is_multiple_of(2);
        wire.greet(if is_even { &[(MAX_CONCURRENT_STREAMS, 1)] } else { &[] });
        while let Some(call) = wire.call() {
            if is_even {
                return ends(wire, call.stream);
            }
            wire.answer(call.stream, "here");
        }
    })
}

/// Two calls that each want the only stream, and each make another call when they have ended: what the first ones come to.
async fn line_up(caller: Caller) -> [Result<String, Status>; 2] {
    caller.channel().ready().await.unwrap();
    let first = Bridged::new(say_twice(caller.clone(), "first", "more"));
    let in_line = Bridged::new(say_twice(caller.clone(), "in line", "more"));
    assert_eq!(caller.channel().pools()[0].1.waiting, 1);
    let ([first, more], [in_line, even_more]) = (first.outcome().await, in_line.outcome().await);
    assert_eq!((more.unwrap(), even_more.unwrap()), ("here".to_owned(), "here".to_owned()));
    [first, in_line]
}

#[test]
fn a_call_in_line_comes_when_the_connection_dies() {
    let peer = narrow(|_, _| ());
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1));
        async move {
            let [first, in_line] = line_up(caller).await;
            assert!(matches!(failure(&first.unwrap_err()).cause, Cause::ConnectionLost { .. }));
            assert_eq!(in_line.unwrap(), "here");
        }
    });
}

#[test]
fn a_call_in_line_comes_when_the_connection_takes_no_more_calls() {
    let peer = narrow(|wire, stream| {
        wire.goaway(stream, ErrorCode::NO_ERROR, b"");
        wire.answer(stream, "the last one");
        wire.until_closed();
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1));
        async move {
            let [first, in_line] = line_up(caller).await;
            assert_eq!((first.unwrap(), in_line.unwrap()), ("the last one".to_owned(), "here".to_owned()));
        }
    });
}

#[test]
fn a_call_in_line_comes_when_the_one_before_it_has_ended() {
    on_one_stream(|caller| async move {
        let first = Bridged::new(say_twice(caller.clone(), "one", "two"));
        let in_line = Bridged::new(say_twice(caller, "three", "four"));
        let said = first.outcome().await.into_iter().chain(in_line.outcome().await);
        assert_eq!(said.collect::<Result<Vec<_>, _>>().unwrap(), ["one", "two", "three", "four"]);
    });
}
