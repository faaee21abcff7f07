//! The flags of `corelane bench`, and which of them make no sense together.
//!
//! Names are those of ghz and grpcurl where these have one.
//!
//! Does not: open files, resolve names, or look at descriptors.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use corelane::client::{ClientTls, Workers};

use crate::bench::schedule::{Pace, Plan};
use crate::bench::values::{Destination, Entry, MethodPath, duration, size};
use crate::bench::workers::Place;
use crate::call::documents::Data;
use crate::cli::{BackendFlag, Crew};
use crate::tls::Certificates;

/// How long a run without `--duration` and `--calls` takes.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// How long after the end late calls are still sent, and answers waited for.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Whom to call: a host and a port, unix:/path, or any other target of a channel
    pub(crate) target: String,
    /// What to call, package.Service/Method; without it the target must serve bench.v1.Bench
    pub(crate) method: Option<MethodPath>,

    /// Calls a second, whatever the server does (open loop), with no more than --connections times --streams in flight; without it
    /// each stream waits for its answer (closed loop)
    #[arg(long, short = 'r', value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) rate: Option<u64>,
    /// How many calls may be late with --rate before more are given up [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) backlog: Option<u64>,
    /// How many connections
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,
    /// Calls at once on each connection
    #[arg(long, short = 's', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) streams: u32,
    /// How many workers, or the cores to run them on; by default one for each core, and no more than connections
    #[arg(long, value_name = "N|all|LIST")]
    pub(crate) workers: Option<Crew>,
    /// For how long to send, as 10s, 500ms or 2m [default: 10s, if there is no --calls]
    #[arg(long, short = 'z', value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// How many calls to make; with --duration, whichever ends first
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) calls: Option<u64>,
    /// For how long to send before measuring
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub(crate) warm_up: Duration,
    /// How long a call may take, from when it is sent
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,

    /// The shape of the calls to bench.v1.Bench [default: unary]
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// Bytes of payload of each request to bench.v1.Bench, as 100 or 64k [default: 0]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) request_size: Option<u32>,
    /// Bytes of payload of each of its responses [default: 0]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) response_size: Option<u32>,
    /// Messages on each stream: of bench.v1.Bench in the directions that stream, of METHOD to the server [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) messages: Option<u32>,

    /// The request to METHOD as JSON; @FILE reads a file, @ or - reads stdin [default: {}]
    #[arg(long, short = 'd', value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub(crate) data: Option<Data>,
    /// A .proto file that declares METHOD; without it the server is asked by reflection
    #[arg(long, value_name = "FILE")]
    pub(crate) proto: Vec<PathBuf>,
    /// Where imports of --proto are looked up; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) import_path: Vec<PathBuf>,
    /// Metadata for each call, name:value; base64 for names in -bin; may be repeated
    #[arg(long, short = 'm', value_name = "NAME:VALUE")]
    pub(crate) metadata: Vec<Entry>,
    /// The :authority of the calls, if not the target's
    #[arg(long, value_name = "NAME")]
    pub(crate) authority: Option<String>,

    /// Use TLS
    #[arg(long)]
    pub(crate) tls: bool,
    /// Trust the certificates of this PEM file in place of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of --cert, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Write the figures as JSON, to stdout in place of the summary, or to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(crate) json: Option<Destination>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Draw no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
    /// How to talk to the kernel; auto takes io_uring where it is allowed
    #[arg(long, value_enum, default_value_t = BackendFlag::Auto)]
    pub(crate) backend: BackendFlag,
}

/// The shapes of a call, by the names of `bench.v1.Bench`'s methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    #[default]
    Unary,
    Upload,
    Download,
    Chat,
}

impl Kind {
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Kind::Unary => "Unary",
            Kind::Upload => "Upload",
            Kind::Download => "Download",
            Kind::Chat => "Chat",
        }
    }
}

impl Bench {
    /// Says what does not go together.
    ///
    /// # Errors
    /// In words for the user, naming the flags.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_pace()?;
        self.check_call()?;
        self.check_tls()
    }

    fn check_pace(&self) -> Result<(), String> {
        if self.target.is_empty() {
            return Err("the target is empty; give an address and a port, or unix:/path".to_owned());
        }
        if self.backlog.is_some() && self.rate.is_none() {
            return Err("--backlog needs --rate: a closed loop is never late".to_owned());
        }
        if self.duration.is_some_and(|duration| duration.is_zero()) {
            return Err("--duration must be longer than nothing".to_owned());
        }
        if self.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err("--deadline must be longer than nothing".to_owned());
        }
        let workers = self.workers_count(1);
        let connections = usize::try_from(self.connections).unwrap_or(usize::MAX);
        if workers > connections {
            return Err(format!(
                "{workers} workers and --connections {connections}: each worker needs a connection of its own"
            ));
        }
        Ok(())
    }

    fn check_call(&self) -> Result<(), String> {
        let bench_only = [
            ("--kind", self.kind.is_some()),
            ("--request-size", self.request_size.is_some()),
            ("--response-size", self.response_size.is_some()),
        ];
        let method_only = [
            ("--data", self.data.is_some()),
            ("--proto", !self.proto.is_empty()),
            ("--import-path", !self.import_path.is_empty()),
        ];
        let given = |flags: [(&'static str, bool); 3]| {
            flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
        };
        match (&self.method, given(bench_only), given(method_only)) {
            (Some(_), Some(flag), _) => {
                return Err(format!(
                    "{flag} is for bench.v1.Bench, and METHOD was given; use --data, or leave METHOD out"
                ));
            }
            (None, _, Some(flag)) => return Err(format!("{flag} needs a METHOD that it is for")),
            _ => {}
        }
        if !self.import_path.is_empty() && self.proto.is_empty() {
            return Err("--import-path needs --proto".to_owned());
        }
        if self.method.is_none() && self.messages.is_some() && self.kind() == Kind::Unary {
            return Err("--messages needs a --kind that streams: upload, download or chat".to_owned());
        }
        if self.response_size.is_some() && self.kind() == Kind::Upload {
            return Err(
                "--response-size does nothing for --kind upload, which is answered with a sum".to_owned()
            );
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), String> {
        let needing = [
            ("--ca", self.ca.is_some()),
            ("--cert", self.cert.is_some()),
            ("--key", self.key.is_some()),
            ("--insecure", self.insecure),
        ];
        if self.tls && self.target.starts_with("http:") {
            return Err("--tls is for a target that does not say http: write https".to_owned());
        }
        if let Some((flag, _)) = needing.into_iter().find(|(_, is_given)| *is_given && !self.wants_tls()) {
            return Err(format!("{flag} needs --tls: without it the connection is plain text"));
        }
        match (&self.cert, &self.key) {
            (Some(_), None) => return Err("--cert needs the --key that belongs to it".to_owned()),
            (None, Some(_)) => return Err("--key needs the --cert that it belongs to".to_owned()),
            _ => {}
        }
        if self.insecure && self.ca.is_some() {
            return Err("--insecure trusts any certificate, --ca only some: give one of them".to_owned());
        }
        Ok(())
    }

    pub(crate) fn wants_tls(&self) -> bool {
        self.tls || self.target.starts_with("https:")
    }

    /// How connections are secured, if they are.
    ///
    /// # Errors
    /// Files that cannot be read, or hold something else.
    pub(crate) fn client_tls(&self) -> Result<Option<ClientTls>, String> {
        let certificates = Certificates {
            ca: self.ca.as_deref(),
            cert: self.cert.as_deref(),
            key: self.key.as_deref(),
            insecure: self.insecure,
        };
        self.wants_tls().then(|| certificates.client_tls()).transpose()
    }

    /// Where workers run.
    pub(crate) fn place(&self) -> Place {
        Place { crew: self.workers.clone(), backend: self.backend.into() }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind.unwrap_or_default()
    }

    /// The method that is called, `package.Service/Method`.
    pub(crate) fn method_path(&self) -> MethodPath {
        self.method.clone().unwrap_or_else(|| MethodPath {
            service: "bench.v1.Bench".to_owned(),
            method: self.kind().method().to_owned(),
        })
    }

    /// How many workers run, on a machine with so many cores.
    pub(crate) fn workers_count(&self, cores: usize) -> usize {
        let connections = usize::try_from(self.connections).unwrap_or(usize::MAX);
        match &self.workers {
            Some(Crew(Workers::Count(count))) => *count,
            Some(Crew(Workers::Cores(list))) => list.len(),
            _ => cores.min(connections).max(1),
        }
    }

    /// When calls are sent.
    pub(crate) fn plan(&self) -> Plan {
        let pace = match self.rate {
            Some(rate) => Pace::Open { rate, backlog: self.backlog.unwrap_or(100_000) },
            None => Pace::Closed,
        };
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Plan {
            pace,
            warm_up_ns: nanos(self.warm_up),
            duration_ns: self.send_for().map(nanos),
            calls: self.calls,
            drain_ns: nanos(DRAIN),
        }
    }

    /// For how long calls are sent, if time ends them.
    pub(crate) fn send_for(&self) -> Option<Duration> {
        self.duration.or(self.calls.is_none().then_some(DURATION_DEFAULT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command, parse_from};

    fn parse(line: &str) -> Result<Bench, String> {
        let words = ["corelane", "bench"].into_iter().chain(line.split_whitespace());
        match parse_from(words) {
            Ok(Cli { command: Command::Bench(bench) }) => Ok(*bench),
            Ok(_) => unreachable!("bench was asked for"),
            Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    fn refusal(line: &str) -> String {
        parse(line).expect_err(line)
    }

    #[test]
    fn a_target_is_enough() {
        let bench = parse("127.0.0.1:50051").unwrap();
        assert_eq!(bench.method_path().to_string(), "bench.v1.Bench/Unary");
        let plan = bench.plan();
        assert_eq!((plan.pace, plan.duration_ns, plan.calls), (Pace::Closed, Some(10_000_000_000), None));
        assert_eq!((bench.workers_count(8), bench.connections, bench.streams), (1, 1, 1));
    }

    #[test]
    fn every_flag_has_its_place() {
        let bench = parse(
            "localhost:443 a.B/C -r 500 --backlog 7 -c 4 -s 8 --workers 2 -z 1m -n 9 --warm-up 250ms -d @in.json \
             --proto b.proto --import-path p -m a:b -m c-bin:AAE= --deadline 1.5s --messages 3 --tls --ca ca.pem \
             --cert c.pem --key k.pem --authority x --json=out.json --report r.html --no-progress --backend epoll",
        )
        .unwrap();
        let plan = bench.plan();
        assert_eq!(plan.pace, Pace::Open { rate: 500, backlog: 7 });
        assert_eq!(
            (plan.warm_up_ns, plan.duration_ns, plan.calls),
            (250_000_000, Some(60_000_000_000), Some(9))
        );
        assert_eq!(bench.method_path().to_string(), "a.B/C");
        assert_eq!(bench.data, Some(Data::File("in.json".into())));
        assert_eq!(bench.json, Some(Destination::File("out.json".into())));
        assert_eq!(bench.deadline, Some(Duration::from_millis(1_500)));
        assert_eq!(bench.workers_count(8), 2);
    }

    #[test]
    fn json_without_a_file_leaves_the_target_alone() {
        let bench = parse("--json localhost:1").unwrap();
        assert_eq!((bench.json, bench.target.as_str()), (Some(Destination::Stdout), "localhost:1"));
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        for (flags, reason) in [
            ("--backlog 5", "--backlog needs --rate: a closed loop is never late"),
            ("--duration 0s", "--duration must be longer than nothing"),
            ("--deadline 0", "--deadline must be longer than nothing"),
            ("--workers 4 -c 3", "4 workers and --connections 3: each worker needs a connection of its own"),
            ("--workers 0,1", "2 workers and --connections 1: each worker needs a connection of its own"),
            ("--data {}", "--data needs a METHOD that it is for"),
            ("--proto a.proto", "--proto needs a METHOD that it is for"),
            ("a.B/C --import-path x", "--import-path needs --proto"),
            ("--messages 3", "--messages needs a --kind that streams: upload, download or chat"),
            (
                "--kind upload --response-size 3",
                "--response-size does nothing for --kind upload, which is answered with a sum",
            ),
            (
                "a.B/C --kind chat",
                "--kind is for bench.v1.Bench, and METHOD was given; use --data, or leave METHOD out",
            ),
            ("--insecure", "--insecure needs --tls: without it the connection is plain text"),
            ("--tls --cert c", "--cert needs the --key that belongs to it"),
            ("--tls --key k", "--key needs the --cert that it belongs to"),
            (
                "--tls --insecure --ca a",
                "--insecure trusts any certificate, --ca only some: give one of them",
            ),
        ] {
            assert_eq!(refusal(&format!("localhost:1 {flags}")), format!("error: {reason}"));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_flag() {
        for (flags, part) in [
            ("--rate 0", "'--rate <N>'"),
            ("--streams 0", "'--streams <N>'"),
            ("--duration soon", "'--duration <TIME>'"),
            ("--request-size 5g", "'--request-size <BYTES>'"),
            ("--metadata nothing", "'--metadata <NAME:VALUE>'"),
            ("--kind duplex", "'--kind <KIND>'"),
            ("Method", "'[METHOD]'"),
        ] {
            let refusal = refusal(&format!("localhost:1 {flags}"));
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
