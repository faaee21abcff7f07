//! One attempt to connect to one endpoint, from the socket to the server's SETTINGS.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use corelane_policy::config::{ConnectError, ConnectProgress, ConnectResponse};
use corelane_runtime::{Address, DialError, Dialed, dial};

use crate::Cause;
use crate::keepalive::Keepalive;
use crate::pool::Pooled;
use crate::session::ClientSession;
use crate::shared::{Shared, Tunnel};
use crate::standing::{Phase, Standing};
use crate::time::within;
use crate::waiters::Waiters;

/// Connects; the connection takes calls when this is done.
pub(crate) async fn connect(
    shared: &Arc<Shared>,
    address: &Address,
    waiters: Rc<Waiters>,
) -> Result<Pooled, Cause> {
    let after = shared.options.connect_timeout;
    match within(after, attempt(shared, address, waiters)).await {
        Some(made) => made,
        None => Err(Cause::ConnectTimeout { after }),
    }
}

async fn attempt(shared: &Arc<Shared>, address: &Address, waiters: Rc<Waiters>) -> Result<Pooled, Cause> {
    let dialed = dial(address, &shared.options.dial).await.map_err(cause)?;
    if let Some(tunnel) = &shared.tunnel {
        open_tunnel(&dialed, tunnel).await.map_err(|reason| Cause::Proxy { reason: reason.into() })?;
    }
    let dialed = match &shared.tls {
        None => dialed,
        Some((tls, name)) => {
            let secured = dialed.secure(tls, name).await;
            secured.map_err(|error| Cause::Tls { reason: error.to_string().into() })?
        }
    };
    let time = shared.keepalive_time();
    let standing = Standing::new(waiters, time);
    let keepalive = shared.options.keepalive.map(|mut config| {
        config.time = time;
        Keepalive::new(config)
    });
    let session = ClientSession::new(standing.clone(), keepalive);
    let link = dialed.start(&shared.options.wire, session).map_err(cause)?;
    let pooled = Pooled { link, standing };
    let guard = Unready(&pooled);
    let phase = poll_fn(|cx| pooled.standing.poll_beyond(Phase::Greeting, cx)).await;
    std::mem::forget(guard);
    if phase == Phase::Ready {
        return Ok(pooled);
    }
    Err(match pooled.standing.loss() {
        // TLS 1.3 says only now that our certificate is not welcome.
        Some(cause @ Cause::Tls { .. }) => cause,
        // There was no call yet that could have been in flight.
        Some(Cause::ConnectionLost { reason } | Cause::Protocol { reason }) => Cause::Handshake { reason },
        Some(cause) => Cause::Handshake { reason: cause.to_string().into() },
        None => Cause::Handshake { reason: "it went away at once".into() },
    })
}

/// Asks the proxy at the other end for a connection to the server.
async fn open_tunnel(dialed: &Dialed, tunnel: &Tunnel) -> Result<(), String> {
    dialed.send_raw(tunnel.request.clone()).await.map_err(|error| error.to_string())?;
    let mut response = ConnectResponse::default();
    loop {
        // One octet at a time: what follows the answer is the server's, and must stay in the socket.
        let bytes = dialed.recv_raw(1).await.map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            return Err(ConnectError::Closed.to_string());
        }
        if let ConnectProgress::Established { .. } =
            response.push(&bytes).map_err(|error| error.to_string())?
        {
            return Ok(());
        }
    }
}

/// Closes a connection that was given up before it was ready.
struct Unready<'a>(&'a Pooled);

impl Drop for Unready<'_> {
    fn drop(&mut self) {
        self.0.link.with(|_, io| io.wire.drain(io.now));
    }
}

fn cause(error: DialError) -> Cause {
    match error {
        DialError::Io(error) => Cause::Connect { reason: error.to_string().into() },
        DialError::TooManyConnections => Cause::TooManyConnections,
        _ => Cause::WorkerEnded,
    }
}
