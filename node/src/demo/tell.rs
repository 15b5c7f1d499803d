//! What a demo tells: plain lines with the time and who does something, the same on a terminal and in a file.

use std::fmt;
use std::io::{self, Write};
use std::time::Instant;

use crate::cli::exit::Failure;
use crate::cli::output::{Format, plain};

/// Who does something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The demo itself.
    Demo,
    /// The node that submits.
    Alice,
    /// The node that runs.
    Bob,
    /// The job on bob, which writes its log.
    Job,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Demo => "demo",
            Self::Alice => "alice",
            Self::Bob => "bob",
            Self::Job => "job |",
        })
    }
}

/// Tells on standard output; where that is for the one object, on standard error.
pub struct Teller {
    format: Format,
    began: Instant,
}

impl Teller {
    /// The time begins now.
    pub fn new(format: Format) -> Self {
        Self { format, began: Instant::now() }
    }

    /// One line of what happens. What others wrote keeps to its line.
    pub fn say(&self, who: Who, text: &str) -> Result<(), Failure> {
        let ms = self.began.elapsed().as_millis();
        self.plain(&format!("{:>3}.{:02} s  {who:5}  {}", ms / 1000, ms % 1000 / 10, plain(text)))
    }

    /// A line as it is.
    pub fn plain(&self, line: &str) -> Result<(), Failure> {
        let wrote = match self.format {
            Format::Text => write(&mut io::stdout().lock(), line),
            Format::Json => write(&mut io::stderr().lock(), line),
        };
        wrote.map_err(Failure::Output)
    }
}

fn write(out: &mut impl Write, line: &str) -> io::Result<()> {
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}
