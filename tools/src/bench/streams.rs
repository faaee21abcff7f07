//! Streaming calls, sent with our own client: one worker for each lane, its connections, and a task for each slot.
//!
//! Messages are octets here: what is sent was encoded once, and what comes is counted, and decoded now and then.
//!
//! Does not: decide when calls are sent or what is made of their times; the lane does. Unary calls are `lean.rs`'s.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use corelane::client::{Backend, Caller, Engine, Method, SharedChannel, Workers};
use corelane::codegen::Codec;
use corelane::prost::bytes::Bytes;
use corelane::{Request, Response, Status, Streaming, stream, time};

use crate::bench::args::{Bench, Kind};
use crate::bench::drive::{Lane, Load};
use crate::bench::recorder::{Call, Failure, Recorder, Traffic};
use crate::bench::schedule::Claim;
use crate::bench::shot::{self, Answer, Shot};

/// The engine's timers ring up to a millisecond late; nearer to its time than this, a call waits turn by turn.
const TIMER_LATE: Duration = Duration::from_millis(2);
/// How often the end of a run is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// The largest response.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// Every so many responses one is decoded.
const SAMPLE: u32 = 1_024;

/// Calls of a kind, over channels of one connection each.
pub(crate) struct Transport {
    channels: Vec<SharedChannel>,
    workers: Workers,
    backend: Backend,
    shot: Shot,
    method: Method,
}

impl Transport {
    /// The transport for calls like `shot`.
    ///
    /// # Errors
    /// Flags that cannot be followed, files that cannot be read.
    pub(crate) fn new(options: &Bench, shot: Shot, workers: Workers) -> Result<Transport, String> {
        let one = || shot::channel(options)?.build().map_err(|error| error.to_string());
        let channels = (0..options.connections).map(|_| one()).collect::<Result<_, _>>()?;
        // The process makes one run.
        let method = Method::new(Box::leak(shot.path.clone().into_boxed_str()));
        Ok(Transport { channels, workers, backend: options.backend.into(), shot, method })
    }
}

/// Messages that stay as they are: sent as they were encoded, received as a length.
#[derive(Clone)]
struct Raw {
    answer: Rc<Answer>,
    until_sample: Rc<Cell<u32>>,
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = u64;

    fn encode(&self, message: &Bytes, out: &mut Vec<u8>) -> Result<(), Status> {
        out.extend_from_slice(message);
        Ok(())
    }

    fn decode(&self, message: &[u8]) -> Result<u64, Status> {
        let left = self.until_sample.get();
        self.until_sample.set(left.checked_sub(1).unwrap_or(SAMPLE - 1));
        if left == 0 && !self.answer.is(message) {
            return Err(Status::internal("the response cannot be decoded"));
        }
        Ok(u64::try_from(message.len()).unwrap_or(u64::MAX))
    }
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
            let (shot, method, sender) = (self.shot.clone(), self.method, sender.clone());
            engine.spawn_on(worker % engine.workers(), move || async move {
                // Nobody waits once another lane has failed.
                let _ = sender.send(drive(lane, mine, shot, method).await);
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
    method: Method,
    codec: Raw,
}

impl Range {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

async fn drive(
    mut lane: Lane,
    channels: Vec<SharedChannel>,
    shot: Shot,
    method: Method,
) -> Result<Recorder, String> {
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
        codec: Raw { answer: Rc::new(shot.answer.clone()), until_sample: Rc::default() },
        shot,
        method,
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
        let answer = range.fire(caller).await;
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

impl Range {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !self.shot.metadata.is_empty() {
            *request.metadata_mut() = self.shot.metadata.clone();
        }
        if let Some(deadline) = self.shot.deadline {
            request.set_timeout(deadline);
        }
        request
    }

    fn requests(&self) -> impl corelane::codegen::Stream<Item = Bytes> + 'static {
        let request = self.shot.request.clone();
        stream::iter((0..self.shot.messages).map(move |_| request.clone()))
    }

    async fn fire(&self, caller: &Caller) -> Result<Traffic, Status> {
        let (shot, method) = (&self.shot, self.method);
        let messages = match shot.kind {
            Kind::Unary | Kind::Download => 1,
            Kind::Upload | Kind::Chat => u64::from(shot.messages),
        };
        let bytes_sent = messages * u64::try_from(shot.request.len()).unwrap_or(u64::MAX);
        let mut traffic = Traffic { messages_sent: messages, bytes_sent, ..Traffic::default() };
        let codec = self.codec.clone();
        match shot.kind {
            Kind::Unary => {
                let answer = caller.unary(method, codec, self.request(shot.request.clone())).await?;
                count(&mut traffic, *answer.get_ref());
            }
            Kind::Download => {
                let request = self.request(shot.request.clone());
                drain(&mut traffic, caller.server_streaming(method, codec, request).await?).await?;
            }
            Kind::Upload => {
                let request = self.request(self.requests());
                count(&mut traffic, *caller.client_streaming(method, codec, request).await?.get_ref());
            }
            Kind::Chat => {
                let request = self.request(self.requests());
                drain(&mut traffic, caller.bidi(method, codec, request).await?).await?;
            }
        }
        Ok(traffic)
    }
}

fn count(traffic: &mut Traffic, bytes: u64) {
    traffic.messages_received += 1;
    traffic.bytes_received += bytes;
}

async fn drain(traffic: &mut Traffic, answer: Response<Streaming<u64>>) -> Result<(), Status> {
    let mut messages = answer.into_inner();
    while let Some(bytes) = messages.message().await? {
        count(traffic, bytes);
    }
    Ok(())
}
