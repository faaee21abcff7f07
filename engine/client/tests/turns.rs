//! Turns in line: whoever is called and goes elsewhere leaves nobody behind.
#![allow(clippy::unwrap_used, reason = "this is a test, though not in a function that says so")]

mod support;

use std::cell::Cell;
use std::rc::Rc;

use corelane_client::Channel;
use corelane_policy::config::BalancerConfig;
use corelane_runtime::spawn_local;
use support::{Running, caller_with, on_both, say, until};

#[test]
fn calls_in_line_at_several_endpoints_all_get_their_turn() {
    let servers: Vec<Running> = (0..3)
        .map(|_| Running::with("127.0.0.1:0", |builder| builder.max_concurrent_streams(1), |_| ()))
        .collect();
    let addresses: Vec<String> = servers.iter().map(Running::address).collect();
    let target = format!("static:///{}", addresses.join(","));
    for policy in [BalancerConfig::RoundRobin, BalancerConfig::Random] {
        let target = target.clone();
        on_both(move || {
            let builder = Channel::builder(&target).connections(1, 1).balancer(policy.clone());
            let caller = caller_with(builder);
            async move {
                let left = Rc::new(Cell::new(300));
                for _ in 0..left.get() {
                    let (left, caller) = (left.clone(), caller.clone());
                    spawn_local(async move {
                        say(&caller, "hello").await.unwrap();
                        left.set(left.get() - 1);
                    });
                }
                until("all calls", || left.get() == 0).await;
            }
        });
    }
}
