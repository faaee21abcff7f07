//! The test service itself.

use std::net::SocketAddr;
use std::time::Duration;

use corelane::codegen::BoxStream;
use corelane::compression::CompressionSwitch;
use corelane::{Code, Metadata, Request, Response, Status, Streaming, time};

use super::compression::{check, choose, wanted};
use super::load::{Load, attach};
use super::payload::{size_of, zeros};
use crate::protos::grpc::testing::test_service_server::TestService;
use crate::protos::grpc::testing::{
    EchoStatus, Empty, ResponseParameters, SimpleRequest, SimpleResponse, StreamingInputCallRequest,
    StreamingInputCallResponse, StreamingOutputCallRequest, StreamingOutputCallResponse,
};

const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";
const SERVER_ID: &str = "corelane";

/// The service; one for each worker.
#[derive(Clone, Debug)]
pub struct Interop {
    load: Load,
}

impl Interop {
    /// A service that tells `load` what clients want reported out of band.
    #[must_use]
    pub fn new(load: Load) -> Interop {
        Interop { load }
    }
}

type Replies = BoxStream<StreamingOutputCallResponse>;

impl TestService for Interop {
    async fn empty_call(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(&self, request: Request<SimpleRequest>) -> Result<Response<SimpleResponse>, Status> {
        simple(&request)
    }

    async fn cacheable_unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let mut response = simple(&request)?;
        set(response.metadata_mut(), "cache-control", "max-age=60, public");
        Ok(response)
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let mut requests = request.into_inner();
        let mut sum = 0;
        while let Some(message) = requests.message().await? {
            check(message.expect_compressed.as_ref(), requests.last_was_compressed())?;
            sum += size_of(message.payload.as_ref());
        }
        let aggregated_payload_size = i32::try_from(sum)
            .map_err(|_| Status::out_of_range("the sum of the sizes is larger than its type"))?;
        Ok(Response::new(StreamingInputCallResponse { aggregated_payload_size }))
    }

    type StreamingOutputCallStream = Replies;

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Replies>, Status> {
        let peer = request.remote_addr();
        let message = request.into_inner();
        let mut response = Response::new(());
        let compression = CompressionSwitch::new();
        response.set_compression_switch(&compression);
        Ok(response.map(|()| {
            Box::pin(async_stream::try_stream! {
                for asked in &message.response_parameters {
                    let reply = reply(asked, message.response_type, peer).await?;
                    choose(&compression, asked.compressed.as_ref());
                    yield reply;
                }
                end(message.response_status.as_ref())?;
            }) as Replies
        }))
    }

    type FullDuplexCallStream = Replies;

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let peer = request.remote_addr();
        let mut response = Response::new(());
        echo(request.metadata(), response.metadata_mut(), ECHO_INITIAL);
        echo(request.metadata(), response.trailers_mut(), ECHO_TRAILING);
        let compression = CompressionSwitch::new();
        response.set_compression_switch(&compression);
        let mut requests = request.into_inner();
        let load = self.load.clone();
        Ok(response.map(|()| {
            Box::pin(async_stream::try_stream! {
                while let Some(message) = requests.message().await? {
                    end(message.response_status.as_ref())?;
                    if let Some(report) = message.orca_oob_report {
                        load.claim(report);
                    }
                    for asked in &message.response_parameters {
                        let reply = reply(asked, message.response_type, peer).await?;
                        choose(&compression, asked.compressed.as_ref());
                        yield reply;
                    }
                }
            }) as Replies
        }))
    }

    type HalfDuplexCallStream = Replies;

    async fn half_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let peer = request.remote_addr();
        let mut requests = request.into_inner();
        let mut asked = Vec::new();
        while let Some(message) = requests.message().await? {
            end(message.response_status.as_ref())?;
            let kind = message.response_type;
            asked.extend(message.response_parameters.into_iter().map(|asked| (kind, asked)));
        }
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            for (kind, asked) in &asked {
                yield reply(asked, *kind, peer).await?;
            }
        })))
    }

    async fn unimplemented_call(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("left out, as the case wants it"))
    }
}

/// Answers a unary call.
fn simple(request: &Request<SimpleRequest>) -> Result<Response<SimpleResponse>, Status> {
    let message = request.get_ref();
    check(message.expect_compressed.as_ref(), request.was_compressed())?;
    if let Err(mut status) = end(message.response_status.as_ref()) {
        echo(request.metadata(), status.metadata_mut(), ECHO_TRAILING);
        return Err(status);
    }
    let mut response = Response::new(SimpleResponse {
        payload: Some(zeros(message.response_type, message.response_size)?),
        server_id: if message.fill_server_id { SERVER_ID.to_owned() } else { String::new() },
        ..SimpleResponse::default()
    });
    echo(request.metadata(), response.metadata_mut(), ECHO_INITIAL);
    echo(request.metadata(), response.trailers_mut(), ECHO_TRAILING);
    if let Some(report) = message.orca_per_query_report.clone() {
        attach(report, response.trailers_mut());
    }
    if !wanted(message.response_compressed.as_ref()) {
        response.disable_compression();
    }
    Ok(response)
}

/// One response of a stream, after its pause.
async fn reply(
    asked: &ResponseParameters,
    kind: i32,
    peer: Option<SocketAddr>,
) -> Result<StreamingOutputCallResponse, Status> {
    if let Ok(microseconds @ 1..) = u64::try_from(asked.interval_us) {
        time::sleep(Duration::from_micros(microseconds)).await;
    }
    let name_peer = asked.fill_peer_socket_address.as_ref().is_some_and(|asked| asked.value);
    let peer = peer.filter(|_| name_peer).map(|peer| peer.to_string());
    Ok(StreamingOutputCallResponse {
        payload: Some(zeros(kind, asked.size)?),
        peer_socket_address: peer.unwrap_or_default(),
    })
}

/// The end that a client asks for, unless it is OK.
fn end(asked: Option<&EchoStatus>) -> Result<(), Status> {
    match asked {
        Some(asked) if asked.code != 0 => Err(Status::new(Code::from_i32(asked.code), asked.message.clone())),
        _ => Ok(()),
    }
}

/// Sends a request's metadata of this name back.
fn echo(from: &Metadata, to: &mut Metadata, name: &str) {
    if name.ends_with("-bin") {
        if let Some(Ok(value)) = from.get_bin(name) {
            to.insert_bin(name, &value).expect("a name that came can be sent");
        }
    } else if let Some(value) = from.get(name) {
        set(to, name, value);
    }
}

fn set(metadata: &mut Metadata, name: &str, value: &str) {
    metadata.insert(name, value).expect("a value that came can be sent");
}
