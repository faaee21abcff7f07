//! The server of gRPC's interoperability suite, with the flags of the official ones.

use std::process::ExitCode;

use clap::{ArgAction, Parser};
use corelane::server::{Backend, Workers};
use corelane_tests::interop::{Load, server};
use corelane_tests::program::{announce, exit, serve_until_signal};

/// Serves grpc.testing.TestService for interop clients.
#[derive(Parser)]
#[command(about)]
struct Flags {
    /// The port; 0 for any free one.
    #[arg(long, default_value_t = 10000)]
    port: u16,
    /// Whether to serve over TLS, which this server cannot do yet.
    #[arg(long = "use_tls", action = ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    use_tls: bool,
    /// How many workers; one for each core unless it is given.
    #[arg(long)]
    workers: Option<usize>,
}

fn main() -> ExitCode {
    exit(run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn std::error::Error>> {
    if flags.use_tls {
        return Err("this server has no TLS yet".into());
    }
    let workers = flags.workers.map_or(Workers::All, Workers::Count);
    let load = Load::default();
    let handle =
        server(&load).workers(workers).backend(Backend::Auto).start(format!("127.0.0.1:{}", flags.port))?;
    announce(&handle);
    Ok(serve_until_signal(handle)?)
}
