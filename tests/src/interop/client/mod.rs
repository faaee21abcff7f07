//! The client of gRPC's interoperability suite: each case as its description has it, against whichever server.
//!
//! A case gives an error that says what was expected and what came. Does not: choose cases, or end the program.

mod compressed;
mod load;
mod negative;
mod plain;
mod soak;
mod streams;

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use corelane::client::{Channel, ChannelBuilder};
use corelane::codegen::Stream;
use corelane::tls::ClientTls;
use corelane::{Code, Status};

use crate::protos::grpc::testing::test_service_client::TestServiceClient;
use crate::protos::grpc::testing::{Payload, SimpleRequest};

/// What a case comes to.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Every case that needs no cloud, the negative ones of HTTP/2 included.
pub const CASES: &[&str] = &[
    "cancel_after_begin",
    "cancel_after_first_response",
    "channel_soak",
    "client_compressed_streaming",
    "client_compressed_unary",
    "client_streaming",
    "concurrent_large_unary",
    "custom_metadata",
    "data_frame_padding",
    "empty_stream",
    "empty_unary",
    "goaway",
    "large_unary",
    "long_lived_channel",
    "max_concurrent_streams_connection_scaling",
    "max_streams",
    "no_df_padding_sanity_test",
    "orca_oob",
    "orca_per_rpc",
    "pick_first_unary",
    "ping",
    "ping_pong",
    "rpc_soak",
    "rst_after_data",
    "rst_after_header",
    "rst_during_data",
    "server_compressed_streaming",
    "server_compressed_unary",
    "server_streaming",
    "special_status_message",
    "status_code_and_message",
    "timeout_on_sleeping_server",
    "unimplemented_method",
    "unimplemented_service",
];

/// Octets of large_unary's request.
const LARGE_REQUEST: usize = 271_828;
/// Octets of large_unary's response.
const LARGE_RESPONSE: i32 = 314_159;

/// Where the server is, and how long the soak cases take.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `host:port`.
    pub address: String,
    /// How connections are secured; plaintext without.
    pub tls: Option<ClientTls>,
    /// The server's name in `:authority` and in its certificate, where it is not the address's.
    pub host_override: Option<String>,
    /// Calls of a soak case.
    pub iterations: u32,
    /// Calls of a soak case at once.
    pub concurrency: u32,
    /// The longest that a call of a soak case may take.
    pub iteration_time_max: Duration,
    /// Calls that may take longer, or fail.
    pub failures_max: u32,
    /// The pause between two calls of long_lived_channel.
    pub interval: Duration,
    /// Payloads of the soak cases.
    pub request_size: usize,
    /// Payloads of the soak cases.
    pub response_size: i32,
}

impl Setting {
    fn channel(&self) -> ChannelBuilder {
        let mut builder = Channel::builder(format!("dns:///{}", self.address));
        if let Some(tls) = &self.tls {
            builder = builder.tls(tls.clone());
        }
        match &self.host_override {
            Some(name) => builder.authority(name),
            None => builder,
        }
    }

    fn client(&self) -> Result<TestServiceClient, Box<dyn Error>> {
        Ok(TestServiceClient::new(self.channel().connect_lazy()?))
    }
}

/// Runs one case, on a worker.
///
/// # Errors
/// What was expected and did not come, or that there is no such case.
pub async fn run(setting: &Setting, case: &str) -> Outcome {
    match case {
        "empty_unary" => plain::empty_unary(setting).await,
        "large_unary" | "no_df_padding_sanity_test" | "data_frame_padding" => {
            plain::large_unary(setting).await
        }
        "custom_metadata" => plain::custom_metadata(setting).await,
        "status_code_and_message" => plain::status_code_and_message(setting).await,
        "special_status_message" => plain::special_status_message(setting).await,
        "unimplemented_method" => plain::unimplemented_method(setting).await,
        "unimplemented_service" => plain::unimplemented_service(setting).await,
        "concurrent_large_unary" => plain::concurrent_large_unary(setting).await,
        "pick_first_unary" => plain::pick_first_unary(setting).await,
        "client_streaming" => streams::client_streaming(setting).await,
        "server_streaming" => streams::server_streaming(setting).await,
        "ping_pong" => streams::ping_pong(setting).await,
        "empty_stream" => streams::empty_stream(setting).await,
        "cancel_after_begin" => streams::cancel_after_begin(setting).await,
        "cancel_after_first_response" => streams::cancel_after_first_response(setting).await,
        "timeout_on_sleeping_server" => streams::timeout_on_sleeping_server(setting).await,
        "max_concurrent_streams_connection_scaling" => streams::connection_scaling(setting).await,
        "client_compressed_unary" => compressed::client_unary(setting).await,
        "client_compressed_streaming" => compressed::client_streaming(setting).await,
        "server_compressed_unary" => compressed::server_unary(setting).await,
        "server_compressed_streaming" => compressed::server_streaming(setting).await,
        "orca_per_rpc" => load::per_call(setting).await,
        "orca_oob" => load::out_of_band(setting).await,
        "rpc_soak" => soak::calls(setting, soak::Channels::One).await,
        "channel_soak" => soak::calls(setting, soak::Channels::Many).await,
        "long_lived_channel" => soak::long_lived(setting).await,
        "goaway" => negative::goaway(setting).await,
        "rst_after_header" | "rst_during_data" | "rst_after_data" => negative::reset(setting).await,
        "ping" => plain::large_unary(setting).await,
        "max_streams" => negative::max_streams(setting).await,
        other => Err(format!("there is no case {other:?}; those that are: {}", CASES.join(", ")).into()),
    }
}

fn equal<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected:?}, found {found:?}").into())
    }
}

fn fails_with<T>(answer: Result<T, Status>, code: Code) -> Result<Status, Box<dyn Error>> {
    match answer {
        Err(status) if status.code() == code => Ok(status),
        Err(status) => Err(format!("expected {code}, found {status}").into()),
        Ok(_) => Err(format!("expected {code}, and the call succeeded").into()),
    }
}

fn zeros(size: usize) -> Payload {
    Payload { r#type: 0, body: vec![0; size] }
}

fn large() -> SimpleRequest {
    SimpleRequest {
        response_size: LARGE_RESPONSE,
        payload: Some(zeros(LARGE_REQUEST)),
        ..SimpleRequest::default()
    }
}

/// Octets of a payload, all of which must be zeros.
fn size(payload: Option<&Payload>) -> Result<usize, Box<dyn Error>> {
    let body = payload.map_or(&[][..], |payload| &payload.body);
    match body.iter().position(|byte| *byte != 0) {
        Some(at) => Err(format!("octet {at} of the payload is not a zero").into()),
        None => Ok(body.len()),
    }
}

fn sized(what: &str, payload: Option<&Payload>, expected: i32) -> Outcome {
    equal(what, &size(payload)?, &usize::try_from(expected)?)
}

/// Waits for all of these futures.
async fn all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

/// A stream of requests that the case feeds as it goes.
fn feed<T: 'static>() -> (corelane::stream::Sender<T>, impl Stream<Item = T> + 'static) {
    corelane::stream::channel(1)
}
