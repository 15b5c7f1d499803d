//! What is searched for, in the language of Obsidian's search.
//!
//! `file:`, `path:` and `content:` say where; `line:`, `block:`, `section:`, `task:`, `task-todo:` and `task-done:` ask for one of
//! these that has all; `tag:`, `[property]` and `[property:value]` ask for what they name, with `<` and `>` before a number or a
//! date, and `null` for an empty one; `match-case:` and `ignore-case:` hold for what follows. Words stand side by side or with
//! `OR`, `-` takes away, brackets group, quotes keep words together, `/.../` is a regular expression.

mod evaluate;
mod read;
#[cfg(test)]
mod tests;

use regex::Regex;

pub use evaluate::{Document, Hit};
pub use read::{QueryError, read};

/// What is searched for.
#[derive(Clone, Debug)]
pub enum Query {
    /// Each of them.
    All(Vec<Query>),
    /// At least one of them.
    Any(Vec<Query>),
    /// Not this.
    Not(Box<Query>),
    /// Text that fits.
    Text(Pattern),
    /// Text that fits in a part of the note.
    In(Scope, Box<Query>),
    /// A tag, or one below it; in the form of [`crate::path::key`], without `#`.
    Tag(String),
    /// A property that fits.
    Property(PropertyTest),
}

/// Text to be found.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// How it was written.
    pub written: Written,
    /// What finds it.
    pub(crate) regex: Regex,
}

/// How a text was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// A word.
    Word(String),
    /// Words in quotes.
    Phrase(String),
    /// A regular expression.
    Regex,
}

/// A part of a note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The name of the file.
    File,
    /// The whole path.
    Path,
    /// The text.
    Content,
    /// One line.
    Line,
    /// One paragraph, item or other block.
    Block,
    /// One section, without those below it.
    Section,
    /// One task.
    Task(Done),
}

/// Which tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Either.
    Any,
    /// Those with a space between the brackets.
    Open,
    /// Those with anything else.
    Closed,
}

/// What a property has to be.
#[derive(Clone, Debug)]
pub struct PropertyTest {
    /// Its name, as [`crate::path::key`] gives it.
    pub name: String,
    /// Its value; none where it only has to be there.
    pub value: Option<ValueTest>,
}

/// What a value has to be.
#[derive(Clone, Debug)]
pub enum ValueTest {
    /// Nothing.
    Null,
    /// Less than this number, or before this date.
    Less(String),
    /// More than this number, or after this date.
    Greater(String),
    /// Each of its texts is asked, and one has to fit.
    Fits(Box<Query>),
}
