//! The flags.

use std::ffi::OsString;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use corelane::server::{Address, AdminAddress, Backend, Workers};

use crate::bench::Bench;
use crate::call::Call;
use crate::top::Top;

/// Serves gRPC, one pinned thread for each core.
#[derive(Debug, Parser)]
#[command(name = "corelane", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the example: users and orders, kept in memory.
    Serve(Serve),
    /// Make one call, with JSON for messages; or list or describe what a server serves.
    Call(Box<Call>),
    /// Measure a server under load.
    Bench(Box<Bench>),
    /// Show what a running server is doing, worker by worker, by its admin port.
    Top(Top),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen, an IP address and a port or unix:/path; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    pub(crate) address: Vec<Address>,
    /// How many workers, or the cores to run them on: 4, all, 0,2,5 or 0-3
    #[arg(long, value_name = "N|all|LIST", default_value = "all")]
    pub(crate) workers: Crew,
    /// How to talk to the kernel; auto takes io_uring where it is allowed
    #[arg(long, value_enum, default_value_t = BackendFlag::Auto)]
    pub(crate) backend: BackendFlag,
    /// How long calls may go on after SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) grace: Duration,
    /// Connections that one worker holds at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,
    /// Calls of one connection at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_streams: Option<u32>,
    /// The deadline of calls whose client sets none
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Open an admin port, for `corelane top`: a port of the loopback address, or an IP address and a port
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<AdminAddress>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BackendFlag {
    Auto,
    Uring,
    Epoll,
}

impl From<BackendFlag> for Backend {
    fn from(flag: BackendFlag) -> Backend {
        match flag {
            BackendFlag::Auto => Backend::Auto,
            BackendFlag::Uring => Backend::Uring,
            BackendFlag::Epoll => Backend::Epoll,
        }
    }
}

/// `--workers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crew(pub(crate) Workers);

impl FromStr for Crew {
    type Err = String;

    fn from_str(text: &str) -> Result<Crew, String> {
        /// More than any machine has, and few enough that a slip of the finger does no harm.
        const WORKERS_MAX: usize = 1024;
        let number = |text: &str| match text.parse::<usize>() {
            Ok(number) if number <= WORKERS_MAX => Ok(number),
            _ => Err(format!("{text:?} is not a number up to {WORKERS_MAX}")),
        };
        if text == "all" {
            return Ok(Crew(Workers::All));
        }
        if !text.contains([',', '-']) {
            return match number(text)? {
                0 => Err("there must be a worker".to_owned()),
                count => Ok(Crew(Workers::Count(count))),
            };
        }
        let mut cores = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                None => cores.push(number(part)?),
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(format!("{part:?} runs backwards"));
                    }
                    cores.extend(first..=last);
                }
            }
        }
        Ok(Crew(Workers::Cores(cores)))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|_| "give a number of seconds, at least 0".to_owned())
}

/// Reads the flags and refuses those that make no sense together.
///
/// # Errors
/// What is wrong with them, or a wish for help.
pub(crate) fn parse_from<T>(words: impl IntoIterator<Item = T>) -> Result<Cli, clap::Error>
where
    T: Into<OsString> + Clone,
{
    let cli = Cli::try_parse_from(words)?;
    let checked = match &cli.command {
        Command::Bench(bench) => bench.check(),
        Command::Call(call) => call.check(),
        Command::Serve(_) | Command::Top(_) => Ok(()),
    };
    checked.map_err(|reason| Cli::command().error(ErrorKind::ArgumentConflict, reason))?;
    Ok(cli)
}

/// Shows help, or says in one line what is wrong with the flags; the exit code says which.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprintln!("error: no command was given; see corelane --help");
            ExitCode::from(2)
        }
        _ => {
            // The reason is what precedes the first empty line; usage and hints follow it.
            let text = error.to_string();
            let reason: Vec<&str> =
                text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
            eprintln!("{}; see corelane --help", reason.join(" "));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(text: &str) -> Result<Workers, String> {
        text.parse().map(|Crew(workers)| workers)
    }

    #[test]
    fn workers_are_a_count_all_or_a_list_of_cores() {
        assert_eq!(workers("all"), Ok(Workers::All));
        assert_eq!(workers("4"), Ok(Workers::Count(4)));
        assert_eq!(workers("0,2"), Ok(Workers::Cores(vec![0, 2])));
        assert_eq!(workers("1-3,8"), Ok(Workers::Cores(vec![1, 2, 3, 8])));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        assert_eq!(workers("0"), Err("there must be a worker".to_owned()));
        assert_eq!(workers("many"), Err("\"many\" is not a number up to 1024".to_owned()));
        assert_eq!(workers("3-1"), Err("\"3-1\" runs backwards".to_owned()));
        assert_eq!(workers("1,"), Err("\"\" is not a number up to 1024".to_owned()));
        assert_eq!(workers("0-4000000000"), Err("\"4000000000\" is not a number up to 1024".to_owned()));
    }

    #[test]
    fn the_flags_are_sound() {
        Cli::command().debug_assert();
    }
}
