//! Ranked lists into one, by reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009).

use std::collections::BTreeMap;

use serde::Serialize;

/// The constant of the paper, which keeps a first place from outweighing everything else.
pub const RANK_CONSTANT: f64 = 60.0;

/// A list, the best first.
#[derive(Clone, PartialEq, Debug)]
pub struct Ranked<K> {
    /// As it is named in what is explained.
    pub name: &'static str,
    /// What a rank in it counts.
    pub weight: f64,
    /// Each key once, with what it was ranked by.
    pub items: Vec<(K, f64)>,
}

/// What a list adds to a score.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Which list.
    pub list: &'static str,
    /// The place in it; the first is 1.
    pub rank: usize,
    /// What it was ranked by.
    pub raw: f64,
    /// What it adds.
    pub adds: f64,
}

/// A key with its score.
#[derive(Clone, PartialEq, Debug)]
pub struct Fused<K> {
    /// What was ranked.
    pub key: K,
    /// The sum of the parts.
    pub score: f64,
    /// One for each list that has it, in the order of the lists.
    pub parts: Vec<Part>,
}

/// Fuses lists: the best first, equals in the order of their keys.
pub fn fuse<K: Ord + Clone>(lists: &[Ranked<K>]) -> Vec<Fused<K>> {
    let mut parts: BTreeMap<&K, Vec<Part>> = BTreeMap::new();
    for list in lists {
        for ((key, raw), rank) in list.items.iter().zip(1u32..) {
            let adds = list.weight / (RANK_CONSTANT + f64::from(rank));
            let part = Part { list: list.name, rank: rank as usize, raw: *raw, adds };
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
