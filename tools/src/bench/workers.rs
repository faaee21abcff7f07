//! The workers of a run: one for each lane. They connect, wait for each other, and drive their lanes to the end.
//!
//! Does not: know how a lane is driven; a [`Transport`] does.

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;

use corelane::client::{Backend, Engine, Workers};

use crate::bench::drive::Lane;
use crate::bench::recorder::Recorder;
use crate::cli::Crew;

/// The engine's timers ring up to a millisecond late, and a late call seems a slow one: nearer to its time than this, a
/// call waits turn by turn.
pub(crate) const TIMER_LATE: Duration = Duration::from_millis(2);

/// How often the end of a run is looked for.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// A way to send calls, as one worker has it; made elsewhere, and used there.
pub(crate) trait Transport: Send + 'static {
    /// What calls go over.
    type Connected;

    /// Opens the lane's connections.
    ///
    /// # Errors
    /// In words for the user.
    async fn connect(self, lane: &Lane) -> Result<Self::Connected, String>;

    /// Runs the lane, from its beginning to its figures.
    async fn drive(connected: Self::Connected, lane: Lane) -> Recorder;
}

/// Where workers run.
pub(crate) struct Place {
    pub(crate) crew: Option<Crew>,
    pub(crate) backend: Backend,
}

impl Place {
    /// Runs each lane on a worker of its own, over the transport that `make` has for it.
    ///
    /// # Errors
    /// The engine does not start, a lane cannot connect, or a worker dies.
    pub(crate) fn run<T: Transport>(
        &self,
        lanes: Vec<Lane>,
        mut make: impl FnMut(&Lane) -> T,
    ) -> Result<Vec<Recorder>, Box<dyn Error>> {
        let count = lanes.len();
        let workers = match &self.crew {
            Some(Crew(cores @ Workers::Cores(_))) => cores.clone(),
            _ => Workers::Count(count),
        };
        let engine = Engine::start_on(workers, self.backend)?;
        let (sender, results) = channel();
        for (worker, mut lane) in lanes.into_iter().enumerate() {
            let (transport, sender) = (make(&lane), sender.clone());
            engine.spawn_on(worker, move || async move {
                // Nobody listens once another lane has failed.
                let _ = match transport.connect(&lane).await {
                    Ok(connected) => sender.send(match lane.ready() {
                        Ok(()) => Ok(T::drive(connected, lane).await),
                        Err(given_up) => Err(given_up.to_string()),
                    }),
                    Err(reason) => {
                        let sent = sender.send(Err(reason));
                        // Only now: this has the other lanes say that one has failed, and the reason is to come first.
                        drop(lane);
                        sent
                    }
                };
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
