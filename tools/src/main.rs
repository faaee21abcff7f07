//! The `corelane` command: `serve` runs the example server, `call` makes one call, `bench` measures a server under load,
//! `top` shows what a running server is doing.
//!
//! A wrong flag ends it with one line and exit code 2, whatever else goes wrong with one line and exit code 1;
//! only `call` has more to say.

mod bench;
mod call;
mod cli;
mod example;
mod files;
mod serve;
mod tls;
mod top;

use std::env;
use std::process::ExitCode;

use crate::cli::Command;

fn main() -> ExitCode {
    let cli = match cli::parse_from(env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return cli::explain(&error),
    };
    let done = match cli.command {
        Command::Call(options) => return call::run(*options),
        Command::Serve(options) => serve::run(options),
        Command::Bench(options) => bench::run(&options),
        Command::Top(options) => top::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
