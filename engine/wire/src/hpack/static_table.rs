//! The static table (RFC 7541, appendix A), by index and by name.
//!
//! Its entries have the shape of the dynamic table's: what a field list stores of the field, and what is known of it.

use super::dynamic_table::Row;
use crate::field::{Entry, Marks, Name};

/// How many entries there are; their indices start at one.
pub(super) const LEN: usize = 61;

const fn known(name: Name, value: &'static [u8]) -> Row<'static> {
    row(name, name.as_bytes().len(), value)
}

/// A field whose name is none of the well-known ones: a list stores the name in front of the value.
const fn other(name: &'static [u8], stored: &'static [u8]) -> Row<'static> {
    row(Name::Other, name.len(), stored)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "`try_from` is not const, and the longest name has 27 octets"
)]
const fn row(known: Name, name_len: usize, stored: &'static [u8]) -> Row<'static> {
    let value_len = if known.is_known() { stored.len() } else { stored.len() - name_len };
    let entry =
        Entry { start: 0, name_len: name_len as u32, value_len: value_len as u32, known, marks: Marks::NONE };
    Row { entry, stored }
}

/// The entries, the one of index 1 first.
pub(super) static TABLE: [Row<'static>; LEN] = [
    known(Name::Authority, b""),
    known(Name::Method, b"GET"),
    known(Name::Method, b"POST"),
    known(Name::Path, b"/"),
    known(Name::Path, b"/index.html"),
    known(Name::Scheme, b"http"),
    known(Name::Scheme, b"https"),
    known(Name::Status, b"200"),
    known(Name::Status, b"204"),
    known(Name::Status, b"206"),
    known(Name::Status, b"304"),
    known(Name::Status, b"400"),
    known(Name::Status, b"404"),
    known(Name::Status, b"500"),
    other(b"accept-charset", b"accept-charset"),
    other(b"accept-encoding", b"accept-encodinggzip, deflate"),
    other(b"accept-language", b"accept-language"),
    other(b"accept-ranges", b"accept-ranges"),
    other(b"accept", b"accept"),
    other(b"access-control-allow-origin", b"access-control-allow-origin"),
    other(b"age", b"age"),
    other(b"allow", b"allow"),
    other(b"authorization", b"authorization"),
    other(b"cache-control", b"cache-control"),
    other(b"content-disposition", b"content-disposition"),
    other(b"content-encoding", b"content-encoding"),
    other(b"content-language", b"content-language"),
    known(Name::ContentLength, b""),
    other(b"content-location", b"content-location"),
    other(b"content-range", b"content-range"),
    known(Name::ContentType, b""),
    known(Name::Cookie, b""),
    other(b"date", b"date"),
    other(b"etag", b"etag"),
    other(b"expect", b"expect"),
    other(b"expires", b"expires"),
    other(b"from", b"from"),
    known(Name::Host, b""),
    other(b"if-match", b"if-match"),
    other(b"if-modified-since", b"if-modified-since"),
    other(b"if-none-match", b"if-none-match"),
    other(b"if-range", b"if-range"),
    other(b"if-unmodified-since", b"if-unmodified-since"),
    other(b"last-modified", b"last-modified"),
    other(b"link", b"link"),
    other(b"location", b"location"),
    other(b"max-forwards", b"max-forwards"),
    other(b"proxy-authenticate", b"proxy-authenticate"),
    other(b"proxy-authorization", b"proxy-authorization"),
    other(b"range", b"range"),
    other(b"referer", b"referer"),
    other(b"refresh", b"refresh"),
    other(b"retry-after", b"retry-after"),
    other(b"server", b"server"),
    other(b"set-cookie", b"set-cookie"),
    other(b"strict-transport-security", b"strict-transport-security"),
    known(Name::TransferEncoding, b""),
    known(Name::UserAgent, b""),
    other(b"vary", b"vary"),
    other(b"via", b"via"),
    other(b"www-authenticate", b"www-authenticate"),
];

/// The index of a field that stands here with its value.
#[inline]
pub(super) fn field_index(known: Name, name: &[u8], value: &[u8]) -> Option<usize> {
    let index = match (known, value) {
        (Name::Method, b"GET") => 2,
        (Name::Method, b"POST") => 3,
        (Name::Path, b"/") => 4,
        (Name::Path, b"/index.html") => 5,
        (Name::Scheme, b"http") => 6,
        (Name::Scheme, b"https") => 7,
        (Name::Status, b"200") => 8,
        (Name::Status, b"204") => 9,
        (Name::Status, b"206") => 10,
        (Name::Status, b"304") => 11,
        (Name::Status, b"400") => 12,
        (Name::Status, b"404") => 13,
        (Name::Status, b"500") => 14,
        (Name::Other, b"gzip, deflate") if name == b"accept-encoding" => 16,
        _ => return None,
    };
    Some(index)
}

/// The lowest index of a field of this name.
#[inline]
pub(super) fn name_index(known: Name, name: &[u8]) -> Option<usize> {
    let index = match known {
        Name::Authority => 1,
        Name::Method => 2,
        Name::Path => 4,
        Name::Scheme => 6,
        Name::Status => 8,
        Name::ContentLength => 28,
        Name::ContentType => 31,
        Name::Cookie => 32,
        Name::Host => 38,
        Name::TransferEncoding => 57,
        Name::UserAgent => 58,
        Name::Other => return other_name_index(name),
        _ => return None,
    };
    Some(index)
}

fn other_name_index(name: &[u8]) -> Option<usize> {
    let index = match name {
        b"accept-charset" => 15,
        b"accept-encoding" => 16,
        b"accept-language" => 17,
        b"accept-ranges" => 18,
        b"accept" => 19,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"authorization" => 23,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-location" => 29,
        b"content-range" => 30,
        b"date" => 33,
        b"etag" => 34,
        b"expect" => 35,
        b"expires" => 36,
        b"from" => 37,
        b"if-match" => 39,
        b"if-modified-since" => 40,
        b"if-none-match" => 41,
        b"if-range" => 42,
        b"if-unmodified-since" => 43,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"max-forwards" => 47,
        b"proxy-authenticate" => 48,
        b"proxy-authorization" => 49,
        b"range" => 50,
        b"referer" => 51,
        b"refresh" => 52,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => return None,
    };
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_name_and_by_value() {
        let mut name_before: &[u8] = b"";
        let mut first = 0;
        for (at, row) in TABLE.iter().enumerate() {
            let (index, field) = (at + 1, row.field());
            assert_eq!(field.known, Name::of(field.name), "{field:?}");
            assert_eq!(row.entry.stored(), row.stored.len());
            assert_eq!(Marks::of_name(field.name, field.known), Marks::NONE);
            if field.name != name_before {
                (name_before, first) = (field.name, index);
            }
            assert_eq!(name_index(field.known, field.name), Some(first));
            let by_value = if field.value.is_empty() { None } else { Some(index) };
            assert_eq!(field_index(field.known, field.name, field.value), by_value);
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(name_index(Name::Te, b"te"), None);
        assert_eq!(name_index(Name::Other, b"x-none"), None);
        assert_eq!(name_index(Name::OtherPseudo, b":none"), None);
        assert_eq!(field_index(Name::Status, b":status", b"201"), None);
        assert_eq!(field_index(Name::Other, b"x-none", b"gzip, deflate"), None);
    }
}
