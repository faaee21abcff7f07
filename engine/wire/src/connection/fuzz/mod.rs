//! The fuzz bodies for a whole connection, as server and as client: whatever the peer sends, at whatever time and however it is cut,
//! and whatever the owner does meanwhile, the promises hold.
//!
//! The input is a [script](script): it chooses the configuration, then what the [peer](peer) says, what of it arrives, how time
//! passes and what the owner does, step by step. A [run](run) keeps the streams as their owner knows them; [checks](checks) say what
//! must hold after every step; a [judge](judge) reads the output as a strict peer would.
//!
//! A script means something else after every change to what reads it: the inputs in `tests/corpus/connection` stay inputs, but what
//! they have reached once is told by their names alone. What they found has a test of its own where the fault was.

mod checks;
mod cuts;
mod judge;
mod owner;
mod peer;
mod run;
mod script;
#[cfg(test)]
mod tests;

use super::{ConnectionError, Role};

/// Runs `bytes` as a script with a server under test.
///
/// # Panics
///
/// If a promise of the connection is broken.
pub fn fuzz_server(bytes: &[u8]) {
    let _ = run::run(Role::Server, bytes);
}

/// As [`fuzz_server`], with a client under test.
///
/// # Panics
///
/// If a promise of the connection is broken.
pub fn fuzz_client(bytes: &[u8]) {
    let _ = run::run(Role::Client, bytes);
}

/// Takes `bytes` for what a peer says, and holds a connection that hears it at once against one that hears it in pieces; the first
/// byte chooses the end that listens.
///
/// # Panics
///
/// If cutting changes what comes out.
pub fn fuzz_cuts(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    cuts::run(if first % 2 == 0 { Role::Server } else { Role::Client }, rest);
}

/// What a script has reached.
#[derive(Debug, Default)]
struct Reached {
    /// How the connection ended, if it did.
    error: Option<ConnectionError>,
    /// Events of streams.
    events: u32,
    /// Streams that ended in good order.
    finished: u32,
    /// Times that it has slept.
    slept: u32,
    /// Octets of DATA that the owner was given.
    data: u64,
}
