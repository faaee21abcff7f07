//! Connecting to a peer: one attempt at one address.
//!
//! Does not: resolve names, try other addresses, wait with a limit, try again. A future that is dropped gives its attempt up.
//! (A Unix socket whose queue is full is no failed attempt: the kernel has nothing to wait on there, so we look again.)

use crate::backend::Socket;
use crate::driver::{self, Link};
use crate::helpers::{here, sleep};
use crate::inbox::Origin;
use crate::limits::DIAL_PAUSE;
use crate::listen::Address;
use crate::session::{PeerInfo, Session};
use crate::tls::{self, ClientTls, Machine, TlsError};
use crate::worker::Worker;
use corelane_observe::Limit;
use corelane_wire::connection::Config as WireConfig;
use socket2::{Domain, Protocol, SockAddr, SockRef, TcpKeepalive, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How a client's socket is set up.
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    /// The local address to connect from.
    pub local_address: Option<SocketAddr>,
    /// Probes of the kernel's on a silent connection (SO_KEEPALIVE); off without it.
    pub tcp_keepalive: Option<Duration>,
    /// How long sent data may stay unacknowledged before the kernel gives the connection up (TCP_USER_TIMEOUT).
    pub tcp_user_timeout: Option<Duration>,
}

/// Why a connection could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The kernel or the peer refused.
    Io(io::Error),
    /// This worker has as many connections as it may.
    TooManyConnections,
    /// This worker is ending.
    Ending,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Io(error) => error.fmt(f),
            DialError::TooManyConnections => f.write_str("the worker has as many connections as it may"),
            DialError::Ending => f.write_str("the worker is ending"),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DialError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> DialError {
        DialError::Io(error)
    }
}

/// A connected socket that speaks no protocol yet.
pub struct Dialed {
    socket: Socket,
    peer: Rc<PeerInfo>,
    worker: Rc<Worker>,
    tls: Option<Box<Machine>>,
}

/// Connects to `address`. May be dropped while waiting, which may be as long as the kernel tries, or as the queue of a Unix
/// socket is full.
///
/// # Errors
/// [`DialError::Io`] with what the kernel said.
///
/// # Panics
/// Off a worker.
pub async fn dial(address: &Address, options: &DialOptions) -> Result<Dialed, DialError> {
    let worker = here("dial");
    let mut pause = DIAL_PAUSE.0;
    let socket = loop {
        let (socket, to) = open(address, options)?;
        match Socket::connect(socket, &to).await {
            Err(error) if to.is_unix() && error.kind() == io::ErrorKind::WouldBlock => {}
            connected => break connected?,
        }
        sleep(pause).await;
        pause = (pause * 2).min(DIAL_PAUSE.1);
    };
    let local = match address {
        Address::Tcp(_) => socket.local_addr()?.as_socket().map(Address::Tcp),
        Address::Unix(_) => None,
    };
    let peer = PeerInfo { remote: address.clone(), local: local.unwrap_or(Address::Unix("".into())) };
    Ok(Dialed { socket, peer: Rc::new(peer), worker, tls: None })
}

fn open(address: &Address, options: &DialOptions) -> io::Result<(socket2::Socket, SockAddr)> {
    let tcp = match address {
        Address::Tcp(tcp) => *tcp,
        Address::Unix(path) => {
            return Ok((socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?));
        }
    };
    let socket = socket2::Socket::new(Domain::for_address(tcp), Type::STREAM, Some(Protocol::TCP))?;
    // We write once a turn; a small write must not wait for the acknowledgement of the last one.
    socket.set_tcp_nodelay(true)?;
    if let Some(idle) = options.tcp_keepalive {
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    if options.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.tcp_user_timeout)?;
    }
    if let Some(local) = options.local_address {
        socket.bind(&SockAddr::from(local))?;
    }
    Ok((socket, SockAddr::from(tcp)))
}

impl Dialed {
    /// The two ends.
    #[must_use]
    pub fn peer(&self) -> &Rc<PeerInfo> {
        &self.peer
    }

    /// Sends all of `bytes` as they are: for what comes before TLS and the protocol.
    ///
    /// # Errors
    /// The socket failed.
    ///
    /// # Panics
    /// If the connection is secured.
    pub async fn send_raw(&self, bytes: Vec<u8>) -> io::Result<()> {
        assert!(self.tls.is_none(), "raw bytes would end a secured connection");
        self.socket.send_all(bytes).await
    }

    /// Receives at most `max` bytes as they are; none at the end. Must not be dropped before it ends: bytes would be lost,
    /// so shut the attempt down with the whole connection instead.
    ///
    /// # Errors
    /// The socket failed.
    ///
    /// # Panics
    /// If the connection is secured.
    pub async fn recv_raw(&self, max: usize) -> io::Result<Vec<u8>> {
        assert!(self.tls.is_none(), "what comes over a secured connection is not the peer's text");
        let (received, buffer) = self.socket.recv(Vec::with_capacity(max), None).await;
        received.map(|_| buffer)
    }

    /// Secures the connection: completes the TLS handshake with a peer whose certificate is for `server_name` (a DNS name or an
    /// IP address, without a port) and that agrees to HTTP/2. May be dropped while waiting.
    ///
    /// With TLS 1.3 a server looks at our certificate after our handshake is over: that it does not like it (or misses it)
    /// is heard by the session that was started, as [`CloseReason::Tls`](crate::CloseReason::Tls).
    ///
    /// # Errors
    /// [`TlsError`] tells a wrong certificate from a refusal, a plaintext port, and a peer that does not answer within
    /// [`Limits::tls_handshake`](crate::Limits::tls_handshake).
    ///
    /// # Panics
    /// If it is secured already.
    pub async fn secure(mut self, tls: &ClientTls, server_name: &str) -> Result<Dialed, TlsError> {
        assert!(self.tls.is_none(), "a connection is secured once");
        let limit = self.worker.limits.tls_handshake;
        let until = self.worker.read_clock() + limit;
        let mut machine = Box::new(Machine::client(tls, server_name, until)?);
        tls::shake(&self.socket, &mut machine, limit).await?;
        self.tls = Some(machine);
        Ok(self)
    }

    /// Begins to speak HTTP/2 as a client, with `session` above it. `wire`'s seed is replaced by a secret one.
    ///
    /// # Errors
    /// [`DialError::TooManyConnections`], [`DialError::Ending`].
    ///
    /// # Panics
    /// If `wire` does not validate.
    pub fn start<S: Session>(self, wire: &WireConfig, session: S) -> Result<Link<S>, DialError> {
        let Dialed { socket, peer, worker, tls } = self;
        if worker.is_over() {
            return Err(DialError::Ending);
        }
        let Some(inbox) = worker.admit(Origin::Dialed) else {
            worker.counters.limits_hit.increment(Limit::Connections);
            return Err(DialError::TooManyConnections);
        };
        let wire = WireConfig { seed: worker.seed(), ..wire.clone() };
        Ok(driver::dialed(&worker, session, wire, tls, inbox, socket, peer))
    }
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed").field("peer", &self.peer).finish_non_exhaustive()
    }
}
