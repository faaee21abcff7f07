//! A client's handshake, over a socket that nobody else uses yet.

use super::{Machine, TlsError};
use crate::backend::Socket;
use crate::helpers::sleep;
use crate::limits::TLS_READ_BYTES;
use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Completes the handshake within `limit`. If it fails, or is dropped before its end, the socket is shut down.
///
/// # Errors
/// What is wrong, after the peer was told.
pub(crate) async fn shake(socket: &Socket, machine: &mut Machine, limit: Duration) -> Result<(), TlsError> {
    let armed = Armed(socket);
    let mut limit = pin!(sleep(limit));
    {
        let mut shaking = pin!(exchange(socket, machine));
        poll_fn(|cx| match shaking.as_mut().poll(cx) {
            Poll::Pending => limit.as_mut().poll(cx).map(|()| Err(TlsError::Timeout)),
            ended => ended,
        })
        .await?;
    }
    std::mem::forget(armed);
    Ok(())
}

/// Shuts its socket down, which ends the operation that a dropped future has left behind.
struct Armed<'a>(&'a Socket);

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::Both);
    }
}

async fn exchange(socket: &Socket, machine: &mut Machine) -> Result<(), TlsError> {
    let mut input = Vec::with_capacity(TLS_READ_BYTES);
    loop {
        flush(socket, machine).await?;
        if !machine.is_handshaking() {
            return Ok(());
        }
        input.clear();
        let (received, buffer) = socket.recv(input, None).await;
        input = buffer;
        if received? == 0 {
            return Err(TlsError::PeerClosed);
        }
        if let Err(error) = take_all(machine, &input) {
            // The alert; that it could not be sent would explain nothing.
            let _ = flush(socket, machine).await;
            return Err(error);
        }
    }
}

/// Hands over all of `input`: what came behind the handshake must not be lost. It is far less than the machine holds.
fn take_all(machine: &mut Machine, mut input: &[u8]) -> Result<(), TlsError> {
    while !input.is_empty() {
        match machine.take(input)? {
            0 => return if machine.is_handshaking() { Err(TlsError::PeerClosed) } else { Ok(()) },
            taken => input = &input[taken..],
        }
    }
    Ok(())
}

async fn flush(socket: &Socket, machine: &mut Machine) -> Result<(), TlsError> {
    let mut output = Vec::new();
    machine.seal(&mut Vec::new(), &mut output);
    Ok(socket.send_all(output).await?)
}
