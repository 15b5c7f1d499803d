//! Vectors by OpenAI, or by whoever answers in its way.
//!
//! An empty text is refused there, so a space is sent instead. What is longer than the models of OpenAI take is cut here; a
//! model that takes less refuses it.

use reqwest::StatusCode;
use tokio::runtime::Handle;
use vault::embed::{EmbedError, Embedder, EmbedderId, Reach};

use super::chat::Embedding;
use super::http::{CallError, Caller, Failure};
use super::wire::openai::{answer, write};
use super::{Address, Limits, vectors};
use crate::store::secret::Secret;

/// Most texts in one request; OpenAI takes 2,048.
pub const BATCH_TEXTS: usize = 128;
/// Most bytes of text in one request: with at least a byte a token it is below the 300,000 tokens that OpenAI takes.
pub const BATCH_BYTES: usize = 256 << 10;
/// What is sent of a text at most, in bytes: with at least a byte a token it is below the 8,192 tokens that OpenAI takes.
pub const TEXT_BYTES_MAX: usize = 8_000;
/// What is sent for an empty text.
const BLANK: &str = " ";
/// What the dimension is learnt by.
const PROBE: &str = "dimension";

/// A model, and where it is.
pub struct Settings {
    /// What `embeddings` is below: `https://api.openai.com/v1`.
    pub address: Address,
    /// The model, by the server's name.
    pub model: String,
    /// The key, where it wants one.
    pub key: Option<Secret>,
    /// How long things may take.
    pub limits: Limits,
}

/// A model behind the interface of OpenAI.
pub struct OpenAi {
    id: EmbedderId,
    reach: Reach,
    caller: Caller,
}

impl OpenAi {
    /// Opens a model: it is asked once, for its dimension.
    ///
    /// # Errors
    /// When the server is away, has no such model, does not take the key, or the model makes no vectors.
    pub fn open(settings: Settings, runtime: Handle) -> Result<Self, EmbedError> {
        let Settings { address, model, key, limits } = settings;
        let reach = address.reach();
        let caller = Caller::new(format!("openai/{model}"), address, key, limits, runtime)?;
        let id = EmbedderId { kind: "openai".to_owned(), model, dimension: 0 };
        let mut openai = Self { id, reach, caller };
        let probed = openai.ask(vec![PROBE.to_owned()])?;
        openai.id.dimension = probed.first().map_or(0, Vec::len);
        openai.checked(probed, 1)?;
        Ok(openai)
    }

    fn ask(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let wanted = Embedding { texts, dimensions: None };
        let body = write::embedding(&self.id.model, &wanted);
        let answer = self.caller.post("embeddings", body).map_err(|error| self.meaning(error))?;
        let (vectors, _) = answer::vectors(&answer).map_err(|failure| self.caller.refused(failure.detail))?;
        Ok(vectors)
    }

    fn checked(&self, vectors: Vec<Vec<f32>>, count: usize) -> Result<Vec<Vec<f32>>, EmbedError> {
        vectors::checked(vectors, count, self.id.dimension).map_err(|why| self.caller.refused(why))
    }

    fn meaning(&self, error: CallError) -> EmbedError {
        match error {
            CallError::Away(why) => self.caller.away(why),
            CallError::Unreadable(why) => self.caller.refused(why),
            CallError::Failure(failure) => self.failure(&failure),
        }
    }

    fn failure(&self, failure: &Failure) -> EmbedError {
        let Failure { status, words, .. } = failure;
        match *status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.caller.refused(format!("the key is not taken ({status}): {words}; set another"))
            }
            StatusCode::NOT_FOUND => {
                self.caller.refused(format!("there is no model or no such address ({words}); look at both"))
            }
            StatusCode::BAD_REQUEST if words.contains("context") => self.caller.refused(format!(
                "a text is too long for the model: {words}; take one that reads {TEXT_BYTES_MAX} bytes"
            )),
            _ => self.caller.usual(failure),
        }
    }
}

impl Embedder for OpenAi {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let sent = |text: &&'_ str| {
            if text.is_empty() { BLANK.to_owned() } else { vectors::cut(text, TEXT_BYTES_MAX).to_owned() }
        };
        let texts: Vec<String> = texts.iter().map(sent).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut all = Vec::with_capacity(texts.len());
        for batch in vectors::batches(&texts, BATCH_TEXTS, BATCH_BYTES) {
            all.extend(self.checked(self.ask(batch.iter().map(|&text| text.to_owned()).collect())?, batch.len())?);
        }
        Ok(all)
    }
}
