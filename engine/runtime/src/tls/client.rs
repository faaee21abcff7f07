//! What a client's connections are secured with.

use super::{ALPN, TlsConfigError, identity, provider, trust};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Whom a client trusts, and who it is itself. A clone shares everything, sessions that can be resumed included.
///
/// ```
/// use corelane_runtime::{ClientTls, TlsConfigError};
///
/// let nobody = ClientTls::builder().build();
/// assert!(matches!(nobody, Err(TlsConfigError::NoRoots { .. })));
/// ```
#[derive(Clone)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Begins with nobody trusted and no certificate of our own.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder { native: false, any: false, authorities: Vec::new(), identity: None }
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// See [`ClientTls::builder`]. TLS 1.3 and 1.2 are offered, with ALPN "h2" alone.
#[must_use = "nothing is made before `build`"]
pub struct ClientTlsBuilder {
    native: bool,
    any: bool,
    authorities: Vec<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl ClientTlsBuilder {
    /// Trusts the certificate authorities of this system (or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`).
    pub fn roots_native(mut self) -> ClientTlsBuilder {
        self.native = true;
        self
    }

    /// Trusts the certificate authorities of a PEM file, also beside others.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> ClientTlsBuilder {
        self.authorities.push(pem.into());
        self
    }

    /// Shows this chain of certificates to servers that ask for one, proven with this key (mTLS).
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> ClientTlsBuilder {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// **Accepts any certificate of anybody, for any name.** What is sent is encrypted, and whoever sits between can read
    /// and change all of it: they need only show a certificate of their own. For tools that look at a test server and have
    /// been told so by their user (`--insecure`), and for nothing else.
    pub fn danger_accept_any_certificate(mut self) -> ClientTlsBuilder {
        self.any = true;
        self
    }

    /// Makes the configuration.
    ///
    /// # Errors
    /// [`TlsConfigError`] says which input is unusable, and why.
    pub fn build(self) -> Result<ClientTls, TlsConfigError> {
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = if self.any {
            Arc::new(AcceptAny(provider.clone()))
        } else {
            let roots = Arc::new(self.roots()?);
            let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            built.map_err(|error| TlsConfigError::NoRoots { detail: error.to_string() })?
        };
        let unusable = |error: Error| TlsConfigError::Identity { detail: error.to_string() };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let (chain, key) = identity(chain, key)?;
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(ClientTls { config: Arc::new(config) })
    }

    fn roots(&self) -> Result<RootCertStore, TlsConfigError> {
        let mut roots = RootCertStore::empty();
        let mut detail = String::new();
        if self.native {
            let found = rustls_native_certs::load_native_certs();
            // A system's collection always holds a few that are too odd to be read; they are left out.
            roots.add_parsable_certificates(found.certs);
            let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            detail = if errors.is_empty() { "there are none".to_owned() } else { errors.join("; ") };
        }
        for pem in &self.authorities {
            trust(&mut roots, pem, "the certificate authority")?;
        }
        if roots.is_empty() { Err(TlsConfigError::NoRoots { detail }) } else { Ok(roots) }
    }
}

impl fmt::Debug for ClientTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key is in here.
        f.debug_struct("ClientTlsBuilder").finish_non_exhaustive()
    }
}

/// Believes every certificate, and checks only that the peer has its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
