//! Vectors by OpenAI, or by whoever answers in its way.
//!
//! An empty text is refused there, so a space is sent instead. What is longer than the models of OpenAI take is cut here; a
//! model that takes less refuses it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use vault::embed::{EmbedError, Embedder, EmbedderId, Reach};

use super::http::{CallError, Caller, Failure};
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

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    /// A third of the bytes that numbers have.
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Numbers,
}

/// What was asked for, or what servers send that know nothing else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Base64(String),
    Plain(Vec<f32>),
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
        let probed = openai.ask(&[PROBE])?;
        openai.id.dimension = probed.first().map_or(0, Vec::len);
        openai.checked(probed, 1)?;
        Ok(openai)
    }

    fn ask(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let request = Request { model: &self.id.model, input: texts, encoding_format: "base64" };
        let answer = self.caller.post("embeddings", &request).map_err(|error| self.meaning(error))?;
        let unreadable = |why: &str| self.caller.refused(format!("its answer is not that of OpenAI: {why}"));
        let Answer { mut data } = serde_json::from_value(answer).map_err(|error| unreadable(&error.to_string()))?;
        // they may come in another order than the texts
        data.sort_by_key(|item| item.index);
        if data.iter().enumerate().any(|(at, item)| at != item.index) {
            return Err(unreadable("it has no vector for a text, or two"));
        }
        let numbers = data.into_iter().map(|item| item.embedding.read());
        numbers.collect::<Option<_>>().ok_or_else(|| unreadable("a vector is no base64 of whole numbers of 4 bytes"))
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

impl Numbers {
    /// The numbers; none where it is no base64 of floats of 4 bytes, the lowest byte first.
    fn read(self) -> Option<Vec<f32>> {
        match self {
            Self::Plain(numbers) => Some(numbers),
            Self::Base64(text) => {
                let bytes = STANDARD.decode(text).ok()?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                rest.is_empty().then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
            }
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
            all.extend(self.checked(self.ask(batch)?, batch.len())?);
        }
        Ok(all)
    }
}
