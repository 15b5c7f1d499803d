//! Collections and points that the tests are about, from small numbers.

use std::sync::atomic::{AtomicU32, Ordering};

use vault::embed::EmbedderId;
use vault::vectors::{Collection, Content, Point, PointId};

/// Numbers of a vector in most tests.
pub const DIMENSION: usize = 8;

/// A small generator; the same seed gives the same numbers.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// A vector of length 1 in any direction.
    pub fn vector(&mut self, dimension: usize) -> Vec<f32> {
        let number = |chance: &mut Self| chance.next() as f32 / u32::MAX as f32 - 0.5;
        unit((0..dimension).map(|_| number(self)).collect())
    }
}

/// The vector of length 1 in this direction.
pub fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.into_iter().map(|number| number / length).collect()
}

/// An owner that no other test has, also none of another run against the same server.
pub fn owner() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The notes of an owner.
pub fn notes(owner: &str) -> Collection {
    let embedder = EmbedderId { kind: "minilm".to_owned(), model: "all-MiniLM-L6-v2".to_owned(), dimension: DIMENSION };
    Collection { owner: owner.to_owned(), content: Content::Notes, embedder }
}

/// A point with this number, of this document.
pub fn point(number: u64, document: &str) -> Point {
    let id = PointId(u128::from(number) << 64 | u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let vector = Chance::new(number).vector(DIMENSION);
    Point { id, document: document.to_owned(), digest: format!("{number:064x}"), vector }
}
