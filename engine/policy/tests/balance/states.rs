//! Which states are picked, waited for and failed; ejections, and what is to be avoided.

use corelane_policy::balance::{Call, Ejection, LoadReport, Pick, Readiness, Worker};
use corelane_policy::config::{BalancerConfig, WeightedRoundRobinConfig};
use corelane_wire::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{Channel, START, pick, ready};

const LIST: [(&str, u32); 4] = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];

/// All but `pick_first` and `ring_hash`.
fn spreading_policies() -> [BalancerConfig; 6] {
    [
        BalancerConfig::RoundRobin,
        BalancerConfig::WeightedRoundRobin(WeightedRoundRobinConfig::default()),
        BalancerConfig::Random,
        BalancerConfig::WeightedRandom,
        BalancerConfig::LeastRequest { choice_count: 2 },
        BalancerConfig::CoreLocal,
    ]
}

fn names(channel: &Channel, picker: &mut corelane_policy::balance::Picker) -> String {
    let names: BTreeSet<String> = (0..200).map(|_| channel.name(ready(pick(picker))).to_string()).collect();
    names.into_iter().collect()
}

#[test]
fn an_empty_list_is_empty_for_every_policy() {
    for policy in spreading_policies().into_iter().chain([BalancerConfig::PickFirst]) {
        assert_eq!(pick(&mut Channel::new(policy, &[]).picker(0, 1)), Pick::Empty);
    }
}

#[test]
fn calls_wait_while_any_may_come_up_and_fail_when_all_have_failed() {
    for policy in spreading_policies().into_iter().chain([BalancerConfig::PickFirst]) {
        let channel = Channel::new(policy, &LIST);
        let mut picker = channel.picker(0, 1);
        assert_eq!(pick(&mut picker), Pick::Wait { connect: Some(channel.key("a")) });
        channel.set(&mut picker, "a", Readiness::Connecting);
        assert_eq!(pick(&mut picker), Pick::Wait { connect: None });
        channel.set(&mut picker, "a", Readiness::TransientFailure);
        assert_eq!(pick(&mut picker), Pick::Wait { connect: Some(channel.key("b")) });
        channel.set_all(&mut picker, Readiness::TransientFailure);
        assert_eq!(pick(&mut picker), Pick::Failed(channel.key("a")));
        channel.set(&mut picker, "c", Readiness::Ready);
        assert_eq!(ready(pick(&mut picker)), channel.key("c"));
    }
}

#[test]
fn only_ready_endpoints_are_picked() {
    for policy in spreading_policies() {
        let channel = Channel::new(policy, &LIST);
        let mut picker = channel.ready_picker(0, 1);
        assert_eq!(names(&channel, &mut picker), "abcd");
        channel.set(&mut picker, "b", Readiness::Idle);
        channel.set(&mut picker, "d", Readiness::TransientFailure);
        assert_eq!(names(&channel, &mut picker), "ac");
        channel.set(&mut picker, "b", Readiness::Ready);
        assert_eq!(names(&channel, &mut picker), "abc");
    }
}

#[test]
fn what_one_worker_is_connected_to_is_nothing_to_another() {
    let channel = Channel::new(BalancerConfig::RoundRobin, &LIST);
    let _connected = channel.ready_picker(0, 2);
    assert_eq!(pick(&mut channel.picker(1, 2)), Pick::Wait { connect: Some(channel.key("a")) });
}

#[test]
fn ejected_endpoints_are_left_out_on_every_worker_unless_all_are() {
    for policy in spreading_policies() {
        let channel = Channel::new(policy, &LIST);
        let mut workers = [channel.ready_picker(0, 1), channel.ready_picker(0, 1)];
        let shared = channel.publisher.shared();
        for (name, left) in [("a", "bcd"), ("b", "cd"), ("c", "d"), ("d", "abcd")] {
            shared.set_ejection(channel.key(name), Ejection::Ejected);
            for worker in &mut workers {
                assert_eq!(names(&channel, worker), left);
            }
        }
        shared.set_ejection(channel.key("b"), Ejection::None);
        assert_eq!(names(&channel, &mut workers[0]), "b");
    }
}

#[test]
fn an_endpoint_that_an_attempt_has_used_is_avoided_while_another_is_ready() {
    for policy in spreading_policies() {
        let channel = Channel::new(policy, &LIST);
        let mut picker = channel.ready_picker(0, 1);
        let mut avoid = vec![];
        for name in ["a", "b", "c"] {
            avoid.push(channel.key(name));
            for _ in 0..50 {
                let key = ready(picker.pick(START, &Call { hash: None, avoid: &avoid }));
                assert!(!avoid.contains(&key));
            }
        }
        avoid.push(channel.key("d"));
        ready(picker.pick(START, &Call { hash: None, avoid: &avoid }));
    }
}

#[test]
fn pick_first_stays_with_its_endpoint_until_that_is_lost() {
    let mut channel = Channel::new(BalancerConfig::PickFirst, &LIST);
    let mut picker = channel.picker(0, 1);
    channel.set(&mut picker, "b", Readiness::Ready);
    assert_eq!(ready(pick(&mut picker)), channel.key("b"));
    channel.set(&mut picker, "a", Readiness::Ready); // the loser of a race
    assert_eq!(ready(pick(&mut picker)), channel.key("b"));
    assert!(picker.keeps_connected(channel.key("b")) && !picker.keeps_connected(channel.key("a")));
    channel.publish(&[("d", 1), ("c", 1), ("b", 1)]);
    assert_eq!(ready(pick(&mut picker)), channel.key("b"));
    channel.set(&mut picker, "b", Readiness::Idle);
    assert_eq!(pick(&mut picker), Pick::Wait { connect: Some(channel.key("d")) });
}

#[test]
fn happy_eyeballs_gets_the_next_idle_one() {
    let channel = Channel::new(BalancerConfig::PickFirst, &LIST);
    let mut picker = channel.picker(0, 1);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(picker.next_idle(), Some(channel.key(name)));
        channel.set(&mut picker, name, Readiness::Connecting);
    }
    assert_eq!(picker.next_idle(), None);
}

#[test]
fn round_robin_keeps_to_the_order_of_the_list() {
    let channel = Channel::new(BalancerConfig::RoundRobin, &LIST);
    let mut picker = channel.ready_picker(0, 1);
    let turns: String = (0..12).map(|_| channel.name(ready(pick(&mut picker))).to_string()).collect();
    assert!("abcdabcdabcdabcd".contains(&turns), "{turns}");
    let begins: BTreeSet<_> = (0..50)
        .map(|index| pick(&mut channel.ready_picker(index, 50)))
        .map(|pick| channel.name(ready(pick)))
        .collect();
    assert_eq!(begins.len(), 4, "workers begin anywhere");
}

#[test]
fn least_request_sees_the_calls_of_other_workers() {
    let channel = Channel::new(BalancerConfig::LeastRequest { choice_count: 10 }, &[("a", 1), ("b", 1)]);
    let (mut one, mut other) = (channel.ready_picker(0, 2), channel.ready_picker(1, 2));
    for _ in 0..5 {
        one.start(START, channel.key("a"));
    }
    // The first call was told at once; the rest is within a millisecond, when the worker next has to do with it.
    let later = START + Duration::from_millis(5);
    one.finish(later, channel.key("a"));
    other.start(later, channel.key("b"));
    let picks = (0..100).map(|_| ready(other.pick(later, &Call::default())));
    let to_b = picks.filter(|key| *key == channel.key("b")).count();
    assert!(to_b >= 99, "b has 1 call, a has 4; ten draws miss b once in a thousand: {to_b}");
}

#[test]
fn a_sweep_tells_what_a_burst_left_untold() {
    let channel = Channel::new(BalancerConfig::RoundRobin, &LIST);
    let endpoints = channel.publisher.shared().endpoints();
    let mut picker = channel.ready_picker(0, 1);
    let key = channel.key("c");
    (0..9).for_each(|_| picker.start(START, key));
    (0..9).for_each(|_| picker.finish(START, key));
    assert_eq!(endpoints.get(key).unwrap().stats().outstanding(), 1);
    let later = START + Duration::from_millis(5);
    (0..4).for_each(|_| picker.start(later, channel.key("a")));
    assert_eq!(endpoints.get(key).unwrap().stats().outstanding(), 0);
}

#[test]
fn core_local_falls_back_to_all_and_comes_home() {
    let channel = Channel::new(BalancerConfig::CoreLocal, &LIST);
    let mut picker = channel.picker(1, 2);
    assert_eq!(pick(&mut picker), Pick::Wait { connect: Some(channel.key("b")) });
    let kept = |picker: &corelane_policy::balance::Picker| -> String {
        LIST.iter().map(|(name, _)| *name).filter(|name| picker.keeps_connected(channel.key(name))).collect()
    };
    assert_eq!(kept(&picker), "bd");
    channel.set(&mut picker, "b", Readiness::TransientFailure);
    channel.set(&mut picker, "d", Readiness::TransientFailure);
    assert_eq!(pick(&mut picker), Pick::Wait { connect: Some(channel.key("a")) });
    assert_eq!(kept(&picker), "abcd");
    channel.set(&mut picker, "a", Readiness::Ready);
    channel.set(&mut picker, "c", Readiness::Ready);
    assert_eq!(names(&channel, &mut picker), "ac");
    channel.set(&mut picker, "d", Readiness::Ready);
    assert_eq!(names(&channel, &mut picker), "d");
}

#[test]
fn with_fewer_endpoints_than_cores_each_core_has_one() {
    let channel = Channel::new(BalancerConfig::CoreLocal, &[("a", 1), ("b", 1)]);
    let homes: String = (0..5).map(|index| names(&channel, &mut channel.ready_picker(index, 5))).collect();
    assert_eq!(homes, "ababa");
}

#[test]
#[should_panic(expected = "workers are numbered below their count")]
fn a_worker_beyond_the_count_is_refused() {
    let channel = Channel::new(BalancerConfig::CoreLocal, &LIST);
    let worker = Worker { index: 2, count: 2 };
    let _ = corelane_policy::balance::Picker::new(
        channel.publisher.shared().clone(),
        worker,
        fastrand::Rng::with_seed(1),
    );
}

#[test]
fn reported_weights_count_from_the_end_of_the_blackout_to_their_expiration() {
    let config = WeightedRoundRobinConfig {
        blackout_period: Duration::from_secs(10),
        weight_expiration_period: Duration::from_secs(60),
        ..WeightedRoundRobinConfig::default()
    };
    let channel = Channel::new(BalancerConfig::WeightedRoundRobin(config), &[("a", 1), ("b", 1)]);
    let mut picker = channel.ready_picker(0, 1);
    let at = |seconds: u64| START + Duration::from_secs(seconds);
    let mut share_of_b = |now: Instant, reports: bool| {
        if reports {
            for (name, calls_per_second) in [("a", 100.0), ("b", 300.0)] {
                let report = LoadReport {
                    calls_per_second,
                    application_utilization: 0.5,
                    cpu_utilization: 0.1,
                    ..LoadReport::default()
                };
                picker.report(now, channel.key(name), &report);
            }
        }
        (0..400).filter(|_| ready(picker.pick(now, &Call::default())) == channel.key("b")).count()
    };
    assert_eq!(share_of_b(at(0), true), 200);
    assert_eq!(share_of_b(at(9), true), 200);
    assert!((298..=302).contains(&share_of_b(at(11), true)));
    assert!((298..=302).contains(&share_of_b(at(60), false)));
    assert_eq!(share_of_b(at(72), false), 200);
}

#[test]
fn reports_that_make_no_sense_are_ignored() {
    let config = WeightedRoundRobinConfig { blackout_period: Duration::ZERO, ..Default::default() };
    let channel = Channel::new(BalancerConfig::WeightedRoundRobin(config), &[("a", 1), ("b", 1)]);
    let mut picker = channel.ready_picker(0, 1);
    let senseless = [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, f64::MAX];
    for calls_per_second in senseless {
        for utilization in senseless {
            for name in ["a", "b"] {
                let report = LoadReport {
                    calls_per_second,
                    errors_per_second: utilization,
                    application_utilization: f64::NAN,
                    cpu_utilization: utilization,
                };
                picker.report(START, channel.key(name), &report);
            }
            let later = START + Duration::from_secs(1);
            (0..10)
                .map(|_| picker.pick(later, &Call::default()))
                .for_each(|pick| assert_ne!(pick, Pick::Empty));
        }
    }
}
