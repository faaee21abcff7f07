//! The words of all refusals: where, what must be there, what is there.

use proptest::prelude::*;
use serde_json::json;

use super::super::LEN_MAX;
use super::{read, refusal};
use crate::config::{ServiceConfig, ServiceConfigError};

/// Refusals, each below the path that `around` puts its text at.
fn refusals(around: impl Fn(&str) -> String, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(refusal(&around(text)), *expected, "{text}");
    }
}

#[test]
fn texts_that_are_no_objects_are_refused() {
    refusals(
        str::to_owned,
        &[
            ("", "service config: no JSON at line 1, column 0: EOF while parsing a value"),
            ("{\n\"a\" 1}", "service config: no JSON at line 2, column 5: expected `:`"),
            ("{} {}", "service config: no JSON at line 1, column 4: trailing characters"),
            ("{'a': 1}", "service config: no JSON at line 1, column 2: key must be a string"),
            ("{\"a\": 1e400}", "service config: no JSON at line 1, column 11: number out of range"),
            ("null", "service config: must be an object, is null"),
            ("[]", "service config: must be an object, is a list"),
            ("\"{}\"", "service config: must be an object, is \"{}\""),
            (r#"{"methodConfig": {}}"#, "methodConfig: must be a list, is an object"),
            (r#"{"methodConfig": [1]}"#, "methodConfig[0]: must be an object, is 1"),
            (r#"{"methodConfig": [null]}"#, "methodConfig[0]: must be an object, is null"),
            (r#"{"retryThrottling": []}"#, "retryThrottling: must be an object, is a list"),
            (r#"{"healthCheckConfig": "a"}"#, "healthCheckConfig: must be an object, is \"a\""),
            (
                r#"{"healthCheckConfig": {"serviceName": 1}}"#,
                "healthCheckConfig.serviceName: must be a string, is 1",
            ),
            (r#"{"connectionScaling": 1}"#, "connectionScaling: must be an object, is 1"),
            (
                r#"{"connectionScaling": {"maxConnectionsPerSubchannel": 0}}"#,
                "connectionScaling.maxConnectionsPerSubchannel: must be a whole number from 1, is 0",
            ),
        ],
    );
}

#[test]
fn a_text_that_is_too_long_is_not_read() {
    let text = format!("{{}}{}", " ".repeat(LEN_MAX - 2));
    assert_eq!(read(&text), ServiceConfig::default());
    let error = ServiceConfig::from_json(&(text + " ")).unwrap_err();
    assert_eq!(error, ServiceConfigError::TooLong { bytes: LEN_MAX + 1 });
    let expected = "service config: must be at most 1048576 bytes long, is 1048577 bytes long";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn bad_names_are_refused() {
    refusals(
        |names| format!(r#"{{"methodConfig": [{{"name": [{{"service": "a"}}]}}, {{"name": {names}}}]}}"#),
        &[
            ("{}", "methodConfig[1].name: must be a list, is an object"),
            ("[null]", "methodConfig[1].name[0]: must be an object, is null"),
            ("[\"a\"]", "methodConfig[1].name[0]: must be an object, is \"a\""),
            (r#"[{"service": 1}]"#, "methodConfig[1].name[0].service: must be a string, is 1"),
            (
                r#"[{"service": "b", "method": []}]"#,
                "methodConfig[1].name[0].method: must be a string, is a list",
            ),
            (
                r#"[{"method": "b"}]"#,
                "methodConfig[1].name[0]: has a method and no service: name the service too",
            ),
            (
                r#"[{"service": "b"}, {"service": "a", "method": ""}]"#,
                "methodConfig[1].name[1]: is for service a, as methodConfig[0].name[0] is: keep one of them",
            ),
            (
                "[{}, {}]",
                "methodConfig[1].name[1]: is for the default, as methodConfig[1].name[0] is: keep one of them",
            ),
            (
                r#"[{"service": "b", "method": "c"}, {"service": "b", "method": "c"}]"#,
                "methodConfig[1].name[1]: is for method b/c, as methodConfig[1].name[0] is: keep one of them",
            ),
        ],
    );
}

#[test]
fn bad_fields_of_a_method_are_refused() {
    refusals(
        |fields| format!(r#"{{"methodConfig": [{{{fields}}}]}}"#),
        &[
            (r#""waitForReady": "true""#, "methodConfig[0].waitForReady: must be true or false, is \"true\""),
            (r#""timeout": 1"#, "methodConfig[0].timeout: must be a string such as \"1.5s\", is 1"),
            (r#""timeout": "1""#, "methodConfig[0].timeout: must be seconds such as \"1.5s\", is \"1\""),
            (r#""timeout": "-1s""#, "methodConfig[0].timeout: must not be negative, is \"-1s\""),
            (
                r#""maxRequestMessageBytes": -1"#,
                "methodConfig[0].maxRequestMessageBytes: must be a whole number from 0 to 4294967295, is -1",
            ),
            (
                r#""maxRequestMessageBytes": 1.5"#,
                "methodConfig[0].maxRequestMessageBytes: must be a whole number from 0 to 4294967295, is 1.5",
            ),
            (
                r#""maxResponseMessageBytes": "+1""#,
                "methodConfig[0].maxResponseMessageBytes: must be a whole number from 0 to 4294967295, is \"+1\"",
            ),
            (
                r#""maxResponseMessageBytes": """#,
                "methodConfig[0].maxResponseMessageBytes: must be a whole number from 0 to 4294967295, is \"\"",
            ),
            (
                r#""maxResponseMessageBytes": 4294967296"#,
                "methodConfig[0].maxResponseMessageBytes: must be a whole number from 0 to 4294967295, is 4294967296",
            ),
            (r#""retryPolicy": []"#, "methodConfig[0].retryPolicy: must be an object, is a list"),
            (r#""hedgingPolicy": 1"#, "methodConfig[0].hedgingPolicy: must be an object, is 1"),
            (
                r#""hedgingPolicy": {"maxAttempts": 2}, "retryPolicy": {"maxAttempts": 2,
                   "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1,
                   "retryableStatusCodes": [1]}"#,
                "methodConfig[0]: has both retryPolicy and hedgingPolicy: leave one out",
            ),
        ],
    );
}

/// A method config with a valid retry policy in which `key` has another value, or is absent.
fn retry_with(key: &str, value: Option<&str>) -> String {
    let mut policy = json!({
        "maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1,
        "retryableStatusCodes": ["ABORTED"],
    });
    let fields = policy.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(key.to_owned(), serde_json::from_str(value).unwrap()),
        None => fields.remove(key),
    };
    format!(r#"{{"methodConfig": [{{}}, {{"retryPolicy": {policy}}}]}}"#)
}

#[test]
fn bad_retry_policies_are_refused() {
    for key in ["maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes"] {
        let expected = format!("methodConfig[1].retryPolicy.{key}: is missing, and is required");
        assert_eq!(refusal(&retry_with(key, None)), expected);
        assert_eq!(refusal(&retry_with(key, Some("null"))), expected);
    }
    let code = "must be a status code, by name such as \"UNAVAILABLE\" or by number from 1 to 16";
    for (key, value, expected) in [
        ("maxAttempts", "1", ": must be a whole number from 2, is 1"),
        ("maxAttempts", "\"1\"", ": must be a whole number from 2, is \"1\""),
        ("maxAttempts", "true", ": must be a whole number from 2 to 4294967295, is true"),
        ("initialBackoff", "\"0s\"", ": must be above 0, is \"0s\""),
        ("initialBackoff", "\"1h\"", ": must be seconds such as \"1.5s\", is \"1h\""),
        ("maxBackoff", "\"0.0s\"", ": must be above 0, is \"0.0s\""),
        ("maxBackoff", "{}", ": must be a string such as \"1.5s\", is an object"),
        ("backoffMultiplier", "0", ": must be above 0, is 0"),
        ("backoffMultiplier", "-1.5", ": must be above 0, is -1.5"),
        ("backoffMultiplier", "\"NaN\"", ": must be a number, is \"NaN\""),
        ("backoffMultiplier", "\"Infinity\"", ": must be a number, is \"Infinity\""),
        ("backoffMultiplier", "[]", ": must be a number, is a list"),
        ("perAttemptRecvTimeout", "\"0s\"", ": must be above 0, is \"0s\""),
        ("retryableStatusCodes", "[]", ": must have at least one code, or nothing is tried again"),
        ("retryableStatusCodes", "\"ABORTED\"", ": must be a list, is \"ABORTED\""),
        ("retryableStatusCodes", "[14, 17]", &format!("[1]: {code}, is 17")),
        ("retryableStatusCodes", "[-1]", &format!("[0]: {code}, is -1")),
        ("retryableStatusCodes", "[\"NOPE\"]", &format!("[0]: {code}, is \"NOPE\"")),
        ("retryableStatusCodes", "[null]", &format!("[0]: {code}, is null")),
        ("retryableStatusCodes", "[\"ok\"]", "[0]: must be the code of a failure, is \"ok\""),
        ("retryableStatusCodes", "[0]", "[0]: must be the code of a failure, is 0"),
    ] {
        let expected = format!("methodConfig[1].retryPolicy.{key}{expected}");
        assert_eq!(refusal(&retry_with(key, Some(value))), expected);
    }
}

#[test]
fn bad_hedging_policies_are_refused() {
    refusals(
        |fields| format!(r#"{{"methodConfig": [{{"hedgingPolicy": {{{fields}}}}}]}}"#),
        &[
            ("", "methodConfig[0].hedgingPolicy.maxAttempts: is missing, and is required"),
            (
                r#""maxAttempts": 0"#,
                "methodConfig[0].hedgingPolicy.maxAttempts: must be a whole number from 2, is 0",
            ),
            (
                r#""maxAttempts": 2, "hedgingDelay": "-0.5s""#,
                "methodConfig[0].hedgingPolicy.hedgingDelay: must not be negative, is \"-0.5s\"",
            ),
            (
                r#""maxAttempts": 2, "nonFatalStatusCodes": 14"#,
                "methodConfig[0].hedgingPolicy.nonFatalStatusCodes: must be a list, is 14",
            ),
        ],
    );
}

#[test]
fn bad_throttling_is_refused() {
    refusals(
        |fields| format!(r#"{{"retryThrottling": {{{fields}}}}}"#),
        &[
            ("", "retryThrottling.maxTokens: is missing, and is required"),
            (r#""maxTokens": 0"#, "retryThrottling.maxTokens: must be a whole number from 1 to 1000, is 0"),
            (
                r#""maxTokens": 1001"#,
                "retryThrottling.maxTokens: must be a whole number from 1 to 1000, is 1001",
            ),
            (
                r#""maxTokens": 1.5"#,
                "retryThrottling.maxTokens: must be a whole number from 1 to 1000, is 1.5",
            ),
            (r#""maxTokens": 1"#, "retryThrottling.tokenRatio: is missing, and is required"),
            (r#""maxTokens": 1, "tokenRatio": 0"#, "retryThrottling.tokenRatio: must be above 0, is 0"),
            (r#""maxTokens": 1, "tokenRatio": -0.1"#, "retryThrottling.tokenRatio: must be above 0, is -0.1"),
            (
                r#""maxTokens": 1, "tokenRatio": 0.0009"#,
                "retryThrottling.tokenRatio: must be at least 0.001: three decimals count",
            ),
            (
                r#""maxTokens": 1, "tokenRatio": {}"#,
                "retryThrottling.tokenRatio: must be a number, is an object",
            ),
        ],
    );
}

#[test]
fn bad_lists_of_policies_are_refused() {
    let long = format!(r#"[{{"{}": {{}}}}]"#, "x".repeat(1000));
    let cut =
        format!("loadBalancingConfig: has no policy that is known here, only \"{}...\"", "x".repeat(40));
    refusals(
        |list| format!(r#"{{"loadBalancingConfig": {list}}}"#),
        &[
            ("{}", "loadBalancingConfig: must be a list, is an object"),
            ("[]", "loadBalancingConfig: is empty: name a policy, such as {\"round_robin\": {}}"),
            ("[\"round_robin\"]", "loadBalancingConfig[0]: must be an object, is \"round_robin\""),
            ("[{}]", "loadBalancingConfig[0]: must have one entry, has 0"),
            (r#"[{"a": {}, "round_robin": {}}]"#, "loadBalancingConfig[0]: must have one entry, has 2"),
            (r#"[{"a": {}}, {}]"#, "loadBalancingConfig[1]: must have one entry, has 0"),
            (
                r#"[{"xds": {}}, {"grpclb": 1}]"#,
                "loadBalancingConfig: has no policy that is known here, only \"xds\", \"grpclb\"",
            ),
            (
                r#"[{"1":1}, {"2":1}, {"3":1}, {"4":1}, {"5":1}, {"6":1}]"#,
                "loadBalancingConfig: has no policy that is known here, only \"1\", \"2\", \"3\", \"4\", \"5\"",
            ),
            (&long, &cut),
            (r#"[{"round_robin": null}]"#, "loadBalancingConfig[0].round_robin: must be an object, is null"),
            (r#"[{"a": 1}, {"random": []}]"#, "loadBalancingConfig[1].random: must be an object, is a list"),
        ],
    );
}

/// Refusals of one policy.
fn policy_refusals(table: &[(&str, &str)]) {
    for (policy, expected) in table {
        let text = format!(r#"{{"loadBalancingConfig": [{policy}]}}"#);
        assert_eq!(refusal(&text), format!("loadBalancingConfig[0].{expected}"));
    }
}

#[test]
fn bad_policies_are_refused() {
    policy_refusals(&[
        (
            r#"{"pick_first": {"shuffleAddressList": 1}}"#,
            "pick_first.shuffleAddressList: must be true or false, is 1",
        ),
        (
            r#"{"weighted_round_robin": {"errorUtilizationPenalty": -1}}"#,
            "weighted_round_robin.errorUtilizationPenalty: must be a float from 0, is -1",
        ),
        (
            r#"{"weighted_round_robin": {"errorUtilizationPenalty": 1e39}}"#,
            "weighted_round_robin.errorUtilizationPenalty: must be a float from 0, is 1e+39",
        ),
        (
            r#"{"weighted_round_robin": {"blackoutPeriod": "x"}}"#,
            "weighted_round_robin.blackoutPeriod: must be seconds such as \"1.5s\", is \"x\"",
        ),
        (
            r#"{"least_request": {"choiceCount": 1}}"#,
            "least_request.choiceCount: must be a whole number from 2, is 1",
        ),
        (
            r#"{"ring_hash": {"minRingSize": 0}}"#,
            "ring_hash.minRingSize: must be a whole number from 1 to 8388608, is 0",
        ),
        (
            r#"{"ring_hash": {"maxRingSize": 8388609}}"#,
            "ring_hash.maxRingSize: must be a whole number from 1 to 8388608, is 8388609",
        ),
        (
            r#"{"ring_hash": {"maxRingSize": 1023}}"#,
            "ring_hash: has a maxRingSize of 1023, which is less than its minRingSize of 1024",
        ),
        (
            r#"{"ring_hash": {"requestHashHeader": "a b"}}"#,
            "ring_hash.requestHashHeader: must be a name of metadata (letters, digits, '-', '_', '.'), is \"a b\"",
        ),
        (
            r#"{"ring_hash": {"requestHashHeader": "A-Bin"}}"#,
            "ring_hash.requestHashHeader: must not end in \"-bin\", since only text is hashed, is \"A-Bin\"",
        ),
    ]);
}

#[test]
fn bad_policies_around_others_are_refused() {
    policy_refusals(&[
        (r#"{"random_subsetting": {}}"#, "random_subsetting.subsetSize: is missing, and is required"),
        (
            r#"{"random_subsetting": {"subsetSize": 0}}"#,
            "random_subsetting.subsetSize: must be a whole number from 1, is 0",
        ),
        (
            r#"{"random_subsetting": {"subsetSize": 1}}"#,
            "random_subsetting.childPolicy: is missing, and is required",
        ),
        (
            r#"{"random_subsetting": {"subsetSize": 1, "childPolicy": [{"a": {}}, {"least_request": {"choiceCount": 0}}]}}"#,
            "random_subsetting.childPolicy[1].least_request.choiceCount: must be a whole number from 2, is 0",
        ),
        (r#"{"outlier_detection": {}}"#, "outlier_detection.childPolicy: is missing, and is required"),
        (
            r#"{"outlier_detection": {"maxEjectionPercent": 101}}"#,
            "outlier_detection.maxEjectionPercent: must be a whole number from 0 to 100, is 101",
        ),
        (
            r#"{"outlier_detection": {"interval": "-1s"}}"#,
            "outlier_detection.interval: must not be negative, is \"-1s\"",
        ),
        (
            r#"{"outlier_detection": {"successRateEjection": {"enforcementPercentage": 101}}}"#,
            "outlier_detection.successRateEjection.enforcementPercentage: must be a whole number from 0 to 100, is 101",
        ),
        (
            r#"{"outlier_detection": {"failurePercentageEjection": {"threshold": 101}}}"#,
            "outlier_detection.failurePercentageEjection.threshold: must be a whole number from 0 to 100, is 101",
        ),
        (
            r#"{"outlier_detection": {"failurePercentageEjection": []}}"#,
            "outlier_detection.failurePercentageEjection: must be an object, is a list",
        ),
    ]);
}

#[test]
fn bad_names_of_a_policy_are_refused() {
    refusals(
        |name| format!(r#"{{"loadBalancingPolicy": {name}, "loadBalancingConfig": [{{"random": {{}}}}]}}"#),
        &[
            ("1", "loadBalancingPolicy: must be a string, is 1"),
            ("\"\"", "loadBalancingPolicy: must be a policy that is known here, is \"\""),
            ("\"Nope\"", "loadBalancingPolicy: must be a policy that is known here, is \"Nope\""),
            (
                "\"random_subsetting\"",
                "loadBalancingPolicy: random_subsetting needs a config: put it into loadBalancingConfig",
            ),
        ],
    );
}

proptest! {
    #[test]
    fn a_known_field_of_the_wrong_kind_is_refused_with_its_path(
        key in prop::sample::select(vec![
            "loadBalancingPolicy", "loadBalancingConfig", "methodConfig", "retryThrottling",
            "healthCheckConfig", "connectionScaling",
        ]),
        value in prop::sample::select(vec!["1", "true", "\"x\""]),
    ) {
        let error = refusal(&format!(r#"{{"{key}": {value}}}"#));
        let prefix = format!("{key}: must be ");
        prop_assert!(error.starts_with(&prefix), "{}", error);
        let suffix = format!(", is {value}");
        prop_assert!(error.ends_with(&suffix), "{}", error);
    }
}
