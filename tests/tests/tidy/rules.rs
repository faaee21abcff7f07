//! The rules, each a function from a file to what is wrong in it.
//!
//! Does not: read files, or decide what is a test (`source.rs` does).

use crate::source::Source;

/// Past this nobody rereads the whole before changing it (house rule 3). Tests do not count.
const FILE_LINES_MAX: usize = 700;

/// Where `unsafe` may be: a path's beginning, and why.
const UNSAFE_ALLOWED: &[(&str, &str)] = &[
    ("engine/memory/", "what others build on may need it; as of now it forbids it"),
    ("engine/runtime/src/backend", "file descriptors and rings"),
    ("tests/nostd/", "a program without std brings its own allocator and main"),
    ("engine/server/tests/zero_alloc.rs", "an allocator that counts"),
    ("engine/server/tests/support/live.rs", "an allocator that counts"),
];

/// The one file that may read a clock.
const CLOCK: &str = "engine/runtime/src/clock.rs";

/// Ways to read a clock.
const CLOCK_READS: &[&str] = &["Instant::now", "SystemTime", "UNIX_EPOCH", "clock_gettime"];

/// Something wrong at a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: &'static str,
}

/// What is wrong in a file.
pub(crate) type Rule = fn(&Source) -> Vec<Finding>;

/// All findings, one a line, as an editor can jump to.
pub(crate) fn listing(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.what));
    lines.collect::<Vec<_>>().join("\n")
}

fn findings<'s>(
    source: &Source,
    what: &'static str,
    lines: impl Iterator<Item = (usize, &'s str)>,
    is_wrong: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let wrong = lines.filter(|(_, code)| is_wrong(code));
    wrong.map(|(line, _)| Finding { path: source.path.clone(), line, what }).collect()
}

fn is_engine(source: &Source) -> bool {
    source.path.starts_with("engine/")
}

/// Whether `word` stands in `code` and is not part of a longer one.
fn has_word(code: &str, word: &str) -> bool {
    words_at(code, word).next().is_some()
}

fn words_at<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part))
}

/// More lines before the tests than [`FILE_LINES_MAX`].
pub(crate) fn long_file(source: &Source) -> Vec<Finding> {
    match source.lines().nth(FILE_LINES_MAX) {
        // The text's last newline makes an empty line that nobody wrote.
        Some((line, code)) if line < source.code.len() || !code.is_empty() => {
            let what = "more than 700 lines before its tests: split it by idea";
            vec![Finding { path: source.path.clone(), line, what }]
        }
        _ => Vec::new(),
    }
}

/// `unsafe` outside the folders that may have it.
pub(crate) fn unsafe_elsewhere(source: &Source) -> Vec<Finding> {
    if UNSAFE_ALLOWED.iter().any(|(beginning, _)| source.path.starts_with(beginning)) {
        return Vec::new();
    }
    findings(source, "unsafe is for memory and the backends", source.all_lines(), |code| {
        has_word(code, "unsafe")
    })
}

/// An unsafe block or implementation without `// SAFETY:` in the comment above it.
pub(crate) fn unsafe_without_reason(source: &Source) -> Vec<Finding> {
    let begins_block = |code: &str| {
        let mut after = words_at(code, "unsafe").map(|at| code[at + "unsafe".len()..].trim_start());
        after.any(|rest| rest.starts_with('{') || rest.starts_with("impl") || rest.is_empty())
    };
    let mut found = findings(source, "no `// SAFETY:` above", source.all_lines(), begins_block);
    found.retain(|finding| !is_reasoned(source, finding.line - 1));
    found
}

/// Whether the comment above this line (attributes may stand between) or on it has `SAFETY:`.
fn is_reasoned(source: &Source, index: usize) -> bool {
    let is_passed = |line: &usize| {
        let code = source.code[*line].trim();
        code.starts_with("#[") || (code.is_empty() && !source.comments[*line].trim().is_empty())
    };
    let above = (0..index).rev().take_while(is_passed);
    std::iter::once(index).chain(above).any(|line| source.comments[line].contains("SAFETY:"))
}

/// `unwrap` outside tests: `expect` says why it cannot happen.
pub(crate) fn unwrap(source: &Source) -> Vec<Finding> {
    if !is_engine(source) {
        return Vec::new();
    }
    findings(source, "say with `expect` why it cannot happen", source.lines(), |code| {
        code.contains(".unwrap()")
    })
}

/// A clock read where time must be handed in.
pub(crate) fn clock(source: &Source) -> Vec<Finding> {
    if !is_engine(source) || source.path == CLOCK {
        return Vec::new();
    }
    let reads = |code: &str| CLOCK_READS.iter().any(|read| code.contains(read));
    findings(source, "time is handed in; the runtime's clock.rs alone reads it", source.lines(), reads)
}

/// Notes to finish something, and macros that say it is unfinished.
pub(crate) fn unfinished(source: &Source) -> Vec<Finding> {
    let what = "finish it, or open an issue";
    let comments = (1..).zip(source.comments.iter().map(String::as_str));
    let mut found =
        findings(source, what, comments, |text| ["TODO", "FIXME", "XXX"].iter().any(|w| has_word(text, w)));
    let macros = ["dbg!", "todo!", "unimplemented!"];
    found.extend(findings(source, what, source.all_lines(), |code| {
        macros
            .iter()
            .any(|name| words_at(code, &name[..name.len() - 1]).any(|at| code[at..].starts_with(name)))
    }));
    found
}

/// A file of the engine that does not begin with its module documentation.
pub(crate) fn no_module_doc(source: &Source) -> Vec<Finding> {
    let begins = source.comments.first().is_some_and(|line| line.starts_with("//!"));
    if begins || !is_engine(source) {
        return Vec::new();
    }
    vec![Finding { path: source.path.clone(), line: 1, what: "begin with `//!`: what it is, and is not" }]
}

/// Whether this file of the engine names the runtime below it, rather than a module of ours with its name.
pub(crate) fn names_monoio(source: &Source) -> bool {
    let is_ours = |before: &str| {
        let path =
            before.strip_suffix("::").is_some_and(|path| path.ends_with(|c: char| c.is_alphanumeric()));
        path || before.trim_end().ends_with("mod")
    };
    is_engine(source)
        && source.lines().any(|(_, code)| words_at(code, "monoio").any(|at| !is_ours(&code[..at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that a rule finds in a file of the engine.
    fn found(rule: Rule, text: &str) -> Vec<usize> {
        rule(&Source::new("engine/wire/src/sample.rs", text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn long_file_counts_what_is_not_a_test() {
        let line = "fn a() {}\n";
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(900));
        assert_eq!(found(long_file, &line.repeat(700)), []);
        assert_eq!(found(long_file, &(line.repeat(700) + &tests)), []);
        assert_eq!(found(long_file, &line.repeat(701)), [701]);
        assert_eq!(found(long_file, &(tests + &line.repeat(701))).len(), 1);
    }

    #[test]
    fn unsafe_elsewhere_sees_code_and_not_words() {
        let text = "#![forbid(unsafe_code)]\n// unsafe\nlet s = \"unsafe\";\nunsafe { x() }\nunsafe impl Y for Z {}\n";
        assert_eq!(found(unsafe_elsewhere, text), [4, 5]);
        for (path, _) in UNSAFE_ALLOWED {
            assert_eq!(unsafe_elsewhere(&Source::new(path, text)), []);
        }
        assert_eq!(unsafe_elsewhere(&Source::new("engine/runtime/src/worker.rs", text)).len(), 2);
    }

    #[test]
    fn unsafe_without_reason_wants_it_right_above() {
        assert_eq!(found(unsafe_without_reason, "let a = unsafe { b() };"), [1]);
        assert_eq!(found(unsafe_without_reason, "// SAFETY: c\n// d\n#[e]\nlet a = unsafe { b() };"), []);
        assert_eq!(found(unsafe_without_reason, "let a = unsafe { b() }; // SAFETY: c"), []);
        assert_eq!(found(unsafe_without_reason, "// SAFETY: c\nlet x = 1;\nlet a = unsafe { b() };"), [3]);
        assert_eq!(found(unsafe_without_reason, "// SAFETY: c\n\nlet a = unsafe { b() };"), [3]);
        assert_eq!(found(unsafe_without_reason, "// safe enough\nunsafe impl A for B {}"), [2]);
        assert_eq!(found(unsafe_without_reason, "let a = \"// SAFETY: \"; let b = unsafe\n{ c() };"), [1]);
        assert_eq!(found(unsafe_without_reason, "unsafe fn a(); #[unsafe(no_mangle)]"), []);
    }

    #[test]
    fn unwrap_is_for_tests() {
        let text = "a.unwrap();\nb.unwrap_or(c);\n// d.unwrap()\n#[cfg(test)]\nmod tests { e.unwrap() }\n";
        assert_eq!(found(unwrap, text), [1]);
        assert_eq!(unwrap(&Source::new("tools/src/main.rs", text)), []);
    }

    #[test]
    fn clock_is_read_in_one_file() {
        let text = "Instant::now()\nstd::time::SystemTime::now()\nInstant::from_nanos(1)\n";
        assert_eq!(found(clock, text), [1, 2]);
        assert_eq!(clock(&Source::new("engine/runtime/src/worker.rs", text)).len(), 2);
        assert_eq!(clock(&Source::new(CLOCK, text)), []);
    }

    #[test]
    fn unfinished_sees_comments_and_macros() {
        let text = "// TODO: a\ndbg!(b);\ntodo!()\nlet c = \"TODO dbg!(d)\";\n/* e FIXME */\nmy_todo!();\n";
        assert_eq!(found(unfinished, text), [1, 5, 2, 3]);
    }

    #[test]
    fn no_module_doc_wants_it_on_the_first_line() {
        assert_eq!(found(no_module_doc, "//! A.\n"), []);
        assert_eq!(found(no_module_doc, "// A.\n//! B.\n"), [1]);
        assert_eq!(found(no_module_doc, "use a;\n"), [1]);
        assert_eq!(found(no_module_doc, ""), [1]);
    }

    #[test]
    fn names_monoio_tells_the_library_from_our_module() {
        let names = |path: &str, text: &str| names_monoio(&Source::new(path, text));
        for yes in ["use monoio::net;", "use ::monoio::net;", "#[monoio::main]", "use monoio as m;"] {
            assert!(names("engine/server/src/a.rs", yes), "{yes}");
        }
        for no in [
            "mod monoio;",
            "use self::monoio::A;",
            "crate::backend::monoio::b()",
            "// monoio::c",
            "monoio_like()",
        ] {
            assert!(!names("engine/server/src/a.rs", no), "{no}");
        }
        assert!(!names("engine/server/tests/a.rs", "use monoio::net;"));
        assert!(!names("tools/src/a.rs", "use monoio::net;"));
    }
}
