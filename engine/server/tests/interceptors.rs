//! Interceptors, of the server and of a service, that answer at once and that wait.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelane_call::{AsyncInterceptor, BoxFuture, CallParts, Code, Ending, Interceptor, Request, Status};
use corelane_wire::frame::EndStream;
use support::client::framed;
use support::service::{COUNT, ECHO, Note, SUM};
use support::{Running, eventually};

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it sees.
struct Scribe {
    name: &'static str,
    log: Log,
}

impl Interceptor for Scribe {
    fn before(&self, call: &mut CallParts) -> Result<(), Status> {
        assert!(call.peer.is_some());
        self.log.lock().unwrap().push(format!("{} before {}", self.name, call.path));
        match call.metadata.get("x-refused-by") {
            Some(name) if name == self.name => Err(Status::permission_denied("not here")),
            _ => Ok(()),
        }
    }

    fn after(&self, ending: &mut Ending<'_>) {
        self.log.lock().unwrap().push(format!("{} after {}", self.name, ending.code.name()));
        ending.trailers.append("x-scribe", self.name).unwrap();
    }
}

/// Waits before it lets a call through; panics or refuses where it is told to.
struct Slow {
    dropped: Arc<AtomicUsize>,
}

impl AsyncInterceptor for Slow {
    fn before<'a>(&'a self, call: &'a mut CallParts) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let _counted = Counted(self.dropped.clone());
            corelane_runtime::sleep(Duration::from_millis(5)).await;
            match call.metadata.get("x-slow") {
                Some("refuse") => Err(Status::unauthenticated("who?")),
                Some("panic") => panic!("the interceptor was told to"),
                Some("pend") => std::future::pending().await,
                _ => {
                    call.metadata.insert("x-given", "by the interceptor")?;
                    Ok(())
                }
            }
        })
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn scribes(log: &Log) -> Running {
    let (outer, inner) = (log.clone(), log.clone());
    Running::with(
        move |builder| builder.interceptor(move || Scribe { name: "server", log: outer.clone() }),
        move |options| {
            options.interceptor(Scribe { name: "service", log: inner.clone() });
        },
    )
}

#[test]
fn the_servers_come_first_and_hear_of_the_end_last() {
    let log = Log::default();
    let server = scribes(&log);
    let mut client = server.client();
    let answer = client.unary(ECHO, &[], &Note::new("hello", 1));
    assert_eq!(answer.only::<Note>().text, "hello");
    assert_eq!(
        answer.trailers.unwrap()[1..],
        [("x-scribe".to_owned(), "service".to_owned()), ("x-scribe".to_owned(), "server".to_owned())]
    );
    let befores = [format!("server before {ECHO}"), format!("service before {ECHO}")];
    let afters = ["service after OK".to_owned(), "server after OK".to_owned()];
    assert_eq!(*log.lock().unwrap(), [befores, afters].concat());
}

#[test]
fn a_refusal_keeps_the_call_from_the_handler_and_from_those_behind() {
    let log = Log::default();
    let server = scribes(&log);
    let answer = server.client().unary(COUNT, &[("x-refused-by", "service")], &Note::new("", 1));
    assert_eq!((answer.code(), answer.message()), (7, "not here".to_owned()));
    assert_eq!(answer.header("x-scribe"), Some("server"));
    assert_eq!(server.seen.started.load(Ordering::SeqCst), 0);
    let last = log.lock().unwrap().last().cloned();
    assert_eq!(last.as_deref(), Some("server after PERMISSION_DENIED"));
}

#[test]
fn they_hear_of_every_way_in_which_a_call_ends() {
    let log = Log::default();
    let server = scribes(&log);
    let mut client = server.client();
    let last = |log: &Log| log.lock().unwrap().last().cloned().unwrap_or_default();
    client.unary(ECHO, &[], &Note::new("fail", 0));
    assert_eq!(last(&log), "server after NOT_FOUND");
    client.unary(ECHO, &[], &Note::new("panic", 0));
    assert_eq!(last(&log), "server after INTERNAL");
    client.unary(ECHO, &[("grpc-timeout", "20m")], &Note::new("pend", 0));
    assert_eq!(last(&log), "server after DEADLINE_EXCEEDED");
    let key = client.open(SUM, &[], EndStream::No);
    client.until("the handler", |_| server.seen.started.load(Ordering::SeqCst) == 4);
    client.reset(key);
    client.until("the end", |_| last(&log) == "server after CANCELLED");
}

#[test]
fn a_closure_in_tonics_shape_is_one() {
    let server = Running::with(
        |builder| builder,
        |options| {
            options.interceptor(|mut request: Request<()>| match request.metadata().get("authorization") {
                Some("token") => {
                    request.metadata_mut().insert("x-given", "let in").map_err(Status::from)?;
                    Ok(request)
                }
                _ => Err(Status::new(Code::Unauthenticated, "no token")),
            });
        },
    );
    let mut client = server.client();
    let answer = client.unary(ECHO, &[], &Note::new("metadata", 0));
    assert_eq!((answer.code(), answer.message()), (16, "no token".to_owned()));
    let answer = client.unary(ECHO, &[("authorization", "token")], &Note::new("metadata", 0));
    assert_eq!(answer.only::<Note>().text, "let in");
}

fn slow(dropped: &Arc<AtomicUsize>) -> Running {
    let dropped = dropped.clone();
    Running::with(move |builder| builder.async_interceptor(move || Slow { dropped: dropped.clone() }), |_| ())
}

#[test]
fn one_that_waits_holds_the_call_and_keeps_its_request() {
    let server = slow(&Arc::default());
    let mut client = server.client();
    let answer = client.unary(ECHO, &[], &Note::new("metadata", 0));
    assert_eq!(answer.only::<Note>().text, "by the interceptor");
    let key = client.open(SUM, &[], EndStream::No);
    client.send(key, &framed(&Note::new("", 3)), EndStream::No);
    client.send(key, &framed(&Note::new("", 4)), EndStream::Yes);
    assert_eq!(client.finish(key).only::<Note>().number, 7);
}

#[test]
fn one_that_waits_may_refuse_panic_or_take_too_long() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let server = slow(&dropped);
    let mut client = server.client();
    let answer = client.unary(ECHO, &[("x-slow", "refuse")], &Note::new("", 0));
    assert_eq!((answer.code(), answer.message()), (16, "who?".to_owned()));
    let answer = client.unary(ECHO, &[("x-slow", "panic")], &Note::new("", 0));
    assert_eq!((answer.code(), answer.message()), (13, "handler panicked".to_owned()));
    let answer = client.unary(ECHO, &[("x-slow", "pend"), ("grpc-timeout", "30m")], &Note::new("", 0));
    assert_eq!(answer.code(), 4);
    let key = client.open(ECHO, &[("x-slow", "pend")], EndStream::No);
    client.send(key, &framed(&Note::new("", 0)), EndStream::Yes);
    client.flush();
    drop(client);
    eventually("the drop", || dropped.load(Ordering::SeqCst) == 4);
    assert_eq!(server.seen.started.load(Ordering::SeqCst), 0);
    eventually("the count", || server.handle.counters().calls_in_flight == 0);
}
