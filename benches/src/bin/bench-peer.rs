//! A server for load generators: `bench-peer serve PORT [WORKERS]` on 127.0.0.1.
//!
//! It ends with its process: whoever measures kills it.

use std::error::Error;
use std::process::ExitCode;

use corelane::server::Workers;
use corelane_benches::server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: bench-peer serve PORT [WORKERS]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((port, workers)) = parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(port, workers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[String]) -> Option<(u16, usize)> {
    match words {
        [verb, port] if verb == "serve" => Some((port.parse().ok()?, 1)),
        [verb, port, workers] if verb == "serve" => Some((port.parse().ok()?, workers.parse().ok()?)),
        _ => None,
    }
}

fn serve(port: u16, workers: usize) -> Result<(), Box<dyn Error>> {
    let handle = server().workers(Workers::Count(workers)).start(format!("127.0.0.1:{port}"))?;
    for address in handle.addresses() {
        println!("listening on {address} backend={} workers={}", handle.backend(), handle.workers());
    }
    Ok(handle.join()?)
}
