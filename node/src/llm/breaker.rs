//! When a model of a provider is not asked for a while. Pure: time is an argument, in milliseconds of any clock that does
//! not go back.
//!
//! Closed: it is asked. Open: it is not, until a time. Half-open: one request tries it, the others go elsewhere.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::{Failure, Kind, Stage};

/// Failures one after the other that open it.
pub const FAILURES_IN_A_ROW: u32 = 3;
/// It opens too when of this many requests within [`WINDOW_MS`] more than half failed.
pub const WINDOW_REQUESTS: usize = 10;
/// How long a request counts, in milliseconds.
pub const WINDOW_MS: u64 = 60_000;
/// Most requests of a window that are remembered.
pub const WINDOW_REQUESTS_MAX: usize = 200;
/// How long it is open the first time, in milliseconds; twice as long after each try that failed.
pub const OPEN_MS: u64 = 1_000;
/// The longest of these times.
pub const OPEN_MS_MAX: u64 = 60_000;
/// How long a key that was refused is not tried again, in milliseconds, and what is paid for and used up.
pub const REFUSED_MS: u64 = 60_000;
/// The longest `Retry-After` that is obeyed, in milliseconds: a provider may ask for days, and be mended before.
pub const RETRY_AFTER_MS_MAX: u64 = 3_600_000;

/// How it stands, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is asked.
    Closed,
    /// It is not asked.
    Open,
    /// One request tries whether it is well again.
    HalfOpen,
}

/// Leave to ask once. It is given back with what came of it.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "what comes of a request is told, or a try is never over"]
pub struct Leave {
    is_try: bool,
    /// Of which opening it is: what was asked before says nothing about what is now.
    era: u64,
}

/// The breaker of one model of one provider.
#[derive(Default, Debug)]
pub struct Breaker {
    state: State,
    era: u64,
    in_a_row: u32,
    /// When each ended, and whether it failed.
    window: VecDeque<(u64, bool)>,
    /// How long it was open last.
    open_ms: u64,
    why: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Closed,
    Open {
        until_ms: u64,
    },
    Trying,
}

impl Breaker {
    /// How it stands.
    pub fn standing(&self, now_ms: u64) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { until_ms } if now_ms < until_ms => Standing::Open,
            State::Open { .. } | State::Trying => Standing::HalfOpen,
        }
    }

    /// How long it is not asked, in milliseconds: 0 when it may be asked now. While a try is under way it is a moment.
    pub fn closed_to_us_ms(&self, now_ms: u64) -> u64 {
        match self.state {
            State::Closed => 0,
            State::Open { until_ms } => until_ms.saturating_sub(now_ms),
            State::Trying => OPEN_MS,
        }
    }

    /// Why it opened last; none while it is closed.
    pub fn why(&self) -> Option<Kind> {
        if self.state == State::Closed { None } else { self.why }
    }

    /// Leave to ask, if it may be asked now. Where it was open the one leave is a try.
    pub fn leave(&mut self, now_ms: u64) -> Option<Leave> {
        match self.state {
            State::Closed => Some(Leave { is_try: false, era: self.era }),
            State::Open { until_ms } if now_ms >= until_ms => {
                self.state = State::Trying;
                Some(Leave { is_try: true, era: self.era })
            }
            State::Open { .. } | State::Trying => None,
        }
    }

    /// It answered.
    pub fn answered(&mut self, leave: Leave, now_ms: u64) {
        if leave.is_try && leave.era == self.era {
            self.close();
        } else if self.state == State::Closed {
            self.in_a_row = 0;
            self.remember(now_ms, false);
        }
    }

    /// It failed. What is wrong with the request says that the provider is well.
    pub fn failed(&mut self, leave: Leave, failure: &Failure, now_ms: u64) {
        let asked_for = failure.retry_after.map(|span| millis(span).min(RETRY_AFTER_MS_MAX));
        let at_once = match failure.kind {
            Kind::BadRequest | Kind::ContextLength | Kind::ContentFilter => return self.answered(leave, now_ms),
            // nothing is known of the provider
            Kind::Cancelled | Kind::Policy => return self.dropped(leave),
            Kind::Auth | Kind::Quota => Some(asked_for.unwrap_or(REFUSED_MS)),
            // nobody is there: the next request would only wait as long
            _ if failure.stage == Stage::Connect => Some(self.next_open_ms()),
            Kind::RateLimit | Kind::Unavailable | Kind::Timeout | Kind::Internal | Kind::ModelMissing => asked_for,
        };
        if leave.is_try {
            if leave.era == self.era {
                let span = at_once.unwrap_or_else(|| self.next_open_ms());
                self.open(span, failure.kind, now_ms);
            }
            return;
        }
        if self.state != State::Closed {
            return;
        }
        self.in_a_row += 1;
        self.remember(now_ms, true);
        let failures = self.window.iter().filter(|(_, failed)| *failed).count();
        let too_often = self.window.len() >= WINDOW_REQUESTS && failures * 2 > self.window.len();
        if let Some(span) = at_once {
            self.open(span, failure.kind, now_ms);
        } else if self.in_a_row >= FAILURES_IN_A_ROW || too_often {
            let span = self.next_open_ms();
            self.open(span, failure.kind, now_ms);
        }
    }

    /// It was not asked after all, or nothing is known of what came of it.
    pub fn dropped(&mut self, leave: Leave) {
        if leave.is_try && leave.era == self.era && self.state == State::Trying {
            self.state = State::Open { until_ms: 0 };
        }
    }

    fn next_open_ms(&self) -> u64 {
        (self.open_ms * 2).clamp(OPEN_MS, OPEN_MS_MAX)
    }

    fn open(&mut self, span_ms: u64, why: Kind, now_ms: u64) {
        self.era += 1;
        self.open_ms = span_ms.min(OPEN_MS_MAX);
        self.why = Some(why);
        self.state = State::Open { until_ms: now_ms.saturating_add(span_ms) };
        self.in_a_row = 0;
        self.window.clear();
    }

    fn close(&mut self) {
        *self = Self { era: self.era + 1, ..Self::default() };
    }

    fn remember(&mut self, now_ms: u64, failed: bool) {
        self.window.push_back((now_ms, failed));
        while self.window.len() > WINDOW_REQUESTS_MAX
            || self.window.front().is_some_and(|(at, _)| at.saturating_add(WINDOW_MS) <= now_ms)
        {
            self.window.pop_front();
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
