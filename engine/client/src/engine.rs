//! Workers for clients: threads that dial, for programs that serve nothing or call from other threads.

use corelane_runtime::{Handle, StartError, Workers};

/// Workers for clients. Dropping it ends them.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
}

impl Engine {
    /// Starts so many workers.
    ///
    /// # Errors
    /// As the runtime's start.
    pub fn start(workers: Workers) -> Result<Engine, StartError> {
        let config = corelane_runtime::Config { workers, ..corelane_runtime::Config::default() };
        Ok(Engine { handle: corelane_runtime::start_clients(config)? })
    }

    /// Runs a future on a worker until it has ended, and gives what it has come to. `make` is called on the worker, so the
    /// future need not be `Send`. For a program's `main`.
    ///
    /// # Panics
    /// If the worker ends before.
    pub fn block_on<M, F>(&self, make: M) -> F::Output
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        let job = move || {
            let future = make();
            corelane_runtime::spawn_local(async move {
                let _ = sender.send(future.await);
            });
        };
        self.handle.spawner().submit(0, job).expect("a fresh mailbox has room");
        receiver.recv().expect("the worker runs for as long as its engine")
    }
}
