//! A value that does not show itself.
//!
//! Metadata values, tokens and peer names end up in `{:?}` of something that holds them, and from there in a log. Inside
//! this wrapper they print as a placeholder, and whoever wants the value says so by name.
//!
//! Does not: erase memory, compare in constant time, or keep anyone from calling [`Redacted::expose`].

use core::fmt;

/// A value whose `Debug` and `Display` show a placeholder only.
///
/// ```
/// use corelane_observe::Redacted;
///
/// let token = Redacted::new("Bearer abc");
/// assert_eq!(format!("{token} {token:?}"), "[redacted] [redacted]");
/// assert_eq!(*token.expose(), "Bearer abc");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Redacted<T> {
        Redacted(value)
    }

    /// The value itself.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, to change.
    pub const fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }

    /// The value itself, unwrapped.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Redacted<T> {
    fn from(value: T) -> Redacted<T> {
        Redacted(value)
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone)]
    #[allow(dead_code)] // read by Debug, which is the point
    struct Login {
        user: &'static str,
        password: Redacted<String>,
    }

    #[test]
    fn a_secret_inside_something_printed_stays_inside() {
        let login = Login { user: "ada", password: String::from("hunter2").into() };
        assert_eq!(format!("{login:?}"), r#"Login { user: "ada", password: [redacted] }"#);
        assert!(!format!("{login:#?}").contains("hunter2"));
        assert!(!format!("{:>20} {:?}", login.password, Some(&login.password)).contains("hunter2"));
    }

    #[test]
    fn who_asks_by_name_gets_it() {
        let mut secret = Redacted::new(41);
        *secret.expose_mut() += 1;
        assert_eq!(*secret.expose(), 42);
        assert_eq!(secret.into_exposed(), 42);
    }
}
