//! Bare TCP as a peer, and the client for work that no load generator does.
//!
//! `peer-raw serve PORT REQUEST_BYTES RESPONSE_BYTES [--spin]` answers so many octets with so many.
//! `peer-raw load PORT CONNECTIONS STREAMS CALLS REQUEST_BYTES RESPONSE_BYTES [--spin]` is its closed loop.
//! `peer-raw churn PORT CONNECTIONS AT_ONCE` connects to a gRPC server, makes one unary call and closes, over and over.
//!
//! With `--spin` a side asks its sockets again and again in place of sleeping. The last line of `load` and `churn` is JSON.

mod churn;
mod exchange;
mod ring;

use std::time::Duration;

const USAGE: &str = "usage: peer-raw serve PORT REQUEST_BYTES RESPONSE_BYTES [--spin] | load PORT CONNECTIONS STREAMS CALLS REQUEST_BYTES \
                     RESPONSE_BYTES [--spin] | churn PORT CONNECTIONS AT_ONCE";

/// What a side does while nothing has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Sleeping,
    Spinning,
}

/// How many octets go each way.
#[derive(Clone, Copy, Debug)]
struct Shape {
    request: usize,
    response: usize,
}

fn main() -> std::io::Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let waiting = match words.iter().position(|word| word == "--spin") {
        Some(at) => {
            words.remove(at);
            Waiting::Spinning
        }
        None => Waiting::Sleeping,
    };
    let verb = words.first().cloned().unwrap_or_default();
    let numbers: Vec<usize> = words.iter().skip(1).map(|word| word.parse().expect(USAGE)).collect();
    match (verb.as_str(), &numbers[..]) {
        ("serve", &[at, request, response]) => {
            exchange::serve(port(at), Shape { request, response }, waiting)
        }
        ("load", &[at, connections, streams, calls, request, response]) => {
            let shape = Shape { request, response };
            print_line(exchange::load(port(at), connections, streams, calls, shape, waiting)?);
            Ok(())
        }
        ("churn", &[at, connections, at_once]) => {
            print_line(churn::run(port(at), connections, at_once)?);
            Ok(())
        }
        _ => panic!("{USAGE}"),
    }
}

fn port(number: usize) -> u16 {
    u16::try_from(number).expect(USAGE)
}

/// How long each call took, and all of them together.
struct Times {
    each: Vec<u32>,
    all: Duration,
}

/// Nanoseconds; what takes longer than four seconds counts as that.
fn nanos(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

/// The line that every load generator here prints.
fn print_line(mut times: Times) {
    let calls = times.each.len();
    let mut at = |thousandths: usize| {
        let index = calls.saturating_sub(1) * thousandths / 1000;
        if calls == 0 { 0.0 } else { f64::from(*times.each.select_nth_unstable(index).1) / 1e3 }
    };
    let (p50, p99, p999) = (at(500), at(990), at(999));
    let rate = calls as f64 / times.all.as_secs_f64();
    println!(
        "{{\"calls\": {calls}, \"calls_per_s\": {rate:.0}, \"p50_us\": {p50:.1}, \"p99_us\": {p99:.1}, \"p999_us\": {p999:.1}}}"
    );
}
