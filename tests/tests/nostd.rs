//! `wire` links without std: the program of `tests/nostd`, built by its profile, runs and holds nothing of std.
//!
//! Does not: run where the target has no `main` of the C library (the program is for Linux, as the engine is).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// How a symbol of std is spelled, by the old mangling and by the new.
const STD_SYMBOLS: [&str; 2] = ["_ZN3std", "_3std"];

/// Whether a program has symbols of std, in whichever of its tables.
fn holds_std(program: &[u8]) -> bool {
    STD_SYMBOLS.iter().any(|symbol| contains(program, symbol))
}

fn contains(program: &[u8], text: &str) -> bool {
    program.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Builds the program in a target folder of its own: the common one is locked by whoever runs this test.
fn built() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nostd");
    let built = Command::new(env!("CARGO"))
        .args(["build", "-p", "corelane-nostd", "--profile", "nostd", "--locked", "--target-dir"])
        .arg(&target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        // Flags of the run around it (a sanitizer, a coverage tool) would bring std back in.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("nostd/corelane-nostd")
}

#[test]
fn a_program_without_std_answers_a_call() {
    let program = built();
    let status = Command::new(&program).status().expect("the program starts");
    assert_eq!(status.code(), Some(0), "the code is the step that failed (tests/nostd/src/call.rs)");

    let bytes = fs::read(&program).expect("the program was built");
    assert!(
        contains(&bytes, "corelane_wire"),
        "its symbols were stripped, so their absence would say nothing"
    );
    assert!(!holds_std(&bytes), "std was linked into it");
}

#[test]
fn the_search_finds_std_where_it_is() {
    let this = fs::read(env::current_exe().expect("a test has a file")).expect("it can be read");
    assert!(holds_std(&this));
}
