//! Cases that go on for a while.

use std::error::Error;
use std::time::Instant;

use corelane::time;

use super::{Outcome, Setting, all, sized, zeros};
use crate::protos::grpc::testing::SimpleRequest;
use crate::protos::grpc::testing::test_service_client::TestServiceClient;

/// How many channels the calls go over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    One,
    /// A new one for each call.
    Many,
}

/// Without a call a case would show nothing.
fn iterations(setting: &Setting) -> Result<u32, Box<dyn Error>> {
    match setting.iterations {
        0 => Err("--soak_iterations=0 makes no call".into()),
        iterations => Ok(iterations),
    }
}

pub(super) async fn calls(setting: &Setting, channels: Channels) -> Outcome {
    let iterations = iterations(setting)?;
    let shared = setting.client()?;
    let concurrency = usize::try_from(setting.concurrency.max(1))?;
    let slots = (0..setting.concurrency.max(1)).map(|slot| {
        let shared = &shared;
        async move {
            let mut failures = Vec::new();
            for _ in (slot..iterations).step_by(concurrency) {
                let made = match channels {
                    Channels::One => Ok(shared.clone()),
                    Channels::Many => setting.client(),
                };
                let outcome = match made {
                    Ok(client) => call(setting, &client).await,
                    Err(error) => Err(error),
                };
                failures.extend(outcome.err().map(|error| error.to_string()));
            }
            failures
        }
    });
    let failures: Vec<String> = all(slots.collect()).await.into_iter().flatten().collect();
    if u32::try_from(failures.len())? > setting.failures_max {
        return Err(format!("{} calls failed, the first: {}", failures.len(), failures[0]).into());
    }
    Ok(())
}

async fn call(setting: &Setting, client: &TestServiceClient) -> Outcome {
    let began = Instant::now();
    let request = SimpleRequest {
        response_size: setting.response_size,
        payload: Some(zeros(setting.request_size)),
        ..SimpleRequest::default()
    };
    let response = client.unary_call(request).await?;
    sized("response", response.get_ref().payload.as_ref(), setting.response_size)?;
    let took = began.elapsed();
    if took > setting.iteration_time_max {
        return Err(format!("a call took {took:?}").into());
    }
    Ok(())
}

pub(super) async fn long_lived(setting: &Setting) -> Outcome {
    let client = setting.client()?;
    for _ in 0..iterations(setting)? {
        call(setting, &client).await?;
        time::sleep(setting.interval).await;
    }
    Ok(())
}
