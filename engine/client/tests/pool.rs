//! Many calls over few connections: growing, shrinking, waiting in line, and connections that say goodbye.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use corelane_call::{Code, Status};
use corelane_client::{CONNECTIONS_MAX, Caller, Cause, Channel, ConnectivityState, PoolFigures};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::BackoffConfig;
use corelane_runtime::{spawn_local, yield_now};
use corelane_wire::frame::{ErrorCode, Flags, Kind};
use support::peer::{MAX_CONCURRENT_STREAMS, Peer};
use support::{
    Running, begin, beside, caller, caller_with, failure, on_both, on_one_stream, run, say, short_backoff,
    soon, told, until,
};

fn figures(caller: &Caller) -> PoolFigures {
    caller.channel().pools().first().map(|(_, figures)| *figures).unwrap_or_default()
}

/// Calls that go on by themselves; dropping one of them cancels it.
#[derive(Default)]
struct Outcomes {
    begun: Cell<usize>,
    succeeded: Cell<usize>,
    failures: Mutex<Vec<Status>>,
}

impl Outcomes {
    fn call(self: &Rc<Self>, caller: &Caller, text: &str) {
        let (outcomes, caller, text) = (self.clone(), caller.clone(), text.to_owned());
        self.begun.set(self.begun.get() + 1);
        spawn_local(async move {
            match say(&caller, &text).await {
                Ok(_) => outcomes.succeeded.set(outcomes.succeeded.get() + 1),
                Err(status) => outcomes.failures.lock().unwrap().push(status),
            }
        });
    }

    fn ended(&self) -> usize {
        self.succeeded.get() + self.failures.lock().unwrap().len()
    }

    async fn all(&self) {
        until("the calls", || self.ended() == self.begun.get()).await;
    }

    fn assert_none_failed(&self) {
        assert!(self.failures.lock().unwrap().is_empty(), "{:?}", self.failures);
    }
}

#[test]
fn ten_thousand_calls_at_once_go_through_a_server_that_allows_few_streams() {
    for streams in [1, 100] {
        let server = Running::narrow(streams);
        let target = server.target.clone();
        on_both(move || {
            let caller = caller(&target);
            async move {
                let outcomes = Rc::new(Outcomes::default());
                for _ in 0..10_000 {
                    outcomes.call(&caller, "hello");
                }
                outcomes.all().await;
                outcomes.assert_none_failed();
                let figures = figures(&caller);
                assert!(figures.opened <= CONNECTIONS_MAX as u64, "{figures:?}");
                assert!(figures.opened > 1, "{figures:?}");
                assert_eq!((figures.waiting, figures.failed), (0, 0));
                assert_eq!(figures.open, figures.idle);
            }
        });
    }
}

#[test]
fn a_pool_grows_when_streams_run_out_and_counts_what_it_does() {
    let server = Running::narrow(2);
    let target = server.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 3));
        async move {
            assert_eq!(figures(&caller), PoolFigures::default());
            caller.channel().ready().await.unwrap();
            let ready = PoolFigures { opened: 1, open: 1, idle: 1, ..PoolFigures::default() };
            assert_eq!(figures(&caller), ready);
            let outcomes = Rc::new(Outcomes::default());
            for _ in 0..7 {
                outcomes.call(&caller, "hang");
            }
            until("the pool to be full", || figures(&caller).open == 3 && figures(&caller).waiting == 1)
                .await;
            let full = figures(&caller);
            assert_eq!((full.opened, full.idle, full.failed), (3, 0, 0));
            assert_eq!((full.hits + full.misses, outcomes.ended()), (7, 0));
            assert!(full.hits >= 2, "{full:?}");
        }
    });
}

#[test]
fn a_pool_grows_before_its_streams_run_out() {
    let server = Running::narrow(10);
    let target = server.target.clone();
    on_both(move || {
        let (eager, reluctant) = (
            caller_with(Channel::builder(&target).grow_at_percent(50)),
            caller_with(Channel::builder(&target).grow_at_percent(100)),
        );
        async move {
            for (caller, open) in [(&reluctant, 1), (&eager, 2)] {
                caller.channel().ready().await.unwrap();
                let outcomes = Rc::new(Outcomes::default());
                for _ in 0..9 {
                    outcomes.call(caller, "hang");
                }
                until("the connections", || figures(caller).open == open).await;
                assert_eq!(figures(caller).misses, 0);
            }
            assert_eq!(figures(&reluctant).open, 1);
        }
    });
}

#[test]
fn connections_that_are_not_needed_any_more_are_closed() {
    let server = Running::narrow(1);
    let target = server.target.clone();
    run(move || {
        let builder = Channel::builder(&target).connections(2, 4).surplus_idle(Duration::from_millis(1));
        let caller = caller_with(builder);
        async move {
            let outcomes = Rc::new(Outcomes::default());
            for _ in 0..100 {
                outcomes.call(&caller, "hello");
            }
            outcomes.all().await;
            outcomes.assert_none_failed();
            until("four connections", || figures(&caller).opened == 4).await;
            // The janitor comes every five seconds.
            until("two connections", || figures(&caller).open == 2).await;
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            assert_eq!(figures(&caller).opened, 4);
        }
    });
}

#[test]
fn a_server_that_drains_under_load_costs_no_call() {
    on_both(|| async {
        let (first, second) = (Running::start(), Running::start());
        let target = format!("ipv4:{},{}", first.address(), second.address());
        let builder = Channel::builder(target).balancer(BalancerConfig::RoundRobin).backoff(short_backoff());
        let caller = caller_with(builder);
        let outcomes = Rc::new(Outcomes::default());
        for round in 0..400 {
            for _ in 0..20 {
                outcomes.call(&caller, "hello");
            }
            if round == 100 {
                first.handle.shutdown_within(Duration::from_secs(20));
            }
            yield_now().await;
        }
        outcomes.all().await;
        outcomes.assert_none_failed();
        assert_eq!(outcomes.succeeded.get(), 8_000);
        assert!(second.seen.started() > 4_000);
        assert_eq!(first.seen.started() + second.seen.started(), 8_000, "none was executed twice");
    });
}

#[test]
fn calls_in_flight_at_a_goaway_end_where_they_are_and_new_ones_go_elsewhere() {
    let peer = Peer::start(|wire| {
        wire.greet(&[]);
        let Some(first) = wire.call() else { return };
        if wire.number.is_multiple_of(2) {
            wire.goaway(u32::MAX >> 1, ErrorCode::NO_ERROR, b"");
        }
        // The first call on an odd connection is the one that came after the GOAWAY.
        wire.answer(first.stream, if wire.number.is_multiple_of(2) { "old" } else { "new" });
        wire.until_closed();
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller(&target);
        async move {
            assert_eq!(say(&caller, "hello").await.unwrap(), "old");
            assert_eq!(say(&caller, "hello").await.unwrap(), "new");
            assert_eq!(figures(&caller).opened, 2);
        }
    });
}

#[test]
fn the_line_for_a_stream_has_an_end() {
    let server = Running::narrow(1);
    let target = server.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1).pending_calls_max(2));
        async move {
            caller.channel().ready().await.unwrap();
            let outcomes = Rc::new(Outcomes::default());
            for _ in 0..3 {
                outcomes.call(&caller, "hang");
            }
            until("the line", || figures(&caller).waiting == 2).await;
            let status = say(&caller, "hello").await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert_eq!(told(&status), "2 calls wait on this channel already, which is its limit (after …)");
            assert!(matches!(failure(&status).cause, Cause::QueueFull { max: 2 }));
            assert_eq!(figures(&caller).waiting, 2);
        }
    });
}

#[test]
fn whoever_gives_up_in_line_passes_the_turn_on() {
    on_one_stream(|caller| async move {
        let mut calls = Vec::new();
        for text in ["hang", "gives up", "hello"] {
            calls.push(begin(say(&caller, text)).await);
        }
        assert_eq!(figures(&caller).waiting, 2);
        let last = calls.pop().unwrap();
        drop(calls.pop());
        assert_eq!(figures(&caller).waiting, 1);
        drop(calls);
        assert_eq!(last.await.unwrap(), "hello");
        assert_eq!(figures(&caller).waiting, 0);
    });
}

#[test]
fn calls_that_wait_go_out_when_the_server_allows_more_streams() {
    let (raise, raised) = mpsc::channel::<()>();
    let raised = Mutex::new(raised);
    let peer = Peer::start(move |wire| {
        wire.greet(&[(MAX_CONCURRENT_STREAMS, 0)]);
        let _ = raised.lock().unwrap().recv();
        wire.send(Kind::SETTINGS, Flags::NONE, 0, &[0, 3, 0, 0, 0, 2]);
        while let Some(call) = wire.call() {
            wire.answer(call.stream, "yes");
        }
    });
    let target = peer.target.clone();
    on_both(move || {
        let (caller, raise) = (caller_with(Channel::builder(&target).connections(1, 1)), raise.clone());
        async move {
            let outcomes = Rc::new(Outcomes::default());
            for _ in 0..100 {
                outcomes.call(&caller, "hello");
            }
            until("the line", || figures(&caller).waiting == 100).await;
            raise.send(()).unwrap();
            outcomes.all().await;
            outcomes.assert_none_failed();
        }
    });
}

#[test]
fn calls_that_wait_outlive_the_connection_they_wait_for() {
    let peer = Peer::start(|wire| {
        wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
        while let Some(call) = wire.call() {
            if wire.number.is_multiple_of(2) {
                // It hangs up with a call in flight.
                return;
            }
            wire.answer(call.stream, "yes");
        }
    });
    let target = peer.target.clone();
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1));
        async move {
            caller.channel().ready().await.unwrap();
            let outcomes = Rc::new(Outcomes::default());
            for _ in 0..10 {
                outcomes.call(&caller, "hello");
            }
            outcomes.all().await;
            assert_eq!(outcomes.succeeded.get(), 9);
            let failures = outcomes.failures.lock().unwrap();
            assert!(matches!(failure(&failures[0]).cause, Cause::ConnectionLost { .. }), "{failures:?}");
        }
    });
}

#[test]
fn workers_have_connections_of_their_own_and_share_the_channel() {
    let server = Running::start();
    let shared = Channel::builder(&server.target).build().unwrap();
    let engine = corelane_client::Engine::start(corelane_runtime::Workers::Count(2)).unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    for _ in 0..6 {
        let (shared, opened) = (shared.clone(), opened.clone());
        engine.block_on(move || async move {
            let caller = Caller::new(shared.local());
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            opened.fetch_add(usize::try_from(figures(&caller).opened).unwrap(), Ordering::SeqCst);
        });
    }
    // The channel of a worker ends with its last user, and its connection with it.
    assert_eq!(opened.load(Ordering::SeqCst), 6);
    assert_eq!(server.seen.started(), 6);
}

/// Loses the first of the peer's connections while another is dialed, so that a third is dialed, too; the second comes up then.
async fn second_comes_first(caller: &Caller, connections: &AtomicUsize, cues: &[mpsc::Sender<()>]) {
    caller.channel().ready().await.unwrap();
    let outcomes = Rc::new(Outcomes::default());
    outcomes.call(caller, "endless");
    outcomes.call(caller, "patient");
    until("growth", || connections.load(Ordering::SeqCst) == 2).await;
    cues[0].send(()).unwrap();
    until("the search", || connections.load(Ordering::SeqCst) == 3).await;
    cues[1].send(()).unwrap();
    outcomes.all().await;
    assert_eq!((outcomes.succeeded.get(), figures(caller).opened), (1, 2));
}

#[test]
fn a_connection_that_cannot_be_made_does_not_hide_one_that_works() {
    let (peer, cues) = Peer::cued(3, |wire, wait| match wire.number {
        0 => {
            wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
            let _ = wire.call();
            wait();
        }
        1 => {
            wait();
            wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
            wire.answer_all("second");
        }
        _ => wait(),
    });
    let (target, connections) = (peer.target.clone(), peer.connections.clone());
    run(move || {
        let pause = BackoffConfig { initial: Duration::from_secs(100), ..BackoffConfig::default() };
        let caller = caller_with(Channel::builder(&target).connections(1, 2).backoff(pause));
        async move {
            second_comes_first(&caller, &connections, &cues).await;
            cues[2].send(()).unwrap();
            until("the third to fail", || figures(&caller).failed == 1).await;
            assert_eq!(caller.channel().state(), ConnectivityState::Ready);
            assert_eq!(say(&caller, "hello").await.unwrap(), "second");
        }
    });
}

#[test]
fn a_connection_that_goes_while_another_is_dialed_leaves_nobody_waiting() {
    let (peer, cues) = Peer::cued(4, |wire, wait| match wire.number {
        0 => {
            wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
            let _ = wire.call();
            wait();
        }
        1 => {
            wait();
            wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
            let Some(call) = wire.call() else { return };
            wire.answer(call.stream, "second");
            wait();
        }
        2 => wait(),
        _ => {
            wire.greet(&[(MAX_CONCURRENT_STREAMS, 1)]);
            wire.answer_all("fourth");
        }
    });
    let (target, connections) = (peer.target.clone(), peer.connections.clone());
    run(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 2));
        async move {
            second_comes_first(&caller, &connections, &cues).await;
            cues[1].send(()).unwrap();
            until("the second to go", || figures(&caller).open == 0).await;
            assert_eq!(soon(async move { say(&caller, "hello").await }).await.unwrap(), "fourth");
        }
    });
}

/// Each call that is turned away is answered before its request was read, so the server asks it to stop.
#[test]
fn a_server_that_turns_calls_away_keeps_their_connection() {
    let server = Running::with("127.0.0.1:0", |builder| builder.concurrency_limit_per_worker(1), |_| ());
    let (target, seen) = (server.target.clone(), server.seen.clone());
    on_both(move || {
        let caller = caller_with(Channel::builder(&target).connections(1, 1));
        let seen = seen.clone();
        async move {
            caller.channel().ready().await.unwrap();
            let (started, dropped) = (seen.started(), seen.dropped());
            let turned_away = async {
                until("the one", || seen.started() == started + 1).await;
                for _ in 0..600 {
                    let status = say(&caller, "hello").await.unwrap_err();
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                }
            };
            beside(turned_away, say(&caller, "hang")).await;
            until("its end", || seen.dropped() == dropped + 1).await;
            assert_eq!(say(&caller, "hello").await.unwrap(), "hello");
            assert_eq!(caller.channel().pools()[0].1.opened, 1);
        }
    });
}
