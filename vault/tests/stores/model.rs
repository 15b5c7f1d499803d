//! Any sequence of calls, against a store that is a sorted map.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use vault::vectors::local::LocalStore;
use vault::vectors::{Point, PointId, VectorStore};

use crate::contract::{nearest, pages};
use crate::points::{Chance, DIMENSION, notes, unit};

/// What is done to a store.
#[derive(Clone, Debug)]
enum Step {
    Upsert(Vec<(u8, u8, u8)>),
    Delete(Vec<u8>),
    Search { seed: u8, limit: usize, documents: Option<Vec<u8>> },
    Maintain,
    Reopen,
    Remove,
}

fn step() -> impl Strategy<Value = Step> {
    let point = (0..60_u8, 0..12_u8, 0..40_u8);
    prop_oneof![
        6 => proptest::collection::vec(point, 0..20).prop_map(Step::Upsert),
        3 => proptest::collection::vec(0..60_u8, 0..15).prop_map(Step::Delete),
        6 => (any::<u8>(), 0..12_usize, proptest::option::of(proptest::collection::vec(0..12_u8, 0..6)))
            .prop_map(|(seed, limit, documents)| Step::Search { seed, limit, documents }),
        2 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        1 => Just(Step::Remove),
    ]
}

fn name(document: u8) -> String {
    format!("folder/{document}.md")
}

/// Few directions, so that many points are equal.
fn vector(seed: u8) -> Vec<f32> {
    match seed % 4 {
        0 => unit((0..DIMENSION).map(|n| if n == usize::from(seed / 4) % DIMENSION { 1.0 } else { 0.0 }).collect()),
        _ => Chance::new(u64::from(seed)).vector(DIMENSION),
    }
}

fn runs(steps: Vec<Step>, seal_points: usize) {
    let folder = tempfile::tempdir().unwrap();
    let open = || LocalStore::open_with(folder.path(), seal_points).unwrap().0;
    let collection = notes("me");
    let mut store = open();
    let mut model: BTreeMap<PointId, Point> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Upsert(points) => {
                let points: Vec<Point> = points
                    .into_iter()
                    .map(|(id, document, seed)| Point {
                        id: PointId(u128::from(id)),
                        document: name(document),
                        digest: format!("{id}-{seed}"),
                        vector: vector(seed),
                    })
                    .collect();
                store.upsert(&collection, &points).unwrap();
                model.extend(points.into_iter().map(|point| (point.id, point)));
            }
            Step::Delete(ids) => {
                let ids: Vec<PointId> = ids.into_iter().map(|id| PointId(u128::from(id))).collect();
                store.delete(&collection, &ids).unwrap();
                model.retain(|id, _| !ids.contains(id));
            }
            Step::Search { seed, limit, documents } => {
                let documents: Option<BTreeSet<String>> =
                    documents.map(|documents| documents.into_iter().map(name).collect());
                let points: Vec<Point> = model.values().cloned().collect();
                let found = store.search(&collection, &vector(seed), limit, documents.as_ref()).unwrap();
                assert_eq!(found, nearest(&points, &vector(seed), limit, documents.as_ref()));
            }
            Step::Maintain => {
                store.maintain().unwrap();
            }
            Step::Reopen => {
                drop(store);
                store = open();
            }
            Step::Remove => {
                store.remove(&collection).unwrap();
                model.clear();
            }
        }
        assert_eq!(store.count(&collection).unwrap(), model.len() as u64);
    }
    assert_eq!(pages(&store, &collection, 7), model.into_values().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A store that is scanned is a sorted map that can be searched.
    #[test]
    fn a_scanned_store_is_a_map(steps in proptest::collection::vec(step(), 0..30)) {
        runs(steps, 1_000);
    }

    /// So is one that is in graphs: as few points as here are all found.
    #[test]
    fn a_sealed_store_is_a_map(steps in proptest::collection::vec(step(), 0..30)) {
        runs(steps, 12);
    }
}
