//! So many octets there, so many back.
//!
//! Does not: look at them. Both sides count.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};

use crate::{Shape, Times, Waiting, nanos, ring};

/// What a read takes at most.
const READ_BYTES: usize = 64 * 1024;

/// Serves for ever.
pub(crate) fn serve(port: u16, shape: Shape, waiting: Waiting) -> std::io::Result<()> {
    match waiting {
        Waiting::Spinning => serve_spinning(port, shape),
        Waiting::Sleeping => ring::runtime()?.block_on(async move {
            let listener = monoio::net::TcpListener::bind(("127.0.0.1", port))?;
            loop {
                let (stream, _) = listener.accept().await?;
                monoio::spawn(serve_on_ring(stream, shape));
            }
        }),
    }
}

/// How many whole requests there are in what has arrived and not been answered.
fn answers(unanswered: &mut usize, read: usize, request: usize) -> usize {
    *unanswered += read;
    let count = *unanswered / request;
    *unanswered %= request;
    count
}

async fn serve_on_ring(mut stream: monoio::net::TcpStream, shape: Shape) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut out, mut unanswered) = (Vec::with_capacity(READ_BYTES), Vec::new(), 0);
    loop {
        let (read, filled) = stream.read(buffer).await;
        buffer = filled;
        let read = read?;
        if read == 0 {
            return Ok(());
        }
        let count = answers(&mut unanswered, read, shape.request);
        if count > 0 {
            out.resize(count * shape.response, 0);
            let (written, back) = stream.write_all(out).await;
            written?;
            out = back;
        }
    }
}

/// One connection after the other, each until it ends: whoever measures the latency of a ping-pong has one.
fn serve_spinning(port: u16, shape: Shape) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let (mut buffer, response, mut unanswered) = (vec![0; READ_BYTES], vec![0; shape.response], 0);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    for _ in 0..answers(&mut unanswered, read, shape.request) {
                        write_spinning(&mut stream, &response)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(_) => break,
            }
        }
    }
}

fn write_spinning(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_spinning(stream: &mut TcpStream, mut bytes: &mut [u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.read(bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes = &mut bytes[read..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A closed loop. One call at a time on one connection is a ping-pong in one thread; anything else takes two threads for each
/// connection, one for each direction, and its client's CPU time says nothing.
pub(crate) fn load(
    port: u16,
    connections: usize,
    streams: usize,
    calls: usize,
    shape: Shape,
    waiting: Waiting,
) -> std::io::Result<Times> {
    let started = Instant::now();
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let each = if connections == 1 && streams == 1 {
        ping(connect()?, calls, shape, waiting)?
    } else {
        let sockets = (0..connections).map(|_| connect()).collect::<std::io::Result<Vec<_>>>()?;
        let threads: Vec<_> = sockets
            .into_iter()
            .map(|socket| thread::spawn(move || pipeline(socket, streams, calls / connections, shape)))
            .collect();
        let mut each = Vec::with_capacity(calls);
        for thread in threads {
            each.extend(thread.join().expect("the thread did not panic")?);
        }
        each
    };
    Ok(Times { each, all: started.elapsed() })
}

fn ping(mut stream: TcpStream, calls: usize, shape: Shape, waiting: Waiting) -> std::io::Result<Vec<u32>> {
    let (request, mut response) = (vec![0; shape.request], vec![0; shape.response]);
    let mut each = Vec::with_capacity(calls);
    stream.set_nonblocking(waiting == Waiting::Spinning)?;
    let mut began = Instant::now();
    for _ in 0..calls {
        match waiting {
            Waiting::Sleeping => {
                stream.write_all(&request)?;
                stream.read_exact(&mut response)?;
            }
            Waiting::Spinning => {
                write_spinning(&mut stream, &request)?;
                read_spinning(&mut stream, &mut response)?;
            }
        }
        let ended = Instant::now();
        each.push(nanos(ended - began));
        began = ended;
    }
    Ok(each)
}

/// `streams` requests ahead of the responses. The writer is a thread of its own: a peer that cannot get rid of its responses takes
/// no more requests, and one thread would wait for ever.
fn pipeline(stream: TcpStream, streams: usize, calls: usize, shape: Shape) -> std::io::Result<Vec<u32>> {
    let (sent, begun) = mpsc::channel();
    let (answered, room) = mpsc::channel();
    for _ in 0..streams {
        answered.send(()).expect("the receiver is here");
    }
    let mut writer = stream.try_clone()?;
    let writing = thread::spawn(move || -> std::io::Result<()> {
        let request = vec![0; shape.request];
        for () in room.iter().take(calls) {
            // Nobody is there for it if reading has failed, and then it is not missed.
            let _ = sent.send(Instant::now());
            writer.write_all(&request)?;
        }
        Ok(())
    });
    let (mut reader, mut response) = (stream, vec![0; shape.response]);
    let mut each = Vec::with_capacity(calls);
    for began in begun.iter().take(calls) {
        reader.read_exact(&mut response)?;
        each.push(nanos(began.elapsed()));
        let _ = answered.send(());
    }
    drop(answered);
    writing.join().expect("the thread did not panic")?;
    Ok(each)
}
