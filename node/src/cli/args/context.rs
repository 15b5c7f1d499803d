//! The options of the vault: search, packs, notes, the index, models.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use vault::search::Mode;
use vault::vectors::Content;

/// What is searched for.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct SearchOptions {
    /// What is searched for, in Obsidian's language.
    #[arg(
        value_name = "QUERY",
        required = true,
        help = "Words, and operators as in Obsidian: tag: path: file: line: section: task: [property:value] \"phrase\" /regex/ \
                OR -; after `--` where it begins with -"
    )]
    pub query: Vec<String>,
    /// By words, by meaning, or by both
    #[arg(long, value_name = "MODE", value_enum, default_value = "hybrid")]
    pub mode: SearchMode,
    /// In notes, in working trees, or in what jobs did
    #[arg(long = "in", value_name = "WHAT", value_enum, default_value = "notes")]
    pub content: SearchIn,
    /// Only what has every word, as in Obsidian
    #[arg(long)]
    pub all: bool,
    /// How many, 1 to 200
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub limit: usize,
    /// Show what each score consists of
    #[arg(long)]
    pub explain: bool,
}

/// In what it is searched, as it is typed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchIn {
    /// Notes of the vault, and pushed documents
    Notes,
    /// Files of working trees
    Code,
    /// Title, description, command, outcome and log of settled jobs
    Runs,
}

impl From<SearchIn> for Content {
    fn from(content: SearchIn) -> Self {
        match content {
            SearchIn::Notes => Self::Notes,
            SearchIn::Code => Self::Code,
            SearchIn::Runs => Self::Runs,
        }
    }
}

/// What is measured.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum BenchVerb {
    /// Measure search over this node's index by graded queries: by words, by meaning and by both
    Retrieval {
        /// A file with one query a line: {"query": "...", "grades": {"Note.md": 3}}
        #[arg(value_name = "QUERIES.jsonl")]
        file: PathBuf,
        /// Places that count, 1 to 200
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        places: usize,
    },
}

/// How it is searched, as it is typed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchMode {
    /// By words and by meaning
    Hybrid,
    /// By words
    Keyword,
    /// By meaning
    Vector,
}

impl From<SearchMode> for Mode {
    fn from(mode: SearchMode) -> Self {
        match mode {
            SearchMode::Hybrid => Self::Hybrid,
            SearchMode::Keyword => Self::Keyword,
            SearchMode::Vector => Self::Vector,
        }
    }
}

/// Which pack is made.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct ContextOptions {
    /// What is to be done, in any words
    #[arg(value_name = "TEXT")]
    pub text: Vec<String>,
    /// A note that it shall have; may be given again
    #[arg(long = "note", value_name = "NOTE")]
    pub notes: Vec<String>,
    /// What it may have in tokens; 4000 without
    #[arg(long, value_name = "COUNT", conflicts_with = "bytes")]
    pub tokens: Option<usize>,
    /// What it may have in bytes
    #[arg(long, value_name = "COUNT")]
    pub bytes: Option<usize>,
    /// Leave out what is private, so that it may go anywhere
    #[arg(long)]
    pub open_only: bool,
    /// The pack of a job, as it was submitted
    #[arg(long, value_name = "JOB", conflicts_with_all = ["text", "notes", "tokens", "bytes", "open_only"])]
    pub job: Option<String>,
}

/// What to do with a note.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum NoteVerb {
    /// Print a note; with --json also its digest, which a change may ask for
    Show {
        /// Its path in the vault
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Change one section, block or property, and no other byte
    Patch(PatchOptions),
    /// Give a file another name; every link follows
    Rename {
        /// Its path in the vault
        #[arg(value_name = "FROM")]
        from: String,
        /// Its path afterwards
        #[arg(value_name = "TO")]
        to: String,
    },
    /// Show where links lead and what links there; without a path what leads nowhere
    Links {
        /// Its path in the vault
        #[arg(value_name = "PATH")]
        path: Option<String>,
    },
}

/// What is changed in a note.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct PatchOptions {
    /// Its path in the vault
    #[arg(value_name = "PATH")]
    pub path: String,
    /// The digest of the note that you saw; it is left as it is when it has another
    #[arg(long, value_name = "DIGEST")]
    pub if_match: Option<String>,
    /// The heading of the section; given again for one below it
    #[arg(long, value_name = "HEADING", group = "place")]
    pub heading: Vec<String>,
    /// The id of the block, with or without ^
    #[arg(long, value_name = "ID", group = "place", allow_hyphen_values = true)]
    pub block: Option<String>,
    /// The name of the property
    #[arg(long, value_name = "NAME", group = "place")]
    pub property: Option<String>,
    /// What is there instead
    #[arg(long, value_name = "TEXT", group = "change", allow_hyphen_values = true)]
    pub replace: Option<String>,
    /// What comes first
    #[arg(long, value_name = "TEXT", group = "change", allow_hyphen_values = true)]
    pub prepend: Option<String>,
    /// What comes last
    #[arg(long, value_name = "TEXT", group = "change", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// The property's value: JSON, or text
    #[arg(long, value_name = "VALUE", group = "change", requires = "property", allow_hyphen_values = true)]
    pub value: Option<String>,
    /// Remove the property
    #[arg(long, group = "change", requires = "property")]
    pub remove: bool,
}

/// What to do with the vault.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum VaultVerb {
    /// Show how much of it is found in which way, and why not all
    Status {
        /// One file of it too
        #[arg(value_name = "PATH")]
        path: Option<String>,
    },
    /// Build the index anew beside the old one, which answers meanwhile
    Rebuild,
    /// Write pushed documents, passages and vectors as lines of JSON, private ones too
    Export {
        /// Where to; standard output without
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Take what `vault export` wrote, on this node or another
    Import {
        /// Where from
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What to do with models.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum ModelVerb {
    /// Copy a sentence model, so that the next `rhizome up` compares by meaning
    Add {
        /// Its folder, with config.json, tokenizer.json and model.safetensors
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}
