//! When it opens and closes, and that it is asked again in the end.

use proptest::prelude::*;

use super::*;

fn failure(kind: Kind) -> Failure {
    Failure::new(kind, "it fails")
}

fn fail(breaker: &mut Breaker, kind: Kind, now_ms: u64) {
    let leave = breaker.leave(now_ms).expect("it is asked");
    breaker.failed(leave, &failure(kind), now_ms);
}

fn answer(breaker: &mut Breaker, now_ms: u64) {
    let leave = breaker.leave(now_ms).expect("it is asked");
    breaker.answered(leave, now_ms);
}

#[test]
fn failures_in_a_row_open_it_and_one_try_closes_it() {
    let mut breaker = Breaker::default();
    fail(&mut breaker, Kind::Unavailable, 0);
    fail(&mut breaker, Kind::Timeout, 1);
    answer(&mut breaker, 2);
    for at in 3..6 {
        assert_eq!(breaker.standing(at), Standing::Closed);
        fail(&mut breaker, Kind::Internal, at);
    }
    assert_eq!((breaker.standing(6), breaker.why()), (Standing::Open, Some(Kind::Internal)));
    assert_eq!(breaker.closed_to_us_ms(5), OPEN_MS);
    assert!(breaker.leave(5 + OPEN_MS - 1).is_none());
    let tried = breaker.leave(5 + OPEN_MS).expect("one tries");
    assert_eq!(breaker.standing(5 + OPEN_MS), Standing::HalfOpen);
    assert!(breaker.leave(5 + OPEN_MS).is_none(), "the others do not");
    breaker.failed(tried, &failure(Kind::Unavailable), 2_000);
    assert_eq!(breaker.closed_to_us_ms(2_000), 2 * OPEN_MS, "longer each time");
    answer(&mut breaker, 4_000);
    assert_eq!((breaker.standing(4_000), breaker.why()), (Standing::Closed, None));
    for at in 4_001..4_004 {
        fail(&mut breaker, Kind::Unavailable, at);
    }
    assert_eq!(breaker.closed_to_us_ms(4_003), OPEN_MS, "and as short as at first once it was well");
}

#[test]
fn the_time_that_it_is_open_has_a_limit() {
    let (mut breaker, mut now) = (Breaker::default(), 0);
    for _ in 0..20 {
        let leave = breaker.leave(now).expect("the time is over");
        breaker.failed(leave, &failure(Kind::Unavailable).at(Stage::Connect), now);
        let span = breaker.closed_to_us_ms(now);
        assert!((OPEN_MS..=OPEN_MS_MAX).contains(&span));
        now += span;
    }
    assert_eq!(breaker.next_open_ms(), OPEN_MS_MAX);
}

#[test]
fn nobody_at_the_address_opens_it_at_once_as_a_refused_key_does() {
    let mut breaker = Breaker::default();
    let leave = breaker.leave(0).unwrap();
    breaker.failed(leave, &failure(Kind::Unavailable).at(Stage::Connect), 0);
    assert_eq!(breaker.closed_to_us_ms(0), OPEN_MS);
    for kind in [Kind::Auth, Kind::Quota] {
        let mut breaker = Breaker::default();
        fail(&mut breaker, kind, 0);
        assert_eq!(breaker.closed_to_us_ms(0), REFUSED_MS, "{kind}");
    }
}

#[test]
fn a_time_that_is_asked_for_is_given() {
    let mut breaker = Breaker::default();
    let leave = breaker.leave(0).unwrap();
    breaker.failed(leave, &failure(Kind::RateLimit).retry_after(Some(Duration::from_secs(7))), 0);
    assert_eq!(breaker.closed_to_us_ms(0), 7_000);
    let leave = breaker.leave(7_000).unwrap();
    breaker.failed(leave, &failure(Kind::RateLimit).retry_after(Some(Duration::from_secs(1_000_000))), 7_000);
    assert_eq!(breaker.closed_to_us_ms(7_000), RETRY_AFTER_MS_MAX);
}

#[test]
fn more_than_half_of_many_opens_it() {
    let mut breaker = Breaker::default();
    // two of three fail, never three in a row
    for at in 0..WINDOW_REQUESTS as u64 {
        assert_eq!(breaker.standing(at), Standing::Closed, "{at}");
        if at % 3 == 2 { answer(&mut breaker, at) } else { fail(&mut breaker, Kind::Timeout, at) }
    }
    assert_eq!(breaker.standing(WINDOW_REQUESTS as u64), Standing::Open);
    // as many, each in a window of its own
    let mut breaker = Breaker::default();
    for at in 0..3 * WINDOW_REQUESTS as u64 {
        let now = at * WINDOW_MS;
        if at % 3 == 2 { answer(&mut breaker, now) } else { fail(&mut breaker, Kind::Timeout, now) }
    }
    assert_eq!(breaker.standing(u64::MAX), Standing::Closed);
}

#[test]
fn what_is_wrong_with_a_request_is_no_fault_of_the_provider() {
    let mut breaker = Breaker::default();
    for at in 0..100 {
        fail(&mut breaker, [Kind::BadRequest, Kind::ContextLength, Kind::ContentFilter][at as usize % 3], at);
    }
    assert_eq!(breaker.standing(100), Standing::Closed);
    for at in 0..3 {
        fail(&mut breaker, Kind::Unavailable, at);
    }
    let tried = breaker.leave(100_000).unwrap();
    breaker.failed(tried, &failure(Kind::BadRequest), 100_000);
    assert_eq!(breaker.standing(100_000), Standing::Closed, "it was there to say so");
}

#[test]
fn a_try_that_says_nothing_lets_the_next_one_try() {
    let given_up = |breaker: &mut Breaker, leave| breaker.dropped(leave);
    let cancelled = |breaker: &mut Breaker, leave| breaker.failed(leave, &failure(Kind::Cancelled), REFUSED_MS);
    for end in [given_up as fn(&mut Breaker, Leave), cancelled] {
        let mut breaker = Breaker::default();
        fail(&mut breaker, Kind::Auth, 0);
        let tried = breaker.leave(REFUSED_MS).unwrap();
        end(&mut breaker, tried);
        assert!(breaker.leave(REFUSED_MS).is_some());
    }
}

#[test]
fn what_was_asked_before_it_opened_says_nothing_after() {
    let mut breaker = Breaker::default();
    let (late, later) = (breaker.leave(0).unwrap(), breaker.leave(0).unwrap());
    fail(&mut breaker, Kind::Auth, 0);
    breaker.answered(late, 1);
    assert_eq!(breaker.standing(1), Standing::Open);
    breaker.failed(later, &failure(Kind::Auth), 30_000);
    assert_eq!(breaker.closed_to_us_ms(30_000), REFUSED_MS - 30_000, "it is not opened anew");
}

proptest! {
    /// Whatever happens, there is one try at a time, and it is asked again in the end.
    #[test]
    fn it_is_asked_again_in_the_end(
        steps in prop::collection::vec((0_u8..6, 0_u64..2_000, any::<prop::sample::Index>()), 1..200),
    ) {
        let (mut breaker, mut now, mut out): (_, _, Vec<Leave>) = (Breaker::default(), 0, Vec::new());
        for (step, wait, which) in steps {
            now += wait;
            if step == 0 || out.is_empty() {
                out.extend(breaker.leave(now));
                let tries = out.iter().filter(|leave| leave.is_try && leave.era == breaker.era).count();
                prop_assert!(tries <= 1);
                continue;
            }
            let leave = out.swap_remove(which.index(out.len()));
            match step {
                1 => breaker.answered(leave, now),
                2 => breaker.dropped(leave),
                3 => breaker.failed(leave, &failure(Kind::BadRequest), now),
                4 => breaker.failed(leave, &failure(Kind::Unavailable).at(Stage::Connect), now),
                _ => breaker.failed(leave, &failure(Kind::Timeout), now),
            }
        }
        for leave in out {
            breaker.dropped(leave);
        }
        prop_assert!(breaker.leave(now + OPEN_MS_MAX).is_some());
    }
}
