//! Servers that fall silent, and servers that want to be left alone (gRFC A8).
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelane_call::Code;
use corelane_client::{
    Caller, Cause, Channel, ChannelBuilder, ConnectivityState, KeepaliveConfig, WhileIdle,
};
use corelane_policy::config::BalancerConfig;
use corelane_wire::frame::{ErrorCode, Flags, Kind};
use support::peer::{MAX_CONCURRENT_STREAMS, Peer, Wire};
use support::{both, caller_with, failure, on_both, received, run, say, soon, told, until};

/// Asks after 10 ms of silence, and waits for 30.
fn asking(target: &str, while_idle: WhileIdle) -> ChannelBuilder {
    let config = KeepaliveConfig {
        timeout: Duration::from_millis(30),
        while_idle,
        ..KeepaliveConfig::new(Duration::from_millis(10))
    };
    Channel::builder(target).keepalive_unbounded(config)
}

/// Reads on, and answers so many PINGs; says whether all of them came.
fn answer_pings(wire: &mut Wire, pings: usize) -> bool {
    let mut answered = 0;
    while answered < pings {
        let Some((header, payload)) = wire.frame() else { return false };
        if header.kind == Kind::PING && !header.flags.contains(Flags::ACK) {
            wire.send(Kind::PING, Flags::ACK, 0, &payload);
            answered += 1;
        }
    }
    true
}

#[test]
fn a_server_that_falls_silent_is_noticed_and_another_connection_is_made() {
    let peer = Peer::start(|wire| {
        wire.greet(&[]);
        if wire.number.is_multiple_of(2) {
            // It reads and says nothing, not even to a PING.
            while wire.frame().is_some() {}
        }
        while let Some(call) = wire.call() {
            wire.answer(call.stream, "alive");
        }
    });
    let (target, address) = (peer.target.clone(), peer.address.clone());
    on_both(move || {
        let (caller, address) = (caller_with(asking(&target, WhileIdle::Rest)), address.clone());
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            let text = format!(
                "the server did not answer a keepalive PING within 30ms (endpoint {address}, after …)"
            );
            assert_eq!((status.code(), told(&status)), (Code::Unavailable, text));
            assert!(matches!(failure(&status).cause, Cause::KeepaliveTimeout { .. }));
            assert_eq!(say(&caller, "hello").await.unwrap(), "alive");
            assert_eq!(caller.channel().pools()[0].1.opened, 2);
        }
    });
}

#[test]
fn a_server_that_answers_pings_may_take_its_time() {
    let peer = Peer::start(|wire| {
        wire.greet(&[]);
        let Some(call) = wire.call() else { return };
        if answer_pings(wire, 5) {
            wire.answer(call.stream, "at last");
        }
        wire.until_closed();
    });
    let target = peer.target.clone();
    on_both(move || {
        // It has as long as it likes: only whether it is asked is seen here.
        let config = KeepaliveConfig::new(Duration::from_millis(10));
        let caller = caller_with(Channel::builder(&target).keepalive_unbounded(config));
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "at last");
        }
    });
}

#[test]
fn a_connection_without_calls_is_asked_only_if_that_was_wanted() {
    let (sender, asked) = mpsc::channel();
    let peer = Peer::start(move |wire| {
        wire.greet(&[]);
        if answer_pings(wire, 3) {
            let _ = sender.send(wire.number);
        }
        wire.until_closed();
    });
    let (target, asked) = (peer.target.clone(), Arc::new(Mutex::new(asked)));
    on_both(move || {
        let resting = asking(&target, WhileIdle::Rest).connect_lazy().unwrap();
        let mut config = KeepaliveConfig::new(Duration::from_millis(10));
        config.while_idle = WhileIdle::Ping;
        let pinging = Channel::builder(&target).keepalive_unbounded(config).connect_lazy().unwrap();
        let asked = asked.clone();
        async move {
            resting.ready().await.unwrap();
            pinging.ready().await.unwrap();
            let number = received("three PINGs", || asked.lock().unwrap().try_recv().ok()).await;
            assert_eq!(number % 2, 1, "the second connection is the one that is asked");
            assert_eq!(resting.state(), ConnectivityState::Ready);
        }
    });
}

#[test]
fn an_idle_server_that_falls_silent_is_noticed_too() {
    let peer = Peer::start(|wire| {
        wire.greet(&[]);
        while wire.frame().is_some() {}
    });
    let target = peer.target.clone();
    on_both(move || {
        let channel = asking(&target, WhileIdle::Ping).connect_lazy().unwrap();
        async move {
            channel.ready().await.unwrap();
            assert_eq!(channel.state_changed(ConnectivityState::Ready).await, ConnectivityState::Idle);
        }
    });
}

#[test]
fn a_server_that_is_asked_too_often_is_asked_half_as_often() {
    let peer = Peer::answering(|wire, call| {
        wire.goaway(call.stream, ErrorCode::ENHANCE_YOUR_CALM, b"too_many_pings");
        wire.hang_up();
    });
    let target = peer.target.clone();
    on_both(move || {
        let second = Duration::from_secs(1);
        let shared =
            Channel::builder(&target).keepalive_unbounded(KeepaliveConfig::new(second)).build().unwrap();
        let caller = Caller::new(shared.local());
        async move {
            for complaint in 0..3 {
                assert_eq!(shared.keepalive_time(), second * (1 << complaint));
                let status = say(&caller, "hello").await.unwrap_err();
                assert_eq!(status.code(), Code::Unavailable);
                assert!(told(&status).contains("ENHANCE_YOUR_CALM"), "{status}");
                until("the longer time", || shared.keepalive_time() == second * (2 << complaint)).await;
            }
        }
    });
}

#[test]
fn an_endpoint_that_falls_silent_while_its_health_is_watched_is_noticed() {
    let peer = Peer::start(|wire| {
        wire.greet(&[]);
        let Some(watch) = wire.call() else { return };
        // It serves, it says, and nothing more.
        wire.head(watch.stream);
        wire.data(watch.stream, &[0, 0, 0, 0, 2, 8, 1]);
        while wire.frame().is_some() {}
    });
    let target = peer.target.clone();
    on_both(move || {
        let builder = asking(&target, WhileIdle::Rest)
            .balancer(BalancerConfig::RoundRobin)
            .default_service_config(r#"{"healthCheckConfig": {"serviceName": "test.Texts"}}"#);
        let channel = builder.connect_lazy().unwrap();
        async move {
            channel.ready().await.unwrap();
            let change = async move { channel.state_changed(ConnectivityState::Ready).await };
            assert_ne!(soon(change).await, ConnectivityState::Ready);
        }
    });
}

#[test]
fn a_complaint_counts_once_however_many_connections_hear_it() {
    let (peer, cues) = Peer::cued(2, |wire, wait| {
        wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
        let Some(call) = wire.call() else { return };
        wait();
        wire.goaway(call.stream, ErrorCode::ENHANCE_YOUR_CALM, b"too_many_pings");
    });
    let target = peer.target.clone();
    run(move || {
        let second = Duration::from_secs(1);
        let builder = Channel::builder(&target).keepalive_unbounded(KeepaliveConfig::new(second));
        let shared = builder.connections(1, 2).build().unwrap();
        let caller = Caller::new(shared.local());
        async move {
            let figures = || caller.channel().pools()[0].1;
            caller.channel().ready().await.unwrap();
            let complaints = async {
                until("both connections", || (figures().open, figures().idle) == (2, 0)).await;
                for cue in &cues {
                    cue.send(()).unwrap();
                }
            };
            let calls = both(say(&caller, "one"), say(&caller, "other"));
            let ((one, other), ()) = both(calls, complaints).await;
            assert!(one.is_err() && other.is_err());
            until("both to be gone", || caller.channel().state() == ConnectivityState::Idle).await;
            assert_eq!(shared.keepalive_time(), second * 2);
        }
    });
}

#[test]
fn times_that_servers_would_not_bear_are_raised() {
    let built = |time| {
        let config = KeepaliveConfig::new(Duration::from_secs(time));
        Channel::builder("ipv4:127.0.0.1:1").keepalive(config).build().unwrap().keepalive_time()
    };
    assert_eq!(built(1), Duration::from_secs(10));
    assert_eq!(built(60), Duration::from_secs(60));
    let none = Channel::builder("ipv4:127.0.0.1:1").build().unwrap();
    assert_eq!(none.keepalive_time(), Duration::ZERO);
}
