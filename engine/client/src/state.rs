//! Connectivity, as gRPC's documents define it (connectivity-semantics-and-api.md).

/// What a channel, or one endpoint of it, is doing about its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectivityState {
    /// Nothing: there was no call yet, or none for a long time.
    #[default]
    Idle,
    /// Connecting; calls wait.
    Connecting,
    /// Connected; calls go out.
    Ready,
    /// Connecting has failed and is tried again after a while; calls fail, but for those that wait for readiness.
    TransientFailure,
    /// Shut down; calls fail.
    Shutdown,
}
