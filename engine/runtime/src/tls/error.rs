//! What can go wrong with TLS, for the person who reads the message: in a configuration, and on a connection.

use rustls::{AlertDescription, CertificateError, Error};
use std::fmt;
use std::io;

/// Why a connection cannot be secured, or is no longer.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// What was to be connected to is neither a DNS name nor an IP address.
    InvalidServerName {
        /// What was given.
        name: String,
    },
    /// We do not accept the peer's certificate, and told it so.
    Certificate {
        /// What is wrong with it.
        fault: CertificateFault,
        /// The same with its particulars.
        detail: String,
    },
    /// The peer ended the connection with an alert: it does not accept what we offered (RFC 8446 section 6.2).
    Alert {
        /// The alert's number.
        code: u8,
        /// The alert's name.
        name: String,
    },
    /// The peer does not speak TLS.
    PlaintextPeer,
    /// The peer did not agree to speak HTTP/2 (ALPN "h2", RFC 9113 section 3.2).
    NoAlpn,
    /// The handshake took longer than [`crate::Limits::tls_handshake`].
    Timeout,
    /// The rest of a record took longer than [`crate::Limits::tls_record`].
    RecordTimeout,
    /// The peer closed in the middle of the handshake.
    PeerClosed,
    /// The peer broke the protocol, or there is no version or cipher that both know.
    Protocol {
        /// What rustls says.
        detail: String,
    },
    /// The socket failed.
    Io(io::Error),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// It was not issued by anybody whom we trust.
    UnknownIssuer,
    /// It was issued for other names.
    WrongName,
    /// Its time is over.
    Expired,
    /// Its time has not come; one of the clocks may be wrong.
    NotYetValid,
    /// Its issuer has taken it back.
    Revoked,
    /// The peer showed none.
    Missing,
    /// Anything else; the detail says what.
    Other,
}

impl CertificateFault {
    fn of(error: &CertificateError) -> CertificateFault {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                CertificateFault::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                CertificateFault::WrongName
            }
            CertificateError::UnknownIssuer => CertificateFault::UnknownIssuer,
            CertificateError::Revoked => CertificateFault::Revoked,
            _ => CertificateFault::Other,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::InvalidServerName { name } => {
                write!(
                    f,
                    "{name:?} is neither a DNS name nor an IP address, which a certificate could be for"
                )
            }
            TlsError::Certificate { detail, .. } => {
                write!(f, "the peer's certificate is not accepted: {detail}")
            }
            TlsError::Alert { code, name } => {
                write!(f, "the peer refused with the TLS alert {code} ({name})")
            }
            TlsError::PlaintextPeer => {
                f.write_str("the peer does not speak TLS: its port is a plaintext one")
            }
            TlsError::NoAlpn => f.write_str("the peer does not agree to HTTP/2 (no \"h2\" in its ALPN)"),
            TlsError::Timeout => f.write_str("the TLS handshake took too long"),
            TlsError::RecordTimeout => f.write_str("the rest of a TLS record took too long"),
            TlsError::PeerClosed => f.write_str("the peer closed the connection during the TLS handshake"),
            TlsError::Protocol { detail } => write!(f, "TLS failed: {detail}"),
            TlsError::Io(error) => write!(f, "the socket failed during the TLS handshake: {error}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> TlsError {
        TlsError::Io(error)
    }
}

impl TlsError {
    pub(super) fn of(error: &Error) -> TlsError {
        let detail = error.to_string();
        match error {
            Error::InvalidCertificate(certificate) => {
                TlsError::Certificate { fault: CertificateFault::of(certificate), detail }
            }
            Error::NoCertificatesPresented => {
                TlsError::Certificate { fault: CertificateFault::Missing, detail }
            }
            Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                TlsError::NoAlpn
            }
            Error::AlertReceived(alert) => {
                TlsError::Alert { code: u8::from(*alert), name: format!("{alert:?}") }
            }
            _ => TlsError::Protocol { detail },
        }
    }
}

/// Why a configuration for TLS cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// Something is not PEM (RFC 7468), or not what its PEM label says.
    Pem {
        /// Which input.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// There is no `BEGIN CERTIFICATE` in an input.
    NoCertificate {
        /// Which input.
        what: &'static str,
    },
    /// There is no private key (PKCS #8, PKCS #1 or SEC1) in the key's input.
    NoKey,
    /// A server needs a certificate, and none was given.
    NoIdentity,
    /// The key is of an unknown kind, or does not belong to the certificate.
    Identity {
        /// What is wrong.
        detail: String,
    },
    /// Nobody is trusted: neither the system's certificates nor any other were asked for, or none was found.
    NoRoots {
        /// What was in the way, if anything was.
        detail: String,
    },
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsConfigError::Pem { what, detail } => write!(f, "{what} cannot be read: {detail}"),
            TlsConfigError::NoCertificate { what } => {
                write!(f, "{what} holds no certificate (no \"BEGIN CERTIFICATE\" in the PEM)")
            }
            TlsConfigError::NoKey => {
                f.write_str("the private key's input holds none (no \"BEGIN PRIVATE KEY\" in the PEM)")
            }
            TlsConfigError::NoIdentity => f.write_str("a server needs a certificate and its key"),
            TlsConfigError::Identity { detail } => {
                write!(f, "the certificate and its key cannot be used: {detail}")
            }
            TlsConfigError::NoRoots { detail } if detail.is_empty() => {
                f.write_str("no certificate authority is trusted: give one, or ask for the system's")
            }
            TlsConfigError::NoRoots { detail } => {
                write!(f, "no certificate authority was found on this system: {detail}")
            }
        }
    }
}

impl std::error::Error for TlsConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_apart() {
        let fault = |error: CertificateError| match TlsError::of(&Error::InvalidCertificate(error)) {
            TlsError::Certificate { fault, .. } => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(CertificateError::Expired), CertificateFault::Expired);
        assert_eq!(fault(CertificateError::NotValidYet), CertificateFault::NotYetValid);
        assert_eq!(fault(CertificateError::NotValidForName), CertificateFault::WrongName);
        assert_eq!(fault(CertificateError::UnknownIssuer), CertificateFault::UnknownIssuer);
        assert_eq!(fault(CertificateError::Revoked), CertificateFault::Revoked);
        assert_eq!(fault(CertificateError::BadEncoding), CertificateFault::Other);
    }

    #[test]
    fn alerts_keep_their_number_and_name() {
        let alert = TlsError::of(&Error::AlertReceived(AlertDescription::CertificateRequired));
        let text = "the peer refused with the TLS alert 116 (CertificateRequired)";
        assert_eq!(alert.to_string(), text);
        let alpn = TlsError::of(&Error::AlertReceived(AlertDescription::NoApplicationProtocol));
        assert!(matches!(alpn, TlsError::NoAlpn));
    }
}
