//! The spans of time that limits count in: of the clock and the calendar, in UTC.

use std::fmt;

use serde::{Deserialize, Serialize};

const MINUTE_MS: u64 = 60_000;
pub(super) const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// For how long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// A minute of the clock.
    Minute,
    /// A day in UTC.
    Day,
    /// A month in UTC.
    Month,
    /// For good.
    Ever,
}

/// When the span began that a time is in, and when it ends.
pub(super) fn window(span: Span, now_ms: u64) -> (u64, Option<u64>) {
    let regular = |length: u64| {
        let start = now_ms - now_ms % length;
        (start, Some(start.saturating_add(length)))
    };
    match span {
        Span::Minute => regular(MINUTE_MS),
        Span::Day => regular(DAY_MS),
        Span::Ever => (0, None),
        Span::Month => {
            let date = date(now_ms);
            let first = date.replace_day(1).unwrap_or(date);
            // the calendar has an end, which only a damaged account comes to
            let next = first.checked_add(time::Duration::days(31)).and_then(|next| next.replace_day(1).ok());
            let next = next.unwrap_or(first);
            (millis(first), Some(millis(next)))
        }
    }
}

fn date(at_ms: u64) -> time::Date {
    let seconds = i64::try_from(at_ms / 1_000).unwrap_or(i64::MAX);
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or(time::Date::MAX, time::OffsetDateTime::date)
}

fn millis(date: time::Date) -> u64 {
    u64::try_from(date.midnight().assume_utc().unix_timestamp()).unwrap_or(0) * 1_000
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
            Self::Ever => "ever",
        })
    }
}
