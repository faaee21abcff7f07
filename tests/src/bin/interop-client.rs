//! The client of gRPC's interoperability suite, with the flags of the official ones.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Parser};
use corelane::client::{Backend, Engine, Workers};
use corelane::tls::ClientTls;
use corelane_tests::interop::client::{Setting, run};
use corelane_tests::program::exit;

/// Runs one case against a server of grpc.testing.TestService.
#[derive(Parser)]
#[command(about)]
struct Flags {
    /// Where the server is.
    #[arg(long = "server_host", default_value = "localhost")]
    host: String,
    /// Its port.
    #[arg(long = "server_port", default_value_t = 10000)]
    port: u16,
    /// The case.
    #[arg(long = "test_case", default_value = "large_unary")]
    case: String,
    /// The name that the server has in :authority and in its certificate, where it is not its host.
    #[arg(long = "server_host_override")]
    host_override: Option<String>,
    /// Whether to call over TLS.
    #[arg(long = "use_tls", action = ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    use_tls: bool,
    /// Whether to trust the suite's authority, which is that of --ca_file, in place of the system's.
    #[arg(long = "use_test_ca", action = ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    use_test_ca: bool,
    /// The suite's authority, in PEM.
    #[arg(long = "ca_file")]
    authority: Option<PathBuf>,
    /// Calls of a soak case.
    #[arg(long = "soak_iterations", default_value_t = 10)]
    iterations: u32,
    /// Calls of a soak case at once.
    #[arg(long = "soak_num_threads", default_value_t = 1)]
    concurrency: u32,
    /// The longest that a call of a soak case may take, in milliseconds.
    #[arg(long = "soak_per_iteration_max_acceptable_latency_ms", default_value_t = 1000)]
    iteration_max_ms: u64,
    /// How long a soak case may take, in seconds.
    #[arg(long = "soak_overall_timeout_seconds")]
    overall_seconds: Option<u64>,
    /// Calls of a soak case that may fail.
    #[arg(long = "soak_max_failures", default_value_t = 0)]
    failures_max: u32,
    /// Octets of a soak case's requests.
    #[arg(long = "soak_request_size", default_value_t = 271_828)]
    request_size: usize,
    /// Octets of a soak case's responses.
    #[arg(long = "soak_response_size", default_value_t = 314_159)]
    response_size: i32,
    /// The pause between the calls of long_lived_channel, in seconds.
    #[arg(long = "iteration_interval", default_value_t = 10)]
    interval_seconds: u64,
    /// Taken for the sake of the official clients, which choose a policy of their own for the cases of load reports; ours reads
    /// the reports itself.
    #[arg(long = "service_config_json")]
    _service_config: Option<String>,
}

fn main() -> ExitCode {
    exit(start(Flags::parse()))
}

fn start(flags: Flags) -> Result<(), Box<dyn Error>> {
    let setting = Setting {
        address: format!("{}:{}", flags.host, flags.port),
        tls: tls(&flags)?,
        host_override: flags.host_override.filter(|name| !name.is_empty()),
        iterations: flags.iterations,
        concurrency: flags.concurrency,
        iteration_time_max: Duration::from_millis(flags.iteration_max_ms),
        failures_max: flags.failures_max,
        interval: Duration::from_secs(flags.interval_seconds),
        request_size: flags.request_size,
        response_size: flags.response_size,
    };
    let limit = flags.overall_seconds.map_or(Duration::MAX, Duration::from_secs);
    let engine = Engine::start_on(Workers::Count(1), Backend::Auto)?;
    let case = flags.case;
    let outcome: Result<(), String> = engine.block_on(move || async move {
        let began = std::time::Instant::now();
        run(&setting, &case).await.map_err(|error| format!("{case}: {error}"))?;
        if began.elapsed() > limit { Err(format!("{case}: took {:?}", began.elapsed())) } else { Ok(()) }
    });
    Ok(outcome?)
}

fn tls(flags: &Flags) -> Result<Option<ClientTls>, Box<dyn Error>> {
    if !flags.use_tls {
        return Ok(None);
    }
    let builder = match (flags.use_test_ca, &flags.authority) {
        (false, _) => ClientTls::builder().roots_native(),
        (true, Some(file)) => ClientTls::builder().ca_pem(fs::read(file)?),
        (true, None) => return Err("--use_test_ca needs --ca_file".into()),
    };
    Ok(Some(builder.build()?))
}
