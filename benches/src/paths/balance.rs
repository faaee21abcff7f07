//! Decisions of a client: where a call goes, and whether it goes at all.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use corelane_policy::balance::{
    Call, EndpointInfo, LoadReport, Pick, Picker, Policy, Publisher, Readiness, Shared, Worker,
};
use corelane_policy::config::BalancerConfig;
use corelane_policy::resilience::{RateLimit, RateLimitConfig};
use corelane_wire::Instant;

use super::Path;

const ENDPOINTS: u32 = 1_000;
const NANOS_PER_PICK: u64 = 20;
/// Operations in a step.
const TIMES: u64 = 1_000;

/// How much of a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The decision alone.
    Pick,
    /// The decision, the start and the end of its call.
    Call,
}

/// A worker that does nothing but pick.
pub struct Bench {
    picker: Picker,
    now: u64,
    hashes: fastrand::Rng,
}

impl Bench {
    /// The worker with this number, of two.
    #[must_use]
    pub fn new(shared: &Arc<Shared>, index: usize) -> Bench {
        let rng = fastrand::Rng::with_seed(index as u64);
        let mut picker = Picker::new(shared.clone(), Worker { index, count: 2 }, rng.clone());
        let now = Instant::from_nanos(0);
        for (number, key) in picker.look().clone().order().iter().enumerate() {
            picker.set_readiness(*key, Readiness::Ready);
            let report = LoadReport {
                calls_per_second: 100.0 + number as f64,
                cpu_utilization: 0.5,
                ..LoadReport::default()
            };
            picker.report(now, *key, &report);
        }
        Bench { picker, now: 0, hashes: rng }
    }

    /// One pick, 20 ns after the last.
    ///
    /// # Panics
    /// If none is ready: all are.
    pub fn pick(&mut self, what: What) {
        self.now += NANOS_PER_PICK;
        let now = Instant::from_nanos(self.now);
        let call = Call { hash: Some(self.hashes.u64(..)), avoid: &[] };
        let Pick::Ready { key, .. } = black_box(self.picker.pick(now, &call)) else {
            panic!("all are ready")
        };
        if what == What::Call {
            self.picker.start(now, key);
            self.picker.finish(now, key);
        }
    }
}

/// A thousand endpoints.
///
/// # Panics
/// If the policy does not exist.
#[must_use]
pub fn publisher(policy: &Policy) -> Publisher {
    let mut publisher = Publisher::new(fastrand::Rng::with_seed(1));
    let info = |number: u32| {
        EndpointInfo::new(format!("10.0.{}.{}:80", number / 256, number % 256)).weighing(1 + number % 7)
    };
    publisher.publish(policy, (0..ENDPOINTS).map(info).collect()).expect("the policy exists");
    publisher
}

/// Picks, starts and ends calls.
pub struct Calls {
    bench: Bench,
    _publisher: Publisher,
}

impl Calls {
    /// With this policy.
    #[must_use]
    pub fn new(policy: BalancerConfig) -> Calls {
        let publisher = publisher(&policy.into());
        Calls { bench: Bench::new(publisher.shared(), 0), _publisher: publisher }
    }
}

impl Path for Calls {
    fn operations(&self) -> u64 {
        TIMES
    }

    fn step(&mut self) {
        (0..TIMES).for_each(|_| self.bench.pick(What::Call));
    }
}

/// Asks a rate limit, which lets half of the calls out.
pub struct Limited {
    limit: RateLimit,
    now: Instant,
}

impl Limited {
    /// Unused.
    ///
    /// # Panics
    /// Never: the numbers make sense.
    #[must_use]
    pub fn new() -> Limited {
        let limit =
            RateLimit::new(RateLimitConfig::per_second(1_000_000, 100)).expect("the numbers make sense");
        Limited { limit, now: Instant::from_nanos(0) }
    }
}

impl Default for Limited {
    fn default() -> Limited {
        Limited::new()
    }
}

impl Path for Limited {
    fn operations(&self) -> u64 {
        TIMES
    }

    fn step(&mut self) {
        for _ in 0..TIMES {
            self.now = self.now + Duration::from_nanos(500);
            let _ = black_box(self.limit.check(self.now));
        }
    }
}
