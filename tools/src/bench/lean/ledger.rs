//! What the connections of one worker share: the lane with its schedule and figures, and what every call sends.
//!
//! Does not: know of connections.
//!
//! Invariant: `in_flight` calls were sent and have not been told to the lane, `warming_up` of them in the warm-up.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use corelane_wire::grpc::timeout;
use corelane_wire::{FieldList, Name, hpack};

use crate::bench::drive::Lane;
use crate::bench::recorder::{Call, Failure, Recorder, Traffic};
use crate::bench::schedule::{Claim, Pace};
use crate::bench::spec::{Answer, Sampler, Spec};

use super::endpoint::Endpoint;

/// As gRPC's documents say: `grpc-` language, and variant if any, `/` version.
const USER_AGENT: &str = concat!("grpc-rust-corelane-bench/", env!("CARGO_PKG_VERSION"));

/// How many different things the user is told at most: a server may allow another number of streams each time.
const NOTES_MAX: usize = 8;

/// What every call is made of.
#[derive(Clone)]
pub(super) struct Template {
    pub(super) head: hpack::Template,
    /// The message with its prefix.
    pub(super) request: Vec<u8>,
    /// Of the message without its prefix.
    pub(super) request_bytes: u64,
    pub(super) deadline: Option<Duration>,
    pub(super) answer: Answer,
}

impl Template {
    pub(super) fn new(spec: &Spec, endpoint: &Endpoint) -> Template {
        let mut head = FieldList::new();
        head.push_known(Name::Method, b"POST");
        head.push_known(Name::Scheme, endpoint.scheme().as_bytes());
        head.push_known(Name::Path, spec.path.as_bytes());
        head.push_known(Name::Authority, endpoint.authority.as_bytes());
        head.push_known(Name::Te, b"trailers");
        head.push_known(Name::ContentType, b"application/grpc");
        head.push(b"user-agent", USER_AGENT.as_bytes());
        if let Some(deadline) = spec.deadline {
            let mut value = Vec::new();
            timeout::format(deadline, &mut value);
            head.push_known(Name::GrpcTimeout, &value);
        }
        spec.metadata.append_to(&mut head);
        let length = u32::try_from(spec.request.len()).expect("the spec has seen to it");
        let mut request = vec![0];
        request.extend_from_slice(&length.to_be_bytes());
        request.extend_from_slice(&spec.request);
        let (deadline, answer) = (spec.deadline, spec.answer.clone());
        Template { head: head.into(), request, request_bytes: length.into(), deadline, answer }
    }
}

/// See the module.
pub(super) struct Ledger {
    pub(super) template: Template,
    /// `None` before the run has begun and when it is over.
    lane: RefCell<Option<Lane>>,
    /// A call that was claimed and cannot be sent yet: its time has not come, or its connection has gone.
    ahead: Cell<Option<u64>>,
    /// Nothing more is to be claimed.
    over: Cell<bool>,
    /// No more is claimed, though there may be more.
    given_up: Cell<bool>,
    in_flight: Cell<u64>,
    warming_up: Cell<u64>,
    measured_from_ns: Cell<u64>,
    pace: Cell<Pace>,
    notes: RefCell<Vec<String>>,
    pub(super) samples: Sampler,
    /// Who waits for a call to end.
    waiter: Cell<Option<Waker>>,
}

impl Ledger {
    pub(super) fn new(template: Template) -> Ledger {
        Ledger {
            template,
            lane: RefCell::default(),
            ahead: Cell::new(None),
            over: Cell::new(false),
            given_up: Cell::new(false),
            in_flight: Cell::new(0),
            warming_up: Cell::new(0),
            measured_from_ns: Cell::new(0),
            pace: Cell::new(Pace::Closed),
            notes: RefCell::default(),
            samples: Sampler::default(),
            waiter: Cell::new(None),
        }
    }

    pub(super) fn begin(&self, mut lane: Lane, now_ns: u64) {
        lane.begin(now_ns);
        self.measured_from_ns.set(lane.measured_from_ns());
        self.pace.set(lane.pace());
        *self.lane.borrow_mut() = Some(lane);
    }

    /// The intended time of a call that is to be sent now, if there is one.
    #[inline]
    pub(super) fn next(&self, now_ns: u64) -> Option<u64> {
        let intended_ns = self.ahead.take().or_else(|| self.claim(now_ns))?;
        if intended_ns > now_ns {
            self.ahead.set(Some(intended_ns));
            return None;
        }
        Some(intended_ns)
    }

    #[inline]
    fn claim(&self, now_ns: u64) -> Option<u64> {
        if self.given_up.get() {
            return None;
        }
        match self.lane.borrow_mut().as_mut()?.claim(now_ns) {
            Claim::Send { intended_ns } => Some(intended_ns),
            Claim::Over => {
                self.over.set(true);
                None
            }
        }
    }

    /// Gives a call back that could not be sent.
    pub(super) fn put_back(&self, intended_ns: u64) {
        self.ahead.set(Some(intended_ns));
    }

    /// When the next call of an open loop is due, if there is one; it stays the next one.
    pub(super) fn due_ns(&self, now_ns: u64) -> Option<u64> {
        self.ahead.set(self.ahead.get().or_else(|| self.claim(now_ns)));
        self.ahead.get()
    }

    /// Whether it is known that the next call's time has not come.
    pub(super) fn is_early(&self, now_ns: u64) -> bool {
        self.ahead.get().is_some_and(|intended_ns| intended_ns > now_ns)
    }

    /// Waits for a call to end.
    pub(super) async fn an_end(&self) {
        let mut is_waiting = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_waiting, true) {
                return Poll::Ready(());
            }
            self.waiter.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Who is to be told that a call has ended, and that its slot has taken the next one if that was due.
    #[inline]
    pub(super) fn take_waiter(&self) -> Option<Waker> {
        self.waiter.take()
    }

    #[inline]
    pub(super) fn sent(&self, intended_ns: u64) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.warming_up.set(self.warming_up.get() + self.of_warm_up(intended_ns));
    }

    /// 1 for a call of the warm-up, which is not measured.
    #[inline]
    fn of_warm_up(&self, intended_ns: u64) -> u64 {
        u64::from(intended_ns < self.measured_from_ns.get())
    }

    /// A call that was sent has ended.
    #[inline]
    pub(super) fn ended(&self, call: Call<'_>) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.warming_up.set(self.warming_up.get() - self.of_warm_up(call.intended_ns));
        self.told(call);
    }

    /// Fails what is due: there is no connection to send it on. In a closed loop, where calls are always due, up to `count`.
    pub(super) fn fail_due(&self, count: u32, now_ns: u64, failure: Failure<'_>) {
        let count = if self.pace.get() == Pace::Closed { u64::from(count) } else { u64::MAX };
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

    /// Claims no more in a closed loop that only its number of calls would end; says whether that is new.
    pub(super) fn give_up(&self) -> bool {
        let is_endless = self.lane.borrow().as_ref().is_some_and(|lane| lane.give_up_ns() == u64::MAX);
        is_endless && self.pace.get() == Pace::Closed && !self.given_up.replace(true)
    }

    /// What the user is to be told at the end; the same is told once.
    pub(super) fn note(&self, note: String) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() < NOTES_MAX && !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Whether nothing is left to send or to wait for.
    pub(super) fn is_over(&self, now_ns: u64) -> bool {
        let lane = self.lane.borrow();
        let Some(lane) = lane.as_ref() else { return true };
        let none_left = self.given_up.get() || self.over.get() && self.ahead.get().is_none();
        let is_done = none_left && self.in_flight.get() == 0;
        is_done || lane.is_stopped() || now_ns >= lane.give_up_ns()
    }

    /// Ends the run; what comes later is not counted.
    ///
    /// # Panics
    /// If it has not begun, or was finished before.
    pub(super) fn finish(&self, now_ns: u64) -> Recorder {
        let lane = self.lane.borrow_mut().take().expect("a run is finished once");
        let mut recorder = lane.finish(now_ns, self.in_flight.get() - self.warming_up.get());
        recorder.notes = self.notes.take();
        if let Some(intended_ns) = self.ahead.take().filter(|intended_ns| *intended_ns <= now_ns) {
            recorder.not_sent(intended_ns);
        }
        recorder
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corelane::Code;

    use super::*;
    use crate::bench::drive::lanes;
    use crate::bench::progress::Board;
    use crate::bench::schedule::Plan;

    const MS: u64 = 1_000_000;

    /// A ledger whose run of so many calls has begun at 0.
    fn begun(pace: Pace, calls: u64) -> Ledger {
        with_plan(Plan { pace, warm_up_ns: 0, duration_ns: None, calls: Some(calls), drain_ns: 0 })
    }

    fn with_plan(plan: Plan) -> Ledger {
        let template = Template {
            head: FieldList::new().into(),
            request: Vec::new(),
            request_bytes: 0,
            deadline: None,
            answer: Answer::Unknown,
        };
        let ledger = Ledger::new(template);
        let lane = lanes(plan, &Arc::new(Board::new(1)), 1, 1).remove(0);
        ledger.begin(lane, 0);
        ledger
    }

    /// A call each millisecond.
    fn open(calls: u64) -> Ledger {
        begun(Pace::Open { rate: 1_000, backlog: 100 }, calls)
    }

    fn call(intended_ns: u64, started_ns: u64, ended_ns: u64) -> Call<'static> {
        Call { intended_ns, started_ns, ended_ns, traffic: Traffic::default(), outcome: Ok(()) }
    }

    #[test]
    fn a_call_whose_time_has_not_come_is_kept_until_then() {
        let ledger = open(2);
        assert_eq!((ledger.next(0), ledger.next(0)), (Some(0), None));
        assert_eq!(ledger.due_ns(0), Some(MS));
        assert_eq!((ledger.next(MS - 1), ledger.next(MS)), (None, Some(MS)));
        assert_eq!((ledger.next(2 * MS), ledger.due_ns(2 * MS)), (None, None));
    }

    /// Nobody has asked for it, since every slot is busy: whoever keeps the pace must know of it all the same.
    #[test]
    fn the_next_call_is_known_though_no_slot_is_free() {
        let ledger = open(2);
        assert_eq!((ledger.next(0), ledger.due_ns(0), ledger.due_ns(MS)), (Some(0), Some(MS), Some(MS)));
        assert_eq!(ledger.next(3 * MS), Some(MS));
    }

    #[test]
    fn a_call_that_found_no_slot_was_not_sent() {
        let ledger = open(2);
        assert_eq!((ledger.next(0), ledger.due_ns(MS)), (Some(0), Some(MS)));
        ledger.sent(0);
        let recorder = ledger.finish(MS);
        assert_eq!((recorder.not_sent, recorder.unfinished), (1, 1));
    }

    #[test]
    fn a_call_that_waited_for_a_slot_counts_from_when_it_was_due() {
        let ledger = open(2);
        // The first call takes 10 ms and the only slot: the second one is late, and then fast.
        assert_eq!(ledger.next(0), Some(0));
        ledger.sent(0);
        ledger.ended(call(0, 0, 10 * MS));
        assert_eq!(ledger.next(10 * MS), Some(MS));
        ledger.sent(MS);
        ledger.ended(call(MS, 10 * MS, 11 * MS));
        assert_eq!(ledger.next(11 * MS), None);
        assert!(ledger.is_over(11 * MS));
        let recorder = ledger.finish(11 * MS);
        assert_eq!((recorder.latencies.count(), recorder.latencies.min_ns()), (2, 10 * MS));
        assert_eq!(recorder.lateness.max_ns(), 9 * MS);
    }

    #[test]
    fn a_call_that_could_not_be_sent_is_the_next_one() {
        let ledger = begun(Pace::Closed, 2);
        assert_eq!(ledger.next(5), Some(5));
        ledger.put_back(5);
        assert_eq!((ledger.next(9), ledger.next(9), ledger.next(9)), (Some(5), Some(9), None));
    }

    #[test]
    fn without_a_connection_calls_that_are_due_fail_and_the_others_wait() {
        let ledger = open(10);
        let failure = Failure { code: Code::Unavailable, text: "nobody is there" };
        // However few calls a connection would have taken.
        ledger.fail_due(1, 5 * MS, failure);
        assert_eq!(ledger.due_ns(5 * MS), Some(6 * MS));
        assert!(!ledger.is_over(5 * MS));
        let recorder = ledger.finish(5 * MS);
        let failed: Vec<u64> = recorder.failures().map(|(_, failures)| failures.count).collect();
        assert_eq!((failed, recorder.latencies.count(), recorder.unfinished), (vec![6], 0, 0));
    }

    #[test]
    fn without_a_connection_a_closed_loop_fails_as_many_as_it_would_have_sent() {
        let ledger = begun(Pace::Closed, 10);
        ledger.fail_due(3, 5, Failure { code: Code::Unavailable, text: "nobody is there" });
        assert_eq!(ledger.next(6), Some(6));
        let recorder = ledger.finish(7);
        let failed: Vec<u64> = recorder.failures().map(|(_, failures)| failures.count).collect();
        assert_eq!(failed, [3]);
    }

    #[test]
    fn a_closed_loop_of_a_number_of_calls_can_be_given_up_and_ends_with_what_is_in_flight() {
        let ledger = begun(Pace::Closed, 10);
        assert_eq!(ledger.next(0), Some(0));
        ledger.sent(0);
        assert_eq!((ledger.give_up(), ledger.give_up()), (true, false));
        assert_eq!((ledger.next(1), ledger.is_over(1)), (None, false));
        ledger.ended(call(0, 0, 2));
        assert!(ledger.is_over(2));
        let recorder = ledger.finish(2);
        assert_eq!((recorder.latencies.count(), recorder.unfinished, recorder.not_sent), (1, 0, 0));
    }

    #[test]
    fn a_run_that_time_ends_is_not_given_up() {
        let duration_ns = Some(100 * MS);
        let timed = Plan { pace: Pace::Closed, warm_up_ns: 0, duration_ns, calls: None, drain_ns: 0 };
        assert!(!with_plan(timed).give_up());
        assert!(!open(10).give_up());
    }

    #[test]
    fn what_of_the_warm_up_has_not_ended_is_not_counted() {
        let plan =
            Plan { pace: Pace::Closed, warm_up_ns: MS, duration_ns: None, calls: Some(3), drain_ns: 0 };
        let ledger = with_plan(plan);
        for now_ns in [0, 0, MS, MS] {
            let intended_ns = ledger.next(now_ns).unwrap();
            ledger.sent(intended_ns);
        }
        ledger.ended(call(0, 0, MS));
        ledger.ended(call(MS, MS, 2 * MS));
        assert_eq!(ledger.finish(2 * MS).unfinished, 1);
    }

    #[test]
    fn the_same_note_is_told_once_and_there_are_not_many() {
        let ledger = open(1);
        for number in 0..100 {
            ledger.note(format!("note {}", number / 2));
        }
        let expected: Vec<String> = (0..8).map(|number| format!("note {number}")).collect();
        assert_eq!(ledger.finish(0).notes, expected);
    }

    #[test]
    fn what_comes_after_the_end_is_in_no_figure() {
        let ledger = open(9);
        assert_eq!((ledger.next(0), ledger.next(0)), (Some(0), None));
        ledger.sent(0);
        let recorder = ledger.finish(7);
        assert_eq!((recorder.unfinished, recorder.latencies.count()), (1, 0));
        ledger.ended(call(0, 0, 8));
        assert_eq!(ledger.next(9 * MS), None);
        assert!(ledger.is_over(9));
    }
}
