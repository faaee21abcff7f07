//! One connection of the admin port: reads a head, writes an answer, goes.
//!
//! Does not: know what is answered. Invariant: every wait has what is left of the request's time, so the sum of them has too,
//! however the peer cuts its octets.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use corelane_runtime::clock;
use corelane_wire::Instant;

use super::figures::Figures;
use super::request::{self, HEAD_MAX, Malformed};
use super::routes::{self, Answer, Status};

/// Octets of a body, or of anything else behind a head, that are read away: closing over unread octets would reset the
/// connection, and the answer with it.
const DISCARDED_MAX: usize = 64 * 1024;

/// What a peer has at least for our answer, and for its own end, however long it took over the request.
const GOODBYE_TIME: Duration = Duration::from_millis(250);

/// Answers one request within `time`.
pub(crate) fn serve(peer: &TcpStream, figures: &Figures, time: Duration) {
    let deadline = clock() + time;
    let mut head = [0; HEAD_MAX];
    let answer = match read_head(peer, &mut head, deadline) {
        Ok(head) => match request::parse(head) {
            Ok(request) => routes::answer(&request, figures),
            Err(malformed @ Malformed::Version) => {
                Answer::error(Status::VersionNotSupported, malformed.reason())
            }
            Err(malformed) => Answer::error(Status::BadRequest, malformed.reason()),
        },
        Err(NoHead::TooLong) => Answer::error(Status::HeadTooLarge, "the head of the request is too long"),
        Err(NoHead::TooSlow) => Answer::error(Status::RequestTimeout, "the request took too long"),
        Err(NoHead::Cut) => Answer::error(Status::BadRequest, "the request ends before its head does"),
        Err(NoHead::Gone) => return,
    };
    let deadline = deadline.max(clock() + GOODBYE_TIME);
    // A peer that is gone, or does not read, needs no answer.
    if write(peer, &answer, deadline).is_some() {
        say_goodbye(peer, deadline);
    }
}

/// Says that there is no place, without waiting for anything.
pub(crate) fn turn_away(peer: &TcpStream) {
    let answer = Answer::error(Status::Unavailable, "too many requests at once; ask again");
    // A fresh socket has room for this much.
    if peer.set_nonblocking(true).is_ok() {
        let mut peer = peer;
        let _ = peer.write_all(text(&answer).as_bytes());
        let _ = peer.shutdown(Shutdown::Write);
    }
}

/// Why there is no head.
enum NoHead {
    TooLong,
    TooSlow,
    /// The peer ended in the middle of it.
    Cut,
    /// Nobody is there, or nobody wanted anything.
    Gone,
}

/// Reads until the head's end. What comes behind it is left or dropped.
fn read_head<'b>(mut peer: &TcpStream, buffer: &'b mut [u8], deadline: Instant) -> Result<&'b [u8], NoHead> {
    let mut filled = 0;
    loop {
        if let Some(len) = request::head_len(&buffer[..filled]) {
            return Ok(&buffer[..len]);
        }
        if filled == buffer.len() {
            return Err(NoHead::TooLong);
        }
        let left = time_left(deadline).ok_or(NoHead::TooSlow)?;
        peer.set_read_timeout(Some(left)).map_err(|_| NoHead::Gone)?;
        match peer.read(&mut buffer[filled..]) {
            Ok(0) => return Err(if filled == 0 { NoHead::Gone } else { NoHead::Cut }),
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(error.kind()) => return Err(NoHead::TooSlow),
            Err(_) => return Err(NoHead::Gone),
        }
    }
}

/// Writes the whole answer; `None` if the peer did not take it.
fn write(mut peer: &TcpStream, answer: &Answer, deadline: Instant) -> Option<()> {
    let text = text(answer);
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let left = time_left(deadline)?;
        peer.set_write_timeout(Some(left)).ok()?;
        match peer.write(rest) {
            Ok(0) => return None,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Ends our side, and waits a little for the peer to end its own.
fn say_goodbye(mut peer: &TcpStream, deadline: Instant) {
    if peer.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut discarded = 0;
    let mut buffer = [0; 4096];
    while discarded < DISCARDED_MAX {
        let Some(left) = time_left(deadline) else { return };
        if peer.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match peer.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => discarded += read,
        }
    }
}

/// What is left until the deadline, if anything is.
fn time_left(deadline: Instant) -> Option<Duration> {
    let left = deadline.since(clock());
    (!left.is_zero()).then_some(left)
}

/// What a socket says whose time is over.
fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The answer as it is sent.
fn text(answer: &Answer) -> String {
    let allow = match answer.status {
        Status::MethodNotAllowed(method) => format!("Allow: {method}\r\n"),
        _ => String::new(),
    };
    format!(
        "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{}\n",
        answer.status.line(),
        answer.body.len() + 1,
        answer.body,
    )
}
