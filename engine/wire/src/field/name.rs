//! The field names that the engine knows: recognised once, compared by their number, and in need of no storage.
//!
//! Does not: say what a name means; connection, gRPC and HPACK do, each for those that it needs.
//!
//! Invariant: there are 32 variants at most, so that a set of names is one word.

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident = $bytes:literal,)*) => {
        /// A field name that the engine knows, recognised once, when the field is made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Name {
            /// A name that is not in this list.
            Other,
            /// A pseudo-header field (its name starts with a colon) that is not in this list.
            OtherPseudo,
            $($(#[$doc])* $variant,)*
        }

        /// The bytes of each name, in the order of the variants.
        const NAMES: &[&[u8]] = &[b"", b"", $($bytes,)*];

        #[cfg(test)]
        const ALL: &[Name] = &[Name::Other, Name::OtherPseudo, $(Name::$variant,)*];

        impl Name {
            /// The name that these bytes spell. Names are lower case in HTTP/2 (RFC 9113, section 8.2.1), so the case counts.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Name {
                match bytes {
                    $($bytes => Name::$variant,)*
                    [b':', ..] => Name::OtherPseudo,
                    _ => Name::Other,
                }
            }
        }
    };
}

names! {
    /// `:authority`
    Authority = b":authority",
    /// `:method`
    Method = b":method",
    /// `:path`
    Path = b":path",
    /// `:scheme`
    Scheme = b":scheme",
    /// `:status`
    Status = b":status",
    /// `:protocol` (RFC 8441)
    Protocol = b":protocol",
    /// `te`
    Te = b"te",
    /// `content-type`
    ContentType = b"content-type",
    /// `content-length`
    ContentLength = b"content-length",
    /// `user-agent`
    UserAgent = b"user-agent",
    /// `grpc-timeout`
    GrpcTimeout = b"grpc-timeout",
    /// `grpc-encoding`
    GrpcEncoding = b"grpc-encoding",
    /// `grpc-accept-encoding`
    GrpcAcceptEncoding = b"grpc-accept-encoding",
    /// `grpc-status`
    GrpcStatus = b"grpc-status",
    /// `grpc-message`
    GrpcMessage = b"grpc-message",
    /// `grpc-status-details-bin`
    GrpcStatusDetailsBin = b"grpc-status-details-bin",
    /// `grpc-previous-rpc-attempts`
    GrpcPreviousRpcAttempts = b"grpc-previous-rpc-attempts",
    /// `grpc-retry-pushback-ms`
    GrpcRetryPushbackMs = b"grpc-retry-pushback-ms",
    /// `connection`
    Connection = b"connection",
    /// `keep-alive`
    KeepAlive = b"keep-alive",
    /// `proxy-connection`
    ProxyConnection = b"proxy-connection",
    /// `transfer-encoding`
    TransferEncoding = b"transfer-encoding",
    /// `upgrade`
    Upgrade = b"upgrade",
    /// `host`
    Host = b"host",
    /// `cookie`
    Cookie = b"cookie",
}

impl Name {
    /// The bytes of a known name; empty for [`Name::Other`] and [`Name::OtherPseudo`].
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        NAMES[self as usize]
    }

    /// Is this a pseudo-header field, one whose name starts with a colon?
    #[must_use]
    pub fn is_pseudo(self) -> bool {
        use Name::{Authority, Method, OtherPseudo, Path, Protocol, Scheme, Status};
        matches!(self, OtherPseudo | Authority | Method | Path | Scheme | Status | Protocol)
    }

    /// The variant's number: below 32, so that a set of names is one word.
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// Do the bytes of this name stand in [`NAMES`] and need no storage?
    pub(crate) const fn is_known(self) -> bool {
        !matches!(self, Name::Other | Name::OtherPseudo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_bytes() {
        assert_eq!(ALL.len(), NAMES.len());
        const { assert!(NAMES.len() <= 32, "a set of names is one word") };
        for (number, &name) in ALL.iter().enumerate() {
            assert_eq!(usize::from(name.number()), number);
            if name.is_known() {
                assert_eq!(Name::of(name.as_bytes()), name);
                assert_eq!(name.is_pseudo(), name.as_bytes().starts_with(b":"));
            } else {
                assert_eq!(name.as_bytes(), b"");
            }
        }
        assert_eq!(Name::of(b":foo"), Name::OtherPseudo);
        assert_eq!(Name::of(b":"), Name::OtherPseudo);
        assert_eq!(Name::of(b""), Name::Other);
        assert_eq!(Name::of(b"TE"), Name::Other);
        assert!(Name::OtherPseudo.is_pseudo());
    }
}
