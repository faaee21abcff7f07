//! Cases of one request and one response.

use corelane::{Code, Request};

use super::streams::output;
use super::{LARGE_RESPONSE, Outcome, Setting, all, equal, fails_with, large, sized};
use crate::protos::grpc::testing::test_service_client::TestServiceClient;
use crate::protos::grpc::testing::unimplemented_service_client::UnimplementedServiceClient;
use crate::protos::grpc::testing::{EchoStatus, Empty, SimpleRequest, StreamingOutputCallRequest};

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";
const INITIAL_VALUE: &str = "test_initial_metadata_value";
const TRAILING_VALUE: &[u8] = b"\xab\xab\xab";
/// Calls of concurrent_large_unary: "1000 in parallel", each with 300 KB either way, so that a tenth is plenty for a check.
const CONCURRENT: usize = 100;
/// Calls of pick_first_unary.
const PICKS: usize = 100;

pub(super) async fn empty_unary(setting: &Setting) -> Outcome {
    let response = setting.client()?.empty_call(Empty {}).await?;
    equal("response", response.get_ref(), &Empty {})
}

pub(super) async fn large_unary(setting: &Setting) -> Outcome {
    large_call(&setting.client()?).await
}

/// What several cases are made of.
pub(super) async fn large_call(client: &TestServiceClient) -> Outcome {
    let response = client.unary_call(large()).await?;
    sized("response", response.get_ref().payload.as_ref(), LARGE_RESPONSE)
}

pub(super) async fn concurrent_large_unary(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    for response in all((0..CONCURRENT).map(|_| client.unary_call(large())).collect()).await {
        sized("response", response?.get_ref().payload.as_ref(), LARGE_RESPONSE)?;
    }
    Ok(())
}

pub(super) async fn pick_first_unary(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    let mut first = None;
    for _ in 0..PICKS {
        let request = SimpleRequest { fill_server_id: true, ..SimpleRequest::default() };
        let id = client.unary_call(request).await?.into_inner().server_id;
        if id.is_empty() {
            return Err("the server does not say its id".into());
        }
        equal("server", &id, first.get_or_insert_with(|| id.clone()))?;
    }
    Ok(())
}

pub(super) async fn custom_metadata(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    let mut request = Request::new(large());
    request.metadata_mut().insert(INITIAL, INITIAL_VALUE)?;
    request.metadata_mut().insert_bin(TRAILING, TRAILING_VALUE)?;
    let response = client.unary_call(request).await?;
    equal("initial metadata", &response.metadata().get(INITIAL), &Some(INITIAL_VALUE))?;
    let trailing = response.trailers().get_bin(TRAILING).transpose()?;
    equal("trailing metadata", &trailing.as_deref(), &Some(TRAILING_VALUE))?;

    let message = output(super::LARGE_REQUEST, LARGE_RESPONSE);
    let mut request = Request::new(corelane::stream::iter([message]));
    request.metadata_mut().insert(INITIAL, INITIAL_VALUE)?;
    request.metadata_mut().insert_bin(TRAILING, TRAILING_VALUE)?;
    let response = client.full_duplex_call(request).await?;
    equal("initial metadata of a stream", &response.metadata().get(INITIAL), &Some(INITIAL_VALUE))?;
    let mut messages = response.into_inner();
    while messages.message().await?.is_some() {}
    let trailers = messages.trailers().await?.ok_or("the stream has no trailing metadata")?;
    let trailing = trailers.get_bin(TRAILING).transpose()?;
    equal("trailing metadata of a stream", &trailing.as_deref(), &Some(TRAILING_VALUE))
}

fn status(code: i32, message: &str) -> Option<EchoStatus> {
    Some(EchoStatus { code, message: message.to_owned() })
}

pub(super) async fn status_code_and_message(setting: &Setting) -> Outcome {
    const TEXT: &str = "test status message";
    let client = setting.client()?;
    let request = SimpleRequest { response_status: status(2, TEXT), ..SimpleRequest::default() };
    let unary = fails_with(client.unary_call(request).await, Code::Unknown)?;
    equal("message", &unary.message(), &TEXT)?;
    let request = StreamingOutputCallRequest {
        response_status: status(2, TEXT),
        ..StreamingOutputCallRequest::default()
    };
    let requests = corelane::stream::iter([request]);
    let streamed = match client.full_duplex_call(requests).await {
        Err(status) => Err(status),
        Ok(response) => response.into_inner().message().await,
    };
    let streamed = fails_with(streamed, Code::Unknown)?;
    equal("message of a stream", &streamed.message(), &TEXT)
}

pub(super) async fn special_status_message(setting: &Setting) -> Outcome {
    const TEXT: &str = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
    let request = SimpleRequest { response_status: status(2, TEXT), ..SimpleRequest::default() };
    let failed = fails_with(setting.client()?.unary_call(request).await, Code::Unknown)?;
    equal("message", &failed.message(), &TEXT)
}

pub(super) async fn unimplemented_method(setting: &Setting) -> Outcome {
    fails_with(setting.client()?.unimplemented_call(Empty {}).await, Code::Unimplemented).map(|_| ())
}

pub(super) async fn unimplemented_service(setting: &Setting) -> Outcome {
    let client = UnimplementedServiceClient::new(setting.channel().connect_lazy()?);
    fails_with(client.unimplemented_call(Empty {}).await, Code::Unimplemented).map(|_| ())
}
