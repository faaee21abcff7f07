//! The negative cases of HTTP/2, as far as the client has to judge: the peer that plays them has its own checks.

use std::time::Duration;

use corelane::time;

use super::{LARGE_RESPONSE, Outcome, Setting, all, large, sized};

/// Calls of max_streams: one to learn the limit by, and then so many at once.
const AT_ONCE: usize = 10;

async fn call(client: &crate::protos::grpc::testing::test_service_client::TestServiceClient) -> Outcome {
    let response = client.unary_call(large()).await?;
    sized("response", response.get_ref().payload.as_ref(), LARGE_RESPONSE)
}

/// The second call goes over a new connection, and nobody notices.
pub(super) async fn goaway(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    call(&client).await?;
    // As the description has it: the GOAWAY comes meanwhile.
    time::sleep(Duration::from_secs(1)).await;
    call(&client).await
}

/// The call fails, and is not tried again.
pub(super) async fn reset(setting: &Setting) -> Outcome {
    match setting.client()?.unary_call(large()).await {
        Err(_) => Ok(()),
        Ok(_) => Err("the call succeeded, though its stream was reset".into()),
    }
}

/// All calls succeed, though the server allows one at a time.
pub(super) async fn max_streams(setting: &Setting) -> Outcome {
    let client = setting.channel().connections(1, 1).connect_lazy()?;
    let client = crate::protos::grpc::testing::test_service_client::TestServiceClient::new(client);
    call(&client).await?;
    for outcome in all((0..AT_ONCE).map(|_| call(&client)).collect()).await {
        outcome?;
    }
    Ok(())
}
