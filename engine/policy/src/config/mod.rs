//! What a channel is told about its calls: the service config (gRFC A2, A21), and targets.

mod model;

pub use model::{
    BalancerConfig, CodeSet, FailurePercentage, HealthCheckConfig, HedgingPolicy, MethodConfig, MethodName,
    OutlierDetectionConfig, RetryPolicy, RetryThrottling, ServiceConfig, SuccessRate,
    WeightedRoundRobinConfig,
};
