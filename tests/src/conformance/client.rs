//! A client that makes the calls which the suite describes, and tells all that came.

use std::time::Duration;

use corelane::client::{Caller, Channel, Method};
use corelane::codegen::{Codec, Encoding};
use corelane::compression::Compression as Packing;
use corelane::prost::Message as _;
use corelane::prost_types::Any;
use corelane::stream::{self, Sender};
use corelane::{Code, Metadata, Request, Response, Status, Streaming, time};

use super::echo::{RpcStatus, add, headers_of};
use crate::protos::connectrpc::conformance::v1::client_compat_request::cancel::CancelTiming;
use crate::protos::connectrpc::conformance::v1::client_compat_response::Result as Answer;
use crate::protos::connectrpc::conformance::v1::{
    ClientCompatRequest, ClientCompatResponse, ClientErrorResult, ClientResponseResult, Compression, Error,
    StreamType, UnaryResponse,
};

const SERVICE: &str = "connectrpc.conformance.v1.ConformanceService";

/// Messages as bytes: requests come encoded, and all responses have their payload in the same field.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;

    fn encode(&self, item: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), Status> {
        out.extend_from_slice(item);
        Ok(())
    }

    fn decode(&self, payload: &[u8]) -> Result<Vec<u8>, Status> {
        Ok(payload.to_vec())
    }
}

/// Makes one call, on a worker.
pub async fn call(order: ClientCompatRequest) -> ClientCompatResponse {
    let test_name = order.test_name.clone();
    let result = match made(order).await {
        Ok(result) => Answer::Response(result),
        Err(message) => Answer::Error(ClientErrorResult { message }),
    };
    ClientCompatResponse { test_name, result: Some(result) }
}

async fn made(order: ClientCompatRequest) -> Result<ClientResponseResult, String> {
    if !order.server_tls_cert.is_empty() {
        return Err("this client is run in plaintext".to_owned());
    }
    let shape = order.stream_type();
    let target = format!("dns:///{}:{}", order.host, order.port);
    let channel = Channel::builder(target).connect_lazy().map_err(|error| error.to_string())?;
    let call = Call {
        caller: caller(channel, &order)?,
        method: method(&order, shape)?,
        order,
        result: ClientResponseResult::default(),
    };
    Ok(match shape {
        StreamType::Unary => call.unary().await,
        StreamType::ClientStream => call.client_stream().await,
        StreamType::ServerStream => call.server_stream().await,
        _ => call.bidi(shape == StreamType::FullDuplexBidiStream).await,
    })
}

fn caller(channel: Channel, order: &ClientCompatRequest) -> Result<Caller, String> {
    let mut caller = Caller::new(channel);
    caller.accept_uncompressed();
    let encoding = match order.compression() {
        Compression::Unspecified | Compression::Identity => None,
        Compression::Gzip => Some(Encoding::Gzip),
        Compression::Deflate => Some(Encoding::Deflate),
        Compression::Zstd => Some(Encoding::Zstd),
        other => return Err(format!("{other:?} is not offered")),
    };
    if let Some(encoding) = encoding {
        caller.send_compressed(encoding);
        caller.accept_compressed(encoding);
    }
    if order.message_receive_limit > 0 {
        caller.max_decoding_message_size(usize::try_from(order.message_receive_limit).unwrap_or(usize::MAX));
    }
    Ok(caller)
}

fn method(order: &ClientCompatRequest, shape: StreamType) -> Result<Method, String> {
    let usual = match shape {
        StreamType::Unary => "Unary",
        StreamType::ClientStream => "ClientStream",
        StreamType::ServerStream => "ServerStream",
        StreamType::HalfDuplexBidiStream | StreamType::FullDuplexBidiStream => "BidiStream",
        StreamType::Unspecified => return Err("no stream type".to_owned()),
    };
    let service = order.service.as_deref().unwrap_or(SERVICE);
    let name = order.method.as_deref().unwrap_or(usual);
    // Methods are the same few for each run, and live as long as it.
    Ok(Method::new(Box::leak(format!("/{service}/{name}").into_boxed_str())))
}

struct Call {
    caller: Caller,
    method: Method,
    order: ClientCompatRequest,
    result: ClientResponseResult,
}

impl Call {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        // What cannot be sent is the suite's mistake; the call then shows it.
        let _ = add(&self.order.request_headers, request.metadata_mut());
        if let Some(timeout) = self.order.timeout_ms {
            request.set_timeout(Duration::from_millis(timeout.into()));
        }
        request.extensions_mut().insert(Packing::Service);
        request
    }

    fn timing(&self) -> Option<CancelTiming> {
        self.order.cancel.as_ref()?.cancel_timing
    }

    async fn pause(&self) {
        if self.order.request_delay_ms > 0 {
            time::sleep(Duration::from_millis(self.order.request_delay_ms.into())).await;
        }
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        self.order.request_messages.iter().map(|message: &Any| message.value.clone()).collect()
    }

    async fn unary(mut self) -> ClientResponseResult {
        self.pause().await;
        let request = self.request(self.messages().into_iter().next().unwrap_or_default());
        let call = self.caller.unary(self.method, Raw, request);
        let answer = match self.timing() {
            Some(CancelTiming::AfterCloseSendMs(ms)) => within(ms, call).await,
            _ => Some(call.await),
        };
        self.single(answer);
        self.result
    }

    async fn client_stream(mut self) -> ClientResponseResult {
        let (sender, requests) = stream::channel(1);
        let caller = self.caller.clone();
        let mut call = Box::pin(caller.client_streaming(self.method, Raw, self.request(requests)));
        let (messages, delay, timing) = (self.messages(), self.order.request_delay_ms, self.timing());
        let mut sending = Box::pin(send_all(sender, messages, delay, timing));
        let mut unsent = None;
        let answer = std::future::poll_fn(|cx| {
            if unsent.is_none()
                && let std::task::Poll::Ready(sent) = sending.as_mut().poll(cx)
            {
                unsent = Some(sent.unsent);
                if sent.cancelled {
                    return std::task::Poll::Ready(None);
                }
            }
            call.as_mut().poll(cx).map(Some)
        })
        .await;
        drop((call, sending));
        self.result.num_unsent_requests = unsent.unwrap_or(0);
        self.single(answer);
        self.result
    }

    async fn server_stream(mut self) -> ClientResponseResult {
        self.pause().await;
        let request = self.request(self.messages().into_iter().next().unwrap_or_default());
        let cancel_after = match self.timing() {
            Some(CancelTiming::AfterCloseSendMs(ms)) => Some(ms),
            _ => None,
        };
        let answers = match cancel_after {
            Some(ms) => within(ms, self.caller.server_streaming(self.method, Raw, request)).await,
            None => Some(self.caller.server_streaming(self.method, Raw, request).await),
        };
        if let Some(mut answers) = self.opened(answers) {
            self.read(&mut answers, cancel_after).await;
        }
        self.result
    }

    async fn bidi(mut self, full_duplex: bool) -> ClientResponseResult {
        let (sender, requests) = stream::channel(1);
        let mut left = self.messages().into_iter();
        // The server's head may wait for the first message, so that one goes first.
        self.pause().await;
        let first = left.next();
        if let Some(first) = first {
            let _ = sender.try_send(first);
        }
        if !full_duplex {
            return self.half_duplex(sender, requests, left.collect()).await;
        }
        let opened = self.caller.bidi(self.method, Raw, self.request(requests)).await;
        let Some(mut answers) = self.opened(Some(opened)) else {
            self.result.num_unsent_requests = i32::try_from(left.len()).unwrap_or(i32::MAX);
            return self.result;
        };
        loop {
            if !self.next(&mut answers).await {
                self.result.num_unsent_requests = i32::try_from(left.len()).unwrap_or(i32::MAX);
                return self.result;
            }
            let Some(message) = left.next() else { break };
            self.pause().await;
            if sender.send(message).await.is_err() {
                self.result.num_unsent_requests = i32::try_from(left.len() + 1).unwrap_or(i32::MAX);
                break;
            }
        }
        self.close(sender, answers).await
    }

    async fn half_duplex(
        mut self,
        sender: Sender<Vec<u8>>,
        requests: stream::Receiver<Vec<u8>>,
        rest: Vec<Vec<u8>>,
    ) -> ClientResponseResult {
        let caller = self.caller.clone();
        let mut call = Box::pin(caller.bidi(self.method, Raw, self.request(requests)));
        let timing = self.timing();
        let mut sending = Box::pin(send_all(sender, rest, self.order.request_delay_ms, timing));
        let (mut opened, mut sent) = (None, None);
        std::future::poll_fn(|cx| {
            if sent.is_none()
                && let std::task::Poll::Ready(done) = sending.as_mut().poll(cx)
            {
                sent = Some(done);
            }
            if opened.is_none()
                && let std::task::Poll::Ready(ready) = call.as_mut().poll(cx)
            {
                opened = Some(ready);
            }
            let failed = matches!(opened, Some(Err(_)));
            let cancelled = sent.as_ref().is_some_and(|sent| sent.cancelled);
            if cancelled || failed || opened.is_some() && sent.is_some() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        let cancelled = sent.as_ref().is_some_and(|sent| sent.cancelled);
        self.result.num_unsent_requests = sent.map_or(0, |sent| sent.unsent);
        drop((call, sending));
        let Some(mut answers) = self.opened(if cancelled { None } else { opened }) else {
            return self.result;
        };
        self.read(&mut answers, None).await;
        self.result
    }

    /// The last request is sent: closes the stream of requests, or cancels, and reads what is left.
    async fn close(
        mut self,
        sender: Sender<Vec<u8>>,
        mut answers: Streaming<Vec<u8>>,
    ) -> ClientResponseResult {
        match self.timing() {
            Some(CancelTiming::BeforeCloseSend(())) => {
                self.cancelled();
                return self.result;
            }
            Some(CancelTiming::AfterCloseSendMs(ms)) => {
                drop(sender);
                self.read(&mut answers, Some(ms)).await;
            }
            _ => {
                drop(sender);
                self.read(&mut answers, None).await;
            }
        }
        self.result
    }

    /// Reads to the end, or until the call is to be cancelled.
    async fn read(&mut self, answers: &mut Streaming<Vec<u8>>, cancel_after: Option<u32>) {
        if let Some(ms) = cancel_after {
            if within(ms, async { while self.next(answers).await {} }).await.is_none() {
                self.cancelled();
            }
            return;
        }
        while self.next(answers).await {}
    }

    /// Reads one response; says whether there may be more.
    async fn next(&mut self, answers: &mut Streaming<Vec<u8>>) -> bool {
        if let Some(CancelTiming::AfterNumResponses(count)) = self.timing()
            && self.result.payloads.len() >= usize::try_from(count).unwrap_or(usize::MAX)
        {
            self.cancelled();
            return false;
        }
        match answers.message().await {
            Ok(Some(bytes)) => {
                self.payload(&bytes);
                true
            }
            Ok(None) => {
                self.trailers(&answers.take_trailers().unwrap_or_default());
                false
            }
            Err(status) => {
                self.failed(&status);
                false
            }
        }
    }

    fn single(&mut self, answer: Option<Result<Response<Vec<u8>>, Status>>) {
        match answer {
            None => self.cancelled(),
            Some(Err(status)) => self.failed(&status),
            Some(Ok(response)) => {
                self.result.response_headers = headers_of(response.metadata());
                self.trailers(response.trailers());
                self.payload(response.get_ref());
            }
        }
    }

    fn opened(
        &mut self,
        answer: Option<Result<Response<Streaming<Vec<u8>>>, Status>>,
    ) -> Option<Streaming<Vec<u8>>> {
        match answer {
            None => self.cancelled(),
            Some(Err(status)) => self.failed(&status),
            Some(Ok(response)) => {
                self.result.response_headers = headers_of(response.metadata());
                return Some(response.into_inner());
            }
        }
        None
    }

    fn payload(&mut self, bytes: &[u8]) {
        match UnaryResponse::decode(bytes) {
            // An empty response is one, too.
            Ok(response) => self.result.payloads.push(response.payload.unwrap_or_default()),
            Err(error) => self.failed(&Status::internal(format!("cannot decode the message: {error}"))),
        }
    }

    fn trailers(&mut self, trailers: &Metadata) {
        self.result.response_trailers = headers_of(trailers);
    }

    fn failed(&mut self, status: &Status) {
        self.trailers(status.metadata());
        let details = RpcStatus::decode(status.details()).map(|status| status.details).unwrap_or_default();
        let message = Some(status.message().to_owned());
        self.result.error = Some(Error { code: status.code() as i32, message, details });
    }

    fn cancelled(&mut self) {
        self.result.error = Some(Error { code: Code::Cancelled as i32, ..Error::default() });
    }
}

/// How far sending has come.
struct Sent {
    unsent: i32,
    cancelled: bool,
}

/// Sends all messages, closes the stream of requests, and says when the call is to be cancelled.
async fn send_all(
    sender: Sender<Vec<u8>>,
    messages: Vec<Vec<u8>>,
    delay_ms: u32,
    timing: Option<CancelTiming>,
) -> Sent {
    let mut left = messages.into_iter();
    while let Some(message) = left.next() {
        if delay_ms > 0 {
            time::sleep(Duration::from_millis(delay_ms.into())).await;
        }
        if sender.send(message).await.is_err() {
            return Sent { unsent: i32::try_from(left.len() + 1).unwrap_or(i32::MAX), cancelled: false };
        }
    }
    match timing {
        Some(CancelTiming::BeforeCloseSend(())) => Sent { unsent: 0, cancelled: true },
        Some(CancelTiming::AfterCloseSendMs(ms)) => {
            drop(sender);
            time::sleep(Duration::from_millis(ms.into())).await;
            Sent { unsent: 0, cancelled: true }
        }
        _ => Sent { unsent: 0, cancelled: false },
    }
}

/// What `call` comes to within so many milliseconds; nothing if it is given up then.
async fn within<F: Future>(ms: u32, call: F) -> Option<F::Output> {
    let mut call = std::pin::pin!(call);
    let mut alarm = std::pin::pin!(time::sleep(Duration::from_millis(ms.into())));
    std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}
