//! Sweeps over a list of endpoints, interval by interval.

use super::super::outcome::Outcome;
use super::*;
use crate::config::{FailurePercentage, SuccessRate};
use fastrand::Rng;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_assert_ne, proptest};

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

/// Sweeps every 10 s; ejects for 30 s at first, for 70 s at most; failing more than half of at least ten calls.
fn config() -> OutlierDetectionConfig {
    OutlierDetectionConfig {
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection_time: Duration::from_secs(70),
        max_ejection_percent: 50,
        success_rate: None,
        failure_percentage: Some(FailurePercentage {
            threshold: 50,
            enforcement_percentage: 100,
            minimum_hosts: 2,
            request_volume: 10,
        }),
    }
}

fn endpoints(count: usize) -> Vec<OutlierEndpoint> {
    (0..count).map(|_| OutlierEndpoint::new()).collect()
}

/// Ten calls to each: those named fail.
fn call_all(endpoints: &[OutlierEndpoint], failing: &[usize]) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let outcome = if failing.contains(&index) { Outcome::Failure } else { Outcome::Success };
        (0..10).for_each(|_| endpoint.record(outcome));
    }
}

#[test]
fn an_ejection_lasts_longer_each_time_up_to_the_maximum() {
    let (detector, endpoints, mut rng) =
        (OutlierDetector::new(config(), at(0)), endpoints(4), Rng::with_seed(0));
    let mut lengths = Vec::new();
    let mut ejected_at = None;
    for seconds in (10..400).step_by(10) {
        call_all(&endpoints, &[2]);
        for change in detector.sweep(at(seconds), &endpoints, &mut rng) {
            match change {
                Ejection::Ejected(2) => ejected_at = Some(seconds),
                Ejection::Returned(2) => lengths.push(seconds - ejected_at.take().unwrap()),
                other => panic!("{other:?}"),
            }
        }
    }
    // "After" 30, 60 and 70 s: at the first sweep past it.
    assert_eq!(lengths, [40, 70, 80, 80]);
}

#[test]
fn health_lowers_the_multiplier_again() {
    let (detector, endpoints, mut rng) =
        (OutlierDetector::new(config(), at(0)), endpoints(4), Rng::with_seed(0));
    call_all(&endpoints, &[0]);
    assert_eq!(detector.sweep(at(10), &endpoints, &mut rng), [Ejection::Ejected(0)]);
    assert_eq!(detector.sweep(at(40), &endpoints, &mut rng), [], "not after 30 s, but at them");
    assert_eq!(detector.sweep(at(50), &endpoints, &mut rng), [Ejection::Returned(0)]);
    assert_eq!(endpoints[0].multiplier(), 1);
    detector.sweep(at(60), &endpoints, &mut rng);
    assert_eq!(endpoints[0].multiplier(), 0);
    detector.sweep(at(70), &endpoints, &mut rng);
    assert_eq!(endpoints[0].multiplier(), 0);
}

#[test]
fn no_more_than_the_percentage_is_ejected_but_always_one() {
    for (percent, total, expected) in [(50, 4, 2), (50, 5, 3), (10, 4, 1), (0, 4, 1), (100, 4, 4), (26, 4, 2)]
    {
        let config = OutlierDetectionConfig { max_ejection_percent: percent, ..config() };
        let (detector, endpoints) = (OutlierDetector::new(config, at(0)), endpoints(total));
        call_all(&endpoints, &(0..total).collect::<Vec<_>>());
        let changes = detector.sweep(at(10), &endpoints, &mut Rng::with_seed(0));
        assert_eq!(
            changes,
            (0..expected).map(Ejection::Ejected).collect::<Vec<_>>(),
            "{percent} % of {total}"
        );
    }
}

#[test]
fn enforcement_is_a_chance() {
    let failure_percentage =
        FailurePercentage { enforcement_percentage: 30, ..config().failure_percentage.unwrap() };
    let mut rng = Rng::with_seed(4);
    let mut ejected = 0;
    for _ in 0..1_000 {
        let config = OutlierDetectionConfig { failure_percentage: Some(failure_percentage), ..config() };
        let (detector, endpoints) = (OutlierDetector::new(config, at(0)), endpoints(2));
        call_all(&endpoints, &[1]);
        ejected += detector.sweep(at(10), &endpoints, &mut rng).len();
    }
    assert!((250..350).contains(&ejected), "{ejected} of 1000 at 30 %");
}

#[test]
fn both_algorithms_eject_an_endpoint_once() {
    let success_rate = SuccessRate {
        stdev_factor: 1_000,
        enforcement_percentage: 100,
        minimum_hosts: 2,
        request_volume: 10,
    };
    let config = OutlierDetectionConfig { success_rate: Some(success_rate), ..config() };
    let (detector, endpoints) = (OutlierDetector::new(config, at(0)), endpoints(5));
    call_all(&endpoints, &[4]);
    assert_eq!(detector.sweep(at(10), &endpoints, &mut Rng::with_seed(0)), [Ejection::Ejected(4)]);
    assert_eq!(endpoints[4].multiplier(), 1);
}

#[test]
fn counts_are_those_of_one_interval() {
    let (detector, endpoints, mut rng) =
        (OutlierDetector::new(config(), at(0)), endpoints(2), Rng::with_seed(0));
    let five_failures = || (0..5).for_each(|_| endpoints[0].record(Outcome::Failure));
    five_failures();
    assert_eq!(detector.sweep(at(10), &endpoints, &mut rng), []);
    five_failures();
    assert_eq!(detector.sweep(at(20), &endpoints, &mut rng), []);
}

#[test]
fn a_sweep_is_made_once_when_it_is_due_and_the_next_counts_from_it() {
    let (detector, endpoints, mut rng) =
        (OutlierDetector::new(config(), at(0)), endpoints(2), Rng::with_seed(0));
    call_all(&endpoints, &[0]);
    assert_eq!(detector.sweep(at(9), &endpoints, &mut rng), []);
    assert_eq!(detector.next_sweep(), Some(at(10)));
    assert_eq!(detector.sweep(at(12), &endpoints, &mut rng), [Ejection::Ejected(0)]);
    assert_eq!(detector.next_sweep(), Some(at(22)));
}

#[test]
fn a_new_config_keeps_the_time_of_the_last_sweep() {
    let (detector, endpoints, mut rng) =
        (OutlierDetector::new(config(), at(0)), endpoints(2), Rng::with_seed(0));
    detector.sweep(at(10), &endpoints, &mut rng);
    let every = |seconds| OutlierDetectionConfig { interval: Duration::from_secs(seconds), ..config() };
    assert_eq!(detector.successor(every(60), at(15), &endpoints).next_sweep(), Some(at(70)));
    assert_eq!(detector.successor(every(1), at(15), &endpoints).next_sweep(), Some(at(15)));
}

#[test]
fn without_algorithms_nothing_is_swept_and_all_return() {
    let (detector, endpoints, mut rng) =
        (OutlierDetector::new(config(), at(0)), endpoints(2), Rng::with_seed(0));
    call_all(&endpoints, &[0]);
    detector.sweep(at(10), &endpoints, &mut rng);
    let idle = detector.successor(
        OutlierDetectionConfig { failure_percentage: None, ..config() },
        at(11),
        &endpoints,
    );
    assert_eq!((idle.next_sweep(), idle.is_active()), (None, false));
    assert_eq!(idle.sweep(Instant::MAX, &endpoints, &mut rng), []);
    assert_eq!(OutlierDetector::return_all(&endpoints), [Ejection::Returned(0)]);
    assert_eq!(endpoints[0].multiplier(), 0);
    // Calls of the idle time are not held against anyone.
    call_all(&endpoints, &[1]);
    let again = idle.successor(config(), at(20), &endpoints);
    assert_eq!(again.next_sweep(), Some(at(30)));
    assert_eq!(again.sweep(at(30), &endpoints, &mut rng), []);
}

#[test]
fn the_largest_durations_do_not_panic() {
    let forever = OutlierDetectionConfig {
        interval: Duration::MAX,
        base_ejection_time: Duration::MAX,
        max_ejection_time: Duration::MAX,
        ..config()
    };
    let (detector, endpoints) = (OutlierDetector::new(forever, at(1)), endpoints(2));
    call_all(&endpoints, &[0]);
    assert_eq!(detector.sweep(Instant::MAX, &endpoints, &mut Rng::with_seed(0)), [Ejection::Ejected(0)]);
    let hasty = OutlierDetector::new(OutlierDetectionConfig { interval: Duration::ZERO, ..config() }, at(0));
    assert_eq!(hasty.next_sweep(), Some(Instant::from_nanos(1_000_000)));
}

proptest! {
    /// Whatever fails: changes alternate for each endpoint and match what it says of itself, and at every sweep all but the
    /// last ejected are below the percentage.
    #[test]
    fn changes_tell_all_that_happened(
        rounds in prop::collection::vec(prop::collection::vec(any::<bool>(), 8), 1..40), percent in 0_u32..=100, seed in any::<u64>()
    ) {
        let config = OutlierDetectionConfig { max_ejection_percent: percent, ..config() };
        let (detector, endpoints, mut rng) = (OutlierDetector::new(config, at(0)), endpoints(8), Rng::with_seed(seed));
        let mut told = [false; 8];
        for (round, failing) in rounds.into_iter().enumerate() {
            let failing: Vec<_> = (0..8).filter(|index| failing[*index]).collect();
            call_all(&endpoints, &failing);
            for change in detector.sweep(at(10 * (round as u64 + 1)), &endpoints, &mut rng) {
                let (index, is_ejected) = match change {
                    Ejection::Ejected(index) => (index, true),
                    Ejection::Returned(index) => (index, false),
                };
                prop_assert_ne!(told[index], is_ejected);
                told[index] = is_ejected;
            }
            for (endpoint, told) in endpoints.iter().zip(told) {
                prop_assert_eq!(endpoint.is_ejected(), told);
            }
            let ejected = told.iter().filter(|told| **told).count();
            prop_assert!(ejected <= 1 || (ejected - 1) * 100 < 8 * percent as usize);
        }
    }
}
