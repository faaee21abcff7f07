//! HPACK (RFC 7541), both ways.
