//! The service config as text: JSON after service_config.proto, and the list of choices that DNS carries (gRFC A2).
//!
//! The first fault refuses the whole text (gRFC A21), and the error says where and why. Keys that are not known are left
//! alone, as gRFC A21 asks, so that a config may be newer than its clients. Every value is read as protobuf's JSON reads it:
//! `null` is absent, numbers may be strings, durations are strings.
//!
//! Does not: fetch the text, or keep the last good one; the channel does.
//!
//! Invariant: what is read costs time and memory in proportion to the text, which is at most [`LEN_MAX`] bytes long and 128
//! values deep.

mod balancer;
mod choice;
mod duration;
mod error;
mod field;
mod method;

#[cfg(test)]
mod tests;

use serde_json::Value;

use self::field::{Field, Result};
use super::{HealthCheckConfig, RetryThrottling, ServiceConfig};

pub use self::choice::{Client, txt_value};
pub use self::error::ServiceConfigError;

/// The longest text that is read, in bytes. DNS carries 64 KiB at most.
const LEN_MAX: usize = 1 << 20;

/// The most connections to an endpoint that a service config can ask for (gRFC A105).
const CONNECTIONS_MAX: u32 = 10;

/// The largest bucket of retries (gRFC A6 as implemented everywhere).
const TOKENS_MAX: u32 = 1000;

impl ServiceConfig {
    /// Reads a service config.
    ///
    /// # Errors
    ///
    /// At the first fault, with its place.
    ///
    /// ```
    /// use corelane_policy::config::{BalancerConfig, ServiceConfig};
    ///
    /// let config = ServiceConfig::from_json(r#"{
    ///     "loadBalancingConfig": [{"not_known_here": {}}, {"round_robin": {}}],
    ///     "methodConfig": [{"name": [{"service": "pkg.Greeter"}], "timeout": "1.5s"}]
    /// }"#)?;
    /// assert_eq!(config.balancer, Some(BalancerConfig::RoundRobin));
    /// let timeout = config.method("/pkg.Greeter/SayHello").and_then(|method| method.timeout);
    /// assert_eq!(timeout, Some(std::time::Duration::from_millis(1500)));
    /// # Ok::<_, corelane_policy::config::ServiceConfigError>(())
    /// ```
    pub fn from_json(text: &str) -> Result<ServiceConfig> {
        service_config(&Field::root(&parse(text)?))
    }

    /// Reads a list of choices and takes the first that is meant for `client` (gRFC A2); `None` if none is.
    ///
    /// # Errors
    ///
    /// At the first fault in the list, or in the service config that is chosen; those of the others are not read.
    ///
    /// ```
    /// use corelane_policy::config::{BalancerConfig, Client, ServiceConfig};
    ///
    /// let text = r#"[
    ///     {"percentage": 10, "serviceConfig": {"loadBalancingPolicy": "least_request"}},
    ///     {"serviceConfig": {"loadBalancingPolicy": "round_robin"}}
    /// ]"#;
    /// let client = Client { language: "rust", hostname: "web-1", roll: 10 };
    /// let config = ServiceConfig::choose(text, &client)?.expect("the second has no condition");
    /// assert_eq!(config.balancer, Some(BalancerConfig::RoundRobin));
    /// # Ok::<_, corelane_policy::config::ServiceConfigError>(())
    /// ```
    pub fn choose(text: &str, client: &Client<'_>) -> Result<Option<ServiceConfig>> {
        choice::choose(&Field::root(&parse(text)?), client)
    }
}

fn parse(text: &str) -> Result<Value> {
    if text.len() > LEN_MAX {
        return Err(ServiceConfigError::TooLong { bytes: text.len() });
    }
    Ok(serde_json::from_str(text)?)
}

fn service_config(field: &Field<'_>) -> Result<ServiceConfig> {
    field.object()?;
    // Both are read, though the list wins: a known field that is wrong is an error wherever it stands (gRFC A21).
    let by_name = field.get_with("loadBalancingPolicy", balancer::by_name)?;
    let by_list = field.get_with("loadBalancingConfig", balancer::by_list)?;
    Ok(ServiceConfig {
        balancer: by_list.or(by_name),
        methods: field.get_with("methodConfig", method::list)?.unwrap_or_default(),
        retry_throttling: field.get_with("retryThrottling", retry_throttling)?,
        health_check: field.get_with("healthCheckConfig", health_check)?,
        max_connections_per_endpoint: field.get_with("connectionScaling", connection_scaling)?.flatten(),
    })
}

/// gRFC A6, "Throttling Retry Attempts and Hedged RPCs".
fn retry_throttling(field: &Field<'_>) -> Result<RetryThrottling> {
    field.object()?;
    let max_tokens = field.require("maxTokens")?.whole(1..=TOKENS_MAX)?;
    let ratio = field.require("tokenRatio")?;
    let milli_token_ratio = milli_tokens(ratio.positive_decimal()?);
    if milli_token_ratio == 0 {
        return Err(ratio.fault("must be at least 0.001: three decimals count"));
    }
    Ok(RetryThrottling { max_milli_tokens: max_tokens * 1000, milli_token_ratio })
}

/// Thousandths of a positive number of tokens. Three decimals count and the rest is cut off; more than the largest bucket
/// is as much as it.
fn milli_tokens(tokens: f64) -> u32 {
    /// Makes up for numbers that an f64 holds a little too small, such as 1.001.
    const SLACK: f64 = 1e-6;
    // The cast is exact: a whole number up to a million.
    (tokens * 1000.0 + SLACK).floor().min(f64::from(TOKENS_MAX * 1000)) as u32
}

/// gRFC A17. Without a name the health of the server as a whole counts.
fn health_check(field: &Field<'_>) -> Result<HealthCheckConfig> {
    field.object()?;
    Ok(HealthCheckConfig { service_name: field.get_text("serviceName")? })
}

/// gRFC A105.
fn connection_scaling(field: &Field<'_>) -> Result<Option<u32>> {
    field.object()?;
    let connections =
        field.get_with("maxConnectionsPerSubchannel", |connections| connections.whole(1..=u32::MAX))?;
    Ok(connections.map(|connections| connections.min(CONNECTIONS_MAX)))
}
