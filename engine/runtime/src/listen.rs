//! Addresses, and sockets that listen on them: one for each worker.
//!
//! TCP: every worker has a socket of its own on the same port (`SO_REUSEPORT`), and the kernel spreads connections by
//! a hash. Unix: one socket, its descriptor duplicated for every worker; whoever is awake takes the connection.
//!
//! Does not: accept, or touch a runtime.

use crate::backend::StdListener;
use crate::error::StartError;
use crate::limits::{LISTEN_BACKLOG, PORT_WAIT, PORT_WAIT_STEP};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::{AddrParseError, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where one listens, or where a connection comes from or leads to.
///
/// ```
/// use corelane_runtime::Address;
///
/// let tcp: Address = "127.0.0.1:50051".parse()?;
/// assert_eq!(tcp.to_string(), "127.0.0.1:50051");
/// let unix: Address = "unix:/run/greeter.sock".parse()?;
/// assert_eq!(unix.to_string(), "unix:/run/greeter.sock");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket; the path is empty for an end without a name, as a connecting client's is.
    Unix(PathBuf),
}

impl Address {
    /// The IP address and port, if this is one.
    #[must_use]
    pub fn as_tcp(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    pub(crate) fn from_unix(address: &unix::SocketAddr) -> Address {
        Address::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl FromStr for Address {
    type Err = AddrParseError;

    /// `host:port` with a literal IP address, `unix:/path` or `unix:///path`, `unix-abstract:name` for a name that is in no
    /// directory.
    fn from_str(text: &str) -> Result<Address, AddrParseError> {
        if let Some(name) = text.strip_prefix("unix-abstract:") {
            return Ok(Address::Unix(format!("\0{name}").into()));
        }
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Address::Unix(path.strip_prefix("//").unwrap_or(path).into())),
            None => text.parse().map(Address::Tcp),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => match path.to_string_lossy().strip_prefix('\0') {
                Some(name) => write!(f, "unix-abstract:{name}"),
                None => write!(f, "unix:{}", path.display()),
            },
        }
    }
}

/// Whether another process may listen on the same TCP port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortSharing {
    /// A second engine on the port is an error, as one expects of a busy port.
    #[default]
    Exclusive,
    /// Processes of the same user share the port, and the kernel spreads connections over all of them: for restarts
    /// without a gap.
    Shared,
}

/// One address, bound: a listener for each worker.
pub(crate) struct Bound {
    /// Where it really listens: a port of 0 has become a number.
    pub(crate) address: Address,
    pub(crate) listeners: Vec<StdListener>,
}

/// Binds `address` for `workers` workers.
pub(crate) fn bind(address: &Address, workers: usize, sharing: PortSharing) -> Result<Bound, StartError> {
    match address {
        Address::Tcp(tcp) => bind_tcp(*tcp, workers, sharing),
        Address::Unix(path) => bind_unix(path, workers),
    }
    .map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address: address.clone() },
        _ => StartError::Bind { address: address.clone(), source },
    })
}

fn bind_tcp(address: SocketAddr, workers: usize, sharing: PortSharing) -> io::Result<Bound> {
    if sharing == PortSharing::Exclusive && address.port() != 0 {
        await_free(address)?;
    }
    let mut bound = address;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = tcp_socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SockAddr::from(bound))?;
        socket.listen(LISTEN_BACKLOG)?;
        if bound.port() == 0 {
            let got = socket.local_addr()?.as_socket().map_or(0, |got| got.port());
            bound.set_port(got);
        }
        listeners.push(StdListener::Tcp(socket.into()));
    }
    Ok(Bound { address: Address::Tcp(bound), listeners })
}

/// Checks that nobody listens on `address`. SO_REUSEPORT would let a second engine of the same user in unnoticed; a socket
/// without it is refused, and is closed again before the first real one is bound.
///
/// The kernel takes a ring apart after its process has ended, and until then what the ring waited for stays open: the
/// listener of a process that was killed goes on listening for 5 to 10 ms. A restart must not stumble over that.
fn await_free(address: SocketAddr) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        match tcp_socket(address)?.bind(&address.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && waited < PORT_WAIT => {
                std::thread::sleep(PORT_WAIT_STEP);
                waited += PORT_WAIT_STEP;
            }
            bound => return bound,
        }
    }
}

/// A TCP socket with CLOEXEC (socket2 sets it) that may be bound while old connections linger in TIME_WAIT.
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bind_unix(path: &Path, workers: usize) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(LISTEN_BACKLOG)?;
    let first = StdListener::Unix(socket.into());
    let mut listeners = Vec::with_capacity(workers);
    for _ in 1..workers {
        listeners.push(first.try_clone()?);
    }
    listeners.push(first);
    Ok(Bound { address: Address::Unix(path.to_owned()), listeners })
}

/// Removes a socket file that nobody listens on any more, as a process leaves one behind when it is killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_socket {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    caller.set_nonblocking(true)?;
    match caller.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Somebody answers, or would if the queue were not full: not ours to remove.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(bound: &Bound) -> u16 {
        bound.address.as_tcp().unwrap().port()
    }

    #[test]
    fn port_0_gives_every_worker_the_same_port() {
        let bound = bind(&"127.0.0.1:0".parse().unwrap(), 3, PortSharing::Exclusive).unwrap();
        assert_eq!(bound.listeners.len(), 3);
        for listener in &bound.listeners {
            let StdListener::Tcp(listener) = listener else { panic!("a TCP listener") };
            assert_eq!(listener.local_addr().unwrap().port(), port_of(&bound));
        }
    }

    #[test]
    fn a_second_engine_on_the_port_is_refused_unless_it_is_shared() {
        let first = bind(&"127.0.0.1:0".parse().unwrap(), 2, PortSharing::Exclusive).unwrap();
        let error = bind(&first.address, 2, PortSharing::Exclusive).err().unwrap();
        assert_eq!(error.to_string(), format!("{} is in use", first.address));
        assert!(bind(&first.address, 1, PortSharing::Shared).is_ok());
        drop(first);
    }

    #[test]
    fn an_address_that_is_not_ours_names_itself() {
        // 192.0.2.0/24 is reserved for documentation (RFC 5737).
        let error = bind(&"192.0.2.1:50051".parse().unwrap(), 1, PortSharing::Exclusive).err().unwrap();
        assert!(error.to_string().starts_with("cannot listen on 192.0.2.1:50051: "), "{error}");
    }

    #[test]
    fn a_socket_file_is_removed_only_if_nobody_listens() {
        let path = std::env::temp_dir().join(format!("corelane-listen-{}.sock", std::process::id()));
        let address = Address::Unix(path.clone());
        let live = bind(&address, 2, PortSharing::Exclusive).unwrap();
        assert_eq!(live.listeners.len(), 2);
        let error = bind(&address, 1, PortSharing::Exclusive).err().unwrap();
        assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
        drop(live);
        assert!(bind(&address, 1, PortSharing::Exclusive).is_ok(), "the file is stale now");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        let error = bind(&address, 1, PortSharing::Exclusive).err().unwrap();
        assert!(error.to_string().ends_with("there is a file that is not a socket"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
