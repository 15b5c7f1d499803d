//! The store in process: scanned, in graphs, and after a restart.

use std::collections::BTreeSet;
use std::sync::Arc;

use vault::vectors::local::LocalStore;
use vault::vectors::{Collection, Near, Point, PointId, VectorError, VectorStore};

use crate::contract::{self, nearest, pages};
use crate::points::{Chance, DIMENSION, notes, point};

/// A store that is scanned keeps the contract.
#[test]
fn a_scanned_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let (store, aside) = LocalStore::open(folder.path()).unwrap();
    assert_eq!(aside, None);
    contract::hold(&store);
}

/// A store whose points are moved into graphs after each change keeps it too.
#[test]
fn a_sealed_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sealing(LocalStore::open_with(folder.path(), 1).unwrap().0);
    contract::hold(&store);
}

/// What was there is there after a restart, scanned or in graphs, and the file is one process's.
#[test]
fn a_store_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let collection = notes("me");
    let mut points: Vec<Point> = (0..500).map(|n| point(n, &format!("{}.md", n % 30))).collect();
    let open = || LocalStore::open_with(folder.path(), 150).unwrap().0;
    let store = open();
    store.upsert(&collection, &points[..200]).unwrap();
    assert_eq!(store.maintain().unwrap().sealed, 200);
    store.upsert(&collection, &points[200..]).unwrap();
    let other = LocalStore::open(folder.path()).err().map(|error| error.to_string()).unwrap();
    assert!(other.contains("another process has") && other.ends_with("open: end it first"), "{other}");
    drop(store);
    let vector = Chance::new(77).vector(DIMENSION);
    for round in 0..4 {
        let store = open();
        assert_eq!(pages(&store, &collection, 90), points);
        assert_eq!(store.count(&collection).unwrap(), points.len() as u64);
        assert_eq!(store.search(&collection, &vector, 20, None).unwrap(), nearest(&points, &vector, 20, None));
        let removed: Vec<Point> = points.extract_if(round * 10..round * 10 + 40, |_| true).collect();
        store.delete(&collection, &removed.iter().map(|point| point.id).collect::<Vec<_>>()).unwrap();
        store.maintain().unwrap();
    }
}

/// Searches and changes go on while graphs are built.
#[test]
fn many_use_a_store_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open_with(folder.path(), 50).unwrap().0);
    let collection = notes("me");
    let fixed: Vec<Point> = (0..200).map(|n| point(n, "fixed.md")).collect();
    store.upsert(&collection, &fixed).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                store.maintain().unwrap();
            }
        });
        scope.spawn(|| {
            for n in 1_000..1_060 {
                store.upsert(&collection, &[point(n, "moving.md")]).unwrap();
                store.delete(&collection, &[point(n - 3, "moving.md").id]).unwrap();
            }
        });
        scope.spawn(|| {
            let only = BTreeSet::from(["fixed.md".to_owned()]);
            for seed in 0..200 {
                let vector = Chance::new(seed).vector(DIMENSION);
                let found = store.search(&collection, &vector, 5, Some(&only)).unwrap();
                assert_eq!(found, nearest(&fixed, &vector, 5, None));
            }
        });
    });
    assert_eq!(store.count(&collection).unwrap(), 203);
    drop(store);
    assert_eq!(LocalStore::open(folder.path()).unwrap().0.count(&collection).unwrap(), 203);
}

/// A store that does all its upkeep at every change.
struct Sealing(LocalStore);

impl VectorStore for Sealing {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError> {
        let result = self.0.upsert(collection, points);
        self.0.maintain().unwrap();
        result
    }

    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError> {
        let result = self.0.delete(collection, ids);
        self.0.maintain().unwrap();
        result
    }

    fn search(
        &self,
        collection: &Collection,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError> {
        self.0.search(collection, vector, limit, documents)
    }

    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError> {
        self.0.page(collection, after, limit)
    }

    fn count(&self, collection: &Collection) -> Result<u64, VectorError> {
        self.0.count(collection)
    }

    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError> {
        self.0.collections(owner)
    }

    fn remove(&self, collection: &Collection) -> Result<(), VectorError> {
        self.0.remove(collection)
    }
}
