//! The negative cases of HTTP/2, as far as the client has to judge: the peer that plays them has its own checks.

use std::time::Duration;

use corelane::client::{Cause, Failure};
use corelane::time;

use super::plain::large_call;
use super::{Outcome, Setting, all, large};
use crate::protos::grpc::testing::test_service_client::TestServiceClient;

/// Calls of max_streams: one to learn the limit by, and then so many at once.
const AT_ONCE: usize = 10;

/// The second call goes over a new connection, and nobody notices.
pub(super) async fn goaway(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    large_call(&client).await?;
    // As the description has it: the GOAWAY comes meanwhile.
    time::sleep(Duration::from_secs(1)).await;
    large_call(&client).await
}

/// The call fails by the reset, and is not tried again.
pub(super) async fn reset(setting: &Setting) -> Outcome {
    match setting.client()?.unary_call(large()).await {
        Err(status) => match Failure::of(&status).map(|failure| &failure.cause) {
            Some(Cause::Reset { .. }) => Ok(()),
            _ => Err(format!("expected a reset, found {status}").into()),
        },
        Ok(_) => Err("the call succeeded, though its stream was reset".into()),
    }
}

/// All calls succeed, though the server allows one at a time.
pub(super) async fn max_streams(setting: &Setting) -> Outcome {
    let client = setting.channel().connections(1, 1).connect_lazy()?;
    let client = TestServiceClient::new(client);
    large_call(&client).await?;
    for outcome in all((0..AT_ONCE).map(|_| large_call(&client)).collect()).await {
        outcome?;
    }
    Ok(())
}
