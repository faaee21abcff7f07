//! pajamax as a peer: `peer-pajamax serve PORT`.
//!
//! The fastest Rust server for many calls on one connection, and no equal one: it heeds none of the client's windows, answers neither
//! PING nor SETTINGS, and wants each message in one DATA frame.

use pajamax::status::Status;
use pb::{Bench, BenchServer, Reply, Request};

#[allow(dead_code, clippy::all, reason = "generated")]
mod pb {
    pajamax::include_proto!("bench.v1");
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Its default is 100, and there is a row with 5,000.
const CONNECTIONS_MAX: usize = 10_000;

struct Service;

impl Bench for Service {
    fn unary(&self, request: Request) -> Result<Reply, Status> {
        Ok(Reply { payload: vec![0; request.response_size as usize] })
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [verb, port] = words.as_slice() else { panic!("usage: peer-pajamax serve PORT") };
    assert_eq!(verb, "serve", "usage: peer-pajamax serve PORT");
    pajamax::Config::new()
        .max_concurrent_connections(CONNECTIONS_MAX)
        .add_service(BenchServer::new(Service))
        .serve(format!("127.0.0.1:{port}").as_str())
        .expect("the port is free");
}
