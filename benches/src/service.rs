//! `bench.v1.Bench`.

use bytes::Bytes;
use corelane::codegen::BoxStream;
use corelane::server::Builder;
use corelane::{Request, Response, Server, Status, Streaming};
use futures_util::StreamExt;

use crate::proto::bench_server::{Bench, BenchServer};
use crate::proto::{Reply, Request as Order, Summary};

/// The largest payload, either way.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
static ZEROS: [u8; PAYLOAD_BYTES_MAX] = [0; PAYLOAD_BYTES_MAX];

/// The service; it keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct BenchService;

/// A server with the service, everything else as it comes.
#[must_use]
pub fn server() -> Builder {
    Server::builder().add_service(|| BenchServer::new(BenchService))
}

fn reply(order: &Order) -> Result<Reply, Status> {
    let size = usize::try_from(order.response_size).unwrap_or(usize::MAX);
    Ok(Reply { payload: zeros(size)? })
}

/// A payload that costs nothing to make or to clone.
pub(crate) fn zeros(size: usize) -> Result<Bytes, Status> {
    let zeros = ZEROS.get(..size);
    zeros.map(Bytes::from_static).ok_or_else(|| {
        Status::invalid_argument(format!("a payload of {size} octets: {PAYLOAD_BYTES_MAX} is the most"))
    })
}

impl Bench for BenchService {
    async fn unary(&self, request: Request<Order>) -> Result<Response<Reply>, Status> {
        reply(request.get_ref()).map(Response::new)
    }

    type DownloadStream = BoxStream<Reply>;

    async fn download(&self, request: Request<Order>) -> Result<Response<Self::DownloadStream>, Status> {
        let order = request.into_inner();
        let reply = reply(&order)?;
        let replies = (0..order.messages).map(move |_| Ok(reply.clone()));
        Ok(Response::new(Box::pin(corelane::stream::iter(replies))))
    }

    async fn upload(&self, request: Request<Streaming<Order>>) -> Result<Response<Summary>, Status> {
        let mut orders = request.into_inner();
        let mut summary = Summary::default();
        while let Some(order) = orders.message().await? {
            summary.messages += 1;
            summary.bytes += u64::try_from(order.payload.len()).unwrap_or(u64::MAX);
        }
        Ok(Response::new(summary))
    }

    type ChatStream = BoxStream<Reply>;

    async fn chat(&self, request: Request<Streaming<Order>>) -> Result<Response<Self::ChatStream>, Status> {
        Ok(Response::new(Box::pin(request.into_inner().map(|order| reply(&order?)))))
    }
}
