//! Why nothing was generated: one error for everything, since all that its reader can do is go to the place and look.

use std::fmt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

/// Why nothing was generated.
///
/// It prints as `file:line:column: reason`, with as much of the place as is known. [`Debug`] prints the same, because that is
/// what a build script shows when its `main` returns an error.
///
/// ```
/// let error = corelane_codegen::compile_protos(&["missing.proto"], &["proto"]).unwrap_err();
/// assert_eq!(error.to_string(), "missing.proto: there is no such file");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CodegenError {
    file: Option<PathBuf>,
    position: Option<Position>,
    reason: String,
}

/// A place in a file, as editors count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl CodegenError {
    pub(crate) fn new(reason: impl Into<String>) -> CodegenError {
        CodegenError { file: None, position: None, reason: reason.into() }
    }

    pub(crate) fn in_file(
        file: impl Into<PathBuf>,
        position: Option<Position>,
        reason: impl Into<String>,
    ) -> CodegenError {
        CodegenError { file: Some(file.into()), position, reason: reason.into() }
    }

    /// Says in the reader's terms what the parser found. `includes` turn a name as it stands in an `import` into a path.
    pub(crate) fn from_protox(error: &protox::Error, includes: &[PathBuf]) -> CodegenError {
        let mut reason = error.to_string();
        if let Some(help) = error.help() {
            reason = format!("{reason} ({help})");
        }
        let file = error.file().map(|name| locate(name, includes));
        let position = position_of(error).or_else(|| match &file {
            // The parser has no word for the place behind everything.
            Some(file) if reason.ends_with("reached end of file") => end_of(file),
            _ => None,
        });
        CodegenError { file, position, reason }
    }

    pub(crate) fn io(path: &Path, doing: &str, error: &std::io::Error) -> CodegenError {
        CodegenError::in_file(path, None, format!("cannot {doing}: {error}"))
    }

    /// The file at fault, if one file is.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The place in the file, if it is known.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for CodegenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(Position { line, column }) = self.position {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.reason)
    }
}

impl fmt::Debug for CodegenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CodegenError {}

/// The path of a file that the parser knows by the name under which it is imported.
fn locate(name: &str, includes: &[PathBuf]) -> PathBuf {
    let in_include = |include: &PathBuf| include.join(name);
    includes.iter().map(in_include).find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name))
}

/// Where the first label of a diagnostic points.
fn position_of(diagnostic: &dyn Diagnostic) -> Option<Position> {
    let label = diagnostic.labels()?.next()?;
    let contents = diagnostic.source_code()?.read_span(label.inner(), 0, 0).ok()?;
    Some(Position { line: contents.line() + 1, column: contents.column() + 1 })
}

/// The place behind the last character of a file.
fn end_of(file: &Path) -> Option<Position> {
    let text = std::fs::read_to_string(file).ok()?;
    let (lines, last) = match text.rsplit_once('\n') {
        Some((before, last)) => (before.matches('\n').count() + 1, last),
        None => (0, text.as_str()),
    };
    Some(Position { line: lines + 1, column: last.len() + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_printed_as_far_as_it_is_known() {
        let position = Some(Position { line: 3, column: 7 });
        assert_eq!(CodegenError::in_file("a.proto", position, "no").to_string(), "a.proto:3:7: no");
        assert_eq!(CodegenError::in_file("a.proto", None, "no").to_string(), "a.proto: no");
        assert_eq!(format!("{:?}", CodegenError::new("no")), "no");
    }
}
