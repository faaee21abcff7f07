//! Who is an outlier: the two algorithms of gRFC A50, on the tallies of one interval.
//!
//! Does not: eject. Each gives the indices of those that it finds, in order; how many of them are ejected, and how
//! likely, is `mod.rs`'s.
//!
//! Alternative that lost: Envoy's success rate, which leaves ejected endpoints out of the mean. The gRFC does not, and they
//! have hardly a call.

use super::endpoint::Tally;
use crate::config::{FailurePercentage, SuccessRate};

/// Endpoints whose share of successes is too far below the mean (A50, "Success Rate Algorithm").
pub(super) fn by_success_rate(tallies: &[Tally], rule: SuccessRate) -> Vec<usize> {
    let rates: Vec<(usize, f64)> = with_volume(tallies, rule.request_volume)
        .map(|(index, tally)| (index, f64::from(tally.successes) / volume(tally)))
        .collect();
    if rates.is_empty() || is_below(rates.len(), rule.minimum_hosts) {
        return Vec::new();
    }
    #[allow(clippy::cast_precision_loss)] // a count of endpoints
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
    let required = mean - variance.sqrt() * f64::from(rule.stdev_factor) / 1_000.0;
    rates.into_iter().filter(|(_, rate)| *rate < required).map(|(index, _)| index).collect()
}

/// Endpoints that fail too often, whatever the others do (A50, "Failure Percentage Algorithm").
pub(super) fn by_failure_percentage(tallies: &[Tally], rule: FailurePercentage) -> Vec<usize> {
    // The number of endpoints with enough calls, as in all implementations; A50's first text has that of all.
    if is_below(with_volume(tallies, rule.request_volume).count(), rule.minimum_hosts) {
        return Vec::new();
    }
    with_volume(tallies, rule.request_volume)
        .filter(|(_, tally)| 100.0 * f64::from(tally.failures) / volume(*tally) > f64::from(rule.threshold))
        .map(|(index, _)| index)
        .collect()
}

/// Those with enough calls. None at all are never enough: there is no rate of nothing.
fn with_volume(tallies: &[Tally], volume: u32) -> impl Iterator<Item = (usize, Tally)> {
    let least = u64::from(volume.max(1));
    tallies.iter().copied().enumerate().filter(move |(_, tally)| tally.volume() >= least)
}

fn volume(tally: Tally) -> f64 {
    f64::from(tally.successes) + f64::from(tally.failures)
}

fn is_below(count: usize, minimum: u32) -> bool {
    u32::try_from(count).is_ok_and(|count| count < minimum)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: SuccessRate = SuccessRate {
        stdev_factor: 1_900,
        enforcement_percentage: 100,
        minimum_hosts: 5,
        request_volume: 100,
    };
    const PERCENTAGE: FailurePercentage = FailurePercentage {
        threshold: 85,
        enforcement_percentage: 100,
        minimum_hosts: 5,
        request_volume: 50,
    };

    fn tally(successes: u32, failures: u32) -> Tally {
        Tally { successes, failures }
    }

    #[test]
    fn the_one_that_fails_while_four_succeed_is_an_outlier() {
        // Mean 0.8, standard deviation 0.4: below 0.04 is too far.
        let mut tallies = [tally(100, 0); 5];
        tallies[3] = tally(3, 97);
        assert_eq!(by_success_rate(&tallies, RATE), [3]);
        // Two of five: mean 0.6, deviation 0.49; nothing is below -0.33.
        tallies[1] = tally(0, 100);
        assert_eq!(by_success_rate(&tallies, RATE), [0_usize; 0]);
        assert_eq!(by_success_rate(&tallies, SuccessRate { stdev_factor: 1_000, ..RATE }), [1, 3]);
    }

    #[test]
    fn endpoints_with_few_calls_neither_count_nor_are_judged() {
        let mut tallies = [tally(100, 0); 6];
        tallies[0] = tally(0, 99);
        tallies[1] = tally(0, 100);
        assert_eq!(by_success_rate(&tallies, RATE), [1]);
        tallies[2] = tally(99, 0);
        assert_eq!(by_success_rate(&tallies, RATE), [0_usize; 0], "four have enough calls, five are wanted");
    }

    #[test]
    fn a_failure_percentage_must_be_above_the_threshold() {
        let mut tallies = [tally(50, 0); 6];
        tallies[1] = tally(15, 85);
        tallies[2] = tally(14, 86);
        tallies[3] = tally(0, 49);
        assert_eq!(by_failure_percentage(&tallies, PERCENTAGE), [2]);
        tallies[4] = tally(0, 0);
        assert_eq!(by_failure_percentage(&tallies, PERCENTAGE), [0_usize; 0], "four have enough calls");
    }

    #[test]
    fn no_calls_are_no_outliers_though_none_are_required() {
        let rate = SuccessRate { minimum_hosts: 0, request_volume: 0, ..RATE };
        let percentage =
            FailurePercentage { minimum_hosts: 0, request_volume: 0, threshold: 0, ..PERCENTAGE };
        assert_eq!(by_success_rate(&[], rate), [0_usize; 0]);
        assert_eq!(by_success_rate(&[tally(0, 0)], rate), [0_usize; 0]);
        assert_eq!(by_failure_percentage(&[tally(0, 0), tally(0, 1)], percentage), [1]);
    }

    proptest! {
        /// Endpoints that all do the same have no outliers among them, and the best is never one.
        #[test]
        fn the_best_is_never_an_outlier(counts in prop::collection::vec((0_u32..1_000, 0_u32..1_000), 1..40), factor in 0_u32..3_000) {
            let tallies: Vec<_> = counts.into_iter().map(|(successes, failures)| tally(successes, failures)).collect();
            let rule = SuccessRate { stdev_factor: factor, minimum_hosts: 1, request_volume: 1, ..RATE };
            let outliers = by_success_rate(&tallies, rule);
            let rate = |index: usize| f64::from(tallies[index].successes) / volume(tallies[index]);
            let best = (0..tallies.len()).filter(|index| tallies[*index].volume() > 0).map(rate).fold(0.0, f64::max);
            prop_assert!(outliers.iter().all(|index| rate(*index) < best));
        }
    }
}
