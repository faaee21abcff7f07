//! The client's side: dialing, callers of the same worker, spawned tasks, jobs, and how a drain treats them.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_observe::Limit;
use corelane_runtime::limits::MAILBOX_MESSAGES_MAX;
use corelane_runtime::{
    Address, Backend, Config, DialError, DialOptions, Limits, Rejected, dial, spawn_local, start_clients,
};
use socket2::{Domain, SockAddr, Type};
use std::future::poll_fn;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;
use support::caller::{Caller, Calls, begin, call, clients, connect, on_worker, reply, wire};
use support::{Client, PATIENCE, config, eventually, on_both, serve, serve_at};

/// Long enough that a test which waits for it out of need fails.
const LONG: Duration = Duration::from_secs(600);

/// A path for a socket of this test alone.
fn socket_path(name: &str, backend: Backend) -> PathBuf {
    let path = std::env::temp_dir().join(format!("corelane-{}-{name}-{backend:?}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// A peer that accepts and does not speak.
fn mute() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn calls_over_a_dialed_connection_are_answered() {
    on_both(|backend| {
        let (server, _) = serve(backend);
        let engine = clients(backend);
        let address = server.addresses()[0].clone();
        let replies = on_worker(&engine, move || async move {
            let link = connect(&address, &Arc::default()).await;
            let small = call(&link, "/echo", 5).await.unwrap();
            let large = call(&link, "/large/3000000", 0).await.unwrap();
            let uploaded = call(&link, "/echo", 2_000_000).await.unwrap();
            [small, large, uploaded].map(|reply| (reply.body.len(), reply.ended, reply.reset))
        });
        assert_eq!(replies, [(5, true, None), (3_000_000, true, None), (2_000_000, true, None)]);
    });
}

#[test]
fn a_unix_socket_is_dialed_too() {
    on_both(|backend| {
        let address = Address::Unix(socket_path("dialed", backend));
        let (_server, _) = serve_at(config(backend), std::slice::from_ref(&address));
        let engine = clients(backend);
        let body = on_worker(&engine, move || async move {
            let link = connect(&address, &Arc::default()).await;
            call(&link, "/echo", 7).await.unwrap().body
        });
        assert_eq!(body, b"qqqqqqq");
    });
}

#[test]
fn a_refused_port_is_an_error_of_the_kernels() {
    on_both(|backend| {
        let engine = clients(backend);
        let (listener, tcp) = mute();
        drop(listener);
        let unix = Address::Unix(socket_path("refused", backend));
        let Address::Unix(path) = &unix else { unreachable!() };
        drop(UnixListener::bind(path).unwrap());
        let missing = Address::Unix(socket_path("missing", backend));
        let kinds = on_worker(&engine, move || async move {
            let mut kinds = Vec::new();
            for address in [tcp, unix, missing] {
                match dial(&address, &DialOptions::default()).await {
                    Err(DialError::Io(error)) => kinds.push(error.kind()),
                    other => panic!("{other:?}"),
                }
            }
            kinds
        });
        let refused = ErrorKind::ConnectionRefused;
        assert_eq!(kinds, [refused, refused, ErrorKind::NotFound]);
    });
}

/// Polls once, and gives up what is still pending.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Sockets of this machine that wait for an answer from `port`.
fn waiting_for(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let is_waiting = |line: &&str| {
        let mut columns = line.split_whitespace().skip(2);
        // State 02 is SYN_SENT.
        columns.next().is_some_and(|to| to.ends_with(&remote)) && columns.next() == Some("02")
    };
    table.lines().filter(is_waiting).count()
}

#[test]
fn a_dropped_attempt_is_given_up() {
    on_both(|backend| {
        // A queue of one, and filled: the kernel answers no further SYN.
        let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        listener.listen(0).unwrap();
        let to = listener.local_addr().unwrap().as_socket().unwrap();
        let _filler = TcpStream::connect(to).unwrap();
        let engine = clients(backend);
        let waited = on_worker(&engine, move || async move {
            let (address, options) = (Address::Tcp(to), DialOptions::default());
            let mut attempt = pin!(dial(&address, &options));
            assert!(poll_once(attempt.as_mut()).await.is_none());
            waiting_for(to.port())
        });
        assert_eq!(waited, 1);
        eventually("the kernel no longer tries", || waiting_for(to.port()) == 0);
        engine.drain(Duration::ZERO);
        engine.join().unwrap();
    });
}

#[test]
fn a_full_queue_of_a_unix_socket_is_waited_for() {
    on_both(|backend| {
        let path = socket_path("full", backend);
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        // A queue of length 0 takes one, and answers EAGAIN after that.
        let _filler = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let engine = clients(backend);
        let address = Address::Unix(path.clone());
        let (sender, receiver) = channel();
        let dialed = begin(&engine.spawner(), move || async move {
            let options = DialOptions::default();
            let mut attempt = pin!(dial(&address, &options));
            assert!(poll_once(attempt.as_mut()).await.is_none(), "the queue is full");
            sender.send(()).unwrap();
            attempt.await.is_ok()
        });
        receiver.recv_timeout(PATIENCE).unwrap();
        listener.accept().unwrap();
        assert!(dialed.recv_timeout(PATIENCE).unwrap());
        let _ = std::fs::remove_file(&path);
    });
}

#[test]
fn a_worker_with_as_many_connections_as_it_may_have_starts_no_other() {
    on_both(|backend| {
        let (_listener, address) = mute();
        let limits = Limits { connections_max: 1, ..Limits::default() };
        let engine = start_clients(Config { limits, ..config(backend) }).unwrap();
        let refused = on_worker(&engine, move || async move {
            let first = connect(&address, &Arc::default()).await;
            let second = dial(&address, &DialOptions::default()).await.unwrap();
            let refused = second.start(&wire(), Caller::new(&Arc::default())).err();
            assert!(first.with(|_, _| ()).is_some());
            refused.map(|error| error.to_string())
        });
        assert_eq!(refused.unwrap(), DialError::TooManyConnections.to_string());
        assert_eq!(engine.counters().snapshot().limit_hits(Limit::Connections), 1);
    });
}

#[test]
fn what_callers_produce_together_leaves_in_one_write() {
    on_both(|backend| {
        let (listener, address) = mute();
        let engine = clients(backend);
        let (sender, receiver) = channel();
        let _task = begin(&engine.spawner(), move || async move {
            let link = connect(&address, &Arc::default()).await;
            receiver.recv().unwrap();
            for _ in 0..10 {
                link.clone().with(|session, io| session.open(io, "/call", 100)).unwrap();
            }
            std::future::pending::<()>().await;
        });
        let mut stream = accept(&listener);
        // The preface leaves in the connection's first turn, unless the callers were faster, which the order forbids.
        sender.send(()).unwrap();
        let expected = |bytes: &[u8]| {
            let mut at = bytes.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
            let mut data = 0;
            while let Some((head, rest)) = at.split_at_checked(9) {
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                data += usize::from(head[3] == 0);
                at = rest.get(length..)?;
            }
            at.is_empty().then_some(data)
        };
        let (mut bytes, mut reads) = (vec![0; 1 << 16], Vec::new());
        let mut filled = 0;
        while reads.last() != Some(&10) {
            let read = stream.read(&mut bytes[filled..]).unwrap();
            assert!(read > 0);
            filled += read;
            reads.push(expected(&bytes[..filled]).expect("whole frames with each write"));
        }
        assert!(reads.iter().all(|data| [0, 10].contains(data)), "{reads:?}");
    });
}

#[test]
fn a_link_says_so_when_its_connection_is_over() {
    on_both(|backend| {
        let (listener, address) = mute();
        let engine = clients(backend);
        let log = Arc::new(Calls::default());
        let theirs = log.clone();
        let outcome = begin(&engine.spawner(), move || async move {
            let link = connect(&address, &theirs).await;
            let slot = link.with(|session, io| session.open(io, "/never", 0)).unwrap();
            let unanswered = reply(&link, slot).await;
            let second = link.with(|_, _| ());
            let seen = link.session(|_| "still there");
            (unanswered, second, seen)
        });
        let mut stream = accept(&listener);
        stream.read_exact(&mut [0; 24]).unwrap();
        drop(stream);
        let (unanswered, second, seen) = outcome.recv_timeout(PATIENCE).unwrap();
        assert_eq!((unanswered, second, seen), (None, None, "still there"));
        assert_eq!(log.closed.lock().unwrap().len(), 1);
    });
}

#[test]
fn the_waker_of_a_dialed_call_works_from_another_thread() {
    on_both(|backend| {
        let (_listener, address) = mute();
        let engine = clients(backend);
        let log = Arc::new(Calls::default());
        let theirs = log.clone();
        let waker: Waker = on_worker(&engine, move || async move {
            let link = connect(&address, &theirs).await;
            link.with(|_, io| io.waker(3)).unwrap()
        });
        std::thread::spawn(move || waker.wake()).join().unwrap();
        eventually("the session is woken", || *log.woken.lock().unwrap() == [3]);
    });
}

#[test]
fn the_waker_of_a_spawned_task_works_from_another_thread() {
    on_both(|backend| {
        let engine = clients(backend);
        let parked: Arc<Mutex<Option<Waker>>> = Arc::default();
        let theirs = parked.clone();
        let polls = begin(&engine.spawner(), move || async move {
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                *theirs.lock().unwrap() = Some(cx.waker().clone());
                if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            polls
        });
        for _ in 0..2 {
            eventually("the task waits", || parked.lock().unwrap().is_some());
            let waker = parked.lock().unwrap().take().unwrap();
            std::thread::spawn(move || waker.wake()).join().unwrap();
        }
        assert_eq!(polls.recv_timeout(PATIENCE).unwrap(), 3);
        // A late wake finds nobody.
        parked.lock().unwrap().take().unwrap().wake();
    });
}

#[test]
fn a_task_or_a_job_that_panics_does_not_end_the_worker() {
    on_both(|backend| {
        let engine = clients(backend);
        let spawner = engine.spawner();
        let task = begin::<(), _>(&spawner, || async { panic!("a task that panics") });
        assert!(task.recv_timeout(PATIENCE).is_err(), "it was dropped");
        let (sender, receiver) = channel::<()>();
        spawner.submit(0, move || panic!("a job that panics, with {sender:?}")).unwrap();
        assert!(receiver.recv_timeout(PATIENCE).is_err(), "it was dropped");
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("a future that panics while it is dropped");
            }
        }
        let bad = begin(&spawner, || {
            let bad = Bad;
            poll_fn(move |_| {
                let _held = &bad;
                Poll::Ready(())
            })
        });
        assert!(bad.recv_timeout(PATIENCE).is_err(), "it was dropped");
        assert_eq!(on_worker(&engine, || async { 2 }), 2);
        engine.drain(Duration::ZERO);
        engine.join().unwrap();
    });
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_full_mailbox_rejects_a_job_and_a_drain_drops_what_was_not_read() {
    on_both(|backend| {
        let engine = clients(backend);
        let spawner = engine.spawner();
        let (ran, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (started, is_started) = channel();
        let (release, released) = channel();
        spawner
            .submit(0, move || {
                started.send(()).unwrap();
                released.recv().unwrap();
            })
            .unwrap();
        is_started.recv_timeout(PATIENCE).unwrap();
        let job = || {
            let (counted, ran) = (Counted(dropped.clone()), ran.clone());
            move || {
                let _counted = counted;
                ran.fetch_add(1, Ordering::Relaxed);
            }
        };
        for _ in 0..MAILBOX_MESSAGES_MAX {
            spawner.submit(0, job()).unwrap();
        }
        assert_eq!(spawner.submit(0, job()), Err(Rejected::Full));
        assert_eq!(dropped.load(Ordering::Relaxed), 1, "the rejected one");
        engine.drain(Duration::ZERO);
        release.send(()).unwrap();
        engine.join().unwrap();
        // The blocking job was the first of the visit, so one of the others was left when its budget was used up.
        assert_eq!(ran.load(Ordering::Relaxed), MAILBOX_MESSAGES_MAX - 1);
        assert_eq!(dropped.load(Ordering::Relaxed), MAILBOX_MESSAGES_MAX + 1);
        assert_eq!(spawner.submit(0, job()), Err(Rejected::Ended));
        assert_eq!(dropped.load(Ordering::Relaxed), MAILBOX_MESSAGES_MAX + 2);
    });
}

#[test]
fn a_worker_that_died_takes_no_jobs() {
    on_both(|backend| {
        let (server, _) = serve(backend);
        let spawner = server.spawner();
        let mut client = Client::connect(&server);
        client.open("/panic", b"x");
        client.flush();
        eventually("jobs are refused", || spawner.submit(0, || {}) == Err(Rejected::Ended));
        server.drain(Duration::ZERO);
        assert!(server.join().is_err());
    });
}

#[test]
fn a_drain_ends_dialed_connections_after_accepted_ones() {
    on_both(|backend| {
        let (upstream, upstreams) = serve(backend);
        let (engine, served) = serve(backend);
        let log = Arc::new(Calls::default());
        let (theirs, to) = (log.clone(), upstream.addresses()[0].clone());
        let called = begin(&engine.spawner(), move || async move {
            let link = connect(&to, &theirs).await;
            call(&link, "/echo", 1).await.unwrap();
            // What a handler of the accepted call would wait for.
            call(&link, "/park", 0).await.unwrap().body
        });
        let mut client = Client::connect(&engine);
        client.call("/echo", b"settings are exchanged");
        eventually("the dialed call is parked", || upstreams.parked.lock().unwrap().len() == 1);
        let parked = client.open("/park", b"x");
        client.flush();
        eventually("the call is parked", || served.parked.lock().unwrap().len() == 1);
        engine.drain(LONG);
        eventually("the session drains", || served.drained.load(Ordering::Relaxed) == 1);
        assert_eq!(*log.drained.lock().unwrap(), 0);
        served.parked.lock().unwrap().remove(0).wake();
        assert_eq!(client.finish(parked).body, b"woken");
        client.read_to_end();
        drop(client);
        eventually("the dialed one drains too", || *log.drained.lock().unwrap() == 1);
        assert_eq!(log.closed.lock().unwrap().len(), 0, "its call is in flight");
        upstreams.parked.lock().unwrap().remove(0).wake();
        assert_eq!(called.recv_timeout(PATIENCE).unwrap(), b"woken");
        engine.join().unwrap();
        assert_eq!(log.closed.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_drained_engine_of_clients_lets_calls_finish() {
    on_both(|backend| {
        let (upstream, served) = serve(backend);
        let engine = clients(backend);
        let (log, to) = (Arc::new(Calls::default()), upstream.addresses()[0].clone());
        let theirs = log.clone();
        let called = begin(&engine.spawner(), move || async move {
            let link = connect(&to, &theirs).await;
            call(&link, "/park", 0).await.unwrap().body
        });
        eventually("the call is parked", || served.parked.lock().unwrap().len() == 1);
        engine.drain(LONG);
        eventually("the session drains", || *log.drained.lock().unwrap() == 1);
        served.parked.lock().unwrap().remove(0).wake();
        assert_eq!(called.recv_timeout(PATIENCE).unwrap(), b"woken");
        engine.join().unwrap();
        assert_eq!(*log.closed.lock().unwrap(), ["the connection has served what it had to"]);
    });
}

#[test]
fn spawned_tasks_are_dropped_before_their_worker_ends() {
    on_both(|backend| {
        let engine = clients(backend);
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let counted = Counted(dropped.clone());
            on_worker(&engine, move || async move {
                spawn_local(async move {
                    let _counted = counted;
                    std::future::pending::<()>().await;
                });
            });
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        engine.drain(LONG);
        engine.join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn tasks_that_spawn_their_successors_end_with_their_worker() {
    fn relay() {
        spawn_local(async {
            corelane_runtime::yield_now().await;
            relay();
        });
    }
    on_both(|backend| {
        let engine = clients(backend);
        on_worker(&engine, || async { relay() });
        engine.drain(LONG);
        engine.join().unwrap();
    });
}

#[test]
fn a_task_that_spawns_while_it_is_dropped_holds_nothing_up() {
    struct Again(Arc<AtomicUsize>);
    impl Drop for Again {
        fn drop(&mut self) {
            let counted = Counted(self.0.clone());
            spawn_local(async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            });
        }
    }
    on_both(|backend| {
        let engine = clients(backend);
        let dropped = Arc::new(AtomicUsize::new(0));
        let again = Again(dropped.clone());
        let (sender, receiver) = channel();
        let _task = begin(&engine.spawner(), move || async move {
            let _again = again;
            sender.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        receiver.recv_timeout(PATIENCE).unwrap();
        engine.drain(LONG);
        engine.join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}
