//! An open loop: calls begin when they are due, whatever has become of those before.
//!
//! The channel repeats what no server has looked at, and nothing else: a policy that names UNAVAILABLE would execute calls twice
//! whose server was killed between the journal and the answer. Of a server that has stopped it notices what every caller can see,
//! namely that it owes answers: `least_request` over draws enough to see every server sends it no more calls after the first few.
//!
//! Invariant: every call is reported once, also if it fails.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corelane::client::balance::BalancerConfig;
use corelane::client::{BuildError, Channel, Failure, spawn_local};
use corelane::{Code, Response, Status, stream, time};

use crate::protos::chaos::v1::chaos_client::ChaosClient;
use crate::protos::chaos::v1::{Done, Order};

/// Far longer than a server is stopped: calls that are caught there are to finish.
const DEADLINE: Duration = Duration::from_secs(20);

/// With two draws one call in nine would go to a stopped server out of three, as both draws would be that one; with ten it is
/// one in 59,049.
const CHOICES: u32 = 10;

/// What is to be called, and how often.
#[derive(Clone, Debug)]
pub struct Run {
    /// The channel's target.
    pub target: String,
    /// Calls in a second.
    pub rate: u32,
    /// For so many seconds.
    pub seconds: u32,
}

impl Run {
    fn calls(&self) -> u64 {
        u64::from(self.rate) * u64::from(self.seconds)
    }

    /// When a call is due, counted from the begin.
    fn due(&self, id: u64) -> Duration {
        let rate = u64::from(self.rate.max(1));
        let (seconds, rest) = (id / rate, id % rate);
        Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / rate)
    }
}

/// What became of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its id.
    pub id: u64,
    /// When it was due, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// When its outcome was known.
    pub end_ns: u64,
    /// How it ended.
    pub code: Code,
    /// Attempts that got a connection. What was repeated because no server had looked at it does not count, as in gRFC A6.
    pub attempts: u32,
    /// Where the last of them went; empty if there was none.
    pub endpoint: String,
    /// What was wrong, for people.
    pub message: String,
}

/// The wall's time at the begin, and from there on a clock that nobody sets.
#[derive(Clone, Copy)]
struct Clock {
    begin: Instant,
    begin_ns: u64,
}

impl Clock {
    fn start() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { begin: Instant::now(), begin_ns: nanos(since_epoch) }
    }

    fn at(&self, since_begin: Duration) -> u64 {
        self.begin_ns.saturating_add(nanos(since_begin))
    }

    fn now(&self) -> u64 {
        self.at(self.begin.elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Makes the calls, on a worker, and waits for the last of them.
///
/// # Errors
/// The target is none.
pub async fn run(run: Run) -> Result<Vec<Outcome>, BuildError> {
    let channel = Channel::builder(&run.target)
        .balancer(BalancerConfig::LeastRequest { choice_count: CHOICES })
        .wait_for_ready()
        .timeout(DEADLINE)
        .connect_lazy()?;
    let client = ChaosClient::new(channel);
    let calls = usize::try_from(run.calls()).unwrap_or(usize::MAX).max(1);
    // There is room for every outcome, so that none is lost.
    let (done, mut outcomes) = stream::channel(calls);
    let clock = Clock::start();
    for id in 0..run.calls() {
        let due = run.due(id);
        while let Some(ahead) = due.checked_sub(clock.begin.elapsed()).filter(|ahead| !ahead.is_zero()) {
            time::sleep(ahead).await;
        }
        let (client, done) = (client.clone(), done.clone());
        spawn_local(async move {
            let answer = client.execute(Order { id }).await;
            let _ = done.try_send(outcome(id, clock.at(due), clock.now(), answer));
        });
    }
    drop(done);
    let mut report = Vec::with_capacity(calls);
    while let Some(outcome) = outcomes.recv().await {
        report.push(outcome);
    }
    Ok(report)
}

fn outcome(id: u64, start_ns: u64, end_ns: u64, answer: Result<Response<Done>, Status>) -> Outcome {
    let (code, attempts, endpoint, message) = match answer {
        Ok(response) => {
            let done = response.into_inner();
            (Code::Ok, done.attempt, done.endpoint, String::new())
        }
        Err(status) => {
            let failure = Failure::of(&status);
            let endpoint = failure.and_then(|failure| failure.endpoint.as_deref()).unwrap_or_default();
            let attempts = failure.map_or(0, |failure| failure.attempt);
            // The last attempt found no endpoint.
            let attempts = if endpoint.is_empty() { attempts.saturating_sub(1) } else { attempts };
            (status.code(), attempts, endpoint.to_owned(), status.message().to_owned())
        }
    };
    Outcome { id, start_ns, end_ns, code, attempts, endpoint, message }
}

/// Writes a line of JSON for each call.
///
/// # Errors
/// The output cannot be written to.
pub fn write_report(output: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    for Outcome { id, start_ns, end_ns, code, attempts, endpoint, .. } in outcomes {
        let code = *code as i32;
        // An endpoint is a host and a port: nothing in it needs an escape in JSON that Rust writes otherwise.
        writeln!(
            output,
            r#"{{"id":{id},"start_ns":{start_ns},"end_ns":{end_ns},"code":{code},"attempts":{attempts},"endpoint":{endpoint:?}}}"#
        )?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_evenly_and_the_last_one_before_the_end() {
        let run = Run { target: String::new(), rate: 2_000, seconds: 60 };
        assert_eq!(run.due(0), Duration::ZERO);
        assert_eq!(run.due(1), Duration::from_micros(500));
        assert_eq!(run.due(2_000), Duration::from_secs(1));
        assert_eq!(run.due(run.calls() - 1), Duration::from_micros(59_999_500));
    }

    #[test]
    fn a_call_is_one_line_of_json() {
        let done = Done { endpoint: "127.0.0.1:20001".to_owned(), attempt: 1 };
        let good = outcome(7, 1, 2, Ok(Response::new(done)));
        let bad = outcome(8, 3, 4, Err(Status::unavailable("nobody is there")));
        let mut text = Vec::new();
        write_report(&mut text, &[good, bad]).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"id\":7,\"start_ns\":1,\"end_ns\":2,\"code\":0,\"attempts\":1,\"endpoint\":\"127.0.0.1:20001\"}\n\
             {\"id\":8,\"start_ns\":3,\"end_ns\":4,\"code\":14,\"attempts\":0,\"endpoint\":\"\"}\n"
        );
    }
}
