//! A million picks of each policy fall within 1 % of the ideal, on one worker and over several.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corelane_policy::balance::{Call, LoadReport};
use corelane_policy::config::{BalancerConfig, WeightedRoundRobinConfig};

use crate::support::{Channel, START, ready, ring_hash};

const PICKS: u32 = 1_000_000;
const EVEN: [(&str, u32); 7] = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1), ("g", 1)];
const WEIGHTED: [(&str, u32); 5] = [("a", 100), ("b", 200), ("c", 300), ("d", 150), ("e", 250)];

fn assert_shares(counts: &BTreeMap<Arc<str>, u32>, shares: &[(&str, u32)]) {
    let total: u32 = shares.iter().map(|(_, share)| share).sum();
    let picks: u32 = counts.values().sum();
    assert_eq!(counts.len(), shares.len());
    for (name, share) in shares {
        let ideal = f64::from(picks) * f64::from(*share) / f64::from(total);
        let off = f64::from(counts[*name]) / ideal - 1.0;
        assert!(off.abs() < 0.01, "{name} is off by {:.2} % of {ideal}: {counts:?}", off * 100.0);
    }
}

/// One worker's million, and that of three workers together.
fn assert_policy(config: &BalancerConfig, list: &[(&str, u32)], shares: &[(&str, u32)]) {
    let channel = Channel::new(config.clone(), list);
    assert_shares(&channel.count(&mut channel.ready_picker(0, 1), PICKS), shares);
    let mut counts = BTreeMap::new();
    for index in 0..3 {
        for (name, count) in channel.count(&mut channel.ready_picker(index, 3), PICKS / 3) {
            *counts.entry(name).or_default() += count;
        }
    }
    assert_shares(&counts, shares);
}

#[test]
fn round_robin_is_even() {
    assert_policy(&BalancerConfig::RoundRobin, &WEIGHTED, &WEIGHTED.map(|(name, _)| (name, 1)));
}

#[test]
fn random_is_even() {
    assert_policy(&BalancerConfig::Random, &EVEN, &EVEN);
}

#[test]
fn weighted_random_follows_the_weights() {
    assert_policy(&BalancerConfig::WeightedRandom, &WEIGHTED, &WEIGHTED);
}

#[test]
fn weighted_round_robin_without_reports_follows_the_resolvers_weights() {
    assert_policy(
        &BalancerConfig::WeightedRoundRobin(WeightedRoundRobinConfig::default()),
        &WEIGHTED,
        &WEIGHTED,
    );
    let steep = [("a", 1), ("b", 10), ("c", 1_000)];
    assert_policy(&BalancerConfig::WeightedRoundRobin(WeightedRoundRobinConfig::default()), &steep, &steep);
}

#[test]
fn weighted_round_robin_follows_reports_wherever_they_came_in() {
    let config = WeightedRoundRobinConfig { blackout_period: Duration::ZERO, ..Default::default() };
    let channel = Channel::new(BalancerConfig::WeightedRoundRobin(config), &EVEN);
    let (mut one, mut other) = (channel.ready_picker(0, 2), channel.ready_picker(1, 2));
    let mut report = |name: &str, calls_per_second: f64, errors_per_second: f64, cpu_utilization: f64| {
        let report =
            LoadReport { calls_per_second, errors_per_second, cpu_utilization, application_utilization: 0.0 };
        other.report(START, channel.key(name), &report);
    };
    report("a", 100.0, 0.0, 0.5); // 200
    report("b", 100.0, 50.0, 0.5); // 100, since half of the calls failed
    report("c", 300.0, 0.0, 1.0); // 300
    report("d", 0.0, 0.0, 0.5); // none: no call was made
    report("e", 100.0, 0.0, 0.0); // none: no utilization was told
    let shares = [("a", 200), ("b", 100), ("c", 300), ("d", 200), ("e", 200), ("f", 200), ("g", 200)];
    assert_shares(&channel.count(&mut one, PICKS), &shares);
}

#[test]
fn least_request_is_even_while_all_are_equally_busy() {
    assert_policy(&BalancerConfig::LeastRequest { choice_count: 2 }, &EVEN, &EVEN);
}

#[test]
fn least_request_evens_out_calls_in_flight() {
    let channel = Channel::new(BalancerConfig::LeastRequest { choice_count: 3 }, &EVEN);
    let mut picker = channel.ready_picker(0, 1);
    let counts = channel.tally((0..PICKS).map(|_| {
        let key = ready(picker.pick(START, &Call::default()));
        picker.start(START, key); // and never over
        key
    }));
    assert_shares(&counts, &EVEN);
    let spread = counts.values().max().unwrap() - counts.values().min().unwrap();
    assert!(spread <= 10, "{counts:?}");
}

/// The ideal of a ring is its arcs: what is between two places belongs to the second.
#[test]
fn ring_hash_follows_the_arcs_of_its_ring() {
    let channel = Channel::new(ring_hash(1024, 8_388_608), &WEIGHTED);
    let mut picker = channel.ready_picker(0, 1);
    let mut count_at = |hashes: &mut dyn Iterator<Item = u64>| {
        channel.tally(hashes.map(|hash| ready(picker.pick(START, &Call { hash: Some(hash), avoid: &[] }))))
    };
    let arcs = count_at(&mut (0..u64::from(PICKS)).map(|at| at * (u64::MAX / u64::from(PICKS))));
    let mut rng = fastrand::Rng::with_seed(3);
    let picks = count_at(&mut (0..PICKS).map(|_| rng.u64(..)));
    let arcs: Vec<(&str, u32)> = arcs.iter().map(|(name, count)| (&**name, *count)).collect();
    assert_shares(&picks, &arcs);
    // And with a large ring, the arcs are the weights.
    let large = Channel::new(ring_hash(400_000, 8_388_608), &WEIGHTED);
    assert_shares(&large.count(&mut large.ready_picker(0, 1), PICKS), &WEIGHTED);
}

#[test]
fn core_local_is_even_over_cores_and_stays_at_home() {
    let list = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1)];
    let channel = Channel::new(BalancerConfig::CoreLocal, &list);
    let own = channel.count(&mut channel.ready_picker(1, 3), PICKS / 3);
    assert_shares(&own, &[("b", 1), ("e", 1)]);
    assert_policy(&BalancerConfig::CoreLocal, &list, &list);
}

#[test]
fn a_subset_is_used_evenly() {
    let child = Box::new(BalancerConfig::RoundRobin);
    let channel = Channel::new(BalancerConfig::RandomSubsetting { subset_size: 3, child }, &EVEN);
    let endpoints = channel.publisher.shared().endpoints();
    let subset: Vec<(&str, u32)> = endpoints.iter().map(|endpoint| (&*endpoint.info().address, 1)).collect();
    assert_eq!(subset.len(), 3);
    assert_shares(&channel.count(&mut channel.ready_picker(0, 1), PICKS), &subset);
}

#[test]
fn a_shuffle_puts_each_first_in_proportion_to_its_weight() {
    let mut channel = Channel::new(BalancerConfig::PickFirstShuffled, &[]);
    let mut counts: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for _ in 0..PICKS / 10 {
        channel.publish(&[("a", 1), ("b", 1), ("c", 2)]);
        let endpoints = channel.publisher.shared().endpoints();
        *counts.entry(channel.name(endpoints.order()[0])).or_default() += 1;
    }
    assert_shares(&counts, &[("a", 1), ("b", 1), ("c", 2)]);
}
