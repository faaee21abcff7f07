//! Calls that meet in a cache, told in the order in which they are polled.

use super::*;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Counts its wake-ups.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A follower with a task of its own.
struct Task {
    follower: Follower<u32>,
    bell: Arc<Bell>,
}

impl Task {
    fn new(lookup: Lookup<u32>) -> Task {
        let Lookup::Follow(follower) = lookup else { panic!("{lookup:?}") };
        Task { follower, bell: Arc::default() }
    }

    fn poll(&mut self) -> Poll<Followed<u32>> {
        let waker = Waker::from(self.bell.clone());
        Pin::new(&mut self.follower).poll(&mut Context::from_waker(&waker))
    }

    /// A follower that was polled and waits.
    fn waiting(lookup: Lookup<u32>) -> Task {
        let mut task = Task::new(lookup);
        assert!(task.poll().is_pending());
        task
    }

    fn wakes(&self) -> usize {
        self.bell.0.load(Ordering::Relaxed)
    }

    fn value(&mut self) -> u32 {
        match self.poll() {
            Poll::Ready(Followed::Value(value)) => value,
            other => panic!("{other:?}"),
        }
    }

    fn lead(&mut self) -> Leader<u32> {
        match self.poll() {
            Poll::Ready(Followed::Lead(leader)) => leader,
            other => panic!("{other:?}"),
        }
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn cache(change: impl FnOnce(&mut CacheConfig)) -> ResponseCache<u32> {
    let mut config = CacheConfig { ttl: Duration::from_secs(10), ..CacheConfig::default() };
    change(&mut config);
    ResponseCache::new(config, 7, |_| 4).expect("a good config")
}

fn lookup(cache: &ResponseCache<u32>, request: &[u8], now: u64) -> Lookup<u32> {
    cache.lookup(&CacheKey { path: b"/s/m", request, vary: b"" }, at(now))
}

fn lead(cache: &ResponseCache<u32>, request: &[u8], now: u64) -> Leader<u32> {
    match lookup(cache, request, now) {
        Lookup::Lead(leader) => leader,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_response_is_given_out_until_its_time() {
    let cache = cache(|_| ());
    lead(&cache, b"a", 0).finish(1, at(5));
    assert!(matches!(lookup(&cache, b"a", 14), Lookup::Hit(1)));
    lead(&cache, b"a", 15).finish(2, at(16));
    assert!(matches!(lookup(&cache, b"a", 25), Lookup::Hit(2)));
    let _again = lead(&cache, b"a", 26);
    let figures = cache.figures();
    assert_eq!((figures.hits, figures.misses, figures.expirations), (2, 3, 2));
}

#[test]
fn other_requests_credentials_and_methods_have_other_responses() {
    let cache = cache(|_| ());
    lead(&cache, b"a", 0).finish(1, at(0));
    for (path, request, vary) in [("/s/m", "b", ""), ("/s/n", "a", ""), ("/s/m", "a", "token")] {
        let key = CacheKey { path: path.as_bytes(), request: request.as_bytes(), vary: vary.as_bytes() };
        assert!(matches!(cache.lookup(&key, at(0)), Lookup::Lead(_)));
    }
}

#[test]
fn all_who_ask_meanwhile_get_the_one_response() {
    let cache = cache(|_| ());
    let leader = lead(&cache, b"a", 0);
    let mut tasks: Vec<_> = (0..3).map(|_| Task::waiting(lookup(&cache, b"a", 0))).collect();
    let mut unpolled = Task::new(lookup(&cache, b"a", 0));
    leader.finish(9, at(1));
    for task in &mut tasks {
        assert_eq!((task.wakes(), task.value()), (1, 9));
    }
    assert_eq!(unpolled.value(), 9);
    let figures = cache.figures();
    assert_eq!((figures.misses, figures.follows, figures.entries, figures.flights), (1, 4, 1, 0));
}

#[test]
fn those_between_whom_others_have_left_get_the_response_too() {
    let cache = cache(|_| ());
    let leader = lead(&cache, b"a", 0);
    let tasks: Vec<_> = (0..9).map(|_| Task::waiting(lookup(&cache, b"a", 0))).collect();
    let mut stay: Vec<_> =
        tasks.into_iter().enumerate().filter(|(number, _)| number % 3 == 1).map(|(_, task)| task).collect();
    assert!(stay.iter_mut().all(|task| task.poll().is_pending()));
    leader.finish(4, at(0));
    assert_eq!(stay.iter_mut().map(|task| (task.wakes(), task.value())).collect::<Vec<_>>(), [(1, 4); 3]);
}

#[test]
fn a_response_can_be_shared_without_being_kept() {
    let cache = cache(|_| ());
    let leader = lead(&cache, b"a", 0);
    let mut task = Task::waiting(lookup(&cache, b"a", 0));
    leader.share(3);
    assert_eq!(task.value(), 3);
    let _next = lead(&cache, b"a", 0);
}

#[test]
fn when_the_leader_is_gone_the_one_who_waited_longest_leads() {
    let cache = cache(|_| ());
    let leader = lead(&cache, b"a", 0);
    let mut tasks: Vec<_> = (0..3).map(|_| Task::waiting(lookup(&cache, b"a", 0))).collect();
    drop(leader);
    assert_eq!(tasks.iter().map(Task::wakes).collect::<Vec<_>>(), [1, 0, 0]);
    let second = tasks[0].lead();
    assert!(tasks[1].poll().is_pending());
    second.finish(5, at(0));
    assert_eq!([tasks[1].value(), tasks[2].value()], [5, 5]);
}

#[test]
fn one_who_is_woken_to_lead_and_dropped_passes_it_on() {
    let cache = cache(|_| ());
    let leader = lead(&cache, b"a", 0);
    let first = Task::waiting(lookup(&cache, b"a", 0));
    let mut second = Task::waiting(lookup(&cache, b"a", 0));
    drop(leader);
    drop(first);
    assert_eq!(second.wakes(), 1);
    second.lead().finish(1, at(0));
    assert_eq!(cache.figures().entries, 1);
}

#[test]
fn one_who_comes_while_the_lead_is_vacant_takes_it_and_the_woken_one_waits_on() {
    let cache = cache(|_| ());
    let leader = lead(&cache, b"a", 0);
    let mut woken = Task::waiting(lookup(&cache, b"a", 0));
    drop(leader);
    let newcomer = lead(&cache, b"a", 0);
    assert!(woken.poll().is_pending());
    newcomer.finish(2, at(0));
    assert_eq!((woken.wakes(), woken.value()), (2, 2));
}

#[test]
fn when_all_are_gone_nothing_is_left() {
    let cache = cache(|_| ());
    drop(lead(&cache, b"a", 0));
    assert_eq!(cache.figures().flights, 0);
    let leader = lead(&cache, b"b", 0);
    let tasks = [Task::waiting(lookup(&cache, b"b", 0)), Task::new(lookup(&cache, b"b", 0))];
    drop(leader);
    assert_eq!(cache.figures().flights, 1);
    drop(tasks);
    assert_eq!(cache.figures().flights, 0);
    let _leader = lead(&cache, b"b", 0);
}

#[test]
fn flights_and_followers_have_a_maximum_past_which_calls_go_by_themselves() {
    let cache = cache(|config| {
        config.flights_max = 2;
        config.followers_max = 1;
    });
    let _leaders = [lead(&cache, b"a", 0), lead(&cache, b"b", 0)];
    assert!(matches!(lookup(&cache, b"c", 0), Lookup::Bypass));
    let _task = Task::waiting(lookup(&cache, b"a", 0));
    assert!(matches!(lookup(&cache, b"a", 0), Lookup::Bypass));
    let figures = cache.figures();
    assert_eq!((figures.misses, figures.bypasses, figures.follows), (4, 2, 1));
}

#[test]
fn entries_have_a_maximum() {
    let cache = cache(|config| config.entries_max = 3);
    for request in 0..100_u8 {
        lead(&cache, &[request], 0).finish(1, at(0));
    }
    assert_eq!((cache.figures().entries, cache.figures().evictions), (3, 97));
}

#[test]
fn a_call_under_way_when_all_is_forgotten_is_not_kept() {
    let cache = cache(|_| ());
    lead(&cache, b"a", 0).finish(1, at(0));
    let early = lead(&cache, b"b", 0);
    let mut task = Task::waiting(lookup(&cache, b"b", 0));
    cache.clear();
    let late = lead(&cache, b"b", 1);
    early.finish(2, at(1));
    assert_eq!(task.value(), 2);
    assert_eq!(cache.figures().entries, 0);
    late.finish(3, at(1));
    assert!(matches!(lookup(&cache, b"b", 1), Lookup::Hit(3)));
    assert!(matches!(lookup(&cache, b"a", 1), Lookup::Lead(_)));
}

/// A task that is polled inside `wake`, as a runtime might, finds nothing borrowed.
#[test]
fn a_waker_may_come_back_to_the_cache() {
    thread_local!(static CACHE: RefCell<Option<ResponseCache<u32>>> = const { RefCell::new(None) });
    struct Back;
    impl Wake for Back {
        fn wake(self: Arc<Self>) {
            CACHE.with_borrow(|cache| {
                let cache = cache.as_ref().expect("it was put there");
                assert!(matches!(lookup(cache, b"a", 0), Lookup::Hit(_) | Lookup::Lead(_)));
            });
        }
    }
    let cache = cache(|_| ());
    CACHE.set(Some(cache.clone()));
    let waker = Waker::from(Arc::new(Back));
    for is_dropped in [true, false] {
        let leader = lead(&cache, b"a", 0);
        let mut task = Task::new(lookup(&cache, b"a", 0));
        assert!(Pin::new(&mut task.follower).poll(&mut Context::from_waker(&waker)).is_pending());
        if is_dropped { drop(leader) } else { leader.finish(1, at(0)) }
    }
    CACHE.set(None);
}

#[test]
fn numbers_that_make_no_sense_are_refused_by_name() {
    let good = CacheConfig::default();
    let refused = |config: CacheConfig| config.validate().unwrap_err().to_string();
    assert!(refused(CacheConfig { entries_max: 0, ..good }).contains("entries_max is 0"));
    assert!(refused(CacheConfig { bytes_max: 0, ..good }).contains("bytes_max is 0"));
    assert!(refused(CacheConfig { ttl: Duration::ZERO, ..good }).contains("ttl is 0"));
    assert!(refused(CacheConfig { flights_max: 0, ..good }).contains("flights_max is 0"));
}
