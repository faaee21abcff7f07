//! The server of gRPC's interoperability suite, with the flags of the official ones.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser};
use corelane::server::{Backend, Workers};
use corelane::tls::ServerTls;
use corelane_tests::interop::{Load, server};
use corelane_tests::program::{announce, exit, serve_until_signal};

/// Serves grpc.testing.TestService for interop clients.
#[derive(Parser)]
#[command(about)]
struct Flags {
    /// The port; 0 for any free one.
    #[arg(long, default_value_t = 10000)]
    port: u16,
    /// Whether to serve over TLS, with the certificate and the key of the next two flags.
    #[arg(long = "use_tls", action = ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    use_tls: bool,
    /// The certificate chain to show, in PEM.
    #[arg(long = "tls_cert_file", requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long = "tls_key_file", requires = "certificate")]
    key: Option<PathBuf>,
    /// How many workers; one for each core unless it is given.
    #[arg(long)]
    workers: Option<usize>,
}

fn main() -> ExitCode {
    exit(run(&Flags::parse()))
}

fn run(flags: &Flags) -> Result<(), Box<dyn std::error::Error>> {
    let workers = flags.workers.map_or(Workers::All, Workers::Count);
    let load = Load::default();
    let mut builder = server(&load).workers(workers).backend(Backend::Auto);
    if flags.use_tls {
        let (Some(certificate), Some(key)) = (&flags.certificate, &flags.key) else {
            return Err("--use_tls needs --tls_cert_file and --tls_key_file".into());
        };
        let identity = ServerTls::builder().identity_pem(fs::read(certificate)?, fs::read(key)?);
        builder = builder.tls(identity.build()?);
    }
    let handle = builder.start(format!("127.0.0.1:{}", flags.port))?;
    announce(&handle);
    Ok(serve_until_signal(handle)?)
}
