//! What a task is to do for a pool: find its first connection, or make one more.
//!
//! Does not: dial. A task may be dropped before its first turn, when its worker has too many, or panic later. Invariant: what an
//! order has set in its pool is taken back when it ends, however it ends.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use super::Pool;

/// See the module.
pub(super) struct Order {
    pub(super) pool: Weak<Pool>,
    /// The pool's plan when it was given.
    plan: u64,
    /// The number of the search that it carries out; one more connection is no search.
    search: Option<u64>,
    /// An attempt is under way, and counted.
    dials: Cell<bool>,
}

impl Order {
    /// The order to find a first connection.
    pub(super) fn first(pool: &Rc<Pool>) -> Order {
        pool.searches.set(pool.searches.get() + 1);
        pool.seeking.set(Some(pool.searches.get()));
        Order::new(pool, pool.seeking.get())
    }

    /// The order to make one more.
    pub(super) fn more(pool: &Rc<Pool>) -> Order {
        Order::new(pool, None)
    }

    fn new(pool: &Rc<Pool>, search: Option<u64>) -> Order {
        let dials = Cell::new(false);
        let order = Order { pool: Rc::downgrade(pool), plan: pool.plan.get(), search, dials };
        order.begin(pool);
        order
    }

    /// An attempt begins.
    pub(super) fn begin(&self, pool: &Pool) {
        if !self.dials.replace(true) {
            pool.dialing.set(pool.dialing.get() + 1);
        }
    }

    /// The attempt is over.
    pub(super) fn end(&self, pool: &Pool) {
        if self.dials.replace(false) {
            pool.dialing.set(pool.dialing.get() - 1);
        }
    }

    /// The pool, if it still wants what it has ordered.
    pub(super) fn wanted(&self) -> Option<Rc<Pool>> {
        self.pool.upgrade().filter(|pool| pool.plan.get() == self.plan)
    }

    /// Whether its search goes on: it is over as soon as there is a connection, whoever has made it.
    pub(super) fn seeks(&self, pool: &Pool) -> bool {
        self.search.is_some() && pool.seeking.get() == self.search
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        self.end(&pool);
        if self.seeks(&pool) {
            pool.seeking.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Local;
    use crate::options::Options;
    use crate::shared::Shared;
    use corelane_policy::balance::{Readiness, Worker};
    use corelane_policy::config::Target;
    use corelane_runtime::{Workers, yield_now};
    use std::net::TcpListener;

    /// Runs `test` with a pool of its own, whose endpoint accepts and says nothing.
    fn with_pool<F: Future<Output = ()>>(test: impl FnOnce(Rc<Pool>) -> F + Send + 'static) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let engine = crate::Engine::start(Workers::Count(1)).unwrap();
        engine.block_on(move || async move {
            let target = Target::parse(&format!("ipv4:{address}")).unwrap();
            let shared = Shared::new(target, Options::default(), None, 0);
            let local = Local::new(&shared, Worker { index: 0, count: 1 });
            let key = shared.balancer.endpoints().order()[0];
            test(Pool::new(&local, key, address.as_str().into(), address.parse().unwrap())).await;
        });
    }

    #[test]
    fn what_is_no_longer_wanted_when_its_task_begins_is_not_dialed() {
        with_pool(|pool| async move {
            pool.connect();
            assert_eq!(pool.dialing.get(), 1);
            pool.rest();
            for _ in 0..3 {
                yield_now().await;
            }
            assert_eq!(pool.dialing.get(), 0);
        });
    }

    #[test]
    fn a_search_whose_task_is_lost_is_begun_anew() {
        with_pool(|pool| async move {
            let order = pool.seek();
            pool.revive();
            assert_eq!((pool.dialing.get(), pool.state.get()), (1, Readiness::Connecting));
            drop(order);
            assert_eq!((pool.dialing.get(), pool.seeking.get()), (0, None));
            // What the janitor does.
            pool.revive();
            assert_eq!(pool.state.get(), Readiness::Idle);
            pool.connect();
            assert_eq!((pool.dialing.get(), pool.state.get()), (1, Readiness::Connecting));
        });
    }

    #[test]
    fn growth_whose_task_is_lost_may_be_tried_again() {
        with_pool(|pool| async move {
            let order = Order::more(&pool);
            assert!(!pool.may_grow());
            drop(order);
            assert!(pool.may_grow());
        });
    }
}
