//! A source file, taken apart as far as the rules need: code, comments, and which lines are tests.
//!
//! Does not: parse Rust. It knows comments, strings, characters and braces, and which items a `cfg` keeps for tests.
//!
//! Invariant: `code` and `comments` have a line for each line of the text; what belongs to neither is blank in both.

use std::fs;
use std::path::Path;

/// One file and what is known about its lines.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    /// Each line without comments and without what stands in strings.
    pub(crate) code: Vec<String>,
    /// The comments of each line.
    pub(crate) comments: Vec<String>,
    /// Whether a line exists for tests only.
    pub(crate) is_test: Vec<bool>,
    /// Modules in files of their own that exist for tests only: paths without `.rs`.
    test_modules: Vec<String>,
}

/// Folders whose content is not written by hand, or not ours.
const SKIPPED: [&str; 3] = ["target", "golden", "node_modules"];

/// All Rust files below `root`, by path, with the tests among them known.
pub(crate) fn read_all(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    read_folder(root, "", &mut sources);
    let test_modules: Vec<String> = sources.iter().flat_map(|s| s.test_modules.clone()).collect();
    for source in &mut sources {
        let path = source.path.trim_end_matches(".rs");
        if test_modules.iter().any(|module| path == module || path.starts_with(&format!("{module}/"))) {
            source.is_test.fill(true);
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn read_folder(folder: &Path, path: &str, into: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the repository can be read") {
        let entry = entry.expect("the repository can be read");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        if name.starts_with('.') || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        let kind = entry.file_type().expect("the repository can be read");
        if kind.is_dir() {
            read_folder(&entry.path(), &path, into);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("sources are UTF-8");
            into.push(Source::new(&path, &text));
        }
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let (code, comments) = split(text);
        let lines = |text: &str| -> Vec<String> { text.split('\n').map(str::to_owned).collect() };
        let (is_test, modules) = test_lines(&code);
        let mut source = Source {
            path: path.to_owned(),
            code: lines(&code),
            comments: lines(&comments),
            is_test,
            test_modules: modules.iter().map(|module| beside(path, module)).collect(),
        };
        if path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples")) {
            source.is_test.fill(true);
        }
        source
    }

    /// The lines that are not tests: number from 1, and code.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.is_test).enumerate();
        lines.filter(|(_, (_, is_test))| !**is_test).map(|(index, (line, _))| (index + 1, line.as_str()))
    }

    /// All lines: number from 1, and code.
    pub(crate) fn all_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }
}

/// Where the module `name` that the file at `path` declares has its file, without `.rs`.
fn beside(path: &str, name: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => format!("{folder}/{name}"),
        _ => format!("{}/{name}", path.trim_end_matches(".rs")),
    }
}

/// The code without comments and strings, and the comments alone; both keep every newline where it was.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (end, kind) = token(&chars, at);
        for &c in &chars[at..end] {
            let (in_code, in_comments) = match (c, kind) {
                ('\n', _) => ('\n', '\n'),
                (_, Kind::Code) => (c, ' '),
                (_, Kind::Comment) => (' ', c),
                (_, Kind::Literal) => (' ', ' '),
            };
            code.push(in_code);
            comments.push(in_comments);
        }
        at = end;
    }
    (code, comments)
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Where the token at `at` ends, and what it is. Code comes character by character.
fn token(chars: &[char], at: usize) -> (usize, Kind) {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => (find(chars, at, |c| c == '\n'), Kind::Comment),
        ('/', Some('*')) => (block_comment_end(chars, at), Kind::Comment),
        ('"', _) => (string_end(chars, at + 1), Kind::Literal),
        ('r', Some('"' | '#')) if !continues_word(chars, at) => match raw_string_end(chars, at + 1) {
            Some(end) => (end, Kind::Literal),
            None => (at + 1, Kind::Code),
        },
        ('\'', Some('\\')) => (find(chars, at + 3, |c| c == '\'') + 1, Kind::Literal),
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => (at + 3, Kind::Literal),
        _ => (at + 1, Kind::Code),
    }
}

/// Whether the `r` at `at` is inside a word (`br"…"` and `cr"…"` begin a string all the same).
fn continues_word(chars: &[char], at: usize) -> bool {
    let is_word = |index: Option<usize>| {
        index.is_some_and(|index| chars[index].is_alphanumeric() || chars[index] == '_')
    };
    match at.checked_sub(1) {
        Some(before) if matches!(chars[before], 'b' | 'c') => is_word(before.checked_sub(1)),
        before => is_word(before),
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|index| wanted(chars[*index])).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut index) = (0, at);
    while index + 1 < chars.len() {
        match (chars[index], chars[index + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                index += 1;
                continue;
            }
        }
        index += 2;
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a raw string whose hashes begin at `at`; `None` if it is a raw identifier.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let quote = find(chars, at, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - at;
    let closes = |index: &usize| {
        chars[*index] == '"'
            && chars[index + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    let end = (quote + 1..chars.len()).find(closes)?;
    Some(end + 1 + hashes)
}

/// For each line whether it belongs to an item that only tests have, and the names of such modules in other files.
fn test_lines(code: &str) -> (Vec<bool>, Vec<String>) {
    let mut is_test = vec![false; code.split('\n').count()];
    let mut modules = Vec::new();
    for (start, _) in code.match_indices("#[cfg(") {
        let condition_start = start + "#[cfg(".len();
        let condition_end = closing(code, condition_start, '(', ')');
        if !is_test_only(&code[condition_start..condition_end]) {
            continue;
        }
        let item_start = closing(code, start + 2, '[', ']') + 1;
        let end = item_end(code, item_start);
        let item = code[item_start..end].trim();
        if let Some(name) = item.strip_suffix(';').and_then(|item| item.rsplit_once("mod ")) {
            modules.push(name.1.trim().to_owned());
        }
        let line_of = |at: usize| code[..at].matches('\n').count();
        is_test[line_of(start)..=line_of(end)].fill(true);
    }
    (is_test, modules)
}

/// Where the bracket that is open at `from` closes; the end if it does not.
fn closing(code: &str, from: usize, open: char, close: char) -> usize {
    let mut depth = 1;
    for (at, c) in code[from..].char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return from + at;
        }
    }
    code.len()
}

/// Where the item that begins at `from`, perhaps with more attributes, ends: its semicolon, or the brace that closes it.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return from + at + 1,
            '{' if depth == 0 => return (closing(code, from + at + 1, '{', '}') + 1).min(code.len()),
            _ => {}
        }
    }
    code.len()
}

/// Whether a `cfg` condition can only hold in a test build of some kind.
fn is_test_only(condition: &str) -> bool {
    let condition = condition.trim();
    let inner = |name: &str| condition.strip_prefix(name)?.trim().strip_prefix('(')?.strip_suffix(')');
    if let Some(inner) = inner("all") {
        return arguments(inner).any(is_test_only);
    }
    if let Some(inner) = inner("any") {
        return arguments(inner).all(is_test_only);
    }
    matches!(condition, "test" | "fuzzing" | "loom")
}

/// Splits at the commas that stand in no parentheses.
fn arguments(inner: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    inner
        .split(move |c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        })
        .filter(|argument| !argument.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_taken_out_of_the_code() {
        let (code, comments) =
            split("a(\"b // c\", 'd', '\\'', r#\"e\"f\"#); // g\n/* h /* i */ j */ k<'l>(br\"m\")");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&code), "a( , , , ); k<'l>(b )");
        assert_eq!(words(&comments), "// g /* h /* i */ j */");
        assert_eq!(code.len(), comments.len());
    }

    #[test]
    fn a_raw_identifier_is_no_string() {
        assert_eq!(split("r#type + for\"x\"").0, "r#type + for   ");
    }

    #[test]
    fn only_what_a_test_build_alone_has_is_a_test() {
        for yes in
            ["test", "all(test, not(loom))", "any(fuzzing, test)", "all(unix, any(test, loom))", " test "]
        {
            assert!(is_test_only(yes), "{yes}");
        }
        for no in
            ["not(test)", "any(test, feature = )", "unix", "all(unix, not(test))", "not(all(test, loom))"]
        {
            assert!(!is_test_only(no), "{no}");
        }
    }

    #[test]
    fn the_lines_of_test_items_are_known_and_the_rest_is_not_touched() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n  fn b() { 1 }\n}\nfn c() {}\n";
        let source = Source::new("engine/x/src/y.rs", text);
        assert_eq!(source.is_test, [false, true, true, true, true, true, false, false]);
        assert_eq!(source.lines().map(|(number, _)| number).collect::<Vec<_>>(), [1, 7, 8]);
    }

    #[test]
    fn test_modules_in_their_own_files_are_found_beside_their_parent() {
        let modules = |path| Source::new(path, "#[cfg(test)]\nmod tests;\nmod other;").test_modules;
        assert_eq!(modules("engine/x/src/y.rs"), ["engine/x/src/y/tests"]);
        assert_eq!(modules("engine/x/src/lib.rs"), ["engine/x/src/tests"]);
    }

    #[test]
    fn a_tests_folder_is_all_tests() {
        assert!(Source::new("engine/x/tests/y.rs", "fn a() {}").is_test.iter().all(|is_test| *is_test));
    }
}
