//! The clocks of this machine: read here and handed down.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

use scheduler::machine::Millis;
use scheduler::runner::clock::BootMs;

use crate::store::UnixMs;

/// The boot-time clock, which goes on while the machine sleeps and which nobody sets.
pub fn boot_now() -> Millis {
    Millis(BootMs::now().0)
}

/// The wall clock; shown to people and used for expiry, never for leases.
pub fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// RFC 3339 in UTC with milliseconds.
pub fn rfc3339(at: UnixMs) -> String {
    let nanos = i128::from(at.0) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(&format).unwrap_or_else(|_| "1970-01-01T00:00:00.000Z".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(UnixMs(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(UnixMs(u64::MAX)), "1970-01-01T00:00:00.000Z");
    }
}
