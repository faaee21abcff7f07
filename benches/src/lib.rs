//! Benches of every layer, and the peer that speed comparisons drive.
