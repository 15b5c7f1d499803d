//! A model that is in memory only while it is used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::minilm::{self, MiniLm, ModelError};
use super::{EmbedError, Embedder, EmbedderId, Reach};

/// The model of a folder, loaded at its first use and forgotten when nobody asks.
pub struct Idle {
    id: EmbedderId,
    folder: PathBuf,
    threads: usize,
    loaded: Mutex<Option<(Arc<MiniLm>, Instant)>>,
}

impl Idle {
    /// Takes a folder whose model is looked at, but not kept in memory.
    ///
    /// # Errors
    /// When it is no model.
    pub fn new(folder: &Path, threads: usize) -> Result<Self, ModelError> {
        Ok(Self { id: minilm::check(folder)?, folder: folder.to_owned(), threads, loaded: Mutex::default() })
    }

    /// Whether it is in memory.
    pub fn is_loaded(&self) -> bool {
        self.lock().is_some()
    }

    /// Forgets the model where nobody has asked for so long.
    pub fn release(&self, idle: Duration) {
        let mut loaded = self.lock();
        if loaded.as_ref().is_some_and(|(_, used)| used.elapsed() >= idle) {
            *loaded = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Arc<MiniLm>, Instant)>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn model(&self) -> Result<Arc<MiniLm>, ModelError> {
        let mut loaded = self.lock();
        let model = match loaded.take() {
            Some((model, _)) => model,
            None => Arc::new(MiniLm::open(&self.folder, self.threads)?),
        };
        *loaded = Some((Arc::clone(&model), Instant::now()));
        Ok(model)
    }
}

impl Embedder for Idle {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn reach(&self) -> Reach {
        Reach::Local
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let failed = |error: ModelError| match &error {
            // it may be put there again
            ModelError::File { .. } => EmbedError::Away { embedder: self.id.to_string(), why: error.to_string() },
            ModelError::Wrong { .. } => EmbedError::Refused { embedder: self.id.to_string(), why: error.to_string() },
        };
        let model = self.model().map_err(failed)?;
        if *model.id() != self.id {
            // its vectors would be taken for those of the one before
            let why = format!("its folder has {} now; start rhizome again to use that", model.id());
            return Err(EmbedError::Refused { embedder: self.id.to_string(), why });
        }
        model.embed(texts)
    }
}
