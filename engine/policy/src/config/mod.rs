//! What a channel is told about its calls: the service config (gRFC A2, A21), and targets.

mod json;
mod methods;
mod model;
mod target;
mod text;

#[cfg(any(fuzzing, test))]
pub mod fuzz;

pub use json::{Client, ServiceConfigError, txt_value};
pub use methods::{DuplicateName, Methods};
pub use model::{
    BalancerConfig, CodeSet, FailurePercentage, HealthCheckConfig, HedgingPolicy, MethodConfig, MethodName,
    OutlierDetectionConfig, RetryPolicy, RetryThrottling, ServiceConfig, SuccessRate,
    WeightedRoundRobinConfig,
};
pub use target::{Host, HostPort, Location, Scheme, Security, Target, TargetError};
