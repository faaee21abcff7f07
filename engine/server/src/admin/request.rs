//! The head of a request, as far as the admin port cares (RFC 9112, section 3 and 5).
//!
//! Does not: read bodies, decode percent signs, or forgive: a line that does not end in CRLF, a target that is no path and a field
//! without a name are errors, so that no two readers see two requests in one.

/// Octets of a head, at most. A browser's is about one KiB.
pub(crate) const HEAD_MAX: usize = 8 * 1024;

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Tell something.
    Get,
    /// Change something.
    Post,
    /// Neither.
    Other,
}

/// Whether a web page has sent the request, as its `Origin` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A page: somebody else's, since we have none.
    Page,
    /// Anything else.
    Program,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// What stands behind the question mark; empty without one.
    pub(crate) query: &'a str,
    pub(crate) sender: Sender,
}

/// Why a head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The first line is not a method, a path and a version.
    Line,
    /// Another version of HTTP than 1.0 or 1.1.
    Version,
    /// A field is not a name, a colon and a value.
    Field,
}

impl Malformed {
    /// What is wrong.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Malformed::Line => "the request line is not a method, a path and a version",
            Malformed::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Malformed::Field => "a header field is not a name, a colon and a value",
        }
    }
}

/// Where the head ends, if its end is there.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END.len()).position(|window| window == END).map(|at| at + END.len())
}

/// Reads a head, its end included.
///
/// # Errors
/// [`Malformed`] says which part is not as it should be.
pub(crate) fn parse(head: &[u8]) -> Result<Request<'_>, Malformed> {
    let text = std::str::from_utf8(head).map_err(|_| Malformed::Line)?;
    let text = text.strip_suffix("\r\n\r\n").ok_or(Malformed::Line)?;
    let mut lines = text.split("\r\n");
    let line = lines.next().ok_or(Malformed::Line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed::Line);
    };
    if !is_token(method) || !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed::Line);
    }
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(Malformed::Version);
    }
    let mut sender = Sender::Program;
    for field in lines {
        let (name, value) = field.split_once(':').ok_or(Malformed::Field)?;
        if !is_token(name) || value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(Malformed::Field);
        }
        if name.eq_ignore_ascii_case("origin") {
            sender = Sender::Page;
        }
    }
    let method = match method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        _ => Method::Other,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Request { method, path, query, sender })
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_head_is_cut_into_what_matters() {
        let head = b"POST /profile?on HTTP/1.1\r\nHost: a:1\r\nORIGIN: http://b\r\n\r\n";
        assert_eq!(head_len(head), Some(head.len()));
        let request = Request { method: Method::Post, path: "/profile", query: "on", sender: Sender::Page };
        assert_eq!(parse(head), Ok(request));
        let request = Request { method: Method::Other, path: "/", query: "", sender: Sender::Program };
        assert_eq!(parse(b"BREW / HTTP/1.0\r\n\r\n"), Ok(request));
    }

    #[test]
    fn what_is_not_a_head_is_told_by_its_part() {
        for (head, expected) in [
            ("", Malformed::Line),
            ("\r\n\r\n", Malformed::Line),
            ("GET / HTTP/1.1", Malformed::Line),
            ("GET /\r\n\r\n", Malformed::Line),
            ("GET  / HTTP/1.1\r\n\r\n", Malformed::Line),
            ("GET / HTTP/1.1 \r\n\r\n", Malformed::Line),
            ("GET http://a/ HTTP/1.1\r\n\r\n", Malformed::Line),
            ("GET /\u{1} HTTP/1.1\r\n\r\n", Malformed::Line),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", Malformed::Line),
            ("G(T / HTTP/1.1\r\n\r\n", Malformed::Line),
            ("PRI * HTTP/2.0\r\n\r\n", Malformed::Line),
            ("GET / HTTP/2.0\r\n\r\n", Malformed::Version),
            ("GET / HTTP/1.1\r\nhost\r\n\r\n", Malformed::Field),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", Malformed::Field),
            ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", Malformed::Field),
            ("GET / HTTP/1.1\r\n folded: a\r\n\r\n", Malformed::Field),
            ("GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n", Malformed::Field),
            ("GET / HTTP/1.1\r\na: \u{0}\r\n\r\n", Malformed::Field),
        ] {
            assert_eq!(parse(head.as_bytes()), Err(expected), "{head:?}");
        }
        assert_eq!(parse(b"GET /\xff HTTP/1.1\r\n\r\n"), Err(Malformed::Line));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (head_len(&bytes), parse(&bytes));
        }

        #[test]
        fn no_text_that_ends_like_a_head_makes_it_panic(text in "[ -~\r\n\u{e9}]{0,60}") {
            let _ = parse(format!("GET /{text} HTTP/1.1\r\n{text}:{text}\r\n\r\n").as_bytes());
        }
    }
}
