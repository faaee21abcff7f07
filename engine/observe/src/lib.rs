//! Per-worker counters, summed by their reader, and redaction.
