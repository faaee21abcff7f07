//! Links wire without std: the proof of its no_std claim.
