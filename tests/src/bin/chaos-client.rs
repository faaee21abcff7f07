//! The client of a chaos run; what it must do is said in `tests/runner/chaos.py`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::value_parser;
use corelane::Code;
use corelane::client::{Backend, Engine, Workers};
use corelane_tests::chaos::{Run, run, write_report};
use corelane_tests::program::exit;

/// Failed calls that are told of; the report has them all.
const TOLD_MAX: usize = 20;

/// Calls servers at a fixed rate, and reports what became of each call.
#[derive(Parser)]
#[command(about)]
struct Flags {
    /// The channel's target: `static:///127.0.0.1:1,127.0.0.1:2`.
    #[arg(long = "targets")]
    target: String,
    /// Calls in a second.
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// For so many seconds.
    #[arg(long, value_parser = value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// The file for the report; it is begun anew.
    #[arg(long)]
    report: PathBuf,
}

fn main() -> ExitCode {
    exit(start(Flags::parse()))
}

fn start(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    let Flags { target, rate, seconds, report } = flags;
    let engine = Engine::start_on(Workers::Count(1), Backend::Auto)?;
    let outcomes = engine.block_on(move || run(Run { target, rate, seconds }))?;
    let failed = outcomes.iter().filter(|outcome| outcome.code != Code::Ok);
    for outcome in failed.clone().take(TOLD_MAX) {
        println!("call {} failed: {}: {}", outcome.id, outcome.code, outcome.message);
    }
    println!("{} calls, {} failed", outcomes.len(), failed.count());
    Ok(write_report(&mut BufWriter::new(File::create(report)?), &outcomes)?)
}
