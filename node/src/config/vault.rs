//! What is searched, by what it is compared, and where its vectors are.

use std::path::PathBuf;

use vault::ingest::watch::WatchMode;
use vault::vectors::url::StoreUrl;

use crate::llm::Address;
use crate::store::secret::Secret;

/// What is searched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vault {
    /// The folder that Obsidian opens.
    pub path: Option<PathBuf>,
    /// Where in it all is private.
    pub private: Vec<String>,
    /// How changes are noticed.
    pub watch: WatchMode,
    /// What compares by meaning, in the order of wishes.
    pub embedders: Vec<EmbedderChoice>,
    /// Whether somebody wished for these embedders, so that one that is missing is an error.
    pub embedders_given: bool,
    /// The folder of the model; the one that was added without.
    pub model: Option<PathBuf>,
    /// Where vectors are kept; in this process without.
    pub store: Option<StoreUrl>,
    /// Where Ollama is.
    pub ollama: Address,
    /// OpenAI, or who answers in its way.
    pub openai: OpenAi,
    /// Working trees whose files are searched.
    pub code: Code,
}

/// OpenAI, or who answers in its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenAi {
    /// What its paths are below.
    pub address: Address,
    /// The key; none where it wants none.
    pub key: Option<Key>,
}

/// Where a key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// Here.
    Given(Secret),
    /// In a file, which is read whenever it is needed.
    File(PathBuf),
}

/// Working trees whose files are searched.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Code {
    /// Their folders.
    pub paths: Vec<PathBuf>,
    /// Where in them all is private.
    pub private: Vec<String>,
}

/// What compares by meaning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EmbedderChoice {
    /// A model in this process.
    MiniLm,
    /// A model of Ollama.
    Ollama(String),
    /// A model of OpenAI, or of who answers in its way.
    OpenAi(String),
}
