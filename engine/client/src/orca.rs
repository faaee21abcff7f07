//! What servers say of their load (ORCA, gRFC A51), as far as weights are made of it (gRFC A58): with the trailers of each call, or
//! out of band, on a stream of its own.
//!
//! Does not: make weights. Figures of other kinds in a report are passed over.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Weak;
use std::task::Poll;
use std::time::Duration;

use corelane_call::{Code, Metadata, ProstCodec};
use corelane_policy::balance::{LoadReport, Policy};
use corelane_policy::config::{BalancerConfig, WeightedRoundRobinConfig};
use corelane_policy::resilience::{Backoff, BackoffConfig};
use corelane_runtime::{now, sleep};
use prost::Message;

use crate::Method;
use crate::aside::subscribe;
use crate::pool::{Pool, Pooled};
use crate::standing::Phase;

const STREAM: Method = Method::new("/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics");

/// The name under which trailers have a report.
const NAME: &str = "endpoint-load-metrics-bin";

/// The fields of `xds.data.orca.v3.OrcaLoadReport` that count here.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Report {
    #[prost(double, tag = "1")]
    cpu_utilization: f64,
    #[prost(double, tag = "6")]
    rps_fractional: f64,
    #[prost(double, tag = "7")]
    eps: f64,
    #[prost(double, tag = "9")]
    application_utilization: f64,
}

impl Report {
    pub(crate) fn load(&self) -> LoadReport {
        LoadReport {
            calls_per_second: self.rps_fractional,
            errors_per_second: self.eps,
            application_utilization: self.application_utilization,
            cpu_utilization: self.cpu_utilization,
        }
    }
}

/// `xds.service.orca.v3.OrcaLoadReportRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Wanted {
    /// `google.protobuf.Duration`.
    #[prost(message, optional, tag = "1")]
    pub(crate) report_interval: Option<Span>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// The report in a call's trailers; one that is malformed is none.
pub(crate) fn in_trailers(trailers: &Metadata) -> Option<LoadReport> {
    if trailers.is_empty() {
        return None;
    }
    let bytes = trailers.get_bin(NAME)?.ok()?;
    Some(Report::decode(&*bytes).ok()?.load())
}

/// The weighing that a policy asks for, wherever it stands in it.
pub(crate) fn config(policy: &Policy) -> Option<&WeightedRoundRobinConfig> {
    match policy.leaf() {
        Some(BalancerConfig::WeightedRoundRobin(weighing)) => Some(weighing),
        _ => None,
    }
}

/// The task that hears the reports of one endpoint out of band, for as long as the connection takes calls.
pub(crate) async fn listen(weak: Weak<Pool>, pooled: Pooled, period: Duration) {
    let mut heard = pin!(hear(&weak, &pooled, period));
    poll_fn(|cx| match pooled.standing.poll_beyond(Phase::Ready, cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => heard.as_mut().poll(cx),
    })
    .await;
}

async fn hear(weak: &Weak<Pool>, pooled: &Pooled, period: Duration) {
    let codec = ProstCodec::<Wanted, Report>::new();
    let seconds = i64::try_from(period.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(period.subsec_nanos()).expect("below a thousand million");
    let wanted = Wanted { report_interval: Some(Span { seconds, nanos }) };
    let mut backoff = Backoff::new(BackoffConfig::default()).expect("the default makes sense");
    loop {
        let Some(local) = weak.upgrade().and_then(|pool| pool.local()) else { return };
        let stream = subscribe(&local.shared, pooled, STREAM, &codec, &wanted);
        drop(local);
        if let Some(mut stream) = stream {
            loop {
                match stream.message().await {
                    Ok(Some(report)) => {
                        backoff.reset();
                        let Some(pool) = weak.upgrade() else { return };
                        let Some(local) = pool.local() else { return };
                        local.reported(now(), pool.key, &report.load());
                    }
                    Ok(None) => break,
                    Err(status) if status.code() == Code::Unimplemented => {
                        tracing::warn!("an endpoint has no load reports out of band");
                        return;
                    }
                    Err(_) => break,
                }
            }
        }
        let pause = backoff.next(&mut fastrand::Rng::with_seed(corelane_runtime::seed()));
        sleep(pause).await;
    }
}
