//! When a store is asked, by a clock that the test moves.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::*;

/// A store that is away when it is told so, and counts what it is asked.
#[derive(Default)]
struct Flaky {
    away: AtomicBool,
    refuses: AtomicBool,
    asked: AtomicUsize,
}

impl VectorStore for Flaky {
    fn name(&self) -> &str {
        "flaky"
    }

    fn upsert(&self, _: &Collection, _: &[Point]) -> Result<(), VectorError> {
        panic!("a call that does not come back")
    }

    fn delete(&self, _: &Collection, _: &[PointId]) -> Result<(), VectorError> {
        Ok(())
    }

    fn search(
        &self,
        _: &Collection,
        _: &[f32],
        _: usize,
        _: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError> {
        Ok(Vec::new())
    }

    fn page(&self, _: &Collection, _: Option<PointId>, _: usize) -> Result<Vec<Point>, VectorError> {
        Ok(Vec::new())
    }

    fn count(&self, _: &Collection) -> Result<u64, VectorError> {
        Ok(0)
    }

    fn collections(&self, _: &str) -> Result<Vec<Collection>, VectorError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (store, why) = ("flaky".to_owned(), "the test says so".to_owned());
        if self.away.load(Ordering::Relaxed) {
            return Err(VectorError::Away { store, why });
        }
        if self.refuses.load(Ordering::Relaxed) { Err(VectorError::Refused { store, why }) } else { Ok(Vec::new()) }
    }

    fn remove(&self, _: &Collection) -> Result<(), VectorError> {
        Ok(())
    }
}

struct Bench {
    flaky: Arc<Flaky>,
    now_ms: Arc<AtomicU64>,
    breaker: Breaker,
}

impl Bench {
    fn new() -> Self {
        let (flaky, now_ms) = (Arc::new(Flaky::default()), Arc::new(AtomicU64::new(0)));
        let clock = now_ms.clone();
        let clock: Clock = Box::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
        Self { breaker: Breaker::new(flaky.clone(), clock), flaky, now_ms }
    }

    fn away(&self, away: bool) {
        self.flaky.away.store(away, Ordering::Relaxed);
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Whether a call was answered well, and whether the store was asked at all.
    fn call(&self) -> (bool, bool) {
        let before = self.flaky.asked.load(Ordering::Relaxed);
        let fine = self.breaker.collections("me").is_ok();
        (fine, self.flaky.asked.load(Ordering::Relaxed) > before)
    }
}

/// After failures in a row nothing is asked; then one call tries, and a success closes it.
#[test]
fn a_store_that_fails_is_left_alone_for_a_while() {
    let bench = Bench::new();
    bench.away(true);
    for _ in 0..FAILURES_MAX {
        assert_eq!(bench.call(), (false, true));
    }
    assert_eq!(bench.call(), (false, false));
    let error = bench.breaker.collections("me").unwrap_err().to_string();
    assert_eq!(error, "the vector store flaky is away: it has failed and is asked again in 5000 ms");
    bench.pass(OPEN_MS - 1);
    assert_eq!(bench.call(), (false, false));
    bench.pass(1);
    // the try fails: twice as long
    assert_eq!(bench.call(), (false, true));
    bench.pass(OPEN_MS);
    assert_eq!(bench.call(), (false, false));
    bench.away(false);
    bench.pass(OPEN_MS);
    assert_eq!(bench.call(), (true, true));
    assert_eq!(bench.breaker.state(), State::Closed { failures: 0 });
}

/// A success between failures starts the count anew, and a refusal is an answer.
#[test]
fn only_failures_in_a_row_count() {
    let bench = Bench::new();
    for _ in 0..5 {
        bench.away(true);
        for _ in 1..FAILURES_MAX {
            assert_eq!(bench.call(), (false, true));
        }
        bench.away(false);
        assert_eq!(bench.call(), (true, true));
    }
    bench.flaky.refuses.store(true, Ordering::Relaxed);
    for _ in 0..2 * FAILURES_MAX {
        assert_eq!(bench.call(), (false, true));
    }
    assert_eq!(bench.breaker.state(), State::Closed { failures: 0 });
}

/// The wait grows to a limit.
#[test]
fn the_wait_has_a_limit() {
    let bench = Bench::new();
    bench.away(true);
    (0..FAILURES_MAX).for_each(|_| drop(bench.breaker.collections("me")));
    for _ in 0..20 {
        bench.pass(OPEN_MS_MAX);
        assert_eq!(bench.call(), (false, true));
    }
    let State::Open { open_ms, .. } = bench.breaker.state() else { panic!("it is open") };
    assert_eq!(open_ms, OPEN_MS_MAX);
}

/// A call that panics while it tries does not leave the breaker trying for ever.
#[test]
fn a_call_that_panics_has_failed() {
    let bench = Bench::new();
    bench.away(true);
    (0..FAILURES_MAX).for_each(|_| drop(bench.breaker.collections("me")));
    bench.pass(OPEN_MS);
    let embedder = crate::embed::EmbedderId { kind: "a".into(), model: "b".into(), dimension: 1 };
    let collection = Collection { owner: "me".into(), content: super::super::Content::Notes, embedder };
    let upsert = std::panic::AssertUnwindSafe(|| bench.breaker.upsert(&collection, &[]));
    assert!(std::panic::catch_unwind(upsert).is_err());
    bench.away(false);
    bench.pass(OPEN_MS_MAX);
    assert_eq!(bench.call(), (true, true));
}
