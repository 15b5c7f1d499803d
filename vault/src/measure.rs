//! How good a ranked list is, and how long it took: the measures of retrieval by grades that people gave.
//!
//! A grade is 0 for what does not answer a query and more the better it does; what has none has grade 0. Only the first
//! occurrence of a key in a list counts.

pub mod queries;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// The grades of a query.
pub type Grades<K> = BTreeMap<K, u32>;

/// The measures of one list, or the mean of several. All are from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measures {
    /// The share of the first k places that answers (Manning, Raghavan and Schuetze 2008, chapter 8). Places that the list
    /// does not fill do not answer.
    pub precision: f64,
    /// The share of what answers that is among the first k (the same).
    pub recall: f64,
    /// 1 over the first place that answers, wherever it is; 0 where none does (Voorhees, TREC-8, 1999). The mean of it is MRR.
    pub reciprocal_rank: f64,
    /// The gain of the first k places over that of the best list there could be (Jaervelin and Kekaelaeinen 2002): the gain
    /// of a place is its grade over the binary logarithm of the place plus 1, as trec_eval has it.
    pub ndcg: f64,
}

/// Measures a list, the best first, at its first k places; none where k is 0 or nothing answers the query.
pub fn measure<K: Ord>(list: &[K], grades: &Grades<K>, k: usize) -> Option<Measures> {
    let mut seen = BTreeSet::new();
    let once = list.iter().filter(|key| seen.insert(*key));
    let graded: Vec<u32> = once.map(|key| grades.get(key).copied().unwrap_or(0)).collect();
    let mut best: Vec<u32> = grades.values().copied().filter(|grade| *grade > 0).collect();
    if k == 0 || best.is_empty() {
        return None;
    }
    best.sort_unstable_by(|one, other| other.cmp(one));
    let answers = graded.iter().take(k).filter(|grade| **grade > 0).count() as f64;
    let first = graded.iter().position(|grade| *grade > 0);
    Some(Measures {
        precision: answers / k as f64,
        recall: answers / best.len() as f64,
        reciprocal_rank: first.map_or(0.0, |place| 1.0 / (place + 1) as f64),
        ndcg: gain(&graded, k) / gain(&best, k),
    })
}

fn gain(grades: &[u32], k: usize) -> f64 {
    let places = grades.iter().take(k).zip(2u32..);
    places.map(|(grade, after)| f64::from(*grade) / f64::from(after).log2()).sum()
}

/// The mean over queries, each of which counts the same; none where there are none.
pub fn mean(queries: &[Measures]) -> Option<Measures> {
    let of = |part: fn(&Measures) -> f64| queries.iter().map(part).sum::<f64>() / queries.len() as f64;
    (!queries.is_empty()).then(|| Measures {
        precision: of(|query| query.precision),
        recall: of(|query| query.recall),
        reciprocal_rank: of(|query| query.reciprocal_rank),
        ndcg: of(|query| query.ndcg),
    })
}

/// How long things took, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many there are.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_micros: u64,
    /// 95 of 100 took no longer.
    pub p95_micros: u64,
    /// 99 of 100 took no longer.
    pub p99_micros: u64,
    /// The longest.
    pub max_micros: u64,
}

/// The percentiles of times in microseconds, in any order; none where there are none.
pub fn latency(micros: &[u64]) -> Option<Latency> {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    Some(Latency {
        count: sorted.len(),
        p50_micros: percentile(&sorted, 50)?,
        p95_micros: percentile(&sorted, 95)?,
        p99_micros: percentile(&sorted, 99)?,
        max_micros: percentile(&sorted, 100)?,
    })
}

/// The smallest of sorted numbers that so many of a hundred do not exceed (nearest rank: always a number that was measured).
fn percentile(sorted: &[u64], of_hundred: usize) -> Option<u64> {
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    /// Values that were computed by hand. L2(3) = 1.584962501, L2(5) = 2.321928095.
    #[test]
    fn measures_are_as_computed_by_hand() {
        let grades = Grades::from([("a", 3), ("b", 2), ("c", 1), ("x", 0)]);
        // the best gain: 3 + 2/L2(3) + 1/2 = 4.761859507; at 2 places 4.261859507; at 1 place 3
        let best = 4.761_859_507;
        // list, k, precision, recall, reciprocal rank, nDCG
        let table: &[(&[&str], usize, [f64; 4])] = &[
            (&["a", "b", "c"], 3, [1.0, 1.0, 1.0, 1.0]),
            (&["a", "b", "c"], 5, [0.6, 1.0, 1.0, 1.0]),
            (&["c", "b", "a"], 3, [1.0, 1.0, 1.0, (1.0 + 1.261_859_507 + 1.5) / best]),
            (&["x", "a", "y", "b"], 4, [0.5, 2.0 / 3.0, 0.5, (3.0 / 1.584_962_501 + 2.0 / 2.321_928_095) / best]),
            (&["x", "a"], 1, [0.0, 0.0, 0.5, 0.0]),
            (&["b", "a"], 1, [1.0, 1.0 / 3.0, 1.0, 2.0 / 3.0]),
            (&["b", "a"], 2, [1.0, 2.0 / 3.0, 1.0, (2.0 + 3.0 / 1.584_962_501) / 4.261_859_507]),
            (&["b", "b", "a"], 2, [1.0, 2.0 / 3.0, 1.0, (2.0 + 3.0 / 1.584_962_501) / 4.261_859_507]),
            (&["x", "y"], 2, [0.0, 0.0, 0.0, 0.0]),
            (&[], 2, [0.0, 0.0, 0.0, 0.0]),
        ];
        for (list, k, by_hand) in table {
            let found = measure(list, &grades, *k).unwrap();
            let found = [found.precision, found.recall, found.reciprocal_rank, found.ndcg];
            let same = found.iter().zip(by_hand).all(|(one, other)| near(*one, *other));
            assert!(same, "{list:?} at {k}: {found:?}");
        }
    }

    /// A query that nothing answers says nothing of a search, so it is left out of a mean.
    #[test]
    fn a_query_without_answers_has_no_measures() {
        assert_eq!(measure(&["a"], &Grades::from([("a", 0)]), 5), None);
        assert_eq!(measure(&["a"], &Grades::from([("a", 1)]), 0), None);
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn each_query_counts_the_same_in_a_mean() {
        let grades = Grades::from([("a", 1)]);
        let lists: [&[&str]; 3] = [&["a"], &["x", "a"], &["x", "y", "z", "a"]];
        let queries: Vec<Measures> = lists.iter().filter_map(|list| measure(list, &grades, 2)).collect();
        let mean = mean(&queries).unwrap();
        assert!(near(mean.reciprocal_rank, (1.0 + 0.5 + 0.25) / 3.0));
        assert!(near(mean.precision, 1.0 / 3.0) && near(mean.recall, 2.0 / 3.0));
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let found = latency(&hundred).unwrap();
        assert_eq!((found.count, found.p50_micros, found.p95_micros), (100, 50, 95));
        assert_eq!((found.p99_micros, found.max_micros), (99, 100));
        // nearest rank of 5 numbers: 50 of 100 is the third, 95 of 100 the fifth
        let few = latency(&[15, 20, 35, 40, 50]).unwrap();
        assert_eq!((few.p50_micros, few.p95_micros, few.max_micros), (35, 50, 50));
        assert_eq!(latency(&[7]).unwrap().p50_micros, 7);
        assert_eq!(latency(&[]), None);
    }

    proptest! {
        /// Every measure is from 0 to 1, and the best order has a gain of 1.
        #[test]
        fn measures_are_shares(grades in proptest::collection::btree_map(0u8..20, 0u32..4, 1..20), list in proptest::collection::vec(0u8..24, 0..24), k in 1usize..12) {
            prop_assume!(grades.values().any(|grade| *grade > 0));
            let found = measure(&list, &grades, k).unwrap();
            for part in [found.precision, found.recall, found.reciprocal_rank, found.ndcg] {
                prop_assert!((0.0..=1.0 + 1e-9).contains(&part), "{found:?}");
            }
            let mut best: Vec<u8> = grades.keys().copied().collect();
            best.sort_by_key(|key| std::cmp::Reverse(grades[key]));
            prop_assert!(near(measure(&best, &grades, k).unwrap().ndcg, 1.0));
        }
    }
}
