//! The style has a test: what a machine can hold of the house rules and clippy cannot.
//!
//! Each rule is a function from a source file to what is wrong in it (`rules.rs`), looks at code with comments and
//! strings taken out and knows which lines are tests (`source.rs`), and is itself tested on a small bad sample, so that a rule
//! which finds nothing is known to be able to. The lists of exceptions are ratchets: an entry needs a reason, and goes when
//! its reason does.
//!
//! Does not: repeat clippy (`unwrap_used`, `too_many_lines`, …), except where an `allow` in a file would switch it off.

mod rules;
mod source;

use rules::{Finding, Rule};
use source::Source;
use std::path::Path;

/// Everything that is compiled here and written by hand.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = source::read_all(&root);
    assert!(sources.len() > 50, "found {} files only: is the root right?", sources.len());
    sources
}

fn holds(rule: Rule) {
    let findings: Vec<Finding> = sources().iter().flat_map(rule).collect();
    assert!(findings.is_empty(), "{}", rules::listing(&findings));
}

#[test]
fn no_file_is_longer_than_can_be_reread() {
    holds(rules::long_file);
}

#[test]
fn unsafe_stays_where_it_may_be() {
    holds(rules::unsafe_elsewhere);
}

#[test]
fn unsafe_is_reasoned() {
    holds(rules::unsafe_without_reason);
}

#[test]
fn the_engine_does_not_unwrap() {
    holds(rules::unwrap);
}

#[test]
fn time_is_handed_in() {
    holds(rules::clock);
}

#[test]
fn nothing_is_left_for_later() {
    holds(rules::unfinished);
}

#[test]
fn every_file_says_what_it_is() {
    holds(rules::no_module_doc);
}

#[test]
fn one_file_names_monoio() {
    let sources = sources();
    let naming: Vec<&str> =
        sources.iter().filter(|s| rules::names_monoio(s)).map(|s| s.path.as_str()).collect();
    assert_eq!(naming.len(), 1, "{naming:?}");
    assert!(naming[0].starts_with("engine/runtime/src/backend/"), "{naming:?}");
}
