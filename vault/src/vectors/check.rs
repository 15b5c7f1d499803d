//! What every store asks of a call before it does anything, so that all refuse the same; and the cosine that all answer with.

use std::collections::BTreeMap;

use super::{Collection, POINTS_MAX, Point, PointId, VectorError};

/// Most numbers of a vector. With it no sum of products of a scan leaves an `i32`.
pub const DIMENSION_MAX: usize = 4_096;
/// Longest name of a document, in bytes: the longest path of a file.
pub const DOCUMENT_BYTES_MAX: usize = 4_096;
/// Longest digest of a passage, in bytes.
pub const DIGEST_BYTES_MAX: usize = 128;
/// Longest name of a program or model that embeds, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;
/// Longest name of an owner, in bytes.
pub const OWNER_BYTES_MAX: usize = 16;
/// By how much the length of a vector may differ from 1: models of half precision round.
pub const LENGTH_TOLERANCE: f64 = 0.01;

/// The checks of one store.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    /// What the store is called in an error.
    pub store: &'a str,
}

impl Check<'_> {
    /// A collection has a name that every store can keep.
    pub fn collection(self, collection: &Collection) -> Result<(), VectorError> {
        self.owner(&collection.owner)?;
        let embedder = &collection.embedder;
        if embedder.kind.len() > MODEL_BYTES_MAX || embedder.model.len() > MODEL_BYTES_MAX {
            return Err(self.refused(format!("the embedder's name is longer than {MODEL_BYTES_MAX} bytes")));
        }
        match embedder.dimension {
            1..=DIMENSION_MAX => Ok(()),
            other => Err(self.refused(format!("a vector has 1 to {DIMENSION_MAX} numbers, not {other}"))),
        }
    }

    /// An owner is a short plain name.
    pub fn owner(self, owner: &str) -> Result<(), VectorError> {
        let plain = owner.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if plain && (1..=OWNER_BYTES_MAX).contains(&owner.len()) {
            return Ok(());
        }
        Err(self.refused(format!("the owner {owner:?} is not 1 to {OWNER_BYTES_MAX} of a-z and 0-9")))
    }

    /// The points of a call, the last one where an id is there twice.
    pub fn points<'p>(
        self,
        collection: &Collection,
        points: &'p [Point],
    ) -> Result<BTreeMap<PointId, &'p Point>, VectorError> {
        self.collection(collection)?;
        self.amount(points.len())?;
        for point in points {
            self.vector(collection.embedder.dimension, &point.vector)?;
            for (text, limit) in [(&point.document, DOCUMENT_BYTES_MAX), (&point.digest, DIGEST_BYTES_MAX)] {
                if text.len() > limit {
                    return Err(self.refused(format!("a name of {} bytes, {limit} are the most", text.len())));
                }
            }
        }
        Ok(points.iter().map(|point| (point.id, point)).collect())
    }

    /// Not too many at once.
    pub fn amount(self, points: usize) -> Result<(), VectorError> {
        if points > POINTS_MAX {
            return Err(self.refused(format!("{points} points at once, {POINTS_MAX} are the most: split them")));
        }
        Ok(())
    }

    /// A vector is what an embedder gives.
    pub fn vector(self, dimension: usize, vector: &[f32]) -> Result<(), VectorError> {
        if vector.len() != dimension {
            return Err(self.refused(format!("a vector of {} numbers in a collection of {dimension}", vector.len())));
        }
        if !vector.iter().all(|number| number.is_finite()) {
            return Err(self.refused("a vector with a number that is not finite".to_owned()));
        }
        let length = dot(vector, vector).sqrt();
        if (length - 1.0).abs() > LENGTH_TOLERANCE {
            return Err(self.refused(format!("a vector of length {length:.3} instead of 1")));
        }
        Ok(())
    }

    /// The error of what cannot be.
    pub fn refused(self, why: String) -> VectorError {
        VectorError::Refused { store: self.store.to_owned(), why }
    }

    /// The error of what may be later.
    pub fn away(self, why: String) -> VectorError {
        VectorError::Away { store: self.store.to_owned(), why }
    }
}

/// The cosine of two vectors that are not zero. Summed in `f64`, so that every order of summing rounds to the same `f32`.
pub fn cosine(left: &[f32], right: &[f32]) -> f32 {
    let cosine = dot(left, right) / (dot(left, left) * dot(right, right)).sqrt();
    cosine.clamp(-1.0, 1.0) as f32
}

/// A sum of products that has no rounding to speak of.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f64 {
    const LANES: usize = 8;
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += f64::from(left[lane]) * f64::from(right[lane]);
        }
    }
    let rest = left_rest.iter().zip(right_rest).map(|(left, right)| f64::from(*left) * f64::from(*right));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::EmbedderId;
    use crate::vectors::Content;

    const CHECK: Check<'static> = Check { store: "test" };

    fn collection(owner: &str, dimension: usize) -> Collection {
        let embedder = EmbedderId { kind: "minilm".to_owned(), model: "m".to_owned(), dimension };
        Collection { owner: owner.to_owned(), content: Content::Notes, embedder }
    }

    #[test]
    fn says_what_is_wrong_with_a_call() {
        let words = |result: Result<(), VectorError>| result.map_or_else(|error| error.to_string(), |()| "fine".into());
        assert_eq!(words(CHECK.collection(&collection("a1", 3))), "fine");
        for owner in ["", "A", "a-b", "é", "a2345678901234567"] {
            assert!(words(CHECK.owner(owner)).contains("is not 1 to 16 of a-z and 0-9"), "{owner}");
        }
        assert!(words(CHECK.collection(&collection("a", 0))).ends_with("a vector has 1 to 4096 numbers, not 0"));
        assert!(words(CHECK.vector(2, &[1.0])).ends_with("a vector of 1 numbers in a collection of 2"));
        assert!(words(CHECK.vector(2, &[f32::NAN, 1.0])).ends_with("a number that is not finite"));
        assert!(words(CHECK.vector(2, &[0.0, 0.0])).ends_with("a vector of length 0.000 instead of 1"));
        assert_eq!(words(CHECK.vector(2, &[0.6, 0.8])), "fine");
    }

    #[test]
    fn a_cosine_is_the_same_in_any_order() {
        let left: Vec<f32> = (0..37).map(|n| (n as f32).sin()).collect();
        let right: Vec<f32> = (0..37).map(|n| (n as f32 * 1.7).cos()).collect();
        let reversed = |vector: &[f32]| vector.iter().rev().copied().collect::<Vec<_>>();
        let cosine_of_both = cosine(&left, &right);
        assert_eq!(cosine_of_both, cosine(&reversed(&left), &reversed(&right)));
        assert_eq!(cosine(&left, &left), 1.0);
    }
}
