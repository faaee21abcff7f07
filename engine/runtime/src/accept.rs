//! The task of one listener: accepts until the worker drains, whatever goes wrong with single connections.
//!
//! Invariant: nothing but a drain ends it. Errors of a connection that is gone again are passed over; for all others
//! (no descriptors, no memory) it pauses, longer each time, and says so at most once a second.

use crate::backend::{Accepted, Listener, Socket};
use crate::driver;
use crate::helpers::{sleep, yield_now};
use crate::inbox::Origin;
use crate::limits::{ACCEPT_LOG, ACCEPT_PAUSE, ACCEPTS_AT_END, ACCEPTS_PER_TURN};
use crate::listen::Address;
use crate::session::{PeerInfo, SessionFactory};
use crate::worker::Worker;
use corelane_observe::Limit;
use corelane_wire::Instant;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Accepts until the worker drains, then whatever still waits: a listener that closes resets what is in its queue.
pub(crate) async fn listen<F: SessionFactory>(worker: Rc<Worker>, listener: Listener, factory: Rc<F>) {
    let mut trouble = Trouble::default();
    while let Some(readable) = worker.draining.unless(listener.readable()).await {
        if let Err(error) = readable {
            trouble.pause(&worker, &error).await;
            continue;
        }
        match accept_some(&worker, &listener, &*factory) {
            Ok(Progress::Emptied) => trouble.pause = Duration::ZERO,
            // The epoll driver would answer "readable" from memory, for as long as connections come.
            Ok(Progress::More) => yield_now().await,
            Err(error) => trouble.pause(&worker, &error).await,
        }
    }
    // What waited when the drain began, not what goes on coming.
    for _ in 0..ACCEPTS_AT_END {
        match accept_some(&worker, &listener, &*factory) {
            Ok(Progress::More) => {}
            Ok(Progress::Emptied) | Err(_) => break,
        }
    }
    listener.close();
    worker.listener_ended();
}

enum Progress {
    /// Nobody waits any more.
    Emptied,
    /// The budget of a turn is used up.
    More,
}

/// Accepts the connections that wait, up to a turn's budget.
fn accept_some<F: SessionFactory>(
    worker: &Rc<Worker>,
    listener: &Listener,
    factory: &F,
) -> io::Result<Progress> {
    for _ in 0..ACCEPTS_PER_TURN {
        match listener.accept() {
            Ok(Some(accepted)) => place(worker, accepted, factory),
            Ok(None) => return Ok(Progress::Emptied),
            Err(error) if is_of_one_connection(&error) => worker.counters.accepts_failed.increment(),
            Err(error) => return Err(error),
        }
    }
    Ok(Progress::More)
}

/// Errors that accept(2) hands on from the one connection that it would have accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PERM, // a firewall's
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NONET,
        Errno::TIMEDOUT,
    ];
    passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Opens a connection here, or hands it to a worker that has fewer. One that drains keeps what it has accepted.
fn place<F: SessionFactory>(worker: &Rc<Worker>, accepted: Accepted, factory: &F) {
    let kept = match worker.draining.is_set() {
        true => Err(accepted),
        false => worker.neighbours.hand_over(accepted),
    };
    match kept {
        Ok(()) => worker.counters.connections_handed_over.increment(),
        Err(accepted) => {
            worker.home.count_connection();
            open(worker, accepted, factory);
        }
    }
}

/// Gives a connection that was counted its driver, or closes it.
pub(crate) fn open<F: SessionFactory>(worker: &Rc<Worker>, accepted: Accepted, factory: &F) {
    let Some(inbox) = worker.admit(Origin::Accepted) else {
        // Closed at once, which the client notices; it would hang in the backlog otherwise.
        worker.counters.connections_refused.increment();
        worker.counters.limits_hit.increment(Limit::Connections);
        worker.home.uncount_connection();
        return;
    };
    match set_up(accepted) {
        Ok((socket, peer)) => {
            worker.counters.connections_accepted.increment();
            driver::start(worker, factory, inbox, socket, Rc::new(peer));
        }
        Err(error) => {
            tracing::debug!(%error, "a connection was gone before it could be set up");
            worker.counters.accepts_failed.increment();
            worker.dismiss(&inbox);
        }
    }
}

fn set_up(accepted: Accepted) -> io::Result<(Socket, PeerInfo)> {
    let peer = match &accepted {
        Accepted::Tcp(stream, remote) => {
            // We write once a turn; a small write must not wait for the acknowledgement of the last one.
            stream.set_nodelay(true)?;
            PeerInfo { remote: Address::Tcp(*remote), local: Address::Tcp(stream.local_addr()?) }
        }
        Accepted::Unix(stream, remote) => {
            PeerInfo { remote: Address::from_unix(remote), local: Address::from_unix(&stream.local_addr()?) }
        }
    };
    Ok((Socket::new(accepted)?, peer))
}

/// What a listener remembers of its failures.
#[derive(Default)]
struct Trouble {
    pause: Duration,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Trouble {
    async fn pause(&mut self, worker: &Worker, error: &io::Error) {
        worker.counters.accepts_failed.increment();
        let (first, last) = ACCEPT_PAUSE;
        self.pause = (self.pause * 2).clamp(first, last);
        let now = worker.read_clock();
        if self.logged.is_none_or(|logged| now.since(logged) >= ACCEPT_LOG) {
            tracing::warn!(%error, unlogged = self.unlogged, pause = ?self.pause, "cannot accept connections");
            (self.logged, self.unlogged) = (Some(now), 0);
        } else {
            self.unlogged += 1;
        }
        worker.draining.unless(sleep(self.pause)).await;
    }
}
