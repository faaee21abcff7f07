//! The corelane command.
