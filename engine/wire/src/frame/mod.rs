//! Frames of RFC 9113, parsed and written side by side.
