//! Metadata: what callers and handlers say to each other beside the messages (PROTOCOL-HTTP2.md, "Custom-Metadata").
//!
//! It is the header list itself, as HPACK made it: nothing is copied from one map to another. Names that belong to HTTP/2 or
//! to gRPC are hidden and cannot be set. Does not: compress, or know which fields a request must have.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::Status;
use super::base64::{self, InvalidBase64};
use crate::field::{Field, FieldList, Name};

/// Ends the names whose values are octets.
const BINARY_SUFFIX: &[u8] = b"-bin";

/// A multimap of metadata, in the order of insertion. Names are in lower case, but looked up in any; those that end in
/// `-bin` have binary values.
///
/// An empty one owns no memory.
///
/// ```
/// use corelane_wire::grpc::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.insert("x-tenant", "blue")?;
/// metadata.append_bin("x-trace-bin", &[1, 2, 255])?;
/// assert_eq!(metadata.get("x-tenant"), Some("blue"));
/// assert_eq!(metadata.get_bin("x-trace-bin"), Some(Ok(vec![1, 2, 255])));
/// assert!(metadata.insert("grpc-status", "0").is_err());
/// # Ok::<(), corelane_wire::grpc::InvalidMetadata>(())
/// ```
#[derive(Clone, Default)]
pub struct Metadata(Option<Arc<FieldList>>);

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataValue<'a> {
    /// Text.
    Ascii(&'a str),
    /// Octets.
    Binary(Vec<u8>),
    /// What is neither: a value that is not ASCII, or a binary one that is not base64; as it came.
    Malformed(&'a [u8]),
}

/// A name or a value that metadata cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidMetadata {
    /// Names have digits, lower-case letters, `_`, `-` and `.`.
    Name(String),
    /// The name belongs to HTTP/2 or to gRPC.
    Reserved(String),
    /// The value has other characters than printable ASCII, or blanks at an end.
    Value(String),
    /// A binary value needs a name that ends in `-bin`, and a text one that does not.
    Kind(String),
}

impl fmt::Display for InvalidMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidMetadata::Name(name) => {
                write!(f, "metadata name {name:?}: only a-z, 0-9, '_', '-' and '.' are allowed")
            }
            InvalidMetadata::Reserved(name) => {
                write!(f, "metadata name {name:?} is reserved for the protocol")
            }
            InvalidMetadata::Value(name) => {
                write!(
                    f,
                    "metadata {name:?}: the value must be printable ASCII; use a name ending in -bin for octets"
                )
            }
            InvalidMetadata::Kind(name) => {
                write!(f, "metadata {name:?}: octets need a name ending in -bin, and text one that does not")
            }
        }
    }
}

impl core::error::Error for InvalidMetadata {}

/// A mistake of the program's own: INTERNAL. So that a handler can set metadata with `?`.
impl From<InvalidMetadata> for Status {
    fn from(error: InvalidMetadata) -> Status {
        Status::internal(alloc::format!("{error}"))
    }
}

impl Metadata {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Metadata {
        Metadata(None)
    }

    /// Takes a header list over as it is; fields that are the protocol's own are hidden.
    #[must_use]
    pub fn from_fields(fields: FieldList) -> Metadata {
        let any = fields.iter().any(|field| is_visible(&field));
        Metadata(any.then(|| Arc::new(fields)))
    }

    /// Copies what is not hidden out of a header list, which stays where it is; nothing is allocated if all of it is hidden.
    #[must_use]
    pub fn copy_of(fields: &FieldList) -> Metadata {
        let mut copy = Metadata::new();
        fields.iter().filter(is_visible).for_each(|field| push_field(copy.list(), field));
        copy
    }

    /// The list with the hidden fields, to be used again.
    #[must_use]
    pub fn into_fields(self) -> FieldList {
        self.0.map_or_else(FieldList::new, Arc::unwrap_or_clone)
    }

    /// Takes a header list over that others may have too, even if all of it is hidden: [`Metadata::into_shared`] gives it back, so
    /// that who reads many heads allocates for none of them. A change is made to a copy, as long as others have the list.
    #[inline]
    #[must_use]
    pub const fn from_shared(fields: Arc<FieldList>) -> Metadata {
        Metadata(Some(fields))
    }

    /// The list with the hidden fields, to be used again once nobody else has it.
    #[inline]
    #[must_use]
    pub fn into_shared(self) -> Option<Arc<FieldList>> {
        self.0
    }

    /// The list, to change it.
    fn list(&mut self) -> &mut FieldList {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    fn visible(&self) -> impl DoubleEndedIterator<Item = Field<'_>> {
        self.0.iter().flat_map(|fields| fields.iter()).filter(is_visible)
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.visible().count()
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none() || self.visible().next().is_none()
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Sets a text value; other values of the name are removed.
    ///
    /// # Errors
    /// A name or value that is not allowed.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), InvalidMetadata> {
        check_text(name, value)?;
        self.remove(name);
        self.push(name, value.as_bytes());
        Ok(())
    }

    /// Adds a text value.
    ///
    /// # Errors
    /// A name or value that is not allowed.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), InvalidMetadata> {
        check_text(name, value)?;
        self.push(name, value.as_bytes());
        Ok(())
    }

    /// Sets a binary value; other values of the name are removed.
    ///
    /// # Errors
    /// A name that is not allowed, or does not end in `-bin`.
    pub fn insert_bin(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidMetadata> {
        check_binary(name)?;
        self.remove(name);
        self.push(name, base64::encode(value).as_bytes());
        Ok(())
    }

    /// Adds a binary value.
    ///
    /// # Errors
    /// A name that is not allowed, or does not end in `-bin`.
    pub fn append_bin(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidMetadata> {
        check_binary(name)?;
        self.push(name, base64::encode(value).as_bytes());
        Ok(())
    }

    fn push(&mut self, name: &str, value: &[u8]) {
        self.list().push(name.as_bytes(), value);
    }

    /// The first value of a name, if it is text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytes(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The first value of a name, as it came.
    #[must_use]
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The first binary value of a name.
    #[must_use]
    pub fn get_bin(&self, name: &str) -> Option<Result<Vec<u8>, InvalidBase64>> {
        self.get_all_bin(name).next()
    }

    /// All text values of a name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(name).filter_map(|value| core::str::from_utf8(value).ok())
    }

    /// All binary values of a name; several may come in one field, separated by commas.
    pub fn get_all_bin<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = Result<Vec<u8>, InvalidBase64>> + 'a {
        self.values(name).flat_map(split_binary).map(base64::decode)
    }

    fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let named = move |field: &Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        self.visible().filter(named).map(|field| field.value)
    }

    /// Whether there is a value of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Removes all values of a name, and says how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let found = self.contains(name);
        match &mut self.0 {
            Some(fields) if found => {
                let fields = Arc::make_mut(fields);
                let before = fields.len();
                fields
                    .retain(|field| !is_visible(&field) || !field.name.eq_ignore_ascii_case(name.as_bytes()));
                before - fields.len()
            }
            _ => 0,
        }
    }

    /// All names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, MetadataValue<'_>)> {
        self.visible().flat_map(|field| {
            let name = core::str::from_utf8(field.name).unwrap_or("");
            let binary = name.as_bytes().ends_with(BINARY_SUFFIX);
            let pieces = if binary { Some(split_binary(field.value)) } else { None };
            let text = (!binary).then_some(field.value);
            let text = text.into_iter().map(|value| match core::str::from_utf8(value) {
                Ok(text) => MetadataValue::Ascii(text),
                Err(_) => MetadataValue::Malformed(value),
            });
            let octets = pieces.into_iter().flatten().map(|piece| match base64::decode(piece) {
                Ok(octets) => MetadataValue::Binary(octets),
                Err(InvalidBase64) => MetadataValue::Malformed(piece),
            });
            text.chain(octets).map(move |value| (name, value))
        })
    }

    /// Adds everything to a header list, as it goes over the wire.
    pub fn append_to(&self, fields: &mut FieldList) {
        self.visible().for_each(|field| push_field(fields, field));
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Metadata) {
        if !other.is_empty() {
            other.append_to(self.list());
        }
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Metadata) -> bool {
        self.visible()
            .map(|field| (field.name, field.value))
            .eq(other.visible().map(|field| (field.name, field.value)))
    }
}

impl Eq for Metadata {}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.visible()).finish()
    }
}

fn push_field(fields: &mut FieldList, field: Field<'_>) {
    if field.sensitive {
        fields.push_sensitive(field.name, field.value);
    } else {
        fields.push(field.name, field.value);
    }
}

fn split_binary(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii)
}

/// Whether a field is the callers' own.
fn is_visible(field: &Field<'_>) -> bool {
    !is_reserved(field.known, field.name)
}

fn is_reserved(known: Name, name: &[u8]) -> bool {
    match known {
        Name::Other => name.starts_with(b"grpc-") && !is_open_to_users(name),
        Name::UserAgent | Name::Cookie | Name::Host => false,
        Name::GrpcPreviousRpcAttempts | Name::GrpcRetryPushbackMs => false,
        _ => true,
    }
}

/// Names under gRPC's prefix that are handed through: tracing, and what tests of the protocol echo.
fn is_open_to_users(name: &[u8]) -> bool {
    [&b"grpc-trace-bin"[..], b"grpc-tags-bin"].contains(&name)
}

fn check_name(name: &str) -> Result<(), InvalidMetadata> {
    let legal = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
    if name.starts_with(':') || is_reserved(Name::of(name.as_bytes()), name.as_bytes()) {
        return Err(InvalidMetadata::Reserved(name.into()));
    }
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(InvalidMetadata::Name(name.into()));
    }
    Ok(())
}

fn check_text(name: &str, value: &str) -> Result<(), InvalidMetadata> {
    check_name(name)?;
    if name.as_bytes().ends_with(BINARY_SUFFIX) {
        return Err(InvalidMetadata::Kind(name.into()));
    }
    let printable = value.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    if !printable || value.trim().len() != value.len() {
        return Err(InvalidMetadata::Value(name.into()));
    }
    Ok(())
}

fn check_binary(name: &str) -> Result<(), InvalidMetadata> {
    check_name(name)?;
    if name.as_bytes().ends_with(BINARY_SUFFIX) { Ok(()) } else { Err(InvalidMetadata::Kind(name.into())) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_comes_back_with_what_is_hidden() {
        let fields = Arc::new(FieldList::from_iter([("te", "trailers")]));
        let metadata = Metadata::from_shared(fields.clone());
        assert!(metadata.is_empty(), "what is hidden does not count");
        assert!(metadata.into_shared().is_some_and(|shared| Arc::ptr_eq(&shared, &fields)));
        assert_eq!(Metadata::new().into_shared(), None);
    }

    #[test]
    fn a_change_leaves_a_shared_list_as_it_is() {
        let fields = Arc::new(FieldList::from_iter([("te", "trailers"), ("x-a", "1")]));
        let [mut more, mut less] = [(); 2].map(|()| Metadata::from_shared(fields.clone()));
        more.append("x-a", "2").unwrap();
        assert_eq!(less.remove("x-a"), 1);
        assert_eq!((more.len(), less.len()), (2, 0));
        assert_eq!((fields.len(), fields.get(b"x-a")), (2, Some(&b"1"[..])));
    }

    #[test]
    fn the_protocols_own_fields_are_hidden() {
        let mut fields = FieldList::new();
        for (name, value) in [
            (":path", "/a/b"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", "1S"),
            ("grpc-anything", "x"),
            ("user-agent", "test"),
            ("x-a", "1"),
            ("grpc-trace-bin", "AQI"),
        ] {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        let metadata = Metadata::from_fields(fields);
        let expected = [
            ("user-agent", MetadataValue::Ascii("test")),
            ("x-a", MetadataValue::Ascii("1")),
            ("grpc-trace-bin", MetadataValue::Binary(vec![1, 2])),
        ];
        assert!(metadata.iter().eq(expected));
        assert_eq!((metadata.len(), metadata.get("content-type")), (3, None));
        let copy = Metadata::copy_of(&metadata.clone().into_fields());
        assert_eq!(copy, metadata);
        let mut sent = FieldList::new();
        metadata.append_to(&mut sent);
        assert_eq!(copy.into_fields(), sent);
        assert_eq!((sent.len(), metadata.into_fields().len()), (3, 8));
    }

    #[test]
    fn a_list_with_nothing_to_show_owns_nothing() {
        let mut fields = FieldList::new();
        fields.push(b":path", b"/");
        assert!(Metadata::copy_of(&fields).0.is_none());
        assert!(Metadata::from_fields(fields).0.is_none());
    }

    #[test]
    fn what_is_not_allowed_says_why() {
        let mut metadata = Metadata::new();
        let name = |name: &str| InvalidMetadata::Name(name.into());
        let reserved = |name: &str| InvalidMetadata::Reserved(name.into());
        for (bad, why) in [
            ("", name("")),
            ("Upper", name("Upper")),
            ("a b", name("a b")),
            (":path", reserved(":path")),
            ("te", reserved("te")),
            ("grpc-status", reserved("grpc-status")),
            ("connection", reserved("connection")),
            ("a-bin", InvalidMetadata::Kind("a-bin".into())),
        ] {
            assert_eq!(metadata.insert(bad, "x"), Err(why));
        }
        for value in ["\n", "é", " a", "a "] {
            assert_eq!(metadata.append("a", value), Err(InvalidMetadata::Value("a".into())), "{value:?}");
        }
        assert_eq!(metadata.insert_bin("a", b""), Err(InvalidMetadata::Kind("a".into())));
        assert!(metadata.is_empty());
    }

    #[test]
    fn names_are_looked_up_in_any_case() {
        let mut metadata = Metadata::new();
        metadata.insert("x-a", "1").unwrap();
        metadata.insert_bin("x-b-bin", &[1]).unwrap();
        assert_eq!((metadata.get("X-A"), metadata.contains("x-B-Bin")), (Some("1"), true));
        assert_eq!(metadata.get_bin("X-B-BIN"), Some(Ok(vec![1])));
        assert_eq!((metadata.remove("X-a"), metadata.len()), (1, 1));
    }

    #[test]
    fn hidden_fields_cannot_be_removed() {
        let fields: FieldList = [("grpc-timeout", "1S"), (":path", "/"), ("x", "1")].into_iter().collect();
        let mut metadata = Metadata::from_fields(fields);
        assert_eq!(metadata.remove("grpc-timeout") + metadata.remove(":path"), 0);
        assert_eq!((metadata.remove("x"), metadata.into_fields().len()), (1, 2));
    }

    #[test]
    fn sensitive_fields_stay_so_and_are_not_shown() {
        let mut fields = FieldList::new();
        fields.push_sensitive(b"x-key", b"hidden");
        let mut metadata = Metadata::new();
        metadata.merge(&Metadata::from_fields(fields));
        assert_eq!(alloc::format!("{metadata:?}"), "[x-key: [redacted]]");
        assert_eq!(metadata.into_fields().at(0).map(|field| field.sensitive), Some(true));
    }

    #[test]
    fn a_mistake_with_metadata_is_an_internal_status() {
        let status = Status::from(Metadata::new().insert("te", "x").unwrap_err());
        assert_eq!(status, Status::internal("metadata name \"te\" is reserved for the protocol"));
    }

    #[test]
    fn binary_values_may_be_padded_and_joined() {
        let mut fields = FieldList::new();
        fields.push(b"a-bin", b"AQI=,AQI, !");
        fields.push(b"a-bin", b"");
        let metadata = Metadata::from_fields(fields);
        let values: Vec<_> = metadata.get_all_bin("a-bin").collect();
        assert_eq!(values, [Ok(vec![1, 2]), Ok(vec![1, 2]), Err(InvalidBase64), Ok(vec![])]);
        assert_eq!(metadata.iter().count(), 4);
    }

    proptest! {
        #[test]
        fn behaves_like_a_multimap(steps in proptest::collection::vec((0usize..4, "[a-c]", "[a-z]{0,3}"), 0..40)) {
            let mut metadata = Metadata::new();
            let mut model: Vec<(String, String)> = Vec::new();
            for (action, name, value) in steps {
                match action {
                    0 => {
                        model.retain(|entry| entry.0 != name);
                        model.push((name.clone(), value.clone()));
                        metadata.insert(&name, &value).unwrap();
                    }
                    1 => {
                        let before = model.len();
                        model.retain(|entry| entry.0 != name);
                        prop_assert_eq!(metadata.remove(&name), before - model.len());
                    }
                    _ => {
                        model.push((name.clone(), value.clone()));
                        metadata.append(&name, &value).unwrap();
                    }
                }
                prop_assert!(metadata.get_all(&name).eq(model.iter().filter(|it| it.0 == name).map(|it| &it.1[..])));
                prop_assert_eq!(metadata.len(), model.len());
            }
        }
    }
}
