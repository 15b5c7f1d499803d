//! What turns text into vectors, and what it must keep to.

pub mod cache;
pub mod idle;
pub mod minilm;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which embedder made a vector. Vectors of two are never compared: even the same model gives other vectors for the same
/// text when another program splits it into words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EmbedderId {
    /// The program: `minilm`, `ollama` or `openai`.
    pub kind: String,
    /// The model, as that program names it.
    pub model: String,
    /// How many numbers a vector has.
    pub dimension: usize,
}

impl fmt::Display for EmbedderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.kind, self.model, self.dimension)
    }
}

/// Where a text goes to be embedded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It stays on this machine.
    Local,
    /// It leaves it: to a peer or to a cloud.
    Remote,
}

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// Not now; the same call may succeed later.
    #[error("the embedder {embedder} is away: {why}")]
    Away {
        /// Which.
        embedder: String,
        /// Why.
        why: String,
    },
    /// Not as things are: the model is missing, its dimension is another, or the request is refused.
    #[error("the embedder {embedder} cannot: {why}")]
    Refused {
        /// Which.
        embedder: String,
        /// Why, and what to do.
        why: String,
    },
}

/// Turns text into vectors of length 1.
///
/// `embed` answers with one vector of `id().dimension` finite numbers for each text, in their order, also for an empty text;
/// it waits for no longer than its own limit of time. A text that is too long for the model is cut at its end. The same
/// text has the same vector, whatever it is embedded with.
pub trait Embedder: Send + Sync {
    /// Which it is. It does not change.
    fn id(&self) -> &EmbedderId;

    /// Where texts go.
    fn reach(&self) -> Reach;

    /// The vectors of texts. It blocks.
    ///
    /// # Errors
    /// When the embedder is away or refuses; then nothing is known of any of the texts.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;
}
