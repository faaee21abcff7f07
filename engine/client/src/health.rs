//! Whether an endpoint serves, by its own word: a Watch of `grpc.health.v1.Health` on each connection (gRFC A17).
//!
//! Does not: decide what to do about it. A server without that service counts as serving.

use corelane_call::{Code, ProstCodec, Streaming};
use corelane_policy::resilience::{Backoff, BackoffConfig};
use corelane_runtime::sleep;

use crate::Method;
use crate::aside::subscribe;
use crate::pool::Pooled;
use crate::shared::Shared;

const WATCH: Method = Method::new("/grpc.health.v1.Health/Watch");
/// `ServingStatus.SERVING`.
const SERVING: i32 = 1;

/// The two messages of Watch have one field each, a string and an enumeration with the number 1: what `prost` writes and reads as
/// the well-known wrappers.
type Codec = ProstCodec<String, i32>;

/// What an endpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Serves,
    /// It does not, or cannot be asked.
    DoesNot(String),
}

/// The watch on one connection.
pub(crate) struct Health {
    service: String,
    pooled: Pooled,
    stream: Option<Streaming<i32>>,
    backoff: Backoff,
    /// The last watch failed.
    pauses: bool,
    /// It has no health service: nothing will be said any more.
    mute: bool,
}

impl Health {
    pub(crate) fn new(service: String, pooled: Pooled) -> Health {
        let backoff = Backoff::new(BackoffConfig::default()).expect("the default makes sense");
        Health { service, pooled, stream: None, backoff, pauses: false, mute: false }
    }

    /// The next word. Never, once the endpoint has turned out not to have a health service.
    pub(crate) async fn next(&mut self, shared: &Shared) -> Verdict {
        if self.mute {
            std::future::pending::<()>().await;
        }
        if std::mem::take(&mut self.pauses) {
            let pause = self.backoff.next(&mut fastrand::Rng::with_seed(corelane_runtime::seed()));
            sleep(pause).await;
        }
        if self.stream.is_none() {
            self.stream = subscribe(shared, &self.pooled, WATCH, &Codec::new(), &self.service);
        }
        let Some(stream) = &mut self.stream else {
            return self.again("its connection has no stream left to ask it".to_owned());
        };
        match stream.message().await {
            Ok(Some(SERVING)) => {
                self.backoff.reset();
                Verdict::Serves
            }
            Ok(Some(status)) => Verdict::DoesNot(format!("its status is {}", name(status))),
            Ok(None) => self.again("it ended the watch".to_owned()),
            Err(status) if status.code() == Code::Unimplemented => {
                tracing::warn!("an endpoint has no health service, and counts as serving");
                self.mute = true;
                self.stream = None;
                Verdict::Serves
            }
            Err(status) => self.again(status.to_string()),
        }
    }

    /// The watch failed: it is begun again after a while.
    fn again(&mut self, reason: String) -> Verdict {
        self.stream = None;
        self.pauses = true;
        Verdict::DoesNot(reason)
    }
}

fn name(status: i32) -> &'static str {
    match status {
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "none that is known",
    }
}
