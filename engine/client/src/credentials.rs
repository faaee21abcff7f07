//! Who a call is made for: metadata that is fetched for each call.
//!
//! Does not: refresh or store tokens; an implementation does, and may wait. Invariant: credentials that need security never go
//! out over a connection without it.

use std::fmt;

use corelane_call::{BoxFuture, Metadata, Status};

/// What credentials are told about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTo<'a> {
    /// `:authority` of the channel.
    pub authority: &'a str,
    /// The method's path.
    pub path: &'static str,
    /// Whether the channel encrypts.
    pub security: ChannelSecurity,
}

/// Whether a channel encrypts what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelSecurity {
    /// It does not.
    Plaintext,
    /// It does.
    Tls,
}

/// Makes the metadata that says who a call is made for.
pub trait CallCredentials: 'static {
    /// The metadata for one call; it may be waited for.
    ///
    /// # Errors
    /// The status with which the call fails.
    fn metadata<'a>(&'a self, call: &'a CallTo<'a>) -> BoxFuture<'a, Result<Metadata, Status>>;

    /// What a channel must do for these credentials to be sent: encrypt, unless this says otherwise.
    fn needs(&self) -> ChannelSecurity {
        ChannelSecurity::Tls
    }
}

/// A token that never changes, sent as `authorization: Bearer …`.
///
/// ```
/// use corelane_client::BearerToken;
///
/// let token = BearerToken::new("opaque").unwrap();
/// assert_eq!(format!("{token:?}"), "BearerToken(…)");
/// ```
pub struct BearerToken {
    metadata: Metadata,
    needs: ChannelSecurity,
}

impl BearerToken {
    /// The token.
    ///
    /// # Errors
    /// INTERNAL for one that has more than printable ASCII.
    pub fn new(token: &str) -> Result<BearerToken, Status> {
        let mut metadata = Metadata::new();
        metadata.insert("authorization", &format!("Bearer {token}"))?;
        Ok(BearerToken { metadata, needs: ChannelSecurity::Tls })
    }

    /// Sends it over channels that do not encrypt, too: everybody on the way can read it.
    #[must_use]
    pub fn over_plaintext(mut self) -> BearerToken {
        self.needs = ChannelSecurity::Plaintext;
        self
    }
}

impl CallCredentials for BearerToken {
    fn metadata<'a>(&'a self, _: &'a CallTo<'a>) -> BoxFuture<'a, Result<Metadata, Status>> {
        Box::pin(std::future::ready(Ok(self.metadata.clone())))
    }

    fn needs(&self) -> ChannelSecurity {
        self.needs
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}
