//! How connections end: by either side, by errors, by a drain.
#![allow(clippy::unwrap_used)]

mod support;

use corelane_observe::Limit;
use corelane_runtime::{Backend, Config, Handle, Workers};
use corelane_wire::frame::ErrorCode;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Client, Log, PATIENCE, eventually, on_both, serve, serve_at, serve_with};

/// Long enough that a test which waits for it out of need fails.
const LONG: Duration = Duration::from_secs(600);

fn raw(handle: &Handle) -> TcpStream {
    let stream = TcpStream::connect(handle.addresses()[0].as_tcp().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn reasons(log: &Arc<Log>, count: usize) -> Vec<String> {
    eventually("the sessions heard of their end", || log.closed.lock().unwrap().len() >= count);
    log.closed.lock().unwrap().clone()
}

#[test]
fn a_client_that_leaves_cancels_its_calls() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut client = Client::connect(&handle);
        client.call("/echo", b"so that nothing is left unread, which would make its end a reset");
        client.open("/sleep/600000", b"x");
        client.open("/spin", b"x");
        client.flush();
        eventually("the calls run", || log.spins.load(Ordering::Relaxed) > 0);
        drop(client);
        assert_eq!(reasons(&log, 1), ["the peer closed the connection"]);
        assert_eq!(log.cancelled.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_reset_socket_cancels_too() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let stream = raw(&handle);
        (&stream).write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        (&stream).read_exact(&mut [0; 9]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        let reasons = reasons(&log, 1);
        assert!(reasons[0].starts_with("the socket failed: Connection reset"), "{reasons:?}");
    });
}

#[test]
fn what_was_answered_before_the_clients_end_still_arrives() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let stream = raw(&handle);
        let mut client = Client::over(Box::new(stream.try_clone().unwrap()));
        client.call("/echo", b"settings are exchanged");
        let keys: Vec<_> = (0..50).map(|_| client.open("/echo", b"the last")).collect();
        client.flush();
        stream.shutdown(Shutdown::Write).unwrap();
        client.read_to_end();
        for key in keys {
            assert_eq!(client.replies[&key].body, b"the last");
        }
        assert_eq!(reasons(&log, 1), ["the peer closed the connection"]);
    });
}

#[test]
fn a_protocol_error_is_told_before_the_connection_closes() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut stream = raw(&handle);
        // DATA on stream 0, and more behind it that nobody will read.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        stream.write_all(b"\0\0\x01\0\0\0\0\0\0x").unwrap();
        stream.write_all(&[b'z'; 200_000]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an end, not a reset");
        let goaway = &answer[answer.len() - 17..];
        assert_eq!(goaway[3], 7, "a GOAWAY comes last: {answer:?}");
        assert_eq!(goaway[13..17], [0, 0, 0, 1], "PROTOCOL_ERROR");
        assert!(reasons(&log, 1)[0].starts_with("protocol error: "));
    });
}

#[test]
fn a_client_that_says_nothing_is_not_kept() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.wire.handshake_timeout = Duration::from_millis(50);
        let (handle, _) = serve_with(config);
        let mut silent = raw(&handle);
        let mut answer = Vec::new();
        silent.read_to_end(&mut answer).unwrap();
        assert_eq!(answer[answer.len() - 14], 7, "a GOAWAY: {answer:?}");
    });
}

#[test]
fn a_client_that_never_completes_a_frame_is_not_kept() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.wire.frame_timeout = Duration::from_millis(50);
        let (handle, log) = serve_with(config);
        let mut stream = raw(&handle);
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        stream.write_all(&[0, 0x20, 0, 0, 0, 0, 0, 0, 1, 7, 7, 7]).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        let reasons = reasons(&log, 1);
        assert!(reasons[0].ends_with("the peer was too slow"), "{reasons:?}");
        assert_eq!(handle.counters().snapshot().limit_hits(Limit::PeerTime), 1);
    });
}

#[test]
fn a_write_that_stalls_ends_the_connection() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.limits.write_stall = Duration::from_millis(100);
        let (handle, log) = serve_with(config);
        let mut deaf = Client::connect(&handle);
        for _ in 0..8 {
            deaf.open("/large/50000000", b"");
        }
        deaf.flush();
        let mut live = Client::connect(&handle);
        live.call("/echo", b"x");
        assert_eq!(reasons(&log, 1), ["the peer did not read what it was sent"]);
        assert_eq!(handle.counters().snapshot().limit_hits(Limit::WriteStall), 1);
        live.call("/echo", b"x");
    });
}

#[test]
fn a_drain_lets_calls_finish_and_answers_late_ones() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut client = Client::connect(&handle);
        let long = client.open("/sleep/80", b"in flight");
        client.flush();
        client.call("/echo", b"x");
        handle.drain(LONG);
        eventually("the session heard of the drain", || log.drained.load(Ordering::Relaxed) == 1);
        // The client has not read the GOAWAY yet, so this call is one that must not be lost.
        let late = client.open("/echo", b"crossed the goaway");
        assert_eq!(client.finish(late).body, b"crossed the goaway");
        assert_eq!(client.finish(long).body, b"in flight");
        client.read_to_end();
        assert_eq!(client.goaways, [ErrorCode::NO_ERROR, ErrorCode::NO_ERROR]);
        handle.join().unwrap();
        assert_eq!(reasons(&log, 1), ["the connection has served what it had to"]);
    });
}

#[test]
fn a_drain_serves_what_waits_in_the_accept_queue() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        // A session that keeps its worker from accepting: connections pile up in the queue meanwhile.
        let mut blocker = Client::connect(&handle);
        blocker.open("/block/300", b"");
        blocker.flush();
        eventually("the worker is blocked", || log.spins.load(Ordering::Relaxed) == 1);
        let mut waiting: Vec<_> = (0..20).map(|_| Client::connect(&handle)).collect();
        let keys: Vec<_> = waiting.iter_mut().map(|client| client.open("/echo", b"waited")).collect();
        waiting.iter_mut().for_each(Client::flush);
        handle.drain(LONG);
        for (client, key) in waiting.iter_mut().zip(keys) {
            assert_eq!(client.finish(key).body, b"waited");
        }
        waiting.iter_mut().for_each(Client::read_to_end);
        blocker.read_to_end();
        handle.join().unwrap();
    });
}

#[test]
fn a_port_is_free_when_its_engine_has_ended() {
    on_both(|backend| {
        let config = || Config { workers: Workers::Count(2), backend, ..Config::default() };
        let (mut handle, _) = serve_with(config());
        let address = handle.addresses()[0].clone();
        for _ in 0..10 {
            let mut client = Client::connect(&handle);
            client.call("/echo", b"x");
            drop(handle);
            // Without the waiting that a start does: nobody listens any more.
            let refused = TcpStream::connect(address.as_tcp().unwrap()).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            handle = serve_at(config(), std::slice::from_ref(&address)).0;
        }
    });
}

#[test]
fn a_drain_ends_by_force_when_its_grace_is_over() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut client = Client::connect(&handle);
        client.open("/sleep/600000", b"never");
        client.flush();
        client.call("/echo", b"x");
        handle.drain(Duration::from_millis(50));
        client.read_to_end();
        handle.join().unwrap();
        assert_eq!(reasons(&log, 1), ["the worker shut down"]);
        assert_eq!(log.cancelled.load(Ordering::Relaxed), 1);
    });
}

/// What is accepted when the grace is over already is not spared.
#[test]
fn a_drain_without_grace_ends_what_waits_in_the_accept_queue() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut blocker = Client::connect(&handle);
        blocker.open("/block/300", b"");
        blocker.flush();
        eventually("the worker is blocked", || log.spins.load(Ordering::Relaxed) == 1);
        let mut waiting: Vec<_> = (0..200).map(|_| Client::connect(&handle)).collect();
        for client in &mut waiting {
            client.open("/sleep/600000", b"x");
            client.flush();
        }
        handle.drain(Duration::ZERO);
        let ended = std::thread::spawn(move || handle.join());
        eventually("the engine has ended", || ended.is_finished());
        ended.join().unwrap().unwrap();
    });
}

#[test]
fn dropping_the_handle_ends_everything_at_once() {
    on_both(|backend| {
        let (handle, log) = serve(backend);
        let mut client = Client::connect(&handle);
        client.open("/spin", b"");
        client.flush();
        client.call("/echo", b"x");
        drop(handle);
        assert_eq!(reasons(&log, 1), ["the worker shut down"]);
        client.read_to_end();
    });
}

#[test]
fn a_worker_that_panics_is_reported_and_the_other_goes_on() {
    on_both(|backend| {
        let config = Config { workers: Workers::Count(2), backend, ..Config::default() };
        let (handle, log) = serve_with(config);
        let mut victim = Client::connect(&handle);
        victim.call("/echo", b"x");
        let dead = log.workers.lock().unwrap()[0];
        // The kernel spreads connections over the workers: in the end it gives this one another.
        let mut bystanders = Vec::new();
        while bystanders.is_empty() || *log.workers.lock().unwrap().last().unwrap() != dead {
            let mut bystander = Client::connect(&handle);
            bystander.call("/echo", b"x");
            bystanders.push(bystander);
        }
        victim.open("/panic", b"");
        victim.read_to_end();
        // Its peers must not wait for ever.
        bystanders.pop().unwrap().read_to_end();
        // The dead worker's listener is gone, so in the end every new connection meets the living one.
        eventually("the dead worker's listener is gone", || {
            (0..16).all(|_| {
                let Ok(stream) = TcpStream::connect(handle.addresses()[0].as_tcp().unwrap()) else {
                    return false;
                };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut client = Client::over(Box::new(stream));
                let key = client.open("/echo", b"alive");
                while !client.eof && !client.replies[&key].ended {
                    client.pump();
                }
                client.replies[&key].ended
            })
        });
        handle.drain(Duration::ZERO);
        let panic = handle.join().unwrap_err();
        assert_eq!((panic.index, panic.message.as_str()), (dead, "a session that panics"));
    });
}

#[test]
fn engines_come_and_go_without_leaving_descriptors() {
    on_both(|backend| {
        fn descriptors() -> usize {
            std::fs::read_dir("/proc/self/fd").unwrap().count()
        }
        fn once(backend: Backend) {
            let (handle, _) = serve(backend);
            let mut clients: Vec<_> = (0..10).map(|_| Client::connect(&handle)).collect();
            for client in &mut clients {
                client.call("/echo", &[7; 3_000]);
                client.open("/spin", b"");
                client.flush();
            }
        }
        once(backend);
        // Other tests of this program open and close descriptors meanwhile, and a ring is torn down by the kernel in its
        // own time; a leak of 10 rounds would be at least 10.
        let before = descriptors();
        for _ in 0..10 {
            once(backend);
        }
        eventually("all descriptors are closed", || descriptors() < before + 10);
    });
}

/// The variable that makes the test below a server in a process of its own.
const POOR: &str = "CORELANE_TEST_POOR_SERVER";

#[test]
fn running_out_of_descriptors_does_not_end_the_accepting() {
    if std::env::var_os(POOR).is_some() {
        let backend = if std::env::var(POOR).unwrap() == "epoll" { Backend::Epoll } else { Backend::Uring };
        let (handle, _) = serve(backend);
        println!("\nport {}", handle.addresses()[0].as_tcp().unwrap().port());
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    }
    on_both(|backend| {
        use std::io::BufRead;
        let program = std::env::current_exe().unwrap();
        let script = format!(
            "ulimit -n 48; exec '{}' --exact running_out_of_descriptors_does_not_end_the_accepting --nocapture",
            program.display()
        );
        let mut server = std::process::Command::new("sh")
            .args(["-c", &script])
            .env(POOR, if backend == Backend::Epoll { "epoll" } else { "uring" })
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(server.stdout.take().unwrap()).lines();
        let port =
            lines.map_while(Result::ok).find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok());
        let address: corelane_runtime::Address = format!("127.0.0.1:{}", port.unwrap()).parse().unwrap();
        let connections: Vec<_> =
            (0..100).map(|_| TcpStream::connect(address.as_tcp().unwrap()).unwrap()).collect();
        // The server has met its limit: some of these have their SETTINGS, others wait in the queue for ever.
        connections[0].set_read_timeout(Some(PATIENCE)).unwrap();
        (&connections[0]).read_exact(&mut [0; 9]).unwrap();
        drop(connections);
        let mut client = Client::to(&address);
        assert_eq!(client.call("/echo", b"served again"), b"served again");
        drop(server.stdin.take());
        server.wait().unwrap();
    });
}

#[test]
fn half_a_frame_does_not_keep_a_buffer_that_others_need() {
    on_both(|backend| {
        let mut config = support::config(backend);
        config.limits.receive_buffers_max = 2;
        config.limits.frame_hold = Duration::from_millis(100);
        let (handle, log) = serve_with(config);
        // Both large buffers hold half a frame each, and the rest does not come.
        let holders: Vec<_> = (0..2)
            .map(|n| {
                let mut holder = raw(&handle);
                holder.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
                holder.write_all(b"\0\x40\0\xee\0\0\0\0\0").unwrap();
                // More than a small buffer takes, or just so much that its last byte asks for a large one.
                let bytes = if n == 0 { 8_000 } else { 503 };
                holder.write_all(&vec![b'h'; bytes]).unwrap();
                holder
            })
            .collect();
        eventually("both have been read", || handle.counters().snapshot().bytes_in > 8_500);
        let mut other = Client::connect(&handle);
        assert_eq!(
            other.call("/echo", b"small ones need no large buffer"),
            b"small ones need no large buffer"
        );
        let body = vec![b'b'; 100_000];
        assert!(other.call("/echo", &body) == body);
        assert_eq!(reasons(&log, 1)[0], "the peer held a receive buffer that others needed");
        drop(holders);
    });
}
