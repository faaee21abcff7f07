//! Sends the calls of a run with our own client: one worker for each lane, its connections, and a task for each slot.
//!
//! Does not: decide when calls are sent or what is made of their times; the lane does.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fs;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use corelane::client::{Caller, Channel, ClientTls, Engine, Method, SharedChannel, Workers};
use corelane::prost::Message as _;
use corelane::prost::bytes::Bytes;
use corelane::{Metadata, ProstCodec, Request, Response, Status, Streaming, stream, time};

use crate::bench::args::{Bench, Kind};
use crate::bench::drive::{Lane, Load};
use crate::bench::recorder::{Call, Failure, Recorder, Traffic};
use crate::bench::schedule::Claim;

/// What is generated from `proto/bench`.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated")]
mod proto {
    corelane::include_proto!("bench.v1");
}

/// The engine's timers ring up to a millisecond late; nearer to its time than this, a call waits turn by turn.
const TIMER_LATE: Duration = Duration::from_millis(2);
/// How often the end of a run is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// The largest response.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Calls of a kind, over channels of one connection each.
pub(crate) struct Transport {
    channels: Vec<SharedChannel>,
    workers: Workers,
    backend: corelane::client::Backend,
    shot: Shot,
}

/// One call, as it is made over and over.
#[derive(Clone)]
struct Shot {
    kind: Kind,
    method: Method,
    request: proto::Request,
    messages: u32,
    metadata: Metadata,
    deadline: Option<Duration>,
}

impl Transport {
    /// The transport for these flags.
    ///
    /// # Errors
    /// Flags that cannot be followed, files that cannot be read.
    pub(crate) fn new(options: &Bench) -> Result<Transport, String> {
        if options.data.is_some() || !options.proto.is_empty() {
            return Err(
                "--data and --proto are not offered yet: METHOD is called with an empty message".to_owned()
            );
        }
        let mut metadata = Metadata::new();
        options.metadata.iter().for_each(|entry| entry.append_to(&mut metadata));
        let request = proto::Request {
            payload: Bytes::from(vec![0; usize::try_from(options.request_size.unwrap_or(0)).unwrap_or(0)]),
            response_size: options.response_size.unwrap_or(0),
            messages: options.messages.unwrap_or(1),
        };
        let (kind, request) = match options.method {
            None => (options.kind(), request),
            Some(_) => (Kind::Unary, proto::Request::default()),
        };
        // The process makes one run.
        let method = Method::new(Box::leak(format!("/{}", options.method_path()).into_boxed_str()));
        let messages = options.messages.unwrap_or(1);
        let tls = tls(options)?;
        let count = usize::try_from(options.connections).unwrap_or(usize::MAX);
        let channels = (0..count).map(|_| channel_of(options, tls.as_ref())).collect::<Result<_, _>>()?;
        let workers = match &options.workers {
            Some(crew) => crew.0.clone(),
            None => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                Workers::Count(options.workers_count(cores))
            }
        };
        let shot = Shot { kind, method, request, messages, metadata, deadline: options.deadline };
        Ok(Transport { channels, workers, backend: options.backend.into(), shot })
    }
}

/// A channel of one connection.
fn channel_of(options: &Bench, tls: Option<&ClientTls>) -> Result<SharedChannel, String> {
    let target = match options.target.strip_prefix("unix:") {
        Some(_) => options.target.clone(),
        None if options.target.contains("//") => options.target.clone(),
        None => format!("dns:///{}", options.target),
    };
    let mut builder = Channel::builder(target).connections(1, 1);
    if let Some(authority) = &options.authority {
        builder = builder.authority(authority);
    }
    if let Some(tls) = tls {
        builder = builder.tls(tls.clone());
    }
    builder.build().map_err(|error| error.to_string())
}

fn tls(options: &Bench) -> Result<Option<ClientTls>, String> {
    if !options.tls {
        return Ok(None);
    }
    let read =
        |path: &std::path::Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut builder = ClientTls::builder();
    builder = match &options.ca {
        Some(ca) => builder.ca_pem(read(ca)?),
        None if options.insecure => builder.danger_accept_any_certificate(),
        None => builder.roots_native(),
    };
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        builder = builder.identity_pem(read(cert)?, read(key)?);
    }
    builder.build().map(Some).map_err(|error| error.to_string())
}

impl Load for Transport {
    fn run(&self, lanes: Vec<Lane>) -> Result<Vec<Recorder>, Box<dyn Error>> {
        let engine = Engine::start_on(self.workers.clone(), self.backend)?;
        let (sender, results) = channel();
        let mut channels = self.channels.iter();
        let count = lanes.len();
        for (worker, lane) in lanes.into_iter().enumerate() {
            let mine: Vec<SharedChannel> =
                channels.by_ref().take(usize::try_from(lane.connections())?).cloned().collect();
            let (shot, sender) = (self.shot.clone(), sender.clone());
            engine.spawn_on(worker % engine.workers(), move || async move {
                // Nobody waits once another lane has failed.
                let _ = sender.send(drive(lane, mine, shot).await);
            })?;
        }
        drop(sender);
        let recorders = results.iter().take(count).collect::<Result<Vec<_>, String>>()?;
        if recorders.len() < count {
            return Err("a worker ended before its run did".into());
        }
        Ok(recorders)
    }
}

/// What the slots of a lane share.
struct Range {
    /// `None` once the run is over.
    lane: RefCell<Option<Lane>>,
    origin: Instant,
    slots: Cell<u64>,
    in_flight: Cell<u64>,
    shot: Shot,
}

impl Range {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

async fn drive(mut lane: Lane, channels: Vec<SharedChannel>, shot: Shot) -> Result<Recorder, String> {
    let mut connected = Vec::new();
    for channel in channels {
        let channel = channel.local();
        channel.ready().await.map_err(|status| status.to_string())?;
        connected.push(channel);
    }
    lane.ready().map_err(|given_up| given_up.to_string())?;
    let streams = lane.streams();
    let range = Range {
        lane: RefCell::default(),
        origin: Instant::now(),
        slots: Cell::new(0),
        in_flight: Cell::new(0),
        shot,
    };
    lane.begin(range.now_ns());
    let range = Rc::new(range);
    *range.lane.borrow_mut() = Some(lane);
    for channel in connected {
        let mut caller = Caller::new(channel);
        caller.max_decoding_message_size(RESPONSE_BYTES_MAX);
        for _ in 0..streams {
            range.slots.set(range.slots.get() + 1);
            let (range, caller) = (range.clone(), caller.clone());
            corelane::client::spawn_local(async move {
                slot(&range, &caller).await;
                range.slots.set(range.slots.get() - 1);
            });
        }
    }
    loop {
        time::sleep(LOOK).await;
        let is_over = range.lane.borrow().as_ref().is_none_or(|lane| {
            range.slots.get() == 0 || lane.is_stopped() || range.now_ns() >= lane.give_up_ns()
        });
        if is_over {
            break;
        }
    }
    let lane = range.lane.borrow_mut().take();
    let lane = lane.ok_or("the run was finished twice")?;
    Ok(lane.finish(range.now_ns(), range.in_flight.get()))
}

/// One call after the other.
async fn slot(range: &Range, caller: &Caller) {
    loop {
        let now = range.now_ns();
        let claim = range.lane.borrow_mut().as_mut().map(|lane| lane.claim(now));
        let Some(Claim::Send { intended_ns }) = claim else { return };
        wait_until(range, intended_ns).await;
        let started_ns = range.now_ns();
        range.in_flight.set(range.in_flight.get() + 1);
        let answer = range.shot.fire(caller).await;
        range.in_flight.set(range.in_flight.get() - 1);
        let ended_ns = range.now_ns();
        let (traffic, failed) = match &answer {
            Ok(traffic) => (*traffic, None),
            Err(status) => (Traffic::default(), Some(status)),
        };
        let outcome =
            failed.map_or(Ok(()), |status| Err(Failure { code: status.code(), text: status.message() }));
        if let Some(lane) = range.lane.borrow_mut().as_mut() {
            lane.ended(Call { intended_ns, started_ns, ended_ns, traffic, outcome });
        }
    }
}

async fn wait_until(range: &Range, intended_ns: u64) {
    loop {
        let left = Duration::from_nanos(intended_ns.saturating_sub(range.now_ns()));
        if left.is_zero() {
            return;
        }
        match left.checked_sub(TIMER_LATE) {
            Some(early) if !early.is_zero() => time::sleep(early).await,
            _ => time::yield_now().await,
        }
    }
}

type Bytewise = ProstCodec<proto::Request, proto::Reply>;

impl Shot {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !self.metadata.is_empty() {
            *request.metadata_mut() = self.metadata.clone();
        }
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        request
    }

    fn requests(&self) -> impl corelane::codegen::Stream<Item = proto::Request> + 'static {
        let request = self.request.clone();
        stream::iter((0..self.messages).map(move |_| request.clone()))
    }

    async fn fire(&self, caller: &Caller) -> Result<Traffic, Status> {
        let mut traffic = Traffic::default();
        let sent = u64::try_from(self.request.encoded_len()).unwrap_or(u64::MAX);
        let messages = match self.kind {
            Kind::Unary | Kind::Download => 1,
            Kind::Upload | Kind::Chat => u64::from(self.messages),
        };
        (traffic.messages_sent, traffic.bytes_sent) = (messages, messages * sent);
        match self.kind {
            Kind::Unary => {
                let answer =
                    caller.unary(self.method, Bytewise::new(), self.request(self.request.clone())).await?;
                count(&mut traffic, answer.get_ref().encoded_len());
            }
            Kind::Download => {
                let request = self.request(self.request.clone());
                let answer = caller.server_streaming(self.method, Bytewise::new(), request).await?;
                drain(&mut traffic, answer).await?;
            }
            Kind::Upload => {
                let codec = ProstCodec::<proto::Request, proto::Summary>::new();
                let answer =
                    caller.client_streaming(self.method, codec, self.request(self.requests())).await?;
                count(&mut traffic, answer.get_ref().encoded_len());
            }
            Kind::Chat => {
                let answer = caller.bidi(self.method, Bytewise::new(), self.request(self.requests())).await?;
                drain(&mut traffic, answer).await?;
            }
        }
        Ok(traffic)
    }
}

fn count(traffic: &mut Traffic, bytes: usize) {
    traffic.messages_received += 1;
    traffic.bytes_received += u64::try_from(bytes).unwrap_or(u64::MAX);
}

async fn drain(traffic: &mut Traffic, answer: Response<Streaming<proto::Reply>>) -> Result<(), Status> {
    let mut messages = answer.into_inner();
    while let Some(message) = messages.message().await? {
        count(traffic, message.encoded_len());
    }
    Ok(())
}
