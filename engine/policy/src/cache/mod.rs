//! Responses of idempotent calls that are kept for a while.
