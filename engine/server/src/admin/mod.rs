//! The admin port: what the server counts, as JSON over HTTP/1.1, for people and programs that look after it.
//!
//! One thread, apart from the workers, accepts; each connection is one request, answered on a short-lived thread of its own. What
//! it tells is read from the workers' shards, so a worker does not notice that it was asked.
//!
//! Does not: keep connections alive, read bodies, encrypt, or ask who is there. That is why it is off unless it is asked for, and
//! listens on the loopback address unless it is told otherwise.
//!
//! Invariant: whatever a peer sends or leaves out, it has one of [`CONNECTIONS_MAX`] places for at most [`REQUEST_TIME`] and
//! a moment in which to hear why.

mod figures;
mod json;
mod request;
mod routes;
mod serve;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

pub(crate) use figures::Figures;

/// Requests that are answered at once; one more is told to come back later.
const CONNECTIONS_MAX: usize = 16;

/// How long a peer may take over its request and our answer.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How long the thread that accepts waits after a failure that will not pass by itself at once (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the admin port listens: a number alone means that port of the loopback address.
///
/// ```
/// use corelane_server::AdminAddress;
///
/// assert_eq!(AdminAddress::from(9901).to_string(), "127.0.0.1:9901");
/// assert_eq!("9901".parse::<AdminAddress>()?, AdminAddress::from(9901));
/// assert_eq!("[::]:9901".parse::<AdminAddress>()?.to_string(), "[::]:9901");
/// # Ok::<(), corelane_server::InvalidAdminAddress>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddress(SocketAddr);

impl From<u16> for AdminAddress {
    fn from(port: u16) -> AdminAddress {
        AdminAddress(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

impl From<SocketAddr> for AdminAddress {
    fn from(address: SocketAddr) -> AdminAddress {
        AdminAddress(address)
    }
}

impl From<AdminAddress> for SocketAddr {
    fn from(address: AdminAddress) -> SocketAddr {
        address.0
    }
}

impl FromStr for AdminAddress {
    type Err = InvalidAdminAddress;

    fn from_str(text: &str) -> Result<AdminAddress, InvalidAdminAddress> {
        if let Ok(port) = text.parse::<u16>() {
            return Ok(AdminAddress::from(port));
        }
        text.parse().map(AdminAddress).map_err(|_| InvalidAdminAddress { text: text.to_owned() })
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no [`AdminAddress`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAdminAddress {
    text: String,
}

impl fmt::Display for InvalidAdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an admin address: give a port, or an IP address and a port", self.text)
    }
}

impl std::error::Error for InvalidAdminAddress {}

/// The bounds of what peers may take, apart from the constants so that tests need not wait.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connections_max: usize,
    request_time: Duration,
}

/// An admin port that is open. Dropping it closes it; answers under way are still given.
pub(crate) struct Admin {
    address: SocketAddr,
    listener: TcpListener,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Has the port answer; it was bound before, so that an address in use is found before anything runs.
    ///
    /// # Errors
    /// When descriptors or threads run out.
    pub(crate) fn open(listener: TcpListener, figures: Figures) -> io::Result<Admin> {
        let bounds = Bounds { connections_max: CONNECTIONS_MAX, request_time: REQUEST_TIME };
        Admin::open_within(bounds, listener, figures)
    }

    fn open_within(bounds: Bounds, listener: TcpListener, figures: Figures) -> io::Result<Admin> {
        let address = listener.local_addr()?;
        let closing = Arc::new(AtomicBool::new(false));
        let desk = Desk {
            listener: listener.try_clone()?,
            closing: closing.clone(),
            figures: Arc::new(figures),
            places: Arc::new(AtomicUsize::new(bounds.connections_max)),
            bounds,
        };
        let thread = thread::Builder::new().name("corelane-admin".to_owned()).spawn(move || desk.attend())?;
        Ok(Admin { address, listener, closing, thread: Some(thread) })
    }

    /// Where it listens; a port of 0 has become a number.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `attend`, though the shutdown alone would order them: the flag tells an accept that was
        // ended by us from one that failed.
        self.closing.store(true, Ordering::Release);
        // On Linux this ends an accept that waits, with EINVAL.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The side of the thread that accepts.
struct Desk {
    listener: TcpListener,
    closing: Arc<AtomicBool>,
    figures: Arc<Figures>,
    /// Places that are free.
    places: Arc<AtomicUsize>,
    bounds: Bounds,
}

/// A place that is taken, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        // Relaxed, as in `place`: a number is all there is.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Desk {
    /// Accepts until the port is closed.
    fn attend(&self) {
        loop {
            let accepted = self.listener.accept();
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                Ok((peer, _)) => self.receive(peer),
                Err(error) if is_of_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept");
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Gives a peer its place and its thread, or sends it away.
    fn receive(&self, peer: TcpStream) {
        let Some(place) = self.place() else { return serve::turn_away(&peer) };
        let (figures, time) = (self.figures.clone(), self.bounds.request_time);
        let work = move || {
            serve::serve(&peer, &figures, time);
            drop(place);
        };
        if let Err(error) = thread::Builder::new().name("corelane-admin-request".to_owned()).spawn(work) {
            tracing::warn!(%error, "the admin port cannot answer");
        }
    }

    fn place(&self) -> Option<Place> {
        // Only this thread takes places, so between the look and the taking there can only become more of them.
        if self.places.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.places.fetch_sub(1, Ordering::Relaxed);
        Some(Place(self.places.clone()))
    }
}

/// Whether an accept failed for a connection that was gone again.
fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests;
