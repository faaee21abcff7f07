//! `connectrpc.conformance.v1.ConformanceService`: it answers as each request says, and tells what it saw of the request.

pub mod client;
mod echo;
mod service;

use corelane::Server;
use corelane::codegen::Encoding;
use corelane::server::Builder;

pub use service::Conformance;

use crate::protos::connectrpc::conformance::v1::conformance_service_server::ConformanceServiceServer;

/// A server with the suite's service. It refuses messages above `receive_limit`; 0 stands for the engine's own limit.
#[must_use]
pub fn server(receive_limit: u32) -> Builder {
    Server::builder().add_service(move || {
        let mut service = ConformanceServiceServer::new(Conformance);
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            service = service.accept_compressed(encoding).send_compressed(encoding);
        }
        match usize::try_from(receive_limit) {
            Ok(limit) if limit > 0 => service.max_decoding_message_size(limit),
            _ => service,
        }
    })
}
