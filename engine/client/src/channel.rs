//! A client's view of a service, on one worker.

use std::time::Duration;

use corelane_call::Status;

use crate::{BuildError, ConnectivityState};

/// A client's view of a service, on one worker: resolves, balances, pools, retries. A clone shares everything.
#[derive(Clone, Debug)]
pub struct Channel {}

impl Channel {
    /// Options for a channel to `target`: `dns:///greeter:50051`, `ipv4:127.0.0.1:50051`, `unix:/run/greeter.sock`,
    /// `static:///a:1,b:2`.
    pub fn builder(target: impl Into<String>) -> ChannelBuilder {
        ChannelBuilder { target: target.into() }
    }

    /// A channel to `target` with a connection that is ready.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a target that is none, `UNAVAILABLE` where no connection could be made.
    pub async fn connect(target: impl Into<String>) -> Result<Channel, Status> {
        let _ = target.into();
        todo!()
    }

    /// What the channel is doing about its connections.
    #[must_use]
    pub fn state(&self) -> ConnectivityState {
        todo!()
    }
}

/// Options of a channel.
#[derive(Clone, Debug)]
#[must_use = "no channel is made until `build` is called"]
pub struct ChannelBuilder {
    target: String,
}

impl ChannelBuilder {
    /// The time that a call has if it says nothing itself.
    pub fn timeout(self, _timeout: Duration) -> Self {
        self
    }

    /// The time that one attempt to connect has: 20 s unless it is set.
    pub fn connect_timeout(self, _timeout: Duration) -> Self {
        self
    }

    /// What goes in front of our own user agent.
    pub fn user_agent(self, _user_agent: impl Into<String>) -> Self {
        self
    }

    /// `:authority`, where it is not the target's.
    pub fn authority(self, _authority: impl Into<String>) -> Self {
        self
    }

    /// A service config in JSON, for names whose resolver gives none.
    pub fn default_service_config(self, _json: impl Into<String>) -> Self {
        self
    }

    /// How many connections each worker keeps to each endpoint, at least and at most: 1 and 8 unless it is set.
    pub fn connections(self, _min: usize, _max: usize) -> Self {
        self
    }

    /// The channel, for all workers: it connects when a worker first uses it.
    ///
    /// # Errors
    /// [`BuildError`] says which option or part of the target is wrong.
    pub fn build(self) -> Result<SharedChannel, BuildError> {
        let _ = self.target;
        todo!()
    }

    /// The channel on this worker, connected lazily.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn connect_lazy(self) -> Result<Channel, BuildError> {
        Ok(self.build()?.local())
    }

    /// The channel on this worker, with a connection that is ready.
    ///
    /// # Errors
    /// As [`Channel::connect`].
    pub async fn connect(self) -> Result<Channel, Status> {
        todo!()
    }
}

/// A channel for all workers: endpoints, breakers and budgets are common, connections are each worker's own.
#[derive(Clone, Debug)]
pub struct SharedChannel {}

impl SharedChannel {
    /// The channel on this worker.
    ///
    /// # Panics
    /// Off a worker.
    #[must_use]
    pub fn local(&self) -> Channel {
        todo!()
    }
}
