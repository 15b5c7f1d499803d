//! Ranked lists into one, by reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009).
//!
//! Only ranks count, so lists whose scores cannot be compared are fused. A boost, by links or by age, is a list like any
//! other: it is named in what is explained, and nothing else moves a result.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What keeps a first place from outweighing everything else. The paper has 60, for dozens of systems with a thousand hits each;
/// of two that know different things the first places say more (chosen on the half `tune` of `fixtures/golden`).
pub const RANK_CONSTANT: f64 = 10.0;

/// A list, the best first.
#[derive(Clone, PartialEq, Debug)]
pub struct Ranked<K> {
    /// As it is named in what is explained; no two lists share a name.
    pub name: &'static str,
    /// What a rank in it counts. A list whose weight is not above 0 says nothing.
    pub weight: f64,
    /// Each key with what it was ranked by. A key that comes again counts at its first place.
    pub items: Vec<(K, f64)>,
}

/// What a list adds to a score.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Which list.
    pub list: Cow<'static, str>,
    /// The place in it; the first is 1.
    pub rank: usize,
    /// What it was ranked by.
    pub raw: f64,
    /// What it adds: the weight over the sum of [`RANK_CONSTANT`] and the rank.
    pub adds: f64,
}

/// A key with its score.
#[derive(Clone, PartialEq, Debug)]
pub struct Fused<K> {
    /// What was ranked.
    pub key: K,
    /// The sum of the parts.
    pub score: f64,
    /// One for each list that has it, in the order of their names.
    pub parts: Vec<Part>,
}

/// Fuses lists: the best first, equals in the order of their keys. The order of the lists does not matter.
pub fn fuse<K: Ord + Clone>(lists: &[Ranked<K>]) -> Vec<Fused<K>> {
    let mut counted: Vec<&Ranked<K>> = lists.iter().filter(|list| list.weight > 0.0).collect();
    // in one order, since a sum of floats depends on it
    counted.sort_by_key(|list| list.name);
    let mut parts: BTreeMap<&K, Vec<Part>> = BTreeMap::new();
    for list in counted {
        let mut seen = BTreeSet::new();
        let first = list.items.iter().filter(|(key, _)| seen.insert(key));
        for ((key, raw), rank) in first.zip(1u32..) {
            let adds = list.weight / (RANK_CONSTANT + f64::from(rank));
            let part = Part { list: Cow::Borrowed(list.name), rank: rank as usize, raw: *raw, adds };
            parts.entry(key).or_default().push(part);
        }
    }
    let scored = parts.into_iter().map(|(key, parts)| {
        let score = parts.iter().map(|part| part.adds).sum();
        Fused { key: key.clone(), score, parts }
    });
    let mut fused: Vec<Fused<K>> = scored.collect();
    // a stable sort keeps the order of the keys
    fused.sort_by(|one, other| other.score.total_cmp(&one.score));
    fused
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranked(name: &'static str, weight: f64, keys: &[u8]) -> Ranked<u8> {
        let items = keys.iter().zip(0u32..).map(|(key, place)| (*key, 10.0 - f64::from(place))).collect();
        Ranked { name, weight, items }
    }

    fn keys(fused: &[Fused<u8>]) -> Vec<u8> {
        fused.iter().map(|fused| fused.key).collect()
    }

    /// What two lists agree on comes before what one of them puts first.
    #[test]
    fn agreement_wins() {
        let fused = fuse(&[ranked("words", 1.0, &[1, 2, 3]), ranked("meaning", 1.0, &[4, 2, 5])]);
        assert_eq!(keys(&fused), [2, 1, 4, 3, 5]);
        assert!((fused[0].score - 2.0 / 12.0).abs() < 1e-12 && (fused[1].score - 1.0 / 11.0).abs() < 1e-12);
    }

    /// A score is explained whole by its parts, a boost among them.
    #[test]
    fn a_score_is_explained() {
        let fused = fuse(&[ranked("words", 1.0, &[7, 8]), ranked("links", 0.5, &[8])]);
        assert_eq!(keys(&fused), [8, 7]);
        let parts = [
            Part { list: "links".into(), rank: 1, raw: 10.0, adds: 0.5 / 11.0 },
            Part { list: "words".into(), rank: 2, raw: 9.0, adds: 1.0 / 12.0 },
        ];
        assert_eq!(fused[0].parts, parts);
        assert!((fused[0].score - parts.iter().map(|part| part.adds).sum::<f64>()).abs() < 1e-12);
    }

    /// Neither a repetition nor a list without weight counts.
    #[test]
    fn what_says_nothing_does_not_count() {
        let plain = fuse(&[ranked("words", 1.0, &[1, 2, 3])]);
        let silent = [0.0, -1.0, f64::NAN].map(|weight| ranked("age", weight, &[3, 9]));
        let lists = [&[ranked("words", 1.0, &[1, 2, 1, 3, 2])], &silent[..]].concat();
        assert_eq!(keys(&fuse(&lists)), keys(&plain));
        assert_eq!(fuse(&lists)[2].parts[0].rank, 3);
    }

    const NAMES: [&str; 4] = ["words", "meaning", "links", "age"];

    fn lists() -> impl Strategy<Value = Vec<Ranked<u8>>> {
        // few weights, so that scores are often equal
        let list = ((1u8..4).prop_map(f64::from), proptest::collection::vec(0u8..12, 0..12));
        proptest::collection::vec(list, 1..=NAMES.len()).prop_map(|lists| {
            let named = lists.into_iter().zip(NAMES);
            named.map(|((weight, keys), name)| ranked(name, weight, &keys)).collect()
        })
    }

    proptest! {
        /// The order of the lists changes nothing, to the last bit; equal scores are in the order of keys.
        #[test]
        fn lists_have_no_order(lists in lists(), by in 0usize..4) {
            let fused = fuse(&lists);
            let mut turned = lists.clone();
            turned.rotate_left(by % lists.len());
            prop_assert_eq!(&fuse(&turned), &fused);
            for pair in fused.windows(2) {
                let falls = pair[0].score > pair[1].score;
                prop_assert!(falls || pair[0].score.to_bits() == pair[1].score.to_bits() && pair[0].key < pair[1].key);
            }
        }

        /// A better place in a list never makes a worse place in the result, and all keys are there once.
        #[test]
        fn a_better_place_is_never_worse(lists in lists(), list in 0usize..4, place in 1usize..12) {
            let list = list % lists.len();
            // rejected, they would end a run of many cases
            let Some(places) = lists[list].items.len().checked_sub(1).filter(|places| *places > 0) else { return Ok(()) };
            let place = 1 + place % places;
            let mut better = lists.clone();
            better[list].items.swap(place - 1, place);
            let key = lists[list].items[place].0;
            let place_of = |fused: &[Fused<u8>]| fused.iter().position(|fused| fused.key == key);
            prop_assert!(place_of(&fuse(&better)) <= place_of(&fuse(&lists)));
            let all: BTreeSet<u8> = lists.iter().flat_map(|list| &list.items).map(|(key, _)| *key).collect();
            let mut found = keys(&fuse(&lists));
            found.sort_unstable();
            prop_assert_eq!(found, all.into_iter().collect::<Vec<u8>>());
        }
    }
}
