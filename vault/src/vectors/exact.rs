//! A scan of all vectors in a small form: one signed byte for a number, and how far that is from the truth at most.
//!
//! The bound makes the scan exact: a point stays in the choice as long as it might be among the best, and the few that stay
//! are compared by their full vectors, which this part does not hold.

pub mod best;
mod kernel;

use self::best::{Best, Guess};
use self::kernel::Kernel;
use super::PointId;
use super::check::dot;

/// The largest number of a stored code.
const CODE_MAX: f32 = 127.0;
/// The largest number of a query's code: more of it is not to be had, since a sum of [`super::check::DIMENSION_MAX`] products
/// must fit an `i32`.
const WIDE_MAX: f32 = 4_095.0;
/// What the rounding of `f32` adds to a bound, with room.
const ROUNDING: f32 = 1e-5;
/// Points of a block: as many are scored at once, and memory grows by as much.
const BLOCK_POINTS: usize = 1_024;

/// A vector in its small form.
#[derive(Clone, PartialEq, Debug)]
pub struct Code {
    /// The numbers, each to be multiplied by the scale.
    pub numbers: Vec<i8>,
    /// What a code and its vector have in common.
    pub fit: Fit,
}

/// How a code stands to its vector, which is taken to be of length 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fit {
    /// By what the numbers are multiplied.
    pub scale: f32,
    /// The length of the difference to the vector.
    pub error: f32,
}

/// What is searched for, in a finer form than a [`Code`].
pub struct Query {
    wide: Vec<i16>,
    fit: Fit,
}

/// Which documents are searched: a bit for each number of a document.
#[derive(Clone, Debug, Default)]
pub struct Documents(Vec<u64>);

/// Vectors of one dimension that are scanned.
#[derive(Debug)]
pub struct Flat {
    dimension: usize,
    blocks: Vec<Vec<i8>>,
    fits: Vec<Fit>,
    ids: Vec<PointId>,
    documents: Vec<u32>,
}

impl Code {
    /// The small form of a vector that is not zero.
    pub fn of(vector: &[f32]) -> Self {
        let unit = unit(vector);
        let (scaled, fit) = scaled(&unit, CODE_MAX);
        // within the limit, which an `i8` holds
        Self { numbers: scaled.map(|number| number as i8).collect(), fit }
    }
}

impl Query {
    /// What is searched for; not zero.
    pub fn of(vector: &[f32]) -> Self {
        let unit = unit(vector);
        let (scaled, fit) = scaled(&unit, WIDE_MAX);
        Self { wide: scaled.map(|number| number as i16).collect(), fit }
    }

    /// A score that was computed from whole numbers, and by how much it may be wrong.
    fn judge(&self, sum: i32, fit: Fit) -> (f32, f32) {
        // |q·x - q'·x'| <= |q||x - x'| + |q - q'||x'|, and |x'| <= 1 + |x - x'|
        let error = fit.error + self.fit.error * (1.0 + fit.error) + ROUNDING;
        (sum as f32 * (self.fit.scale * fit.scale), error)
    }
}

impl Documents {
    /// Takes a document in.
    pub fn insert(&mut self, document: u32) {
        let word = document as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (document % 64);
    }

    /// Whether a document is among them.
    pub fn contains(&self, document: u32) -> bool {
        self.0.get(document as usize / 64).is_some_and(|word| word >> (document % 64) & 1 == 1)
    }
}

impl Flat {
    /// None yet.
    pub fn new(dimension: usize) -> Self {
        Self { dimension, blocks: Vec::new(), fits: Vec::new(), ids: Vec::new(), documents: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Adds one, and answers with its slot.
    pub fn push(&mut self, id: PointId, document: u32, numbers: &[i8], fit: Fit) -> u32 {
        assert_eq!(numbers.len(), self.dimension, "the caller has checked the dimension");
        let slot = self.ids.len();
        if slot.is_multiple_of(BLOCK_POINTS) {
            self.blocks.push(Vec::new());
        }
        self.blocks.last_mut().expect("one was pushed before the first point").extend_from_slice(numbers);
        self.fits.push(fit);
        self.ids.push(id);
        self.documents.push(document);
        u32::try_from(slot).expect("memory ends before four thousand million points")
    }

    /// Replaces what is in a slot, but for its id.
    pub fn replace(&mut self, slot: u32, document: u32, numbers: &[i8], fit: Fit) {
        let slot = slot as usize;
        self.numbers_mut(slot).copy_from_slice(numbers);
        self.fits[slot] = fit;
        self.documents[slot] = document;
    }

    /// Takes one out. The last one moves into its slot, and is named unless it was the last itself.
    pub fn swap_remove(&mut self, slot: u32) -> Option<PointId> {
        let slot = slot as usize;
        let last = self.ids.len() - 1;
        let numbers = self.numbers(last).to_vec();
        self.numbers_mut(slot).copy_from_slice(&numbers);
        let block = self.blocks.last_mut().expect("there is a point");
        block.truncate(block.len() - self.dimension);
        if block.is_empty() {
            self.blocks.pop();
        }
        self.fits.swap_remove(slot);
        self.ids.swap_remove(slot);
        self.documents.swap_remove(slot);
        self.ids.get(slot).copied()
    }

    /// The id in a slot.
    pub fn id(&self, slot: u32) -> PointId {
        self.ids[slot as usize]
    }

    /// The document of what is in a slot.
    pub fn document(&self, slot: u32) -> u32 {
        self.documents[slot as usize]
    }

    /// The code in a slot.
    pub fn code(&self, slot: u32) -> (&[i8], Fit) {
        (self.numbers(slot as usize), self.fits[slot as usize])
    }

    /// Offers everything of these documents, or everything, to a choice.
    pub fn scan(&self, query: &Query, documents: Option<&Documents>, best: &mut Best) {
        let kernel = Kernel::detect();
        let mut sums = [0; BLOCK_POINTS];
        for (index, block) in self.blocks.iter().enumerate() {
            let first = index * BLOCK_POINTS;
            let count = block.len() / self.dimension;
            let fits = &self.fits[first..first + count];
            let offer = |best: &mut Best, at: usize, sum: i32| {
                let (score, error) = query.judge(sum, fits[at]);
                if best.may_take(score, error) {
                    let slot = first + at;
                    best.offer(Guess { id: self.ids[slot], document: self.documents[slot], score, error });
                }
            };
            let Some(documents) = documents else {
                kernel.dots(&query.wide, block, &mut sums[..count]);
                (0..count).for_each(|at| offer(best, at, sums[at]));
                continue;
            };
            let wanted = self.documents[first..first + count].iter().enumerate();
            for (at, _) in wanted.filter(|(_, document)| documents.contains(**document)) {
                let numbers = &block[at * self.dimension..][..self.dimension];
                kernel.dots(&query.wide, numbers, &mut sums[..1]);
                offer(best, at, sums[0]);
            }
        }
    }

    fn numbers(&self, slot: usize) -> &[i8] {
        &self.blocks[slot / BLOCK_POINTS][slot % BLOCK_POINTS * self.dimension..][..self.dimension]
    }

    fn numbers_mut(&mut self, slot: usize) -> &mut [i8] {
        &mut self.blocks[slot / BLOCK_POINTS][slot % BLOCK_POINTS * self.dimension..][..self.dimension]
    }
}

/// Scores single codes, where they lie elsewhere than in a [`Flat`].
pub struct Single<'a> {
    query: &'a Query,
    kernel: Kernel,
}

impl<'a> Single<'a> {
    /// Of a query.
    pub fn new(query: &'a Query) -> Self {
        Self { query, kernel: Kernel::detect() }
    }

    /// The score of a code, and by how much it may be wrong.
    pub fn judge(&self, numbers: &[i8], fit: Fit) -> (f32, f32) {
        let mut sum = [0];
        self.kernel.dots(&self.query.wide, numbers, &mut sum);
        self.query.judge(sum[0], fit)
    }
}

/// The cosine of two codes, near enough to walk a graph by.
pub fn near(left: (&[i8], f32), right: (&[i8], f32)) -> f32 {
    Kernel::detect().dot(left.0, right.0) as f32 * (left.1 * right.1)
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = dot(vector, vector).sqrt();
    vector.iter().map(|number| (f64::from(*number) / length) as f32).collect()
}

/// Whole numbers up to a limit, and how they stand to the vector.
fn scaled(unit: &[f32], limit: f32) -> (impl Iterator<Item = f32>, Fit) {
    let largest = unit.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    let scale = largest / limit;
    let whole = move |number: &f32| (number / scale).round().clamp(-limit, limit);
    let difference = |number: &f32| f64::from(number - whole(number) * scale);
    let error = unit.iter().map(difference).map(|difference| difference * difference).sum::<f64>().sqrt();
    (unit.iter().map(whole), Fit { scale, error: error as f32 })
}

#[cfg(test)]
mod tests;
