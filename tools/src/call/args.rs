//! The flags of `corelane call`, and which of them make no sense together.
//!
//! Names are those of grpcurl where it has one.
//!
//! Does not: connect, or look for a method.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use corelane::client::{Channel, ChannelBuilder, ClientTls};
use prost_reflect::DescriptorPool;

use crate::bench::values::{Entry, MethodPath, duration, size};
use crate::call::documents::Data;
use crate::call::source;
use crate::call::trouble::Trouble;
use crate::tls::Certificates;

/// What stands behind the flags in `corelane call --help`.
const HELP: &str = "\
TARGET is a host and a port, or any other target of a channel: dns:///host:port, unix:/path, https://host.
Connections are plain text, unless the target is https:// or its port is 443, or --tls or a flag about certificates is given.

What there is to call comes from --proto or --protoset, or from the server by reflection:
  corelane call TARGET package.Service/Method   calls it
  corelane call TARGET list [SERVICE]           lists services, or a service's methods
  corelane call TARGET describe [SYMBOL]        shows a service, a method, a message or an enum
With --proto or --protoset, list and describe need no TARGET.

Exit codes: 0 for OK, 64 and the number of the status for any other status, 2 for wrong flags, 1 for all else.";

#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Call {
    /// Whom to call, and what: see below
    #[arg(required = true, num_args = 1..=3, value_names = ["TARGET", "METHOD"])]
    words: Vec<String>,

    /// The request as JSON; @FILE reads a file, @ or - reads stdin; several one after the other where requests are streamed
    #[arg(long, short = 'd', value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub(crate) data: Option<Data>,
    /// Metadata for the call, name:value; base64 for names in -bin; may be repeated
    #[arg(long, short = 'm', visible_short_alias = 'H', value_name = "NAME:VALUE")]
    pub(crate) metadata: Vec<Entry>,
    /// How long the call may take, as 1.5s or 200ms
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) deadline: Option<Duration>,

    /// A .proto file that declares what is called; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "protoset")]
    proto: Vec<PathBuf>,
    /// Where files and imports of --proto are looked up; may be repeated [default: .]
    #[arg(long, value_name = "DIR", requires = "proto")]
    import_path: Vec<PathBuf>,
    /// A file with an encoded FileDescriptorSet, as protoc and buf write it; may be repeated
    #[arg(long, value_name = "FILE")]
    protoset: Vec<PathBuf>,

    /// Use no TLS, whatever the target's port
    #[arg(long, conflicts_with_all = ["tls", "ca", "cert", "key", "insecure", "server_name"])]
    plaintext: bool,
    /// Use TLS
    #[arg(long)]
    tls: bool,
    /// Trust the certificates of this PEM file in place of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// The client's certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of --cert, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long)]
    insecure: bool,
    /// The name that the server's certificate must have, if not the target's
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,

    /// The :authority of the call, if not the target's
    #[arg(long, value_name = "NAME")]
    authority: Option<String>,
    /// What stands before our own user agent
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// How long connecting may take [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    connect_timeout: Option<Duration>,
    /// The largest response that is accepted, as 100, 64k or 16m [default: 4m]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) max_message_size: Option<u32>,

    /// Show fields that have their default value, too
    #[arg(long)]
    pub(crate) emit_defaults: bool,
    /// Pass over fields in --data that the request does not have
    #[arg(long)]
    pub(crate) allow_unknown_fields: bool,
    /// Show the method, metadata and trailers, on stderr
    #[arg(long, short = 'v')]
    pub(crate) verbose: bool,
    /// With -v, show the names of metadata and not the values
    #[arg(long, requires = "verbose")]
    pub(crate) redact: bool,
}

/// What is to be done, and with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    /// `None` where files say all there is to know.
    pub(crate) target: Option<String>,
    pub(crate) verb: Verb,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Invoke(MethodPath),
    /// The services, or the methods of one.
    List(Option<String>),
    /// All services, or whatever has this full name.
    Describe(Option<String>),
}

/// What goes with each call, to the method and to reflection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) metadata: Vec<Entry>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) response_bytes_max: Option<u32>,
}

impl Call {
    /// What the words say.
    ///
    /// # Errors
    /// In words for the user.
    pub(crate) fn action(&self) -> Result<Action, String> {
        let has_files = !self.proto.is_empty() || !self.protoset.is_empty();
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let (target, verb) = match *words.as_slice() {
            // A target could be called `list`; who means that writes `dns:///list`.
            [verb @ ("list" | "describe"), ref rest @ ..] if has_files => (None, looking(verb, rest)?),
            [target, verb @ ("list" | "describe"), ref rest @ ..] => (Some(target), looking(verb, rest)?),
            [target, method] => (Some(target), Verb::Invoke(method.parse()?)),
            [_] => return Err("say what to call: package.Service/Method, list or describe".to_owned()),
            _ => return Err("there is a word too many; give TARGET and METHOD".to_owned()),
        };
        if matches!(target, Some("")) {
            return Err("the target is empty; give a host and a port".to_owned());
        }
        Ok(Action { target: target.map(str::to_owned), verb })
    }

    /// Says what does not go together.
    ///
    /// # Errors
    /// In words for the user.
    pub(crate) fn check(&self) -> Result<(), String> {
        let action = self.action()?;
        if self.data.is_some() && !matches!(action.verb, Verb::Invoke(_)) {
            return Err("--data is for a METHOD".to_owned());
        }
        Ok(())
    }

    /// What `--proto` or `--protoset` hold, if one is given.
    pub(crate) fn files(&self) -> Result<Option<DescriptorPool>, Trouble> {
        let pool = match (self.proto.as_slice(), self.protoset.as_slice()) {
            ([], []) => return Ok(None),
            ([], sets) => source::from_sets(sets),
            (protos, _) => source::from_protos(protos, &self.import_path),
        };
        pool.map(Some).map_err(Trouble::Other)
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan {
            metadata: self.metadata.clone(),
            deadline: self.deadline,
            response_bytes_max: self.max_message_size,
        }
    }

    /// The channel to `target` that the flags ask for.
    pub(crate) fn channel(&self, target: &str) -> Result<ChannelBuilder, Trouble> {
        /// Somebody waits: less than the 20 s that a channel takes by itself.
        const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
        let mut channel = Channel::builder(target)
            .connect_timeout(self.connect_timeout.unwrap_or(CONNECT_TIMEOUT))
            // One call needs no second connection.
            .connections(1, 1);
        if let Some(authority) = &self.authority {
            channel = channel.authority(authority);
        }
        if let Some(user_agent) = &self.user_agent {
            channel = channel.user_agent(user_agent);
        }
        if let Some(name) = &self.server_name {
            channel = channel.server_name(name);
        }
        if self.wants_tls(target) {
            channel = channel.tls(self.tls()?);
        }
        Ok(channel)
    }

    fn wants_tls(&self, target: &str) -> bool {
        let is_flagged = self.tls || self.insecure || self.server_name.is_some();
        let has_files = self.ca.is_some() || self.cert.is_some();
        let is_usual = target.starts_with("https:") || target.ends_with(":443");
        !self.plaintext && (is_flagged || has_files || is_usual)
    }

    fn tls(&self) -> Result<ClientTls, Trouble> {
        let certificates = Certificates {
            ca: self.ca.as_deref(),
            cert: self.cert.as_deref(),
            key: self.key.as_deref(),
            insecure: self.insecure,
        };
        certificates.client_tls().map_err(Trouble::Other)
    }
}

fn looking(verb: &str, rest: &[&str]) -> Result<Verb, String> {
    let subject = match *rest {
        [] => None,
        [subject] => Some(subject.trim_start_matches('.').to_owned()),
        _ => return Err(format!("{verb} takes one name at most")),
    };
    Ok(if verb == "list" { Verb::List(subject) } else { Verb::Describe(subject) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse_from};

    fn call(words: &[&str]) -> Result<Call, String> {
        let words = ["corelane", "call"].iter().chain(words);
        match parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Call(call) => Ok(*call),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(words: &[&str]) -> String {
        let text = call(words).unwrap_err();
        text.lines().next().unwrap().to_owned()
    }

    fn action(words: &[&str]) -> (Option<String>, Verb) {
        let Action { target, verb } = call(words).unwrap().action().unwrap();
        (target, verb)
    }

    #[test]
    fn words_say_what_to_do() {
        let host = || Some("host:1".to_owned());
        let method = Verb::Invoke("a.B/C".parse().unwrap());
        assert_eq!(action(&["host:1", "a.B/C"]), (host(), method.clone()));
        assert_eq!(action(&["host:1", "a.B.C", "-v", "-d", "{}"]), (host(), method));
        assert_eq!(action(&["host:1", "list"]), (host(), Verb::List(None)));
        assert_eq!(action(&["host:1", "list", "a.B"]), (host(), Verb::List(Some("a.B".to_owned()))));
        let described = Verb::Describe(Some("a.B.C".to_owned()));
        assert_eq!(action(&["host:1", "describe", ".a.B.C"]), (host(), described.clone()));
        assert_eq!(action(&["--proto", "a.proto", "describe", "a.B.C"]), (None, described.clone()));
        assert_eq!(action(&["--protoset", "a.bin", "host:1", "describe", "a.B.C"]), (host(), described));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        let say = "error: say what to call: package.Service/Method, list or describe";
        assert_eq!(refusal(&["host:1"]), say);
        assert_eq!(refusal(&["list"]), say);
        assert_eq!(
            refusal(&["host:1", "a.B/C", "x"]),
            "error: there is a word too many; give TARGET and METHOD"
        );
        assert_eq!(refusal(&["list", "a", "b", "--proto", "x"]), "error: list takes one name at most");
        assert_eq!(refusal(&["", "a.B/C"]), "error: the target is empty; give a host and a port");
        assert_eq!(refusal(&["host:1", "nothing"]), "error: give package.Service/Method");
        assert_eq!(refusal(&["host:1", "list", "-d", "{}"]), "error: --data is for a METHOD");
        let together = refusal(&["host:1", "a.B/C", "--plaintext", "--ca", "a.pem"]);
        assert_eq!(together, "error: the argument '--plaintext' cannot be used with '--ca <FILE>'");
        let lonely = refusal(&["host:1", "a.B/C", "--cert", "a.pem"]);
        assert_eq!(lonely, "error: the following required arguments were not provided:");
    }

    #[test]
    fn tls_is_used_where_it_is_asked_for_or_usual() {
        let wants = |words: &[&str]| {
            let call = call(words).unwrap();
            let target = call.action().unwrap().target.unwrap();
            call.wants_tls(&target)
        };
        assert!(!wants(&["localhost:50051", "a.B/C"]));
        assert!(!wants(&["unix:/run/443", "a.B/C"]));
        assert!(!wants(&["host:443", "a.B/C", "--plaintext"]));
        for words in [["host:443", "a.B/C"], ["https://host", "a.B/C"]] {
            assert!(wants(&words), "{words:?}");
        }
        for flags in [&["--tls"][..], &["--insecure"], &["--ca", "a.pem"], &["--server-name", "a.b"]] {
            let words: Vec<&str> = ["host:1", "a.B/C"].iter().chain(flags).copied().collect();
            assert!(wants(&words), "{flags:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let call = call(&["host:1", "a.B/C", "--ca", "/nowhere/a.pem"]).unwrap();
        let Err(Trouble::Other(text)) = call.channel("host:1") else { panic!("there is no such file") };
        assert!(text.starts_with("cannot read /nowhere/a.pem: "), "{text}");
    }
}
