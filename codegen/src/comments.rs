//! Makes the comments of a `.proto` file fit for rustdoc.
//!
//! Their authors did not write for rustdoc, which takes a code block without a language, and every indented paragraph, for Rust
//! and runs it as a test. So code gets a language of its own here. What rustdoc would take for links is escaped further on,
//! where the comments are written out.

use prost_types::FileDescriptorProto;

/// Rewrites all comments of a file that end up in rustdoc.
pub(crate) fn make_fit(file: &mut FileDescriptorProto) {
    let locations = file.source_code_info.iter_mut().flat_map(|info| &mut info.location);
    for location in locations {
        let comments = [&mut location.leading_comments, &mut location.trailing_comments];
        for comment in comments.into_iter().flatten() {
            *comment = rustdoc(comment);
        }
    }
}

/// The language that is no language: rustdoc shows such code and leaves it alone.
const NOT_RUST: &str = "text";

/// Rewrites one comment, which stands without its `//`, line by line.
fn rustdoc(comment: &str) -> String {
    // A carriage return inside a line is an error in a Rust doc comment.
    let lines: Vec<String> =
        comment.lines().map(|line| line.replace('\r', " ").trim_end().to_owned()).collect();
    let margin = lines.iter().filter(|line| !line.is_empty()).map(|line| indent(line)).min().unwrap_or(0);
    let mut writer = Writer { out: Vec::new(), margin, block: Block::Text { blank_before: true } };
    for line in &lines {
        writer.line(line);
    }
    writer.end();
    writer.out.iter().map(|line| format!("{line}\n")).collect()
}

/// Where a line of a comment stands.
enum Block {
    /// In prose.
    Text { blank_before: bool },
    /// In code that the comment itself fences.
    Fenced { fence: &'static str },
    /// In code that is only indented; `blanks` of its lines are held back, since they may come after its end.
    Indented { blanks: usize },
}

struct Writer {
    out: Vec<String>,
    margin: usize,
    block: Block,
}

impl Writer {
    fn line(&mut self, line: &str) {
        let is_code = indent(line) >= self.margin + 4;
        match &mut self.block {
            Block::Fenced { fence } => {
                if line.trim() == *fence {
                    self.block = Block::Text { blank_before: false };
                }
                self.out.push(line.to_owned());
            }
            Block::Indented { blanks } if line.is_empty() => *blanks += 1,
            Block::Indented { blanks } if is_code => {
                let held = std::mem::take(blanks);
                self.blank_lines(held);
                self.out.push(line.to_owned());
            }
            Block::Indented { blanks } => {
                let held = std::mem::take(blanks);
                self.fence("```");
                self.blank_lines(held);
                self.block = Block::Text { blank_before: held > 0 };
                self.text(line);
            }
            Block::Text { blank_before: true } if is_code && !line.is_empty() => {
                self.fence(&format!("```{NOT_RUST}"));
                self.out.push(line.to_owned());
                self.block = Block::Indented { blanks: 0 };
            }
            Block::Text { .. } => self.text(line),
        }
    }

    fn text(&mut self, line: &str) {
        let trimmed = line.trim_start();
        let fence = ["```", "~~~"].into_iter().find(|fence| trimmed.starts_with(fence));
        let Some(fence) = fence else {
            self.block = Block::Text { blank_before: line.is_empty() };
            self.out.push(line.to_owned());
            return;
        };
        let language = trimmed.trim_start_matches(&fence[..1]).trim();
        let shown = if is_tested(language) { NOT_RUST } else { language };
        self.out.push(format!("{:width$}{fence}{shown}", "", width = indent(line)));
        self.block = Block::Fenced { fence };
    }

    fn end(&mut self) {
        match self.block {
            Block::Text { .. } => {}
            Block::Fenced { fence } => self.fence(fence),
            Block::Indented { .. } => self.fence("```"),
        }
    }

    fn fence(&mut self, fence: &str) {
        self.out.push(format!("{:margin$}{fence}", "", margin = self.margin));
    }

    fn blank_lines(&mut self, count: usize) {
        self.out.extend(std::iter::repeat_n(String::new(), count));
    }
}

/// Whether rustdoc would run a block of this language as a test.
fn is_tested(language: &str) -> bool {
    const RUST: [&str; 6] = ["", "rust", "should_panic", "no_run", "compile_fail", "standalone_crate"];
    let mut words = language.split([',', ' ']);
    words.all(|word| RUST.contains(&word) || word.starts_with("edition"))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_stays_as_it_is() {
        let comment = " One.\n\n - two\n   three\n";
        assert_eq!(rustdoc(comment), comment);
    }

    #[test]
    fn a_fence_without_language_is_not_rust() {
        assert_eq!(rustdoc(" A:\n ```\n x\n ```\n b\n"), " A:\n ```text\n x\n ```\n b\n");
        assert_eq!(rustdoc(" ~~~ rust\n x\n ~~~\n"), " ~~~text\n x\n ~~~\n");
        assert_eq!(rustdoc(" ```json\n {}\n ```\n"), " ```json\n {}\n ```\n");
    }

    #[test]
    fn a_fence_that_stays_open_is_closed() {
        assert_eq!(rustdoc(" ```\n x\n"), " ```text\n x\n ```\n");
    }

    #[test]
    fn an_indented_paragraph_is_not_rust() {
        let comment = " A:\n\n     x\n\n     y\n\n b\n";
        assert_eq!(rustdoc(comment), " A:\n\n ```text\n     x\n\n     y\n ```\n\n b\n");
        assert_eq!(rustdoc(" A:\n\n     x\n"), " A:\n\n ```text\n     x\n ```\n");
    }

    #[test]
    fn an_indented_line_within_a_paragraph_is_prose() {
        let comment = " A\n     goes on\n";
        assert_eq!(rustdoc(comment), comment);
    }

    #[test]
    fn a_carriage_return_becomes_a_space() {
        assert_eq!(rustdoc(" a\rb\r\n"), " a b\n");
    }
}
