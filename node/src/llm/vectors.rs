//! What is sent at once, and whether the vectors that come back are what an embedder answers.

/// A text without what is too long of it.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Texts in batches of so many texts and bytes at most, in their order. A longer text is a batch of its own.
pub fn batches<'a>(texts: &'a [&'a str], texts_max: usize, bytes_max: usize) -> Vec<&'a [&'a str]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, text) in texts.iter().enumerate() {
        if at > start && (at - start == texts_max || bytes + text.len() > bytes_max) {
            batches.push(&texts[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += text.len();
    }
    if start < texts.len() {
        batches.push(&texts[start..]);
    }
    batches
}

/// Vectors of length 1, so many and of that dimension.
///
/// # Errors
/// What is wrong with them, and what to do.
pub fn checked(vectors: Vec<Vec<f32>>, count: usize, dimension: usize) -> Result<Vec<Vec<f32>>, String> {
    if vectors.len() != count {
        return Err(format!("it answers {} vectors for {count} texts", vectors.len()));
    }
    vectors.into_iter().map(|vector| normal(vector, dimension)).collect()
}

fn normal(mut vector: Vec<f32>, dimension: usize) -> Result<Vec<f32>, String> {
    if vector.len() != dimension {
        return Err(format!(
            "its vectors have {} numbers now, and {dimension} when it was opened: the model is another; index anew with it",
            vector.len()
        ));
    }
    let length = vector.iter().map(|number| f64::from(*number) * f64::from(*number)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return Err("a vector of it has no length, or numbers that are none".to_owned());
    }
    for number in &mut vector {
        *number = (f64::from(*number) / length) as f32;
    }
    Ok(vector)
}
