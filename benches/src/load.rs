//! A closed loop of calls of one kind: how fast the client is.
//!
//! So many channels of one connection each, so many calls at once on each; with several workers the connections are dealt out to
//! them. What it prints is one line of JSON, the same as its peers print.
//!
//! Invariant: a call that fails, or that is answered with another size or number than was asked for, ends the run. Does not: look
//! into what is answered any further; the suites do.

use std::error::Error;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use corelane::client::{Channel, Engine, Workers, spawn_local};
use corelane::{Status, Streaming, stream};

use crate::proto::bench_client::BenchClient;
use crate::proto::{Reply, Request};
use crate::service::zeros;

/// The largest message that is accepted: the largest payload that the service sends, and what is around it.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// How long calls took, in nanoseconds; what takes longer than four seconds counts as that. A quarter of what a `Duration` takes:
/// filling fresh pages is CPU time, too, and would be taken for the client's.
type Latencies = Vec<u32>;

/// The shape of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message each way.
    Unary,
    /// Many replies.
    Download,
    /// Many requests.
    Upload,
    /// Many of both.
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

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the server listens, on 127.0.0.1.
    pub port: u16,
    /// What is called.
    pub kind: Kind,
    /// Connections.
    pub connections: usize,
    /// Calls at once on each.
    pub streams: usize,
    /// Calls in all; what does not divide evenly is left out.
    pub calls: usize,
    /// Octets of payload in each request.
    pub request_size: usize,
    /// Octets of payload in each reply.
    pub response_size: u32,
    /// Messages of a stream.
    pub messages: u32,
    /// Workers that make the calls.
    pub workers: usize,
    /// For how long each of them spins before it sleeps.
    pub spin: Duration,
}

/// Makes the calls, and gives the line that says how it went.
///
/// # Errors
/// If the workers cannot be started, the server not be reached, or a call fails.
pub fn run(load: Load) -> Result<String, Box<dyn Error>> {
    let engine = Engine::builder().workers(Workers::Count(load.workers)).spin(load.spin).start()?;
    let started = Instant::now();
    let mut latencies = match load.workers {
        1 => engine.block_on(move || drive(load))?,
        _ => share_out(&engine, &load)?,
    };
    let elapsed = started.elapsed();
    let calls = latencies.len();
    // Three of them are wanted, and to sort all would be taken for the client's time.
    let mut at = |thousandths: usize| {
        let index = calls.saturating_sub(1) * thousandths / 1000;
        if calls == 0 { 0.0 } else { f64::from(*latencies.select_nth_unstable(index).1) / 1e3 }
    };
    let (p50, p99, p999) = (at(500), at(990), at(999));
    #[allow(clippy::cast_precision_loss, reason = "nobody makes 2^52 calls")]
    let rate = calls as f64 / elapsed.as_secs_f64();
    Ok(format!(
        "{{\"calls\": {}, \"calls_per_s\": {rate:.0}, \"p50_us\": {p50:.1}, \"p99_us\": {p99:.1}, \"p999_us\": {p999:.1}}}",
        calls
    ))
}

/// Has each worker drive its share of the connections, and the calls that belong to them.
fn share_out(engine: &Engine, load: &Load) -> Result<Latencies, Box<dyn Error>> {
    let (sender, receiver) = mpsc::channel();
    for worker in 0..load.workers {
        let connections =
            load.connections / load.workers + usize::from(worker < load.connections % load.workers);
        let calls = load.calls * connections / load.connections.max(1);
        let (share, sender) = (Load { connections, calls, ..load.clone() }, sender.clone());
        engine.spawn_on(worker, move || async move {
            // Nobody listens once another worker's share has failed.
            let _ = sender.send(drive(share).await);
        })?;
    }
    drop(sender);
    let mut latencies = Latencies::with_capacity(load.calls);
    for _ in 0..load.workers {
        latencies.extend(receiver.recv()??);
    }
    Ok(latencies)
}

async fn drive(load: Load) -> Result<Latencies, Status> {
    let each = load.calls / (load.connections * load.streams).max(1);
    let (done, mut ended) = stream::channel((load.connections * load.streams).max(1));
    for _ in 0..load.connections {
        let target = format!("ipv4:127.0.0.1:{}", load.port);
        let channel = Channel::builder(target).connections(1, 1).connect().await?;
        for _ in 0..load.streams {
            let client = BenchClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
            let (load, done) = (load.clone(), done.clone());
            spawn_local(async move {
                let latencies = slot(&client, &load, each).await;
                // There is room for every slot's result, unless the run was given up.
                let _ = done.try_send(latencies);
            });
        }
    }
    drop(done);
    let mut latencies = Vec::with_capacity(load.calls);
    while let Some(slot) = ended.recv().await {
        latencies.extend(slot?);
    }
    Ok(latencies)
}

/// One call after the other. The clock is read once for each: where one ends the next one begins.
async fn slot(client: &BenchClient, load: &Load, calls: usize) -> Result<Latencies, Status> {
    let payload = zeros(load.request_size)?;
    let request = Request { payload, response_size: load.response_size, messages: load.messages };
    let mut latencies = Latencies::with_capacity(calls);
    let mut began = Instant::now();
    for _ in 0..calls {
        call(client, load.kind, &request).await?;
        let ended = Instant::now();
        latencies.push(u32::try_from((ended - began).as_nanos()).unwrap_or(u32::MAX));
        began = ended;
    }
    Ok(latencies)
}

async fn call(client: &BenchClient, kind: Kind, request: &Request) -> Result<(), Status> {
    match kind {
        Kind::Unary => check(client.unary(request.clone()).await?.get_ref(), request),
        // Boxed: a future is as large as the largest of its branches, and a program that makes unary calls has no other.
        Kind::Download => Box::pin(download(client, request)).await,
        Kind::Upload => Box::pin(upload(client, request)).await,
        Kind::Chat => Box::pin(chat(client, request)).await,
    }
}

async fn download(client: &BenchClient, request: &Request) -> Result<(), Status> {
    all(client.download(request.clone()).await?.into_inner(), request).await
}

async fn upload(client: &BenchClient, request: &Request) -> Result<(), Status> {
    let summary = client.upload(requests(request)).await?.into_inner();
    let octets = u64::from(request.messages) * request.payload.len() as u64;
    if (summary.messages, summary.bytes) == (u64::from(request.messages), octets) {
        Ok(())
    } else {
        Err(Status::data_loss(format!("{summary:?} of {} messages arrived", request.messages)))
    }
}

async fn chat(client: &BenchClient, request: &Request) -> Result<(), Status> {
    all(client.chat(requests(request)).await?.into_inner(), request).await
}

fn requests(request: &Request) -> impl corelane::codegen::Stream<Item = Request> + 'static {
    let request = request.clone();
    stream::iter((0..request.messages).map(move |_| request.clone()))
}

/// Reads a stream to its end.
async fn all(mut replies: Streaming<Reply>, request: &Request) -> Result<(), Status> {
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
    let (found, wanted) = (reply.payload.len(), request.response_size);
    if u32::try_from(found) == Ok(wanted) {
        Ok(())
    } else {
        Err(Status::data_loss(format!("a reply has {found} octets, {wanted} were asked for")))
    }
}
