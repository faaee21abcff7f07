//! Several workers share connections out among themselves, and lose none on the way.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_observe::WorkerSnapshot;
use corelane_runtime::limits::HAND_OVER_MARGIN;
use corelane_runtime::{Address, Backend, Config, Handle, Workers};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Client, config, eventually, on_both, serve_at, serve_with};

/// Of so many the kernel gives one worker 30 more than the other, as a rule.
const CONNECTIONS: u64 = 400;

fn two(backend: Backend) -> Config {
    Config { workers: Workers::Count(2), ..config(backend) }
}

fn each(handle: &Handle) -> Vec<WorkerSnapshot> {
    handle.counters().snapshots().collect()
}

/// Connects, and makes a call on each connection, so that it has arrived where it is served.
fn connect(handle: &Handle) -> Vec<Client> {
    (0..CONNECTIONS)
        .map(|n| {
            let mut client = Client::connect(handle);
            assert_eq!(client.call("/echo", &n.to_be_bytes()), n.to_be_bytes());
            client
        })
        .collect()
}

fn are_shared_out(handle: &Handle) {
    let mut clients = connect(handle);
    let seen = each(handle);
    let open: Vec<u64> = seen.iter().map(|worker| worker.connections_open).collect();
    assert_eq!(open.iter().sum::<u64>(), CONNECTIONS);
    assert!(open[0].abs_diff(open[1]) <= u64::from(HAND_OVER_MARGIN), "{open:?}");
    // Counted once, where they are served.
    assert_eq!(seen.iter().map(|worker| worker.connections_accepted).collect::<Vec<_>>(), open);
    for client in &mut clients {
        assert_eq!(client.call("/thread", b"woken"), b"woken");
        assert_eq!(client.call("/sleep/1", b"slept"), b"slept");
    }
    drop(clients);
    eventually("all are closed", || handle.counters().snapshot().connections_open == 0);
}

#[test]
fn two_workers_have_as_many_connections() {
    on_both(|backend| are_shared_out(&serve_with(two(backend)).0));
}

#[test]
fn two_workers_with_one_listener_have_as_many_connections() {
    on_both(|backend| {
        let file = std::env::temp_dir().join(format!("corelane-{}-{backend:?}.sock", std::process::id()));
        let (handle, _) = serve_at(two(backend), &[Address::Unix(file)]);
        are_shared_out(&handle);
    });
}

#[test]
fn a_single_worker_keeps_all() {
    on_both(|backend| {
        let (handle, _) = serve_with(config(backend));
        let clients = connect(&handle);
        let seen = handle.counters().snapshot();
        assert_eq!((seen.connections_open, seen.connections_handed_over), (CONNECTIONS, 0));
        drop(clients);
    });
}

#[test]
fn a_drain_serves_what_is_on_its_way() {
    on_both(|backend| {
        let (handle, log) = serve_with(two(backend));
        // A session that makes its worker deaf: what the other one hands over waits.
        let mut blocker = Client::connect(&handle);
        blocker.open("/block/300", b"");
        blocker.flush();
        eventually("a worker is blocked", || log.spins.load(Ordering::Relaxed) == 1);
        let mut clients: Vec<_> = (0..100).map(|_| Client::connect(&handle)).collect();
        let keys: Vec<_> = clients.iter_mut().map(|client| client.open("/echo", b"waited")).collect();
        clients.iter_mut().for_each(Client::flush);
        eventually("connections are handed over", || {
            handle.counters().snapshot().connections_handed_over > 0
        });
        handle.drain(Duration::from_secs(20));
        for (client, key) in clients.iter_mut().zip(keys) {
            assert_eq!(client.finish(key).body, b"waited");
        }
        clients.iter_mut().for_each(Client::read_to_end);
        blocker.read_to_end();
        let counters = handle.counters().clone();
        handle.join().unwrap();
        let seen = counters.snapshot();
        assert_eq!((seen.connections_accepted, seen.connections_open), (101, 0));
    });
}
