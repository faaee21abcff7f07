//! The bodies as plain tests: seeds that are always the same, and every input that was worth keeping.
//!
//! `CORELANE_SEED=n` runs that seed alone, and with `CORELANE_SEEDS=m` it is the first of so many.

use std::collections::BTreeSet;
use std::format;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::connection::Cause;
use crate::frame::testing::Random;

/// Scripts that one test runs, unless the environment says otherwise.
const SEEDS: u64 = 15_000;
/// Octets of a script at most.
const SCRIPT_MAX: u64 = 3_000;

fn seeds() -> core::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first = number("CORELANE_SEED");
    let count = number("CORELANE_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    first..first + count
}

/// Bytes to read as a script: half of them are short, so that what they have done is easily seen.
fn script(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let max = if random.byte() < 128 { SCRIPT_MAX } else { SCRIPT_MAX / 10 };
    random.bytes(max)
}

/// Calls `body` with every seed's script.
fn run_seeds<T>(test: &str, body: fn(&[u8]) -> T) -> Vec<T> {
    let run = |seed| {
        let bytes = script(seed);
        std::panic::catch_unwind(|| body(&bytes)).unwrap_or_else(|_| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let alone = format!(
                "CORELANE_SEED={seed} cargo test -p corelane-wire --lib connection::fuzz::tests::{test}"
            );
            panic!("the panic above is that of\n    {alone}\nThe script, in hexadecimal: {hex}")
        })
    };
    seeds().map(run).collect()
}

/// Calls `body` with every file of `tests/corpus/connection/NAME`.
fn run_corpus(name: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/connection").join(name);
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = file.expect("it can be listed").path();
        let bytes = std::fs::read(&path).expect("it can be read");
        std::panic::catch_unwind(|| body(&bytes))
            .unwrap_or_else(|_| panic!("the panic above is of {}", path.display()));
        count += 1;
    }
    assert!(count > 10, "{count} files in the corpus of {name}");
}

/// A script that meets no rule shows nothing: there were whole calls, long lives, and all kinds of ends.
fn assert_reached(all: &[Reached], causes_min: usize) {
    if all.len() < SEEDS as usize {
        return;
    }
    let errors = || all.iter().filter_map(|reached| reached.error);
    let causes: BTreeSet<String> = errors().map(|error| format!("{:?}", error.cause)).collect();
    assert!(causes.len() >= causes_min, "{} causes: {causes:?}", causes.len());
    for cause in [
        Cause::Resets,
        Cause::Faults,
        Cause::Settings,
        Cause::EmptyData,
        Cause::Timeout,
        Cause::Window,
        Cause::BlockTooLarge,
        Cause::Local,
    ] {
        assert!(errors().any(|error| error.cause == cause), "{cause:?} was not reached");
    }
    assert!(errors().count() < all.len() * 3 / 4);
    assert!(all.iter().map(|reached| reached.finished).sum::<u32>() > 1_000);
    assert!(all.iter().map(|reached| reached.slept).sum::<u32>() > 300);
    assert!(all.iter().map(|reached| reached.events).sum::<u32>() > 80_000);
    assert!(all.iter().map(|reached| reached.data).sum::<u64>() > 10 << 20);
}

#[test]
fn a_server_keeps_its_promises_whatever_a_script_does() {
    let test = "a_server_keeps_its_promises_whatever_a_script_does";
    assert_reached(&run_seeds(test, |bytes| run::run(Role::Server, bytes)), 30);
}

#[test]
fn a_client_keeps_its_promises_whatever_a_script_does() {
    let test = "a_client_keeps_its_promises_whatever_a_script_does";
    assert_reached(&run_seeds(test, |bytes| run::run(Role::Client, bytes)), 30);
}

#[test]
fn how_the_input_is_cut_changes_nothing() {
    run_seeds("how_the_input_is_cut_changes_nothing", fuzz_cuts);
}

#[test]
fn inputs_that_were_kept_break_no_promise() {
    run_corpus("server", fuzz_server);
    run_corpus("client", fuzz_client);
    run_corpus("cuts", fuzz_cuts);
}
