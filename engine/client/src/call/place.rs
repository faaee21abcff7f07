//! Placing one attempt: from a pick to an open stream, waiting in line where there is no room.
//!
//! Invariant: a placed call is accounted for with its endpoint until it is dropped, and its stream ends with it.

use std::rc::Rc;

use corelane_memory::Key;
use corelane_policy::balance::{Call, EndpointKey};
use corelane_runtime::{Io, now};

use super::plan::Plan;
use crate::error::Failure;
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
}

impl Placed {
    /// The outcome was taken: nothing is left to give up.
    #[inline]
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }
}

impl Drop for Placed {
    #[inline]
    fn drop(&mut self) {
        if !self.settled {
            let key = self.key;
            if self.link.with(|session, io| session.give_up(io, key)).is_none() {
                self.link.session(|session| session.forget(key));
            }
        }
        self.local.finished(now(), self.pool.key);
    }
}

/// Opens a stream for an attempt with `open`, wherever the policy picks. `avoid` are endpoints of earlier attempts.
pub(crate) async fn place(
    plan: &Plan,
    attempt: u32,
    avoid: &[EndpointKey],
    mut open: impl FnMut(&mut ClientSession, &mut Io<'_>, &Rc<Pool>) -> Result<Key, Unopened>,
) -> Result<Placed, Failure> {
    let mut queued = Turn::Newcomer;
    loop {
        let call = Call { hash: plan.hash, avoid };
        let (wait, at) = match plan.local.pick(now(), &call) {
            Picked::Pool(pool) => {
                let taken = pool.take(queued, |link| {
                    link.with(|session, io| open(session, io, &pool)).unwrap_or(Err(Unopened::Leaving))
                });
                match taken {
                    Taken::Yes(link, key) => {
                        plan.local.started(now(), pool.key);
                        return Ok(Placed { link, pool, key, local: plan.local.clone(), settled: false });
                    }
                    Taken::Full => (join(plan, &pool.waiters, attempt)?, Place::Queue),
                    // Its connection has just gone; the next pick knows.
                    Taken::None => (join(plan, &plan.local.waiting, attempt)?, Place::Connecting),
                }
            }
            Picked::Failed(cause, endpoint)
                if !plan.wait_for_ready || matches!(cause, Cause::ChannelShutdown) =>
            {
                return Err(plan.failure(cause, endpoint, attempt));
            }
            Picked::Wait | Picked::Failed(..) => {
                (join(plan, &plan.local.waiting, attempt)?, Place::Connecting)
            }
        };
        if by(plan.deadline, wait).await.is_none() {
            return Err(plan.expired(at, attempt));
        }
        queued = match at {
            Place::Queue => Turn::Called,
            _ => Turn::Newcomer,
        };
    }
}

/// A place in line, if there are not too many.
fn join(plan: &Plan, waiters: &Rc<Waiters>, attempt: u32) -> Result<Wait, Failure> {
    let max = plan.local.shared.options.pending_calls_max;
    if waiters.len() >= max {
        return Err(plan.failure(Cause::QueueFull { max }, None, attempt));
    }
    Ok(waiters.join())
}
