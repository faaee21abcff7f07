//! Values of flags that are more than a number or a word.
//!
//! Does not: touch the file system or the network.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corelane::Metadata;

/// The service and the method, as `package.Service/Method` or, as grpcurl allows too, `package.Service.Method`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MethodPath {
    pub(crate) service: String,
    pub(crate) method: String,
}

impl FromStr for MethodPath {
    type Err = String;

    fn from_str(text: &str) -> Result<MethodPath, String> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let parts = path.split_once('/').or_else(|| path.rsplit_once('.'));
        match parts {
            Some((service, method)) if !service.is_empty() && is_name(method) => {
                Ok(MethodPath { service: service.to_owned(), method: method.to_owned() })
            }
            _ => Err("give package.Service/Method".to_owned()),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Display for MethodPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.method)
    }
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        match text {
            "" => Err("a file name is missing".to_owned()),
            "-" => Ok(Destination::Stdout),
            path => Ok(Destination::File(path.into())),
        }
    }
}

/// One entry of metadata that is known to be valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    name: String,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Octets(Vec<u8>),
}

impl Entry {
    /// Adds the entry to a call's metadata.
    pub(crate) fn append_to(&self, metadata: &mut Metadata) {
        append(metadata, &self.name, &self.value).expect("was valid when it was parsed");
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Entry, String> {
        let (name, value) = text.split_once(':').ok_or("give name:value")?;
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim();
        let value = if name.ends_with("-bin") {
            let octets = STANDARD
                .decode(value)
                .map_err(|error| format!("the value of {name} is not base64: {error}"))?;
            Value::Octets(octets)
        } else {
            Value::Text(value.to_owned())
        };
        append(&mut Metadata::new(), &name, &value).map_err(|error| error.to_string())?;
        Ok(Entry { name, value })
    }
}

fn append(metadata: &mut Metadata, name: &str, value: &Value) -> Result<(), corelane::InvalidMetadata> {
    match value {
        Value::Text(text) => metadata.append(name, text),
        Value::Octets(octets) => metadata.append_bin(name, octets),
    }
}

/// A time as `10s`, `500ms`, `100us`, `2m`, `1h`; a number alone is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| "give a time as 10s, 500ms or 2m".to_owned())?;
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        other => return Err(format!("{other:?} is no unit of time; there are us, ms, s, m and h")),
    };
    Duration::try_from_secs_f64(number * unit)
        .map_err(|_| "a time is at least 0, and not for ever".to_owned())
}

/// A size as `100`, `64k` or `1m`, in powers of 1024.
pub(crate) fn size(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let number: u32 = digits.parse().map_err(|_| "give a number of bytes as 100, 64k or 1m".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "a message has less than 4 GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_written_with_a_slash_or_a_dot() {
        for text in ["a.b.Service/Method", "/a.b.Service/Method", "a.b.Service.Method"] {
            let path: MethodPath = text.parse().unwrap();
            assert_eq!((path.service.as_str(), path.method.as_str()), ("a.b.Service", "Method"));
        }
        for text in ["", "Method", "a/", "/Method", "a/b/c", "a.", "a/b c"] {
            assert_eq!(text.parse::<MethodPath>(), Err("give package.Service/Method".to_owned()), "{text}");
        }
    }

    #[test]
    fn times_have_units() {
        let ms = |text| duration(text).map(|time| time.as_micros());
        assert_eq!(ms("10s"), Ok(10_000_000));
        assert_eq!(ms("1.5"), Ok(1_500_000));
        assert_eq!(ms("250ms"), Ok(250_000));
        assert_eq!(ms("7us"), Ok(7));
        assert_eq!(ms("2m"), Ok(120_000_000));
        assert_eq!(ms("1h"), Ok(3_600_000_000));
        assert_eq!(ms("3d"), Err("\"d\" is no unit of time; there are us, ms, s, m and h".to_owned()));
        for text in ["", "s", "1s1", "ten"] {
            assert_eq!(ms(text), Err("give a time as 10s, 500ms or 2m".to_owned()), "{text}");
        }
        for text in ["-1s", "1e30h"] {
            assert_eq!(ms(text), Err("a time is at least 0, and not for ever".to_owned()), "{text}");
        }
    }

    #[test]
    fn sizes_have_powers_of_1024() {
        assert_eq!(
            [size("0"), size("100"), size("64k"), size("1M")],
            [Ok(0), Ok(100), Ok(65_536), Ok(1_048_576)]
        );
        assert_eq!(size("4096m"), Err("a message has less than 4 GiB".to_owned()));
        assert_eq!(size("-1"), Err("give a number of bytes as 100, 64k or 1m".to_owned()));
        assert_eq!(size("k"), Err("give a number of bytes as 100, 64k or 1m".to_owned()));
    }

    #[test]
    fn metadata_is_valid_or_refused_before_any_call() {
        let mut metadata = Metadata::new();
        for text in ["User: a:b ", "raw-bin:AAE="] {
            text.parse::<Entry>().unwrap().append_to(&mut metadata);
        }
        assert_eq!(metadata.get("user"), Some("a:b"));
        assert_eq!(metadata.get_bin("raw-bin"), Some(Ok(vec![0, 1])));
        let refusal = |text: &str| text.parse::<Entry>().unwrap_err();
        assert_eq!(refusal("name"), "give name:value");
        assert!(refusal("raw-bin:?").starts_with("the value of raw-bin is not base64: "));
        assert_eq!(refusal("grpc-timeout:1S"), "metadata name \"grpc-timeout\" is reserved for the protocol");
        assert_eq!(refusal("a b:c"), "metadata name \"a b\": only a-z, 0-9, '_', '-' and '.' are allowed");
    }

    #[test]
    fn output_goes_to_stdout_or_a_file() {
        assert_eq!("-".parse(), Ok(Destination::Stdout));
        assert_eq!("".parse::<Destination>(), Err("a file name is missing".to_owned()));
    }
}
