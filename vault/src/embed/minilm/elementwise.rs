//! What is done to each number: with the instructions of AVX2 where the processor has them, and else in the same steps.
//!
//! The compiler makes the fast form out of the plain one, so both round alike but for fused multiplications.

use super::weights::Norm;

/// Adds number by number.
pub(super) fn add(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// Rows to a mean of 0 and a variance of 1 (Ba, Kiros and Hinton 2016), scaled and moved.
pub(super) fn normalise(state: &mut [f32], (scale, shift): &Norm, epsilon: f32) {
    let width = scale.len();
    // sizes of a model are far below what this holds
    let count = width as f32;
    for row in state.chunks_exact_mut(width) {
        let mean = row.iter().sum::<f32>() / count;
        let variance = row.iter().map(|number| (number - mean) * (number - mean)).sum::<f32>() / count;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for ((number, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
            *number = (*number - mean) * inverse * scale + shift;
        }
    }
}

macro_rules! with_avx2 {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*), $plain:ident, $fast:ident) => {
        $(#[$doc])*
        pub(super) fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the processor has both.
                return unsafe { $fast($($argument),*) };
            }
            $plain($($argument),*);
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn $fast($($argument: $type),*) {
            $plain($($argument),*);
        }
    };
}

with_avx2!(
    /// Rows of this length to shares that come to 1.
    softmax(scores: &mut [f32], length: usize), softmax_plain, softmax_fast
);

with_avx2!(
    /// The Gaussian error linear unit (Hendrycks and Gimpel 2016), with the error function by formula 7.1.26 of Abramowitz
    /// and Stegun, whose error is below 1.5e-7.
    gelu(numbers: &mut [f32]), gelu_plain, gelu_fast
);

#[inline(always)]
fn softmax_plain(scores: &mut [f32], length: usize) {
    for row in scores.chunks_exact_mut(length.max(1)) {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        row.iter_mut().for_each(|score| *score = exponential(*score - most));
        let whole = row.iter().sum::<f32>();
        row.iter_mut().for_each(|score| *score /= whole);
    }
}

#[inline(always)]
fn gelu_plain(numbers: &mut [f32]) {
    for number in numbers.iter_mut() {
        let scaled = *number * std::f32::consts::FRAC_1_SQRT_2;
        let size = scaled.abs();
        let t = 1.0 / (0.327_591_1 * size + 1.0);
        let sum = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t + 0.254_829_6) * t;
        let error = 1.0 - sum * exponential(-size * size);
        *number = 0.5 * *number * (1.0 + error.copysign(scaled));
    }
}

/// e to a power, by the method of the Cephes library (Moshier 1989): about 1e-7 of it wrong.
#[inline(always)]
fn exponential(power: f32) -> f32 {
    let power = power.clamp(-87.0, 88.0);
    let twos = (power * std::f32::consts::LOG2_E).round_ties_even();
    let rest = power - twos * 0.693_359_4 + twos * 2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4 * rest + 1.398_199_9e-3;
    sum = sum * rest + 8.333_452e-3;
    sum = sum * rest + 4.166_579_6e-2;
    sum = sum * rest + 1.666_666_5e-1;
    sum = sum * rest + 0.5;
    let value = sum * rest * rest + rest + 1.0;
    // the clamp keeps the exponent within that of a number
    let exponent = (twos as i32 + 127) << 23;
    value * f32::from_bits(exponent.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_form_computes_the_same() {
        let numbers: Vec<f32> = (-4_000..4_000).map(|number| number as f32 / 500.0).collect();
        for number in &numbers {
            let (ours, exact) = (exponential(*number), f64::from(*number).exp());
            assert!((f64::from(ours) - exact).abs() <= exact * 3e-7, "e^{number}: {ours}");
        }
        let (mut fast, mut plain) = (numbers.clone(), numbers.clone());
        gelu(&mut fast);
        gelu_plain(&mut plain);
        assert!(fast.iter().zip(&plain).all(|(fast, plain)| (fast - plain).abs() < 1e-5));
        assert!((fast[4_500] - 0.841_344_7).abs() < 1e-5, "the unit of 1 is {}", fast[4_500]);
        let mut scores = numbers[..100].to_vec();
        softmax(&mut scores, 50);
        assert!(scores.chunks(50).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        assert!((scores[49] / scores[48] - (1.0f32 / 500.0).exp()).abs() < 1e-5);
    }
}
