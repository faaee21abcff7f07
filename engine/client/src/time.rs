//! Waiting with a limit.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use corelane_runtime::{Sleep, sleep, sleep_until};
use corelane_wire::Instant;

/// What `future` comes to within `time`; `None`, and it is dropped, if it takes longer.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    before(sleep(time), future).await
}

/// What `future` comes to by `deadline`; [`Instant::MAX`] is never.
pub(crate) async fn by<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    if deadline == Instant::MAX {
        return Some(future.await);
    }
    before(sleep_until(deadline), future).await
}

async fn before<F: Future>(alarm: Sleep, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut alarm = pin!(alarm);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
    })
    .await
}
