//! Where time goes: noted while it is asked for, and only then.

mod support;

use std::io::{Read as _, Write as _};

use corelane_server::{Backend, CallKind, Lap, ProfileSnapshot, Profiling, Server, Workers};
use corelane_wire::frame::EndStream;
use support::client::framed;
use support::service::{CHAT, COUNT, ECHO, Note, SUM};
use support::{Running, eventually};

/// One call of each kind.
fn call_each(server: &Running) {
    let mut client = server.client();
    assert_eq!(client.unary(ECHO, &[], &Note::new("", 0)).code(), 0);
    assert_eq!(client.unary(COUNT, &[], &Note::new("", 3)).code(), 0);
    for path in [SUM, CHAT] {
        let key = client.open(path, &[], EndStream::No);
        client.send(key, &framed(&Note::new("", 1)), EndStream::Yes);
        assert_eq!(client.finish(key).code(), 0);
    }
}

#[test]
fn nothing_is_noted_while_the_profile_is_off() {
    let server = Running::start();
    call_each(&server);
    assert_eq!(server.handle.profile().get(), Profiling::Off);
    let seen = server.handle.counters();
    assert_eq!(seen.calls_ok, 4);
    let nothing = Running::start().handle.counters().profile;
    assert_eq!(seen.profile, nothing);
    assert_eq!((nothing.total_ns(), nothing.turns, nothing.calls_of(CallKind::Unary).count()), (0, 0, 0));
}

#[test]
fn turns_batches_times_and_calls_are_noted_while_it_is_on() {
    for backend in [Backend::Auto, Backend::Epoll] {
        let server = Running::with(|builder| builder.backend(backend), |_| ());
        server.handle.profile().set(Profiling::On);
        call_each(&server);
        eventually("the last turn's end", || server.handle.counters().profile.events >= 8);
        let seen = server.handle.counters().profile;
        for kind in CallKind::ALL {
            assert_eq!(seen.calls_of(*kind).count(), 1, "{}", kind.name());
            assert!(seen.calls_of(*kind).max() > 0, "{}: no call takes no time", kind.name());
        }
        assert!(seen.turns > 0, "{seen:?}");
        assert!(seen.reads > 0 && seen.read_bytes > seen.reads, "{seen:?}");
        assert!(seen.write_bytes > seen.writes, "{seen:?}");
        for lap in [Lap::Outside, Lap::Receive, Lap::Wire, Lap::Handlers, Lap::Transmit] {
            assert!(seen.lap_ns(lap) > 0, "{}", lap.name());
        }
    }
}

#[test]
fn it_stands_still_when_it_is_turned_off_again() {
    let server = Running::start();
    server.handle.profile().set(Profiling::On);
    call_each(&server);
    server.handle.profile().set(Profiling::Off);
    call_each(&server);
    let calls = |profile: &ProfileSnapshot| profile.calls_of(CallKind::Unary).count();
    // The turn in which the first call of the second round came began after the switch.
    let seen = server.handle.counters().profile;
    call_each(&server);
    let later = server.handle.counters().profile;
    assert_eq!((calls(&seen), &seen), (1, &later));
}

#[test]
fn an_idle_worker_says_what_it_holds_and_how_long_it_has_waited() {
    let server = Running::start();
    server.handle.profile().set(Profiling::On);
    let client = server.client();
    eventually("a sweep, and more waiting than work", || {
        let seen = server.handle.counters();
        seen.memory_connections > 0 && seen.profile.waiting_ns > seen.cpu_ns
    });
    let seen = server.handle.counters();
    assert_eq!(seen.connections_open, 1);
    assert!(seen.memory_connections > 0 && seen.memory_small_buffers > 0 && seen.memory_tables > 0, "{seen}");
    assert_eq!((seen.buffers_awaited, seen.mailbox_waiting, seen.calls_ready), (0, 0, 0));
    assert!(seen.cpu_ns > 0, "{seen}");
    assert_eq!(seen.memory_bytes(), {
        let parts = [seen.memory_connections, seen.memory_small_buffers, seen.memory_tables];
        let rest = [seen.memory_receive_buffers, seen.memory_spare_buffers, seen.memory_streams];
        parts.into_iter().chain(rest).sum::<u64>()
    });
    drop(client);
}

#[test]
fn the_admin_port_lives_as_long_as_the_server() {
    let server = Running::with(|builder| builder.admin(0), |_| ());
    let address = server.handle.admin_address().unwrap();
    assert!(address.ip().is_loopback());
    let ask = |head: &str| {
        let mut peer = std::net::TcpStream::connect(address).unwrap();
        peer.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("POST /profile?on HTTP/1.1\r\n\r\n").contains("\"profile\":\"on\""));
    assert_eq!(server.handle.profile().get(), Profiling::On);
    call_each(&server);
    let stats = ask("GET /stats HTTP/1.1\r\n\r\n");
    assert!(stats.contains("\"calls_ok\":4,") && stats.contains("\"unary\":{\"count\":1,"), "{stats}");
    server.handle.shutdown();
    assert!(ask("GET /healthz HTTP/1.1\r\n\r\n").contains("200 OK"), "it answers while the server drains");
    server.handle.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(Running::start().handle.admin_address().is_none());
}

#[test]
fn an_admin_port_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _held = std::net::TcpListener::bind(taken).unwrap();
    let error = Server::builder().workers(Workers::Count(1)).admin(taken).start("127.0.0.1:0").unwrap_err();
    let expected = format!("the admin port cannot be opened at {taken}: ");
    assert!(error.to_string().starts_with(&expected), "{error}");
}
