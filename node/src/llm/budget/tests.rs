//! Limits, when they free, and that neither racing calls nor crashes go beyond them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::span::DAY_MS;
use super::*;

/// Noon of 2024-02-29.
const NOW: u64 = 1_709_208_000_000;

fn limit(payer: Payer, measure: Measure, span: Span, most: u64) -> Limit {
    Limit { payer, name: None, measure, span, most }
}

fn budgets(limits: &[Limit]) -> Budgets {
    Budgets::new(limits.to_vec(), [])
}

fn payers<'a>(token: &'a str, job: &'a str) -> Payers<'a> {
    Payers { token: Some(token), job: Some(job), job_limits: &[], provider: "openai" }
}

fn tokens(tokens: u64) -> Amounts {
    Amounts { tokens, micro_usd: None }
}

fn reserve(budgets: &mut Budgets, payers: &Payers<'_>, amount: u64, now: u64) -> Result<Reservation, Exceeded> {
    budgets.reserve(payers, tokens(amount), now).map(|(reservation, _)| reservation)
}

#[test]
fn what_is_reserved_counts_until_it_is_settled() {
    let mut budgets = budgets(&[limit(Payer::Token, Measure::Tokens, Span::Day, 100)]);
    let ann = payers("ann", "j");
    let first = reserve(&mut budgets, &ann, 60, NOW).unwrap();
    let exceeded = reserve(&mut budgets, &ann, 41, NOW).unwrap_err();
    assert_eq!((exceeded.left, exceeded.wanted, &*exceeded.name), (40, 41, "ann"));
    let second = reserve(&mut budgets, &ann, 40, NOW).unwrap();
    budgets.settle(first, tokens(10));
    let third = reserve(&mut budgets, &ann, 50, NOW).unwrap();
    budgets.release(second);
    budgets.release(third);
    assert!(reserve(&mut budgets, &ann, 91, NOW).is_err(), "ten were used");
    let rest = reserve(&mut budgets, &ann, 90, NOW).unwrap();
    budgets.settle(rest, tokens(300));
    assert!(reserve(&mut budgets, &ann, 1, NOW).is_err(), "more than was reserved counts too");
    assert!(reserve(&mut budgets, &payers("bob", "j"), 100, NOW).is_ok(), "each has its own");
}

#[test]
fn a_limit_says_when_it_frees() {
    let frees = |span| {
        let mut budgets = budgets(&[limit(Payer::Provider, Measure::Requests, span, 1)]);
        let ann = payers("ann", "j");
        let call = reserve(&mut budgets, &ann, 0, NOW).unwrap();
        budgets.settle(call, tokens(0));
        let exceeded = reserve(&mut budgets, &ann, 0, NOW + 59_999).unwrap_err();
        if let Some(at) = exceeded.frees_at_ms {
            assert!(reserve(&mut budgets, &ann, 0, at - 1).is_err(), "{span}");
            assert!(reserve(&mut budgets, &ann, 0, at).is_ok(), "{span}");
        }
        exceeded.frees_at_ms.map(|at| at - NOW)
    };
    let half_a_day = 12 * 3_600_000;
    assert_eq!(frees(Span::Minute), Some(60_000));
    assert_eq!(frees(Span::Day), Some(half_a_day));
    assert_eq!(frees(Span::Month), Some(half_a_day), "it is the last day");
    assert_eq!(frees(Span::Ever), None);
    let december = 1_733_918_400_000;
    assert_eq!(window(Span::Month, december), (1_733_011_200_000, Some(1_735_689_600_000)));
}

#[test]
fn what_never_fits_is_told_so() {
    let limits = [
        limit(Payer::Provider, Measure::Tokens, Span::Day, 10),
        limit(Payer::Token, Measure::Tokens, Span::Minute, 1_000),
    ];
    let exceeded = reserve(&mut budgets(&limits), &payers("ann", "j"), 11, NOW).unwrap_err();
    assert_eq!((exceeded.limit.payer, exceeded.frees_at_ms), (Payer::Provider, None));
    let words = "the provider openai may use 10 tokens a day; 10 are left, and this call may take 11";
    assert_eq!(exceeded.to_string(), words);
}

#[test]
fn limits_count_for_whom_they_name() {
    let named = Limit { name: Some("ann".into()), ..limit(Payer::Token, Measure::Requests, Span::Day, 0) };
    let mut budgets = budgets(&[named]);
    assert!(reserve(&mut budgets, &payers("ann", "j"), 1, NOW).is_err());
    assert!(reserve(&mut budgets, &payers("bob", "j"), 1, NOW).is_ok());
    let owner = Payers { token: None, ..payers("", "j") };
    assert!(reserve(&mut budgets, &owner, 1, NOW).is_ok());
    assert!(!budgets.counts_tokens(&payers("ann", "j")));
    let of_job = [limit(Payer::Job, Measure::MicroUsd, Span::Ever, 5)];
    let job = Payers { job_limits: &of_job, ..payers("bob", "j") };
    assert!(budgets.counts_money(&job) && budgets.counts_tokens(&job));
    let cost = |micro_usd| Amounts { tokens: 0, micro_usd: Some(micro_usd) };
    let (call, _) = budgets.reserve(&job, cost(5), NOW).unwrap();
    budgets.settle(call, cost(5));
    assert!(budgets.reserve(&job, cost(1), NOW + DAY_MS * 999).is_err());
    let other = Payers { job: Some("k"), ..job };
    assert!(budgets.reserve(&other, cost(5), NOW).is_ok());
}

#[test]
fn what_is_drawn_is_ahead_by_a_slice_at_most_and_given_back_at_the_end() {
    let mut budgets = budgets(&[limit(Payer::Token, Measure::Tokens, Span::Day, 10_000)]);
    let ann = payers("ann", "j");
    let (mut writes, mut drawn) = (0, 0);
    for call in 1..=500 {
        let (reservation, draws) = budgets.reserve(&ann, tokens(4), NOW).unwrap();
        budgets.drawn(&draws);
        if let [draw] = &draws[..] {
            (writes, drawn) = (writes + 1, draw.drawn);
        }
        assert!((call * 4..=call * 4 + 100).contains(&drawn), "{call}: {drawn}");
        assert_eq!(budgets.settle(reservation, tokens(4)), []);
    }
    assert!(writes <= 500 * 4 / 100 + 1, "{writes} writes");
    let account = format!("token/tokens/day/{}/ann", NOW - NOW % DAY_MS);
    assert_eq!(budgets.give_back(), [Draw { account: account.clone(), drawn: 2_000 }]);
    assert_eq!(budgets.give_back(), []);
    let (call, draws) = budgets.reserve(&ann, tokens(1), NOW).unwrap();
    assert_eq!(draws, [Draw { account: account.clone(), drawn: 2_101 }]);
    budgets.release(call);
    assert_eq!(budgets.forget(NOW), Vec::<String>::new());
    assert_eq!(budgets.forget(NOW + DAY_MS), [account]);
}

/// A call whose draw is on its way to the disk covers no other.
#[test]
fn each_call_waits_for_the_disk() {
    let mut budgets = budgets(&[limit(Payer::Token, Measure::Tokens, Span::Day, 10_000)]);
    let ann = payers("ann", "j");
    let (first, draws) = budgets.reserve(&ann, tokens(50), NOW).unwrap();
    let (second, others) = budgets.reserve(&ann, tokens(50), NOW).unwrap();
    assert_eq!((draws[0].drawn, others[0].drawn), (150, 200));
    // the later one is there first
    budgets.drawn(&others);
    budgets.drawn(&draws);
    budgets.release(first);
    budgets.settle(second, tokens(50));
    let (third, none) = budgets.reserve(&ann, tokens(150), NOW).unwrap();
    assert_eq!(none, []);
    budgets.release(third);
}

/// What a provider counts may be anything, and so may what a damaged disk says.
#[test]
fn no_number_makes_room() {
    let mut budgets = budgets(&[limit(Payer::Token, Measure::Tokens, Span::Day, 100)]);
    let ann = payers("ann", "j");
    let (first, second) =
        (reserve(&mut budgets, &ann, 50, NOW).unwrap(), reserve(&mut budgets, &ann, 50, NOW).unwrap());
    budgets.settle(first, tokens(u64::MAX));
    assert!(reserve(&mut budgets, &ann, 1, NOW).is_err());
    budgets.settle(second, tokens(u64::MAX));
    assert!(reserve(&mut budgets, &ann, 1, NOW).is_err());
    assert!(reserve(&mut budgets, &ann, u64::MAX, NOW).is_err());
    for account in ["", "/", "token/tokens/day", "token/tokens/day/x/ann", "token/tokens/year/0/ann"] {
        assert_eq!(end_of(account), None, "{account}");
    }
    for span in [Span::Minute, Span::Day, Span::Month, Span::Ever] {
        for at in [0, 1, i64::MAX as u64, u64::MAX] {
            let (start, end) = window(span, at);
            assert!(start <= at && end.is_none_or(|end| end >= start), "{span} {at}");
            end_of(&format!("token/tokens/{span}/{at}/ann/with/slashes"));
        }
    }
}

/// One step of a life.
#[derive(Clone, Debug)]
enum Step {
    Call { job: u8, most: u64, fails: bool },
    Settle { which: prop::sample::Index, took: u64 },
    Release { which: prop::sample::Index },
    Wait { ms: u64 },
    Crash,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..2, 0_u64..300, prop::bool::weighted(0.2)).prop_map(|(job, most, fails)| Step::Call { job, most, fails }),
        3 => (any::<prop::sample::Index>(), 0_u64..400).prop_map(|(which, took)| Step::Settle { which, took }),
        1 => any::<prop::sample::Index>().prop_map(|which| Step::Release { which }),
        1 => (0_u64..90_000).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Crash),
        1 => Just(Step::End),
    ]
}

proptest! {
    /// What calls took is covered by the disk at any time, so that in no window more is used than the limit: calls that are
    /// under way at a crash are counted as having taken all that they reserved, which they may have.
    #[test]
    fn no_crash_and_no_race_goes_beyond_a_limit(steps in prop::collection::vec(step(), 1..120)) {
        let limits = vec![
            limit(Payer::Job, Measure::Tokens, Span::Ever, 1_000),
            limit(Payer::Provider, Measure::Tokens, Span::Minute, 700),
        ];
        let (mut disk, mut now) = (BTreeMap::<String, u64>::new(), NOW);
        let mut truth = BTreeMap::<String, u64>::new();
        let mut budgets = Budgets::new(limits.clone(), []);
        let mut out: Vec<(Reservation, u64)> = Vec::new();
        let write = |disk: &mut BTreeMap<String, u64>, draws: &[Draw]| {
            for draw in draws {
                let drawn = disk.entry(draw.account.clone()).or_default();
                *drawn = draw.drawn.max(*drawn);
            }
        };
        let spent = |truth: &mut BTreeMap<String, u64>, reservation: &Reservation, took: u64| {
            for (account, ..) in &reservation.0 {
                *truth.entry(account.clone()).or_default() += took;
            }
        };
        for step in steps {
            match step {
                Step::Call { job, most, fails } => {
                    let job = ["a", "b"][usize::from(job)];
                    let payers = Payers { token: None, ..payers("", job) };
                    if let Ok((reservation, draws)) = budgets.reserve(&payers, tokens(most), now) {
                        // the disk may refuse: then the call is not made
                        if fails {
                            budgets.release(reservation);
                        } else {
                            write(&mut disk, &draws);
                            budgets.drawn(&draws);
                            out.push((reservation, most));
                        }
                    }
                }
                Step::Settle { which, took } if !out.is_empty() => {
                    let (reservation, most) = out.swap_remove(which.index(out.len()));
                    let took = took.min(most);
                    spent(&mut truth, &reservation, took);
                    let draws = budgets.settle(reservation, tokens(took));
                    write(&mut disk, &draws);
                    budgets.drawn(&draws);
                }
                Step::Release { which } if !out.is_empty() => {
                    let (reservation, _) = out.swap_remove(which.index(out.len()));
                    budgets.release(reservation);
                }
                Step::Wait { ms } => {
                    now += ms;
                    for account in budgets.forget(now) {
                        disk.remove(&account);
                    }
                }
                Step::Crash | Step::End => {
                    if matches!(step, Step::End) {
                        disk.extend(budgets.give_back().into_iter().map(|draw| (draw.account, draw.drawn)));
                    }
                    for (reservation, most) in out.drain(..) {
                        spent(&mut truth, &reservation, most);
                    }
                    let drawn = disk.iter().map(|(account, drawn)| Draw { account: account.clone(), drawn: *drawn });
                    budgets = Budgets::new(limits.clone(), drawn);
                }
                Step::Settle { .. } | Step::Release { .. } => {}
            }
            for (account, used) in &truth {
                let most = if account.starts_with("job") { 1_000 } else { 700 };
                prop_assert!(*used <= most, "{account}: {used}");
            }
        }
    }
}
