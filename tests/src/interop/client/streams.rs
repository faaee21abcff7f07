//! Cases with streams, and those of cancellation and deadlines.

use std::time::Duration;

use corelane::{Code, Request, Streaming, stream};

use super::{Outcome, Setting, equal, fails_with, feed, sized, zeros};
use crate::protos::grpc::testing::{
    BoolValue, Empty, ResponseParameters, StreamingInputCallRequest, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};

const REQUESTS: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [i32; 4] = [31_415, 9, 2_653, 58_979];

fn input(size: usize) -> StreamingInputCallRequest {
    StreamingInputCallRequest { payload: Some(zeros(size)), ..StreamingInputCallRequest::default() }
}

pub(super) fn output(size: usize, response: i32) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![ResponseParameters { size: response, ..ResponseParameters::default() }],
        payload: Some(zeros(size)),
        ..StreamingOutputCallRequest::default()
    }
}

pub(super) async fn next(
    messages: &mut Streaming<StreamingOutputCallResponse>,
) -> Result<StreamingOutputCallResponse, Box<dyn std::error::Error>> {
    Ok(messages.message().await?.ok_or("the stream ended before its last response")?)
}

async fn ends(messages: &mut Streaming<StreamingOutputCallResponse>) -> Outcome {
    match messages.message().await? {
        None => Ok(()),
        Some(_) => Err("there are more responses than were asked for".into()),
    }
}

pub(super) async fn client_streaming(setting: &Setting) -> Outcome {
    let requests = stream::iter(REQUESTS.map(input));
    let response = setting.client()?.streaming_input_call(requests).await?;
    equal("sum", &response.into_inner().aggregated_payload_size, &74_922)
}

pub(super) async fn server_streaming(setting: &Setting) -> Outcome {
    let parameters = |size| ResponseParameters { size, ..ResponseParameters::default() };
    let request = StreamingOutputCallRequest {
        response_parameters: RESPONSES.map(parameters).to_vec(),
        ..StreamingOutputCallRequest::default()
    };
    let mut messages = setting.client()?.streaming_output_call(request).await?.into_inner();
    for expected in RESPONSES {
        sized("response", next(&mut messages).await?.payload.as_ref(), expected)?;
    }
    ends(&mut messages).await
}

pub(super) async fn ping_pong(setting: &Setting) -> Outcome {
    let (sender, requests) = feed();
    sender.try_send(output(REQUESTS[0], RESPONSES[0])).map_err(|_| "no room for the first request")?;
    let mut messages = setting.client()?.full_duplex_call(requests).await?.into_inner();
    for index in 0..RESPONSES.len() {
        if index > 0 {
            let sent = sender.send(output(REQUESTS[index], RESPONSES[index])).await;
            sent.map_err(|_| "nobody takes the requests")?;
        }
        sized("response", next(&mut messages).await?.payload.as_ref(), RESPONSES[index])?;
    }
    drop(sender);
    ends(&mut messages).await
}

pub(super) async fn empty_stream(setting: &Setting) -> Outcome {
    let requests = stream::iter([]);
    let mut messages = setting.client()?.full_duplex_call(requests).await?.into_inner();
    ends(&mut messages).await
}

/// A call is cancelled by dropping it: there is nobody left who could be told CANCELLED.
pub(super) async fn cancel_after_begin(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    // Without a connection there would be nothing to cancel: the call would still wait for one.
    client.empty_call(Empty {}).await?;
    let (_sender, requests) = feed::<StreamingInputCallRequest>();
    {
        let mut call = std::pin::pin!(client.streaming_input_call(requests));
        let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
        equal("the call waits", &begun.is_pending(), &true)?;
    }
    // The connection bears it.
    client.empty_call(Empty {}).await?;
    Ok(())
}

pub(super) async fn cancel_after_first_response(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    let (sender, requests) = feed();
    sender.try_send(output(REQUESTS[0], RESPONSES[0])).map_err(|_| "no room for the first request")?;
    let mut messages = client.full_duplex_call(requests).await?.into_inner();
    sized("response", next(&mut messages).await?.payload.as_ref(), RESPONSES[0])?;
    drop(messages);
    // What sends the requests has ended with the call.
    sender.closed().await;
    client.empty_call(Empty {}).await?;
    Ok(())
}

pub(super) async fn timeout_on_sleeping_server(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    let (sender, requests) = feed();
    let message =
        StreamingOutputCallRequest { payload: Some(zeros(27_182)), ..StreamingOutputCallRequest::default() };
    sender.try_send(message).map_err(|_| "no room for the request")?;
    let mut request = Request::new(requests);
    request.set_timeout(Duration::from_millis(1));
    let answer = match client.full_duplex_call(request).await {
        Err(status) => Err(status),
        Ok(response) => response.into_inner().message().await,
    };
    fails_with(answer, Code::DeadlineExceeded).map(|_| ())
}

/// Three streams that stay open, where the server allows two on a connection: the third goes over another one.
pub(super) async fn connection_scaling(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    let mut open = Vec::new();
    let mut places = Vec::new();
    for _ in 0..3 {
        let (sender, requests) = feed();
        let asked = ResponseParameters {
            fill_peer_socket_address: Some(BoolValue { value: true }),
            ..ResponseParameters::default()
        };
        let message = StreamingOutputCallRequest {
            response_parameters: vec![asked],
            ..StreamingOutputCallRequest::default()
        };
        sender.try_send(message).map_err(|_| "no room for the request")?;
        let mut messages = client.full_duplex_call(requests).await?.into_inner();
        places.push(next(&mut messages).await?.peer_socket_address);
        open.push((sender, messages));
    }
    equal("the second stream's connection", &places[1], &places[0])?;
    equal("whether the third has one of its own", &(places[2] != places[0]), &true)
}
