//! Circuit breakers as calls meet them: what opens one, what goes out while it is open, what closes it, and who is told.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use corelane_call::{Code, Request, Status, stream};
use corelane_client::{BreakerEvent, Caller, Cause, Channel, ChannelBuilder, Place, SharedChannel};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::{
    BreakerCause, BreakerConfig, BreakerFigures, BreakerMode, BreakerState, BreakerWindow, SlowCalls,
};
use support::counting::Counting;
use support::peer::Peer;
use support::{
    ECHO, JOIN, Running, SPLIT, Text, begin, beside, collect, failure, on_both, repeated, run, say, told,
    until,
};

/// A breaker that nothing opens yet, and that stays open for longer than any test.
fn patient() -> BreakerConfig {
    BreakerConfig {
        failure_rate_percent: None,
        window: BreakerWindow::Calls(100),
        open_for: Duration::from_secs(3_600),
        probes: 1,
        ..BreakerConfig::default()
    }
}

/// Opens after so many failures in a row.
fn in_a_row(failures: u32) -> BreakerConfig {
    BreakerConfig { consecutive_failures: Some(failures), ..patient() }
}

/// As `in_a_row`, and lets a probe through at once.
fn hasty(failures: u32) -> BreakerConfig {
    BreakerConfig { open_for: Duration::from_millis(1), ..in_a_row(failures) }
}

/// A channel with breakers, and the changes they tell of.
struct Broken {
    shared: SharedChannel,
    events: mpsc::Receiver<BreakerEvent>,
}

impl Broken {
    fn new(builder: ChannelBuilder, config: BreakerConfig) -> Broken {
        let (sender, events) = mpsc::channel();
        let sender = Mutex::new(sender);
        let observer = move |event: &BreakerEvent| {
            let _ = sender.lock().unwrap().send(event.clone());
        };
        let shared = builder.circuit_breaker(config).on_breaker_change(observer).build().unwrap();
        Broken { shared, events }
    }

    fn caller(&self) -> Caller {
        Caller::new(self.shared.local())
    }

    /// What has changed since it was last asked.
    fn changes(&self) -> Vec<(BreakerState, BreakerState, BreakerCause)> {
        self.events.try_iter().map(|event| (event.change.from, event.change.to, event.change.cause)).collect()
    }

    /// Of the only breaker.
    fn figures(&self) -> BreakerFigures {
        let breakers = self.shared.breakers();
        assert_eq!(breakers.len(), 1, "{breakers:?}");
        breakers[0].2
    }
}

/// Runs `test` on both backends with a channel to `target` and its breakers.
fn with_breaker<F>(target: &str, config: BreakerConfig, test: impl Fn(Broken) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let target = target.to_owned();
    on_both(move || test(Broken::new(Channel::builder(&target), config.clone())));
}

/// A call that a breaker does not let out.
async fn rejected(caller: &Caller) -> Status {
    let status = say(caller, "hello").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(matches!(failure(&status).cause, Cause::BreakerOpen { .. }), "{status:?}");
    status
}

async fn fails(caller: &Caller) {
    let status = say(caller, "fail 14").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "as you wish"));
}

async fn succeeds(caller: &Caller) {
    assert_eq!(say(caller, "hello").await.unwrap(), "hello");
}

use BreakerState::{Closed, Disabled, ForcedOpen, HalfOpen, Open};

#[test]
fn failures_in_a_row_open_it_and_then_nothing_goes_out() {
    let server = Running::start();
    let (address, seen) = (server.address(), server.seen.clone());
    with_breaker(&server.target, in_a_row(3), move |broken| {
        let (address, seen) = (address.clone(), seen.clone());
        async move {
            let (caller, before) = (broken.caller(), seen.started());
            for _ in 0..3 {
                fails(&caller).await;
            }
            for _ in 0..10 {
                let status = rejected(&caller).await;
                let text = told(&status);
                assert!(
                    text.starts_with("the circuit breaker is open, and lets a probe through in "),
                    "{text}"
                );
                assert!(text.ends_with(&format!(" (endpoint {address}, after …)")), "{text}");
                let failure = failure(&status);
                assert!(
                    matches!(failure.cause, Cause::BreakerOpen { retry_after: Some(after) } if after.as_secs() >= 3_000)
                );
                assert_eq!((failure.endpoint.as_deref(), failure.attempt), (Some(&*address), 1));
            }
            assert_eq!(seen.started(), before + 3);
            let events: Vec<_> = broken.events.try_iter().collect();
            assert_eq!(events.len(), 1, "{events:?}");
            assert_eq!((&*events[0].endpoint, events[0].method), (&*address, ECHO.path()));
            let change = events[0].change;
            let expected = (Closed, Open, BreakerCause::ConsecutiveFailures);
            assert_eq!((change.from, change.to, change.cause), expected);
            let figures = broken.figures();
            assert_eq!((figures.state, figures.rejected, figures.changes), (Open, 10, 1));
        }
    });
}

#[test]
fn a_success_between_failures_keeps_it_closed() {
    let server = Running::start();
    with_breaker(&server.target, in_a_row(2), |broken| async move {
        let caller = broken.caller();
        for _ in 0..5 {
            fails(&caller).await;
            succeeds(&caller).await;
        }
        assert_eq!(broken.changes(), []);
        fails(&caller).await;
        fails(&caller).await;
        rejected(&caller).await;
    });
}

#[test]
fn a_share_of_failures_opens_it_once_there_are_enough_calls() {
    let server = Running::start();
    let config = BreakerConfig { failure_rate_percent: Some(50), minimum_calls: 4, ..patient() };
    with_breaker(&server.target, config, |broken| async move {
        let caller = broken.caller();
        // Too few calls before the last, whatever their share.
        fails(&caller).await;
        succeeds(&caller).await;
        succeeds(&caller).await;
        assert_eq!(broken.changes(), []);
        fails(&caller).await;
        assert_eq!(broken.changes(), [(Closed, Open, BreakerCause::FailureRate)]);
        rejected(&caller).await;
    });
}

#[test]
fn a_share_of_failures_below_the_limit_leaves_it_closed() {
    let server = Running::start();
    let config = BreakerConfig { failure_rate_percent: Some(50), minimum_calls: 4, ..patient() };
    with_breaker(&server.target, config, |broken| async move {
        let caller = broken.caller();
        for _ in 0..10 {
            succeeds(&caller).await;
            succeeds(&caller).await;
            fails(&caller).await;
        }
        let figures = broken.figures();
        assert_eq!((figures.state, figures.calls, figures.failures), (Closed, 30, 10));
        assert_eq!((broken.changes(), figures.rejected), (vec![], 0));
    });
}

#[test]
fn calls_that_take_too_long_open_it_though_they_succeed() {
    let server = Running::start();
    let slow = |at_least| BreakerConfig {
        slow_calls: Some(SlowCalls { at_least, rate_percent: 100 }),
        minimum_calls: 2,
        ..patient()
    };
    // Whatever goes over a socket takes a nanosecond.
    with_breaker(&server.target, slow(Duration::from_nanos(1)), |broken| async move {
        let caller = broken.caller();
        succeeds(&caller).await;
        succeeds(&caller).await;
        assert_eq!(broken.changes(), [(Closed, Open, BreakerCause::SlowCallRate)]);
        rejected(&caller).await;
    });
    with_breaker(&server.target, slow(Duration::from_secs(3_600)), |broken| async move {
        let caller = broken.caller();
        for _ in 0..10 {
            succeeds(&caller).await;
        }
        assert_eq!((broken.changes(), broken.figures().slow), (vec![], 0));
    });
}

/// Calls until a probe goes out; says how that went.
async fn probe(caller: &Caller, text: &str) -> Result<String, Status> {
    repeated("a probe", async || match say(caller, text).await {
        Err(status) if matches!(failure(&status).cause, Cause::BreakerOpen { .. }) => None,
        other => Some(other),
    })
    .await
}

#[test]
fn a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_again() {
    let server = Running::start();
    with_breaker(&server.target, hasty(1), |broken| async move {
        let caller = broken.caller();
        fails(&caller).await;
        assert_eq!(broken.changes(), [(Closed, Open, BreakerCause::ConsecutiveFailures)]);
        assert_eq!(probe(&caller, "fail 14").await.unwrap_err().message(), "as you wish");
        let failed =
            [(Open, HalfOpen, BreakerCause::OpenForPassed), (HalfOpen, Open, BreakerCause::ProbesFailed)];
        assert_eq!(broken.changes(), failed);
        assert_eq!(probe(&caller, "hello").await.unwrap(), "hello");
        let succeeded = [
            (Open, HalfOpen, BreakerCause::OpenForPassed),
            (HalfOpen, Closed, BreakerCause::ProbesSucceeded),
        ];
        assert_eq!(broken.changes(), succeeded);
        succeeds(&caller).await;
        assert_eq!((broken.figures().state, broken.changes()), (Closed, vec![]));
    });
}

#[test]
fn only_so_many_probes_go_out_while_it_is_half_open() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let counting = Counting::start(move |wire, call, number| match number {
        0 => wire.fail(call.stream, "14", &[]),
        _ => {
            let _ = gone.lock().unwrap().recv();
            wire.answer(call.stream, "better");
        }
    });
    let attempts = counting.attempts.clone();
    with_breaker(&counting.peer.target, hasty(1), move |broken| {
        let (attempts, go) = (attempts.clone(), go.clone());
        async move {
            Counting::taken(&attempts);
            let caller = broken.caller();
            assert_eq!(say(&caller, "hello").await.unwrap_err().code(), Code::Unavailable);
            let others = async {
                until("the probe", || attempts.lock().unwrap().len() == 2).await;
                for _ in 0..10 {
                    rejected(&caller).await;
                }
                assert_eq!(broken.figures().state, HalfOpen);
                go.send(()).unwrap();
                until("it to close", || broken.figures().state == Closed).await;
            };
            let probing = begin(async {
                assert_eq!(probe(&caller, "hello").await.unwrap(), "better");
                std::future::pending::<()>().await;
            });
            beside(others, probing.await).await;
            assert_eq!(attempts.lock().unwrap().len(), 2);
        }
    });
}

#[test]
fn a_probe_that_is_given_up_gives_its_place_to_another() {
    let counting = Counting::start(|wire, call, number| match number {
        0 => wire.fail(call.stream, "14", &[]),
        1 => {}
        _ => wire.answer(call.stream, "better"),
    });
    let attempts = counting.attempts.clone();
    with_breaker(&counting.peer.target, hasty(1), move |broken| {
        let attempts = attempts.clone();
        async move {
            Counting::taken(&attempts);
            let caller = broken.caller();
            assert_eq!(say(&caller, "hello").await.unwrap_err().code(), Code::Unavailable);
            let sent = until("the probe", || attempts.lock().unwrap().len() == 2);
            beside(sent, probe(&caller, "hello")).await;
            assert_eq!(probe(&caller, "hello").await.unwrap(), "better");
            assert_eq!(broken.figures().state, Closed);
        }
    });
}

/// The breaker lets one probe through, and so no copy of it.
#[test]
fn a_probe_is_not_given_up_since_its_copies_are_held_back() {
    let counting = Counting::start(|wire, call, number| match number {
        0 | 1 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "better"),
    });
    let config =
        r#"{"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0s"}}]}"#;
    let (target, attempts) = (counting.peer.target.clone(), counting.attempts.clone());
    on_both(move || {
        let builder = Channel::builder(&target).default_service_config(config);
        let (broken, attempts) = (Broken::new(builder, hasty(1)), attempts.clone());
        async move {
            Counting::taken(&attempts);
            let caller = broken.caller();
            assert_eq!(say(&caller, "hello").await.unwrap_err().code(), Code::Unavailable);
            assert_eq!(probe(&caller, "hello").await.unwrap(), "better");
            assert_eq!((broken.figures().state, attempts.lock().unwrap().len()), (Closed, 3));
        }
    });
}

#[test]
fn whoever_forces_it_has_the_last_word() {
    let server = Running::start();
    let address = server.address();
    with_breaker(&server.target, in_a_row(1), move |broken| {
        let address = address.clone();
        async move {
            let (caller, force) = (broken.caller(), |mode| broken.shared.set_breaker(&address, ECHO, mode));
            force(BreakerMode::ForcedOpen);
            rejected(&caller).await;
            force(BreakerMode::Disabled);
            for _ in 0..10 {
                fails(&caller).await;
            }
            assert_eq!(broken.figures().calls, 0);
            force(BreakerMode::Automatic);
            succeeds(&caller).await;
            fails(&caller).await;
            rejected(&caller).await;
            let changes = [
                (Closed, ForcedOpen, BreakerCause::Mode),
                (ForcedOpen, Disabled, BreakerCause::Mode),
                (Disabled, Closed, BreakerCause::Mode),
                (Closed, Open, BreakerCause::ConsecutiveFailures),
            ];
            assert_eq!(broken.changes(), changes);
        }
    });
}

#[test]
fn what_says_nothing_about_the_endpoint_counts_as_no_failure() {
    let server = Running::start();
    let seen = server.seen.clone();
    with_breaker(&server.target, in_a_row(1), move |broken| {
        let seen = seen.clone();
        async move {
            let caller = broken.caller();
            // The endpoint answered; that it did not like the request is another matter.
            assert_eq!(say(&caller, "fail 3").await.unwrap_err().code(), Code::InvalidArgument);
            // Such codes count neither way.
            assert_eq!(say(&caller, "fail 1").await.unwrap_err().code(), Code::Cancelled);
            let started = seen.started();
            beside(until("the handler", || seen.started() == started + 1), say(&caller, "hang")).await;
            let figures = broken.figures();
            assert_eq!((figures.calls, figures.failures, figures.state), (1, 0, Closed));
            assert_eq!(broken.changes(), []);
        }
    });
}

#[test]
fn a_call_that_runs_out_of_time_is_a_failure() {
    let server = Running::start();
    with_breaker(&server.target, in_a_row(1), |broken| async move {
        let caller = broken.caller();
        caller.channel().ready().await.unwrap();
        let mut request = Request::new("hang".to_owned());
        request.set_timeout(Duration::from_millis(20));
        let status = caller.unary(ECHO, Text::new(), request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(broken.changes(), [(Closed, Open, BreakerCause::ConsecutiveFailures)]);
        rejected(&caller).await;
    });
}

#[test]
fn an_attempt_that_runs_out_of_time_is_a_failure_too() {
    let silent = Peer::answering(|_, _| ());
    let config = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "0.01s",
        "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"],
        "perAttemptRecvTimeout": "0.02s"}}]}"#;
    let target = silent.target.clone();
    on_both(move || {
        let builder = Channel::builder(&target).default_service_config(config);
        let broken = Broken::new(builder, in_a_row(2));
        async move {
            let caller = broken.caller();
            // Both attempts.
            let status = say(&caller, "hello").await.unwrap_err();
            assert!(matches!(failure(&status).cause, Cause::Deadline(Place::Attempt)), "{status}");
            assert_eq!(failure(&status).attempt, 2);
            assert_eq!(broken.changes(), [(Closed, Open, BreakerCause::ConsecutiveFailures)]);
            rejected(&caller).await;
        }
    });
}

#[test]
fn which_codes_are_failures_can_be_said() {
    let server = Running::start();
    let config = BreakerConfig { failure_codes: [Code::NotFound].into_iter().collect(), ..in_a_row(1) };
    with_breaker(&server.target, config, |broken| async move {
        let caller = broken.caller();
        for _ in 0..3 {
            fails(&caller).await;
        }
        assert_eq!(say(&caller, "fail 5").await.unwrap_err().code(), Code::NotFound);
        rejected(&caller).await;
    });
}

#[test]
fn a_breaker_that_does_not_know_when_it_will_let_calls_through_does_not_say_so() {
    let server = Running::start();
    let address = server.address();
    with_breaker(&server.target, in_a_row(1), move |broken| {
        let address = address.clone();
        async move {
            let caller = broken.caller();
            broken.shared.set_breaker(&address, ECHO, BreakerMode::ForcedOpen);
            let text = told(&rejected(&caller).await);
            assert!(text.starts_with("the circuit breaker is "), "{text}");
            assert!(!text.contains(&format!("{:?}", Duration::MAX)), "{text}");
        }
    });
}

#[test]
fn each_method_has_its_own() {
    let server = Running::start();
    with_breaker(&server.target, in_a_row(1), |broken| async move {
        let caller = broken.caller();
        fails(&caller).await;
        rejected(&caller).await;
        let words = Request::new(stream::iter(["a", "b"].map(str::to_owned)));
        let joined = caller.client_streaming(JOIN, Text::new(), words).await.unwrap();
        assert_eq!(joined.into_inner(), "a b");
        let mut states: Vec<_> = broken
            .shared
            .breakers()
            .into_iter()
            .map(|(_, method, figures)| (method, figures.state))
            .collect();
        states.sort_by_key(|(method, _)| *method);
        assert_eq!(states, [(ECHO.path(), Open), (JOIN.path(), Closed)]);
    });
}

#[test]
fn calls_go_to_the_endpoints_whose_breakers_are_closed() {
    let failing = Counting::start(|wire, call, _| wire.fail(call.stream, "14", &[]));
    let working = Peer::answering(|wire, call| wire.answer(call.stream, "yes"));
    let target = format!("ipv4:{},{}", failing.peer.address, working.address);
    let attempts = failing.attempts.clone();
    on_both(move || {
        let builder = Channel::builder(&target).balancer(BalancerConfig::RoundRobin);
        let (broken, attempts) = (Broken::new(builder, in_a_row(1)), attempts.clone());
        async move {
            Counting::taken(&attempts);
            let caller = broken.caller();
            until("both", || {
                caller.channel().wake();
                caller.channel().pools().iter().filter(|(_, pool)| pool.open == 1).count() == 2
            })
            .await;
            let mut failures = 0;
            for _ in 0..50 {
                failures += usize::from(say(&caller, "hello").await.is_err());
            }
            assert_eq!((failures, Counting::taken(&attempts).len()), (1, 1));
        }
    });
}

/// A retry goes elsewhere if it can. Where all others are held back by their breakers it goes where the first attempt went.
#[test]
fn a_retry_goes_back_where_it_came_from_if_all_other_breakers_are_open() {
    let failing = Counting::start(|wire, call, number| match number % 2 {
        0 => wire.fail(call.stream, "14", &[]),
        _ => wire.answer(call.stream, "the second time"),
    });
    let others: Vec<Peer> =
        (0..2).map(|_| Peer::answering(|wire, call| wire.answer(call.stream, "not here"))).collect();
    let addresses: Vec<String> = others.iter().map(|peer| peer.address.clone()).collect();
    let target = format!("ipv4:{},{},{}", addresses[0], failing.peer.address, addresses[1]);
    let config = r#"{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff": "0.001s",
        "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
    on_both(move || {
        let builder = Channel::builder(&target).balancer(BalancerConfig::Random);
        let broken = Broken::new(builder.default_service_config(config), in_a_row(1_000));
        let addresses = addresses.clone();
        async move {
            let caller = broken.caller();
            until("all", || {
                caller.channel().wake();
                caller.channel().pools().iter().filter(|(_, pool)| pool.open == 1).count() == 3
            })
            .await;
            for address in &addresses {
                broken.shared.set_breaker(address, ECHO, BreakerMode::ForcedOpen);
            }
            for _ in 0..20 {
                assert_eq!(say(&caller, "hello").await.unwrap(), "the second time");
            }
        }
    });
}

#[test]
fn what_one_worker_has_found_out_all_others_know() {
    let server = Running::start();
    let broken = Broken::new(Channel::builder(&server.target), in_a_row(2));
    for _ in 0..2 {
        let shared = broken.shared.clone();
        run(move || async move { fails(&Caller::new(shared.local())).await });
    }
    let (shared, before) = (broken.shared.clone(), server.seen.started());
    run(move || async move {
        rejected(&Caller::new(shared.local())).await;
    });
    assert_eq!((server.seen.started(), before), (2, 2));
    assert_eq!(broken.changes(), [(Closed, Open, BreakerCause::ConsecutiveFailures)]);
}

/// Streams count as unary calls do: with the status they end with.
#[test]
fn a_stream_of_responses_that_fails_opens_it_too() {
    let server = Running::start();
    let config = BreakerConfig { failure_codes: [Code::Aborted].into_iter().collect(), ..in_a_row(1) };
    with_breaker(&server.target, config, |broken| async move {
        let caller = broken.caller();
        let request = || Request::new("a !".to_owned());
        let words = caller.server_streaming(SPLIT, Text::new(), request()).await.unwrap();
        assert_eq!(collect(words.into_inner()).await.unwrap_err().code(), Code::Aborted);
        assert_eq!(broken.changes(), [(Closed, Open, BreakerCause::ConsecutiveFailures)]);
        let status = caller.server_streaming(SPLIT, Text::new(), request()).await.unwrap_err();
        assert!(matches!(failure(&status).cause, Cause::BreakerOpen { .. }), "{status:?}");
    });
}
