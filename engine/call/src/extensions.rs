//! A map keyed by type: what interceptors hand to handlers.
//!
//! Does not: hash. A call carries a handful of values at most, and a scan over a handful of type ids is cheaper than
//! hashing one; it also leaves the empty map without any heap.

use std::any::{Any, TypeId};
use std::fmt;

/// Values of any type, at most one of each, that travel with a request or a response inside the process.
///
/// An empty map owns no heap.
///
/// ```
/// use corelane_call::Extensions;
///
/// #[derive(Debug, PartialEq)]
/// struct Tenant(u64);
///
/// let mut extensions = Extensions::new();
/// assert_eq!(extensions.insert(Tenant(7)), None);
/// assert_eq!(extensions.get::<Tenant>(), Some(&Tenant(7)));
/// assert_eq!(extensions.insert(Tenant(8)), Some(Tenant(7)));
/// ```
#[derive(Default)]
pub struct Extensions {
    /// Boxed: nearly all are empty, and travel with every request and response.
    entries: Option<Box<Entries>>,
}

type Entries = Vec<(TypeId, Box<dyn Any>)>;

/// By hand, so that the end of an empty map is a look in place and not a call: each unary call ends two.
impl Drop for Extensions {
    #[inline]
    fn drop(&mut self) {
        if let Some(entries) = self.entries.take() {
            free(entries);
        }
    }
}

#[cold]
fn free(entries: Box<Entries>) {
    drop(entries);
}

impl Extensions {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Extensions {
        Extensions { entries: None }
    }

    /// Puts `value` in; returns the value of this type that it replaces.
    pub fn insert<T: 'static>(&mut self, value: T) -> Option<T> {
        if let Some(old) = self.get_mut::<T>() {
            return Some(std::mem::replace(old, value));
        }
        self.entries.get_or_insert_default().push((TypeId::of::<T>(), Box::new(value)));
        None
    }

    /// The value of type `T`.
    #[inline]
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.entries.as_ref()?.iter().find(|(id, _)| *id == TypeId::of::<T>())?.1.downcast_ref()
    }

    /// The value of type `T`, to change it.
    #[inline]
    #[must_use]
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.entries.as_mut()?.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?.1.downcast_mut()
    }

    /// Takes the value of type `T` out.
    pub fn remove<T: 'static>(&mut self) -> Option<T> {
        let entries = self.entries.as_mut()?;
        let at = entries.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        entries.swap_remove(at).1.downcast().ok().map(|value| *value)
    }

    /// Whether a value of type `T` is here.
    #[must_use]
    pub fn contains<T: 'static>(&self) -> bool {
        self.get::<T>().is_some()
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops every value.
    pub fn clear(&mut self) {
        self.entries = None;
    }

    /// Moves every value of `other` in; where both have a type, `other`'s stays.
    pub fn extend(&mut self, mut other: Extensions) {
        let Some(others) = other.entries.take() else { return };
        let entries = self.entries.get_or_insert_default();
        for (id, value) in *others {
            match entries.iter_mut().find(|(known, _)| *known == id) {
                Some(slot) => slot.1 = value,
                None => entries.push((id, value)),
            }
        }
    }
}

/// Says how many values there are: they may be secrets, and most are not `Debug`.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_one_value_of_each_type() {
        let mut extensions = Extensions::new();
        assert_eq!(extensions.insert(1_u32), None);
        assert_eq!(extensions.insert("one"), None);
        assert_eq!(extensions.insert(2_u32), Some(1));
        assert_eq!(extensions.len(), 2);
        *extensions.get_mut::<u32>().unwrap() += 1;
        assert_eq!(extensions.remove::<u32>(), Some(3));
        assert_eq!(extensions.remove::<u32>(), None);
        assert!(extensions.contains::<&str>());
        extensions.clear();
        assert!(extensions.is_empty());
    }

    #[test]
    fn extending_prefers_the_newcomer() {
        let mut first = Extensions::new();
        first.insert(1_u8);
        first.insert('a');
        let mut second = Extensions::new();
        second.insert(2_u8);
        second.insert("b");
        first.extend(second);
        assert_eq!(first.get::<u8>(), Some(&2));
        assert_eq!(first.get::<char>(), Some(&'a'));
        assert_eq!(first.get::<&str>(), Some(&"b"));
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn debug_shows_no_values() {
        let mut extensions = Extensions::new();
        extensions.insert("secret");
        assert_eq!(format!("{extensions:?}"), "Extensions { len: 1 }");
    }
}
