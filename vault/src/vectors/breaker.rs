//! A store that may be away, asked no more often than is worth it: after some failures in a row every call fails at once,
//! until it is time to try again by one call.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Collection, Near, Point, PointId, VectorError, VectorStore};

/// Failures in a row after which the store counts as away.
pub const FAILURES_MAX: u32 = 3;
/// For how long it is then not asked, in milliseconds.
pub const OPEN_MS: u64 = 5_000;
/// For how long at most, after failures that follow each other: each doubles it.
pub const OPEN_MS_MAX: u64 = 300_000;

/// Time that never goes back, since any fixed moment.
pub type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// A store behind a breaker.
pub struct Breaker {
    store: Arc<dyn VectorStore>,
    clock: Clock,
    state: Mutex<State>,
}

/// Whether a store is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is; so many calls in a row have failed.
    Closed {
        /// How many.
        failures: u32,
    },
    /// It is not, until a moment of the clock.
    Open {
        /// Until when.
        until: Duration,
        /// For how long it was opened, in milliseconds.
        open_ms: u64,
    },
    /// One call is trying.
    HalfOpen {
        /// For how long it had been opened, in milliseconds.
        open_ms: u64,
    },
}

impl Breaker {
    /// A breaker that is closed.
    pub fn new(store: Arc<dyn VectorStore>, clock: Clock) -> Self {
        Self { store, clock, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Whether the store is asked.
    pub fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, if it is time to.
    fn ask<T>(&self, call: impl FnOnce(&dyn VectorStore) -> Result<T, VectorError>) -> Result<T, VectorError> {
        self.enter()?;
        // a call that panics has failed
        let leave = Leave(self);
        let result = call(&*self.store);
        std::mem::forget(leave);
        self.leave(matches!(result, Err(VectorError::Away { .. })));
        result
    }

    fn enter(&self) -> Result<(), VectorError> {
        let now = (self.clock)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { .. } => Ok(()),
            State::Open { until, open_ms } if now >= until => {
                *state = State::HalfOpen { open_ms };
                Ok(())
            }
            State::Open { until, .. } => {
                let wait_ms = until.saturating_sub(now).as_millis();
                Err(self.away(format!("it has failed and is asked again in {wait_ms} ms")))
            }
            State::HalfOpen { .. } => Err(self.away("it has failed and is being asked again".into())),
        }
    }

    fn leave(&self, failed: bool) {
        let now = (self.clock)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |open_ms: u64| State::Open { until: now + Duration::from_millis(open_ms), open_ms };
        *state = match (*state, failed) {
            // a call from before it was opened says nothing new
            (State::Open { until, open_ms }, _) => State::Open { until, open_ms },
            (State::Closed { .. } | State::HalfOpen { .. }, false) => State::Closed { failures: 0 },
            (State::HalfOpen { open_ms }, true) => open((2 * open_ms).min(OPEN_MS_MAX)),
            (State::Closed { failures }, true) if failures + 1 >= FAILURES_MAX => open(OPEN_MS),
            (State::Closed { failures }, true) => State::Closed { failures: failures + 1 },
        };
    }

    fn away(&self, why: String) -> VectorError {
        VectorError::Away { store: self.store.name().to_owned(), why }
    }
}

/// Counts a call that did not come back as failed.
struct Leave<'a>(&'a Breaker);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.leave(true);
    }
}

impl VectorStore for Breaker {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError> {
        self.ask(|store| store.upsert(collection, points))
    }

    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError> {
        self.ask(|store| store.delete(collection, ids))
    }

    fn search(
        &self,
        collection: &Collection,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError> {
        self.ask(|store| store.search(collection, vector, limit, documents))
    }

    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError> {
        self.ask(|store| store.page(collection, after, limit))
    }

    fn count(&self, collection: &Collection) -> Result<u64, VectorError> {
        self.ask(|store| store.count(collection))
    }

    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError> {
        self.ask(|store| store.collections(owner))
    }

    fn remove(&self, collection: &Collection) -> Result<(), VectorError> {
        self.ask(|store| store.remove(collection))
    }
}

#[cfg(test)]
mod tests;
