//! What tests of hedged calls share.

use std::sync::Mutex;

use corelane_call::{Request, Response, Status, Stream};
use corelane_client::Caller;
use corelane_wire::frame::ErrorCode;

use super::counting::Attempt;
use super::peer::Wire;
use super::{CHAT, JOIN, SPLIT, Text, collect};

/// Longer than any test: a copy that waits for it never goes.
pub(crate) const NEVER: &str = "3600s";

pub(crate) const CANCELLED: Option<ErrorCode> = Some(ErrorCode::CANCEL);

/// Sends up to this many copies, `delay` apart; UNAVAILABLE does not end the call. The deadline is for what would hang.
pub(crate) fn policy(attempts: u32, delay: &str) -> String {
    format!(
        r#"{{"methodConfig": [{{"name": [{{}}], "timeout": "20s", "hedgingPolicy": {{"maxAttempts": {attempts}, "hedgingDelay": "{delay}",
            "nonFatalStatusCodes": ["UNAVAILABLE"]}}}}]}}"#
    )
}

pub(crate) fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

pub(crate) async fn join(
    caller: &Caller,
    requests: impl Stream<Item = String> + 'static,
) -> Result<String, Status> {
    caller.client_streaming(JOIN, Text::new(), Request::new(requests)).await.map(Response::into_inner)
}

pub(crate) async fn split(caller: &Caller, text: &str) -> Result<Vec<String>, Status> {
    let answers = caller.server_streaming(SPLIT, Text::new(), Request::new(text.to_owned())).await?;
    collect(answers.into_inner()).await
}

pub(crate) async fn chat(
    caller: &Caller,
    requests: impl Stream<Item = String> + 'static,
) -> Result<Vec<String>, Status> {
    let answers = caller.bidi(CHAT, Text::new(), Request::new(requests)).await?;
    collect(answers.into_inner()).await
}

/// Whether there are so many copies, each with all its requests.
pub(crate) fn all_ended(attempts: &[Attempt], count: usize) -> bool {
    attempts.len() == count && attempts.iter().all(|attempt| attempt.ended)
}

/// What has come of the requests of each attempt.
pub(crate) fn requests(attempts: &Mutex<Vec<Attempt>>) -> Vec<Vec<String>> {
    attempts.lock().unwrap().iter().map(|attempt| attempt.requests.clone()).collect()
}

/// Answers the attempt that has all its requests.
pub(crate) fn answer_each(wire: &mut Wire, attempts: &[Attempt], number: usize) {
    if attempts[number].ended {
        wire.answer(attempts[number].stream, "all");
    }
}
