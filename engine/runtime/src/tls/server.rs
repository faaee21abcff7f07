//! What a server's connections are secured with.

use super::{ALPN, TlsConfigError, identity, provider, trust};
use rustls::server::WebPkiClientVerifier;
use rustls::{Error, RootCertStore, ServerConfig};
use std::fmt;
use std::sync::Arc;

/// Who a server is, and whom it trusts. A clone shares everything.
///
/// ```
/// use corelane_runtime::{ServerTls, TlsConfigError};
///
/// let nobody = ServerTls::builder().build();
/// assert_eq!(nobody.unwrap_err(), TlsConfigError::NoIdentity);
/// ```
#[derive(Clone)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// One that shows none is refused.
    Required,
    /// One may show none; a wrong one is refused.
    Optional,
}

impl ServerTls {
    /// Begins without a certificate, which [`identity_pem`](ServerTlsBuilder::identity_pem) must give.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder { identity: None, clients: None }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// See [`ServerTls::builder`]. TLS 1.3 and 1.2 are spoken, with ALPN "h2" alone.
#[must_use = "nothing is made before `build`"]
pub struct ServerTlsBuilder {
    identity: Option<(Vec<u8>, Vec<u8>)>,
    clients: Option<(Vec<u8>, ClientAuth)>,
}

impl ServerTlsBuilder {
    /// Shows this chain of certificates, the server's own first, proven with this key.
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> ServerTlsBuilder {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// Asks clients for a certificate that one of these authorities has issued (mTLS).
    pub fn client_ca_pem(mut self, pem: impl Into<Vec<u8>>, auth: ClientAuth) -> ServerTlsBuilder {
        self.clients = Some((pem.into(), auth));
        self
    }

    /// Makes the configuration.
    ///
    /// # Errors
    /// [`TlsConfigError`] says which input is unusable, and why.
    pub fn build(self) -> Result<ServerTls, TlsConfigError> {
        let (chain, key) = self.identity.as_ref().ok_or(TlsConfigError::NoIdentity)?;
        let (chain, key) = identity(chain, key)?;
        let provider = provider();
        let unusable = |error: Error| TlsConfigError::Identity { detail: error.to_string() };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some((pem, auth)) => {
                let mut roots = RootCertStore::empty();
                trust(&mut roots, pem, "the clients' certificate authority")?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let no_roots = |error: rustls::server::VerifierBuilderError| TlsConfigError::NoRoots {
                    detail: error.to_string(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(no_roots)?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(ServerTls { config: Arc::new(config) })
    }
}

impl fmt::Debug for ServerTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key is in here.
        f.debug_struct("ServerTlsBuilder").finish_non_exhaustive()
    }
}
