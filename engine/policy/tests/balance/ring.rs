//! `ring_hash` picks what Envoy picks. The expected values come from elsewhere: the first ring is the one written down in Envoy's
//! own test of its ring-hash balancer, the others were computed with Python's `xxhash`:
//!
//! ```text
//! total = sum(weights); least = min(w / total); scale = min(ceil(least * min_size) / least, max_size)
//! for address, w in hosts: target += scale * (w / total); i = 0
//!     while count < target: ring.append((xxh64(f"{address}_{i}", seed=0), address)); i += 1; count += 1
//! pick(h) = the entry with the least hash >= h, or the one with the least hash
//! ```

use corelane_policy::balance::{Call, EndpointInfo, Pick, Publisher, Readiness, hash_of};

use crate::support::{Channel, START, pick, ready, ring_hash};

fn pick_of(channel: &Channel, picker: &mut corelane_policy::balance::Picker, hash: u64) -> String {
    let call = Call { hash: Some(hash), avoid: &[] };
    channel.name(ready(picker.pick(START, &call))).to_string()
}

#[test]
fn places_are_those_of_envoys_own_test() {
    const RING: [(u64, &str); 12] = [
        (833437586790550860, "94"),
        (928266305478181108, "92"),
        (1033482794131418490, "90"),
        (3551244743356806947, "95"),
        (3851675632748031481, "93"),
        (5583722120771150861, "91"),
        (6311230543546372928, "91"),
        (7700377290971790572, "93"),
        (13144177310400110813, "95"),
        (13444792449719432967, "92"),
        (15516499411664133160, "94"),
        (16117243373044804889, "90"),
    ];
    let list = ["90", "91", "92", "93", "94", "95"].map(|port| format!("127.0.0.1:{port}"));
    let list: Vec<(&str, u32)> = list.iter().map(|address| (address.as_str(), 1)).collect();
    let channel = Channel::new(ring_hash(12, 8_388_608), &list);
    let mut picker = channel.ready_picker(0, 1);
    assert_eq!(channel.publisher.shared().endpoints().ring().unwrap().places_count(), 12);
    for (at, (hash, port)) in RING.iter().enumerate() {
        assert_eq!(pick_of(&channel, &mut picker, *hash), format!("127.0.0.1:{port}"));
        let next = RING[(at + 1) % RING.len()].1;
        assert_eq!(pick_of(&channel, &mut picker, hash + 1), format!("127.0.0.1:{next}"));
    }
    for hash in [0, u64::MAX] {
        assert_eq!(pick_of(&channel, &mut picker, hash), "127.0.0.1:94");
    }
}

const WEIGHTED: [(&str, u32); 5] = [
    ("10.0.0.1:50051", 3),
    ("10.0.0.2:50051", 7),
    ("[2001:db8::1]:443", 13),
    ("unix:/run/a.sock", 1),
    ("backend-7.example:80", 29),
];

/// Of the calls `user-0` … `user-23`, the positions in `WEIGHTED`.
fn picks_of_users(channel: &Channel) -> Vec<usize> {
    let mut picker = channel.ready_picker(0, 1);
    let position = |name: String| WEIGHTED.iter().position(|(address, _)| *address == name).unwrap();
    let users = (0..24).map(|user| hash_of(format!("user-{user}").as_bytes()));
    users.map(|hash| position(pick_of(channel, &mut picker, hash))).collect()
}

#[test]
fn weighted_endpoints_have_places_in_proportion() {
    let channel = Channel::new(ring_hash(1024, 8_388_608), &WEIGHTED);
    assert_eq!(channel.publisher.shared().endpoints().ring().unwrap().places_count(), 1060);
    let expected = [1, 3, 2, 2, 0, 2, 4, 2, 2, 4, 3, 2, 1, 4, 1, 2, 4, 4, 4, 1, 2, 2, 4, 4];
    assert_eq!(picks_of_users(&channel), expected);
}

#[test]
fn a_ring_that_is_cut_short_is_cut_as_envoy_cuts_it() {
    let channel = Channel::new(ring_hash(1024, 20), &WEIGHTED);
    assert_eq!(channel.publisher.shared().endpoints().ring().unwrap().places_count(), 20);
    let expected = [4, 4, 0, 4, 2, 4, 0, 4, 2, 1, 4, 2, 2, 4, 2, 2, 4, 1, 4, 1, 1, 1, 0, 4];
    assert_eq!(picks_of_users(&channel), expected);
}

#[test]
fn the_lightest_endpoint_has_one_place_at_least() {
    let channel = Channel::new(ring_hash(1, 8_388_608), &WEIGHTED);
    assert_eq!(channel.publisher.shared().endpoints().ring().unwrap().places_count(), 53);
    let expected = [4, 4, 0, 4, 2, 4, 1, 4, 2, 4, 4, 1, 2, 4, 2, 2, 4, 4, 4, 4, 1, 2, 4, 4];
    assert_eq!(picks_of_users(&channel), expected);
}

#[test]
fn a_hash_key_is_hashed_in_place_of_the_address() {
    let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
    let info = |address: &str, hash_key: &str| EndpointInfo {
        hash_key: Some(hash_key.into()),
        ..EndpointInfo::new(address)
    };
    let list = vec![info("x", "127.0.0.1:90"), info("y", "127.0.0.1:91")];
    publisher.publish(&ring_hash(4, 4).into(), list).unwrap();
    let mut picker = Channel { publisher, policy: ring_hash(4, 4).into() };
    let channel = &mut picker;
    let mut picker = channel.ready_picker(0, 1);
    assert_eq!(pick_of(channel, &mut picker, 1033482794131418490), "x");
    assert_eq!(pick_of(channel, &mut picker, 6311230543546372928), "y");
}

/// Places of 90 … 95 in Envoy's test: 93 at 7700377290971790572, then 95, 92, 94, 90, and around: 94, 92.
fn envoys() -> (Channel, corelane_policy::balance::Picker) {
    let list = ["90", "91", "92", "93", "94", "95"].map(|port| format!("127.0.0.1:{port}"));
    let list: Vec<(&str, u32)> = list.iter().map(|address| (address.as_str(), 1)).collect();
    let channel = Channel::new(ring_hash(12, 12), &list);
    let picker = channel.ready_picker(0, 1);
    (channel, picker)
}

const AT_93: Call<'static> = Call { hash: Some(7700377290971790572), avoid: &[] };

#[test]
fn a_call_waits_for_its_own_endpoint_and_passes_a_failed_one() {
    let (channel, mut picker) = envoys();
    let key = |port: u32| channel.key(&format!("127.0.0.1:{port}"));
    picker.set_readiness(key(93), Readiness::Idle);
    assert_eq!(picker.pick(START, &AT_93), Pick::Wait { connect: Some(key(93)) });
    picker.set_readiness(key(93), Readiness::Connecting);
    assert_eq!(picker.pick(START, &AT_93), Pick::Wait { connect: None });
    picker.set_readiness(key(93), Readiness::TransientFailure);
    assert_eq!(ready(picker.pick(START, &AT_93)), key(95));
    picker.set_readiness(key(95), Readiness::TransientFailure);
    picker.set_readiness(key(92), Readiness::Idle);
    assert_eq!(picker.pick(START, &AT_93), Pick::Wait { connect: Some(key(92)) });
    channel.set_all(&mut picker, Readiness::TransientFailure);
    assert_eq!(picker.pick(START, &AT_93), Pick::Failed(key(93)));
}

#[test]
fn a_retry_goes_on_around_the_ring() {
    let (channel, mut picker) = envoys();
    let key = |port: u32| channel.key(&format!("127.0.0.1:{port}"));
    let mut tried = vec![];
    for port in [93, 95, 92, 94, 90, 91, 93] {
        let call = Call { avoid: &tried, ..AT_93 };
        let picked = ready(picker.pick(START, &call));
        assert_eq!(picked, key(port));
        tried.push(picked);
    }
}

#[test]
fn a_call_without_a_hash_goes_to_a_ready_endpoint_and_has_one_other_connected() {
    let (channel, mut picker) = envoys();
    channel.set_all(&mut picker, Readiness::Idle);
    let Pick::Wait { connect: Some(_) } = pick(&mut picker) else { panic!("one is to be connected") };
    let only = channel.key("127.0.0.1:91");
    picker.set_readiness(only, Readiness::Ready);
    let mut asked = 0;
    for _ in 0..100 {
        let Pick::Ready { key, connect } = pick(&mut picker) else { panic!("one is ready") };
        assert_eq!(key, only);
        assert_ne!(connect, Some(only));
        asked += u32::from(connect.is_some());
    }
    assert!(asked > 50, "{asked}");
    picker.set_readiness(channel.key("127.0.0.1:92"), Readiness::Connecting);
    assert_eq!(ready(pick(&mut picker)), only); // now one is connecting: none is asked for
}

#[test]
fn the_hash_header_is_the_configs() {
    let mut config = ring_hash(12, 12);
    if let corelane_policy::config::BalancerConfig::RingHash { request_hash_header, .. } = &mut config {
        *request_hash_header = Some("user".to_owned());
    }
    assert_eq!(Channel::new(config, &[("a", 1)]).picker(0, 1).hash_header(), Some("user"));
    assert_eq!(envoys().1.hash_header(), None);
}
