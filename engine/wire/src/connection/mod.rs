//! One HTTP/2 connection as a value.
