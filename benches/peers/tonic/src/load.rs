//! A closed loop of calls of one kind, as our own `bench-peer load` makes it.

use std::str::FromStr;
use std::time::{Duration, Instant};

use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::MESSAGE_BYTES_MAX;
use crate::pb::bench_client::BenchClient;
use crate::pb::{Reply, Request};

/// The shape of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Unary,
    Download,
    Upload,
    Chat,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        match text {
            "unary" => Ok(Kind::Unary),
            "download" => Ok(Kind::Download),
            "upload" => Ok(Kind::Upload),
            "chat" => Ok(Kind::Chat),
            other => Err(format!("{other:?} is none of unary, download, upload, chat")),
        }
    }
}

/// What is to be done: so many channels of one connection, so many calls at once on each.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) calls: usize,
    pub(crate) request: Request,
}

/// Makes the calls and gives the line that says how it went.
pub(crate) async fn run(load: Load) -> String {
    let mut slots = tokio::task::JoinSet::new();
    let started = Instant::now();
    let each = load.calls / (load.connections * load.streams).max(1);
    for _ in 0..load.connections {
        let channel = connect(load.port).await;
        for _ in 0..load.streams {
            let client = BenchClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
            slots.spawn(slot(client, load.kind, load.request.clone(), each));
        }
    }
    let latencies: Vec<u32> = slots.join_all().await.into_iter().flatten().collect();
    line(latencies, started.elapsed())
}

async fn connect(port: u16) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("a valid address");
    endpoint.tcp_nodelay(true).connect().await.expect("the server answers")
}

/// One call after the other; where one ends the next one begins.
async fn slot(mut client: BenchClient<Channel>, kind: Kind, request: Request, calls: usize) -> Vec<u32> {
    let mut latencies = Vec::with_capacity(calls);
    let mut began = Instant::now();
    for _ in 0..calls {
        call(&mut client, kind, &request).await.expect("the call succeeds");
        let ended = Instant::now();
        latencies.push(u32::try_from((ended - began).as_nanos()).unwrap_or(u32::MAX));
        began = ended;
    }
    latencies
}

async fn call(client: &mut BenchClient<Channel>, kind: Kind, request: &Request) -> Result<(), Status> {
    let count = request.messages;
    let requests = || {
        let request = request.clone();
        tokio_stream::iter((0..count).map(move |_| request.clone()))
    };
    match kind {
        Kind::Unary => check(client.unary(request.clone()).await?.get_ref(), request),
        Kind::Download => all(client.download(request.clone()).await?.into_inner(), request).await,
        Kind::Chat => all(client.chat(requests()).await?.into_inner(), request).await,
        Kind::Upload => {
            let summary = client.upload(requests()).await?.into_inner();
            if summary.messages == u64::from(count) {
                Ok(())
            } else {
                Err(Status::data_loss(format!("{summary:?} of {count} messages arrived")))
            }
        }
    }
}

async fn all(mut replies: tonic::Streaming<Reply>, request: &Request) -> Result<(), Status> {
    let mut count = 0;
    while let Some(reply) = replies.message().await? {
        check(&reply, request)?;
        count += 1;
    }
    if count == request.messages {
        Ok(())
    } else {
        Err(Status::data_loss(format!("{count} replies came, {} were asked for", request.messages)))
    }
}

fn check(reply: &Reply, request: &Request) -> Result<(), Status> {
    if reply.payload.len() == request.response_size as usize {
        Ok(())
    } else {
        Err(Status::data_loss(format!("a reply has {} octets", reply.payload.len())))
    }
}

fn line(mut latencies: Vec<u32>, elapsed: Duration) -> String {
    let calls = latencies.len();
    let mut at = |thousandths: usize| {
        let index = calls.saturating_sub(1) * thousandths / 1000;
        if calls == 0 { 0.0 } else { f64::from(*latencies.select_nth_unstable(index).1) / 1e3 }
    };
    let (p50, p99, p999) = (at(500), at(990), at(999));
    let rate = calls as f64 / elapsed.as_secs_f64();
    format!(
        "{{\"calls\": {calls}, \"calls_per_s\": {rate:.0}, \"p50_us\": {p50:.1}, \"p99_us\": {p99:.1}, \"p999_us\": {p999:.1}}}"
    )
}
