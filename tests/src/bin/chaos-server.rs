//! A server of a chaos run; what it must do is said in `tests/runner/chaos.py`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use corelane::server::{Backend, Workers};
use corelane_tests::chaos::{Journal, server};
use corelane_tests::program::{announce, exit, serve_until_signal};

/// Serves calls and writes down their ids before it executes them.
#[derive(Parser)]
#[command(about)]
struct Flags {
    /// The port.
    #[arg(long)]
    port: u16,
    /// The file for the ids; it is continued.
    #[arg(long)]
    journal: PathBuf,
}

fn main() -> ExitCode {
    exit(run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn std::error::Error>> {
    let journal = Journal::open(&flags.journal)
        .map_err(|error| format!("cannot open the journal {}: {error}", flags.journal.display()))?;
    // Several of these run beside one another on few cores, so each stays small.
    let builder = server(journal).workers(Workers::Count(1)).backend(Backend::Auto);
    let handle = builder.start(format!("127.0.0.1:{}", flags.port))?;
    announce(&handle);
    Ok(serve_until_signal(handle)?)
}
