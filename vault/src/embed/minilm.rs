//! Sentence vectors in this process: a BERT of the form that `all-MiniLM-L6-v2` has, with the mean of the last layer as
//! `sentence-transformers` takes it.

mod elementwise;
mod forward;
mod weights;

use std::path::{Path, PathBuf};
use std::thread;

use tokenizers::{Tokenizer, TruncationParams};

use super::{EmbedError, Embedder, EmbedderId, Reach};
use weights::{Shape, Weights};

/// Tokens that are computed at once, which bounds the memory of a call: about 10 kB each.
const TOKENS_AT_ONCE: usize = 2_048;
/// Tokens of a text where the model's folder does not say how many it takes.
const TOKENS_MAX: usize = 256;

/// Why a folder is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of it is not there or cannot be read.
    #[error(
        "the model in {folder} has no {file} that can be read: {source}; add a whole one by `rhizome model add DIR`"
    )]
    File {
        /// Where.
        folder: PathBuf,
        /// Which.
        file: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of it is not what it should be.
    #[error("{file} of the model in {folder}: {why}; add another by `rhizome model add DIR`")]
    Wrong {
        /// Where.
        folder: PathBuf,
        /// Which.
        file: &'static str,
        /// Why.
        why: String,
    },
}

/// The files of a model, and those that it may have beside them.
pub const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
/// See [`FILES`].
pub const MORE_FILES: [&str; 2] = ["sentence_bert_config.json", "1_Pooling/config.json"];

/// The model, loaded.
pub struct MiniLm {
    id: EmbedderId,
    weights: Weights,
    tokenizer: Tokenizer,
    threads: usize,
}

impl MiniLm {
    /// Loads a model from a folder; `threads` of them compute at most.
    ///
    /// # Errors
    /// When a file is missing, or the model is of another form.
    pub fn open(folder: &Path, threads: usize) -> Result<Self, ModelError> {
        let (id, shape, tokenizer) = parts(folder)?;
        let weights = Weights::read(folder, shape)?;
        Ok(Self { id, weights, tokenizer, threads: threads.max(1) })
    }

    fn tokens(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, EmbedError> {
        let refused =
            |error: tokenizers::Error| EmbedError::Refused { embedder: self.id.to_string(), why: error.to_string() };
        let tokens = texts.iter().map(|text| Ok(self.tokenizer.encode_fast(*text, true)?.get_ids().to_vec()));
        tokens.collect::<Result<_, _>>().map_err(refused)
    }
}

/// What a model in a folder is, without loading it.
///
/// # Errors
/// When a file is missing, or the model is of another form.
pub fn check(folder: &Path) -> Result<EmbedderId, ModelError> {
    let (id, shape, _) = parts(folder)?;
    weights::check(folder, &shape)?;
    Ok(id)
}

fn parts(folder: &Path) -> Result<(EmbedderId, Shape, Tokenizer), ModelError> {
    let shape = weights::shape(folder)?;
    weights::takes_mean(folder)?;
    let tokenizer = tokenizer(folder, &shape)?;
    let id = EmbedderId { kind: "minilm".to_owned(), model: name(folder)?, dimension: shape.width };
    Ok((id, shape, tokenizer))
}

/// The name of a model: its folder's, and what tells it from another of that name. A folder that has this name keeps it.
fn name(folder: &Path) -> Result<String, ModelError> {
    let name = folder.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
    let digest = weights::digest(folder)?;
    Ok(if name.ends_with(&format!("-{digest}")) { name } else { format!("{name}-{digest}") })
}

fn tokenizer(folder: &Path, shape: &Shape) -> Result<Tokenizer, ModelError> {
    const FILE: &str = "tokenizer.json";
    let wrong = |why: String| ModelError::Wrong { folder: folder.to_owned(), file: FILE, why };
    let bytes = weights::bytes(folder, FILE)?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| wrong(error.to_string()))?;
    let max_length = weights::max_tokens(folder).unwrap_or(TOKENS_MAX).min(shape.positions);
    let truncation = TruncationParams { max_length, ..TruncationParams::default() };
    tokenizer.with_truncation(Some(truncation)).map_err(|error| wrong(error.to_string()))?;
    tokenizer.with_padding(None);
    let beyond = tokenizer.get_vocab(true).into_values().max().filter(|token| *token as usize >= shape.vocabulary);
    if let Some(token) = beyond {
        return Err(wrong(format!("it has a token {token}, and the model knows {}", shape.vocabulary)));
    }
    Ok(tokenizer)
}

impl Embedder for MiniLm {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn reach(&self) -> Reach {
        Reach::Local
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let tokens = self.tokens(texts)?;
        let groups = groups(&tokens, self.threads);
        let mut vectors = vec![Vec::new(); texts.len()];
        thread::scope(|scope| {
            let compute = |group: Vec<usize>| {
                let tokens = &tokens;
                scope.spawn(move || self.weights.vectors_of(&group, tokens))
            };
            let running: Vec<_> = groups.into_iter().map(compute).collect();
            for group in running {
                let group = group.join().expect("computing does not panic");
                for (text, vector) in group {
                    vectors[text] = vector;
                }
            }
        });
        Ok(vectors)
    }
}

impl Weights {
    /// The vectors of some of the texts, a bounded number of tokens at a time.
    fn vectors_of(&self, group: &[usize], tokens: &[Vec<u32>]) -> Vec<(usize, Vec<f32>)> {
        let mut vectors = Vec::with_capacity(group.len());
        let mut rest = group;
        while !rest.is_empty() {
            let mut count = 0;
            let mut total = 0;
            while count < rest.len() && (count == 0 || total + tokens[rest[count]].len() <= TOKENS_AT_ONCE) {
                total += tokens[rest[count]].len();
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            let texts: Vec<&[u32]> = now.iter().map(|text| tokens[*text].as_slice()).collect();
            vectors.extend(now.iter().copied().zip(self.forward(&texts)));
            rest = later;
        }
        vectors
    }
}

/// The texts in as many groups as there are threads, of about the same work.
fn groups(tokens: &[Vec<u32>], threads: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|text| std::cmp::Reverse(tokens[*text].len()));
    let mut groups = vec![(0usize, Vec::new()); threads.min(tokens.len())];
    for text in order {
        // the longest first, each to whoever has the least
        if let Some((work, group)) = groups.iter_mut().min_by_key(|(work, _)| *work) {
            *work += tokens[text].len();
            group.push(text);
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
