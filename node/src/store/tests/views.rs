//! The view: lists, prefixes, tips.

use std::collections::BTreeSet;

use cobs::job::outcome::Outcome;
use cobs::job::state::Status;

use super::super::UnixMs;
use super::super::view::list::{Cursor, LOOKS_MAX, Page, Query};
use super::super::view::{Change, JobRecord, JobRow, View};
use super::{digest, job, ledger, node};

/// Job `n`: every third is settled, two share a creation time, authors and queues alternate.
pub fn record(n: u64) -> JobRecord {
    let settled = n.is_multiple_of(3);
    let row = JobRow {
        id: job(n),
        ledger: ledger(1),
        created: UnixMs(1_000 + n / 2),
        updated: UnixMs(5_000),
        status: if settled { Status::Settled } else { Status::Queued },
        outcome: settled.then_some(if n.is_multiple_of(2) { Outcome::Succeeded } else { Outcome::Failed }),
        queue: if n.is_multiple_of(5) { "gpu".into() } else { "default".into() },
        author: node((n % 2) as u8),
    };
    let summary = format!(r#"{{"n":{n},"title":"ä, \"{n}\""}}"#).into_bytes();
    JobRecord { row, summary, full: vec![b'x'; 100], tips: digest(n as u8) }
}

fn filled(count: u64) -> View {
    let view = View::in_memory();
    let changes: Vec<_> = (0..count).map(|n| Change::Put(Box::new(record(n)))).collect();
    view.apply(&changes).unwrap();
    view
}

fn numbers(page: &Page) -> Vec<u64> {
    let values: Vec<serde_json::Value> = serde_json::from_slice(&page.json).unwrap();
    assert_eq!(values.len(), page.count);
    values.iter().map(|value| value["n"].as_u64().unwrap()).collect()
}

/// All pages of a query, one after the other.
fn all(view: &View, mut query: Query) -> Vec<u64> {
    let mut found = Vec::new();
    for _ in 0..1_000 {
        let page = view.list(&query).unwrap();
        assert!(page.count <= query.limit);
        found.extend(numbers(&page));
        let Some(next) = page.next else { return found };
        query.after = Some(next.to_string().parse::<Cursor>().unwrap());
    }
    panic!("the pages have no end");
}

#[test]
fn pages_hold_every_job_once_newest_first() {
    let view = filled(103);
    view.apply(&[Change::Put(Box::new(JobRecord {
        row: JobRow { ledger: ledger(2), ..record(500).row },
        ..record(500)
    }))])
    .unwrap();
    for limit in [1, 7, 100, 103, 1000] {
        let found = all(&view, Query::newest(ledger(1), limit));
        assert!(found.is_sorted_by_key(|n| std::cmp::Reverse(1_000 + n / 2)), "{found:?}");
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 103);
        assert_eq!(found.len(), 103);
    }
    assert_eq!(all(&view, Query::newest(ledger(2), 10)), [500]);
    assert_eq!(view.list(&Query::newest(ledger(3), 10)).unwrap().json, b"[]");
    assert_eq!(
        "zz-1".parse::<Cursor>().unwrap_err().to_string(),
        "'zz-1' is no cursor; use one that a page gave as its next"
    );
}

#[test]
fn filters_keep_what_matches_all_of_them() {
    let view = filled(120);
    let every = Query::newest(ledger(1), 9);
    let expect = |query: Query, keep: &dyn Fn(u64) -> bool| {
        let found: BTreeSet<u64> = all(&view, query.clone()).into_iter().collect();
        assert_eq!(found, (0..120).filter(|n| keep(*n)).collect(), "{query:?}");
    };
    expect(Query { status: BTreeSet::from([Status::Settled]), ..every.clone() }, &|n| n % 3 == 0);
    expect(Query { outcome: BTreeSet::from([Outcome::Failed]), ..every.clone() }, &|n| n % 6 == 3);
    expect(Query { queue: Some("gpu".into()), ..every.clone() }, &|n| n % 5 == 0);
    expect(Query { author: Some(node(1)), ..every.clone() }, &|n| n % 2 == 1);
    let both = BTreeSet::from([Status::Settled, Status::Queued]);
    expect(Query { status: both, queue: Some("gpu".into()), author: Some(node(0)), ..every }, &|n| n % 10 == 0);
}

/// Two values that no job has both of, in turn: every job has to be looked at, on as many pages as it takes.
#[test]
fn what_is_hard_to_find_is_found_on_a_later_page() {
    let count = 2 * LOOKS_MAX as u64;
    let view = View::in_memory();
    let odd = |n: u64| {
        let row =
            JobRow { author: node((n % 2) as u8), queue: ["even", "odd"][(n % 2) as usize].into(), ..record(n).row };
        JobRecord { row: JobRow { created: UnixMs(n), ..row }, ..record(n) }
    };
    let mut changes: Vec<_> = (1..count).map(|n| Change::Put(Box::new(odd(n)))).collect();
    let oldest = odd(0);
    changes.push(Change::Put(Box::new(JobRecord { row: JobRow { queue: "odd".into(), ..oldest.row }, ..oldest })));
    view.apply(&changes).unwrap();
    let query = Query { author: Some(node(0)), queue: Some("odd".into()), ..Query::newest(ledger(1), 10) };
    let first = view.list(&query).unwrap();
    assert_eq!((first.count, first.next.is_some()), (0, true));
    assert_eq!(all(&view, query), [0]);
}

#[test]
fn jobs_are_counted_where_they_stand() {
    let view = filled(120);
    assert_eq!(view.counts(ledger(1)).unwrap(), [(Status::Queued, 80), (Status::Settled, 40)].into());
    assert_eq!(view.unfinished(ledger(1)).unwrap(), (0..120).filter(|n| n % 3 != 0).map(job).collect());
    let mut settled = record(1);
    settled.row.status = Status::Settled;
    let gone = Change::Remove { ledger: ledger(1), object: job(0) };
    view.apply(&[Change::Put(Box::new(settled)), gone]).unwrap();
    assert_eq!(view.counts(ledger(1)).unwrap(), [(Status::Queued, 79), (Status::Settled, 40)].into());
    // its outcome is not known yet
    assert!(view.unfinished(ledger(1)).unwrap().contains(&job(1)));
    assert_eq!(view.counts(ledger(2)).unwrap(), [].into());
}

#[test]
fn a_job_that_arrives_while_paging_moves_no_page() {
    let view = filled(20);
    let first = view.list(&Query::newest(ledger(1), 5)).unwrap();
    view.apply(&[Change::Put(Box::new(record(40)))]).unwrap();
    let rest = all(&view, Query { after: first.next, ..Query::newest(ledger(1), 5) });
    assert_eq!(numbers(&first).into_iter().chain(rest).collect::<BTreeSet<_>>(), (0..20).collect());
}

#[test]
fn a_changed_job_is_listed_once_and_a_removed_one_not_at_all() {
    let view = filled(10);
    let mut changed = record(4);
    changed.row.status = Status::Provisional;
    changed.row.created = UnixMs(9_999);
    changed.full = b"new".to_vec();
    let gone = Change::Remove { ledger: ledger(1), object: job(5) };
    let ignored = Change::Ignore { ledger: ledger(1), object: job(6), tips: digest(99) };
    view.apply(&[Change::Put(Box::new(changed.clone())), gone, ignored]).unwrap();
    let found = all(&view, Query::newest(ledger(1), 100));
    assert_eq!(found[0], 4);
    assert_eq!(found.len(), 8);
    let stored = view.job(job(4)).unwrap().unwrap();
    assert_eq!((stored.row, stored.full.as_slice()), (changed.row, &b"new"[..]));
    assert_eq!(view.job(job(5)).unwrap(), None);
    assert_eq!(view.job(job(6)).unwrap(), None);
    let tips = view.tips(ledger(1)).unwrap();
    assert_eq!((tips.len(), tips[&job(6)], tips.contains_key(&job(5))), (9, digest(99), false));
    assert!(view.tips(ledger(2)).unwrap().is_empty());
}

#[test]
fn a_prefix_finds_the_jobs_that_begin_with_it() {
    let view = filled(40);
    for n in 0..40 {
        let id = job(n).to_string();
        assert_eq!(view.jobs_by_prefix(&id).unwrap(), [job(n)]);
        assert!(view.jobs_by_prefix(&id[..5]).unwrap().contains(&job(n)));
        assert!(view.jobs_by_prefix(&id[..1]).unwrap().iter().all(|found| found.to_string().starts_with(&id[..1])));
    }
    for bad in ["", "xyz", "ä", &"0".repeat(41)] {
        assert_eq!(view.jobs_by_prefix(bad).unwrap(), []);
    }
}
