//! The fuzz bodies for everything here that reads what somebody else wrote.

use super::{Client, ServiceConfig, ServiceConfigError};

/// The longest text of an error, whatever is wrong.
const ERROR_LEN_MAX: usize = 4096;

/// Takes `bytes` for a service config.
///
/// # Panics
///
/// If what is said about a method depends on who asks, or an error is out of proportion.
pub fn fuzz_service_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ServiceConfig::from_json(text) {
        Ok(config) => {
            assert_eq!(ServiceConfig::from_json(text).as_ref(), Ok(&config));
            for (name, method) in config.methods.iter() {
                assert!(method.retry.is_none() || method.hedging.is_none(), "{name} has both");
            }
            let _ = config.method(text);
        }
        Err(error) => check_error(&error),
    }
}

/// Takes `bytes` for a list of choices.
///
/// # Panics
///
/// If a choice without a condition is not for everybody, or an error is out of proportion.
pub fn fuzz_choices(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let client = Client { language: "rust", hostname: "a", roll: 50 };
    if let Err(error) = ServiceConfig::choose(text, &client) {
        check_error(&error);
    }
    let list = format!(r#"[{{"serviceConfig":{text}}}]"#);
    if let (Ok(config), Ok(chosen)) = (ServiceConfig::from_json(text), ServiceConfig::choose(&list, &client))
    {
        assert_eq!(chosen, Some(config));
    }
}

fn check_error(error: &ServiceConfigError) {
    let text = error.to_string();
    assert!(text.len() <= ERROR_LEN_MAX, "{} bytes of error", text.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What texts are made of: pieces that mean something in one place or another.
    const CONFIG_PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "true",
        "1",
        "2",
        "-1",
        "0.5",
        "1e9",
        "\"1.5s\"",
        "\"0s\"",
        "\"methodConfig\":[",
        "{\"name\":[{}]",
        "\"service\":\"a\"",
        "\"method\":\"b\"",
        "\"retryPolicy\":{",
        "\"hedgingPolicy\":{",
        "\"maxAttempts\":3",
        "\"initialBackoff\":\"1s\"",
        "\"maxBackoff\":\"1s\"",
        "\"backoffMultiplier\":2",
        "\"retryableStatusCodes\":[14]",
        "\"timeout\":",
        "\"waitForReady\":true",
        "\"loadBalancingConfig\":[",
        "{\"round_robin\":{}}",
        "{\"ring_hash\":{",
        "\"minRingSize\":",
        "\"loadBalancingPolicy\":\"random\"",
        "\"retryThrottling\":{\"maxTokens\":10,\"tokenRatio\":0.1}",
        "\"childPolicy\":[",
        "{\"random_subsetting\":{\"subsetSize\":2,",
        "\"serviceConfig\":{",
        "\"percentage\":50",
        "\"clientLanguage\":[\"rust\"]",
        "\u{0}",
        "\u{7f}",
        "\\u0000",
        "\\",
    ];

    /// Texts of random pieces.
    fn run(seed: u64, pieces: &[&str], body: fn(&[u8])) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(..24)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            body(text.as_bytes());
            let bytes: Vec<u8> = (0..random.usize(..24)).map(|_| random.u8(..)).collect();
            body(&bytes);
        }
    }

    #[test]
    fn service_configs() {
        run(1, CONFIG_PIECES, fuzz_service_config);
    }

    #[test]
    fn choices() {
        run(2, CONFIG_PIECES, fuzz_choices);
    }

    #[test]
    fn a_valid_config_that_is_bent_in_one_place() {
        let valid = r#"{"loadBalancingConfig":[{"outlier_detection":{"interval":"1s","childPolicy":[{"ring_hash":{
            "minRingSize":5}}]}}],"methodConfig":[{"name":[{"service":"a","method":"b"}],"retryPolicy":{
            "maxAttempts":3,"initialBackoff":"0.1s","maxBackoff":"1s","backoffMultiplier":2,
            "retryableStatusCodes":["ABORTED",14]}}],"retryThrottling":{"maxTokens":10,"tokenRatio":0.1}}"#;
        assert!(ServiceConfig::from_json(valid).is_ok());
        let mut random = fastrand::Rng::with_seed(3);
        for index in 0..valid.len() {
            for _ in 0..8 {
                let mut bytes = valid.as_bytes().to_vec();
                match random.u8(..3) {
                    0 => bytes[index] = random.u8(..),
                    1 => drop(bytes.remove(index)),
                    _ => bytes.truncate(index),
                }
                fuzz_service_config(&bytes);
                fuzz_choices(&bytes);
            }
        }
    }
}
