//! What every store must do, whatever it is made of.

use std::collections::BTreeSet;

use vault::vectors::check::cosine;
use vault::vectors::{Collection, Content, Near, POINTS_MAX, Point, PointId, VectorError, VectorStore};

use crate::points::{Chance, DIMENSION, notes, owner, point, unit};

/// Holds a store to its contract.
pub fn hold(store: &dyn VectorStore) {
    keeps_replaces_and_forgets(store);
    finds_the_nearest_in_order(store);
    searches_only_the_documents_asked_for(store);
    gives_vectors_back_to_the_last_bit(store);
    keeps_any_names(store);
    keeps_many_at_once(store);
    keeps_owners_and_collections_apart(store);
    refuses_what_is_wrong(store);
    knows_nothing_of_what_is_not(store);
}

/// All points of a collection, page by page.
pub fn pages(store: &dyn VectorStore, collection: &Collection, limit: usize) -> Vec<Point> {
    let mut all: Vec<Point> = Vec::new();
    loop {
        let page = store.page(collection, all.last().map(|point| point.id), limit).unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// The nearest by a plain sort.
pub fn nearest(points: &[Point], vector: &[f32], limit: usize, documents: Option<&BTreeSet<String>>) -> Vec<Near> {
    let wanted = points.iter().filter(|point| documents.is_none_or(|documents| documents.contains(&point.document)));
    let near = |point: &Point| {
        let (id, document, digest) = (point.id, point.document.clone(), point.digest.clone());
        Near { id, document, digest, score: cosine(vector, &point.vector) }
    };
    let mut all: Vec<Near> = wanted.map(near).collect();
    all.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.id.cmp(&right.id)));
    all.truncate(limit);
    all
}

fn keeps_replaces_and_forgets(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let (one, two) = (point(1, "a.md"), point(2, "b.md"));
    store.upsert(&collection, &[one.clone(), two.clone()]).unwrap();
    assert_eq!(pages(store, &collection, 10), [one.clone(), two.clone()]);
    let moved = Point { document: "c.md".into(), digest: "new".into(), vector: two.vector.clone(), ..one.clone() };
    store.upsert(&collection, std::slice::from_ref(&moved)).unwrap();
    assert_eq!(pages(store, &collection, 1), [moved.clone(), two.clone()]);
    assert_eq!(store.count(&collection).unwrap(), 2);
    // the last of two in one call counts
    store.upsert(&collection, &[moved, one.clone()]).unwrap();
    assert_eq!(pages(store, &collection, 10), [one.clone(), two.clone()]);
    store.delete(&collection, &[one.id, PointId(77)]).unwrap();
    assert_eq!(store.count(&collection).unwrap(), 1);
    assert_eq!(store.search(&collection, &one.vector, 9, None).unwrap(), nearest(&[two], &one.vector, 9, None));
    store.remove(&collection).unwrap();
    assert_eq!(store.count(&collection).unwrap(), 0);
    assert_eq!(store.collections(&collection.owner).unwrap(), []);
    // it may begin again
    store.upsert(&collection, std::slice::from_ref(&one)).unwrap();
    assert_eq!(pages(store, &collection, 10), [one]);
}

fn finds_the_nearest_in_order(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let mut points: Vec<Point> = (0..200).map(|n| point(n, &format!("{}.md", n % 7))).collect();
    // equals are in the order of their ids
    for n in 1..5 {
        points[40 * n].vector = points[0].vector.clone();
    }
    store.upsert(&collection, &points).unwrap();
    for seed in 1_000..1_020 {
        let vector = Chance::new(seed).vector(DIMENSION);
        assert_eq!(store.search(&collection, &vector, 10, None).unwrap(), nearest(&points, &vector, 10, None));
    }
    let same = store.search(&collection, &points[0].vector, 5, None).unwrap();
    assert_eq!(same, nearest(&points, &points[0].vector, 5, None));
    assert!((same[4].score - 1.0).abs() < 1e-6 && same.is_sorted_by_key(|near| near.id), "{same:?}");
    assert_eq!(store.search(&collection, &points[3].vector, 0, None).unwrap(), []);
    let opposite: Vec<f32> = points[3].vector.iter().map(|number| -number).collect();
    let all = store.search(&collection, &opposite, 1_000, None).unwrap();
    assert_eq!(all, nearest(&points, &opposite, 1_000, None));
    assert!(all.len() == 200 && (all[199].score + 1.0).abs() < 1e-6);
}

fn searches_only_the_documents_asked_for(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let points: Vec<Point> = (0..300).map(|n| point(n, &format!("{}.md", n % 100))).collect();
    store.upsert(&collection, &points).unwrap();
    let vector = Chance::new(5_000).vector(DIMENSION);
    let few = BTreeSet::from(["3.md".to_owned(), "50.md".to_owned(), "nowhere.md".to_owned()]);
    let half: BTreeSet<String> = (0..50).map(|n| format!("{n}.md")).collect();
    // more names than any product's filter takes
    let many: BTreeSet<String> = (0..5_000).map(|n| format!("{}.md", n + 90)).collect();
    for documents in [&few, &half, &many, &BTreeSet::new(), &BTreeSet::from(["nowhere.md".to_owned()])] {
        let found = store.search(&collection, &vector, 8, Some(documents)).unwrap();
        assert_eq!(found, nearest(&points, &vector, 8, Some(documents)), "{} documents", documents.len());
    }
    store.delete(&collection, &[points[3].id, points[103].id, points[203].id]).unwrap();
    let gone = BTreeSet::from(["3.md".to_owned()]);
    assert_eq!(store.search(&collection, &vector, 8, Some(&gone)).unwrap(), []);
}

fn gives_vectors_back_to_the_last_bit(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let mut odd = vec![-0.0, f32::MIN_POSITIVE, 1e-45, -1e-30, 0.1, 1.0 / 3.0, 0.9, f32::EPSILON];
    let rest = 1.0 - odd.iter().map(|number| number * number).sum::<f32>();
    odd[4] = (odd[4] * odd[4] + rest).max(0.0).sqrt();
    let mut points: Vec<Point> = (0..100).map(|n| point(n, "a.md")).collect();
    points[50].vector = unit(odd);
    points[51].vector = vec![-0.0, 0.0, 1.005, -0.0, 0.0, 0.0, 1e-45, 0.0];
    store.upsert(&collection, &points).unwrap();
    let bits = |points: &[Point]| -> Vec<Vec<u32>> {
        points.iter().map(|point| point.vector.iter().map(|number| number.to_bits()).collect()).collect()
    };
    for limit in [7, 100, 1_000] {
        let all = pages(store, &collection, limit);
        assert!(bits(&all) == bits(&points), "vectors are not as they were given");
        assert_eq!(all, points);
    }
}

fn keeps_any_names(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let names = [
        "Café/日本語 🌱.md",
        "it's \"quoted\" and \\back\\slashed\\.md",
        "'; drop table x; --",
        "  spaces around  ",
        "spaces around",
        "tab\tnew\nline\r\n",
        "{\"json\": [1]} $1 %s {} `x`",
        "UPPER.md",
        "upper.md",
        "",
    ];
    let points: Vec<Point> = (0..).zip(names).map(|(n, name)| point(n, name)).collect();
    store.upsert(&collection, &points).unwrap();
    assert_eq!(pages(store, &collection, 4), points);
    for one in &points {
        let documents = BTreeSet::from([one.document.clone()]);
        let found = store.search(&collection, &points[0].vector, 10, Some(&documents)).unwrap();
        assert_eq!(found, nearest(std::slice::from_ref(one), &points[0].vector, 10, None), "{:?}", one.document);
    }
}

fn keeps_many_at_once(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let points: Vec<Point> = (0..POINTS_MAX as u64).map(|n| point(n, &format!("{}.md", n / 9))).collect();
    store.upsert(&collection, &points).unwrap();
    assert_eq!(store.count(&collection).unwrap(), POINTS_MAX as u64);
    assert_eq!(pages(store, &collection, POINTS_MAX), points);
    let odd: Vec<PointId> = points.iter().skip(1).step_by(2).map(|point| point.id).collect();
    store.delete(&collection, &odd).unwrap();
    let even: Vec<Point> = points.into_iter().step_by(2).collect();
    assert_eq!(pages(store, &collection, 300), even);
    let vector = Chance::new(9_999).vector(DIMENSION);
    assert_eq!(store.search(&collection, &vector, 20, None).unwrap(), nearest(&even, &vector, 20, None));
}

fn keeps_owners_and_collections_apart(store: &dyn VectorStore) {
    let (mine, yours) = (notes(&owner()), notes(&owner()));
    let mut others = [mine.clone(), mine.clone(), mine.clone(), mine.clone()];
    others[0].content = Content::Code;
    others[1].embedder.model = "all_MiniLM_L6_v2".to_owned();
    others[2].embedder.model = "ALL-minilm:l6/v2 é \"'\\".to_owned();
    others[3].embedder.kind = "ollama".to_owned();
    store.upsert(&mine, &[point(1, "mine.md")]).unwrap();
    store.upsert(&yours, &[point(1, "yours.md"), point(2, "yours.md")]).unwrap();
    for (n, other) in (10..).zip(&others) {
        store.upsert(other, &[point(n, "other.md")]).unwrap();
    }
    let mut expected = vec![mine.clone()];
    expected.extend(others.clone());
    expected.sort();
    let mut found = store.collections(&mine.owner).unwrap();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(store.collections(&yours.owner).unwrap(), std::slice::from_ref(&yours));
    assert_eq!(pages(store, &mine, 9), [point(1, "mine.md")]);
    store.remove(&mine).unwrap();
    assert_eq!(pages(store, &yours, 9), [point(1, "yours.md"), point(2, "yours.md")]);
    for (n, other) in (10..).zip(&others) {
        assert_eq!(pages(store, other, 9), [point(n, "other.md")]);
    }
    assert_eq!(store.collections(&mine.owner).unwrap().len(), 4);
}

fn refuses_what_is_wrong(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let good = point(1, "a.md");
    let with = |vector: Vec<f32>| Point { vector, ..point(2, "b.md") };
    let mut number = good.vector.clone();
    number[2] = f32::NAN;
    let mut endless = good.vector.clone();
    endless[2] = f32::INFINITY;
    let many: Vec<Point> = (0..=POINTS_MAX as u64).map(|n| point(n, "a.md")).collect();
    let wrong = [
        vec![good.clone(), with(vec![1.0; DIMENSION - 1])],
        vec![good.clone(), with(number.clone())],
        vec![good.clone(), with(endless)],
        vec![good.clone(), with(vec![0.0; DIMENSION])],
        vec![good.clone(), Point { document: "x".repeat(5_000), ..point(2, "") }],
        many,
    ];
    for points in &wrong {
        let refused = store.upsert(&collection, points);
        assert!(matches!(refused, Err(VectorError::Refused { .. })), "{refused:?}");
    }
    assert_eq!(store.collections(&collection.owner).unwrap(), [], "none of a refused call is kept");
    store.upsert(&collection, std::slice::from_ref(&good)).unwrap();
    for points in &wrong {
        assert!(matches!(store.upsert(&collection, points), Err(VectorError::Refused { .. })));
    }
    assert_eq!(pages(store, &collection, 9), std::slice::from_ref(&good));
    for vector in [&good.vector[1..], &number, &[0.0; DIMENSION]] {
        assert!(matches!(store.search(&collection, vector, 3, None), Err(VectorError::Refused { .. })));
    }
    let ids = vec![PointId(1); POINTS_MAX + 1];
    assert!(matches!(store.delete(&collection, &ids), Err(VectorError::Refused { .. })));
    for owner in ["", "Upper", "with-dash", "'", "more0than0sixteen"] {
        assert!(matches!(store.collections(owner), Err(VectorError::Refused { .. })), "{owner:?}");
        assert!(matches!(store.upsert(&notes(owner), std::slice::from_ref(&good)), Err(VectorError::Refused { .. })));
    }
}

fn knows_nothing_of_what_is_not(store: &dyn VectorStore) {
    let collection = notes(&owner());
    let vector = Chance::new(1).vector(DIMENSION);
    store.upsert(&collection, &[]).unwrap();
    assert_eq!(store.search(&collection, &vector, 5, None).unwrap(), []);
    assert_eq!(store.page(&collection, None, 5).unwrap(), []);
    assert_eq!(store.count(&collection).unwrap(), 0);
    store.delete(&collection, &[PointId(1)]).unwrap();
    store.delete(&collection, &[]).unwrap();
    store.remove(&collection).unwrap();
    assert_eq!(store.collections(&collection.owner).unwrap(), []);
    store.upsert(&collection, &[point(1, "a.md")]).unwrap();
    assert_eq!(store.page(&collection, Some(PointId(u128::MAX)), 5).unwrap(), []);
    assert_eq!(store.page(&collection, None, 0).unwrap(), []);
}
