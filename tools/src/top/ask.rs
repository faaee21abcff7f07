//! Asking an admin port: one request, one connection.
//!
//! Does not: trust what answers. It may be anything that listens: its answer is bounded in size and in time.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::top::model::Reading;
use crate::top::view::printable;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Octets of an answer, at most: a worker's figures are some KiB.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;

/// An admin port to ask.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody is there, or nobody answers.
    Silent { address: SocketAddr, source: io::Error },
    /// What answers is something else.
    Foreign { address: SocketAddr, what: String },
    /// It is an admin port and says no.
    Refused { address: SocketAddr, answer: String },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Silent { address, source } => {
                write!(f, "no answer from {address}: {source}; does a server run there with an admin port?")
            }
            Trouble::Foreign { address, what } => {
                write!(f, "{address} is not the admin port of a corelane server: {what}")
            }
            Trouble::Refused { address, answer } => write!(f, "{address} refuses: {answer}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl Port {
    pub(crate) fn new(address: SocketAddr) -> Port {
        Port { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The figures of all workers.
    pub(crate) fn read(&self) -> Result<Reading, Trouble> {
        let body = self.ask("GET", "/cores")?;
        match serde_json::from_str::<Reading>(&body) {
            Ok(reading) if reading.server == "corelane" => Ok(reading),
            Ok(_) => Err(self.foreign("it says that it is another server")),
            Err(error) => Err(self.foreign(&format!("its figures cannot be read: {error}"))),
        }
    }

    /// Turns the workers' profiles `on` or `off`.
    pub(crate) fn switch(&self, state: &str) -> Result<(), Trouble> {
        self.ask("POST", &format!("/profile?{state}")).map(drop)
    }

    fn ask(&self, method: &str, path: &str) -> Result<String, Trouble> {
        let heard = self.exchange(method, path);
        let heard = heard.map_err(|source| Trouble::Silent { address: self.address, source })?;
        let text = String::from_utf8(heard).map_err(|_| self.foreign("its answer is no text"))?;
        let (head, body) =
            text.split_once("\r\n\r\n").ok_or_else(|| self.foreign("it does not speak HTTP"))?;
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        match status {
            Some("200") => Ok(body.to_owned()),
            Some(_) if body.starts_with("{\"error\":") => {
                Err(Trouble::Refused { address: self.address, answer: printable(body.trim()) })
            }
            Some(status) => Err(self.foreign(&format!("it answers with status {status}"))),
            None => Err(self.foreign("it does not speak HTTP/1.1")),
        }
    }

    fn exchange(&self, method: &str, path: &str) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Whole in one write: formatted into the stream, each piece would be a packet of its own.
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        let hung_up = match stream.write_all(request.as_bytes()) {
            // What it said before that can still be read.
            Err(error) if is_hangup(error.kind()) => Some(error),
            written => written.map(|()| None)?,
        };
        let mut heard = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.len() as u64 > ANSWER_MAX {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its answer does not end"));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut piece) {
                Ok(0) => match hung_up {
                    Some(error) if heard.is_empty() => return Err(error),
                    _ => return Ok(heard),
                },
                Ok(read) => heard.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What a server of something else has to say before it hangs up tells what it is.
                Err(error) if is_hangup(error.kind()) && !heard.is_empty() => {
                    return Ok(heard);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn foreign(&self, what: &str) -> Trouble {
        Trouble::Foreign { address: self.address, what: what.to_owned() }
    }
}

fn is_hangup(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::thread;

    /// Who accepts one connection, reads a request to its end and answers with this.
    fn answering(answer: &'static str) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::new(listener.local_addr().unwrap());
        thread::spawn(move || {
            let (peer, _) = listener.accept().unwrap();
            let mut peer = BufReader::new(peer);
            let mut line = String::new();
            while peer.read_line(&mut line).unwrap() > 0 && line != "\r\n" {
                line.clear();
            }
            peer.get_mut().write_all(answer.as_bytes()).unwrap();
        });
        port
    }

    fn trouble(answer: &'static str) -> String {
        let port = answering(answer);
        port.read().unwrap_err().to_string().replace(&port.address.to_string(), "HERE")
    }

    #[test]
    fn whatever_is_no_admin_port_is_told_apart() {
        let foreign = |what: &str| format!("HERE is not the admin port of a corelane server: {what}");
        assert_eq!(trouble(""), foreign("it does not speak HTTP"));
        assert_eq!(trouble("\0\0\x12\x04\0\0\0\0\0"), foreign("it does not speak HTTP"));
        assert_eq!(trouble("HTTP/1.0 200 OK\r\n\r\n"), foreign("it does not speak HTTP/1.1"));
        assert_eq!(trouble("HTTP/1.1 404 No\r\n\r\n<html>"), foreign("it answers with status 404"));
        assert!(trouble("HTTP/1.1 200 OK\r\n\r\n<html>").starts_with(&foreign("its figures cannot be read")));
        assert_eq!(
            trouble("HTTP/1.1 503 Busy\r\n\r\n{\"error\":\"later\"}"),
            "HERE refuses: {\"error\":\"later\"}"
        );
    }

    /// A connection that is closed with octets unread is reset, and writing to it fails.
    #[test]
    fn who_answers_unasked_and_hangs_up_is_heard() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::new(listener.local_addr().unwrap());
        for _ in 0..100 {
            let trouble = thread::scope(|scope| {
                scope.spawn(|| listener.accept().unwrap().0.write_all(b"SSH-2.0-it\r\n").unwrap());
                port.read().unwrap_err().to_string()
            });
            assert!(trouble.ends_with("it does not speak HTTP"), "{trouble}");
        }
    }

    #[test]
    fn nobody_is_told_apart_too() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let trouble = Port::new(address).read().unwrap_err();
        assert!(matches!(trouble, Trouble::Silent { .. }), "{trouble}");
    }
}
