//! The service itself, one method for each shape of call.

use std::time::Duration;

use corelane::codegen::BoxStream;
use corelane::prost_types::Any;
use corelane::{Request, Response, Status, Streaming, time};

use super::echo::{Seen, add, pack, status};
use crate::protos::connectrpc::conformance::v1::conformance_service_server::ConformanceService;
use crate::protos::connectrpc::conformance::v1::unary_response_definition::Response as Answer;
use crate::protos::connectrpc::conformance::v1::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse, ConformancePayload,
    IdempotentUnaryRequest, IdempotentUnaryResponse, ServerStreamRequest, ServerStreamResponse,
    StreamResponseDefinition, UnaryRequest, UnaryResponse, UnaryResponseDefinition, UnimplementedRequest,
    UnimplementedResponse,
};

/// The service; it keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conformance;

impl ConformanceService for Conformance {
    async fn unary(&self, request: Request<UnaryRequest>) -> Result<Response<UnaryResponse>, Status> {
        let seen = Seen::of(&request);
        let message = request.into_inner();
        let requests = vec![pack("UnaryRequest", &message)];
        let wrap = |payload| UnaryResponse { payload: Some(payload) };
        answer(message.response_definition, &seen, requests, wrap).await
    }

    async fn idempotent_unary(
        &self,
        request: Request<IdempotentUnaryRequest>,
    ) -> Result<Response<IdempotentUnaryResponse>, Status> {
        let seen = Seen::of(&request);
        let message = request.into_inner();
        let requests = vec![pack("IdempotentUnaryRequest", &message)];
        let wrap = |payload| IdempotentUnaryResponse { payload: Some(payload) };
        answer(message.response_definition, &seen, requests, wrap).await
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<ClientStreamRequest>>,
    ) -> Result<Response<ClientStreamResponse>, Status> {
        let seen = Seen::of(&request);
        let mut messages = request.into_inner();
        let mut definition = None;
        let mut requests = Vec::new();
        while let Some(message) = messages.message().await? {
            requests.push(pack("ClientStreamRequest", &message));
            if requests.len() == 1 {
                definition = message.response_definition;
            }
        }
        let wrap = |payload| ClientStreamResponse { payload: Some(payload) };
        answer(definition, &seen, requests, wrap).await
    }

    type ServerStreamStream = BoxStream<ServerStreamResponse>;

    async fn server_stream(
        &self,
        request: Request<ServerStreamRequest>,
    ) -> Result<Response<Self::ServerStreamStream>, Status> {
        let seen = Seen::of(&request);
        let message = request.into_inner();
        let requests = vec![pack("ServerStreamRequest", &message)];
        let mut plan = Plan::new(message.response_definition, seen);
        let response = plan.response()?;
        let stream: BoxStream<_> = Box::pin(async_stream::try_stream! {
            while let Some(payload) = plan.next(if plan.sent == 0 { requests.clone() } else { Vec::new() }).await {
                yield ServerStreamResponse { payload: Some(payload) };
            }
            plan.end(requests)?;
        });
        Ok(response.map(|()| stream))
    }

    type BidiStreamStream = BoxStream<BidiStreamResponse>;

    async fn bidi_stream(
        &self,
        request: Request<Streaming<BidiStreamRequest>>,
    ) -> Result<Response<Self::BidiStreamStream>, Status> {
        let seen = Seen::of(&request);
        let mut messages = request.into_inner();
        // The first request holds the headers of the response, so nothing can be sent before it.
        let first = messages.message().await?.unwrap_or_default();
        let full_duplex = first.full_duplex;
        let mut requests = vec![pack("BidiStreamRequest", &first)];
        let mut plan = Plan::new(first.response_definition, seen);
        let response = plan.response()?;
        if !full_duplex {
            while let Some(message) = messages.message().await? {
                requests.push(pack("BidiStreamRequest", &message));
            }
        }
        let stream: BoxStream<_> = Box::pin(async_stream::try_stream! {
            // Full duplex: one response for each request, which tells of the requests since the last one.
            let mut answering = full_duplex;
            while answering {
                let Some(payload) = plan.next(requests.clone()).await else { break };
                requests.clear();
                yield BidiStreamResponse { payload: Some(payload) };
                let next = messages.message().await?;
                answering = next.is_some();
                requests.extend(next.map(|message| pack("BidiStreamRequest", &message)));
            }
            // Half duplex, or more responses than requests: what is left. Only a first response tells of requests.
            while let Some(payload) = plan.next(if plan.sent == 0 { requests.clone() } else { Vec::new() }).await {
                yield BidiStreamResponse { payload: Some(payload) };
            }
            plan.end(requests)?;
        });
        Ok(response.map(|()| stream))
    }

    async fn unimplemented(
        &self,
        _request: Request<UnimplementedRequest>,
    ) -> Result<Response<UnimplementedResponse>, Status> {
        Err(Status::unimplemented("left out, as the suite wants it"))
    }
}

/// Answers a call that has one response.
async fn answer<T>(
    definition: Option<UnaryResponseDefinition>,
    seen: &Seen,
    requests: Vec<Any>,
    wrap: impl FnOnce(ConformancePayload) -> T,
) -> Result<Response<T>, Status> {
    let info = seen.with(requests);
    let definition = definition.unwrap_or_default();
    pause(definition.response_delay_ms).await;
    let data = match definition.response {
        Some(Answer::Error(error)) => {
            let mut status = status(error, Some(&info));
            // A status has trailers only; the suite lets headers come with them.
            add(&definition.response_headers, status.metadata_mut())?;
            add(&definition.response_trailers, status.metadata_mut())?;
            return Err(status);
        }
        Some(Answer::ResponseData(data)) => data,
        None => Vec::new(),
    };
    let mut response = Response::new(wrap(ConformancePayload { data, request_info: Some(info) }));
    add(&definition.response_headers, response.metadata_mut())?;
    add(&definition.response_trailers, response.trailers_mut())?;
    Ok(response)
}

/// The responses of a streaming call, as its definition lists them.
struct Plan {
    definition: StreamResponseDefinition,
    seen: Seen,
    sent: usize,
}

impl Plan {
    fn new(definition: Option<StreamResponseDefinition>, seen: Seen) -> Plan {
        Plan { definition: definition.unwrap_or_default(), seen, sent: 0 }
    }

    /// An empty response with the definition's headers and trailers, for the stream to come.
    fn response(&self) -> Result<Response<()>, Status> {
        let mut response = Response::new(());
        add(&self.definition.response_headers, response.metadata_mut())?;
        add(&self.definition.response_trailers, response.trailers_mut())?;
        Ok(response)
    }

    /// The next response, after its pause; it tells of `requests`, the first also of the rest of the request.
    async fn next(&mut self, requests: Vec<Any>) -> Option<ConformancePayload> {
        let data = std::mem::take(self.definition.response_data.get_mut(self.sent)?);
        pause(self.definition.response_delay_ms).await;
        let info = match self.sent {
            0 => Some(self.seen.with(requests)),
            _ if requests.is_empty() => None,
            _ => Some(Seen::default().with(requests)),
        };
        self.sent += 1;
        Some(ConformancePayload { data, request_info: info })
    }

    /// The end of the call; an error that comes instead of responses tells of the requests.
    fn end(&mut self, requests: Vec<Any>) -> Result<(), Status> {
        let Some(error) = self.definition.error.take() else { return Ok(()) };
        let info = (self.sent == 0).then(|| self.seen.with(requests));
        let mut status = status(error, info.as_ref());
        // An error brings its own trailers; those of the response go with success only.
        add(&self.definition.response_trailers, status.metadata_mut())?;
        Err(status)
    }
}

async fn pause(milliseconds: u32) {
    if milliseconds > 0 {
        time::sleep(Duration::from_millis(milliseconds.into())).await;
    }
}
