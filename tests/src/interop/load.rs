//! Load reports (ORCA): in the trailers of a call, and out of band.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use corelane::codegen::BoxStream;
use corelane::prost::Message as _;
use corelane::{Metadata, Request, Response, Status, time};

use crate::protos::grpc::testing::TestOrcaReport;
use crate::protos::xds::data::orca::v3::OrcaLoadReport;
use crate::protos::xds::service::orca::v3::OrcaLoadReportRequest;
use crate::protos::xds::service::orca::v3::open_rca_service_server::OpenRcaService;

/// The trailer of a call's own report.
const TRAILER: &str = "endpoint-load-metrics-bin";
/// The shortest pause between two reports out of band, whatever the client asks for.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The load that the server claims to have: what a client last told it. All workers claim the same.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<Mutex<OrcaLoadReport>>);

impl Load {
    /// Claims what the client said.
    pub(super) fn claim(&self, report: TestOrcaReport) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = convert(report);
    }

    fn report(&self) -> OrcaLoadReport {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Puts a call's own report into its trailers.
pub(super) fn attach(report: TestOrcaReport, trailers: &mut Metadata) {
    trailers.insert_bin(TRAILER, &convert(report).encode_to_vec()).expect("the name is a binary one");
}

fn convert(report: TestOrcaReport) -> OrcaLoadReport {
    OrcaLoadReport {
        cpu_utilization: report.cpu_utilization,
        mem_utilization: report.memory_utilization,
        request_cost: report.request_cost,
        utilization: report.utilization,
        ..OrcaLoadReport::default()
    }
}

impl OpenRcaService for Load {
    type StreamCoreMetricsStream = BoxStream<OrcaLoadReport>;

    async fn stream_core_metrics(
        &self,
        request: Request<OrcaLoadReportRequest>,
    ) -> Result<Response<Self::StreamCoreMetricsStream>, Status> {
        let asked = request.into_inner().report_interval.unwrap_or_default();
        let asked =
            Duration::try_from(asked).map_err(|_| Status::invalid_argument("report_interval is negative"))?;
        let interval = asked.max(INTERVAL_MIN);
        let load = self.clone();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            loop {
                yield load.report();
                time::sleep(interval).await;
            }
        })))
    }
}
