//! What is read from texts that are valid.

use std::sync::Arc;
use std::time::Duration;

use corelane_wire::grpc::Code;
use proptest::prelude::*;
use serde_json::json;

use super::super::milli_tokens;
use super::{read, refusal};
use crate::config::{
    BalancerConfig, CodeSet, FailurePercentage, HealthCheckConfig, HedgingPolicy, MethodConfig, MethodName,
    OutlierDetectionConfig, RetryPolicy, RetryThrottling, ServiceConfig, SuccessRate,
    WeightedRoundRobinConfig,
};

/// What is read from one method config with these fields.
fn method(fields: &str) -> MethodConfig {
    let config = read(&format!(r#"{{"methodConfig": [{{"name": [{{}}], {fields}}}]}}"#));
    MethodConfig::clone(config.method("/a/b").expect("the default is for all"))
}

/// What is read from a list of policies.
fn balancer(list: &str) -> BalancerConfig {
    read(&format!(r#"{{"loadBalancingConfig": {list}}}"#)).balancer.expect("a list names a policy")
}

#[test]
fn nothing_is_a_valid_config() {
    for text in [
        "{}",
        " {} ",
        r#"{"someday": {"loadBalancingPolicy": 1}}"#,
        r#"{"methodConfig": null, "retryThrottling": null, "loadBalancingConfig": null}"#,
        r#"{"methodConfig": []}"#,
        r#"{"methodConfig": [{"timeout": "1s"}, {"name": [], "timeout": "1s"}]}"#,
        r#"{"connectionScaling": {}}"#,
    ] {
        assert_eq!(read(text), ServiceConfig::default(), "{text}");
    }
}

#[test]
fn a_whole_config_is_read() {
    let config = read(
        r#"{
        "loadBalancingPolicy": "pick_first",
        "loadBalancingConfig": [{"xds": {}}, {"round_robin": {}}, "never looked at"],
        "methodConfig": [
            {"name": [{"service": "a.B"}, {"service": "a.C", "method": "D"}], "waitForReady": true},
            {"name": [{"service": "", "method": null}], "maxResponseMessageBytes": "7"}
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        "healthCheckConfig": {"serviceName": "a.B"},
        "connectionScaling": {"maxConnectionsPerSubchannel": 11}
    }"#,
    );
    assert_eq!(config.balancer, Some(BalancerConfig::RoundRobin));
    let first = Arc::new(MethodConfig { wait_for_ready: Some(true), ..MethodConfig::default() });
    let second = Arc::new(MethodConfig { max_response_message_bytes: Some(7), ..MethodConfig::default() });
    let methods: Vec<_> = config.methods.iter().collect();
    let names = [
        MethodName::Default,
        MethodName::Service("a.B".to_owned()),
        MethodName::Method("a.C".to_owned(), "D".to_owned()),
    ];
    assert_eq!(methods, [(&names[0], &second), (&names[1], &first), (&names[2], &first)]);
    assert_eq!(config.method("/a.B/X"), Some(&first));
    assert_eq!(config.method("/a.C/X"), Some(&second));
    let throttling = RetryThrottling { max_milli_tokens: 10_000, milli_token_ratio: 100 };
    assert_eq!(config.retry_throttling, Some(throttling));
    assert_eq!(config.health_check, Some(HealthCheckConfig { service_name: "a.B".to_owned() }));
    assert_eq!(config.max_connections_per_endpoint, Some(10));
}

#[test]
fn a_health_check_without_a_name_is_for_the_server() {
    let config = read(r#"{"healthCheckConfig": {}}"#);
    assert_eq!(config.health_check, Some(HealthCheckConfig { service_name: String::new() }));
}

#[test]
fn fields_of_a_method_are_read() {
    let config = method(
        r#""waitForReady": false, "timeout": "1.000000001s", "maxRequestMessageBytes": 0,
           "maxResponseMessageBytes": 4294967295"#,
    );
    let expected = MethodConfig {
        wait_for_ready: Some(false),
        timeout: Some(Duration::new(1, 1)),
        max_request_message_bytes: Some(0),
        max_response_message_bytes: Some(u32::MAX),
        ..MethodConfig::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn numbers_are_read_as_protobuf_does() {
    for number in ["7", "7.0", "0.7e1", "\"7\"", "\"007\""] {
        let config = method(&format!(r#""maxRequestMessageBytes": {number}"#));
        assert_eq!(config.max_request_message_bytes, Some(7), "{number}");
    }
}

#[test]
fn a_retry_policy_is_read() {
    let config = method(
        r#""retryPolicy": {"maxAttempts": 4, "initialBackoff": ".1s", "maxBackoff": "1s",
           "backoffMultiplier": "1.5", "retryableStatusCodes": ["UNAVAILABLE", "aborted", 8, "Internal"],
           "perAttemptRecvTimeout": "3s"}"#,
    );
    let expected = RetryPolicy {
        max_attempts: 4,
        initial_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        backoff_multiplier: 1.5,
        retryable: [Code::Unavailable, Code::Aborted, Code::ResourceExhausted, Code::Internal]
            .into_iter()
            .collect(),
        per_attempt_recv_timeout: Some(Duration::from_secs(3)),
    };
    assert_eq!((config.retry, config.hedging), (Some(expected), None));
}

#[test]
fn a_timeout_for_attempts_is_a_reason_to_retry_without_codes() {
    let config = method(
        r#""retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s",
           "backoffMultiplier": 1, "perAttemptRecvTimeout": "3s"}"#,
    );
    assert_eq!(config.retry.map(|retry| retry.retryable), Some(CodeSet::EMPTY));
}

#[test]
fn a_hedging_policy_is_read() {
    let config =
        method(r#""hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.5s", "nonFatalStatusCodes": [14]}"#);
    let expected = HedgingPolicy {
        max_attempts: 3,
        hedging_delay: Duration::from_millis(500),
        non_fatal: [Code::Unavailable].into_iter().collect(),
    };
    assert_eq!((config.hedging, config.retry), (Some(expected), None));
    let config = method(r#""hedgingPolicy": {"maxAttempts": 2}"#).hedging.unwrap();
    assert_eq!((config.hedging_delay, config.non_fatal), (Duration::ZERO, CodeSet::EMPTY));
}

#[test]
fn more_than_five_attempts_are_five() {
    for (asked, made) in [(2, 2), (5, 5), (6, 5), (u32::MAX, 5)] {
        let config = method(&format!(r#""hedgingPolicy": {{"maxAttempts": {asked}}}"#));
        assert_eq!(config.hedging.map(|policy| policy.max_attempts), Some(made));
    }
}

#[test]
fn three_decimals_of_a_token_count() {
    for (ratio, expected) in [
        ("0.001", 1),
        ("0.0019999", 1),
        ("0.29", 290),
        ("0.5466", 546),
        ("1.001", 1001),
        ("\"0.1\"", 100),
        ("1000", 1_000_000),
        ("1e300", 1_000_000),
    ] {
        let text = format!(r#"{{"retryThrottling": {{"maxTokens": 1, "tokenRatio": {ratio}}}}}"#);
        let expected = RetryThrottling { max_milli_tokens: 1000, milli_token_ratio: expected };
        assert_eq!(read(&text).retry_throttling, Some(expected), "{ratio}");
    }
    for milli in 1..=1_000_000_u32 {
        let tokens = format!("{}.{:03}", milli / 1000, milli % 1000).parse().unwrap();
        assert_eq!(milli_tokens(tokens), milli, "{tokens}");
    }
}

#[test]
fn policies_are_read() {
    let ring = |min_ring_size, max_ring_size, header: Option<&str>| BalancerConfig::RingHash {
        min_ring_size,
        max_ring_size,
        request_hash_header: header.map(str::to_owned),
    };
    let least = |choice_count| BalancerConfig::LeastRequest { choice_count };
    for (policy, expected) in [
        (r#""pick_first": {}"#, BalancerConfig::PickFirst),
        (r#""pick_first": {"shuffleAddressList": false}"#, BalancerConfig::PickFirst),
        (r#""pick_first": {"shuffleAddressList": true}"#, BalancerConfig::PickFirstShuffled),
        (r#""round_robin": {"unknown": 1}"#, BalancerConfig::RoundRobin),
        (r#""random": {}"#, BalancerConfig::Random),
        (r#""weighted_random": {}"#, BalancerConfig::WeightedRandom),
        (r#""core_local": {}"#, BalancerConfig::CoreLocal),
        (r#""least_request": {}"#, least(2)),
        (r#""least_request_experimental": {"choiceCount": 10}"#, least(10)),
        (r#""least_request": {"choiceCount": 11}"#, least(10)),
        (r#""ring_hash": {}"#, ring(1024, 4096, None)),
        (
            r#""ring_hash_experimental": {"minRingSize": "1", "maxRingSize": 2, "requestHashHeader": "X-Id"}"#,
            ring(1, 2, Some("x-id")),
        ),
        (r#""ring_hash": {"minRingSize": 5000, "maxRingSize": 8388608}"#, ring(4096, 4096, None)),
        (r#""ring_hash": {"requestHashHeader": ""}"#, ring(1024, 4096, None)),
    ] {
        assert_eq!(balancer(&format!("[{{{policy}}}]")), expected, "{policy}");
    }
}

#[test]
fn weighted_round_robin_is_read() {
    let default = WeightedRoundRobinConfig::default();
    assert_eq!(
        balancer(r#"[{"weighted_round_robin": {}}]"#),
        BalancerConfig::WeightedRoundRobin(default.clone())
    );
    let all = balancer(
        r#"[{"weighted_round_robin": {"enableOobLoadReport": true, "oobReportingPeriod": "1s",
            "blackoutPeriod": "0s", "weightExpirationPeriod": "3s", "weightUpdatePeriod": "0.2s",
            "errorUtilizationPenalty": 0.5}}]"#,
    );
    let expected = WeightedRoundRobinConfig {
        out_of_band: true,
        oob_reporting_period: Duration::from_secs(1),
        blackout_period: Duration::ZERO,
        weight_expiration_period: Duration::from_secs(3),
        weight_update_period: Duration::from_millis(200),
        error_utilization_penalty: 0.5,
    };
    assert_eq!(all, BalancerConfig::WeightedRoundRobin(expected));
    let hasty = balancer(r#"[{"weighted_round_robin": {"weightUpdatePeriod": "0.01s"}}]"#);
    let expected = WeightedRoundRobinConfig { weight_update_period: Duration::from_millis(100), ..default };
    assert_eq!(hasty, BalancerConfig::WeightedRoundRobin(expected));
}

#[test]
fn outlier_detection_is_read() {
    let defaults = OutlierDetectionConfig {
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection_time: Duration::from_secs(300),
        max_ejection_percent: 10,
        success_rate: None,
        failure_percentage: None,
    };
    let detection = |config: OutlierDetectionConfig| BalancerConfig::OutlierDetection {
        config: Box::new(config),
        child: Box::new(BalancerConfig::RoundRobin),
    };
    let read = |fields: &str| {
        let child = r#""childPolicy": [{"not_known_here": {}}, {"round_robin": {}}]"#;
        balancer(&format!(r#"[{{"outlier_detection_experimental": {{{fields} {child}}}}}]"#))
    };
    assert_eq!(read(""), detection(defaults.clone()));
    let long = OutlierDetectionConfig {
        interval: Duration::from_millis(100),
        base_ejection_time: Duration::from_secs(400),
        max_ejection_time: Duration::from_secs(400),
        ..defaults.clone()
    };
    assert_eq!(read(r#""interval": "0s", "baseEjectionTime": "400s","#), detection(long));
    let all = OutlierDetectionConfig {
        max_ejection_time: Duration::from_secs(1),
        max_ejection_percent: 100,
        success_rate: Some(SuccessRate {
            stdev_factor: 1,
            enforcement_percentage: 2,
            minimum_hosts: 3,
            request_volume: 4,
        }),
        failure_percentage: Some(FailurePercentage {
            threshold: 5,
            enforcement_percentage: 6,
            minimum_hosts: 7,
            request_volume: 8,
        }),
        ..defaults.clone()
    };
    let text = r#""maxEjectionTime": "1s", "maxEjectionPercent": 100,
        "successRateEjection": {"stdevFactor": 1, "enforcementPercentage": 2, "minimumHosts": 3,
            "requestVolume": 4},
        "failurePercentageEjection": {"threshold": 5, "enforcementPercentage": 6, "minimumHosts": 7,
            "requestVolume": 8},"#;
    assert_eq!(read(text), detection(all));
    let ejections = OutlierDetectionConfig {
        success_rate: Some(SuccessRate {
            stdev_factor: 1900,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 100,
        }),
        failure_percentage: Some(FailurePercentage {
            threshold: 85,
            enforcement_percentage: 100,
            minimum_hosts: 5,
            request_volume: 50,
        }),
        ..defaults
    };
    let text = r#""successRateEjection": {}, "failurePercentageEjection": {},"#;
    assert_eq!(read(text), detection(ejections));
}

#[test]
fn policies_nest() {
    let nested = balancer(
        r#"[{"random_subsetting_experimental": {"subsetSize": 3, "childPolicy":
            [{"random_subsetting": {"subsetSize": 2, "childPolicy": [{"random": {}}]}}]}}]"#,
    );
    let inner = BalancerConfig::RandomSubsetting { subset_size: 2, child: Box::new(BalancerConfig::Random) };
    assert_eq!(nested, BalancerConfig::RandomSubsetting { subset_size: 3, child: Box::new(inner) });
    let deep = |levels: usize| {
        let open = r#"[{"random_subsetting": {"subsetSize": 1, "childPolicy": "#.repeat(levels);
        format!(r#"{{"loadBalancingConfig": {open}[{{"random": {{}}}}]{}}}"#, "}}]".repeat(levels))
    };
    assert!(read(&deep(41)).balancer.is_some());
    assert!(refusal(&deep(42)).ends_with(": recursion limit exceeded"));
}

#[test]
fn the_older_way_names_a_policy() {
    for (name, expected) in [
        ("round_robin", BalancerConfig::RoundRobin),
        ("ROUND_ROBIN", BalancerConfig::RoundRobin),
        ("pick_first", BalancerConfig::PickFirst),
        ("least_request", BalancerConfig::LeastRequest { choice_count: 2 }),
    ] {
        let config = read(&format!(r#"{{"loadBalancingPolicy": "{name}"}}"#));
        assert_eq!(config.balancer, Some(expected), "{name}");
    }
}

#[test]
fn fifty_thousand_names_are_put_in_order() {
    let names: Vec<String> = (0..50_000).rev().map(|number| format!(r#"{{"service":"{number}"}}"#)).collect();
    let config = read(&format!(r#"{{"methodConfig": [{{"name": [{}]}}]}}"#, names.join(",")));
    assert_eq!(config.methods.len(), 50_000);
    assert!(config.method("/49999/a").is_some());
}

fn durations() -> impl Strategy<Value = Duration> {
    (0..1_000_000_u64, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn code_sets() -> impl Strategy<Value = Vec<Code>> {
    prop::collection::vec(prop::sample::select(&Code::ALL[1..]), 1..5)
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos())
}

proptest! {
    #[test]
    fn a_retry_policy_that_is_written_is_read(
        max_attempts in 2..=5_u32,
        backoffs in (durations(), durations()),
        backoff_multiplier in 0.001..100.0_f64,
        codes in code_sets(),
        timeout in prop::option::of(durations()),
    ) {
        let above = |duration: Duration| duration + Duration::from_nanos(1);
        let policy = RetryPolicy {
            max_attempts,
            initial_backoff: above(backoffs.0),
            max_backoff: above(backoffs.1),
            backoff_multiplier,
            retryable: codes.iter().copied().collect(),
            per_attempt_recv_timeout: timeout.map(above),
        };
        let text = json!({"methodConfig": [{"name": [{}], "retryPolicy": {
            "maxAttempts": policy.max_attempts,
            "initialBackoff": seconds(policy.initial_backoff),
            "maxBackoff": seconds(policy.max_backoff),
            "backoffMultiplier": policy.backoff_multiplier.to_string(),
            "retryableStatusCodes": codes.iter().map(|code| code.name()).collect::<Vec<_>>(),
            "perAttemptRecvTimeout": policy.per_attempt_recv_timeout.map(seconds),
        }}]});
        let config = ServiceConfig::from_json(&text.to_string()).unwrap();
        prop_assert_eq!(config.method("/a/b").unwrap().retry.as_ref(), Some(&policy));
    }
}
