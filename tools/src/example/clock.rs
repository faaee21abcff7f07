//! The time of day, as messages carry it.

use std::time::SystemTime;

use corelane::prost_types::Timestamp;

pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
