//! Options that are given for a path: which declarations a path means, and what was said for them.

/// Values for patterns over the full names of declarations.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathMap<T> {
    entries: Vec<(String, T)>,
}

impl<T> PathMap<T> {
    pub(crate) fn insert(&mut self, pattern: String, value: T) {
        self.entries.push((pattern, value));
    }

    /// What was said for the declaration of this full name, which has no dot in front, in the order in which it was said.
    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = &T> {
        self.entries.iter().filter(move |(pattern, _)| matches(pattern, name)).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, T)> {
        self.entries.iter()
    }
}

/// Whether a pattern means a name. `.` means every name, `.a.b` means `a.b` and what is in it, `b.C` means every name that
/// ends so. It is what prost's patterns mean.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('.') {
        Some("") => true,
        Some(start) => name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        None if pattern.is_empty() => false,
        None => name.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_means_whole_segments_of_a_name() {
        assert!(matches(".", "a.b.C"));
        assert!(matches(".a.b", "a.b.C") && matches(".a.b.C", "a.b.C"));
        assert!(!matches(".a", "ab.C") && !matches(".a.b.C.D", "a.b.C"));
        assert!(matches("C", "a.b.C") && matches("b.C", "a.b.C") && matches("a.b.C", "a.b.C"));
        assert!(!matches("C", "a.BC") && !matches("b", "a.b.C") && !matches("", "a"));
    }
}
