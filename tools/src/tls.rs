//! How connections are secured, as the flags about certificates say.

use std::path::Path;

use corelane::client::ClientTls;

use crate::files::read;

/// The flags that `call` and `bench` share. Which of them go together, each has checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificates<'a> {
    /// Whom to trust, in place of the system's authorities.
    pub(crate) ca: Option<&'a Path>,
    pub(crate) cert: Option<&'a Path>,
    pub(crate) key: Option<&'a Path>,
    /// Whether to trust anybody.
    pub(crate) insecure: bool,
}

impl Certificates<'_> {
    /// What they come to.
    ///
    /// # Errors
    /// Files that cannot be read, or hold something else.
    pub(crate) fn client_tls(self) -> Result<ClientTls, String> {
        let mut tls = ClientTls::builder();
        tls = match self.ca {
            _ if self.insecure => tls.danger_accept_any_certificate(),
            Some(path) => tls.ca_pem(read(path)?),
            None => tls.roots_native(),
        };
        if let (Some(cert), Some(key)) = (self.cert, self.key) {
            tls = tls.identity_pem(read(cert)?, read(key)?);
        }
        tls.build().map_err(|error| error.to_string())
    }
}
