//! `methodConfig`: what is said about methods (service_config.md), with retries and hedging (gRFC A6).

use std::sync::Arc;

use super::field::{Field, Result};
use crate::config::text::shortened;
use crate::config::{HedgingPolicy, MethodConfig, MethodName, Methods, RetryPolicy};
use crate::resilience::ATTEMPTS_MAX;

/// All of `methodConfig`.
pub(super) fn list(field: &Field<'_>) -> Result<Methods> {
    let mut entries = Vec::new();
    // Where each entry's name stands: method config, name.
    let mut places = Vec::new();
    for (index, element) in field.elements()?.enumerate() {
        element.object()?;
        let config = Arc::new(method_config(&element)?);
        // Without a name it is for no method (service_config.proto).
        let Some(names) = element.get("name") else { continue };
        for (name_index, name) in names.elements()?.enumerate() {
            entries.push((method_name(&name)?, config.clone()));
            places.push((index, name_index));
        }
    }
    Methods::new(entries).map_err(|duplicate| {
        let [first, second] = [duplicate.first, duplicate.second].map(|entry| {
            let (index, name_index) = places[entry];
            format!("[{index}].name[{name_index}]")
        });
        let name = shortened(&duplicate.name.to_string());
        let reason = format!("is for {name}, as methodConfig{first} is: keep one of them");
        field.fault_below(&second, reason)
    })
}

fn method_name(field: &Field<'_>) -> Result<MethodName> {
    field.object()?;
    let service = field.get_text("service")?;
    let method = field.get_text("method")?;
    match (service.is_empty(), method.is_empty()) {
        (true, true) => Ok(MethodName::Default),
        (true, false) => Err(field.fault("has a method and no service: name the service too")),
        (false, true) => Ok(MethodName::Service(service)),
        (false, false) => Ok(MethodName::Method(service, method)),
    }
}

fn method_config(field: &Field<'_>) -> Result<MethodConfig> {
    let retry = field.get_with("retryPolicy", retry_policy)?;
    let hedging = field.get_with("hedgingPolicy", hedging_policy)?;
    if retry.is_some() && hedging.is_some() {
        return Err(field.fault("has both retryPolicy and hedgingPolicy: leave one out"));
    }
    Ok(MethodConfig {
        wait_for_ready: field.get_with("waitForReady", |wait| wait.boolean())?,
        timeout: field.get_with("timeout", |timeout| timeout.duration())?,
        max_request_message_bytes: field.get_with("maxRequestMessageBytes", |it| it.whole(0..=u32::MAX))?,
        max_response_message_bytes: field.get_with("maxResponseMessageBytes", |it| it.whole(0..=u32::MAX))?,
        retry,
        hedging,
    })
}

fn max_attempts(field: &Field<'_>) -> Result<u32> {
    Ok(field.require("maxAttempts")?.whole(2..=u32::MAX)?.min(ATTEMPTS_MAX))
}

fn retry_policy(field: &Field<'_>) -> Result<RetryPolicy> {
    const CODES: &str = "retryableStatusCodes";
    field.object()?;
    let policy = RetryPolicy {
        max_attempts: max_attempts(field)?,
        initial_backoff: field.require("initialBackoff")?.positive_duration()?,
        max_backoff: field.require("maxBackoff")?.positive_duration()?,
        backoff_multiplier: field.require("backoffMultiplier")?.positive_decimal()?,
        retryable: field.get_with(CODES, |codes| codes.codes())?.unwrap_or_default(),
        per_attempt_recv_timeout: field.get_with("perAttemptRecvTimeout", |it| it.positive_duration())?,
    };
    // A timeout for each attempt is a reason to try again by itself.
    if policy.retryable.is_empty() && policy.per_attempt_recv_timeout.is_none() {
        return Err(field.require(CODES)?.fault("must have at least one code, or nothing is tried again"));
    }
    Ok(policy)
}

fn hedging_policy(field: &Field<'_>) -> Result<HedgingPolicy> {
    field.object()?;
    Ok(HedgingPolicy {
        max_attempts: max_attempts(field)?,
        hedging_delay: field.get_with("hedgingDelay", |delay| delay.duration())?.unwrap_or_default(),
        non_fatal: field.get_with("nonFatalStatusCodes", |codes| codes.codes())?.unwrap_or_default(),
    })
}
