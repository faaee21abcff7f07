//! A peer of speed comparisons. `bench-peer serve PORT [WORKERS]` is a server on 127.0.0.1 for load generators; it ends with its
//! process: whoever measures kills it. `bench-peer load …` is a load generator, whose last line is JSON.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use corelane::server::Workers;
use corelane_benches::{Load, run, server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: bench-peer serve PORT [WORKERS] [--spin MICROSECONDS] | bench-peer load PORT unary|download|upload|chat \
                     CONNECTIONS STREAMS CALLS REQUEST_SIZE RESPONSE_SIZE MESSAGES [--workers N] [--spin MICROSECONDS]";

enum Order {
    Serve { port: u16, workers: usize, spin: Duration },
    Load(Load),
}

/// What may follow the places.
struct Flags {
    workers: Option<usize>,
    spin: Duration,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match parse(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
        Some(Order::Serve { port, workers, spin }) => serve(port, workers, spin),
        Some(Order::Load(load)) => run(load).map(|line| println!("{line}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(words: &[&str]) -> Option<Order> {
    let places = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
    let (places, flags) = words.split_at(places);
    let Flags { workers: crew, spin } = parse_flags(flags)?;
    Some(match *places {
        ["serve", port] if crew.is_none() => Order::Serve { port: port.parse().ok()?, workers: 1, spin },
        ["serve", port, workers] if crew.is_none() => {
            Order::Serve { port: port.parse().ok()?, workers: workers.parse().ok()?, spin }
        }
        ["load", port, kind, connections, streams, calls, request_size, response_size, messages] => {
            Order::Load(Load {
                port: port.parse().ok()?,
                kind: kind.parse().ok()?,
                connections: connections.parse().ok()?,
                streams: streams.parse().ok()?,
                calls: calls.parse().ok()?,
                request_size: request_size.parse().ok()?,
                response_size: response_size.parse().ok()?,
                messages: messages.parse().ok()?,
                workers: crew.unwrap_or(1),
                spin,
            })
        }
        _ => return None,
    })
}

fn parse_flags(words: &[&str]) -> Option<Flags> {
    let mut flags = Flags { workers: None, spin: Duration::ZERO };
    for pair in words.chunks(2) {
        match *pair {
            ["--workers", count] => flags.workers = Some(count.parse().ok()?),
            ["--spin", micros] => flags.spin = Duration::from_micros(micros.parse().ok()?),
            _ => return None,
        }
    }
    Some(flags)
}

fn serve(port: u16, workers: usize, spin: Duration) -> Result<(), Box<dyn Error>> {
    // mimalloc asks for huge pages where the kernel gives them, and of each 2 MiB the last few KiB are used: 40 % on top of what an
    // idle connection takes.
    rustix::thread::disable_transparent_huge_pages(true)?;
    let handle = server().workers(Workers::Count(workers)).spin(spin).start(format!("127.0.0.1:{port}"))?;
    for address in handle.addresses() {
        println!("listening on {address} backend={} workers={}", handle.backend(), handle.workers());
    }
    Ok(handle.join()?)
}
