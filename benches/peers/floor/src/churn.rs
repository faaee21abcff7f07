//! Connections that live for one call: connect, one unary call, close.
//!
//! Blocking sockets, so many threads. The whole of the client's side of a connection is one write, so that the server sees what a
//! client in a hurry sends; the connection is closed when the call's trailers have come.
//!
//! Invariant: a connection that ends before the trailers of its call fails the run. Does not: read the trailers, the suites do.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Times, nanos};

const PAYLOAD_BYTES: u8 = 16;
const HEAD_BYTES: usize = 9;
/// Longer than a connection request that was lost takes to be sent again, several times over.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the connections, `at_once` of them at a time.
pub(crate) fn run(port: u16, connections: usize, at_once: usize) -> std::io::Result<Times> {
    let hello: Arc<[u8]> = hello().into();
    let begun = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let threads: Vec<_> = (0..at_once)
        .map(|_| {
            let (hello, begun) = (hello.clone(), begun.clone());
            thread::spawn(move || -> std::io::Result<Vec<u32>> {
                let mut each = Vec::new();
                // Relaxed: a ticket, nothing is published by it.
                while begun.fetch_add(1, Ordering::Relaxed) < connections {
                    let began = Instant::now();
                    one(port, &hello)?;
                    each.push(nanos(began.elapsed()));
                }
                Ok(each)
            })
        })
        .collect();
    let mut each = Vec::with_capacity(connections);
    for thread in threads {
        each.extend(thread.join().expect("the thread did not panic")?);
    }
    Ok(Times { each, all: started.elapsed() })
}

fn one(port: u16, hello: &[u8]) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(hello)?;
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        if read == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed before the call's trailers"));
        }
        filled += read;
        if has_trailers(&mut buffer, &mut filled)? {
            return Ok(());
        }
    }
}

/// Whether the last frame of stream 1 is there. Whole frames before it are thrown away.
fn has_trailers(buffer: &mut [u8], filled: &mut usize) -> std::io::Result<bool> {
    let mut at = 0;
    while let Some(head) = buffer[..*filled].get(at..at + HEAD_BYTES) {
        let end = at
            + HEAD_BYTES
            + usize::from(head[0]) * 65536
            + usize::from(head[1]) * 256
            + usize::from(head[2]);
        if end > *filled {
            break;
        }
        match (head[3], head[4] & 1, head[8]) {
            (1, 1, 1) => return Ok(true),
            (3 | 7, ..) => {
                return Err(Error::other("the server sent RST_STREAM or GOAWAY in place of an answer"));
            }
            _ => at = end,
        }
    }
    buffer.copy_within(at..*filled, 0);
    *filled -= at;
    Ok(false)
}

/// Preface, SETTINGS, and one call of `/bench.v1.Bench/Unary`.
fn hello() -> Vec<u8> {
    // POST and http by their static index, the rest as literals that are not indexed.
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (":path", "/bench.v1.Bench/Unary"),
        (":authority", "127.0.0.1"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        head.push(0);
        for text in [name, value] {
            head.push(u8::try_from(text.len()).expect("short"));
            head.extend_from_slice(text.as_bytes());
        }
    }
    let mut message = vec![0, 0, 0, 0, PAYLOAD_BYTES + 4, 0x0a, PAYLOAD_BYTES];
    message.resize(message.len() + usize::from(PAYLOAD_BYTES), 0);
    message.extend_from_slice(&[0x10, PAYLOAD_BYTES]);
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for (kind, flags, stream, payload) in [(4, 0, 0, &[][..]), (1, 4, 1, &head), (0, 1, 1, &message)] {
        hello.extend_from_slice(&[
            0,
            0,
            u8::try_from(payload.len()).expect("short"),
            kind,
            flags,
            0,
            0,
            0,
            stream,
        ]);
        hello.extend_from_slice(payload);
    }
    hello
}
