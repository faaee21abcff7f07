//! From a target to a connection that takes calls: names, addresses, attempts, pauses, states.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use corelane_call::{Code, Request, Response, stream};
use corelane_client::{
    BuildError, Caller, Cause, Channel, ConnectivityState, Failure, Resolved, WaitForReady,
};
use corelane_policy::balance::EndpointInfo;
use corelane_policy::config::{BalancerConfig, ProxyRules};
use support::peer::Peer;
use support::{
    CHAT, Deserted, ECHO, Running, SPLIT, Text, begin, beside, caller, caller_with, deserted, failure,
    on_both, received, run, say, short_backoff, told, until,
};

fn friendly() -> Peer {
    Peer::answering(|wire, call| wire.answer(call.stream, "yes"))
}

#[test]
fn a_lazy_channel_connects_when_it_is_first_called() {
    let peer = Arc::new(friendly());
    on_both(move || {
        let peer = peer.clone();
        async move {
            let before = peer.connections();
            let caller = caller(&peer.target);
            assert_eq!(caller.channel().state(), ConnectivityState::Idle);
            corelane_runtime::yield_now().await;
            assert_eq!(peer.connections(), before);
            assert_eq!(say(&caller, "hello").await.unwrap(), "yes");
            assert_eq!(say(&caller, "hello").await.unwrap(), "yes");
            assert_eq!(peer.connections(), before + 1);
            assert_eq!(caller.channel().state(), ConnectivityState::Ready);
        }
    });
}

#[test]
fn an_eager_channel_is_ready_when_it_is_there() {
    let peer = Arc::new(friendly());
    on_both(move || {
        let peer = peer.clone();
        async move {
            let before = peer.connections();
            let channel = Channel::connect(&*peer.target).await.unwrap();
            assert_eq!(channel.state(), ConnectivityState::Ready);
            assert_eq!(peer.connections(), before + 1);
            let address = deserted();
            let refused = Channel::connect(format!("ipv4:{address}")).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable);
            assert!(told(&refused).contains(address.address()), "{refused}");
            let invalid = Channel::connect("nowhere:///a").await.unwrap_err();
            assert_eq!(invalid.code(), Code::InvalidArgument);
        }
    });
}

#[test]
fn a_server_that_comes_up_later_is_found_after_a_pause() {
    on_both(|| async {
        let address = deserted();
        let channel = Channel::builder(format!("ipv4:{address}")).backoff(short_backoff());
        let caller = caller_with(channel);
        assert_eq!(say(&caller, "hello").await.unwrap_err().code(), Code::Unavailable);
        let _server = Running::with(&address.free(), |builder| builder, |_| ());
        caller.channel().ready().await.ok();
        until("the server", || caller.channel().state() == ConnectivityState::Ready).await;
        assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
    });
}

#[test]
fn calls_fail_at_once_during_the_pause_and_nobody_is_dialed() {
    on_both(|| async {
        // The first pause is a second by default.
        let address = deserted();
        let caller = caller(&format!("ipv4:{address}"));
        for _ in 0..100 {
            let status = say(&caller, "hello").await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::Connect { .. }));
        }
        assert_eq!(caller.channel().pools()[0].1.failed, 1);
    });
}

/// A listener whose backlog is full: who connects to it waits.
struct Blackhole {
    _listener: socket2::Socket,
    _queued: Vec<TcpStream>,
    address: SocketAddr,
}

impl Blackhole {
    fn new() -> Blackhole {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            queued.push(stream);
            assert!(queued.len() < 10, "the kernel queues more than it was told");
        }
        Blackhole { _listener: listener, _queued: queued, address }
    }
}

#[test]
fn a_peer_that_does_not_even_accept_times_out() {
    let hole = Arc::new(Blackhole::new());
    on_both(move || {
        let hole = hole.clone();
        async move {
            let timeout = Duration::from_millis(50);
            let target = format!("ipv4:{}", hole.address);
            let caller = caller_with(Channel::builder(target).connect_timeout(timeout));
            let status = say(&caller, "hello").await.unwrap_err();
            let text = format!("cannot connect: no answer within 50ms (endpoint {}, after …)", hole.address);
            assert_eq!((status.code(), told(&status)), (Code::Unavailable, text));
        }
    });
}

#[test]
fn the_next_address_is_tried_when_the_first_refuses() {
    let server = Running::start();
    let address = server.address();
    on_both(move || {
        let dead = [deserted(), deserted()];
        let caller = caller(&format!("ipv4:{},{},{address}", dead[0], dead[1]));
        async move {
            let _reserved = dead;
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            let open: Vec<usize> = caller.channel().pools().iter().map(|(_, pool)| pool.open).collect();
            assert_eq!(open, [0, 0, 1]);
        }
    });
}

#[test]
fn all_addresses_are_tried_before_a_call_fails() {
    on_both(|| async {
        let dead = [deserted(), deserted()];
        let caller = caller(&format!("ipv4:{},{}", dead[0], dead[1]));
        let status = say(&caller, "hello").await.unwrap_err();
        assert!(matches!(failure(&status).cause, Cause::Connect { .. }));
        let failed: Vec<u64> = caller.channel().pools().iter().map(|(_, pool)| pool.failed).collect();
        assert_eq!(failed, [1, 1]);
        assert_eq!(caller.channel().state(), ConnectivityState::TransientFailure);
    });
}

#[test]
fn the_next_address_is_tried_beside_one_that_hangs() {
    let (hole, server) = (Blackhole::new(), Running::start());
    let target = format!("ipv4:{},{}", hole.address, server.address());
    on_both(move || {
        // The attempt at the first would take longer than any test.
        let caller = caller_with(Channel::builder(&target).connect_timeout(Duration::from_secs(3_600)));
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
        }
    });
    drop(hole);
}

#[test]
fn a_name_is_resolved_again_after_it_could_not_be() {
    let server = Running::start();
    let address = server.address();
    on_both(move || {
        let (address, mut asked) = (address.clone(), 0);
        let resolve = move || {
            asked += 1;
            if asked < 3 {
                return Err(format!("attempt {asked}"));
            }
            Ok(Resolved { endpoints: vec![EndpointInfo::new(&*address)], service_config: None })
        };
        let builder = Channel::builder("dns:///greeter").resolver(resolve).resolve_interval(Duration::ZERO);
        let caller = caller_with(builder);
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert!(told(&status).starts_with("the name cannot be resolved: attempt "), "{status}");
            assert_eq!(patient(&caller, "hello").await.unwrap(), "hello");
        }
    });
}

/// A call that waits for a connection.
async fn patient(caller: &Caller, text: &str) -> Result<String, corelane_call::Status> {
    let mut request = Request::new(text.to_owned());
    request.extensions_mut().insert(WaitForReady(true));
    caller.unary(ECHO, Text::new(), request).await.map(Response::into_inner)
}

/// A resolver that gives the one list and then the other. A dead endpoint in the first has the channel ask again.
fn switching(
    before: &str,
    after: &str,
    switch: &Arc<AtomicBool>,
) -> impl FnMut() -> Result<Resolved, String> + use<> {
    let (before, dead) = (EndpointInfo::new(before), deserted());
    let (after, switch) = (EndpointInfo::new(after), switch.clone());
    move || {
        let endpoints = match switch.load(Ordering::SeqCst) {
            true => vec![after.clone()],
            false => vec![before.clone(), EndpointInfo::new(dead.address())],
        };
        Ok(Resolved { endpoints, service_config: None })
    }
}

#[test]
fn endpoints_that_are_replaced_finish_what_they_have_and_get_nothing_more() {
    let (old, new) = (Arc::new(Running::start()), Arc::new(Running::start()));
    on_both(move || {
        let (old, new) = (old.clone(), new.clone());
        async move {
            let switch = Arc::new(AtomicBool::new(false));
            let builder = Channel::builder("dns:///greeter")
                .resolver(switching(&old.address(), &new.address(), &switch))
                .resolve_interval(Duration::ZERO)
                .backoff(short_backoff())
                .balancer(BalancerConfig::RoundRobin);
            let caller = caller_with(builder);
            let (sender, words) = stream::channel(1);
            let request = Request::new(words);
            let mut answers = caller.bidi(CHAT, Text::new(), request).await.unwrap().into_inner();
            sender.send("before".to_owned()).await.unwrap();
            assert_eq!(answers.message().await.unwrap().as_deref(), Some("BEFORE"));

            switch.store(true, Ordering::SeqCst);
            let first = new.seen.started();
            while new.seen.started() == first {
                assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            }
            let last = old.seen.started();
            for _ in 0..100 {
                assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            }
            assert_eq!(old.seen.started(), last);
            assert_eq!(caller.channel().pools().len(), 1);

            sender.send("after".to_owned()).await.unwrap();
            assert_eq!(answers.message().await.unwrap().as_deref(), Some("AFTER"));
            drop(sender);
            assert_eq!(answers.message().await.unwrap(), None);
        }
    });
}

#[test]
fn an_endpoint_that_is_no_address_is_an_error_and_no_hang() {
    on_both(|| async {
        let resolve = || {
            let endpoints = vec![EndpointInfo::new("greeter without a port")];
            Ok(Resolved { endpoints, service_config: None })
        };
        let caller = caller_with(Channel::builder("dns:///greeter").resolver(resolve));
        let status = say(&caller, "hello").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(matches!(failure(&status).cause, Cause::Resolve { .. }));
        assert!(told(&status).contains("\"greeter without a port\""), "{status}");
    });
}

#[test]
fn localhost_is_found_whatever_family_comes_first() {
    let server = Running::start();
    let target = format!("dns:///localhost:{}", server.address().rsplit_once(':').unwrap().1);
    on_both(move || {
        let caller = caller(&target);
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
        }
    });
}

#[test]
fn unix_sockets_are_endpoints_too() {
    let path = std::env::temp_dir().join(format!("corelane-connect-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let server = Running::with(&format!("unix:{}", path.display()), |builder| builder, |_| ());
    for target in [format!("unix:{}", path.display()), format!("unix://{}", path.display())] {
        on_both(move || {
            let caller = caller(&target);
            async move {
                assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            }
        });
    }
    drop(server);
    let _ = std::fs::remove_file(&path);
}

#[test]
fn abstract_unix_sockets_are_found_by_their_name() {
    let name = format!("corelane-connect-{}", std::process::id());
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    run(move || {
        let channel = Channel::builder(format!("unix-abstract:{name}")).connect_lazy().unwrap();
        async move {
            channel.wake();
            let accepted = std::thread::spawn(move || listener.accept().map(drop));
            until("a connection", || accepted.is_finished()).await;
            accepted.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_channel_that_is_woken_connects_without_a_call_though_its_name_is_not_known_yet() {
    let peer = Arc::new(friendly());
    on_both(move || {
        let peer = peer.clone();
        async move {
            let endpoints = vec![EndpointInfo::new(&*peer.address)];
            let resolve = move || Ok(Resolved { endpoints: endpoints.clone(), service_config: None });
            let channel = Channel::builder("dns:///greeter").resolver(resolve).connect_lazy().unwrap();
            channel.wake();
            until("a connection", || channel.state() == ConnectivityState::Ready).await;
        }
    });
}

#[test]
fn states_can_be_watched() {
    let (close, closing) = mpsc::channel::<()>();
    let closing = std::sync::Mutex::new(closing);
    let peer = Peer::start(move |wire| {
        wire.greet(&[]);
        let _ = closing.lock().unwrap().recv();
    });
    let target = peer.target.clone();
    on_both(move || {
        let (channel, close) = (Channel::builder(&target).connect_lazy().unwrap(), close.clone());
        async move {
            use ConnectivityState::{Connecting, Idle, Ready, Shutdown};
            assert_eq!(channel.state(), Idle);
            channel.wake();
            assert_eq!(channel.state_changed(Idle).await, Connecting);
            assert_eq!(channel.state_changed(Connecting).await, Ready);
            close.send(()).unwrap();
            assert_eq!(channel.state_changed(Ready).await, Idle);
            channel.shut_down();
            assert_eq!(channel.state_changed(Idle).await, Shutdown);
        }
    });
}

#[test]
fn whoever_stops_watching_is_forgotten_and_the_others_are_told() {
    let peer = friendly();
    let target = peer.target.clone();
    on_both(move || {
        let channel = Channel::builder(&target).connect_lazy().unwrap();
        async move {
            let (done, told) = mpsc::channel();
            for _ in 0..10 {
                let (channel, done) = (channel.clone(), done.clone());
                corelane_runtime::spawn_local(async move {
                    drop(channel.state_changed(ConnectivityState::Idle));
                    let quitter = channel.state_changed(ConnectivityState::Idle);
                    beside(corelane_runtime::yield_now(), quitter).await;
                    done.send(channel.state_changed(ConnectivityState::Idle).await).unwrap();
                });
            }
            corelane_runtime::yield_now().await;
            channel.wake();
            let mut states = Vec::new();
            until("all watchers", || {
                states.extend(told.try_iter());
                states.len() == 10
            })
            .await;
            assert!(!states.contains(&ConnectivityState::Idle));
        }
    });
}

#[test]
fn failing_and_trying_again_are_states_too() {
    on_both(|| async {
        use ConnectivityState::{Connecting, Idle, Ready, TransientFailure};
        let address = deserted();
        let builder = Channel::builder(format!("ipv4:{address}")).backoff(short_backoff());
        let channel = builder.connect_lazy().unwrap();
        channel.wake();
        assert_eq!(channel.state_changed(Idle).await, Connecting);
        assert_eq!(channel.state_changed(Connecting).await, TransientFailure);
        let _server = Running::with(&address.free(), |builder| builder, |_| ());
        // pick_first stays in TRANSIENT_FAILURE until it is connected.
        assert_eq!(channel.state_changed(TransientFailure).await, Ready);
    });
}

#[test]
fn a_channel_that_nobody_uses_lets_its_connections_go_and_comes_back() {
    let server = Running::start();
    let target = server.target.clone();
    run(move || {
        let caller = caller_with(Channel::builder(&target).idle_timeout(Some(Duration::from_millis(1))));
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            // The janitor comes every five seconds.
            let state = caller.channel().state_changed(ConnectivityState::Ready).await;
            assert_eq!(state, ConnectivityState::Idle);
            assert_eq!(caller.channel().pools()[0].1.open, 0);
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            assert_eq!(caller.channel().pools()[0].1.opened, 2);
        }
    });
}

#[test]
fn a_channel_with_a_call_is_not_idle() {
    let server = Running::start();
    let target = server.target.clone();
    run(move || {
        let timeout = Some(Duration::from_millis(1));
        let (used, unused) = (
            caller_with(Channel::builder(&target).idle_timeout(timeout)),
            caller_with(Channel::builder(&target).idle_timeout(timeout)),
        );
        async move {
            say(&unused, "hello").await.unwrap();
            let unused = async {
                unused.channel().state_changed(ConnectivityState::Ready).await;
            };
            beside(unused, say(&used, "hang")).await;
            assert_eq!(used.channel().state(), ConnectivityState::Ready);
        }
    });
}

#[test]
fn whoever_waits_for_readiness_outlasts_failures() {
    on_both(|| async {
        let address = deserted();
        let builder = Channel::builder(format!("ipv4:{address}")).backoff(short_backoff()).wait_for_ready();
        let caller = caller_with(builder);
        let waiting = caller.clone();
        let (done, outcome) = mpsc::channel();
        corelane_runtime::spawn_local(async move {
            done.send(say(&waiting, "hello").await.map_err(|status| status.to_string())).unwrap();
        });
        until("two failures", || caller.channel().pools().first().is_some_and(|(_, pool)| pool.failed >= 2))
            .await;
        assert!(outcome.try_recv().is_err());
        // What a call says itself counts for more than the channel's word.
        let mut request = Request::new("hello".to_owned());
        request.extensions_mut().insert(WaitForReady(false));
        let status = caller.unary(ECHO, Text::new(), request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let _server = Running::with(&address.free(), |builder| builder, |_| ());
        assert_eq!(received("the answer", || outcome.try_recv().ok()).await.as_deref(), Ok("hello"));
    });
}

#[test]
fn a_service_config_may_have_calls_wait_for_readiness() {
    on_both(|| async {
        let address = deserted();
        let config = r#"{"methodConfig": [{"name": [{"service": "test.Texts", "method": "Echo"}], "waitForReady": true}]}"#;
        let builder = Channel::builder(format!("ipv4:{address}")).backoff(short_backoff());
        let caller = caller_with(builder.default_service_config(config));
        let waiting = begin(say(&caller, "hello")).await;
        // Other methods do not.
        let split = caller.server_streaming(SPLIT, Text::new(), Request::new("a".to_owned())).await;
        assert!(matches!(failure(&split.unwrap_err()).cause, Cause::Connect { .. }));
        let _server = Running::with(&address.free(), |builder| builder, |_| ());
        assert_eq!(waiting.await.unwrap(), "hello");
    });
}

#[test]
fn a_name_that_nobody_has_is_said_so() {
    on_both(|| async {
        let status = say(&caller("dns:///no-such-host.invalid:1"), "hello").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(told(&status).starts_with("the name cannot be resolved: no-such-host.invalid: "), "{status}");
        assert!(matches!(failure(&status).cause, Cause::Resolve { .. }));
    });
}

#[test]
fn targets_that_are_none_are_refused_with_what_is_wrong() {
    let refused = |target: &str| match Channel::builder(target).build() {
        Err(BuildError::Target(text)) => text,
        other => panic!("{target:?}: {other:?}"),
    };
    assert_eq!(refused(""), "target: is empty: write dns:///host:port");
    assert!(refused("ftp:///greeter:1").contains("\"ftp\" is no scheme that is known here"));
    assert!(refused("dns:///greeter:http").contains("\"http\" is no port of \"greeter\""));
    assert!(refused("dns:///greeter:70000").contains("\"70000\" is no port"));
    assert!(refused("dns:///").contains("a host is missing"));
    assert!(refused("ipv4:greeter:1").contains("is no address of ipv4"));
    assert!(refused("ipv6:127.0.0.1:1").contains("is no address of ipv6"));
    assert!(refused("static:///a:1,,b:2").contains("a host is missing"));
    assert!(refused(&"a".repeat(1 << 20)).contains("must be at most"));
}

#[test]
fn a_config_that_goes_bad_leaves_the_last_good_one() {
    let server = Running::start();
    let address = server.address();
    on_both(move || {
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, address, dead) = (asked.clone(), address.clone(), deserted());
        let resolve = move || {
            let good = r#"{"methodConfig": [{"name": [{}], "maxRequestMessageBytes": 10}],
                           "loadBalancingConfig": [{"round_robin": {}}]}"#;
            let config =
                if counter.fetch_add(1, Ordering::SeqCst) == 0 { good } else { "{\"methodConfig\": 1}" };
            let endpoints = [&*address, dead.address()].map(EndpointInfo::new).to_vec();
            Ok(Resolved { endpoints, service_config: Some(config.to_owned()) })
        };
        let builder = Channel::builder("dns:///greeter").resolver(resolve).backoff(short_backoff());
        let caller = caller_with(builder.resolve_interval(Duration::ZERO));
        async move {
            let is_limited = async || {
                let status = say(&caller, "longer than ten bytes").await.unwrap_err();
                matches!(Failure::of(&status).unwrap().cause, Cause::RequestTooLarge)
            };
            assert!(is_limited().await);
            until("three resolutions", || asked.load(Ordering::SeqCst) >= 3).await;
            assert!(is_limited().await);
            assert_eq!(say(&caller, "short").await.unwrap(), "short");
        }
    });
}

#[test]
fn a_resolver_that_panics_is_one_that_fails() {
    on_both(|| async {
        let resolve = || -> Result<Resolved, String> { panic!("on purpose") };
        let caller = caller_with(Channel::builder("dns:///greeter").resolver(resolve));
        let status = say(&caller, "hello").await.unwrap_err();
        assert_eq!(told(&status), "the name cannot be resolved: the resolver panicked: on purpose (after …)");
    });
}

#[test]
fn names_are_not_resolved_oftener_than_the_interval_says() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    run(move || {
        let dead = deserted();
        let resolve = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(Resolved { endpoints: vec![EndpointInfo::new(dead.address())], service_config: None })
        };
        let caller =
            caller_with(Channel::builder("dns:///greeter").resolver(resolve).backoff(short_backoff()));
        async move {
            caller.channel().wake();
            until("five failures", || {
                caller.channel().pools().first().is_some_and(|(_, pool)| pool.failed >= 5)
            })
            .await;
        }
    });
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the next one may be in 30 s");
}

#[test]
fn a_resolver_that_blocks_does_not_stop_the_worker() {
    let (release, held) = mpsc::channel::<()>();
    let server = Running::start();
    let target = server.target.clone();
    run(move || {
        let resolve = move || {
            let _ = held.recv();
            Err("late".to_owned())
        };
        let (slow, quick) = (Channel::builder("dns:///greeter").resolver(resolve), caller(&target));
        let slow = slow.connect_lazy().unwrap();
        async move {
            slow.wake();
            assert_eq!(say(&quick, "hello").await.unwrap(), "hello");
            assert_eq!(slow.state(), ConnectivityState::Connecting);
            release.send(()).unwrap();
            let state = slow.state_changed(ConnectivityState::Connecting).await;
            assert_eq!(state, ConnectivityState::TransientFailure);
        }
    });
}

#[test]
fn a_proxy_leads_to_servers_whose_names_only_it_knows() {
    let (sender, heads) = mpsc::channel();
    let proxy = Peer::start(move |wire| {
        let _ = sender.send(wire.http1());
        wire.raw(b"HTTP/1.1 200 Connection established\r\n\r\n");
        wire.greet(&[]);
        while let Some(call) = wire.call() {
            let authority = call.field(":authority").unwrap();
            wire.answer(call.stream, &authority);
        }
    });
    let (address, heads) = (proxy.address.clone(), Arc::new(std::sync::Mutex::new(heads)));
    on_both(move || {
        let rules =
            ProxyRules::from_environment(|name| (name == "grpc_proxy").then(|| format!("http://{address}")));
        let caller = caller_with(Channel::builder("dns:///greeter.invalid:50051").proxy(rules.unwrap()));
        let heads = heads.clone();
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "greeter.invalid:50051");
            let head = heads.lock().unwrap().recv().unwrap();
            assert!(head.starts_with("CONNECT greeter.invalid:50051 HTTP/1.1\r\n"), "{head}");
        }
    });
}

#[test]
fn an_endpoint_gets_calls_for_as_long_as_it_says_that_it_serves() {
    // The statuses of grpc.health.v1.Health, one after the other, as they are sent here.
    let (say_so, said) = mpsc::channel::<u8>();
    let said = std::sync::Mutex::new(said);
    let peer = Peer::start(move |wire| {
        wire.greet(&[]);
        let Some(watch) = wire.call() else { return };
        wire.head(watch.stream);
        while let Ok(status) = said.lock().unwrap().recv() {
            match status {
                0 => return,
                1 => {
                    wire.data(watch.stream, &[0, 0, 0, 0, 2, 8, 1]);
                    let Some(call) = wire.call() else { return };
                    wire.answer(call.stream, "healthy");
                }
                other => wire.data(watch.stream, &[0, 0, 0, 0, 2, 8, other]),
            }
        }
    });
    let target = peer.target.clone();
    on_both(move || {
        let builder = Channel::builder(&target)
            .balancer(BalancerConfig::RoundRobin)
            .default_service_config(r#"{"healthCheckConfig": {"serviceName": "test.Texts"}}"#);
        let (caller, say_so) = (caller_with(builder), say_so.clone());
        async move {
            say_so.send(2).unwrap();
            let status = say(&caller, "hello").await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::Unhealthy { .. }), "{status}");
            say_so.send(1).unwrap();
            assert_eq!(patient(&caller, "hello").await.unwrap(), "healthy");
            say_so.send(2).unwrap();
            let state = caller.channel().state_changed(ConnectivityState::Ready).await;
            assert_eq!(state, ConnectivityState::TransientFailure);
            // It is there, and came once, however often its endpoint changes its mind.
            let figures = caller.channel().pools()[0].1;
            assert_eq!((figures.opened, figures.open, figures.idle), (1, 1, 1));
            // The connection goes while it does not serve, and the next one serves.
            say_so.send(0).unwrap();
            say_so.send(1).unwrap();
            assert_eq!(patient(&caller, "hello").await.unwrap(), "healthy");
            assert_eq!(caller.channel().pools()[0].1.opened, 2);
            say_so.send(0).unwrap();
        }
    });
}

#[test]
fn a_listener_that_is_gone_and_back_keeps_its_endpoint() {
    on_both(|| async {
        let first = Running::start();
        let address = first.address();
        let builder = Channel::builder(format!("ipv4:{address}")).backoff(short_backoff());
        let caller = caller_with(builder);
        assert_eq!(say(&caller, "one").await.unwrap(), "one");
        first.handle.shutdown_within(Duration::ZERO);
        caller.channel().state_changed(ConnectivityState::Ready).await;
        drop(first);
        let gone = received("the port", || Deserted::again(&address)).await;
        assert_eq!(say(&caller, "two").await.unwrap_err().code(), Code::Unavailable);
        let _second = Running::with(&gone.free(), |builder| builder, |_| ());
        assert_eq!(patient(&caller, "three").await.unwrap(), "three");
    });
}
