//! Waiting for what another process will do: by polling, with a named period and a limit, never by luck.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at. Short, since it is added to what the test takes.
const POLL_MS: u64 = 10;

/// How long anything that happens on one machine may take before the test fails: far above what a loaded machine needs.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Polls until `probe` answers, and panics with `what` once `limit` has passed.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    match poll(limit, probe) {
        Some(value) => value,
        None => panic!("waited {} ms in vain until {what}", limit.as_millis()),
    }
}

/// Polls until `probe` answers or `limit` has passed; `probe` is asked at least once, and once more at the end.
pub fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let late = Instant::now() >= deadline;
        if let Some(value) = probe() {
            return Some(value);
        }
        if late {
            return None;
        }
        thread::sleep(Duration::from_millis(POLL_MS));
    }
}

/// A wait ends with the first answer, and no answer is a failure that names what was waited for.
#[test]
fn waits_until_there_is_an_answer() {
    let mut asked = 0;
    let answer = until("the third question", LIMIT, || {
        asked += 1;
        (asked == 3).then_some(asked)
    });
    assert_eq!(answer, 3);
    assert_eq!(poll(Duration::ZERO, || None::<u8>), None);
}

/// A condition that never holds fails the test and says which it was.
#[test]
#[should_panic(expected = "waited 20 ms in vain until pigs fly")]
fn says_what_was_waited_for() {
    until("pigs fly", Duration::from_millis(20), || None::<u8>);
}
