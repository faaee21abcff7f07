//! Tasks of a worker that belong to no connection: pumps of streams, resolvers, calls that foreign threads ask for.
//!
//! monoio's own wakers may not leave their thread. The futures here see wakers that may: on the worker's thread a wake goes
//! straight to the task, from anywhere else it goes through the mailbox.
//!
//! Invariant: a spawned task is dropped, finished or not, before its worker ends; its panic is its own.

use crate::helpers::here;
use crate::home::{Home, Letter};
use crate::panic::guard;
use crate::worker::{self, Worker};
use corelane_memory::Key;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
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
    let mut task = Spawned { worker: worker.clone(), enlisted: None, future: Some(Box::pin(future)) };
    worker.spawn(poll_fn(move |cx| task.poll(cx)));
}

/// What wakes a spawned task, from any thread.
struct TaskWaker {
    home: Arc<Home>,
    task: Key,
    /// Called, and not yet taken note of.
    woken: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release pairs with the Acquire before each poll: what was done before the wake is seen by the poll.
        if self.woken.swap(true, Ordering::Release) {
            return;
        }
        if !worker::wake_task_here(self.home.id, self.task) {
            self.home.post(Letter::WakeTask(self.task));
        }
    }
}

struct Spawned<F> {
    worker: Rc<Worker>,
    enlisted: Option<(Arc<TaskWaker>, Waker)>,
    /// `None` once it has ended.
    future: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()>> Spawned<F> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        // A last look, for what had come when the worker was over; none for a task that has not begun, or one that spawns its
        // successor would go on for ever.
        let is_last = self.worker.is_over();
        let Some(future) = self.future.as_mut().filter(|_| !is_last || self.enlisted.is_some()) else {
            self.end();
            return Poll::Ready(());
        };
        if self.enlisted.is_none() {
            let Some(task) = self.worker.enlist(cx.waker().clone()) else {
                tracing::error!("too many spawned tasks: one was dropped");
                self.end();
                return Poll::Ready(());
            };
            let home = self.worker.home.clone();
            let made = Arc::new(TaskWaker { home, task, woken: AtomicBool::new(false) });
            self.enlisted = Some((made.clone(), Waker::from(made)));
        }
        let (flag, waker) = self.enlisted.as_ref().expect("it was enlisted just now");
        // Noted before the poll, so that a wake during the poll counts. A swap: see `CallWaker::take`.
        flag.woken.swap(false, Ordering::Acquire);
        let polled = guard(|| future.as_mut().poll(&mut Context::from_waker(waker)));
        match polled {
            Ok(Poll::Pending) if !is_last => return Poll::Pending,
            Ok(_) => {}
            Err(panic) => {
                self.worker.counters.panics.increment();
                tracing::error!(panic = panic.message(), "a spawned task panicked");
            }
        }
        self.end();
        Poll::Ready(())
    }
}

impl<F> Spawned<F> {
    fn end(&mut self) {
        // The future goes first: it may wake itself while it is dropped.
        if let Some(future) = self.future.take()
            && let Err(panic) = guard(|| drop(future))
        {
            tracing::error!(panic = panic.message(), "a spawned task panicked while it was dropped");
        }
        if let Some((waker, _)) = self.enlisted.take() {
            self.worker.strike(waker.task);
        }
    }
}

impl<F> Drop for Spawned<F> {
    fn drop(&mut self) {
        self.end();
    }
}
