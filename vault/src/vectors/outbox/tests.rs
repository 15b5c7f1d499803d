//! What waits, in what order, and what is given up; against a real store behind a door that the test closes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::local::LocalStore;
use super::super::{Content, Near};
use super::*;
use crate::embed::EmbedderId;

const OPEN: u8 = 0;
const AWAY: u8 = 1;
const REFUSES: u8 = 2;

/// A real store behind a door.
struct Door {
    store: LocalStore,
    state: AtomicU8,
}

impl Door {
    fn pass(&self) -> Result<&LocalStore, VectorError> {
        match self.state.load(Ordering::Relaxed) {
            OPEN => Ok(&self.store),
            AWAY => Err(Check { store: "door" }.away("closed".into())),
            _ => Err(Check { store: "door" }.refused("it says no".into())),
        }
    }
}

impl VectorStore for Door {
    fn name(&self) -> &str {
        "door"
    }

    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError> {
        self.pass()?.upsert(collection, points)
    }

    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError> {
        self.pass()?.delete(collection, ids)
    }

    fn search(
        &self,
        collection: &Collection,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError> {
        self.pass()?.search(collection, vector, limit, documents)
    }

    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError> {
        self.pass()?.page(collection, after, limit)
    }

    fn count(&self, collection: &Collection) -> Result<u64, VectorError> {
        self.pass()?.count(collection)
    }

    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError> {
        self.pass()?.collections(owner)
    }

    fn remove(&self, collection: &Collection) -> Result<(), VectorError> {
        self.pass()?.remove(collection)
    }
}

struct Bench {
    folder: TempDir,
    door: Arc<Door>,
    outbox: Outbox,
}

impl Bench {
    fn new(waiting_max: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&folder.path().join("store")).unwrap().0;
        let door = Arc::new(Door { store, state: AtomicU8::new(OPEN) });
        let path = folder.path().join("outbox.redb");
        let outbox = Outbox::open_with(&path, door.clone(), waiting_max).unwrap().0;
        Self { folder, door, outbox }
    }

    fn door(&self, state: u8) {
        self.door.state.store(state, Ordering::Relaxed);
    }

    fn reopen(self) -> Self {
        let Self { folder, door, outbox } = self;
        let waiting_max = outbox.waiting_max;
        drop(outbox);
        let outbox = Outbox::open_with(&folder.path().join("outbox.redb"), door.clone(), waiting_max).unwrap().0;
        Self { folder, door, outbox }
    }

    fn kept(&self, owner: &str) -> Vec<Point> {
        self.door.store.page(&collection(owner), None, 1_000).unwrap()
    }
}

fn collection(owner: &str) -> Collection {
    let embedder = EmbedderId { kind: "minilm".into(), model: "m".into(), dimension: 2 };
    Collection { owner: owner.into(), content: Content::Notes, embedder }
}

fn point(id: u128, version: u32) -> Point {
    let vector = vec![(version as f32).cos(), (version as f32).sin()];
    Point { id: PointId(id), document: "a.md".into(), digest: version.to_string(), vector }
}

/// What is missed waits through a restart, the last change of each point alone, and reaches the store when it is back.
#[test]
fn what_is_missed_is_made_up_for() {
    let bench = Bench::new(100);
    let mine = collection("me");
    assert_eq!(bench.outbox.upsert(&mine, &[point(1, 1), point(2, 1)]).unwrap(), Sent::Kept);
    bench.door(AWAY);
    assert_eq!(bench.outbox.upsert(&mine, &[point(1, 2), point(3, 1)]).unwrap(), Sent::Waits);
    assert_eq!(bench.outbox.upsert(&mine, &[point(1, 3)]).unwrap(), Sent::Waits);
    assert_eq!(bench.outbox.delete(&mine, &[PointId(2), PointId(3)]).unwrap(), Sent::Waits);
    assert_eq!(bench.outbox.upsert(&collection("you"), &[point(9, 1)]).unwrap(), Sent::Waits);
    assert_eq!(bench.outbox.waiting().unwrap(), 4);
    assert!(matches!(bench.outbox.drain(), Err(VectorError::Away { .. })));
    let bench = bench.reopen();
    assert_eq!(bench.outbox.waiting().unwrap(), 4);
    bench.door(OPEN);
    // nothing overtakes what waits
    assert_eq!(bench.outbox.upsert(&mine, &[point(1, 4)]).unwrap(), Sent::Waits);
    assert_eq!(bench.outbox.drain().unwrap(), Drained { sent: 4, refused: 0 });
    assert_eq!(bench.kept("me"), [point(1, 4)]);
    assert_eq!(bench.kept("you"), [point(9, 1)]);
    assert_eq!(bench.outbox.upsert(&mine, &[point(1, 5)]).unwrap(), Sent::Kept);
}

/// Where too much waits a collection is marked; it stays marked until it was given anew and nothing was dropped meanwhile.
#[test]
fn too_much_is_given_anew() {
    let bench = Bench::new(5);
    let (mine, yours) = (collection("me"), collection("you"));
    bench.door(AWAY);
    assert_eq!(bench.outbox.upsert(&yours, &[point(1, 1)]).unwrap(), Sent::Waits);
    let four: Vec<Point> = (0..4).map(|id| point(id, 1)).collect();
    assert_eq!(bench.outbox.upsert(&mine, &four).unwrap(), Sent::Waits);
    assert_eq!(bench.outbox.upsert(&mine, &[point(7, 1)]).unwrap(), Sent::Dropped);
    assert_eq!(bench.outbox.waiting().unwrap(), 1);
    let marked = bench.outbox.rebuilds().unwrap();
    let why = "more than 5 changes would wait".to_owned();
    assert_eq!(marked, [Rebuild { collection: mine.clone(), why, dropped: 5 }]);
    assert_eq!(bench.outbox.delete(&mine, &[PointId(0)]).unwrap(), Sent::Dropped);
    let bench = bench.reopen();
    assert!(!bench.outbox.rebuilt(&marked[0]).unwrap(), "more was dropped meanwhile");
    bench.door(OPEN);
    // a marked collection is changed at once where that can be, and waits for nothing
    assert_eq!(bench.outbox.upsert(&mine, &[point(7, 2)]).unwrap(), Sent::Kept);
    assert!(bench.outbox.rebuilt(&bench.outbox.rebuilds().unwrap()[0]).unwrap());
    assert_eq!(bench.outbox.rebuilds().unwrap(), []);
    assert_eq!(bench.outbox.drain().unwrap(), Drained { sent: 1, refused: 0 });
}

/// What the store refuses later blocks nothing: its collection is marked.
#[test]
fn what_is_refused_blocks_nothing() {
    let bench = Bench::new(100);
    bench.door(AWAY);
    bench.outbox.upsert(&collection("me"), &[point(1, 1)]).unwrap();
    bench.door(REFUSES);
    assert_eq!(bench.outbox.drain().unwrap(), Drained { sent: 0, refused: 1 });
    assert_eq!(bench.outbox.rebuilds().unwrap()[0].why, "it says no");
    assert_eq!(bench.outbox.waiting().unwrap(), 0);
    let wrong = Point { vector: vec![1.0], ..point(1, 1) };
    assert!(matches!(bench.outbox.upsert(&collection("me"), &[wrong]), Err(VectorError::Refused { .. })));
}

/// A whole collection is forgotten with all that waits of it, in its order.
#[test]
fn a_removal_takes_what_waits_along() {
    let bench = Bench::new(100);
    let mine = collection("me");
    bench.outbox.upsert(&mine, &[point(1, 1)]).unwrap();
    bench.door(AWAY);
    bench.outbox.upsert(&mine, &[point(2, 1)]).unwrap();
    assert_eq!(bench.outbox.remove(&mine).unwrap(), Sent::Waits);
    bench.outbox.upsert(&mine, &[point(3, 1)]).unwrap();
    assert_eq!(bench.outbox.waiting().unwrap(), 2);
    bench.door(OPEN);
    bench.outbox.drain().unwrap();
    assert_eq!(bench.kept("me"), [point(3, 1)]);
}

/// A file that cannot be read is put aside, and says so.
#[test]
fn a_damaged_outbox_is_put_aside() {
    let bench = Bench::new(100);
    bench.door(AWAY);
    bench.outbox.upsert(&collection("me"), &[point(1, 1)]).unwrap();
    let Bench { folder, door, outbox } = bench;
    drop(outbox);
    let path = folder.path().join("outbox.redb");
    for bytes in [b"not a database".to_vec(), vec![7; 10_000]] {
        fs::write(&path, &bytes).unwrap();
        let (outbox, aside) = Outbox::open(&path, door.clone()).unwrap();
        assert_eq!(fs::read(aside.unwrap().path).unwrap(), bytes);
        assert_eq!(outbox.waiting().unwrap(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Whenever the store was away, once it is back and drained it has what a store that was never away would have.
    #[test]
    fn nothing_is_lost_and_nothing_overtaken(
        steps in proptest::collection::vec((0..5_u8, 0..6_u128, any::<u32>()), 0..40),
    ) {
        let mut bench = Bench::new(1_000);
        let mine = collection("me");
        let mut model: BTreeMap<PointId, Point> = BTreeMap::new();
        for (kind, id, version) in steps {
            match kind {
                0 | 1 => {
                    bench.outbox.upsert(&mine, &[point(id, version)]).unwrap();
                    model.insert(PointId(id), point(id, version));
                }
                2 => {
                    bench.outbox.delete(&mine, &[PointId(id)]).unwrap();
                    model.remove(&PointId(id));
                }
                3 => bench.door(u8::from(version % 2 == 0)),
                _ if version % 5 == 0 => {
                    bench.outbox.remove(&mine).unwrap();
                    model.clear();
                }
                _ if version % 5 == 1 => bench = bench.reopen(),
                _ => drop(bench.outbox.drain()),
            }
        }
        bench.door(OPEN);
        bench.outbox.drain().unwrap();
        prop_assert_eq!(bench.kept("me"), model.into_values().collect::<Vec<_>>());
    }
}
