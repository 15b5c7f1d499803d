//! The numbers of a model, from its files.

use std::path::Path;
use std::{fs, io};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::ModelError;
use crate::chunk::hexadecimal;

const CONFIG: &str = "config.json";
const MODEL: &str = "model.safetensors";
const LIMIT: &str = "sentence_bert_config.json";
const POOLING: &str = "1_Pooling/config.json";

/// Letters of a digest that tell two models of one name apart.
const DIGEST_LETTERS: usize = 8;

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Numbers of a token, and of a vector.
    pub width: usize,
    /// Numbers in the middle of a layer.
    pub middle: usize,
    pub heads: usize,
    pub layers: usize,
    pub vocabulary: usize,
    /// Tokens that a text may have.
    pub positions: usize,
    /// What keeps a division from one by zero.
    pub epsilon: f32,
}

#[derive(Deserialize)]
struct Config {
    model_type: String,
    hidden_act: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f32,
}

/// A layer's normalisation: what is multiplied, and what is added.
pub(super) type Norm = (Vec<f32>, Vec<f32>);
/// A layer's product: the matrix, a row for each number that comes out, and what is added.
pub(super) type Linear = (Vec<f32>, Vec<f32>);

/// One layer.
pub(super) struct Layer {
    /// Query, key and value in one.
    pub attention: Linear,
    pub attention_out: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub norm: Norm,
}

/// All numbers of a model.
pub(super) struct Weights {
    pub shape: Shape,
    pub words: Vec<f32>,
    pub positions: Vec<f32>,
    pub kinds: Vec<f32>,
    pub norm: Norm,
    pub layers: Vec<Layer>,
}

pub(super) fn bytes(folder: &Path, file: &'static str) -> Result<Vec<u8>, ModelError> {
    let unreadable = |source| ModelError::File { folder: folder.to_owned(), file, source };
    fs::read(folder.join(file)).map_err(unreadable)
}

/// How many tokens of a text `sentence-transformers` takes, where it is said.
pub(super) fn max_tokens(folder: &Path) -> Option<usize> {
    let limit: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(LIMIT)).ok()?).ok()?;
    limit["max_seq_length"].as_u64().and_then(|tokens| usize::try_from(tokens).ok()).filter(|tokens| *tokens > 2)
}

/// Looks whether the vector of a text is the mean of its tokens', which is all that is computed here.
pub(super) fn takes_mean(folder: &Path) -> Result<(), ModelError> {
    const MEAN: &str = "pooling_mode_mean_tokens";
    if !folder.join(POOLING).exists() {
        return Ok(());
    }
    let wrong = |why: String| ModelError::Wrong { folder: folder.to_owned(), file: POOLING, why };
    let pooling: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes(folder, POOLING)?).map_err(|error| wrong(error.to_string()))?;
    let is_on = |mode: &&String| mode.starts_with("pooling_mode_") && pooling[*mode] == true;
    let modes: Vec<&String> = pooling.keys().filter(is_on).collect();
    if modes == [MEAN] { Ok(()) } else { Err(wrong(format!("it takes {modes:?}; only {MEAN} is computed"))) }
}

/// The first letters of a digest over all files that a vector depends on.
pub(super) fn digest(folder: &Path) -> Result<String, ModelError> {
    let mut hash = Sha256::new();
    for file in super::FILES {
        let unreadable = |source| ModelError::File { folder: folder.to_owned(), file, source };
        let mut reader = fs::File::open(folder.join(file)).map_err(unreadable)?;
        io::copy(&mut reader, &mut HashWriter(&mut hash)).map_err(unreadable)?;
    }
    hash.update(max_tokens(folder).unwrap_or_default().to_le_bytes());
    let mut digest = hexadecimal(&hash.finalize());
    digest.truncate(DIGEST_LETTERS);
    Ok(digest)
}

/// Hashes what is written, since a model is larger than what should be in memory.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn shape(folder: &Path) -> Result<Shape, ModelError> {
    let wrong = |why: String| ModelError::Wrong { folder: folder.to_owned(), file: CONFIG, why };
    let config: Config = serde_json::from_slice(&bytes(folder, CONFIG)?).map_err(|error| wrong(error.to_string()))?;
    if config.model_type != "bert" || config.hidden_act != "gelu" {
        return Err(wrong(format!(
            "{} with {} is no BERT as this program computes it",
            config.model_type, config.hidden_act
        )));
    }
    let divides = config.num_attention_heads > 0 && config.hidden_size.is_multiple_of(config.num_attention_heads);
    if !divides || config.hidden_size == 0 || config.max_position_embeddings < 3 {
        return Err(wrong("its sizes do not go together".to_owned()));
    }
    Ok(Shape {
        width: config.hidden_size,
        middle: config.intermediate_size,
        heads: config.num_attention_heads,
        layers: config.num_hidden_layers,
        vocabulary: config.vocab_size,
        positions: config.max_position_embeddings,
        epsilon: config.layer_norm_eps,
    })
}

/// Looks whether all numbers are there.
pub(super) fn check(folder: &Path, shape: &Shape) -> Result<(), ModelError> {
    Weights::read(folder, *shape).map(drop)
}

impl Weights {
    pub fn read(folder: &Path, shape: Shape) -> Result<Self, ModelError> {
        let bytes = bytes(folder, MODEL)?;
        let wrong = |why: String| ModelError::Wrong { folder: folder.to_owned(), file: MODEL, why };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let file = File { tensors, wrong: &wrong };
        let width = shape.width;
        let layers = (0..shape.layers).map(|layer| file.layer(layer, &shape));
        Ok(Self {
            words: file.numbers("embeddings.word_embeddings.weight", shape.vocabulary * width)?,
            positions: file.numbers("embeddings.position_embeddings.weight", shape.positions * width)?,
            // the first kind is the only one of a single text
            kinds: file.numbers("embeddings.token_type_embeddings.weight", 2 * width)?,
            norm: file.pair("embeddings.LayerNorm", width, width)?,
            layers: layers.collect::<Result<_, _>>()?,
            shape,
        })
    }
}

struct File<'a, F> {
    tensors: SafeTensors<'a>,
    wrong: &'a F,
}

impl<F: Fn(String) -> ModelError> File<'_, F> {
    fn numbers(&self, name: &str, count: usize) -> Result<Vec<f32>, ModelError> {
        // some are kept with the name of the model before
        let tensor = self.tensors.tensor(name).or_else(|_| self.tensors.tensor(&format!("bert.{name}")));
        let tensor = tensor.map_err(|_| (self.wrong)(format!("it has no {name}")))?;
        if tensor.dtype() != Dtype::F32 {
            return Err((self.wrong)(format!("{name} is {:?}, only F32 is read", tensor.dtype())));
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        if numbers.len() != count {
            return Err((self.wrong)(format!("{name} has {} numbers, {count} are right", numbers.len())));
        }
        Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
    }

    fn pair(&self, name: &str, weight: usize, bias: usize) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        Ok((self.numbers(&format!("{name}.weight"), weight)?, self.numbers(&format!("{name}.bias"), bias)?))
    }

    fn layer(&self, layer: usize, shape: &Shape) -> Result<Layer, ModelError> {
        let (width, middle) = (shape.width, shape.middle);
        let begin = format!("encoder.layer.{layer}");
        let mut attention = (Vec::new(), Vec::new());
        for part in ["query", "key", "value"] {
            let (weight, bias) = self.pair(&format!("{begin}.attention.self.{part}"), width * width, width)?;
            attention.0.extend(weight);
            attention.1.extend(bias);
        }
        Ok(Layer {
            attention,
            attention_out: self.pair(&format!("{begin}.attention.output.dense"), width * width, width)?,
            attention_norm: self.pair(&format!("{begin}.attention.output.LayerNorm"), width, width)?,
            up: self.pair(&format!("{begin}.intermediate.dense"), middle * width, middle)?,
            down: self.pair(&format!("{begin}.output.dense"), width * middle, width)?,
            norm: self.pair(&format!("{begin}.output.LayerNorm"), width, width)?,
        })
    }
}
