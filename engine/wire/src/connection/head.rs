//! Which header lists are well-formed messages (RFC 9113 sections 8.2 and 8.3). A malformed one is a stream error.

use super::streams::Content;
use crate::field::{Field, FieldList, Name};

/// The list is malformed: RST_STREAM with PROTOCOL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What the connection itself needs to know of a message's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The body as it was announced.
    pub(super) content: Content,
    /// A response's status; zero for a request.
    pub(super) status: u16,
}

/// The pseudo-header fields that were seen, one bit each.
#[derive(Clone, Copy, Default)]
struct Seen(u8);

impl Seen {
    const METHOD: u8 = 1;
    const SCHEME: u8 = 2;
    const PATH: u8 = 4;
    const AUTHORITY: u8 = 8;
    const STATUS: u8 = 16;
    const REGULAR: u8 = 32;

    #[inline]
    fn add(&mut self, bit: u8) -> Result<(), Malformed> {
        // A pseudo-header field occurs once, and before all regular fields.
        if self.0 & (bit | Seen::REGULAR) != 0 {
            return Err(Malformed);
        }
        self.0 |= bit;
        Ok(())
    }
}

/// Checks a request's head.
pub(super) fn request(fields: &FieldList) -> Result<Head, Malformed> {
    if fields.is_malformed() {
        return Err(Malformed);
    }
    let mut seen = Seen::default();
    let mut content_length = None;
    let mut authority: &[u8] = b"";
    let mut connect = false;
    for field in fields.iter() {
        match field.known {
            Name::Method => {
                seen.add(Seen::METHOD)?;
                connect = field.value == b"CONNECT";
            }
            Name::Scheme => seen.add(Seen::SCHEME)?,
            Name::Path => {
                seen.add(Seen::PATH)?;
                // Without the leading slash, authorization by path could be passed by (CVE-2026-33186).
                if field.value.first() != Some(&b'/') && field.value != b"*" {
                    return Err(Malformed);
                }
            }
            Name::Authority => {
                seen.add(Seen::AUTHORITY)?;
                authority = field.value;
            }
            Name::Host if seen.0 & Seen::AUTHORITY != 0 && field.value != authority => return Err(Malformed),
            _ => {
                seen.0 |= Seen::REGULAR;
                regular(&field, &mut content_length)?;
            }
        }
    }
    let needed =
        if connect { Seen::METHOD | Seen::AUTHORITY } else { Seen::METHOD | Seen::SCHEME | Seen::PATH };
    let allowed = needed | Seen::AUTHORITY | Seen::REGULAR;
    if seen.0 & needed != needed || seen.0 & !allowed != 0 {
        return Err(Malformed);
    }
    Ok(Head { content: Content::announced(content_length), status: 0 })
}

/// Checks a response's head, an informational one included.
pub(super) fn response(fields: &FieldList) -> Result<Head, Malformed> {
    if fields.is_malformed() {
        return Err(Malformed);
    }
    let mut seen = Seen::default();
    let mut content_length = None;
    let mut status = 0;
    for field in fields.iter() {
        if field.known == Name::Status {
            seen.add(Seen::STATUS)?;
            status = status_code(field.value)?;
        } else {
            seen.0 |= Seen::REGULAR;
            regular(&field, &mut content_length)?;
        }
    }
    if status == 0 {
        return Err(Malformed);
    }
    Ok(Head { content: Content::announced(content_length), status })
}

/// Checks trailers: no pseudo-header fields.
pub(super) fn trailers(fields: &FieldList) -> Result<(), Malformed> {
    if fields.is_malformed() {
        return Err(Malformed);
    }
    fields.iter().try_for_each(|field| regular(&field, &mut None))
}

fn status_code(value: &[u8]) -> Result<u16, Malformed> {
    match value {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => Err(Malformed),
    }
}

/// Checks one regular field: section 8.2.2 (connection-specific fields) and the content's length.
fn regular(field: &Field<'_>, content_length: &mut Option<u64>) -> Result<(), Malformed> {
    match field.known {
        Name::Connection
        | Name::KeepAlive
        | Name::ProxyConnection
        | Name::TransferEncoding
        | Name::Upgrade => Err(Malformed),
        Name::Te if field.value != b"trailers" => Err(Malformed),
        Name::ContentLength => {
            let length = decimal(field.value)?;
            if content_length.is_some_and(|known| known != length) {
                return Err(Malformed);
            }
            *content_length = Some(length);
            Ok(())
        }
        known if known.is_pseudo() => Err(Malformed),
        _ => Ok(()),
    }
}

fn decimal(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() {
        return Err(Malformed);
    }
    value.iter().try_fold(0u64, |sum, digit| {
        let digit = match digit {
            b'0'..=b'9' => u64::from(digit - b'0'),
            _ => return Err(Malformed),
        };
        sum.checked_mul(10).and_then(|sum| sum.checked_add(digit)).ok_or(Malformed)
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn list(fields: &[(&str, &str)]) -> FieldList {
        let mut list = FieldList::new();
        for (name, value) in fields {
            list.push(name.as_bytes(), value.as_bytes());
        }
        list
    }

    const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":path", "/")];

    #[test]
    fn requests_need_their_three_fields_once_and_first() {
        assert_eq!(request(&list(&GET)), Ok(Head { content: Content::UNKNOWN, status: 0 }));
        for missing in GET {
            let rest: Vec<_> = GET.into_iter().filter(|field| *field != missing).collect();
            assert_eq!(request(&list(&rest)), Err(Malformed), "without {missing:?}");
        }
        for twice in GET {
            assert_eq!(request(&list(&[&GET[..], &[twice]].concat())), Err(Malformed));
        }
        let late = [GET[0], ("x", "y"), GET[1], GET[2]];
        assert_eq!(request(&list(&late)), Err(Malformed));
    }

    #[test]
    fn connection_specific_fields_and_odd_paths_are_malformed() {
        for bad in [
            ("connection", "keep-alive"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("content-length", "-1"),
            ("content-length", ""),
            ("content-length", "99999999999999999999"),
            (":status", "200"),
            (":unknown", "x"),
            ("Upper", "x"),
        ] {
            assert_eq!(request(&list(&[&GET[..], &[bad]].concat())), Err(Malformed), "{bad:?}");
        }
        for path in ["", "a.B/C"] {
            assert_eq!(request(&list(&[GET[0], GET[1], (":path", path)])), Err(Malformed), "{path:?}");
        }
        let fine = [&GET[..], &[("te", "trailers"), ("content-length", "12")]].concat();
        assert_eq!(request(&list(&fine)), Ok(Head { content: Content::announced(Some(12)), status: 0 }));
    }

    #[test]
    fn the_host_field_may_not_contradict_the_authority() {
        let with = |host| [&GET[..], &[(":authority", "a"), ("host", host)]].concat();
        assert!(request(&list(&with("a"))).is_ok());
        assert_eq!(request(&list(&with("b"))), Err(Malformed));
    }

    #[test]
    fn connect_has_an_authority_and_neither_scheme_nor_path() {
        assert!(request(&list(&[(":method", "CONNECT"), (":authority", "a:1")])).is_ok());
        assert_eq!(request(&list(&[(":method", "CONNECT")])), Err(Malformed));
        let with_path = [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")];
        assert_eq!(request(&list(&with_path)), Err(Malformed));
    }

    #[test]
    fn responses_have_one_three_digit_status() {
        assert_eq!(response(&list(&[(":status", "204")])).map(|head| head.status), Ok(204));
        for bad in ["", "20", "2000", "abc", "099"] {
            assert_eq!(response(&list(&[(":status", bad)])), Err(Malformed), "{bad:?}");
        }
        assert_eq!(response(&list(&[("x", "y")])), Err(Malformed));
        assert_eq!(response(&list(&[(":status", "200"), (":path", "/")])), Err(Malformed));
        assert_eq!(trailers(&list(&[(":status", "200")])), Err(Malformed));
        assert_eq!(trailers(&list(&[("grpc-status", "0")])), Ok(()));
    }
}
