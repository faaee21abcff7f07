//! TLS between the socket and the protocol, by rustls, which is a machine without I/O and so needs no reactor of its own.
//!
//! ```text
//! socket ─recv→ Input ─→ Machine::take ─→ wire.receive
//!    ↑                      │ alerts, keys
//!    └──send── Output ←─────┴─ Machine::seal ←─ wire's output
//! ```
//!
//! `machine.rs` has the machine as a driver uses it, `client.rs` and `server.rs` what a program configures, `handshake.rs`
//! the client's handshake, which is over before HTTP/2 begins; a server's is done by the driver.
//!
//! Does not: reload certificates, hand keys to the kernel, show the peer's certificate to anybody.

mod client;
mod error;
mod handshake;
mod machine;
mod server;

pub use self::client::{ClientTls, ClientTlsBuilder};
pub use self::error::{CertificateFault, TlsConfigError, TlsError};
pub use self::server::{ClientAuth, ServerTls, ServerTlsBuilder};

pub(crate) use self::handshake::shake;
pub(crate) use self::machine::{Machine, is_record};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// The name of HTTP/2 in ALPN (RFC 9113 section 3.2).
const ALPN: &[u8] = b"h2";

/// The code that does the cryptography. Chosen by feature and handed to rustls with each configuration: nothing is
/// installed for the whole process.
fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Arc::new(rustls::crypto::ring::default_provider());
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    compile_error!("TLS needs one of the features \"aws-lc-rs\" and \"ring\"");
}

/// The certificates of a PEM file, at least one.
fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = parsed.map_err(|error| TlsConfigError::Pem { what, detail: error.to_string() })?;
    if found.is_empty() { Err(TlsConfigError::NoCertificate { what }) } else { Ok(found) }
}

/// A chain of certificates, and the key that belongs to its first.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(chain: &[u8], key: &[u8]) -> Result<Identity, TlsConfigError> {
    let chain = certificates(chain, "the certificate chain")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsConfigError::NoKey,
        error => TlsConfigError::Pem { what: "the private key", detail: error.to_string() },
    })?;
    Ok((chain, key))
}

/// Adds the certificates of a PEM file to those that are trusted.
fn trust(roots: &mut RootCertStore, pem: &[u8], what: &'static str) -> Result<(), TlsConfigError> {
    for certificate in certificates(pem, what)? {
        roots.add(certificate).map_err(|error| TlsConfigError::Pem { what, detail: error.to_string() })?;
    }
    Ok(())
}
