//! Calls with our own client: a channel for each connection, and a task for each slot.
//!
//! Messages are octets here: what is sent was encoded once, and what comes is counted, and decoded now and then.
//!
//! Does not: decide when calls are sent or what is made of their times; the lane does. Unary calls to one place are
//! `lean.rs`'s.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corelane::client::{Caller, Method, SharedChannel, spawn_local};
use corelane::codegen::Codec;
use corelane::prost::bytes::Bytes;
use corelane::{Request, Response, Status, Streaming, stream, time};

use crate::bench::args::{Bench, Kind};
use crate::bench::drive::{Lane, Load};
use crate::bench::recorder::{Call, Failure, Recorder, Traffic};
use crate::bench::schedule::Claim;
use crate::bench::spec::{self, Answer, Sampler, Spec};
use crate::bench::workers::{LOOK, Place, TIMER_LATE, Transport};

/// The largest response.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Calls of a kind, over channels of one connection each.
pub(crate) struct Streams {
    channels: Vec<SharedChannel>,
    place: Place,
    spec: Spec,
    method: Method,
}

impl Streams {
    /// Calls like `spec`.
    ///
    /// # Errors
    /// Flags that cannot be followed, files that cannot be read.
    pub(crate) fn new(options: &Bench, spec: Spec) -> Result<Streams, String> {
        let one = || spec::channel(options)?.build().map_err(|error| error.to_string());
        let channels = (0..options.connections).map(|_| one()).collect::<Result<_, _>>()?;
        // The process makes one run.
        let method = Method::new(Box::leak(spec.path.clone().into_boxed_str()));
        Ok(Streams { channels, place: options.place(), spec, method })
    }
}

impl Load for Streams {
    fn run(&self, lanes: Vec<Lane>) -> Result<Vec<Recorder>, Box<dyn Error>> {
        let mut channels = self.channels.iter().cloned();
        self.place.run(lanes, |lane| {
            let connections = usize::try_from(lane.connections()).expect("a u32 fits where Linux runs");
            let channels = channels.by_ref().take(connections).collect();
            Parts { channels, spec: self.spec.clone(), method: self.method }
        })
    }
}

/// What a worker is sent.
struct Parts {
    channels: Vec<SharedChannel>,
    spec: Spec,
    method: Method,
}

impl Transport for Parts {
    type Connected = (Vec<Caller>, Rc<Slots>);

    async fn connect(self, _: &Lane) -> Result<Self::Connected, String> {
        let mut callers = Vec::new();
        for channel in &self.channels {
            let channel = channel.local();
            channel.ready().await.map_err(|status| status.to_string())?;
            let mut caller = Caller::new(channel);
            caller.max_decoding_message_size(RESPONSE_BYTES_MAX);
            callers.push(caller);
        }
        Ok((callers, Rc::new(Slots::new(self.spec, self.method))))
    }

    async fn drive((callers, slots): Self::Connected, mut lane: Lane) -> Recorder {
        let streams = lane.streams();
        lane.begin(slots.now_ns());
        slots.measured_from_ns.set(lane.measured_from_ns());
        *slots.lane.borrow_mut() = Some(lane);
        for caller in callers {
            for _ in 0..streams {
                slots.busy.set(slots.busy.get() + 1);
                let (slots, caller) = (slots.clone(), caller.clone());
                spawn_local(async move {
                    slots.call(&caller).await;
                    slots.busy.set(slots.busy.get() - 1);
                });
            }
        }
        while !slots.are_over() {
            time::sleep(LOOK).await;
        }
        let lane = slots.lane.borrow_mut().take().expect("this task alone takes it");
        lane.finish(slots.now_ns(), slots.unfinished.get())
    }
}

/// Messages that stay as they are: sent as they were encoded, received as a length.
#[derive(Clone)]
struct Raw {
    answer: Rc<Answer>,
    samples: Rc<Sampler>,
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = u64;

    fn encode(&self, message: &Bytes, out: &mut Vec<u8>) -> Result<(), Status> {
        out.extend_from_slice(message);
        Ok(())
    }

    fn decode(&self, message: &[u8]) -> Result<u64, Status> {
        if self.samples.takes_next() && !self.answer.is(message) {
            return Err(Status::internal("the response cannot be decoded"));
        }
        Ok(u64::try_from(message.len()).unwrap_or(u64::MAX))
    }
}

/// What the slots of a lane share.
struct Slots {
    /// `None` before the run and once it is over.
    lane: RefCell<Option<Lane>>,
    origin: Instant,
    /// Slots that have not ended.
    busy: Cell<u64>,
    /// Calls in flight that are measured.
    unfinished: Cell<u64>,
    measured_from_ns: Cell<u64>,
    spec: Spec,
    method: Method,
    codec: Raw,
}

impl Slots {
    fn new(spec: Spec, method: Method) -> Slots {
        Slots {
            lane: RefCell::default(),
            origin: Instant::now(),
            busy: Cell::new(0),
            unfinished: Cell::new(0),
            measured_from_ns: Cell::new(0),
            codec: Raw { answer: Rc::new(spec.answer.clone()), samples: Rc::default() },
            spec,
            method,
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn are_over(&self) -> bool {
        let lane = self.lane.borrow();
        lane.as_ref().is_none_or(|lane| {
            self.busy.get() == 0 || lane.is_stopped() || self.now_ns() >= lane.give_up_ns()
        })
    }

    /// One slot: one call after the other.
    async fn call(&self, caller: &Caller) {
        loop {
            let now_ns = self.now_ns();
            let claim = self.lane.borrow_mut().as_mut().map(|lane| lane.claim(now_ns));
            let Some(Claim::Send { intended_ns }) = claim else { return };
            self.wait_until(intended_ns).await;
            let started_ns = self.now_ns();
            let measured = u64::from(intended_ns >= self.measured_from_ns.get());
            self.unfinished.set(self.unfinished.get() + measured);
            let mut traffic = Traffic::default();
            let answer = self.send(caller, &mut traffic).await;
            self.unfinished.set(self.unfinished.get() - measured);
            let ended_ns = self.now_ns();
            let failed = |status| Failure { code: Status::code(status), text: status.message() };
            let outcome = answer.as_ref().map_err(failed).copied();
            if let Some(lane) = self.lane.borrow_mut().as_mut() {
                lane.ended(Call { intended_ns, started_ns, ended_ns, traffic, outcome });
            }
        }
    }

    async fn wait_until(&self, intended_ns: u64) {
        loop {
            let left = Duration::from_nanos(intended_ns.saturating_sub(self.now_ns()));
            match left.checked_sub(TIMER_LATE) {
                _ if left.is_zero() => return,
                Some(early) if !early.is_zero() => time::sleep(early).await,
                _ => time::yield_now().await,
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !self.spec.metadata.is_empty() {
            *request.metadata_mut() = self.spec.metadata.clone();
        }
        if let Some(deadline) = self.spec.deadline {
            request.set_timeout(deadline);
        }
        request
    }

    fn requests(&self) -> impl corelane::codegen::Stream<Item = Bytes> + 'static {
        let request = self.spec.request.clone();
        stream::iter((0..self.spec.messages).map(move |_| request.clone()))
    }

    /// Makes a call, and notes in `traffic` what came of it until it succeeded or failed.
    async fn send(&self, caller: &Caller, traffic: &mut Traffic) -> Result<(), Status> {
        let (spec, method, codec) = (&self.spec, self.method, self.codec.clone());
        traffic.messages_sent = match spec.kind {
            Kind::Unary | Kind::Download => 1,
            Kind::Upload | Kind::Chat => spec.messages.into(),
        };
        traffic.bytes_sent = traffic.messages_sent * u64::try_from(spec.request.len()).unwrap_or(u64::MAX);
        match spec.kind {
            Kind::Unary => {
                let answer = caller.unary(method, codec, self.request(spec.request.clone())).await?;
                count(traffic, *answer.get_ref());
            }
            Kind::Download => {
                let request = self.request(spec.request.clone());
                drain(traffic, caller.server_streaming(method, codec, request).await?).await?;
            }
            Kind::Upload => {
                let request = self.request(self.requests());
                count(traffic, *caller.client_streaming(method, codec, request).await?.get_ref());
            }
            Kind::Chat => {
                let request = self.request(self.requests());
                drain(traffic, caller.bidi(method, codec, request).await?).await?;
            }
        }
        Ok(())
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
