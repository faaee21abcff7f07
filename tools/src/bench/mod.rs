//! `corelane bench`: a load generator, from flags to figures.
//!
//! The pieces are values that can be tested alone: a schedule says when to send, recorders take what came of it, the
//! summary makes figures of them, and text, JSON and the report show these. What sends is behind the trait in `drive.rs`.
//!
//! Does not: know how a call is made.

mod args;
mod drive;
mod gate;
mod json;
mod lean;
mod progress;
mod recorder;
mod report;
mod schedule;
mod series;
mod spec;
mod streams;
mod summary;
mod text;
pub(crate) mod units;
pub(crate) mod values;
mod workers;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use signal_hook::consts::{SIGINT, SIGTERM};

pub(crate) use crate::bench::args::Bench;
use crate::bench::drive::{Load, lanes};
use crate::bench::progress::{Board, watch};
use crate::bench::recorder::Recorder;
use crate::bench::summary::{Setup, Summary};
use crate::bench::text::Text;
use crate::bench::values::Destination;

/// Makes the load and shows what came of it.
///
/// # Errors
/// If the run cannot start, or the output cannot be written.
pub(crate) fn run(options: &Bench) -> Result<(), Box<dyn Error>> {
    let load = drive::load(options)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let summary = measure(options, load.as_ref(), options.workers_count(cores))?;
    show(options, &summary)
}

/// SIGINT ends a run early, with the figures so far; a second one ends the process.
fn measure(options: &Bench, load: &dyn Load, workers: usize) -> Result<Summary, Box<dyn Error>> {
    let plan = options.plan();
    let board = Arc::new(Board::new(workers));
    for signal in [SIGINT, SIGTERM] {
        let stop = board.stop_flag();
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        signal_hook::flag::register(signal, stop)?;
    }
    let setup = setup(options, workers);
    let bar = (!options.no_progress).then(|| watch(board.clone(), plan));
    let recorders = load.run(lanes(plan, &board, options.connections, options.streams))?;
    drop(bar);
    let all = recorders.into_iter().reduce(|mut all: Recorder, one| {
        all.merge(one);
        all
    });
    let mut all = all.ok_or("no worker ran")?;
    // Not among the figures: they have a shape that programs read.
    std::mem::take(&mut all.notes).iter().for_each(|note| eprintln!("note: {note}"));
    Ok(Summary::new(setup, all))
}

fn setup(options: &Bench, workers: usize) -> Setup {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Setup {
        target: options.target.clone(),
        method: options.method_path().to_string(),
        rate: options.rate,
        connections: options.connections,
        streams: options.streams,
        workers,
        warm_up: options.warm_up,
        duration: options.send_for(),
        calls: options.calls,
        deadline: options.deadline,
        details: details(options),
        started_unix_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
    }
}

/// What else shapes the calls. Metadata is left out: it may be secret, and outputs are passed around.
fn details(options: &Bench) -> Vec<(&'static str, String)> {
    let bytes = |size: Option<u32>| format!("{} bytes", units::count(size.unwrap_or(0).into()));
    let mut details = Vec::new();
    if options.method.is_none() {
        details.push(("request size", bytes(options.request_size)));
        details.push(("response size", bytes(options.response_size)));
    }
    if let Some(messages) = options.messages {
        details.push(("messages", units::count(messages.into())));
    }
    details.push(("security", if options.wants_tls() { "TLS" } else { "plain text" }.to_owned()));
    details.push(("backend", format!("{:?}", options.backend).to_lowercase()));
    details
}

fn show(options: &Bench, summary: &Summary) -> Result<(), Box<dyn Error>> {
    if options.json != Some(Destination::Stdout) {
        print!("{}", Text(summary));
    }
    match &options.json {
        Some(Destination::Stdout) => print!("{}", json::write(summary)),
        Some(Destination::File(path)) => write(path, &json::write(summary))?,
        None => {}
    }
    if let Some(path) = &options.report {
        write(path, &report::page(summary))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
