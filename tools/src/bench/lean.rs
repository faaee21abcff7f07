//! Unary calls with as little work as there can be: what is sent is encoded once, and what comes is counted and not kept.
//!
//! The ordinary client makes a future, a plan and a message of each call, and takes the answer apart again; a generator
//! that does so measures itself. Here a connection's session sends the next call within the event that ended the last
//! one, so a worker costs a fraction of what a server does. Each worker has a lane, connections of its own, and a task that
//! keeps the pace of an open loop.
//!
//! Does not: retry, balance, compress. A connection that is lost is made anew; meanwhile the calls that are due fail.

mod aim;
mod body;
mod gun;
mod range;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

use corelane::client::{Backend, Engine, Workers, spawn_local};
use corelane::{Code, time};
use corelane_runtime::Link;

use crate::bench::args::Bench;
use crate::bench::drive::{Lane, Load};
use crate::bench::recorder::{Failure, Recorder};
use crate::bench::shot::Shot;

use self::aim::Aim;
use self::gun::{Gun, Phase, Standing, now_ns};
use self::range::{Range, Round};

/// The engine's timers ring up to a millisecond late, and a late call seems a slow one: nearer to its time than this, the
/// pace is kept turn by turn.
const TIMER_LATE: Duration = Duration::from_millis(2);

/// How often the end of a run is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The pauses between attempts to make a lost connection anew: doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// See the module.
pub(crate) struct Lean {
    aim: Aim,
    round: Round,
    workers: Workers,
    backend: Backend,
}

impl Lean {
    /// Whether a target is one address: others are for a channel, which finds and chooses.
    pub(crate) fn is_for(target: &str) -> bool {
        Aim::is_for(target)
    }

    /// Calls of a unary method.
    ///
    /// # Errors
    /// A target that is no address, files that cannot be read.
    pub(crate) fn new(options: &Bench, shot: &Shot, workers: Workers) -> Result<Lean, String> {
        let aim = Aim::new(options)?;
        let round = Round::new(shot, &aim);
        Ok(Lean { aim, round, workers, backend: options.backend.into() })
    }
}

impl Load for Lean {
    fn run(&self, lanes: Vec<Lane>) -> Result<Vec<Recorder>, Box<dyn Error>> {
        let engine = Engine::start_on(self.workers.clone(), self.backend)?;
        let (sender, results) = channel();
        let count = lanes.len();
        for (worker, lane) in lanes.into_iter().enumerate() {
            let (aim, round, sender) = (self.aim.clone(), self.round.clone(), sender.clone());
            engine.spawn_on(worker, move || async move {
                // Nobody waits once another lane has failed.
                let _ = sender.send(drive(lane, aim, round).await);
            })?;
        }
        drop(sender);
        let recorders = results.iter().collect::<Result<Vec<_>, String>>()?;
        if recorders.len() < count {
            return Err("a worker ended before its run did".into());
        }
        Ok(recorders)
    }
}

/// The connections of a worker; a place is empty while its connection is made anew.
struct Battery {
    range: Rc<Range>,
    aim: Aim,
    streams: u32,
    links: RefCell<Vec<Option<Link<Gun>>>>,
    /// Whose turn it is.
    turn: Cell<usize>,
}

/// One lane, from its connections to its figures.
async fn drive(mut lane: Lane, aim: Aim, round: Round) -> Result<Recorder, String> {
    let range = Rc::new(Range::new(round));
    let streams = lane.streams();
    let battery = Rc::new(Battery { range, aim, streams, links: RefCell::default(), turn: Cell::new(0) });
    let mut standings = Vec::new();
    for _ in 0..lane.connections() {
        let (link, standing) = battery.connect().await?;
        battery.links.borrow_mut().push(Some(link));
        standings.push(standing);
    }
    lane.ready().map_err(|given_up| given_up.to_string())?;
    battery.range.begin(lane, now_ns());
    for (place, standing) in standings.into_iter().enumerate() {
        spawn_local(battery.clone().keep(place, standing));
    }
    battery.fire();
    while !battery.range.is_over(now_ns()) {
        battery.pace().await;
    }
    battery.range.finish(now_ns()).ok_or_else(|| "the run was finished twice".to_owned())
}

impl Battery {
    /// Makes a connection; it takes calls when this is done.
    async fn connect(&self) -> Result<(Link<Gun>, Rc<Standing>), String> {
        let told = |reason: String| format!("cannot connect to {}: {reason}", self.aim.address);
        let standing = Standing::new();
        let attempt = async {
            let gun = Gun::new(self.range.clone(), standing.clone(), self.streams);
            let link = self.aim.connect(gun).await?;
            match poll_fn(|cx| standing.poll_beyond(Phase::Greeting, cx)).await {
                Phase::Closed => Err(standing.reason()),
                _ => Ok(link),
            }
        };
        let made = within(CONNECT_TIMEOUT, attempt).await;
        let link = made.unwrap_or_else(|| Err(format!("no answer within {CONNECT_TIMEOUT:?}")));
        Ok((link.map_err(told)?, standing.clone()))
    }

    /// Makes a connection anew whenever it is lost, for as long as the run goes on.
    async fn keep(self: Rc<Self>, place: usize, mut standing: Rc<Standing>) {
        loop {
            poll_fn(|cx| standing.poll_beyond(Phase::Leaving, cx)).await;
            self.set_link(place, None);
            let mut pause = PAUSES.0;
            loop {
                if self.range.is_over(now_ns()) {
                    return;
                }
                match self.connect().await {
                    Ok((link, new)) => {
                        standing = new;
                        self.set_link(place, Some(link));
                        break;
                    }
                    Err(text) => {
                        let failure = Failure { code: Code::Unavailable, text: &text };
                        self.range.fail(self.streams, now_ns(), failure);
                    }
                }
                time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            self.fire();
        }
    }

    fn set_link(&self, place: usize, link: Option<Link<Gun>>) {
        // What was there is dropped when the borrow has ended: it leads to the session, and that back to here.
        let before = self.links.borrow_mut().get_mut(place).map(|there| std::mem::replace(there, link));
        drop(before);
    }

    /// Sends what is due, one call on each connection in turn, for as long as any of them has room; says whether any had.
    fn fire(&self) -> bool {
        let links = self.links.borrow();
        let now_ns = now_ns();
        let (mut refused, mut has_fired) = (0, false);
        while refused < links.len() {
            let place = self.turn.get() % links.len();
            self.turn.set(place + 1);
            let link = links.get(place).and_then(Option::as_ref);
            let fired = link.and_then(|link| link.with(|gun, io| gun.fire(io, now_ns, 1))).unwrap_or(0);
            refused = if fired == 0 { refused + 1 } else { 0 };
            has_fired |= fired > 0;
            if self.range.due_ns().is_some_and(|due_ns| due_ns > now_ns) {
                break;
            }
        }
        has_fired
    }

    /// Waits for the next call of an open loop, and sends it.
    async fn pace(&self) {
        // A closed loop has no next call: the events that end calls send others.
        let Some(due_ns) = self.range.due_ns() else { return time::sleep(LOOK).await };
        let left = Duration::from_nanos(due_ns.saturating_sub(now_ns()));
        if let Some(early) = left.checked_sub(TIMER_LATE).filter(|early| !early.is_zero()) {
            return time::sleep(early.min(LOOK)).await;
        }
        if !left.is_zero() {
            return time::yield_now().await;
        }
        if !self.fire() {
            // Every slot is busy, and each that becomes free looks for itself.
            time::sleep(LOOK).await;
        }
    }
}

/// What `future` comes to within `limit`.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut alarm) = (pin!(future), pin!(time::sleep(limit)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}
