//! Turns in line where streams are few: nobody is left behind, and a server that takes no more connections is not pressed.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corelane_client::{Caller, Cause, Channel, PoolFigures};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::BackoffConfig;
use corelane_runtime::spawn_local;
use corelane_wire::frame::{ErrorCode, Flags, Kind};
use support::peer::{MAX_CONCURRENT_STREAMS, Peer, Wire};
use support::{Running, begin, beside, caller_with, failure, on_both, run, say, soon, until};

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

/// The texts of the calls that a peer has got, in their order.
type Order = Arc<Mutex<Vec<String>>>;

/// Answers all calls that come, and notes their texts.
fn note_all(wire: &mut Wire, order: &Order) {
    while let Some(call) = wire.call() {
        let Some(texts) = wire.request(&call) else { return };
        order.lock().unwrap().extend(texts);
        wire.answer(call.stream, "here");
    }
}

/// Has a call made that goes on by itself; says in `left` when it is over, which it must be with success.
fn call(caller: &Caller, text: &'static str, left: &Rc<Cell<usize>>) {
    let (caller, left) = (caller.clone(), left.clone());
    left.set(left.get() + 1);
    spawn_local(async move {
        say(&caller, text).await.unwrap();
        left.set(left.get() - 1);
    });
}

fn figures(caller: &Caller) -> PoolFigures {
    caller.channel().pools().first().map(|(_, figures)| *figures).unwrap_or_default()
}

#[test]
fn streams_that_end_on_a_connection_that_says_goodbye_do_not_shuffle_the_line() {
    let noted = Order::default();
    let notes = noted.clone();
    let (peer, cues) = Peer::cued(2, move |wire, wait| {
        wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
        let Some(call) = wire.call() else { return };
        if wire.number == 0 {
            wire.goaway(u32::MAX >> 1, ErrorCode::NO_ERROR, b"");
        }
        wait();
        wire.answer(call.stream, "at last");
        note_all(wire, &notes);
    });
    let target = peer.target.clone();
    run(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1));
        async move {
            caller.channel().ready().await.unwrap();
            let left = Rc::new(Cell::new(0));
            call(&caller, "leaving", &left);
            until("the goodbye", || figures(&caller).open == 0).await;
            call(&caller, "holding", &left);
            until("the next connection", || figures(&caller).open == 1 && figures(&caller).idle == 0).await;
            for text in ["a", "b", "c"] {
                call(&caller, text, &left);
            }
            until("the line", || figures(&caller).waiting == 3).await;
            cues[0].send(()).unwrap();
            until("the first to end", || left.get() == 4).await;
            cues[1].send(()).unwrap();
            until("all calls", || left.get() == 0).await;
        }
    });
    assert_eq!(*noted.lock().unwrap(), ["a", "b", "c"]);
}

#[test]
fn a_call_whose_turn_comes_to_nothing_keeps_its_place() {
    let noted = Order::default();
    let notes = noted.clone();
    let (peer, cues) = Peer::cued(1, move |wire, wait| {
        wire.greet(&[(MAX_CONCURRENT_STREAMS, 2)]);
        let (Some(first), Some(second)) = (wire.call(), wire.call()) else { return };
        wait();
        // The stream that ends makes no room.
        wire.send(Kind::SETTINGS, Flags::NONE, 0, &[0, 3, 0, 0, 0, 1]);
        wire.answer(first.stream, "here");
        wait();
        wire.answer(second.stream, "here");
        note_all(wire, &notes);
    });
    let target = peer.target.clone();
    run(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1).pending_calls_max(2));
        async move {
            caller.channel().ready().await.unwrap();
            let left = Rc::new(Cell::new(0));
            for text in ["first", "second", "a", "b"] {
                call(&caller, text, &left);
            }
            until("the line", || figures(&caller).waiting == 2).await;
            cues[0].send(()).unwrap();
            until("the first to end", || left.get() == 3).await;
            let status = say(&caller, "one too many").await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::QueueFull { max: 2 }), "{status}");
            cues[0].send(()).unwrap();
            until("all calls", || left.get() == 0).await;
        }
    });
    assert_eq!(*noted.lock().unwrap(), ["a", "b"]);
}

#[test]
fn the_lines_of_all_endpoints_have_one_end() {
    let servers = [Running::narrow(1), Running::narrow(1)];
    let target = format!("static:///{},{}", servers[0].address(), servers[1].address());
    on_both(move || {
        let builder = Channel::builder(&target).balancer(BalancerConfig::RoundRobin);
        let caller = caller_with(builder.connections(1, 1).pending_calls_max(2));
        async move {
            let pools = || caller.channel().pools();
            caller.channel().ready().await.unwrap();
            until("both", || pools().iter().all(|(_, pool)| pool.open == 1)).await;
            let mut calls = Vec::new();
            for _ in 0..4 {
                calls.push(begin(say(&caller, "hang")).await);
            }
            assert_eq!(pools().iter().map(|(_, pool)| pool.waiting).sum::<usize>(), 2);
            let other = caller.clone();
            let status = soon(async move { say(&other, "hello").await }).await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::QueueFull { max: 2 }), "{status}");
        }
    });
}
