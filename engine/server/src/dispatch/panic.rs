//! A panic in user code becomes an error of its call: it unwinds to here and no further.
//!
//! Does not: tell the peer what went wrong; that goes to the log. Needs `panic = "unwind"`, which is why no profile of ours
//! aborts.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic said.
#[derive(Debug)]
pub(crate) struct Panic(String);

impl Panic {
    /// The panic's text, for the log.
    pub(crate) fn message(&self) -> &str {
        &self.0
    }
}

/// Runs user code.
///
/// What `body` touches must be sound to use after it was left half way: homes are vacated, calls are ended.
#[inline]
pub(crate) fn guard<T>(body: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| Panic(text(payload)))
}

#[cold]
fn text(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return *text,
        Err(other) => other,
    };
    match payload.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(other) => {
            // The destructor of a value that somebody panicked with may panic as well; it is not worth a second guard.
            std::mem::forget(other);
            "a panic without a text".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_panic_is_kept() {
        let said = |panicking: fn()| guard(panicking).unwrap_err().message().to_owned();
        assert_eq!(said(|| panic!("{} lost", "order 7")), "order 7 lost");
        assert_eq!(said(|| panic!("lost")), "lost");
        assert_eq!(said(|| std::panic::panic_any(7)), "a panic without a text");
        assert_eq!(guard(|| 1).unwrap(), 1);
    }
}
