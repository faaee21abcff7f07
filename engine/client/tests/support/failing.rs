//! How calls to a peer fail.

use corelane_call::Code;
use corelane_client::{Cause, Channel, ChannelBuilder};

use super::peer::{Incoming, Peer, Wire};
use super::{caller_with, failure, on_both, say, told};

/// Has `peer` called, on both backends, by a channel that `configure` makes: the call must fail for a cause that `is` so, with
/// this code and text, where PEER stands for the endpoint and … for how long it took.
pub(crate) fn fails_with(
    peer: &Peer,
    configure: fn(ChannelBuilder) -> ChannelBuilder,
    is: fn(&Cause) -> bool,
    code: Code,
    text: &str,
) {
    let (target, address, text) = (peer.target.clone(), peer.address.clone(), text.to_owned());
    on_both(move || {
        let caller = caller_with(configure(Channel::builder(&target)));
        let (address, text) = (address.clone(), text.clone());
        async move {
            let status = say(&caller, "hello").await.unwrap_err();
            let text = text.replace("PEER", &format!("endpoint {address}"));
            assert_eq!((status.code(), told(&status)), (code, text));
            let failure = failure(&status);
            assert!(is(&failure.cause), "{failure:?}");
            assert_eq!(failure.endpoint.as_deref(), Some(&*address));
            assert_eq!(failure.attempt, 1);
            assert!(failure.stop.is_none());
        }
    });
}

/// As `fails_with`, for a peer that answers each call so.
pub(crate) fn answered_with(
    answer: impl Fn(&mut Wire, &Incoming) + Send + Sync + 'static,
    is: fn(&Cause) -> bool,
    code: Code,
    text: &str,
) {
    fails_with(&Peer::answering(answer), |builder| builder, is, code, text);
}
