//! Placing one attempt: from a pick to an open stream, waiting in line where there is no room.
//!
//! Invariant: a placed call is accounted for with its endpoint until it is dropped, and its stream ends with it.

use std::rc::Rc;

use corelane_call::Code;
use corelane_memory::Key;
use corelane_policy::balance::{Call, EndpointKey};
use corelane_runtime::{Io, now};

use super::plan::Plan;
use crate::error::Failure;
use crate::guard::Watch;
use crate::local::{Local, Picked};
use crate::pool::{Pool, Taken, Turn};
use crate::session::{ClientLink, ClientSession, Unopened};
use crate::time::by;
use crate::waiters::{Wait, Waiters};
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
    pub(crate) fn settle(&mut self, code: Option<Code>) {
        self.settled = true;
        self.code = code;
    }
}

impl Drop for Placed {
    #[inline]
    fn drop(&mut self) {
        let now = now();
        if !self.settled {
            let ended = ClientSession::release(&self.link, self.key);
            self.code = ended.map(|(code, trailers)| {
                self.local.answered(&self.pool, &trailers);
                code
            });
        }
        self.local.finished(now, self.pool.key);
        if let Some(watch) = self.watch.take() {
            self.local.watched(&self.pool.name, watch, self.code, now);
        }
    }
}

/// A turn in a pool's line. The pool was picked when the call came into line, and is not picked anew while it takes calls: calls
/// that hand turns to each other and go elsewhere would keep each other waiting. Whoever does not use its turn gives it to the
/// next, or nobody would hear of the free stream.
struct Called(Option<Rc<Pool>>);

impl Called {
    /// What a call that has come to `pool` is there; a turn elsewhere is given up.
    #[inline]
    fn at(&mut self, pool: &Rc<Pool>) -> Turn {
        match &self.0 {
            None => return Turn::Newcomer,
            Some(called) if Rc::ptr_eq(called, pool) => return Turn::Called,
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
        if let Some(pool) = &self.0 {
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
    let mut turn = Called(None);
    let mut line: Option<Rc<Pool>> = None;
    // Endpoints whose breakers are open, besides those to be avoided.
    let mut blocked: Vec<EndpointKey> = Vec::new();
    loop {
        let call = Call { hash: plan.hash, avoid: if blocked.is_empty() { avoid } else { &blocked } };
        let picked = match line.take().filter(|pool| plan.local.takes_calls(pool)) {
            Some(pool) => Picked::Pool(pool),
            None => plan.local.pick(now(), &call),
        };
        let wait = match picked {
            Picked::Pool(pool) => {
                let watch = match plan.local.admit(&pool, plan.path(), now()) {
                    Ok(watch) => watch,
                    Err(retry_after) if blocked.contains(&pool.key) => {
                        // No other endpoint is left.
                        let cause = Cause::BreakerOpen { retry_after };
                        return Err(plan.failure(cause, Some(pool.name.clone()), attempt));
                    }
                    Err(_) => {
                        blocked.extend(if blocked.is_empty() { avoid } else { &[] });
                        blocked.push(pool.key);
                        continue;
                    }
                };
                let taken = pool.take(turn.at(&pool), |link| {
                    link.with(|session, io| open(session, io, &pool)).unwrap_or(Err(Unopened::Leaving))
                });
                match taken {
                    Taken::Yes(link, key) => {
                        turn.use_up();
                        plan.local.started(now(), pool.key);
                        let (local, settled) = (plan.local.clone(), false);
                        return Ok(Placed {
                            link,
                            pool,
                            key,
                            local,
                            settled,
                            watch: Some(watch),
                            code: None,
                        });
                    }
                    Taken::Full => {
                        plan.local.watched(&pool.name, watch, None, now());
                        turn.use_up();
                        let wait = join(plan, &pool.waiters, attempt)?;
                        line = Some(pool);
                        wait
                    }
                    // Its connection has just gone; the next pick knows.
                    Taken::None => {
                        plan.local.watched(&pool.name, watch, None, now());
                        join(plan, &plan.local.waiting, attempt)?
                    }
                }
            }
            Picked::Failed(cause, endpoint)
                if !plan.wait_for_ready || matches!(cause, Cause::ChannelShutdown) =>
            {
                return Err(plan.failure(cause, endpoint, attempt));
            }
            Picked::Wait | Picked::Failed(..) => join(plan, &plan.local.waiting, attempt)?,
        };
        // Before the wait: a turn that was not used is another's now.
        turn = Called(None);
        if by(plan.deadline, wait).await.is_none() {
            let at = if line.is_some() { Place::Queue } else { Place::Connecting };
            return Err(plan.expired(at, attempt));
        }
        turn.0.clone_from(&line);
    }
}

/// A place in line, if there are not too many.
pub(super) fn join(plan: &Plan, waiters: &Rc<Waiters>, attempt: u32) -> Result<Wait, Failure> {
    let max = plan.local.shared.options.pending_calls_max;
    if waiters.len() >= max {
        return Err(plan.failure(Cause::QueueFull { max }, None, attempt));
    }
    Ok(waiters.join())
}
