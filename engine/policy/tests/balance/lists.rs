//! Lists that come and go while workers pick.

use corelane_policy::balance::{
    Balancer, Call, ENDPOINTS_MAX, EndpointInfo, EndpointKey, Pick, Picker, Policy, PublishError, Publisher,
    Readiness, View,
};
use corelane_policy::config::{BalancerConfig, WeightedRoundRobinConfig};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{Channel, START, pick, ready, ring_hash};

fn all_policies() -> Vec<BalancerConfig> {
    vec![
        BalancerConfig::PickFirst,
        BalancerConfig::PickFirstShuffled,
        BalancerConfig::RoundRobin,
        BalancerConfig::WeightedRoundRobin(WeightedRoundRobinConfig::default()),
        BalancerConfig::Random,
        BalancerConfig::WeightedRandom,
        BalancerConfig::LeastRequest { choice_count: 2 },
        ring_hash(64, 4096),
        BalancerConfig::CoreLocal,
        BalancerConfig::RandomSubsetting { subset_size: 3, child: Box::new(BalancerConfig::Random) },
    ]
}

#[test]
fn a_pick_after_a_publication_never_returns_what_is_gone() {
    for policy in all_policies() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut channel = Channel::new(policy, &[]);
        let mut workers = [channel.picker(0, 2), channel.picker(1, 2)];
        let names: Vec<String> = (0..12).map(|number| format!("e{number}")).collect();
        for _ in 0..300 {
            let drawn: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), rng.u32(0..4))).collect();
            let list: Vec<(&str, u32)> = drawn.into_iter().filter(|_| rng.bool()).collect();
            channel.publish(&list);
            let endpoints = channel.publisher.shared().endpoints();
            for worker in &mut workers {
                for _ in 0..20 {
                    match pick(worker) {
                        Pick::Ready { key, .. } | Pick::Wait { connect: Some(key) } | Pick::Failed(key) => {
                            assert!(endpoints.get(key).is_some(), "{key:?} is gone");
                            let states = [Readiness::Ready, Readiness::Ready, Readiness::TransientFailure];
                            worker.set_readiness(key, states[rng.usize(..3)]);
                            worker.start(START, key);
                            worker.finish(START, key);
                        }
                        Pick::Wait { connect: None } => panic!("nothing is connecting"),
                        Pick::Empty => assert!(endpoints.order().is_empty()),
                    }
                }
            }
        }
    }
}

/// The publisher says what it removed after the publication; a worker that reads that first must not pick it.
#[test]
fn a_worker_on_another_thread_never_picks_what_it_could_know_is_gone() {
    const ROUNDS: usize = 2_000;
    let mut channel = Channel::new(BalancerConfig::RoundRobin, &[("r0", 1), ("s", 1)]);
    let removed_below = AtomicUsize::new(0);
    let names: Vec<String> = (0..=ROUNDS).map(|round| format!("r{round}")).collect();
    let mut picker = channel.picker(0, 1);
    thread::scope(|scope| {
        let removed_below = &removed_below;
        scope.spawn(move || {
            for (round, name) in names.iter().enumerate().skip(1) {
                channel.publish(&[(name, 1), ("s", 1)]);
                removed_below.store(round, Ordering::Release);
            }
        });
        loop {
            let gone = removed_below.load(Ordering::Acquire);
            let endpoints = picker.look().clone();
            endpoints.order().iter().for_each(|key| picker.set_readiness(*key, Readiness::Ready));
            if let Pick::Ready { key, .. } = pick(&mut picker) {
                let endpoints = picker.look().clone();
                if let Some(number) =
                    endpoints.get(key).and_then(|endpoint| endpoint.info().address.strip_prefix('r'))
                {
                    assert!(number.parse::<usize>().unwrap() >= gone);
                }
            }
            if gone == ROUNDS {
                break;
            }
        }
    });
}

#[test]
fn an_endpoint_that_stays_keeps_its_key_its_state_and_its_counts() {
    let mut channel = Channel::new(BalancerConfig::RoundRobin, &[("a", 1), ("b", 1)]);
    let mut picker = channel.ready_picker(0, 1);
    let key = channel.key("a");
    picker.start(START, key);
    channel.publish(&[("c", 1), ("a", 9)]);
    assert_eq!(channel.key("a"), key);
    picker.look();
    assert_eq!(picker.readiness(key), Some(Readiness::Ready));
    let endpoints = channel.publisher.shared().endpoints();
    let endpoint = endpoints.get(key).unwrap();
    assert_eq!((endpoint.stats().outstanding(), endpoint.info().weight), (1, 9));
}

#[test]
fn an_endpoint_that_comes_back_is_another_and_late_news_of_the_first_are_ignored() {
    let mut channel = Channel::new(BalancerConfig::RoundRobin, &[("a", 1)]);
    let mut picker = channel.ready_picker(0, 1);
    let gone = channel.key("a");
    picker.start(START, gone);
    channel.publish(&[("b", 1)]);
    channel.publish(&[("a", 1)]);
    let back = channel.key("a");
    assert_eq!(gone.slot(), back.slot());
    assert_ne!(gone, back);
    picker.set_readiness(gone, Readiness::Ready);
    picker.look();
    picker.set_readiness(gone, Readiness::Ready);
    picker.finish(START, gone);
    assert_eq!(picker.readiness(gone), None);
    assert_eq!(pick(&mut picker), Pick::Wait { connect: Some(back) });
    assert_eq!(channel.publisher.shared().endpoints().get(back).unwrap().stats().outstanding(), 0);
}

#[test]
fn a_worker_that_ends_takes_back_what_it_counted() {
    let channel = Channel::new(BalancerConfig::LeastRequest { choice_count: 2 }, &[("a", 1)]);
    let endpoints = channel.publisher.shared().endpoints();
    let stats = endpoints.get(channel.key("a")).unwrap().stats();
    let (mut one, mut other) = (channel.ready_picker(0, 2), channel.ready_picker(1, 2));
    one.start(START, channel.key("a"));
    other.start(START, channel.key("a"));
    assert_eq!(stats.outstanding(), 2);
    drop(one);
    assert_eq!(stats.outstanding(), 1);
}

#[test]
fn the_same_address_twice_is_one_endpoint_with_both_weights() {
    let channel = Channel::new(BalancerConfig::WeightedRandom, &[("a", 3), ("b", 1), ("a", 4)]);
    let endpoints = channel.publisher.shared().endpoints();
    let infos: Vec<_> = endpoints.iter().map(|endpoint| endpoint.info().clone()).collect();
    assert_eq!(infos, [EndpointInfo::new("a").weighing(7), EndpointInfo::new("b")]);
}

#[test]
fn weight_0_is_left_out() {
    let channel = Channel::new(BalancerConfig::RoundRobin, &[("a", 0), ("b", 1)]);
    assert_eq!(channel.publisher.shared().endpoints().order(), [channel.key("b")]);
}

#[test]
fn a_list_too_long_or_without_an_address_leaves_the_one_before() {
    let mut channel = Channel::new(BalancerConfig::RoundRobin, &[("a", 1)]);
    let long = vec![EndpointInfo::new("x"); ENDPOINTS_MAX + 1];
    let count = ENDPOINTS_MAX + 1;
    assert_eq!(channel.publisher.publish(&channel.policy, long), Err(PublishError::TooMany { count }));
    let nameless = vec![EndpointInfo::new("b"), EndpointInfo::new("")];
    let refused = channel.publisher.publish(&channel.policy, nameless);
    assert_eq!(refused, Err(PublishError::EmptyAddress { position: 1 }));
    assert_eq!(channel.publisher.shared().endpoints().order(), [channel.key("a")]);
}

#[test]
fn the_longest_list_is_taken_and_slots_are_used_again() {
    let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
    let list = |from: usize| (from..from + ENDPOINTS_MAX).map(|number| EndpointInfo::new(number.to_string()));
    for from in [0, ENDPOINTS_MAX / 2] {
        publisher.publish(&BalancerConfig::RoundRobin.into(), list(from).collect()).unwrap();
        let endpoints = publisher.shared().endpoints();
        assert_eq!((endpoints.slots_count(), endpoints.iter().count()), (ENDPOINTS_MAX, ENDPOINTS_MAX));
    }
}

#[test]
fn a_subset_changes_by_no_more_than_it_must() {
    let names: Vec<String> = (0..100).map(|number| format!("e{number}")).collect();
    let list: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let child = Box::new(BalancerConfig::RoundRobin);
    let mut channel = Channel::new(BalancerConfig::RandomSubsetting { subset_size: 10, child }, &list);
    let subset = |channel: &Channel| -> HashSet<EndpointKey> {
        channel.publisher.shared().endpoints().order().iter().copied().collect()
    };
    let before = subset(&channel);
    assert_eq!(before.len(), 10);
    channel.publish(&list);
    assert_eq!(subset(&channel), before);
    channel.publish(&list[..50]);
    let kept = list[..50].iter().filter(|(name, _)| {
        let endpoints = channel.publisher.shared().endpoints();
        endpoints.iter().any(|e| &*e.info().address == *name && before.contains(&e.key()))
    });
    let stayed = kept.count();
    assert_eq!(subset(&channel).intersection(&before).count(), stayed);
    assert_eq!(subset(&channel).len(), 10);
}

#[test]
fn channels_differ_in_their_subsets() {
    let list: Vec<EndpointInfo> = (0..100).map(|number| EndpointInfo::new(format!("e{number}"))).collect();
    let subset = |seed| {
        let child = Box::new(BalancerConfig::RoundRobin);
        let policy = BalancerConfig::RandomSubsetting { subset_size: 10, child }.into();
        let mut publisher = Publisher::new(fastrand::Rng::with_seed(seed));
        publisher.publish(&policy, list.clone()).unwrap();
        let endpoints = publisher.shared().endpoints();
        endpoints.iter().map(|endpoint| endpoint.info().address.clone()).collect::<Vec<_>>()
    };
    assert_eq!(subset(1), subset(1));
    assert_ne!(subset(1), subset(2));
}

/// Always the last; and counts how often it was made.
struct Last;

impl Balancer for Last {
    fn update(&mut self, _: &mut View) {}

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        let last = view.ready().last().copied();
        last.map_or(view.none_ready(), |key| Pick::Ready { key, connect: None })
    }
}

#[test]
fn a_balancer_of_ones_own_is_made_once_a_worker_and_when_the_policy_changes() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let own = Policy::Own(Arc::new(|| {
        MADE.fetch_add(1, Ordering::Relaxed);
        Box::new(Last)
    }));
    let mut channel = Channel::new(BalancerConfig::PickFirst, &[("a", 1), ("b", 1)]);
    let mut picker: Picker = channel.ready_picker(0, 1);
    assert_eq!(ready(pick(&mut picker)), channel.key("a"));
    channel.policy = own;
    for _ in 0..3 {
        channel.publish(&[("a", 1), ("b", 1)]);
        assert_eq!(ready(pick(&mut picker)), channel.key("b")); // states stay
    }
    assert_eq!(MADE.load(Ordering::Relaxed), 1);
    channel.policy = BalancerConfig::PickFirst.into();
    channel.publish(&[("a", 1), ("b", 1)]);
    assert_eq!(ready(pick(&mut picker)), channel.key("a"));
}
