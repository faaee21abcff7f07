//! A worker that spins before it sleeps: it serves as others do, and gives its CPU time back when it is idle.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_observe::WorkerSnapshot;
use corelane_runtime::limits::SPIN_MAX;
use corelane_runtime::{Backend, Config, Handle};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Client, config, eventually, on_both, serve, serve_with};

/// As long as it may be, so that a wait ends with the next call however slow the machine is.
fn spinning(backend: Backend) -> Config {
    Config { spin: SPIN_MAX, ..config(backend) }
}

fn seen(handle: &Handle) -> WorkerSnapshot {
    handle.counters().snapshot()
}

/// Calls until one of them came while the worker was spinning.
fn call_until_hit(handle: &Handle, client: &mut Client) {
    let before = seen(handle).spin_hits;
    for n in 0..100_000_u32 {
        assert_eq!(client.call("/echo", &n.to_be_bytes()), n.to_be_bytes());
        if seen(handle).spin_hits > before {
            return;
        }
    }
    panic!("no call came while the worker was spinning: {}", seen(handle));
}

/// Until the worker takes no look while others make 20 calls elsewhere.
fn sleeps(handle: &Handle, backend: Backend) {
    let (elsewhere, _) = serve(backend);
    eventually("the worker sleeps", || {
        let before = seen(handle).spin_looks;
        let mut client = Client::connect(&elsewhere);
        (0..20).for_each(|_| assert_eq!(client.call("/echo", b"meanwhile"), b"meanwhile"));
        seen(handle).spin_looks == before
    });
}

#[test]
fn calls_come_while_it_spins() {
    on_both(|backend| {
        let (handle, _) = serve_with(spinning(backend));
        let mut client = Client::connect(&handle);
        call_until_hit(&handle, &mut client);
        assert!(seen(&handle).spin_looks > 0);
    });
}

#[test]
fn an_idle_worker_sleeps_and_its_next_call_is_answered() {
    on_both(|backend| {
        let (handle, _) = serve_with(spinning(backend));
        let mut client = Client::connect(&handle);
        for _ in 0..3 {
            call_until_hit(&handle, &mut client);
            let misses = seen(&handle).spin_misses;
            eventually("a wait is in vain", || seen(&handle).spin_misses > misses);
            sleeps(&handle, backend);
            assert_eq!(client.call("/thread", b"woken from outside"), b"woken from outside");
            assert_eq!(
                client.call("/sleep/12", b"slept longer than it spins"),
                b"slept longer than it spins"
            );
        }
        drop(client);
        sleeps(&handle, backend);
    });
}

#[test]
fn a_worker_that_was_never_called_sleeps() {
    on_both(|backend| {
        let (handle, _) = serve_with(spinning(backend));
        eventually("the first wait is in vain", || seen(&handle).spin_misses == 1);
        sleeps(&handle, backend);
    });
}

#[test]
fn timers_foreign_wakes_and_busy_handlers_have_their_turns() {
    on_both(|backend| {
        let (handle, log) = serve_with(spinning(backend));
        let mut busy = Client::connect(&handle);
        busy.open("/spin", b"");
        busy.open("/hog", b"");
        busy.flush();
        eventually("the busy handlers run", || log.spins.load(Ordering::Relaxed) > 100);
        let mut client = Client::connect(&handle);
        for n in 0..100_u8 {
            assert_eq!(client.call("/echo", &[n; 600]), [n; 600]);
        }
        assert_eq!(client.call("/sleep/4", b"slept"), b"slept");
        assert_eq!(client.call("/thread", b"woken"), b"woken");
    });
}

#[test]
fn a_drain_ends_it_after_the_calls_in_flight() {
    on_both(|backend| {
        let (handle, log) = serve_with(spinning(backend));
        let mut client = Client::connect(&handle);
        call_until_hit(&handle, &mut client);
        let last = client.open("/sleep/5", b"in flight");
        client.flush();
        // It has arrived when this is answered.
        assert_eq!(client.call("/echo", b"behind it"), b"behind it");
        handle.drain(Duration::from_secs(20));
        assert_eq!(client.finish(last).body, b"in flight");
        client.read_to_end();
        handle.join().unwrap();
        assert_eq!(log.drained.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn an_engine_that_is_dropped_while_it_spins_ends() {
    on_both(|backend| {
        let (handle, _) = serve_with(spinning(backend));
        let mut client = Client::connect(&handle);
        client.call("/echo", b"now it spins");
        drop(handle);
        client.read_to_end();
    });
}

#[test]
fn a_worker_that_is_not_told_to_does_not_spin() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut client = Client::connect(&handle);
        (0..100).for_each(|_| assert_eq!(client.call("/echo", b"no hurry"), b"no hurry"));
        let seen = seen(&handle);
        assert_eq!((seen.spin_looks, seen.spin_hits, seen.spin_misses), (0, 0, 0));
    });
}
