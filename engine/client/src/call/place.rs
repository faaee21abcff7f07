//! Placing one attempt: from a pick to an open stream, waiting in line where there is no room.
//!
//! Invariant: a placed call is accounted for with its endpoint until it is dropped, and its stream ends with it.

use std::rc::Rc;
use std::time::Duration;

use corelane_call::Code;
use corelane_memory::Key;
use corelane_policy::balance::{Call, EndpointKey};
use corelane_runtime::{Io, now};

use super::plan::Plan;
use crate::end::End;
use crate::error::Failure;
use crate::guard::Watch;
use crate::local::{Local, Picked};
use crate::pool::{Pool, Taken, Turn};
use crate::session::{ClientLink, ClientSession, Unopened};
use crate::time::by;
use crate::waiters::{Number, Wait, Waiters};
use crate::{Cause, Place};

/// An attempt on its way.
pub(crate) struct Placed {
    pub(crate) link: ClientLink,
    pub(crate) pool: Rc<Pool>,
    pub(crate) key: Key,
    local: Rc<Local>,
    /// The session has forgotten it already.
    settled: bool,
    watch: Option<Watch>,
    /// How it ended, if that says anything about the endpoint.
    code: Option<Code>,
}

impl Placed {
    /// The outcome was taken: nothing is left to give up.
    #[inline]
    pub(crate) fn settle(&mut self, end: &End) {
        self.settled = true;
        self.code = end.verdict();
    }

    /// What is to be thought of the endpoint if the call has not ended when it is given up.
    pub(crate) fn judge(&mut self, code: Code) {
        self.code = Some(code);
    }

    /// Gives up what has not ended; says how what has ended did, if that says anything about the endpoint.
    #[inline]
    pub(crate) fn conclude(&mut self) -> Option<Code> {
        if !std::mem::replace(&mut self.settled, true)
            && let Some((end, trailers)) = ClientSession::release(&self.link, self.key)
        {
            self.local.answered(&self.pool, &trailers);
            self.code = end.verdict();
        }
        self.code
    }
}

impl Drop for Placed {
    #[inline]
    fn drop(&mut self) {
        let (now, code) = (now(), self.conclude());
        self.local.finished(now, self.pool.key);
        if let Some(watch) = self.watch.take() {
            self.local.watched(&self.pool.name, watch, code, now);
        }
    }
}

/// A turn in a pool's line. The pool was picked when the call came into line, and is not picked anew while it takes calls: calls
/// that hand turns to each other and go elsewhere would keep each other waiting. Whoever does not use its turn gives it to the
/// next, or nobody would hear of the free stream. Whoever finds none after all gets its place back.
struct Called(Option<(Rc<Pool>, Number)>);

impl Called {
    /// What a call that has come to `pool` is there; a turn elsewhere is given up.
    #[inline]
    fn at(&mut self, pool: &Rc<Pool>) -> Turn {
        match &self.0 {
            None => return Turn::Newcomer,
            Some((called, _)) if Rc::ptr_eq(called, pool) => return Turn::Called,
            Some(_) => *self = Called(None),
        }
        Turn::Newcomer
    }

    #[inline]
    fn use_up(&mut self) {
        self.0 = None;
    }
}

impl Drop for Called {
    #[inline]
    fn drop(&mut self) {
        if let Some((pool, _)) = &self.0 {
            pool.waiters.pass_on();
        }
    }
}

/// Opens a stream for an attempt with `open`, wherever the policy picks. `avoid` are endpoints of earlier attempts.
pub(crate) async fn place(
    plan: &Plan,
    attempt: u32,
    avoid: &[EndpointKey],
    mut open: impl FnMut(&mut ClientSession, &mut Io<'_>, &Rc<Pool>) -> Result<Key, Unopened>,
) -> Result<Placed, Failure> {
    match place_at_once(plan, attempt, avoid, &mut open)? {
        Ok(placed) => Ok(placed),
        Err(line) => line.wait(plan, avoid, &mut open).await,
    }
}

/// As `place`, where there is room; else what is to be waited for. Most calls find room at once, and their futures stay small.
#[inline]
pub(crate) fn place_at_once(
    plan: &Plan,
    attempt: u32,
    avoid: &[EndpointKey],
    open: &mut impl FnMut(&mut ClientSession, &mut Io<'_>, &Rc<Pool>) -> Result<Key, Unopened>,
) -> Result<Result<Placed, Line>, Failure> {
    let mut search = Search {
        attempt,
        blocked: Vec::new(),
        avoided_count: 0,
        retry_after: None,
        turn: Called(None),
        line: None,
    };
    Ok(match search.step(plan, avoid, open)? {
        Step::Placed(placed) => Ok(placed),
        Step::Wait(wait) => Err(Line { search, wait }),
    })
}

/// An attempt on its way to a stream.
struct Search {
    attempt: u32,
    /// Those to be avoided, and behind them the endpoints whose breakers are open; empty while none is.
    blocked: Vec<EndpointKey>,
    /// How many of them are only to be avoided; none once there is nobody else.
    avoided_count: usize,
    /// When the first of those breakers lets a call through, as far as that is known.
    retry_after: Option<Duration>,
    turn: Called,
    /// In whose line it waits.
    line: Option<Rc<Pool>>,
}

/// What a look at the endpoints has come to.
enum Step {
    Placed(Placed),
    Wait(Wait),
}

/// An attempt that waits, in a pool's line or for a connection.
pub(crate) struct Line {
    search: Search,
    wait: Wait,
}

impl Line {
    /// Waits, and tries again, until there is room: for the same plan as before, and the same endpoints to avoid.
    pub(crate) async fn wait(
        self,
        plan: &Plan,
        avoid: &[EndpointKey],
        open: &mut impl FnMut(&mut ClientSession, &mut Io<'_>, &Rc<Pool>) -> Result<Key, Unopened>,
    ) -> Result<Placed, Failure> {
        let Line { mut search, mut wait } = self;
        loop {
            // Before the wait: a turn that was not used is another's now.
            search.turn = Called(None);
            let number = wait.number();
            if by(plan.deadline, wait).await.is_none() {
                let at = if search.line.is_some() { Place::Queue } else { Place::Connecting };
                return Err(plan.expired(at, search.attempt));
            }
            search.turn = Called(search.line.clone().map(|pool| (pool, number)));
            // A breaker may have closed meanwhile.
            search.blocked.clear();
            search.avoided_count = 0;
            search.retry_after = None;
            match search.step(plan, avoid, open)? {
                Step::Placed(placed) => return Ok(placed),
                Step::Wait(next) => wait = next,
            }
        }
    }
}

impl Search {
    #[inline]
    fn step(
        &mut self,
        plan: &Plan,
        avoided: &[EndpointKey],
        open: &mut impl FnMut(&mut ClientSession, &mut Io<'_>, &Rc<Pool>) -> Result<Key, Unopened>,
    ) -> Result<Step, Failure> {
        let now = now();
        loop {
            let avoid = if self.blocked.is_empty() { avoided } else { &self.blocked };
            let picked = match self.line.take().filter(|pool| plan.local.takes_calls(pool)) {
                Some(pool) => Picked::Pool(pool),
                None => plan.local.pick(now, &Call { hash: plan.hash, avoid }),
            };
            let pool = match picked {
                Picked::Pool(pool) => pool,
                Picked::Failed(cause, endpoint)
                    if !plan.wait_for_ready || matches!(cause, Cause::ChannelShutdown) =>
                {
                    return Err(plan.failure(cause, endpoint, self.attempt));
                }
                Picked::Wait | Picked::Failed(..) => return self.join(plan, &plan.local.waiting),
            };
            if self.blocked.get(self.avoided_count..).is_some_and(|open| open.contains(&pool.key)) {
                // Those that are only to be avoided are better than none, if one of them is ready.
                if self.avoided_count > 0 {
                    self.blocked.drain(..self.avoided_count);
                    self.avoided_count = 0;
                    continue;
                }
                let cause = Cause::BreakerOpen { retry_after: self.retry_after };
                return Err(plan.failure(cause, Some(pool.name.clone()), self.attempt));
            }
            let watch = match plan.local.admit(&pool, plan.path(), now) {
                Ok(watch) => watch,
                Err(retry_after) => {
                    self.block(&pool, avoided, retry_after);
                    continue;
                }
            };
            let taken = pool.take(self.turn.at(&pool), |link| {
                link.with(|session, io| open(session, io, &pool)).unwrap_or(Err(Unopened::Leaving))
            });
            if let Taken::Yes(link, key) = taken {
                self.turn.use_up();
                plan.local.started(now, pool.key);
                let (local, watch) = (plan.local.clone(), Some(watch));
                let placed = Placed { link, pool, key, local, settled: false, watch, code: None };
                return Ok(Step::Placed(placed));
            }
            // Full, or its last connection has just gone: the line hears of either's end.
            plan.local.watched(&pool.name, watch, None, now);
            let step = match self.turn.0.take() {
                Some((_, number)) => Step::Wait(pool.waiters.rejoin(number)),
                None => self.join(plan, &pool.waiters)?,
            };
            self.line = Some(pool);
            return Ok(step);
        }
    }

    fn join(&self, plan: &Plan, waiters: &Rc<Waiters>) -> Result<Step, Failure> {
        join(plan, waiters, self.attempt).map(Step::Wait)
    }

    /// The breaker of the method is open there.
    #[cold]
    fn block(&mut self, pool: &Pool, avoided: &[EndpointKey], retry_after: Option<Duration>) {
        if self.blocked.is_empty() {
            self.blocked.extend(avoided);
            self.avoided_count = avoided.len();
        }
        self.blocked.push(pool.key);
        self.retry_after = [self.retry_after, retry_after].into_iter().flatten().min();
    }
}

/// A place in line, if there are not too many.
pub(super) fn join(plan: &Plan, waiters: &Rc<Waiters>, attempt: u32) -> Result<Wait, Failure> {
    let max = plan.local.shared.options.pending_calls_max;
    // Who has waited before is not turned away: its own place in the count was given up just now.
    if waiters.pending() >= max {
        return Err(plan.failure(Cause::QueueFull { max }, None, attempt));
    }
    Ok(waiters.join())
}
