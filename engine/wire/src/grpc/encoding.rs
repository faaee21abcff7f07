//! The names of message encodings: `grpc-encoding` and `grpc-accept-encoding` (compression.md).

use alloc::vec::Vec;
use core::fmt;

/// How a message may be compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950: the zlib format, which HTTP calls deflate.
    Deflate,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// Every encoding, by its number.
    pub const ALL: [Encoding; 4] = [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
        }
    }

    /// The encoding of that name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| encoding.name().as_bytes() == name)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of encodings. Identity is always a member.
///
/// ```
/// use corelane_wire::grpc::{Encoding, EncodingSet};
///
/// let set = EncodingSet::parse(b"identity, gzip,br");
/// assert!(set.contains(Encoding::Gzip) && !set.contains(Encoding::Zstd));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodingSet(u8);

impl Default for EncodingSet {
    fn default() -> EncodingSet {
        EncodingSet(1 << Encoding::Identity as u8)
    }
}

impl EncodingSet {
    /// Adds an encoding.
    pub fn insert(&mut self, encoding: Encoding) {
        self.0 |= 1 << encoding as u8;
    }

    /// Whether it is a member.
    #[inline]
    #[must_use]
    pub const fn contains(self, encoding: Encoding) -> bool {
        self.0 & 1 << encoding as u8 != 0
    }

    /// Whether it has a member beside identity.
    #[must_use]
    pub fn is_identity_only(self) -> bool {
        self == EncodingSet::default()
    }

    /// The members of both.
    #[must_use]
    pub const fn intersection(self, other: EncodingSet) -> EncodingSet {
        EncodingSet(self.0 & other.0)
    }

    /// The members, by their numbers.
    pub fn iter(self) -> impl Iterator<Item = Encoding> {
        Encoding::ALL.into_iter().filter(move |encoding| self.contains(*encoding))
    }

    /// Reads a comma-separated list; names that are not known are passed over.
    #[must_use]
    pub fn parse(value: &[u8]) -> EncodingSet {
        let mut set = EncodingSet::default();
        let names = value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
        names.filter_map(Encoding::from_name).for_each(|encoding| set.insert(encoding));
        set
    }

    /// Appends the comma-separated list.
    pub fn write(self, out: &mut Vec<u8>) {
        for (nth, encoding) in self.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(encoding.name().as_bytes());
        }
    }
}

impl FromIterator<Encoding> for EncodingSet {
    fn from_iter<I: IntoIterator<Item = Encoding>>(encodings: I) -> EncodingSet {
        let mut set = EncodingSet::default();
        encodings.into_iter().for_each(|encoding| set.insert(encoding));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_and_read() {
        for bits in 0..16u8 {
            let set: EncodingSet =
                Encoding::ALL.into_iter().filter(|one| bits & 1 << *one as u8 != 0).collect();
            let mut written = Vec::new();
            set.write(&mut written);
            assert_eq!(EncodingSet::parse(&written), set);
        }
        assert_eq!(EncodingSet::parse(b""), EncodingSet::default());
        assert_eq!(EncodingSet::parse(b",, br,\tzstd ,GZIP").iter().count(), 2);
    }

    #[test]
    fn names_go_both_ways() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(encoding.name().as_bytes()), Some(encoding));
        }
        assert_eq!(Encoding::from_name(b"snappy"), None);
    }
}
