//! Pieces of other people's text in errors: short, whatever they are.

/// The most of a text that an error repeats, in characters.
const SHOWN_MAX: usize = 40;

/// Text in quotes, cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// Text, cut if it is long.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(quoted(&"é".repeat(40)), format!("\"{}\"", "é".repeat(40)));
        assert_eq!(quoted(&"é".repeat(41)), format!("\"{}...\"", "é".repeat(40)));
        assert_eq!(shortened(""), "");
    }
}
