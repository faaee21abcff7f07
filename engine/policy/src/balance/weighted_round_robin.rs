//! `weighted_round_robin`: ready endpoints in turn, each as often as its weight says (gRFC A58).
//!
//! A weight is what load reports make of it: calls a second over utilization, lowered for errors. While fewer than two ready
//! endpoints have one, the resolver's weights count; an endpoint without one then weighs as much as the others on average. Equal
//! weights are plain turns. Turns come from a golden walk (`shares.rs`), whose order is not A58's but whose shares are, without
//! its bound on the ratio of weights, and which costs the same whatever the weights are.
//!
//! Weights are shared by all workers, each worker makes its own schedule from them every update period.

use corelane_wire::Instant;
use std::time::Duration;

use super::round_robin::Turn;
use super::shares::{GOLDEN_STEP, Shares};
use super::{Balancer, Call, Endpoint, EndpointStats, Pick, View};
use crate::config::WeightedRoundRobinConfig;

/// No schedule is made oftener than this, whatever the config says (gRFC A58).
const UPDATE_PERIOD_MIN: Duration = Duration::from_millis(100);

/// What an endpoint says about its load: the part of ORCA's `OrcaLoadReport` that weights are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// `rps_fractional`: calls a second.
    pub calls_per_second: f64,
    /// `eps`: failed calls a second.
    pub errors_per_second: f64,
    /// `application_utilization`: what the application says, used if it is above 0.
    pub application_utilization: f64,
    /// `cpu_utilization`: may be above 1.
    pub cpu_utilization: f64,
}

impl LoadReport {
    /// The weight that the report gives, if any (gRFC A58). Whatever a server writes, it is positive and finite.
    fn weight(&self, error_penalty: f32) -> Option<f32> {
        let utilization = if self.application_utilization > 0.0 {
            self.application_utilization
        } else {
            self.cpu_utilization
        };
        if !(self.calls_per_second > 0.0 && utilization > 0.0) {
            return None;
        }
        let errors = self.errors_per_second.max(0.0) / self.calls_per_second;
        let weight = (self.calls_per_second / (utilization + errors * f64::from(error_penalty))) as f32;
        (weight.is_normal()).then_some(weight)
    }
}

/// Puts what a report says where all workers see it.
pub(super) fn take_report(
    stats: &EndpointStats,
    report: &LoadReport,
    config: &WeightedRoundRobinConfig,
    now: Instant,
) {
    if let Some(weight) = report.weight(config.error_utilization_penalty) {
        stats.report(weight, now, config.weight_expiration_period);
    }
}

#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    config: WeightedRoundRobinConfig,
    /// Those of the ready endpoints, in their order.
    weights: Vec<f32>,
    schedule: Schedule,
    turn: Turn,
    shares: Shares,
    /// `None` before the first schedule.
    point: Option<u64>,
    next_update: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Schedule {
    Even,
    Weighted,
}

impl WeightedRoundRobin {
    pub(super) fn new(config: WeightedRoundRobinConfig) -> WeightedRoundRobin {
        WeightedRoundRobin {
            config,
            weights: Vec::new(),
            schedule: Schedule::Even,
            turn: Turn::default(),
            shares: Shares::default(),
            point: None,
            next_update: Instant::from_nanos(0),
        }
    }

    /// Fills `weights`: reported ones if two or more endpoints have one, else the resolver's.
    fn weigh(&mut self, view: &View) {
        let (now, config) = (view.now(), &self.config);
        let endpoint = |key| view.endpoints().get(key);
        let ready = || view.ready().iter().filter_map(|key| endpoint(*key));
        let reported = |endpoint: &Endpoint| {
            endpoint.stats().weight(now, config.blackout_period, config.weight_expiration_period)
        };
        let (mut count, mut sum) = (0_u32, 0.0_f64);
        self.weights.clear();
        self.weights.extend(ready().map(|endpoint| {
            let weight = reported(endpoint);
            count += u32::from(weight.is_some());
            sum += f64::from(weight.unwrap_or_default());
            weight.unwrap_or_default()
        }));
        if count < 2 {
            self.weights.clear();
            self.weights.extend(ready().map(|endpoint| endpoint.info().weight as f32));
            return;
        }
        let mean = (sum / f64::from(count)) as f32;
        self.weights.iter_mut().filter(|weight| **weight == 0.0).for_each(|weight| *weight = mean);
    }
}

impl Balancer for WeightedRoundRobin {
    fn update(&mut self, view: &mut View) {
        self.weigh(view);
        self.next_update = view.now() + self.config.weight_update_period.max(UPDATE_PERIOD_MIN);
        self.point.get_or_insert_with(|| view.rng().u64(..));
        self.turn.update(self.weights.len(), view.rng());
        let is_even = self.weights.windows(2).all(|pair| pair[0] == pair[1]);
        self.schedule = if is_even { Schedule::Even } else { Schedule::Weighted };
        if self.schedule == Schedule::Weighted {
            self.shares.rebuild(self.weights.iter().map(|weight| f64::from(*weight)));
        }
    }

    fn pick(&mut self, view: &mut View, _: &Call<'_>) -> Pick {
        if view.now() >= self.next_update {
            self.update(view);
        }
        if self.schedule == Schedule::Even {
            return self.turn.take(view.ready()).map_or(view.none_ready(), Pick::ready);
        }
        let point = self.point.get_or_insert(0);
        *point = point.wrapping_add(GOLDEN_STEP);
        Pick::ready(view.ready()[self.shares.find(*point)])
    }
}
