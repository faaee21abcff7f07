//! Tasks of a worker that belong to no connection: callers, pumps of streams, resolvers, what foreign threads ask for.
//!
//! One task of the runtime below polls them all, those that were woken, in that order: a wake on the worker's own thread is an entry
//! in a line. The futures see wakers that may leave their thread, which those of the runtime may not; from elsewhere a wake goes
//! through the mailbox.
//!
//! Invariants: a spawned task is dropped, finished or not, before its worker ends; its panic is its own. Nothing here is borrowed
//! while a future is polled or dropped.

use crate::helpers::here;
use crate::home::{Home, Letter};
use crate::limits::{SPAWNED_MAX, TASKS_PER_TURN};
use crate::panic::guard;
use crate::worker::{self, Worker};
use corelane_memory::{Key, Slab};
use corelane_observe::Lap;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Runs `future` on this worker, beside everything else. It is dropped when the worker ends, after one last poll, and when it
/// panics, which is logged.
///
/// ```
/// # use corelane_runtime::{Config, Workers, start_clients};
/// # let engine = start_clients(Config { workers: Workers::Count(1), ..Config::default() })?;
/// # let (sender, receiver) = std::sync::mpsc::channel();
/// # engine.spawner().submit(0, move || {
/// corelane_runtime::spawn_local(async move {
///     corelane_runtime::yield_now().await;
///     sender.send("later").expect("the receiver waits");
/// });
/// # })?;
/// # assert_eq!(receiver.recv()?, "later");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// Off a worker.
pub fn spawn_local(future: impl Future<Output = ()> + 'static) {
    let worker = here("spawn_local");
    worker.crew.add(&worker, Box::pin(future));
}

/// What wakes a spawned task, from any thread.
struct TaskWaker {
    home: Arc<Home>,
    task: Key,
    /// Called on another thread, and not yet taken note of.
    woken: AtomicBool,
}

impl TaskWaker {
    /// For the owner, before it polls the task: from here on a wake elsewhere counts anew.
    fn take(&self) {
        // Relaxed: a wake that this does not see has a letter under way, behind which it will be seen.
        if self.woken.load(Ordering::Relaxed) {
            // Acquire pairs with the Release of each wake: what was done before it is seen by the poll. A swap and not a store: who
            // finds the flag up relies on our seeing, now, what was done before.
            self.woken.swap(false, Ordering::Acquire);
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if worker::wake_task_here(self.home.id, self.task) {
            return;
        }
        // Release: see `take`. No Acquire: nothing that the owner wrote is read here.
        if !self.woken.swap(true, Ordering::Release) {
            self.home.post(Letter::WakeTask(self.task));
        }
    }
}

/// A task and what it is woken with.
struct Job {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<TaskWaker>,
    waker: Waker,
}

struct Member {
    /// `None` while it is polled.
    job: Option<Job>,
    /// Whether it stands in line.
    queued: bool,
}

/// The spawned tasks of one worker.
pub(crate) struct Crew {
    members: RefCell<Slab<Member>>,
    /// Those to be polled; some may have ended since.
    line: RefCell<VecDeque<Key>>,
    /// What wakes the task that polls them; there is none before it was polled.
    waker: RefCell<Option<Waker>>,
    /// That task waits to be woken.
    resting: Cell<bool>,
}

impl Crew {
    pub(crate) fn new() -> Crew {
        Crew {
            members: RefCell::new(Slab::new(SPAWNED_MAX)),
            line: RefCell::default(),
            waker: RefCell::default(),
            resting: Cell::new(false),
        }
    }

    /// How many tasks have not ended.
    pub(crate) fn len(&self) -> usize {
        self.members.borrow().len()
    }

    /// Bytes of the table of tasks, the tasks themselves not counted.
    pub(crate) fn table_bytes(&self) -> usize {
        self.members.borrow().capacity() * size_of::<Member>()
    }

    fn add(&self, worker: &Worker, future: Pin<Box<dyn Future<Output = ()>>>) {
        // None joins a worker that is over, or one that spawns its successor would go on for ever.
        if worker.is_over() {
            return discard(future);
        }
        if let Some(task) = self.enlist(worker, future) {
            self.wake(task);
        }
    }

    /// A place for a task; without one it is dropped.
    fn enlist(&self, worker: &Worker, future: Pin<Box<dyn Future<Output = ()>>>) -> Option<Key> {
        let vacant = self.members.borrow().vacant_key();
        let Some(task) = vacant else {
            tracing::error!("too many spawned tasks: one was dropped");
            discard(future);
            return None;
        };
        let flag = Arc::new(TaskWaker { home: worker.home.clone(), task, woken: AtomicBool::new(false) });
        let waker = Waker::from(flag.clone());
        let member = Member { job: Some(Job { future, flag, waker }), queued: false };
        self.members.borrow_mut().insert(member).ok()
    }

    /// A task is to be polled.
    pub(crate) fn wake(&self, task: Key) {
        match self.members.borrow_mut().get_mut(task) {
            Some(member) if !member.queued => member.queued = true,
            _ => return,
        }
        self.line.borrow_mut().push_back(task);
        self.rouse();
    }

    /// All are to be polled: wakes may have been lost, or the worker is over.
    pub(crate) fn wake_all(&self) {
        let mut line = self.line.borrow_mut();
        for (task, member) in self.members.borrow_mut().iter_mut() {
            if !std::mem::replace(&mut member.queued, true) {
                line.push_back(task);
            }
        }
        drop(line);
        self.rouse();
    }

    fn rouse(&self) {
        if self.resting.replace(false)
            && let Some(waker) = &*self.waker.borrow()
        {
            // The runtime's own: it notes that its task is to be polled, and runs nothing.
            waker.wake_by_ref();
        }
    }

    /// Polls tasks that were woken; ready when the worker is over and none is left.
    pub(crate) fn poll(&self, worker: &Worker, cx: &Context<'_>) -> Poll<()> {
        self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        self.resting.set(false);
        worker.profile.lap(Lap::Outside);
        let mut polled = 0;
        loop {
            let next = self.line.borrow_mut().pop_front();
            let Some(task) = next else { break };
            self.poll_one(worker, task);
            polled += 1;
            // Once the worker is over all have their last turn, and none comes after that.
            if polled == TASKS_PER_TURN && !worker.is_over() {
                // Tasks that wake one another would go on for ever: the connections and the kernel have their turn before the rest.
                worker.ticker.wake_later(cx.waker().clone());
                break;
            }
        }
        worker.profile.lap(Lap::Tasks);
        if worker.is_over() && self.members.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.resting.set(true);
        Poll::Pending
    }

    fn poll_one(&self, worker: &Worker, task: Key) {
        let Some(mut job) = self.take(task) else { return };
        job.flag.take();
        // A last look, for what had come when the worker was over.
        let is_last = worker.is_over();
        let polled = guard(|| job.future.as_mut().poll(&mut Context::from_waker(&job.waker)));
        match polled {
            Ok(Poll::Pending) if !is_last => return self.put_back(task, job),
            Ok(_) => {}
            Err(panic) => {
                worker.counters.panics.increment();
                tracing::error!(panic = panic.message(), "a spawned task panicked");
            }
        }
        // The member goes first: the future may wake itself while it is dropped.
        self.members.borrow_mut().remove(task);
        discard(job);
    }

    fn take(&self, task: Key) -> Option<Job> {
        let mut members = self.members.borrow_mut();
        let member = members.get_mut(task)?;
        member.queued = false;
        member.job.take()
    }

    fn put_back(&self, task: Key, job: Job) {
        let mut members = self.members.borrow_mut();
        members.get_mut(task).expect("only its own end removes it").job = Some(job);
    }
}

/// Drops what others have written.
fn discard<T>(spawned: T) {
    if let Err(panic) = guard(|| drop(spawned)) {
        tracing::error!(panic = panic.message(), "a spawned task panicked while it was dropped");
    }
}
