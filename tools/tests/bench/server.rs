//! `bench.v1.Bench`, with sizes of replies that are HTTP's codes of failure and mean what they mean there.

use corelane::codegen::BoxStream;
use corelane::server::{ServerHandle, Workers};
use corelane::{Request, Response, Server, Status, Streaming, stream};

use self::proto::bench_server::{Bench, BenchServer};
use self::proto::{Reply, Request as Order, Summary};

#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated")]
mod proto {
    corelane::include_proto!("bench.v1");
}

/// A server that ends with its handle.
pub(crate) struct Served {
    pub(crate) target: String,
    _handle: ServerHandle,
}

/// Serves on a free port.
pub(crate) fn serve() -> Served {
    let server = Server::builder().add_service(|| BenchServer::new(Service)).workers(Workers::Count(1));
    let handle = server.start("127.0.0.1:0").unwrap();
    Served { target: handle.addresses()[0].to_string(), _handle: handle }
}

struct Service;

async fn reply(order: &Order) -> Result<Reply, Status> {
    match order.response_size {
        404 => Err(Status::not_found("there is nothing of 404 octets")),
        408 => std::future::pending().await,
        size => Ok(Reply { payload: vec![0; usize::try_from(size).unwrap()].into() }),
    }
}

impl Bench for Service {
    async fn unary(&self, request: Request<Order>) -> Result<Response<Reply>, Status> {
        reply(request.get_ref()).await.map(Response::new)
    }

    type DownloadStream = BoxStream<Reply>;

    async fn download(&self, request: Request<Order>) -> Result<Response<Self::DownloadStream>, Status> {
        let order = request.into_inner();
        let reply = reply(&order).await?;
        Ok(Response::new(Box::pin(stream::iter((0..order.messages).map(move |_| Ok(reply.clone()))))))
    }

    async fn upload(&self, request: Request<Streaming<Order>>) -> Result<Response<Summary>, Status> {
        let (mut orders, mut summary) = (request.into_inner(), Summary::default());
        while let Some(order) = orders.message().await? {
            summary.messages += 1;
            summary.bytes += u64::try_from(order.payload.len()).unwrap();
        }
        Ok(Response::new(summary))
    }

    type ChatStream = BoxStream<Reply>;

    async fn chat(&self, request: Request<Streaming<Order>>) -> Result<Response<Self::ChatStream>, Status> {
        let mut orders = request.into_inner();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            while let Some(order) = orders.message().await? {
                yield reply(&order).await?;
            }
        })))
    }
}
