//! tonic as a peer: `peer-tonic serve PORT [WORKERS]`, and
//! `peer-tonic load PORT unary|download|upload|chat CONNECTIONS STREAMS CALLS REQUEST_SIZE RESPONSE_SIZE MESSAGES`.
//!
//! Tuned as its users tune it: runtimes of one thread, one for each core with a listener of its own (SO_REUSEPORT), TCP_NODELAY,
//! mimalloc, fat LTO.

mod load;
mod service;

use std::net::SocketAddr;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tonic::transport::server::TcpIncoming;

#[allow(clippy::all, reason = "generated")]
mod pb {
    tonic::include_proto!("bench.v1");
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: peer-tonic serve PORT [WORKERS] | peer-tonic load PORT unary|download|upload|chat CONNECTIONS STREAMS CALLS \
                     REQUEST_SIZE RESPONSE_SIZE MESSAGES";
/// What is accepted: the largest payload that is measured, and what is around it.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// tokio's own listeners have 1,024.
const BACKLOG: i32 = 4096;

static ZEROS: [u8; PAYLOAD_BYTES_MAX] = [0; PAYLOAD_BYTES_MAX];

/// A payload that costs nothing to make.
fn zeros(size: usize) -> Bytes {
    Bytes::from_static(&ZEROS[..size])
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => serve(number(port), 1),
        ["serve", port, workers] => serve(number(port), number(workers)),
        ["load", port, kind, connections, streams, calls, request_size, response_size, messages] => {
            let load = load::Load {
                port: number(port),
                kind: kind.parse().expect(USAGE),
                connections: number(connections),
                streams: number(streams),
                calls: number(calls),
                request: pb::Request {
                    payload: zeros(number(request_size)),
                    response_size: number(response_size),
                    messages: number(messages),
                },
            };
            println!("{}", runtime().block_on(load::run(load)));
        }
        _ => panic!("{USAGE}"),
    }
}

fn number<N: std::str::FromStr>(word: &str) -> N {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no number that fits here; {USAGE}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Serves on so many threads, each on one of the cores that the process may use.
fn serve(port: u16, workers: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let threads: Vec<_> = (0..workers)
        .map(|index| {
            let core = cores.get(index % cores.len().max(1)).copied();
            std::thread::spawn(move || {
                core.map(core_affinity::set_for_current);
                runtime().block_on(serve_one(port));
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a worker serves until the process ends");
    }
}

async fn serve_one(port: u16) {
    let incoming = TcpIncoming::from(listener(port).expect("the port is free")).with_nodelay(Some(true));
    let service =
        pb::bench_server::BenchServer::new(service::Service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = tonic::transport::Server::builder().add_service(service);
    server.serve_with_incoming(incoming).await.expect("the server runs");
}

fn listener(port: u16) -> std::io::Result<tokio::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(BACKLOG)?;
    tokio::net::TcpListener::from_std(socket.into())
}
