//! Every cause of a failed call but a server's answer (`answers.rs`), each by a situation in which it arises, with its code and
//! its text.
//!
//! The last test compares the tests with the enumeration: a cause without one fails it.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::time::Duration;

use corelane_call::{Code, Codec, Request, Status, stream};
use corelane_client::{
    BearerToken, Caller, Cause, Channel, ClientTls, Engine, Place, RemoteCaller, RemoteChannel, Resolved,
};
use corelane_policy::balance::EndpointInfo;
use corelane_policy::config::{BalancerConfig, ProxyRules};
use corelane_policy::resilience::{BreakerConfig, BreakerMode, RateLimitConfig};
use corelane_runtime::{Config, Limits, Workers, spawn_local, yield_now};
use support::failing::fails_with;
use support::peer::Peer;
use support::{
    CHAT, ECHO, JOIN, Running, Text, caller, caller_with, deserted, failure, on_both, run, say, soon, told,
};

/// How a call fails whose channel resolves so.
fn resolved_with(resolve: fn() -> Result<Resolved, String>, code: Code, text: &'static str) -> Vec<Cause> {
    let (sender, causes) = std::sync::mpsc::channel();
    on_both(move || {
        let caller = caller_with(Channel::builder("dns:///greeter").resolver(resolve));
        let sender = sender.clone();
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), told(&status)), (code, text.to_owned()));
            assert_eq!((failure(&status).endpoint.as_deref(), failure(&status).attempt), (None, 1));
            sender.send(failure(&status).cause.clone()).unwrap();
        }
    });
    causes.iter().collect()
}

#[test]
fn a_resolver_that_fails() {
    let causes = resolved_with(
        || Err("the phone book is closed".to_owned()),
        Code::Unavailable,
        "the name cannot be resolved: the phone book is closed (after …)",
    );
    assert!(causes.iter().all(|cause| matches!(cause, Cause::Resolve { .. })));
}

#[test]
fn a_name_without_addresses() {
    let causes = resolved_with(
        || Ok(Resolved::default()),
        Code::Unavailable,
        "the name resolves to no address (after …)",
    );
    assert!(causes.iter().all(|cause| matches!(cause, Cause::NoEndpoints)));
}

#[test]
fn a_service_config_that_makes_no_sense_and_none_before_it() {
    let causes = resolved_with(
        || {
            let service_config = Some(r#"{"methodConfig": [{"name": [{}], "timeout": 1}]}"#.to_owned());
            Ok(Resolved { endpoints: vec![EndpointInfo::new("127.0.0.1:1")], service_config })
        },
        Code::Unavailable,
        "the service config is refused: methodConfig[0].timeout: must be a string such as \"1.5s\", is 1 (after …)",
    );
    assert!(causes.iter().all(|cause| matches!(cause, Cause::ServiceConfig { .. })));
}

#[test]
fn a_port_where_nobody_listens() {
    let address = deserted();
    on_both(move || {
        let (caller, address) = (caller(&format!("ipv4:{address}")), address.clone());
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(
                told(&status),
                format!("cannot connect: Connection refused (os error 111) (endpoint {address}, after …)"),
            );
            assert!(matches!(failure(&status).cause, Cause::Connect { .. }));
        }
    });
}

#[test]
fn a_peer_that_accepts_and_says_nothing() {
    fails_with(
        &Peer::start(|wire| while wire.frame().is_some() {}),
        |builder| builder.connect_timeout(Duration::from_millis(30)),
        |cause| matches!(cause, Cause::ConnectTimeout { after } if after.as_millis() == 30),
        Code::Unavailable,
        "cannot connect: no answer within 30ms (PEER, after …)",
    );
}

#[test]
fn a_plaintext_peer_where_tls_is_wanted() {
    fails_with(
        &Peer::start(|wire| wire.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        |builder| builder.tls(ClientTls::builder().roots_native().build().unwrap()),
        |cause| matches!(cause, Cause::Tls { .. }),
        Code::Unavailable,
        "the TLS handshake failed: the peer does not speak TLS: its port is a plaintext one (PEER, after …)",
    );
}

#[test]
fn a_proxy_that_refuses() {
    let proxy = Peer::start(|wire| wire.raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let address = proxy.address.clone();
    on_both(move || {
        let rules =
            ProxyRules::from_environment(|name| (name == "grpc_proxy").then(|| format!("http://{address}")));
        let caller = caller_with(Channel::builder("dns:///greeter.invalid:50051").proxy(rules.unwrap()));
        let address = address.clone();
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            let text = format!(
                "the proxy failed: the proxy opens no tunnel, for it answered 403 \"Forbidden\": ask whoever runs it, or name \
                 the server in no_proxy (endpoint {address}, after …)"
            );
            assert_eq!(told(&status), text);
            assert!(matches!(failure(&status).cause, Cause::Proxy { .. }));
            assert_eq!(
                (failure(&status).endpoint.as_deref(), failure(&status).attempt),
                (Some(&*address), 1)
            );
        }
    });
}

#[test]
fn a_peer_that_does_not_speak_http2() {
    let peer = Peer::start(|wire| wire.raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    fails_with(
        &peer,
        |builder| builder,
        |cause| matches!(cause, Cause::Handshake { .. }),
        Code::Unavailable,
        "what answered does not speak HTTP/2: FRAME_SIZE_ERROR: a frame larger than SETTINGS_MAX_FRAME_SIZE (PEER, after …)",
    );
}

#[test]
fn a_peer_that_hangs_up_at_once() {
    fails_with(
        &Peer::start(|_| ()),
        |builder| builder,
        |cause| matches!(cause, Cause::Handshake { .. }),
        Code::Unavailable,
        "what answered does not speak HTTP/2: the peer closed the connection (PEER, after …)",
    );
}

#[test]
fn a_worker_that_has_as_many_connections_as_it_may() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let config = Config { workers: Workers::Count(1), limits, ..Config::default() };
    Engine::with_config(config).unwrap().block_on(move || async move {
        let (first, second) = (caller(&target), caller(&target));
        assert_eq!(say(&first, "hello").await.unwrap(), "hello");
        let status = say(&second, "hello").await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let text = format!("the worker has as many connections as it may (endpoint {address}, after …)");
        assert_eq!(told(&status), text);
        assert!(matches!(failure(&status).cause, Cause::TooManyConnections));
        assert_eq!((failure(&status).endpoint.as_deref(), failure(&status).attempt), (Some(&*address), 1));
    });
}

#[test]
fn an_endpoint_that_says_that_it_does_not_serve() {
    // A Watch of grpc.health.v1.Health is answered with NOT_SERVING.
    let peer = Peer::answering(|wire, call| {
        wire.head(call.stream);
        wire.data(call.stream, &[0, 0, 0, 0, 2, 8, 2]);
    });
    fails_with(
        &peer,
        |builder| {
            builder
                .balancer(BalancerConfig::RoundRobin)
                .default_service_config(r#"{"healthCheckConfig": {"serviceName": "test.Texts"}}"#)
        },
        |cause| matches!(cause, Cause::Unhealthy { .. }),
        Code::Unavailable,
        "the endpoint is not healthy: its status is NOT_SERVING (PEER, after …)",
    );
}

#[test]
fn a_channel_that_was_shut_down() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            caller.channel().shut_down();
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(told(&status), "the channel is shut down (after …)");
            assert!(matches!(failure(&status).cause, Cause::ChannelShutdown));
            assert_eq!((failure(&status).endpoint.as_deref(), failure(&status).attempt), (None, 1));
        }
    });
}

#[test]
fn a_worker_that_ends_before_the_call() {
    let server = Running::start();
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let channel = Channel::builder(&server.target).build().unwrap();
    let caller = RemoteCaller::new(RemoteChannel::on(&engine, channel));
    let call = caller.unary(ECHO, Text::new(), Request::new("hang".to_owned()));
    support::eventually("the call", || server.seen.started() == 1);
    engine.drain(Duration::ZERO);
    let status = run(move || call).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(failure(&status).cause, Cause::WorkerEnded), "{status:?}");
    let address = server.address();
    assert_eq!(told(&status), format!("the worker ended before the call did (endpoint {address}, after …)"));
    assert_eq!((failure(&status).endpoint.as_deref(), failure(&status).attempt), (Some(&*address), 1));
}

#[test]
fn a_mailbox_that_is_full() {
    let engine = Engine::start(Workers::Count(1)).unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = std::sync::mpsc::channel();
    engine
        .spawn(move || async move {
            entered.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
    inside.recv().unwrap();
    let channel = Channel::builder("ipv4:127.0.0.1:1").build().unwrap();
    let caller = RemoteCaller::new(RemoteChannel::on(&engine, channel));
    // The worker is busy: nobody takes anything from its mailbox.
    let calls: Vec<_> = (0..=corelane_runtime::limits::MAILBOX_MESSAGES_MAX)
        .map(|_| caller.unary(ECHO, Text::new(), Request::new(String::new())))
        .collect();
    let status = run(move || async move { calls.into_iter().next_back().unwrap().await.unwrap_err() });
    release.send(()).unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(told(&status), "the worker's mailbox is full: it cannot keep up with other threads (after …)");
    assert!(matches!(failure(&status).cause, Cause::MailboxFull));
    assert_eq!(failure(&status).attempt, 0);
}

#[test]
fn too_many_calls_that_wait() {
    // It never becomes ready.
    let peer = Peer::start(|wire| while wire.frame().is_some() {});
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).pending_calls_max(1));
        async move {
            let waiting = caller.clone();
            spawn_local(async move {
                let _ = say(&waiting, "first").await;
            });
            yield_now().await;
            let status = say(&caller, "second").await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert_eq!(told(&status), "1 calls wait on this channel already, which is its limit (after …)");
            assert!(matches!(failure(&status).cause, Cause::QueueFull { max: 1 }));
            assert_eq!((failure(&status).endpoint.as_deref(), failure(&status).attempt), (None, 1));
        }
    });
}

#[test]
fn a_breaker_that_is_open() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let shared = Channel::builder(&target).circuit_breaker(BreakerConfig::default()).build().unwrap();
        let (caller, address) = (Caller::new(shared.local()), address.clone());
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            shared.set_breaker(&address, ECHO, BreakerMode::ForcedOpen);
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            assert!(told(&status).starts_with("the circuit breaker is open"), "{status}");
            assert!(matches!(failure(&status).cause, Cause::BreakerOpen { .. }));
            assert_eq!(failure(&status).endpoint.as_deref(), Some(&*address));
        }
    });
}

#[test]
fn more_calls_than_the_client_allows_itself() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let limit = RateLimitConfig { calls: 1, per: Duration::from_secs(3_600), burst: 1 };
        let caller = caller_with(Channel::builder(&target).rate_limit(limit));
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            let text = "the client's own rate limit is reached; there is room in ";
            assert!(told(&status).starts_with(text), "{status}");
            assert!(matches!(failure(&status).cause, Cause::RateLimited { .. }));
            assert_eq!(failure(&status).attempt, 0);
        }
    });
}

#[test]
fn an_interceptor_that_refuses() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let mut caller = caller(&target);
        caller.add_interceptor(|_: Request<()>| Err(Status::permission_denied("not today")));
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "not today"));
            assert!(matches!(failure(&status).cause, Cause::Interceptor));
            assert_eq!(failure(&status).attempt, 0);
        }
    });
}

#[test]
fn credentials_that_must_not_go_out_in_plaintext() {
    let server = Running::start();
    let target = server.target.clone();
    on_both(move || {
        let mut caller = caller(&target);
        caller.set_credentials(BearerToken::new("opaque").unwrap());
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated);
            let text = "the call has credentials that must not be sent without TLS, and the channel has none: give the \
                        channel TLS, or credentials that may be sent over plaintext";
            assert_eq!(status.message(), text);
            assert!(matches!(failure(&status).cause, Cause::Credentials));
            assert_eq!(failure(&status).attempt, 0);
        }
    });
}

#[test]
fn a_request_that_is_too_large() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let (mut caller, address) = (caller(&target), address.clone());
        caller.max_encoding_message_size(10);
        async move {
            let status = say(&caller, "0123456789").await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            let text = format!("the request is too large (endpoint {address}, after …): ");
            assert_eq!(told(&status), text + "message too large: 12 bytes, the limit is 10");
            assert!(matches!(failure(&status).cause, Cause::RequestTooLarge));
            assert_eq!(say(&caller, "short").await.unwrap(), "short");
        }
    });
}

/// A codec that has nothing good to say.
#[derive(Clone)]
struct Speechless;

impl Codec for Speechless {
    type Encode = String;
    type Decode = String;

    fn encode(&self, _: &String, out: &mut Vec<u8>) -> Result<(), Status> {
        out.extend_from_slice(b"half a mess");
        Err(Status::internal("words fail me"))
    }

    fn decode(&self, _: &[u8]) -> Result<String, Status> {
        Err(Status::internal("words fail me"))
    }
}

#[test]
fn a_request_that_cannot_be_encoded() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let (caller, address) = (caller(&target), address.clone());
        async move {
            let text = format!("the request cannot be encoded (endpoint {address}, after …): words fail me");
            let unary = caller.unary(ECHO, Speechless, Request::new(String::new())).await;
            let requests = Request::new(stream::iter(["a".to_owned()]));
            let streamed = caller.client_streaming(JOIN, Speechless, requests).await;
            for status in [unary.unwrap_err(), streamed.unwrap_err()] {
                assert_eq!((status.code(), told(&status)), (Code::Internal, text.clone()));
                assert_eq!(failure(&status).attempt, 1);
                assert!(matches!(failure(&status).cause, Cause::Encode));
            }
            assert_eq!(say(&caller, "the connection is as good as before").await.unwrap().len(), 35);
        }
    });
}

#[test]
fn a_request_that_is_too_large_for_a_conversation_that_has_begun() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let (mut caller, address) = (caller(&target), address.clone());
        caller.max_encoding_message_size(10);
        async move {
            let (sender, words) = stream::channel(1);
            let mut answers = caller.bidi(CHAT, Text::new(), Request::new(words)).await.unwrap().into_inner();
            sender.send("a".to_owned()).await.unwrap();
            assert_eq!(answers.message().await.unwrap().as_deref(), Some("A"));
            sender.send("0123456789".to_owned()).await.unwrap();
            let status = soon(async move { answers.message().await }).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            let text = format!("the request is too large (endpoint {address}, after …)");
            assert!(told(&status).starts_with(&text), "{status}");
            assert!(matches!(failure(&status).cause, Cause::RequestTooLarge));
        }
    });
}

#[test]
fn a_request_that_is_too_large_for_a_stream_that_is_not_kept() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let (mut caller, address) =
            (caller_with(Channel::builder(&target).retry_buffer_bytes(0)), address.clone());
        caller.max_encoding_message_size(10);
        async move {
            let words = Request::new(stream::iter(["a", "0123456789"].map(str::to_owned)));
            let call = async move { caller.client_streaming(JOIN, Text::new(), words).await };
            let status = soon(call).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            let text = format!("the request is too large (endpoint {address}, after …)");
            assert!(told(&status).starts_with(&text), "{status}");
            assert!(matches!(failure(&status).cause, Cause::RequestTooLarge));
        }
    });
}

#[test]
fn a_deadline_that_is_over_says_where() {
    // `cancel.rs` has the other places.
    let peer = Peer::answering(|_, _| ());
    let (target, address) = (peer.target.clone(), peer.address.clone());
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).timeout(Duration::from_millis(20)));
        let address = address.clone();
        async move {
            caller.channel().ready().await.unwrap();
            let status = say(&caller, "hello").await.unwrap_err();
            let text = format!(
                "the deadline was over while the server had not answered (endpoint {address}, after …)"
            );
            assert_eq!((status.code(), told(&status)), (Code::DeadlineExceeded, text));
            let failure = failure(&status);
            assert!(matches!(failure.cause, Cause::Deadline(Place::Response)), "{failure:?}");
            assert_eq!((failure.endpoint.as_deref(), failure.attempt), (Some(&*address), 1));
        }
    });
}

#[test]
fn a_stream_of_requests_that_panics() {
    let server = Running::start();
    let (target, address) = (server.target.clone(), server.address());
    on_both(move || {
        let (caller, address) = (caller(&target), address.clone());
        async move {
            let requests =
                stream::iter((0..2).map(|n| if n == 0 { "a".to_owned() } else { panic!("on purpose") }));
            let status =
                caller.client_streaming(JOIN, Text::new(), Request::new(requests)).await.unwrap_err();
            assert_eq!(status.code(), Code::Cancelled);
            let text =
                format!("the stream of requests was dropped before it ended (endpoint {address}, after …)");
            assert_eq!(told(&status), text);
            assert!(matches!(failure(&status).cause, Cause::RequestStream));
        }
    });
}

/// The variants of an enumeration of `error.rs`.
fn variants(name: &str) -> Vec<&'static str> {
    let source = include_str!("../src/error.rs");
    let (_, enumeration) = source.split_once(&format!("pub enum {name} {{")).unwrap();
    let (enumeration, _) = enumeration.split_once("\n}\n").unwrap();
    enumeration
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .collect()
}

/// The tests in which `path` stands, other than in a comment.
fn tests_with(path: &str) -> Vec<&'static str> {
    let files = [
        include_str!("causes.rs"),
        include_str!("answers.rs"),
        include_str!("keepalive.rs"),
        include_str!("cancel.rs"),
    ];
    let is_there = |line: &str| {
        let mut rests = line.split(path).skip(1);
        !line.trim_start().starts_with("//") && rests.any(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    files
        .into_iter()
        .flat_map(|file| file.split("#[test]\nfn ").skip(1))
        .filter_map(|test| test.split_once("\n}\n"))
        .filter(|(test, _)| test.lines().any(is_there))
        .filter_map(|(test, _)| test.split_once('('))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn every_cause_and_every_place_has_a_test() {
    let causes = variants("Cause");
    assert!(causes.len() >= 40, "{causes:?}");
    let untested = |kind: &str, names: &[&'static str]| -> Vec<&'static str> {
        names.iter().filter(|name| tests_with(&format!("{kind}::{name}")).is_empty()).copied().collect()
    };
    assert_eq!(untested("Cause", &causes), [""; 0], "causes without a test");
    let places = variants("Place");
    assert_eq!(places.len(), 5, "{places:?}");
    assert_eq!(untested("Place", &places), [""; 0], "places without a test");
}
