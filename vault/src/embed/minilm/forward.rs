//! From tokens to vectors: Devlin, Chang, Lee and Toutanova 2019, and the mean of the last layer (Reimers and Gurevych 2019).
//!
//! Texts stand one after the other without padding; only attention is computed text by text.

use gemm::{Parallelism, gemm};

use super::elementwise::{add, gelu, normalise, softmax};
use super::weights::{Layer, Linear, Weights};

impl Weights {
    /// A vector of length 1 for each text.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Vec<Vec<f32>> {
        let width = self.shape.width;
        let total: usize = texts.iter().map(|text| text.len()).sum();
        let mut state = self.embedded(texts, total);
        let mut scratch = Scratch::new(self, texts, total);
        for layer in &self.layers {
            self.layer(layer, texts, total, &mut state, &mut scratch);
        }
        let mut vectors = Vec::with_capacity(texts.len());
        let mut at = 0;
        for text in texts {
            let mut vector = vec![0.0f32; width];
            for row in state[at * width..(at + text.len()) * width].chunks_exact(width) {
                add(&mut vector, row);
            }
            let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt().max(1e-12);
            vector.iter_mut().for_each(|number| *number /= length);
            vectors.push(vector);
            at += text.len();
        }
        vectors
    }

    fn embedded(&self, texts: &[&[u32]], total: usize) -> Vec<f32> {
        let width = self.shape.width;
        let mut state = vec![0.0f32; total * width];
        let places = texts.iter().flat_map(|text| text.iter().enumerate());
        for (row, (position, token)) in state.chunks_exact_mut(width).zip(places) {
            let word = *token as usize;
            row.copy_from_slice(&self.words[word * width..][..width]);
            add(row, &self.positions[position * width..][..width]);
            add(row, &self.kinds[..width]);
        }
        normalise(&mut state, &self.norm, self.shape.epsilon);
        state
    }

    fn layer(&self, layer: &Layer, texts: &[&[u32]], total: usize, state: &mut [f32], scratch: &mut Scratch) {
        let (width, middle) = (self.shape.width, self.shape.middle);
        linear(state, &layer.attention, &mut scratch.attention, Size { rows: total, from: width, to: 3 * width });
        let mut at = 0;
        for text in texts {
            self.attend(at, text.len(), scratch);
            at += text.len();
        }
        linear(&scratch.context, &layer.attention_out, &mut scratch.out, Size { rows: total, from: width, to: width });
        add(state, &scratch.out);
        normalise(state, &layer.attention_norm, self.shape.epsilon);
        linear(state, &layer.up, &mut scratch.middle, Size { rows: total, from: width, to: middle });
        gelu(&mut scratch.middle);
        linear(&scratch.middle, &layer.down, &mut scratch.out, Size { rows: total, from: middle, to: width });
        add(state, &scratch.out);
        normalise(state, &layer.norm, self.shape.epsilon);
    }

    /// What each token of one text takes from the others.
    fn attend(&self, at: usize, tokens: usize, scratch: &mut Scratch) {
        let width = self.shape.width;
        let of_head = width / self.shape.heads;
        let row = (3 * width).cast_signed();
        // sizes of a model are far below what this holds
        let scale = 1.0 / (of_head as f32).sqrt();
        let (of_text, of_context) = (at * 3 * width, at * width);
        assert!(scratch.attention.len() >= of_text + tokens * 3 * width, "the products cover the text");
        assert!(
            scratch.context.len() >= of_context + tokens * width && scratch.scores.len() >= tokens * tokens,
            "there is room"
        );
        let row_of_scores = tokens.cast_signed();
        for head in 0..self.shape.heads {
            let query = of_text + head * of_head;
            let (key, value) = (query + width, query + 2 * width);
            // SAFETY: by the assertions, rows of `3 * width` numbers from `of_text` on are in bounds for all tokens, and a
            // head's columns end within a row; scores have a number for each pair; nothing that is read is written.
            unsafe {
                let source = scratch.attention.as_ptr();
                let query = From { at: source.add(query), column: 1, row };
                let key = From { at: source.add(key), column: row, row: 1 };
                let scores = To { at: scratch.scores.as_mut_ptr(), row: row_of_scores, adds: false };
                product(Size { rows: tokens, from: of_head, to: tokens }, query, key, scale, scores);
            }
            softmax(&mut scratch.scores[..tokens * tokens], tokens);
            // SAFETY: as above; a head's columns of the context's rows are in bounds by the assertion.
            unsafe {
                let scores = From { at: scratch.scores.as_ptr(), column: 1, row: row_of_scores };
                let value = From { at: scratch.attention.as_ptr().add(value), column: 1, row };
                let at = scratch.context.as_mut_ptr().add(of_context + head * of_head);
                let context = To { at, row: width.cast_signed(), adds: false };
                product(Size { rows: tokens, from: tokens, to: of_head }, scores, value, 1.0, context);
            }
        }
    }
}

/// Room for what one layer computes.
struct Scratch {
    attention: Vec<f32>,
    scores: Vec<f32>,
    context: Vec<f32>,
    middle: Vec<f32>,
    out: Vec<f32>,
}

impl Scratch {
    fn new(weights: &Weights, texts: &[&[u32]], total: usize) -> Self {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
        let (width, middle) = (weights.shape.width, weights.shape.middle);
        Self {
            attention: vec![0.0; total * 3 * width],
            scores: vec![0.0; longest * longest],
            context: vec![0.0; total * width],
            middle: vec![0.0; total * middle],
            out: vec![0.0; total * width],
        }
    }
}

/// The sizes of a product.
#[derive(Clone, Copy)]
struct Size {
    rows: usize,
    from: usize,
    to: usize,
}

/// Each row times the matrix, and what is added.
fn linear(input: &[f32], (weight, bias): &Linear, output: &mut [f32], Size { rows, from, to }: Size) {
    assert!(input.len() >= rows * from && output.len() >= rows * to && weight.len() == from * to, "sizes go together");
    for row in output[..rows * to].chunks_exact_mut(to) {
        row.copy_from_slice(bias);
    }
    let (from_row, to_row) = (from.cast_signed(), to.cast_signed());
    // SAFETY: the assertion holds all three within their bounds, and the output is borrowed by nobody else.
    unsafe {
        let input = From { at: input.as_ptr(), column: 1, row: from_row };
        let weight = From { at: weight.as_ptr(), column: from_row, row: 1 };
        product(Size { rows, from, to }, input, weight, 1.0, To { at: output.as_mut_ptr(), row: to_row, adds: true });
    }
}

/// A matrix that is read: where it begins, and how far its columns and its rows are apart.
#[derive(Clone, Copy)]
struct From {
    at: *const f32,
    column: isize,
    row: isize,
}

/// A matrix that is written, whose columns lie side by side; what it has is added to or replaced.
#[derive(Clone, Copy)]
struct To {
    at: *mut f32,
    row: isize,
    adds: bool,
}

/// The product of two matrices, times a number.
///
/// # Safety
/// The matrices of these sizes are within what the pointers point into, and nothing that is written is read.
unsafe fn product(size: Size, left: From, right: From, scale: f32, to: To) {
    let kept = if to.adds { 1.0 } else { 0.0 };
    // SAFETY: the caller's promise
    unsafe {
        gemm(
            size.rows,
            size.to,
            size.from,
            to.at,
            1,
            to.row,
            to.adds,
            left.at,
            left.column,
            left.row,
            right.at,
            right.column,
            right.row,
            kept,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
