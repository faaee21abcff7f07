//! The page on reliability says what is so: each test that it names is there, and so is each figure; and it names all of those that
//! show a limit.

use std::fs;
use std::path::{Path, PathBuf};

use corelane_observe::{Limit, Observed as _, WorkerCounters};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between backticks in `text`.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What of `page` is not so.
fn untrue(page: &str, figures: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [.., figure, test] = cells.as_slice() else { continue };
        if *test == "test" || test.starts_with("---") {
            continue;
        }
        if quoted(test).is_empty() {
            wrong.push(format!("no test: {line}"));
        }
        for test in quoted(test) {
            let (file, name) = test.split_once("::").unwrap_or((test, ""));
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            let is_there = match name {
                "" => text.contains("#[test]"),
                name => {
                    ["", "    "].iter().any(|indent| text.contains(&format!("#[test]\n{indent}fn {name}(")))
                }
            };
            if !is_there {
                wrong.push(format!("there is no test {test}"));
            }
        }
        for figure in quoted(figure) {
            if !figures.lines().any(|line| line.starts_with(&format!("{figure} "))) {
                wrong.push(format!("there is no figure {figure}"));
            }
        }
    }
    wrong
}

fn figures() -> String {
    WorkerCounters::default().snapshot().to_string()
}

#[test]
fn what_the_page_names_is_there() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    assert_eq!(untrue(&page, &figures()), Vec::<String>::new());
    let rows = page.lines().filter(|line| line.contains(".rs::")).count();
    assert!(rows > 30, "{rows} rows with a test");
}

#[test]
fn every_limit_has_a_row() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let missing: Vec<_> =
        Limit::ALL.iter().filter(|limit| !page.contains(&format!("`limits_hit_{}`", limit.name()))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_page_that_is_wrong_is_noticed() {
    let page = "| attack | limit | answer | figure | test |\n|---|---|---|---|---|\n\
        | a | b | c | `limits_hit_resets` | `tests/tests/reliability.rs::every_limit_has_a_row` |\n\
        | a | b | c | `limits_hit_nothing` | `tests/tests/reliability.rs::no_such_test`, `tests/no_such_file.rs` |\n\
        | a | b | c | | none |\n";
    let wrong = untrue(page, &figures());
    let expected = [
        "there is no test tests/tests/reliability.rs::no_such_test",
        "there is no test tests/no_such_file.rs",
        "there is no figure limits_hit_nothing",
        "no test: | a | b | c | | none |",
    ];
    assert_eq!(wrong, expected);
}
