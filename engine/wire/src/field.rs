//! Header fields: the list that HPACK reads and writes.

/// A well-known field name (placeholder).
pub struct Name;
/// One field (placeholder).
pub struct Field;
/// A list of fields (placeholder).
pub struct FieldList;
