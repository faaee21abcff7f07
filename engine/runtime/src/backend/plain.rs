//! Sockets as the standard library has them: made on any thread, or just accepted, and bound to no runtime.

use socket2::SockRef;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

/// A listening socket, before it is moved to its worker.
#[derive(Debug)]
pub(crate) enum StdListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that was accepted.
pub(crate) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream, UnixAddr),
}

impl StdListener {
    pub(crate) fn try_clone(&self) -> io::Result<StdListener> {
        Ok(match self {
            StdListener::Tcp(listener) => StdListener::Tcp(listener.try_clone()?),
            StdListener::Unix(listener) => StdListener::Unix(listener.try_clone()?),
        })
    }

    /// Ends listening at once, whoever still holds the socket: what waited for it in a ring holds it until the kernel has
    /// taken the ring apart, and a dead worker's would collect connections that nobody serves. What waits in the queue is
    /// reset.
    ///
    /// A Unix socket is all workers' together, so it ends with its last holder.
    pub(crate) fn silence(&self) {
        if let StdListener::Tcp(listener) = self {
            // Nobody is left who could do anything about a failure.
            let _ = SockRef::from(listener).shutdown(Shutdown::Both);
        }
    }

    /// Accepts one connection, or `None` if none waits.
    ///
    /// # Errors
    /// As accept(2): the listener is still good after each of them.
    pub(crate) fn accept(&self) -> io::Result<Option<Accepted>> {
        let accepted = match self {
            StdListener::Tcp(listener) => listener.accept().map(|(stream, from)| Accepted::Tcp(stream, from)),
            StdListener::Unix(listener) => {
                listener.accept().map(|(stream, from)| Accepted::Unix(stream, from))
            }
        };
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
