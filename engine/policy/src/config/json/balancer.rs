//! `loadBalancingConfig`: a list of policies, of which the first that is known here counts, and `loadBalancingPolicy`, the
//! older way to name one.
//!
//! Policies around others (`random_subsetting`, `outlier_detection`) nest as deep as the JSON does, which is 42 at most.

use std::time::Duration;

use serde_json::{Map, Value};

use super::field::{Field, Result};
use crate::balance::{CHOICES_MAX, RING_PLACES_MAX};
use crate::config::text::quoted;
use crate::config::{
    BalancerConfig, FailurePercentage, OutlierDetectionConfig, SuccessRate, WeightedRoundRobinConfig,
};

/// What a client makes of larger rings, unless its code asks for them (service_config.proto).
const RING_SIZE_CAP: u32 = 4096;
/// What is left of a period that would keep a core busy (gRFC A58 has it for weights; sweeps are no cheaper).
const PERIOD_MIN: Duration = Duration::from_millis(100);
/// How many of the policies that are not known an error names.
const UNKNOWN_SHOWN_MAX: usize = 5;

/// `loadBalancingConfig` or `childPolicy`.
pub(super) fn by_list(field: &Field<'_>) -> Result<BalancerConfig> {
    let mut unknown = Vec::new();
    for element in field.elements()? {
        let (name, config) = element.only_entry()?;
        if let Some(balancer) = known(name, &config) {
            return balancer;
        }
        if unknown.len() < UNKNOWN_SHOWN_MAX {
            unknown.push(quoted(name));
        }
    }
    if unknown.is_empty() {
        return Err(field.fault("is empty: name a policy, such as {\"round_robin\": {}}"));
    }
    Err(field.fault(format!("has no policy that is known here, only {}", unknown.join(", "))))
}

/// `loadBalancingPolicy`, whose enumeration has names in capitals.
pub(super) fn by_name(field: &Field<'_>) -> Result<BalancerConfig> {
    let name = field.text()?.to_ascii_lowercase();
    let defaults = Value::Object(Map::new());
    match known(&name, &Field::root(&defaults)) {
        Some(Ok(balancer)) => Ok(balancer),
        Some(Err(_)) => Err(field.fault(format!("{name} needs a config: put it into loadBalancingConfig"))),
        None => Err(field.must("must be a policy that is known here")),
    }
}

/// The policy of that name, if there is one.
fn known(name: &str, config: &Field<'_>) -> Option<Result<BalancerConfig>> {
    let read = match name {
        "pick_first" => pick_first,
        "round_robin" => |_: &Field<'_>| Ok(BalancerConfig::RoundRobin),
        "weighted_round_robin" => weighted_round_robin,
        "random" => |_: &Field<'_>| Ok(BalancerConfig::Random),
        "weighted_random" => |_: &Field<'_>| Ok(BalancerConfig::WeightedRandom),
        "core_local" => |_: &Field<'_>| Ok(BalancerConfig::CoreLocal),
        "least_request" | "least_request_experimental" => least_request,
        "ring_hash" | "ring_hash_experimental" => ring_hash,
        "random_subsetting" | "random_subsetting_experimental" => random_subsetting,
        "outlier_detection" | "outlier_detection_experimental" => outlier_detection,
        _ => return None,
    };
    Some(config.object().and_then(|()| read(config)))
}

/// gRFC A62.
fn pick_first(field: &Field<'_>) -> Result<BalancerConfig> {
    let shuffle = field.get_or("shuffleAddressList", false, |shuffle| shuffle.boolean())?;
    Ok(if shuffle { BalancerConfig::PickFirstShuffled } else { BalancerConfig::PickFirst })
}

/// gRFC A58.
fn weighted_round_robin(field: &Field<'_>) -> Result<BalancerConfig> {
    let default = WeightedRoundRobinConfig::default();
    let period = |key, default| field.get_or(key, default, |period| period.duration());
    Ok(BalancerConfig::WeightedRoundRobin(WeightedRoundRobinConfig {
        out_of_band: field.get_or("enableOobLoadReport", default.out_of_band, |enable| enable.boolean())?,
        oob_reporting_period: period("oobReportingPeriod", default.oob_reporting_period)?,
        blackout_period: period("blackoutPeriod", default.blackout_period)?,
        weight_expiration_period: period("weightExpirationPeriod", default.weight_expiration_period)?,
        weight_update_period: period("weightUpdatePeriod", default.weight_update_period)?.max(PERIOD_MIN),
        error_utilization_penalty: field.get_or(
            "errorUtilizationPenalty",
            default.error_utilization_penalty,
            penalty,
        )?,
    }))
}

fn penalty(field: &Field<'_>) -> Result<f32> {
    let penalty = field.decimal()?;
    if !(0.0..=f64::from(f32::MAX)).contains(&penalty) {
        return Err(field.must("must be a float from 0"));
    }
    // Rounds, as protobuf does for a float.
    Ok(penalty as f32)
}

/// gRFC A48.
fn least_request(field: &Field<'_>) -> Result<BalancerConfig> {
    let choice_count = field.get_or("choiceCount", 2, |count| count.whole(2..=u32::MAX))?.min(CHOICES_MAX);
    Ok(BalancerConfig::LeastRequest { choice_count })
}

/// gRFC A42, A76.
fn ring_hash(field: &Field<'_>) -> Result<BalancerConfig> {
    let size = |key, default| field.get_or(key, default, |size| size.whole(1..=RING_PLACES_MAX));
    let min = size("minRingSize", 1024)?;
    let max = size("maxRingSize", 4096)?;
    if max < min {
        let reason = format!("has a maxRingSize of {max}, which is less than its minRingSize of {min}");
        return Err(field.fault(reason));
    }
    Ok(BalancerConfig::RingHash {
        min_ring_size: min.min(RING_SIZE_CAP).into(),
        max_ring_size: max.min(RING_SIZE_CAP).into(),
        request_hash_header: field.get_with("requestHashHeader", hash_header)?.flatten(),
    })
}

/// A name of metadata with text; the empty one is none.
fn hash_header(field: &Field<'_>) -> Result<Option<String>> {
    let name = field.text()?.to_ascii_lowercase();
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(field.must("must be a name of metadata (letters, digits, '-', '_', '.')"));
    }
    if name.ends_with("-bin") {
        return Err(field.must("must not end in \"-bin\", since only text is hashed"));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

fn child(field: &Field<'_>) -> Result<Box<BalancerConfig>> {
    by_list(&field.require("childPolicy")?).map(Box::new)
}

/// gRFC A68.
fn random_subsetting(field: &Field<'_>) -> Result<BalancerConfig> {
    let subset_size = field.require("subsetSize")?.whole(1..=u32::MAX)?;
    Ok(BalancerConfig::RandomSubsetting { subset_size, child: child(field)? })
}

/// gRFC A50.
fn outlier_detection(field: &Field<'_>) -> Result<BalancerConfig> {
    const EJECTION_TIME: Duration = Duration::from_secs(30);
    const EJECTION_TIME_MAX: Duration = Duration::from_secs(300);
    let time = |key, default| field.get_or(key, default, |time| time.duration());
    let base_ejection_time = time("baseEjectionTime", EJECTION_TIME)?;
    let config = OutlierDetectionConfig {
        interval: time("interval", Duration::from_secs(10))?.max(PERIOD_MIN),
        base_ejection_time,
        max_ejection_time: time("maxEjectionTime", EJECTION_TIME_MAX.max(base_ejection_time))?,
        max_ejection_percent: percent(field, "maxEjectionPercent", 10)?,
        success_rate: field.get_with("successRateEjection", success_rate)?,
        failure_percentage: field.get_with("failurePercentageEjection", failure_percentage)?,
    };
    Ok(BalancerConfig::OutlierDetection { config: Box::new(config), child: child(field)? })
}

fn percent(field: &Field<'_>, key: &str, default: u32) -> Result<u32> {
    field.get_or(key, default, |percent| percent.whole(0..=100))
}

fn count(field: &Field<'_>, key: &str, default: u32) -> Result<u32> {
    field.get_or(key, default, |count| count.whole(0..=u32::MAX))
}

fn success_rate(field: &Field<'_>) -> Result<SuccessRate> {
    field.object()?;
    Ok(SuccessRate {
        stdev_factor: count(field, "stdevFactor", 1900)?,
        enforcement_percentage: percent(field, "enforcementPercentage", 100)?,
        minimum_hosts: count(field, "minimumHosts", 5)?,
        request_volume: count(field, "requestVolume", 100)?,
    })
}

fn failure_percentage(field: &Field<'_>) -> Result<FailurePercentage> {
    field.object()?;
    Ok(FailurePercentage {
        threshold: percent(field, "threshold", 85)?,
        enforcement_percentage: percent(field, "enforcementPercentage", 100)?,
        minimum_hosts: count(field, "minimumHosts", 5)?,
        request_volume: count(field, "requestVolume", 50)?,
    })
}
