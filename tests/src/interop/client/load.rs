//! Cases of load reports (ORCA).

use std::collections::HashMap;

use corelane::Metadata;
use corelane::prost::Message as _;

use super::{Outcome, Setting, equal, feed};
use crate::protos::grpc::testing::test_service_client::TestServiceClient;
use crate::protos::grpc::testing::{
    ResponseParameters, SimpleRequest, StreamingOutputCallRequest, TestOrcaReport,
};
use crate::protos::xds::data::orca::v3::OrcaLoadReport;
use crate::protos::xds::service::orca::v3::OrcaLoadReportRequest;
use crate::protos::xds::service::orca::v3::open_rca_service_client::OpenRcaServiceClient;

/// Reports out of band that may be those from before.
const REPORTS_MAX: usize = 30;

fn report(cpu: f64, memory: f64, name: &str, share: f64) -> TestOrcaReport {
    TestOrcaReport {
        cpu_utilization: cpu,
        memory_utilization: memory,
        request_cost: HashMap::default(),
        utilization: HashMap::from([(name.to_owned(), share)]),
    }
}

fn is(found: &OrcaLoadReport, expected: &TestOrcaReport) -> bool {
    (found.cpu_utilization - expected.cpu_utilization).abs() < 1e-9
        && (found.mem_utilization - expected.memory_utilization).abs() < 1e-9
        && found.request_cost == expected.request_cost
        && found.utilization == expected.utilization
}

fn in_trailers(trailers: &Metadata) -> Result<OrcaLoadReport, Box<dyn std::error::Error>> {
    let bytes = trailers.get_bin("endpoint-load-metrics-bin").ok_or("the trailers have no load report")??;
    Ok(OrcaLoadReport::decode(&*bytes)?)
}

pub(super) async fn per_call(setting: &Setting) -> Outcome {
    let mut expected = report(0.8210, 0.5847, "util", 0.30499);
    expected.request_cost.insert("cost".to_owned(), 3456.32);
    let request = SimpleRequest { orca_per_query_report: Some(expected.clone()), ..SimpleRequest::default() };
    let response = setting.client()?.unary_call(request).await?;
    let found = in_trailers(response.trailers())?;
    equal(&format!("the report {found:?} is {expected:?}"), &is(&found, &expected), &true)
}

pub(super) async fn out_of_band(setting: &Setting) -> Outcome {
    let channel = setting.channel().connect_lazy()?;
    let client = TestServiceClient::new(channel.clone());
    let reports = OpenRcaServiceClient::new(channel);
    let interval = corelane::prost_types::Duration { seconds: 1, nanos: 0 };
    let wanted =
        OrcaLoadReportRequest { report_interval: Some(interval), ..OrcaLoadReportRequest::default() };
    let mut reports = reports.stream_core_metrics(wanted).await?.into_inner();
    let (sender, requests) = feed();
    let claim = |report: &TestOrcaReport| StreamingOutputCallRequest {
        response_parameters: vec![ResponseParameters { size: 1, ..ResponseParameters::default() }],
        orca_oob_report: Some(report.clone()),
        ..StreamingOutputCallRequest::default()
    };
    let claims = [report(0.8210, 0.5847, "util", 0.30499), report(0.29309, 0.2, "util", 0.2039)];
    sender.try_send(claim(&claims[0])).map_err(|_| "no room for the request")?;
    let mut answers = client.full_duplex_call(requests).await?.into_inner();
    for (index, expected) in claims.iter().enumerate() {
        if index > 0 {
            sender.send(claim(expected)).await.map_err(|_| "nobody takes the requests")?;
        }
        answers.message().await?.ok_or("the stream ended early")?;
        let mut found = None;
        for _ in 0..REPORTS_MAX {
            let report = reports.message().await?.ok_or("the reports ended early")?;
            if is(&report, expected) {
                found = Some(());
                break;
            }
        }
        found.ok_or_else(|| format!("{expected:?} was not reported"))?;
    }
    Ok(())
}
