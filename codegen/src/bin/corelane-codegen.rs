//! The command: what a build script does with the crate, by hand.
//!
//! It ends with 0 when everything is written, with 1 when a file is faulty or cannot be written, and with 2 when it is called
//! wrongly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use corelane_codegen::options::{OPTIONS, Setting, Value};
use corelane_codegen::{Builder, CodegenError, configure};

fn main() -> ExitCode {
    let matches = command().get_matches();
    let builder = match read_options(&matches) {
        Ok(builder) => builder,
        Err(error) => command().error(clap::error::ErrorKind::InvalidValue, error).exit(),
    };
    match run(&matches, builder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let paths = |name: &'static str| Arg::new(name).value_parser(value_parser!(PathBuf));
    let command = Command::new("corelane-codegen")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Generates Corelane services from .proto files.")
        .after_help("PATH is the full name of something in a .proto file: `.` for everything, `.a.b` for a.b and all that is in it.")
        .arg(
            paths("include")
                .short('I')
                .long("include")
                .value_name("DIR")
                .action(ArgAction::Append)
                .default_value(".")
                .help("Where to look for files and imports; can be given more than once"),
        )
        .arg(paths("out").short('o').long("out").value_name("DIR").required(true).help("Where to write; made if it is not there"))
        .arg(paths("descriptor-set").long("descriptor-set").value_name("FILE").help("Also write an encoded FileDescriptorSet"))
        .arg(paths("files").value_name("FILES").required(true).num_args(1..).help("The .proto files"));
    OPTIONS.iter().fold(command, |command, option| command.arg(argument(option)))
}

fn argument(option: &Setting) -> Arg {
    // Made once, and as long-lived as the process.
    let flag: &str = option.name.replace('_', "-").leak();
    let argument = Arg::new(option.name).long(flag).help(option.help);
    match option.value {
        Value::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false"),
        Value::Text => argument.value_name("VALUE"),
        Value::Path => argument.value_name("PATH").action(ArgAction::Append),
        Value::PathAndText => argument.value_name("PATH=VALUE").action(ArgAction::Append),
    }
}

fn read_options(matches: &ArgMatches) -> Result<Builder, CodegenError> {
    OPTIONS.iter().try_fold(configure(), |builder, option| {
        let values = matches.get_many::<String>(option.name).into_iter().flatten();
        values.into_iter().try_fold(builder, |builder, value| option.apply(builder, Some(value)))
    })
}

fn run(matches: &ArgMatches, builder: Builder) -> Result<(), Box<dyn std::error::Error>> {
    let paths = |name| matches.get_many::<PathBuf>(name).into_iter().flatten().collect::<Vec<_>>();
    let out: &PathBuf = matches.get_one("out").expect("clap has seen to it");
    let mut builder = builder.out_dir(out).emit_rerun_if_changed(false);
    if let Some(path) = matches.get_one::<PathBuf>("descriptor-set") {
        builder = builder.file_descriptor_set_path(path);
    }
    make_folder(out)?;
    Ok(builder.compile_protos(&paths("files"), &paths("include"))?)
}

fn make_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: cannot make this folder: {error}", path.display()))
}
