//! What compares by meaning, as it is configured: a model in this process, Ollama, OpenAI or who answers in its way.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use vault::embed::idle::Idle;
use vault::embed::{EmbedError, Embedder};
use vault::meaning::Open;

use crate::config::{EmbedderChoice, Key, Vault as Settings};
use crate::llm::{Limits, ollama, openai};
use crate::ops::error::{Code, Error};
use crate::store::secret::Secret;

/// Longest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 16 << 10;

/// The embedders in the order of wishes, and the model that this process has in memory.
#[derive(Default)]
pub struct Embedders {
    /// How each is opened.
    pub open: Vec<Open>,
    /// The one in this process.
    pub model: Option<Arc<Idle>>,
}

/// The embedders that are configured, or the model that was added where nothing is.
///
/// # Errors
/// When a model in this process is wished for and is none. One that others run may be away, and is asked later.
pub fn embedders(settings: &Settings, models: &Path, runtime: &Handle) -> Result<Embedders, Error> {
    let mut embedders = Embedders::default();
    for choice in &settings.embedders {
        match choice {
            EmbedderChoice::MiniLm => {
                let Some(folder) = folder(settings, models) else {
                    if settings.embedders_given {
                        return Err(Error::new(Code::Config, "vault.embedder has minilm, and no model was added")
                            .hint("add one with: rhizome model add DIR; deploy/minilm.sh fetches one"));
                    }
                    continue;
                };
                let threads = thread::available_parallelism().map_or(1, NonZero::get);
                let idle = match Idle::new(&folder, threads) {
                    Ok(idle) => Arc::new(idle),
                    Err(error) if settings.embedders_given || settings.model.is_some() => {
                        return Err(Error::new(Code::Config, error.to_string()));
                    }
                    // nobody has asked for it
                    Err(error) => {
                        tracing::warn!(%error, "search is by words only");
                        continue;
                    }
                };
                embedders.model = Some(Arc::clone(&idle));
                embedders.open.push(Arc::new(move || Ok(Arc::clone(&idle) as Arc<dyn Embedder>)));
            }
            EmbedderChoice::Ollama(model) => embedders.open.push(by_ollama(settings, model, runtime)),
            EmbedderChoice::OpenAi(model) => embedders.open.push(by_openai(settings, model, runtime)),
        }
    }
    Ok(embedders)
}

fn by_ollama(settings: &Settings, model: &str, runtime: &Handle) -> Open {
    let (model, address, runtime) = (model.to_owned(), settings.ollama.clone(), runtime.clone());
    let settings =
        ollama::Settings { address, model, keep_alive: ollama::KEEP_ALIVE.to_owned(), limits: Limits::default() };
    Arc::new(move || {
        let ollama = ollama::Ollama::open(settings.clone(), runtime.clone())?;
        Ok(Arc::new(ollama) as Arc<dyn Embedder>)
    })
}

fn by_openai(settings: &Settings, model: &str, runtime: &Handle) -> Open {
    let (model, wanted, runtime) = (model.to_owned(), settings.openai.clone(), runtime.clone());
    Arc::new(move || {
        let key = wanted.key.as_ref().map(|key| secret(key, &model)).transpose()?;
        let (address, limits) = (wanted.address.clone(), Limits::default());
        let settings = openai::Settings { address, model: model.clone(), key, limits };
        Ok(Arc::new(openai::OpenAi::open(settings, runtime.clone())?) as Arc<dyn Embedder>)
    })
}

fn secret(key: &Key, model: &str) -> Result<Secret, EmbedError> {
    let file = match key {
        Key::Given(secret) => return Ok(secret.clone()),
        Key::File(file) => file,
    };
    let away = |why: String| EmbedError::Away {
        embedder: format!("openai/{model}"),
        why: format!("its key in {} is not read: {why}", file.display()),
    };
    let size = fs::metadata(file).map_err(|error| away(error.to_string()))?.len();
    if size > KEY_BYTES_MAX {
        return Err(away(format!("it has {size} bytes, {KEY_BYTES_MAX} are the most")));
    }
    let text = fs::read_to_string(file).map_err(|error| away(error.to_string()))?;
    Ok(Secret::presented(text.trim()))
}

/// The folder of the model that is configured, or of the first one that was added.
fn folder(settings: &Settings, models: &Path) -> Option<PathBuf> {
    if let Some(folder) = &settings.model {
        return Some(folder.clone());
    }
    let mut folders: Vec<PathBuf> =
        fs::read_dir(models).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    // one that is being copied, or whose copying broke off, begins with a dot
    let is_whole = |folder: &PathBuf| folder.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
    folders.into_iter().filter(is_whole).find(|folder| folder.join("config.json").is_file())
}
