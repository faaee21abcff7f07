//! What the admin port tells: the workers' figures, as JSON.
//!
//! Does not: decide who may see them, or keep anything between two questions.

use std::fmt::Display;

use corelane_observe::{
    CallKind, HistogramSnapshot, Lap, ProfileSnapshot, ProfileSwitch, Profiling, ShardSet, WorkerCounters,
    WorkerSnapshot,
};
use corelane_runtime::clock;
use corelane_wire::Instant;

use super::json::Json;

/// Where the figures come from.
pub(crate) struct Figures {
    counters: ShardSet<WorkerCounters>,
    profile: ProfileSwitch,
    backend: String,
    started: Instant,
}

impl Figures {
    /// Of a server that starts now.
    pub(crate) fn new(
        counters: ShardSet<WorkerCounters>,
        profile: ProfileSwitch,
        backend: &dyn Display,
    ) -> Figures {
        Figures { counters, profile, backend: backend.to_string(), started: clock() }
    }

    /// Turns the profile on and off.
    pub(crate) fn profile(&self) -> &ProfileSwitch {
        &self.profile
    }

    /// All workers together.
    pub(crate) fn stats(&self) -> String {
        Json::of(|json| {
            self.preface(json);
            json.key("sum").object(|json| worker(json, &self.counters.snapshot()));
        })
    }

    /// Each worker by itself, in their order.
    pub(crate) fn cores(&self) -> String {
        Json::of(|json| {
            self.preface(json);
            json.key("cores").array(|json| {
                for snapshot in self.counters.snapshots() {
                    json.object(|json| worker(json, &snapshot));
                }
            });
        })
    }

    /// The state of the profile's switch.
    pub(crate) fn profile_state(&self) -> String {
        Json::of(|json| json.key("profile").string(word(self.profile.get())))
    }

    fn preface(&self, json: &mut Json) {
        json.key("server").string("corelane");
        json.key("version").string(env!("CARGO_PKG_VERSION"));
        json.key("backend").string(&self.backend);
        json.key("workers").number(u64::try_from(self.counters.len()).unwrap_or(u64::MAX));
        let uptime = clock().since(self.started).as_nanos();
        json.key("uptime_ns").number(u64::try_from(uptime).unwrap_or(u64::MAX));
        json.key("profile").string(word(self.profile.get()));
    }
}

/// As it is written, and asked for.
fn word(profiling: Profiling) -> &'static str {
    match profiling {
        Profiling::Off => "off",
        Profiling::On => "on",
    }
}

/// The members of one worker, or of their sum.
fn worker(json: &mut Json, seen: &WorkerSnapshot) {
    json.numbers(seen.numbers());
    json.key("memory_bytes").number(seen.memory_bytes());
    json.key("calls_failed").object(|json| json.numbers(seen.failures()));
    json.key("limits_hit").object(|json| json.numbers(seen.limits()));
    json.key("call_duration_ns");
    histogram(json, &seen.call_duration_ns);
    json.key("noted").object(|json| noted(json, &seen.profile));
}

/// What the profile has noted.
fn noted(json: &mut Json, seen: &ProfileSnapshot) {
    json.numbers(seen.numbers());
    let laps = Lap::ALL.iter().map(|lap| (lap.name(), seen.lap_ns(*lap)));
    json.key("time_ns").object(|json| json.numbers(laps));
    json.key("calls_ns").object(|json| {
        for kind in CallKind::ALL {
            json.key(kind.name());
            histogram(json, seen.calls_of(*kind));
        }
    });
}

/// Its usual figures, and the buckets themselves for who wants those of a stretch of time: highest value, count.
fn histogram(json: &mut Json, seen: &HistogramSnapshot) {
    json.object(|json| {
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];
        json.numbers([("count", seen.count()), ("mean", seen.mean()), ("max", seen.max())]);
        json.numbers(quantiles.map(|(name, q)| (name, seen.quantile(q))));
        json.key("buckets").array(|json| {
            for (highest, count) in seen.buckets() {
                json.array(|json| {
                    json.number(highest);
                    json.number(count);
                });
            }
        });
    });
}
