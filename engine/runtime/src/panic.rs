//! A panic in code that is not ours becomes an error of the call or task that it came from: it unwinds to here and no further.
//!
//! Does not: tell a peer what went wrong; that goes to the log. Needs `panic = "unwind"`, which is why no profile of ours aborts.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic said.
#[derive(Debug)]
pub struct Panic(String);

impl Panic {
    /// What `payload` says.
    #[cold]
    pub(crate) fn of(payload: Box<dyn Any + Send>) -> Panic {
        Panic(text(payload))
    }

    /// The panic's text, for the log.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0
    }
}

/// Runs code that is not ours. What it touches must be sound to use after it was left half way.
///
/// ```
/// let order = corelane_runtime::guard(|| -> u32 { panic!("no order {}", 7) });
/// assert_eq!(order.unwrap_err().message(), "no order 7");
/// ```
///
/// # Errors
/// What the panic said.
#[inline]
pub fn guard<T>(body: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(body)).map_err(Panic::of)
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
