//! Damage, and ends of the process in the midst of upkeep, as they show on disk.

use std::fs;
use std::path::Path;

use super::*;
use crate::embed::EmbedderId;
use crate::vectors::Content;

fn collection() -> Collection {
    let embedder = EmbedderId { kind: "minilm".to_owned(), model: "m".to_owned(), dimension: 3 };
    Collection { owner: "me".to_owned(), content: Content::Notes, embedder }
}

fn points(count: u32) -> Vec<Point> {
    let point = |n: u32| {
        let angle = n as f32 / count as f32;
        let vector = vec![angle.cos(), angle.sin(), 0.0];
        Point { id: PointId(u128::from(n)), document: format!("{}.md", n / 4), digest: n.to_string(), vector }
    };
    (0..count).map(point).collect()
}

/// A folder with points, closed in order; some of them in a graph.
fn filled(folder: &Path) -> Vec<Point> {
    let store = LocalStore::open_with(folder, 100).unwrap().0;
    let points = points(160);
    store.upsert(&collection(), &points[..120]).unwrap();
    assert_eq!(store.maintain().unwrap(), Upkeep { sealed: 120, unsealed: 0 });
    store.upsert(&collection(), &points[120..]).unwrap();
    points
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = paths.filter(|path| path.extension() == Some("segment".as_ref())).collect();
    segments.sort();
    segments
}

/// Everything is there and is found.
fn assert_whole(store: &LocalStore, points: &[Point]) {
    assert_eq!(store.page(&collection(), None, 1_000).unwrap(), points);
    for point in points.iter().step_by(7) {
        assert_eq!(store.search(&collection(), &point.vector, 1, None).unwrap()[0].id, point.id);
    }
}

/// A segment that is missing or damaged is made up for by the vectors, once; its points are sealed again later.
#[test]
fn a_lost_segment_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let points = filled(folder.path());
    let losses: [fn(&Path); 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, b"").unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        },
    ];
    for lose in losses {
        let paths = segments(folder.path());
        assert_eq!(paths.len(), 1);
        lose(&paths[0]);
        let (store, aside) = LocalStore::open_with(folder.path(), 100).unwrap();
        assert_eq!((aside, segments(folder.path()).len()), (None, 0));
        assert_whole(&store, &points);
        drop(store);
        let store = LocalStore::open_with(folder.path(), 100).unwrap().0;
        assert_whole(&store, &points);
        assert_eq!(store.maintain().unwrap().sealed, 160);
        assert_whole(&store, &points);
    }
}

/// What changes while a graph is built is not in it, as it was or at all.
#[test]
fn a_change_during_a_build_counts() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open_with(folder.path(), 100).unwrap().0;
    let mut points = points(120);
    store.upsert(&collection(), &points).unwrap();
    let (number, graph) = store.build_one(&collection()).unwrap().unwrap();
    points[5].vector = vec![0.0, 0.0, 1.0];
    points[6].document = "moved.md".to_owned();
    store.upsert(&collection(), &points[5..7]).unwrap();
    store.delete(&collection(), &[points.remove(30).id]).unwrap();
    assert_eq!(store.take_in(&collection(), number, graph).unwrap(), Some(118));
    assert_whole(&store, &points);
    assert_eq!(store.search(&collection(), &[0.0, 0.0, 1.0], 1, None).unwrap()[0].id, points[5].id);
    drop(store);
    let store = LocalStore::open_with(folder.path(), 100).unwrap().0;
    assert_whole(&store, &points);
    let removed = store.build_one(&collection()).unwrap();
    assert!(removed.is_none(), "two points are no graph");
    // of a collection that is gone meanwhile nothing stays
    store.upsert(&collection(), &points).unwrap();
    let (number, graph) = store.build_one(&collection()).unwrap().unwrap();
    store.remove(&collection()).unwrap();
    assert_eq!(store.take_in(&collection(), number, graph).unwrap(), None);
    assert_eq!(segments(folder.path()).len(), 0);
}

/// What an end in the midst of upkeep leaves is swept away: files that nothing names.
#[test]
fn what_an_unfinished_seal_leaves_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let points = filled(folder.path());
    let segment = segments(folder.path()).remove(0);
    let strays = ["77.segment", "78.new"].map(|name| folder.path().join(name));
    for stray in &strays {
        fs::copy(&segment, stray).unwrap();
    }
    let kept = folder.path().join("notes.txt");
    fs::write(&kept, "mine").unwrap();
    let store = LocalStore::open_with(folder.path(), 100).unwrap().0;
    assert_whole(&store, &points);
    assert_eq!(segments(folder.path()), [segment]);
    assert!(kept.exists() && strays.iter().all(|stray| !stray.exists()));
}

/// A graph of which more than a third is dead is dissolved, and its points wait for a new one.
#[test]
fn a_worn_segment_is_dissolved() {
    let folder = tempfile::tempdir().unwrap();
    let mut points = filled(folder.path());
    let store = LocalStore::open_with(folder.path(), 100).unwrap().0;
    let ids = |points: &[Point]| points.iter().map(|point| point.id).collect::<Vec<_>>();
    store.delete(&collection(), &ids(&points[..40])).unwrap();
    assert_eq!(store.maintain().unwrap(), Upkeep::default());
    store.delete(&collection(), &ids(&points[40..41])).unwrap();
    points.drain(..41);
    assert_eq!(store.maintain().unwrap(), Upkeep { sealed: 119, unsealed: 79 });
    assert_whole(&store, &points);
    // replaced points die in a graph too
    store.upsert(&collection(), &points[..60]).unwrap();
    assert_eq!(store.maintain().unwrap(), Upkeep { sealed: 119, unsealed: 59 });
    store.delete(&collection(), &ids(&points[..60])).unwrap();
    assert_eq!(store.maintain().unwrap(), Upkeep { sealed: 0, unsealed: 59 });
    assert_eq!(segments(folder.path()).len(), 0);
    assert_whole(&store, &points[60..]);
    drop(store);
    assert_whole(&LocalStore::open_with(folder.path(), 100).unwrap().0, &points[60..]);
}

/// Whatever byte of the file changes, the store opens with all it had, says what is wrong, or puts the file aside; it
/// never panics, and the start after a damage that showed only later begins anew.
#[test]
fn a_damaged_file_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let points = filled(folder.path());
    let file = folder.path().join(load::FILE);
    let whole = fs::read(&file).unwrap();
    let segment = segments(folder.path()).remove(0);
    let graph = fs::read(&segment).unwrap();
    let (mut aside, mut later) = (0, 0);
    let step = whole.len() / 150;
    for at in (0..whole.len()).step_by(step).chain([3, 9, 64, 130, 200]) {
        let mut bytes = whole.clone();
        bytes.iter_mut().skip(at).take(40).for_each(|byte| *byte ^= 0x5a);
        fs::write(&file, &bytes).unwrap();
        fs::write(&segment, &graph).unwrap();
        let (store, put) = LocalStore::open_with(folder.path(), 100).unwrap();
        if let Some(put) = put {
            aside += 1;
            assert_eq!(fs::read(&put.path).unwrap().len(), whole.len());
            assert_eq!(store.collections("me").unwrap(), []);
            continue;
        }
        match store.page(&collection(), None, 1_000) {
            Ok(page) => assert!(page == points || page.is_empty(), "{at}: {} points", page.len()),
            Err(VectorError::Refused { why, .. }) => {
                later += 1;
                assert!(why.contains("the next start puts it aside"), "{why}");
                drop(store);
                let (store, put) = LocalStore::open_with(folder.path(), 100).unwrap();
                assert!(put.is_some());
                store.upsert(&collection(), &points).unwrap();
                assert_whole(&store, &points);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(aside > 3 && later > 3, "{aside} at the start and {later} later");
    for bytes in [&b"not a database at all"[..], &whole[..whole.len() / 2]] {
        fs::write(&file, bytes).unwrap();
        let (store, put) = LocalStore::open_with(folder.path(), 100).unwrap();
        assert!(put.is_some());
        store.upsert(&collection(), &points).unwrap();
    }
}
