//! A client's hold on a connection: callers of the same worker reach the session and the protocol through it, at once and
//! without a task between.
//!
//! What a caller produces goes into the connection's output; the connection's own task is woken once and writes what all
//! callers of this turn have produced together.
//!
//! Invariant: the driver is borrowed inside these methods and inside its own turn only, and neither runs foreign code: wakers
//! wait until the borrow has ended ([`Io::wake_after`]).

use super::output::Output;
use super::turn::session_and_io;
use super::{Driver, Phase};
use crate::inbox::Inbox;
use crate::session::{Io, Session};
use corelane_wire::connection::Connection;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

/// See the module.
pub struct Link<S> {
    driver: Rc<RefCell<Driver<S>>>,
    inbox: Rc<Inbox>,
}

impl<S: Session> Link<S> {
    pub(super) fn new(driver: Rc<RefCell<Driver<S>>>, inbox: Rc<Inbox>) -> Link<S> {
        Link { driver, inbox }
    }

    /// Lets `work` use the session and the connection, and has the connection write what came of it; `None` once the
    /// connection is over.
    ///
    /// # Panics
    /// Within `work` of the same link.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&mut S, &mut Io<'_>) -> R) -> Option<R> {
        let (result, mut woken) = {
            let driver = &mut *self.driver.borrow_mut();
            if driver.phase != Phase::Open {
                return None;
            }
            driver.now = driver.worker.now();
            Output::prepare(&mut driver.wire, &driver.worker.buffers);
            driver.touched = true;
            let (session, mut io) = session_and_io!(driver);
            let result = work(session, &mut io);
            // An empty one stays, with its room: the next turn has wakers again.
            let woken = if driver.woken.is_empty() { Vec::new() } else { std::mem::take(&mut driver.woken) };
            (result, woken)
        };
        self.inbox.notify();
        woken.drain(..).for_each(Waker::wake);
        Some(result)
    }

    /// Lets `look` use the session alone, also after the connection's end. Nothing is written for it.
    ///
    /// # Panics
    /// Within `work` or `look` of the same link.
    #[inline]
    pub fn session<R>(&self, look: impl FnOnce(&mut S) -> R) -> R {
        look(&mut self.driver.borrow_mut().session)
    }

    /// Lets `look` use the protocol alone; `None` once the connection is over. Nothing is written for it.
    ///
    /// # Panics
    /// Within `work` of the same link.
    #[inline]
    pub fn wire<R>(&self, look: impl FnOnce(&Connection) -> R) -> Option<R> {
        let driver = self.driver.borrow();
        (driver.phase == Phase::Open).then(|| look(&driver.wire))
    }
}

impl<S> Clone for Link<S> {
    fn clone(&self) -> Link<S> {
        Link { driver: self.driver.clone(), inbox: self.inbox.clone() }
    }
}

impl<S> fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connection", &self.inbox.key).finish_non_exhaustive()
    }
}
