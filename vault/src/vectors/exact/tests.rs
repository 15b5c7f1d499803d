//! What the scan finds, held against a plain sort by the full vectors.

use proptest::prelude::*;

use super::*;
use crate::vectors::check::cosine;

/// What is left of a choice, compared by the full vectors.
fn found(vectors: &[Vec<f32>], flat: &Flat, query: &[f32], wanted: usize) -> Vec<u128> {
    let mut best = Best::new(wanted);
    flat.scan(&Query::of(query), None, &mut best);
    let mut guesses = best.finish();
    let score = |guess: &Guess| cosine(query, &vectors[guess.id.0 as usize]);
    for guess in &guesses {
        assert!((score(guess) - guess.score).abs() <= guess.error, "{guess:?} is {}", score(guess));
    }
    guesses.sort_by(|left, right| score(right).total_cmp(&score(left)).then(left.id.cmp(&right.id)));
    guesses.iter().take(wanted).map(|guess| guess.id.0).collect()
}

fn sorted(vectors: &[Vec<f32>], query: &[f32], wanted: usize) -> Vec<u128> {
    let mut all: Vec<(f32, usize)> =
        vectors.iter().enumerate().map(|(id, vector)| (cosine(query, vector), id)).collect();
    all.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    all.into_iter().take(wanted).map(|(_, id)| id as u128).collect()
}

fn vector(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
    // a coarse grid, so that many are the same or nearly
    let number = prop_oneof![(-3_i8..=3).prop_map(f32::from), -1.0_f32..1.0];
    proptest::collection::vec(number, dimension)
        .prop_filter("zero", |vector| vector.iter().any(|number| *number != 0.0))
}

proptest! {
    /// The scan and a look at what it leaves find exactly what a sort of everything finds, equals by their id.
    #[test]
    fn the_scan_is_exact(
        (vectors, query) in (1_usize..40).prop_flat_map(|dimension| {
            (proptest::collection::vec(vector(dimension), 0..300), vector(dimension))
        }),
        wanted in 0_usize..30,
    ) {
        let mut flat = Flat::new(query.len());
        for (id, vector) in vectors.iter().enumerate() {
            let code = Code::of(vector);
            flat.push(PointId(id as u128), 0, &code.numbers, code.fit);
        }
        prop_assert_eq!(found(&vectors, &flat, &query, wanted), sorted(&vectors, &query, wanted));
    }

    /// Points come and go in any order, over the borders of blocks, and each stays what it is.
    #[test]
    fn slots_keep_what_they_hold(removals in proptest::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let count = BLOCK_POINTS as u32 + 30;
        let mut flat = Flat::new(2);
        let numbers = |id: u128| [(id % 120) as i8, (id / 120) as i8];
        for id in 0..u128::from(count) {
            flat.push(PointId(id), id as u32, &numbers(id), Fit { scale: id as f32, error: 0.0 });
        }
        for removal in removals {
            let slot = removal.index(flat.len()) as u32;
            let moved = flat.swap_remove(slot);
            prop_assert_eq!(moved, (slot < flat.len() as u32).then(|| flat.id(slot)));
        }
        for slot in 0..flat.len() as u32 {
            let id = flat.id(slot).0;
            prop_assert_eq!(flat.code(slot), (&numbers(id)[..], Fit { scale: id as f32, error: 0.0 }));
            prop_assert_eq!(flat.document(slot), id as u32);
        }
    }
}

/// A filter is a set of documents, whatever their numbers are.
#[test]
fn only_the_documents_asked_for_are_scanned() {
    let mut flat = Flat::new(2);
    for id in 0..2_000_u32 {
        let code = Code::of(&[1.0, id as f32 / 1_000.0]);
        flat.push(PointId(u128::from(id)), id / 3, &code.numbers, code.fit);
    }
    let mut documents = Documents::default();
    for document in [0, 64, 600, 100_000] {
        documents.insert(document);
    }
    let mut best = Best::new(100);
    flat.scan(&Query::of(&[1.0, 1.0]), Some(&documents), &mut best);
    let mut ids: Vec<u128> = best.finish().iter().map(|guess| guess.id.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 192, 193, 194, 1_800, 1_801, 1_802]);
    assert!(!Documents::default().contains(7));
}
