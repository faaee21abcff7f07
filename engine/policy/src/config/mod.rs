//! What a channel is told about its calls: the service config (gRFC A2, A21), targets, and the proxy before them.

mod json;
mod methods;
mod model;
mod proxy;
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
pub use proxy::{
    ConnectError, ConnectProgress, ConnectResponse, Proxy, ProxyError, ProxyRules, connect_request,
};
pub use target::{Host, HostPort, Location, Scheme, Security, Target, TargetError};
