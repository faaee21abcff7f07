//! `grpc.testing.TestService`, as the description of the interop cases wants it.
//!
//! `UnimplementedService` is left out on purpose, as is `TestService`'s method of that name: their cases want UNIMPLEMENTED.

pub mod client;
mod compression;
mod load;
mod payload;
mod service;

pub use load::Load;
pub use service::Interop;

use corelane::Server;
use corelane::codegen::Encoding;
use corelane::server::Builder;

use crate::protos::grpc::testing::test_service_server::TestServiceServer;
use crate::protos::xds::service::orca::v3::open_rca_service_server::OpenRcaServiceServer;

/// A server with everything that the interop clients call.
#[must_use]
pub fn server(load: &Load) -> Builder {
    let (of_calls, of_reports) = (load.clone(), load.clone());
    Server::builder()
        .add_service(move || {
            let service = TestServiceServer::new(Interop::new(of_calls.clone()));
            let encodings = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];
            encodings.into_iter().fold(service, |service, encoding| {
                service.accept_compressed(encoding).send_compressed(encoding)
            })
        })
        .add_service(move || OpenRcaServiceServer::new(of_reports.clone()))
}
