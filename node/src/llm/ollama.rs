//! Vectors by Ollama.
//!
//! A text goes in a list also when it is alone: by itself an empty one gets no vector. Ollama cuts what is too long.

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use vault::embed::{EmbedError, Embedder, EmbedderId, Reach};

use super::http::{CallError, Caller, Failure};
use super::wire::ollama::KeepAlive;
use super::{Address, Limits, vectors};

/// Most texts in one request. It embeds them one after the other where it has one processor.
pub const BATCH_TEXTS: usize = 32;
/// Most bytes of text in one request.
pub const BATCH_BYTES: usize = 64 << 10;
/// What is sent of a text at most, in bytes: more than any model takes in.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// How long a model stays loaded after it was asked, where nothing else is said: Ollama's own default.
pub const KEEP_ALIVE: &str = "5m";
/// The tag that a name without one means.
const USUAL_TAG: &str = ":latest";
/// What the dimension is learnt by.
const PROBE: &str = "dimension";

/// A model, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where Ollama is.
    pub address: Address,
    /// The model, by Ollama's name.
    pub model: String,
    /// How long it stays loaded after it was asked, as Ollama writes it: `5m`, `-1` for ever, `0` not at all.
    pub keep_alive: String,
    /// How long things may take.
    pub limits: Limits,
}

/// A model in Ollama.
pub struct Ollama {
    id: EmbedderId,
    reach: Reach,
    keep_alive: KeepAlive,
    caller: Caller,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
    truncate: bool,
    keep_alive: &'a KeepAlive,
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
}

impl Ollama {
    /// Opens a model: it is asked once, for its dimension.
    ///
    /// # Errors
    /// When Ollama is away, has no such model, or the model makes no vectors.
    pub fn open(settings: Settings, runtime: Handle) -> Result<Self, EmbedError> {
        let Settings { address, model, keep_alive, limits } = settings;
        // two names of one model are one embedder
        let model = model.strip_suffix(USUAL_TAG).unwrap_or(&model).to_owned();
        let keep_alive = KeepAlive::from(&*keep_alive);
        let reach = address.reach();
        let caller = Caller::new(format!("ollama/{model}"), address, None, limits, runtime)?;
        let id = EmbedderId { kind: "ollama".to_owned(), model, dimension: 0 };
        let mut ollama = Self { id, reach, keep_alive, caller };
        let probed = ollama.ask(&[PROBE])?;
        ollama.id.dimension = probed.first().map_or(0, Vec::len);
        ollama.checked(probed, 1)?;
        Ok(ollama)
    }

    fn ask(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let (model, keep_alive) = (&*self.id.model, &self.keep_alive);
        let request = Request { model, input: texts, truncate: true, keep_alive };
        let request = serde_json::to_vec(&request).expect("a request holds only JSON");
        let answer = self.caller.post("api/embed", request).map_err(|error| self.meaning(error))?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| self.caller.refused(format!("its answer is not that of Ollama: {error}")))?;
        Ok(answer.embeddings)
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
            // the page that is not found is of another server
            StatusCode::NOT_FOUND if words.contains("model") => {
                self.caller.refused(format!("{words}; get it by `ollama pull {}`", self.id.model))
            }
            // it says so with the status of a fault of its own
            StatusCode::INTERNAL_SERVER_ERROR if words.contains("does not support") => {
                self.caller.refused(words.as_str())
            }
            _ => self.caller.usual(failure),
        }
    }
}

impl Embedder for Ollama {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let texts: Vec<&str> = texts.iter().map(|text| vectors::cut(text, TEXT_BYTES_MAX)).collect();
        let mut all = Vec::with_capacity(texts.len());
        for batch in vectors::batches(&texts, BATCH_TEXTS, BATCH_BYTES) {
            all.extend(self.checked(self.ask(batch)?, batch.len())?);
        }
        Ok(all)
    }
}
