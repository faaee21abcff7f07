//! When calls are to be sent: a closed loop (as soon as a slot is free) or an open one (at a fixed rate, whatever the
//! server does).
//!
//! A value with time handed in: whoever has a free slot claims the next call and waits until its time. In an open loop
//! that time is the one the rate intends, also when it has long passed because every slot was busy, and latencies count
//! from it: a server that stalls is charged for the calls that it kept from being sent (no coordinated omission).
//!
//! Does not: read a clock, wait, send, or know how many slots there are.
//!
//! Invariant: calls are claimed in the order of their times, each once. At most [`Pace::Open::backlog`] calls whose time
//! has come wait for a slot; what comes due beyond that is never sent and is counted.

use std::collections::VecDeque;

const SECOND_NS: u64 = 1_000_000_000;

/// What paces the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A call as soon as another has ended.
    Closed,
    /// A fixed rate.
    Open {
        /// Calls a second, of all workers together.
        rate: u64,
        /// How many calls, of all workers together, may be late before more are given up.
        backlog: u64,
    },
}

/// How a whole run goes, over all workers. Without `duration_ns` and `calls` it ends when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    /// What is sent for this long is not measured.
    pub(crate) warm_up_ns: u64,
    /// How long after the warm-up calls are sent.
    pub(crate) duration_ns: Option<u64>,
    /// How many calls are measured.
    pub(crate) calls: Option<u64>,
    /// How long after the end late calls are still sent and answers waited for.
    pub(crate) drain_ns: u64,
}

/// Which worker this is, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) index: u64,
    pub(crate) of: u64,
}

impl Share {
    /// This worker's part of a number that the workers share; the first ones get what does not divide.
    pub(crate) fn part(self, whole: u64) -> u64 {
        whole / self.of + u64::from(self.index < whole % self.of)
    }
}

/// What a free slot gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Send a call at this time: now, in the past (it is late already), or after a wait.
    Send {
        /// What the latency counts from.
        intended_ns: u64,
    },
    /// There is nothing left to send.
    Over,
}

/// One worker's calls. See the module.
#[derive(Debug)]
pub(crate) struct Schedule {
    source: Source,
    measured_from_ns: u64,
    /// Nothing new is due from here on.
    stop_ns: u64,
    /// Nothing is sent from here on.
    give_up_ns: u64,
}

#[derive(Debug)]
enum Source {
    Closed { calls_left: u64 },
    Open(Open),
}

impl Schedule {
    /// A worker's share of a plan that starts at `start_ns`.
    ///
    /// # Panics
    /// If there are no workers, or the rate is 0.
    pub(crate) fn new(plan: &Plan, share: Share, start_ns: u64) -> Schedule {
        assert!(share.index < share.of, "a worker is one of the workers");
        let measured_from_ns = start_ns.saturating_add(plan.warm_up_ns);
        let stop_ns = plan.duration_ns.map_or(u64::MAX, |duration| measured_from_ns.saturating_add(duration));
        let source = match plan.pace {
            Pace::Closed => Source::Closed { calls_left: plan.calls.map_or(u64::MAX, |n| share.part(n)) },
            Pace::Open { rate, backlog } => Source::Open(Open::new(plan, rate, backlog, share, start_ns)),
        };
        let give_up_ns = stop_ns.saturating_add(plan.drain_ns);
        Schedule { source, measured_from_ns, stop_ns, give_up_ns }
    }

    /// What the warm-up ends at: a call that was intended earlier is not measured.
    pub(crate) const fn measured_from_ns(&self) -> u64 {
        self.measured_from_ns
    }

    /// When waiting for answers ends; `u64::MAX` if only the answers end it.
    pub(crate) const fn give_up_ns(&self) -> u64 {
        self.give_up_ns
    }

    /// The next call for a slot that is free now.
    pub(crate) fn claim(&mut self, now_ns: u64) -> Claim {
        match &mut self.source {
            Source::Closed { .. } if now_ns >= self.stop_ns => Claim::Over,
            Source::Closed { .. } if now_ns < self.measured_from_ns => Claim::Send { intended_ns: now_ns },
            Source::Closed { calls_left: 0 } => Claim::Over,
            Source::Closed { calls_left } => {
                *calls_left -= 1;
                Claim::Send { intended_ns: now_ns }
            }
            Source::Open(_) if now_ns >= self.give_up_ns => Claim::Over,
            Source::Open(open) => {
                open.catch_up(now_ns);
                open.take().map_or(Claim::Over, |intended_ns| Claim::Send { intended_ns })
            }
        }
    }

    /// How long after the start of the measurement a run is over whose calls take no time: when it is seen to be over now,
    /// or before that if it should have been.
    pub(crate) fn lasted_ns(&self, now_ns: u64) -> u64 {
        let planned_ns = match &self.source {
            // As soon as the last call has ended, which the recorder knows.
            Source::Closed { calls_left: 0 } => 0,
            Source::Closed { .. } => self.stop_ns,
            Source::Open(open) => open.time_of(open.end),
        };
        planned_ns.min(now_ns).saturating_sub(self.measured_from_ns)
    }

    /// How many measured calls came due until now and were never claimed.
    pub(crate) fn not_sent(&mut self, now_ns: u64) -> u64 {
        match &mut self.source {
            Source::Closed { .. } => 0,
            Source::Open(open) => {
                open.catch_up(now_ns);
                let waiting = open.waiting.iter().filter(|number| **number >= open.measured_from).count();
                open.given_up + u64::try_from(waiting).expect("the backlog fits")
            }
        }
    }
}

/// The calls of a fixed rate, numbered over all workers: this one has every `step`th.
#[derive(Debug)]
struct Open {
    start_ns: u64,
    rate: u64,
    step: u64,
    /// The first that has not come due.
    next: u64,
    /// One past the last.
    end: u64,
    /// The first that is measured.
    measured_from: u64,
    /// Those that have come due, oldest first.
    waiting: VecDeque<u64>,
    waiting_max: u64,
    given_up: u64,
}

impl Open {
    fn new(plan: &Plan, rate: u64, backlog: u64, share: Share, start_ns: u64) -> Open {
        assert!(rate > 0, "a rate of nothing is no rate");
        let measured_from = numbers_before(plan.warm_up_ns, rate);
        let by_time = plan
            .duration_ns
            .map_or(u64::MAX, |duration| numbers_before(plan.warm_up_ns.saturating_add(duration), rate));
        let by_count = plan.calls.map_or(u64::MAX, |calls| measured_from.saturating_add(calls));
        Open {
            start_ns,
            rate,
            step: share.of,
            next: share.index,
            end: by_time.min(by_count),
            measured_from,
            waiting: VecDeque::new(),
            // One at least: a slot that claims late would otherwise find nothing.
            waiting_max: share.part(backlog).max(1),
            given_up: 0,
        }
    }

    fn time_of(&self, number: u64) -> u64 {
        let after = u128::from(number) * u128::from(SECOND_NS) / u128::from(self.rate);
        self.start_ns.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// Moves to the queue what has come due, and gives up what finds it full. Costs as much as the queue takes, however
    /// long ago the last visit was.
    fn catch_up(&mut self, now_ns: u64) {
        let Some(since_ns) = now_ns.checked_sub(self.start_ns) else { return };
        let due_end = numbers_before(since_ns.saturating_add(1), self.rate).min(self.end);
        let due = self.own_in(self.next, due_end);
        let room = self.waiting_max - u64::try_from(self.waiting.len()).expect("the backlog fits");
        for _ in 0..due.min(room) {
            self.waiting.push_back(self.next);
            self.next += self.step;
        }
        if due > room {
            let behind_warm_up = self.measured_from.saturating_sub(self.next).div_ceil(self.step) * self.step;
            self.given_up += self.own_in(self.next + behind_warm_up, due_end);
            self.next += (due - room) * self.step;
        }
    }

    /// The oldest that waits, or else the next to come.
    fn take(&mut self) -> Option<u64> {
        if let Some(number) = self.waiting.pop_front() {
            return Some(self.time_of(number));
        }
        if self.next >= self.end {
            return None;
        }
        let time_ns = self.time_of(self.next);
        self.next = self.next.saturating_add(self.step);
        Some(time_ns)
    }

    /// How many of this worker's numbers lie between one of them and `end`.
    fn own_in(&self, first: u64, end: u64) -> u64 {
        end.saturating_sub(first).div_ceil(self.step)
    }
}

/// How many calls of a rate have times before `after_ns`, the first one's being 0. A number's time is rounded down, and
/// `floor(a) < n` is `a < n` for a whole `n`.
fn numbers_before(after_ns: u64, rate: u64) -> u64 {
    let numbers = (u128::from(after_ns) * u128::from(rate)).div_ceil(u128::from(SECOND_NS));
    u64::try_from(numbers).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const ALONE: Share = Share { index: 0, of: 1 };

    fn plan(pace: Pace) -> Plan {
        Plan { pace, warm_up_ns: 0, duration_ns: Some(100 * MS), calls: None, drain_ns: 50 * MS }
    }

    /// 100 calls a second: one every 10 ms.
    fn open(backlog: u64) -> Plan {
        plan(Pace::Open { rate: 100, backlog })
    }

    fn send(ms: u64) -> Claim {
        Claim::Send { intended_ns: ms * MS }
    }

    fn claims(schedule: &mut Schedule, now_ns: u64) -> Vec<u64> {
        let mut claimed = Vec::new();
        while let Claim::Send { intended_ns } = schedule.claim(now_ns) {
            claimed.push(intended_ns / MS);
        }
        claimed
    }

    #[test]
    fn a_closed_loop_sends_whenever_a_slot_is_free_until_its_time_is_over() {
        let mut schedule = Schedule::new(&plan(Pace::Closed), ALONE, 1_000 * MS);
        assert_eq!(schedule.claim(1_000 * MS), send(1_000));
        assert_eq!(schedule.claim(1_000 * MS), send(1_000));
        assert_eq!(schedule.claim(1_099 * MS), send(1_099));
        assert_eq!(schedule.claim(1_100 * MS), Claim::Over);
        assert_eq!(schedule.give_up_ns(), 1_150 * MS);
        assert_eq!(schedule.not_sent(1_100 * MS), 0);
    }

    #[test]
    fn a_closed_loop_counts_only_what_is_measured() {
        let plan = Plan { warm_up_ns: 10 * MS, duration_ns: None, calls: Some(3), ..plan(Pace::Closed) };
        let mut schedule = Schedule::new(&plan, Share { index: 0, of: 2 }, 0);
        for _ in 0..5 {
            assert_eq!(schedule.claim(9 * MS), send(9));
        }
        assert_eq!(schedule.measured_from_ns(), 10 * MS);
        assert_eq!(claims(&mut schedule, 10 * MS), [10, 10]);
        assert_eq!(schedule.give_up_ns(), u64::MAX);
    }

    #[test]
    fn a_run_lasts_as_planned_however_early_its_last_call_ends() {
        let mut timed = Schedule::new(&open(10), ALONE, 1_000 * MS);
        claims(&mut timed, 1_000 * MS);
        assert_eq!(timed.lasted_ns(1_100 * MS), 100 * MS);
        assert_eq!(timed.lasted_ns(1_050 * MS), 50 * MS);
        let counted = Plan { calls: Some(4), duration_ns: None, ..open(10) };
        assert_eq!(Schedule::new(&counted, ALONE, 0).lasted_ns(1_000 * MS), 40 * MS);
        let mut closed = Schedule::new(&Plan { calls: Some(1), ..plan(Pace::Closed) }, ALONE, 0);
        assert_eq!(closed.lasted_ns(1_000 * MS), 100 * MS);
        assert_eq!(closed.claim(0), send(0));
        assert_eq!(closed.lasted_ns(1_000 * MS), 0);
    }

    #[test]
    fn workers_share_a_number_to_the_last_one() {
        let parts: Vec<u64> = (0..4).map(|index| Share { index, of: 4 }.part(10)).collect();
        assert_eq!(parts, [3, 3, 2, 2]);
    }

    #[test]
    fn an_open_loop_claims_ahead_in_order() {
        let mut schedule = Schedule::new(&open(10), ALONE, 0);
        assert_eq!(claims(&mut schedule, 0), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(schedule.not_sent(100 * MS), 0);
    }

    #[test]
    fn late_calls_keep_the_time_they_were_meant_for() {
        let mut schedule = Schedule::new(&open(10), ALONE, 0);
        assert_eq!(schedule.claim(0), send(0));
        assert_eq!(schedule.claim(35 * MS), send(10));
        assert_eq!(schedule.claim(35 * MS), send(20));
        assert_eq!(schedule.claim(35 * MS), send(30));
        assert_eq!(schedule.claim(35 * MS), send(40));
    }

    #[test]
    fn what_finds_the_backlog_full_is_given_up_and_counted() {
        let mut schedule = Schedule::new(&open(3), ALONE, 0);
        assert_eq!(schedule.claim(0), send(0));
        // 10 to 80 came due: three of them wait, five are lost.
        assert_eq!(schedule.claim(85 * MS), send(10));
        assert_eq!(schedule.not_sent(85 * MS), 5 + 2);
        assert_eq!(claims(&mut schedule, 95 * MS), [20, 30, 90]);
        assert_eq!(schedule.not_sent(200 * MS), 5);
    }

    #[test]
    fn a_long_stall_at_a_high_rate_costs_no_more_than_the_backlog() {
        let rate = 1_000_000_000;
        let plan = Plan { duration_ns: None, ..plan(Pace::Open { rate, backlog: 4 }) };
        let mut schedule = Schedule::new(&plan, ALONE, 0);
        let hours_ns = 10 * 3_600 * SECOND_NS;
        assert_eq!(schedule.claim(hours_ns), Claim::Send { intended_ns: 0 });
        assert_eq!(schedule.not_sent(hours_ns), hours_ns);
    }

    #[test]
    fn calls_lost_in_the_warm_up_are_nobodys() {
        let plan = Plan { warm_up_ns: 50 * MS, ..open(1) };
        let mut schedule = Schedule::new(&plan, ALONE, 0);
        // Due are 0 to 70; 0 waits, 10 to 40 are warm-up, 50 to 70 are lost.
        assert_eq!(schedule.claim(75 * MS), send(0));
        assert_eq!(schedule.not_sent(75 * MS), 3);
    }

    #[test]
    fn late_calls_are_still_sent_after_the_end_but_not_for_ever() {
        let mut schedule = Schedule::new(&open(10), ALONE, 0);
        assert_eq!(schedule.claim(149 * MS), send(0));
        assert_eq!(schedule.claim(150 * MS), Claim::Over);
        assert_eq!(schedule.not_sent(150 * MS), 9);
    }

    #[test]
    fn workers_take_turns_and_together_have_every_call_once() {
        let plan = Plan { calls: Some(8), duration_ns: None, warm_up_ns: 20 * MS, ..open(10) };
        let mut all = Vec::new();
        for index in 0..3 {
            let mut schedule = Schedule::new(&plan, Share { index, of: 3 }, 0);
            let own = claims(&mut schedule, 0);
            assert_eq!(own[0], index * 10);
            all.extend(own);
        }
        all.sort_unstable();
        assert_eq!(all, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let plan = Plan { duration_ns: Some(10 * SECOND_NS), ..plan(Pace::Open { rate: 3, backlog: 1 }) };
        let mut schedule = Schedule::new(&plan, ALONE, 0);
        let claimed = claims(&mut schedule, 0);
        assert_eq!(claimed.len(), 30);
        assert_eq!(claimed[1..4], [333, 666, 1_000]);
        assert_eq!(claimed[29], 9_666);
    }
}
