//! `corelane top`: what a running server is doing, worker by worker, asked of its admin port once a second.
//!
//! Does not: change the server, but for its profile where `--profile` asks for it, which is put back at the end.

mod ask;
mod model;
mod report;
mod screen;
mod view;

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use corelane::server::AdminAddress;

use self::ask::Port;
use self::model::Reading;
use self::report::Report;
use self::screen::{Screen, Signals};

/// `corelane top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The admin port of the server: a port of this machine, or an IP address and a port
    #[arg(value_name = "ADDRESS")]
    address: AdminAddress,
    /// How long one view counts
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Have the workers note where their time goes while this runs; costs each call some clock readings
    #[arg(long)]
    profile: bool,
    /// Print one view as plain text and end
    #[arg(long)]
    once: bool,
    /// Print one view as JSON and end
    #[arg(long, conflicts_with = "once")]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(interval) if (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) => {
            Ok(interval)
        }
        _ => Err("give a number of seconds from 0.1 to 3600".to_owned()),
    }
}

/// Shows views until a signal comes, or one.
///
/// # Errors
/// The address does not answer, or what answers is no admin port.
pub(crate) fn run(options: &Top) -> Result<(), Box<dyn Error>> {
    let port = Port::new(options.address.into());
    let first = port.read()?;
    let signals = Signals::new()?;
    let _profile = match options.profile {
        true => Some(Profile::turn_on(&port, &first)?),
        false => None,
    };
    // The reading before was of a profile that was not on yet.
    let first = if options.profile { port.read()? } else { first };
    if options.once || options.json || !io::stdout().is_terminal() {
        return once(options, &port, first, signals);
    }
    live(options, &port, first, signals)
}

/// One view, of one interval.
fn once(options: &Top, port: &Port, first: Reading, mut signals: Signals) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    if signals.wait(options.interval) {
        return Ok(());
    }
    let report = Report::new(&first, &port.read()?, began.elapsed());
    let text = match options.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => view::text(&report, &port.address().to_string()),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// View after view, until a signal comes.
fn live(options: &Top, port: &Port, first: Reading, mut signals: Signals) -> Result<(), Box<dyn Error>> {
    let mut screen = Screen::enter(io::stdout())?;
    let (mut last, mut began) = (first, Instant::now());
    screen.show("one moment…\n")?;
    while !signals.wait(options.interval) {
        let reading = port.read()?;
        let report = Report::new(&last, &reading, began.elapsed());
        screen.show(&view::text(&report, &port.address().to_string()))?;
        (last, began) = (reading, Instant::now());
    }
    Ok(())
}

/// A profile that we have turned on; what it was before is put back when this is dropped.
struct Profile<'p> {
    port: &'p Port,
    was_on: bool,
}

impl<'p> Profile<'p> {
    fn turn_on(port: &'p Port, reading: &Reading) -> Result<Profile<'p>, Box<dyn Error>> {
        port.switch("on")?;
        Ok(Profile { port, was_on: reading.profile == "on" })
    }
}

impl Drop for Profile<'_> {
    fn drop(&mut self) {
        if !self.was_on {
            // A server that is gone has no profile either.
            let _ = self.port.switch("off");
        }
    }
}
