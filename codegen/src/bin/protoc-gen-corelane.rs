//! The plugin that protoc and buf start: a request on stdin, a response on stdout.
//!
//! `protoc --corelane_out=DIR --corelane_opt=OPTION,… FILES…`; with buf, `local: protoc-gen-corelane`.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--version" | "-V") => {
            println!("protoc-gen-corelane {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("--help" | "-h") => {
            help();
            return ExitCode::SUCCESS;
        }
        None if !io::stdin().is_terminal() => {}
        _ => {
            eprintln!("protoc-gen-corelane: started by protoc or buf, without arguments; see --help");
            return ExitCode::from(2);
        }
    }
    match respond() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("protoc-gen-corelane: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn respond() -> Result<(), Box<dyn std::error::Error>> {
    let mut request = Vec::new();
    io::stdin().lock().read_to_end(&mut request)?;
    let response = corelane_codegen::plugin::respond(&request)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&response)?;
    Ok(stdout.flush()?)
}

fn help() {
    println!("Generates Corelane services, as a plugin of protoc and buf.\n");
    println!("  protoc --corelane_out=DIR --corelane_opt=OPTION,OPTION=VALUE,… FILES…\n");
    println!(
        "Options; those with PATH can be given more than once, and a comma in a value is written `\\,`:"
    );
    for option in corelane_codegen::options::OPTIONS {
        use corelane_codegen::options::Value;
        let value = match option.value {
            Value::Switch => "[=true|false]",
            Value::Text => "=VALUE",
            Value::Path => "=PATH",
            Value::PathAndText => "=PATH=VALUE",
        };
        println!("  {:<40} {}", format!("{}{value}", option.name), option.help);
    }
}
