//! What the connections of one worker share: the lane with its schedule and figures, and what every call sends.
//!
//! Does not: know of connections.
//!
//! Invariant: `in_flight` calls were sent and have not been told to the lane.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use corelane_wire::grpc::timeout;
use corelane_wire::{FieldList, Name};

use crate::bench::drive::Lane;
use crate::bench::recorder::{Call, Failure, Recorder, Traffic};
use crate::bench::schedule::Claim;
use crate::bench::shot::{Answer, Shot};

use super::aim::Aim;

/// As gRPC's documents say: `grpc-` language, and variant if any, `/` version.
const USER_AGENT: &str = concat!("grpc-rust-corelane-bench/", env!("CARGO_PKG_VERSION"));

/// Every so many responses one is decoded.
const SAMPLE: u32 = 1_024;

/// What every call is made of.
#[derive(Clone)]
pub(super) struct Round {
    pub(super) head: FieldList,
    /// The message with its prefix.
    pub(super) request: Vec<u8>,
    /// Of the message without its prefix.
    pub(super) request_bytes: u64,
    pub(super) deadline: Option<Duration>,
    pub(super) answer: Answer,
}

impl Round {
    pub(super) fn new(shot: &Shot, aim: &Aim) -> Round {
        let mut head = FieldList::new();
        head.push_known(Name::Method, b"POST");
        head.push_known(Name::Scheme, aim.scheme().as_bytes());
        head.push_known(Name::Path, shot.path.as_bytes());
        head.push_known(Name::Authority, aim.authority.as_bytes());
        head.push_known(Name::Te, b"trailers");
        head.push_known(Name::ContentType, b"application/grpc");
        head.push(b"user-agent", USER_AGENT.as_bytes());
        if let Some(deadline) = shot.deadline {
            let mut value = Vec::new();
            timeout::format(deadline, &mut value);
            head.push_known(Name::GrpcTimeout, &value);
        }
        shot.metadata.append_to(&mut head);
        let length = u32::try_from(shot.request.len()).expect("a message has less than 4 GiB");
        let mut request = vec![0];
        request.extend_from_slice(&length.to_be_bytes());
        request.extend_from_slice(&shot.request);
        let (deadline, answer) = (shot.deadline, shot.answer.clone());
        Round { head, request, request_bytes: length.into(), deadline, answer }
    }
}

/// See the module.
pub(super) struct Range {
    pub(super) round: Round,
    /// `None` before the run has begun and when it is over.
    lane: RefCell<Option<Lane>>,
    /// A call that was claimed and cannot be sent yet: its time has not come, or its connection has gone.
    ahead: Cell<Option<u64>>,
    /// Nothing more is to be claimed.
    over: Cell<bool>,
    in_flight: Cell<u64>,
    until_sample: Cell<u32>,
}

impl Range {
    pub(super) fn new(round: Round) -> Range {
        Range {
            round,
            lane: RefCell::default(),
            ahead: Cell::new(None),
            over: Cell::new(false),
            in_flight: Cell::new(0),
            // The first one tells most.
            until_sample: Cell::new(0),
        }
    }

    pub(super) fn begin(&self, mut lane: Lane, now_ns: u64) {
        lane.begin(now_ns);
        *self.lane.borrow_mut() = Some(lane);
    }

    /// The intended time of a call that is to be sent now, if there is one.
    #[inline]
    pub(super) fn next(&self, now_ns: u64) -> Option<u64> {
        let intended_ns = match self.ahead.take() {
            Some(intended_ns) => intended_ns,
            None => match self.lane.borrow_mut().as_mut()?.claim(now_ns) {
                Claim::Send { intended_ns } => intended_ns,
                Claim::Over => {
                    self.over.set(true);
                    return None;
                }
            },
        };
        if intended_ns > now_ns {
            self.ahead.set(Some(intended_ns));
            return None;
        }
        Some(intended_ns)
    }

    /// Gives a call back that could not be sent.
    pub(super) fn put_back(&self, intended_ns: u64) {
        self.ahead.set(Some(intended_ns));
    }

    /// When the next call is due, if that is known; [`next`](Self::next) finds out.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.ahead.get()
    }

    #[inline]
    pub(super) fn sent(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// A call that was sent has ended.
    #[inline]
    pub(super) fn ended(&self, call: Call<'_>) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.told(call);
    }

    /// Fails up to `count` calls that are due: there is no connection to send them on.
    pub(super) fn fail(&self, count: u32, now_ns: u64, failure: Failure<'_>) {
        for _ in 0..count {
            let Some(intended_ns) = self.next(now_ns) else { return };
            self.told(Call {
                intended_ns,
                started_ns: now_ns,
                ended_ns: now_ns,
                traffic: Traffic::default(),
                outcome: Err(failure),
            });
        }
    }

    #[inline]
    fn told(&self, call: Call<'_>) {
        if let Some(lane) = &mut *self.lane.borrow_mut() {
            lane.ended(call);
        }
    }

    /// Whether the response to the next call is to be decoded.
    #[inline]
    pub(super) fn is_sample(&self) -> bool {
        let left = self.until_sample.get();
        self.until_sample.set(left.checked_sub(1).unwrap_or(SAMPLE - 1));
        left == 0
    }

    /// Whether nothing is left to send or to wait for.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        let lane = self.lane.borrow();
        let Some(lane) = lane.as_ref() else { return true };
        let is_done = self.over.get() && self.in_flight.get() == 0 && self.ahead.get().is_none();
        is_done || lane.is_stopped() || now_ns >= lane.give_up_ns()
    }

    /// Ends the run; what comes later is not counted.
    pub(super) fn finish(&self, now_ns: u64) -> Option<Recorder> {
        let lane = self.lane.borrow_mut().take()?;
        let is_waiting = self.ahead.get().is_some_and(|intended_ns| intended_ns <= now_ns);
        Some(lane.finish(now_ns, self.in_flight.get() + u64::from(is_waiting)))
    }
}
