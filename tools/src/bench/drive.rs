//! The seam between measuring and sending: what the load generator wants from a transport.
//!
//! [`Load`] runs one thread for each [`Lane`]. A thread opens its connections, waits for the others at
//! [`Lane::ready`], and calls [`Lane::begin`]. Then each of its slots (connections times streams) repeats, on that one
//! thread:
//!
//! 1. [`Lane::claim`] with the time; `Over` ends the slot.
//! 2. Wait until the intended time if it is ahead. A timer that rings a millisecond late makes each call of an open loop
//!    seem a millisecond slower, so wait by a fine timer, or by yielding when the time is near.
//! 3. Make the call, and read the time before and after it.
//! 4. [`Lane::ended`] with the three times.
//!
//! When all slots have ended, or at [`Lane::give_up_ns`], [`Lane::finish`] is told how many measured calls are still out.
//!
//! All times are nanoseconds of a monotonic clock with any origin. Each thread may have a clock of its own, since figures
//! are relative to the thread's own `begin`.
//!
//! Does not: know of sockets, engines or messages.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::bench::args::{Bench, Kind};
use crate::bench::gate::{GivenUp, Seat, seats};
use crate::bench::lean::Lean;
use crate::bench::progress::{Board, Cell};
use crate::bench::recorder::{Call, Recorder};
use crate::bench::schedule::{Claim, Pace, Plan, Schedule, Share};
use crate::bench::spec::Spec;
use crate::bench::streams::Streams;

/// A transport that can be driven.
pub(crate) trait Load {
    /// Runs a thread for each lane until all have finished, and gives back what they recorded.
    ///
    /// # Errors
    /// What keeps the run from starting: an address that nobody listens on, a method that does not exist. What happens to
    /// single calls later is recorded and is no error.
    fn run(&self, lanes: Vec<Lane>) -> Result<Vec<Recorder>, Box<dyn Error>>;
}

/// The transport for these flags.
///
/// # Errors
/// Flags that cannot be followed, files that cannot be read.
pub(crate) fn load(options: &Bench) -> Result<Box<dyn Load>, String> {
    let spec = Spec::new(options)?;
    if spec.kind == Kind::Unary
        && let Some(lean) = Lean::new(options, &spec)?
    {
        return Ok(Box::new(lean));
    }
    Ok(Box::new(Streams::new(options, spec)?))
}

/// One worker's part of a run.
#[derive(Debug)]
pub(crate) struct Lane {
    plan: Plan,
    share: Share,
    board: Arc<Board>,
    seat: Seat,
    connections: u32,
    streams: u32,
    run: Option<Run>,
}

/// What there is once the run has begun.
#[derive(Debug)]
struct Run {
    schedule: Schedule,
    recorder: Recorder,
    /// The thread's processor time when the measurement began.
    cpu_from: Option<Duration>,
}

/// The lanes of a plan, one for each of the board's cells. Connections are shared out evenly.
pub(crate) fn lanes(plan: Plan, board: &Arc<Board>, connections: u32, streams: u32) -> Vec<Lane> {
    let of = u64::try_from(board.cells()).expect("workers are few");
    let seats = seats(board.cells());
    (0..of)
        .zip(seats)
        .map(|(index, seat)| {
            let share = Share { index, of };
            let connections =
                u32::try_from(share.part(u64::from(connections))).expect("a part is no more than the whole");
            Lane { plan, share, board: board.clone(), seat, connections, streams, run: None }
        })
        .collect()
}

impl Lane {
    /// What paces the calls, of all workers together.
    pub(crate) fn pace(&self) -> Pace {
        self.plan.pace
    }

    /// How many connections this worker opens.
    pub(crate) fn connections(&self) -> u32 {
        self.connections
    }

    /// How many calls it keeps open on each.
    pub(crate) fn streams(&self) -> u32 {
        self.streams
    }

    /// Blocks until every worker is here. Call it once, with all connections open, before [`begin`](Self::begin). A
    /// worker that cannot connect drops its lane.
    ///
    /// # Errors
    /// If another worker dropped its lane.
    pub(crate) fn ready(&mut self) -> Result<(), GivenUp> {
        self.seat.wait()
    }

    /// Starts the schedule, on the thread that will run it.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        let schedule = Schedule::new(&self.plan, self.share, now_ns);
        let recorder = Recorder::new(schedule.measured_from_ns());
        self.run = Some(Run { schedule, recorder, cpu_from: None });
    }

    /// The next call for a slot that is free.
    ///
    /// # Panics
    /// If the run has not begun.
    pub(crate) fn claim(&mut self, now_ns: u64) -> Claim {
        if self.board.is_stopped() {
            return Claim::Over;
        }
        let run = self.run.as_mut().expect("claimed before begin");
        if run.cpu_from.is_none() && now_ns >= run.schedule.measured_from_ns() {
            run.cpu_from = Some(thread_cpu());
        }
        run.schedule.claim(now_ns)
    }

    /// A call has ended.
    ///
    /// # Panics
    /// If the run has not begun.
    pub(crate) fn ended(&mut self, call: Call<'_>) {
        self.cell().ended(&call);
        self.run.as_mut().expect("ended before begin").recorder.record(call);
    }

    /// What the warm-up ends at: calls that were intended earlier are in no figure.
    ///
    /// # Panics
    /// If the run has not begun.
    pub(crate) fn measured_from_ns(&self) -> u64 {
        self.run.as_ref().expect("asked before begin").schedule.measured_from_ns()
    }

    /// When to stop waiting for answers; `u64::MAX` for never. Look at [`is_stopped`](Self::is_stopped) too.
    ///
    /// # Panics
    /// If the run has not begun.
    pub(crate) fn give_up_ns(&self) -> u64 {
        self.run.as_ref().expect("asked before begin").schedule.give_up_ns()
    }

    /// Whether the user asked for an end: no more is claimed, and waiting should end soon.
    pub(crate) fn is_stopped(&self) -> bool {
        self.board.is_stopped()
    }

    /// Ends the run, on the thread that ran it, with `unfinished` measured calls sent and not answered.
    ///
    /// # Panics
    /// If the run has not begun.
    pub(crate) fn finish(self, now_ns: u64, unfinished: u64) -> Recorder {
        let Run { mut schedule, mut recorder, cpu_from } = self.run.expect("finished before begin");
        recorder.not_sent = schedule.not_sent(now_ns);
        recorder.elapsed_ns = recorder.elapsed_ns.max(schedule.lasted_ns(now_ns));
        recorder.unfinished = unfinished;
        let cpu = cpu_from.map_or(Duration::ZERO, |from| thread_cpu().saturating_sub(from));
        recorder.cpu_ns = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        recorder
    }

    fn cell(&self) -> &Cell {
        self.board.cell(usize::try_from(self.share.index).expect("workers are few"))
    }
}

/// The processor time of the calling thread, the kernel's part of it included.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::recorder::{Failure, Traffic};
    use corelane::Code;

    /// A transport without one: time is a number, each call takes `call_ns`, and each tenth fails.
    pub(crate) struct Fake {
        pub(crate) call_ns: u64,
    }

    impl Load for Fake {
        fn run(&self, lanes: Vec<Lane>) -> Result<Vec<Recorder>, Box<dyn Error>> {
            let threads: Vec<_> = lanes
                .into_iter()
                .map(|lane| {
                    let call_ns = self.call_ns;
                    std::thread::spawn(move || drive(lane, call_ns))
                })
                .collect();
            Ok(threads.into_iter().map(|thread| thread.join().unwrap()).collect())
        }
    }

    /// Slots are the times at which each is free; the one that is free first goes first.
    fn drive(mut lane: Lane, call_ns: u64) -> Recorder {
        lane.ready().unwrap();
        lane.begin(0);
        let mut slots = vec![0_u64; usize::try_from(lane.connections() * lane.streams()).unwrap()];
        let mut number = 0;
        loop {
            let slot = slots.iter_mut().min().unwrap();
            let Claim::Send { intended_ns } = lane.claim(*slot) else { break };
            let started_ns = intended_ns.max(*slot);
            *slot = started_ns + call_ns;
            number += 1;
            let failure = Failure { code: Code::Unavailable, text: "no such luck" };
            lane.ended(Call {
                intended_ns,
                started_ns,
                ended_ns: *slot,
                traffic: Traffic { messages_sent: 1, messages_received: 1, bytes_sent: 8, bytes_received: 8 },
                outcome: if number % 10 == 0 { Err(failure) } else { Ok(()) },
            });
        }
        let end_ns = *slots.iter().max().unwrap();
        assert!(lane.give_up_ns() >= end_ns || lane.is_stopped());
        lane.finish(end_ns, 0)
    }

    fn run(plan: Plan, workers: usize, call_ns: u64) -> (Recorder, Arc<Board>) {
        let board = Arc::new(Board::new(workers));
        let lanes = lanes(plan, &board, 3, 2);
        let mut recorders = Fake { call_ns }.run(lanes).unwrap().into_iter();
        let mut all = recorders.next().unwrap();
        recorders.for_each(|recorder| all.merge(recorder));
        (all, board)
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn workers_share_connections_calls_and_figures() {
        let plan =
            Plan { pace: Pace::Closed, warm_up_ns: 5 * MS, duration_ns: None, calls: Some(100), drain_ns: 0 };
        let (recorder, board) = run(plan, 2, MS);
        let failed: u64 = recorder.failures().map(|(_, failures)| failures.count).sum();
        assert_eq!(recorder.latencies.count() + failed, 100);
        assert_eq!(recorder.latencies.max_ns(), MS);
        // The board counts the warm-up too: 5 ms of 4 + 2 slots.
        assert_eq!(board.snapshot().calls, 100 + 5 * 6);
    }

    #[test]
    fn an_open_loop_that_is_too_fast_for_the_server_shows_it_in_the_latencies() {
        // 6 slots of 1 ms do 6,000 a second; 12,000 are wanted.
        let plan = Plan {
            pace: Pace::Open { rate: 12_000, backlog: 1_000_000 },
            warm_up_ns: 0,
            duration_ns: Some(100 * MS),
            calls: None,
            drain_ns: 1_000 * MS,
        };
        let (recorder, _) = run(plan, 1, MS);
        assert_eq!(recorder.not_sent, 0);
        // The sixth slot has its first call after 416,666 ns, and 200 in all. The last one was meant for 99.9 ms.
        assert_eq!(recorder.elapsed_ns, 200 * MS + 416_666);
        assert!(recorder.lateness.max_ns() > 98 * MS, "{}", recorder.lateness.max_ns());
        assert!(recorder.latencies.percentile_ns(50.0) > 50 * MS);
    }

    #[test]
    fn a_stopped_board_ends_the_run() {
        let board = Arc::new(Board::new(1));
        board.stop();
        let plan = Plan { pace: Pace::Closed, warm_up_ns: 0, duration_ns: None, calls: None, drain_ns: 0 };
        let recorders = Fake { call_ns: 1 }.run(lanes(plan, &board, 1, 1)).unwrap();
        assert_eq!(recorders[0].latencies.count(), 0);
    }
}
