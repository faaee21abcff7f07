//! `bench.v1.Bench` with tonic.

use std::pin::Pin;

use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::pb::bench_server::Bench;
use crate::pb::{Reply, Request as Order, Summary};
use crate::{PAYLOAD_BYTES_MAX, zeros};

type Replies = Pin<Box<dyn Stream<Item = Result<Reply, Status>> + Send>>;

pub(crate) struct Service;

fn reply(size: u32) -> Result<Reply, Status> {
    match usize::try_from(size) {
        Ok(size) if size <= PAYLOAD_BYTES_MAX => Ok(Reply { payload: zeros(size) }),
        _ => Err(Status::invalid_argument(format!(
            "a payload of {size} octets: {PAYLOAD_BYTES_MAX} is the most"
        ))),
    }
}

#[tonic::async_trait]
impl Bench for Service {
    async fn unary(&self, request: Request<Order>) -> Result<Response<Reply>, Status> {
        reply(request.get_ref().response_size).map(Response::new)
    }

    type DownloadStream = Replies;

    async fn download(&self, request: Request<Order>) -> Result<Response<Replies>, Status> {
        let Order { messages, response_size, .. } = request.into_inner();
        let replies = (0..messages).map(move |_| reply(response_size));
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    async fn upload(&self, request: Request<Streaming<Order>>) -> Result<Response<Summary>, Status> {
        let mut orders = request.into_inner();
        let mut summary = Summary::default();
        while let Some(order) = orders.message().await? {
            summary.messages += 1;
            summary.bytes += order.payload.len() as u64;
        }
        Ok(Response::new(summary))
    }

    type ChatStream = Replies;

    async fn chat(&self, request: Request<Streaming<Order>>) -> Result<Response<Replies>, Status> {
        let replies = request.into_inner().map(|order| reply(order?.response_size));
        Ok(Response::new(Box::pin(replies)))
    }
}
