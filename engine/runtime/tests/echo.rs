//! Calls over real sockets, on both backends.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_runtime::{Address, Config, Workers};
use std::sync::atomic::Ordering;
use support::{Client, eventually, on_both, serve, serve_at, serve_with};

#[test]
fn a_call_is_answered() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut client = Client::connect(&handle);
        assert_eq!(client.call("/echo", b"hello"), b"hello");
        assert_eq!(client.call("/echo", b"again"), b"again");
    });
}

#[test]
fn many_calls_at_once_on_many_connections() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut clients: Vec<_> = (0..20).map(|_| Client::connect(&handle)).collect();
        for _ in 0..3 {
            for client in &mut clients {
                let keys: Vec<_> = (0..90_u8).map(|n| (n, client.open("/echo", &[n; 100]))).collect();
                client.flush();
                for (n, key) in keys {
                    assert_eq!(client.finish(key).body, [n; 100]);
                }
            }
        }
    });
}

#[test]
fn large_messages_cross_every_buffer_boundary() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut client = Client::connect(&handle);
        for size in [1, 400, 512, 513, 9_000, 16_384, 16_385, 65_000, 300_000, 2_000_000] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            assert!(client.call("/echo", &body) == body, "{size} bytes came back as others");
        }
    });
}

#[test]
fn timers_sleeps_and_foreign_threads_wake_their_calls() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut client = Client::connect(&handle);
        let late = client.open("/sleep/60", b"late");
        let early = client.open("/timer/20", b"early");
        let foreign = client.open("/thread", b"foreign");
        assert_eq!(client.finish(late).body, b"late");
        assert_eq!(client.finish(early).body, b"early");
        assert_eq!(client.finish(foreign).body, b"foreign");
        assert!(
            client.order.iter().position(|key| *key == early)
                < client.order.iter().position(|key| *key == late)
        );
    });
}

#[test]
fn hundreds_of_foreign_wakes_are_all_delivered() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut client = Client::connect(&handle);
        for _ in 0..10 {
            let keys: Vec<_> = (0..50).map(|_| client.open("/thread", b"x")).collect();
            for key in keys {
                assert_eq!(client.finish(key).body, b"x");
            }
        }
    });
}

#[test]
fn unix_sockets_serve_and_leave_no_file() {
    on_both(|backend| {
        let path = std::env::temp_dir().join(format!("corelane-echo-{}.sock", std::process::id()));
        let address = Address::Unix(path.clone());
        let config = Config { workers: Workers::Count(2), backend, ..Config::default() };
        let (handle, _) = serve_at(config, std::slice::from_ref(&address));
        let mut client = Client::to(&address);
        assert_eq!(client.call("/echo", b"over a file"), b"over a file");
        assert_eq!(client.call("/large/1000000", b"").len(), 1_000_000);
        drop(handle);
        assert!(!path.exists());
    });
}

#[test]
fn every_worker_gets_connections() {
    on_both(|backend| {
        let config = Config { workers: Workers::Count(2), backend, ..Config::default() };
        let (handle, log) = serve_with(config);
        let mut clients = Vec::new();
        let served = |worker| log.workers.lock().unwrap().contains(&worker);
        // The kernel spreads by a hash of the ports: a run of 64 tails would have to come up.
        while !(served(0) && served(1)) {
            assert!(clients.len() < 64, "all connections went to one worker");
            let mut client = Client::connect(&handle);
            assert_eq!(client.call("/echo", b"x"), b"x");
            clients.push(client);
        }
    });
}

#[test]
fn a_connection_too_many_is_closed_at_once() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.limits.connections_max = 2;
        let (handle, _) = serve_with(config);
        let mut first = Client::connect(&handle);
        let mut second = Client::connect(&handle);
        assert_eq!(first.call("/echo", b"1"), b"1");
        assert_eq!(second.call("/echo", b"2"), b"2");
        let mut third = Client::connect(&handle);
        third.read_to_end();
        assert_eq!(first.call("/echo", b"1"), b"1");
        drop(second);
        eventually("a place is free again", || {
            let mut next = Client::connect(&handle);
            let key = next.open("/echo", b"3");
            while !next.eof && !next.replies[&key].ended {
                next.pump();
            }
            next.replies[&key].ended
        });
    });
}

#[test]
fn more_wakes_than_the_mailbox_holds_are_not_lost() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.wire.max_concurrent_streams = 6_000;
        let (handle, log) = serve_with(config);
        let mut client = Client::connect(&handle);
        client.call("/echo", b"settings are exchanged");
        let mut keys = Vec::new();
        for _ in 0..60 {
            keys.extend((0..100).map(|_| client.open("/park", b"")));
            client.flush();
        }
        eventually("all calls are parked", || log.parked.lock().unwrap().len() == 6_000);
        // While the worker is deaf, all of them are woken from here: 4,096 letters find room.
        let mut blocker = Client::connect(&handle);
        blocker.open("/block/100", b"");
        blocker.flush();
        eventually("the worker is deaf", || log.spins.load(Ordering::Relaxed) == 1);
        for waker in log.parked.lock().unwrap().drain(..) {
            waker.wake();
        }
        for key in keys {
            assert_eq!(client.finish(key).body, b"woken");
        }
    });
}

#[test]
fn few_large_buffers_go_round() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.limits.receive_buffers_max = 2;
        let (handle, _) = serve_with(config);
        let body = vec![b'b'; 100_000];
        // Each keeps its large buffer for the next call, until somebody else needs it.
        let mut clients: Vec<_> = (0..6).map(|_| Client::connect(&handle)).collect();
        for _ in 0..3 {
            for client in &mut clients {
                assert!(client.call("/echo", &body) == body);
            }
        }
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| (0..20).for_each(|_| assert!(client.call("/echo", &body) == body)));
            }
        });
    });
}

#[test]
fn an_idle_connection_gives_its_large_buffer_back_and_goes_on() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut client = Client::connect(&handle);
        let body = vec![b'b'; 100_000];
        assert!(client.call("/echo", &body) == body);
        // Two sweeps of the worker, told by its own clock.
        client.call("/sleep/2500", b"x");
        let mut quiet = Client::connect(&handle);
        assert!(quiet.call("/echo", &body) == body);
        client.call("/sleep/2500", b"x");
        assert!(quiet.call("/echo", &body) == body);
    });
}

#[test]
fn no_descriptor_is_inherited() {
    on_both(|backend| {
        let (handle, _) = serve(backend);
        let mut client = Client::connect(&handle);
        client.call("/echo", b"x");
        let mut seen = 0;
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let fd = entry.unwrap().file_name().into_string().unwrap();
            // Descriptors of other tests may be gone by now; the test program's own three are inherited from its parent.
            let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) else { continue };
            let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{fd}")) else { continue };
            let target = target.to_string_lossy().into_owned();
            if !target.starts_with("socket:") && !target.starts_with("anon_inode:") {
                continue;
            }
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
            assert!(flags & 0o2_000_000 != 0, "{target} would be inherited: flags {flags:o}");
            seen += 1;
        }
        assert!(seen >= 8, "a listener, a connection, bells, a timer and a ring or epoll: {seen}");
    });
}

#[test]
fn workers_count_connections_and_bytes() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.limits.connections_max = 1;
        let (handle, _) = serve_with(config);
        let counters = handle.counters().clone();
        let mut client = Client::connect(&handle);
        assert_eq!(client.call("/echo", &[1; 10_000]), [1; 10_000]);
        let mut refused = Client::connect(&handle);
        refused.read_to_end();
        let seen = counters.snapshot();
        assert_eq!((seen.connections_accepted, seen.connections_refused, seen.connections_open), (1, 1, 1));
        assert!(seen.bytes_in > 10_000 && seen.bytes_in < 11_000, "{}", seen.bytes_in);
        assert!(seen.bytes_out > 10_000 && seen.bytes_out < 11_000, "{}", seen.bytes_out);
        drop((client, handle));
        assert_eq!(counters.snapshot().connections_open, 0);
    });
}
