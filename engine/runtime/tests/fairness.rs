//! Nobody may keep the others from their turn. What is asserted is that the others' calls complete, and in which order:
//! where they starve, these tests run into the client's patience.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_observe::Limit;
use corelane_runtime::{Backend, Handle, spawn_local};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;
use support::{Client, Log, eventually, on_both, serve, serve_with};

/// Makes calls and waits for timers on another connection, while something busy goes on.
fn others_are_served(handle: &Handle, log: &Arc<Log>) {
    eventually("the busy handler runs", || log.spins.load(Ordering::Relaxed) > 100);
    let mut other = Client::connect(handle);
    let late = other.open("/sleep/40", b"late");
    let early = other.open("/sleep/4", b"early");
    other.flush();
    for n in 0..100_u8 {
        assert_eq!(other.call("/echo", &[n; 600]), [n; 600]);
    }
    assert_eq!(other.call("/thread", b"woken from outside"), b"woken from outside");
    other.finish(late);
    other.finish(early);
    let place = |key| other.order.iter().position(|ended| *ended == key).unwrap();
    assert!(place(early) < place(late), "a timer was held up");
    let before = log.spins.load(Ordering::Relaxed);
    eventually("the busy handler goes on", || log.spins.load(Ordering::Relaxed) > before + 100);
}

#[test]
fn a_handler_that_yields_for_ever() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut spinner = Client::connect(&handle);
        spinner.open("/spin", b"");
        spinner.flush();
        others_are_served(&handle, &log);
    });
}

#[test]
fn a_handler_that_wakes_itself_for_ever() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut hog = Client::connect(&handle);
        hog.open("/hog", b"");
        hog.flush();
        others_are_served(&handle, &log);
    });
}

/// Two spawned tasks that do nothing but wake each other.
fn ping_pong(log: &Arc<Log>) {
    let wakers: Rc<[RefCell<Option<Waker>>; 2]> = Rc::default();
    for (own, other) in [(0, 1), (1, 0)] {
        let (wakers, log) = (wakers.clone(), log.clone());
        spawn_local(poll_fn(move |cx| {
            log.spins.fetch_add(1, Ordering::Relaxed);
            *wakers[own].borrow_mut() = Some(cx.waker().clone());
            let waker = wakers[other].borrow_mut().take();
            waker.into_iter().for_each(Waker::wake);
            Poll::Pending
        }));
    }
}

#[test]
fn spawned_tasks_that_wake_one_another_for_ever() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let pair = log.clone();
        handle.spawner().submit(0, move || ping_pong(&pair)).unwrap();
        others_are_served(&handle, &log);
        // They do not hold up the worker's end either.
        handle.drain(Duration::from_secs(1));
        handle.join().unwrap();
    });
}

#[test]
fn a_connection_with_ten_thousand_ready_calls() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.wire.max_concurrent_streams = 10_000;
        let (handle, log) = serve_with(config);
        let mut hog = Client::connect(&handle);
        hog.call("/echo", b"settings are exchanged");
        for _ in 0..100 {
            for _ in 0..100 {
                hog.open("/hog", b"");
            }
            hog.flush();
        }
        eventually("all of them run", || log.spins.load(Ordering::Relaxed) > 20_000);
        others_are_served(&handle, &log);
    });
}

#[test]
fn several_busy_connections_take_turns() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut busy: Vec<_> = (0..8).map(|_| Client::connect(&handle)).collect();
        for (n, client) in busy.iter_mut().enumerate() {
            client.open(if n % 2 == 0 { "/spin" } else { "/hog" }, b"");
            client.flush();
        }
        others_are_served(&handle, &log);
        for client in &mut busy {
            assert_eq!(client.call("/echo", b"on the busy connection"), b"on the busy connection");
        }
    });
}

#[test]
fn a_client_that_never_reads() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut deaf = Client::connect(&handle);
        for _ in 0..8 {
            deaf.open("/large/50000000", b"");
        }
        deaf.flush();
        let mut spinner = Client::connect(&handle);
        spinner.open("/spin", b"");
        spinner.flush();
        others_are_served(&handle, &log);
    });
}

#[test]
fn a_client_that_floods_pings_and_reads_nothing() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        flood(&handle, backend);
        let mut spinner = Client::connect(&handle);
        spinner.open("/spin", b"");
        spinner.flush();
        others_are_served(&handle, &log);
        assert!(handle.counters().snapshot().limit_hits(Limit::Output) > 0);
    });
}

/// Frames that need no answer and make no event: they are cheap, and a read that finds the next ones there completes at once.
#[test]
fn a_client_that_sends_for_ever_what_nobody_hears_of() {
    /// So many bytes are some dozen turns, less what lies in the kernel's buffers.
    const STRETCH: usize = 16 << 20;
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut spinner = Client::connect(&handle);
        spinner.open("/spin", b"");
        spinner.flush();
        eventually("the busy handler runs", || log.spins.load(Ordering::Relaxed) > 100);
        let mut stream = std::net::TcpStream::connect(handle.addresses()[0].as_tcp().unwrap()).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        let priorities = [0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 3, 16].repeat(16 * 1024);
        for _ in 0..4 {
            let before = log.spins.load(Ordering::Relaxed);
            for _ in 0..STRETCH / priorities.len() {
                stream.write_all(&priorities).unwrap();
            }
            let turns = log.spins.load(Ordering::Relaxed) - before;
            assert!(turns >= 8, "the busy handler had {turns} turns");
        }
        assert_eq!(spinner.call("/echo", b"beside the flood"), b"beside the flood");
    });
}

/// A large buffer that lies in an idle read is taken from its holder, also while the holder's calls go on.
#[test]
fn more_open_calls_than_large_buffers() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.limits.receive_buffers_max = 2;
        let (handle, log) = serve_with(config);
        let mut holders: Vec<_> = (0..4).map(|_| Client::connect(&handle)).collect();
        for (nth, holder) in holders.iter_mut().enumerate() {
            holder.open("/park", &[1; 2_000]);
            holder.flush();
            eventually("the call runs", || log.parked.lock().unwrap().len() > nth);
        }
        let mut other = Client::connect(&handle);
        assert_eq!(other.call("/echo", &[2; 2_000]), [2; 2_000]);
    });
}

/// Writes PINGs until the server stops reading, which it must, since nobody reads the answers.
fn flood(handle: &Handle, _backend: Backend) {
    let address = handle.addresses()[0].as_tcp().unwrap();
    std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        let pings = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(4_000);
        while stream.write_all(&pings).is_ok() {}
        stream
    })
    .join()
    .unwrap();
}
