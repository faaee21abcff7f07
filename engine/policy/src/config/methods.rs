//! Which of a service config's entries is for a method.
//!
//! A sorted list in place of a hash map: it is built once for each service config, a client keeps what it found for each
//! method, and a list needs no hasher and no `String` to ask with.
//!
//! Invariant: sorted by service and method, no name twice.

use std::fmt;
use std::sync::Arc;

use super::{MethodConfig, MethodName};

/// What a service config says about methods: exact names before services before the default.
///
/// ```
/// use std::sync::Arc;
/// use corelane_policy::config::{MethodConfig, MethodName, Methods};
///
/// let waits = Arc::new(MethodConfig { wait_for_ready: Some(true), ..MethodConfig::default() });
/// let methods = Methods::new(vec![(MethodName::Service("pkg.Greeter".into()), waits.clone())]).unwrap();
///
/// assert_eq!(methods.get("/pkg.Greeter/SayHello"), Some(&waits));
/// assert_eq!(methods.get("/pkg.Other/SayHello"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Methods(Vec<(MethodName, Arc<MethodConfig>)>);

/// Two entries have the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateName {
    /// The name.
    pub name: MethodName,
    /// Which entry has it, from 0,
    pub first: usize,
    /// and which has it again.
    pub second: usize,
}

impl fmt::Display for DuplicateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DuplicateName { name, first, second } = self;
        write!(f, "entries {first} and {second} are both for {name}: keep one of them")
    }
}

impl std::error::Error for DuplicateName {}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MethodName::Default => f.write_str("the default"),
            MethodName::Service(service) => write!(f, "service {service}"),
            MethodName::Method(service, method) => write!(f, "method {service}/{method}"),
        }
    }
}

impl MethodName {
    /// Service and method; empty where it is for all. An empty name is no other than an absent one (service_config.proto).
    fn key(&self) -> (&str, &str) {
        match self {
            MethodName::Default => ("", ""),
            MethodName::Service(service) => (service, ""),
            MethodName::Method(service, method) => (service, method),
        }
    }
}

impl Methods {
    /// Puts the entries in order.
    ///
    /// # Errors
    ///
    /// When two of them have the same name. A method with an empty name is its service, a service with an empty name the
    /// default.
    pub fn new(entries: Vec<(MethodName, Arc<MethodConfig>)>) -> Result<Methods, DuplicateName> {
        let mut entries: Vec<_> = entries.into_iter().enumerate().collect();
        // Stable, so that of two entries with the same name the first stays the first.
        entries.sort_by(|(_, (a, _)), (_, (b, _))| a.key().cmp(&b.key()));
        let twice = entries.windows(2).find(|pair| pair[0].1.0.key() == pair[1].1.0.key());
        if let Some([(first, _), (second, (name, _))]) = twice {
            return Err(DuplicateName { name: name.clone(), first: *first, second: *second });
        }
        Ok(Methods(entries.into_iter().map(|(_, entry)| entry).collect()))
    }

    /// What is said about the method with this `:path`: about just it, else about its service, else about all.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<MethodConfig>> {
        let (service, method) =
            path.strip_prefix('/').and_then(|name| name.rsplit_once('/')).unwrap_or_default();
        let found = self.position((service, method));
        let found = found.or_else(|_| self.position((service, "")));
        found.or_else(|_| self.position(("", ""))).ok().map(|index| &self.0[index].1)
    }

    /// All entries, sorted by service and method.
    pub fn iter(&self) -> impl Iterator<Item = (&MethodName, &Arc<MethodConfig>)> {
        self.0.iter().map(|(name, config)| (name, config))
    }

    /// How many names something is said about.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is said about any method.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, key: (&str, &str)) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.key().cmp(&key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: MethodName, bytes: u32) -> (MethodName, Arc<MethodConfig>) {
        (name, Arc::new(MethodConfig { max_request_message_bytes: Some(bytes), ..MethodConfig::default() }))
    }

    fn service(name: &str) -> MethodName {
        MethodName::Service(name.to_owned())
    }

    fn method(service: &str, name: &str) -> MethodName {
        MethodName::Method(service.to_owned(), name.to_owned())
    }

    fn found(methods: &Methods, path: &str) -> Option<u32> {
        methods.get(path).and_then(|config| config.max_request_message_bytes)
    }

    #[test]
    fn the_most_exact_entry_counts() {
        let entries = vec![
            entry(MethodName::Default, 1),
            entry(method("a.B", "C"), 3),
            entry(service("a.B"), 2),
            entry(method("a.D", "C"), 4),
        ];
        let methods = Methods::new(entries).unwrap();
        assert_eq!((methods.len(), methods.is_empty()), (4, false));
        for (path, expected) in [
            ("/a.B/C", 3),
            ("/a.B/c", 2),
            ("/a.B/", 2),
            ("/a.D/C", 4),
            ("/a.D/E", 1),
            ("/x/y", 1),
            ("/a.B", 1),
            ("a.B/C", 1),
            ("/a/B/C", 1),
            ("//C", 1),
            ("/", 1),
            ("", 1),
        ] {
            assert_eq!(found(&methods, path), Some(expected), "{path:?}");
        }
    }

    #[test]
    fn without_a_default_nothing_is_said_about_the_rest() {
        let methods = Methods::new(vec![entry(method("a", "b"), 1)]).unwrap();
        assert_eq!(found(&methods, "/a/b"), Some(1));
        assert_eq!(found(&methods, "/a/c"), None);
        assert_eq!(found(&Methods::default(), "/a/c"), None);
    }

    #[test]
    fn a_service_may_have_slashes() {
        let methods = Methods::new(vec![entry(method("a/b", "c"), 1), entry(service("a"), 2)]).unwrap();
        assert_eq!(found(&methods, "/a/b/c"), Some(1));
        assert_eq!(found(&methods, "/a/b"), Some(2));
    }

    #[test]
    fn no_name_is_there_twice() {
        let refused =
            Methods::new(vec![entry(service("b"), 1), entry(service("a"), 1), entry(service("b"), 2)]);
        let expected = DuplicateName { name: service("b"), first: 0, second: 2 };
        assert_eq!(refused.as_ref(), Err(&expected));
        assert_eq!(expected.to_string(), "entries 0 and 2 are both for service b: keep one of them");
        let refused = Methods::new(vec![entry(MethodName::Default, 1), entry(method("", ""), 1)]);
        let text = "entries 0 and 1 are both for method /: keep one of them";
        assert_eq!(refused.unwrap_err().to_string(), text);
    }

    proptest! {
        #[test]
        fn looking_up_is_the_same_as_going_through_all(
            names in prop::collection::btree_set(("[ab]{0,2}", "[ab]{0,2}"), 0..12),
            path in "/[ab]{0,2}/[ab]{0,2}",
        ) {
            let named = names.iter().map(|(s, m)| if m.is_empty() { service(s) } else { method(s, m) });
            let entries: Vec<_> = named.zip(0..).map(|(name, number)| entry(name, number)).collect();
            let (s, m) = path[1..].split_once('/').unwrap();
            let wanted = [(s, m), (s, ""), ("", "")];
            let expected = wanted.into_iter().find_map(|key| {
                entries.iter().find(|(name, _)| name.key() == key).map(|(_, config)| config.clone())
            });
            let methods = Methods::new(entries).unwrap();
            prop_assert_eq!(methods.get(&path).cloned(), expected);
        }
    }
}
