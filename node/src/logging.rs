//! What the daemon tells of itself: JSON lines for machines or text for people, on stderr and in a rotated file.
//!
//! Must not know what is logged. Ids are fields, and so are those of the spans around an event; secrets, note text
//! and prompts are never given to it.

pub mod file;
mod json;
pub mod metrics;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Which events are logged: a level, or directives such as `info,node::link=debug`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(String);

/// The text is no filter.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// A part without `=` must be a level: any other word would silence all the rest.
    #[error("'{0}' is no level; there are error, warn, info, debug, trace and off")]
    Level(String),
    /// A directive that does not parse.
    #[error("'{0}' is no log directive")]
    Directive(String),
}

/// For machines or for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Plain lines.
    Text,
}

/// How to log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which events.
    pub filter: Filter,
    /// In which form, on stderr; the file is always JSON.
    pub format: Format,
    /// The value of `service` in every line.
    pub service: &'static str,
    /// A directory for `rhizome.log` and its predecessors.
    pub directory: Option<PathBuf>,
}

/// What came of setting up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Initialised {
    /// Logging goes by these options.
    Now,
    /// It was set up before in this process and stays as it was.
    Before,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The log file cannot be opened.
    #[error("cannot open the log in {directory}")]
    File {
        /// Where.
        directory: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Sets logging up for the whole process; a second time changes nothing.
pub fn init(options: &Options) -> Result<Initialised, LoggingError> {
    let stderr: Box<dyn Layer<Registry> + Send + Sync> = match options.format {
        Format::Json => json::Lines::new(options.service, io::stderr()).boxed(),
        Format::Text => tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).boxed(),
    };
    let mut layers = vec![stderr];
    if let Some(directory) = &options.directory {
        let file = file::Rotating::open(directory)
            .map_err(|source| LoggingError::File { directory: directory.clone(), source })?;
        layers.push(json::Lines::new(options.service, file).boxed());
    }
    match tracing_subscriber::registry().with(layers).with(options.filter.compiled()).try_init() {
        Ok(()) => Ok(Initialised::Now),
        Err(_) => Ok(Initialised::Before),
    }
}

impl Filter {
    fn compiled(&self) -> EnvFilter {
        EnvFilter::builder().parse(&self.0).expect("a filter was parsed when it was made")
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for part in text.split(',').map(str::trim) {
            if !part.contains('=') && (part.is_empty() || part.parse::<LevelFilter>().is_err()) {
                return Err(FilterError::Level(part.to_owned()));
            }
        }
        EnvFilter::builder().parse(text).map_err(|_| FilterError::Directive(text.to_owned()))?;
        Ok(Self(text.to_owned()))
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
