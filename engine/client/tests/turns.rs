//! Turns in line where streams are few: nobody is left behind, and a server that takes no more connections is not pressed.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use corelane_client::Channel;
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::BackoffConfig;
use corelane_runtime::spawn_local;
use support::peer::{MAX_CONCURRENT_STREAMS, Peer};
use support::{Running, beside, caller_with, on_both, run, say, until};

#[test]
fn calls_in_line_at_several_endpoints_all_get_their_turn() {
    let servers: Vec<Running> = (0..3).map(|_| Running::narrow(1)).collect();
    let addresses: Vec<String> = servers.iter().map(Running::address).collect();
    let target = format!("static:///{}", addresses.join(","));
    for policy in [BalancerConfig::RoundRobin, BalancerConfig::Random] {
        let target = target.clone();
        on_both(move || {
            let builder = Channel::builder(&target).connections(1, 1).balancer(policy.clone());
            let caller = caller_with(builder);
            async move {
                let left = Rc::new(Cell::new(300));
                for _ in 0..left.get() {
                    let (left, caller) = (left.clone(), caller.clone());
                    spawn_local(async move {
                        say(&caller, "hello").await.unwrap();
                        left.set(left.get() - 1);
                    });
                }
                until("all calls", || left.get() == 0).await;
            }
        });
    }
}

#[test]
fn growth_that_fails_pauses_before_it_is_tried_again() {
    // One good connection, for one call at a time; whoever wants another is turned away.
    let peer = Peer::start(|wire| {
        if wire.number > 0 {
            return;
        }
        wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
        while let Some(call) = wire.call() {
            wire.answer(call.stream, "here");
        }
    });
    let pause = BackoffConfig { initial: Duration::from_secs(100), ..BackoffConfig::default() };
    let target = peer.target.clone();
    run(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 4).backoff(pause));
        async move {
            let two = || async {
                let (one, other) = (say(&caller, "one"), say(&caller, "other"));
                let both = beside(one, other).await;
                assert_eq!(both.unwrap(), "here");
            };
            let failed = || caller.channel().pools()[0].1.failed;
            two().await;
            until("growth has failed", || failed() == 1).await;
            let misses = || caller.channel().pools()[0].1.misses;
            let before = misses();
            for _ in 0..50 {
                two().await;
            }
            assert!(misses() >= before + 50, "there was a reason to grow each time");
            assert_eq!(failed(), 1);
        }
    });
    assert_eq!(peer.connections(), 2);
}
