//! What a note holds: each element with its range in the file.
//!
//! It must not know how elements are found, nor what a link leads to.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Bytes of the file.
pub type Span = Range<usize>;

/// A note, taken apart. Lists are in the order of the file.
///
/// What an index keeps of it leaves out what only the text can be asked for: tasks, callouts and marks.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Note {
    /// Where the properties stand, with both lines of dashes; none where there are none.
    pub front_matter: Option<Span>,
    /// The properties, in order.
    pub properties: Vec<Property>,
    /// The pieces that the body consists of: they follow each other without a gap, from the end of the properties to the
    /// end of the file.
    pub blocks: Vec<Block>,
    /// Headings.
    pub headings: Vec<Heading>,
    /// Links of every kind, also those in properties.
    pub links: Vec<Link>,
    /// Tags in the text; those in the properties are [`Note::property_tags`].
    pub tags: Vec<Tag>,
    /// Tasks.
    #[serde(skip)]
    pub tasks: Vec<Task>,
    /// Ids that links can lead to.
    pub block_ids: Vec<BlockId>,
    /// Callouts.
    #[serde(skip)]
    pub callouts: Vec<Callout>,
    /// All else that has a place.
    #[serde(skip)]
    pub marks: Vec<Mark>,
    /// What is wrong with the note.
    pub warnings: Vec<Warning>,
}

impl Note {
    /// A property by its name, in any case.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name.eq_ignore_ascii_case(name))
    }

    /// The other names of the note, from the properties `aliases` and `alias`.
    pub fn aliases(&self) -> Vec<&str> {
        let values = ["aliases", "alias"].into_iter().filter_map(|name| self.property(name));
        values.flat_map(|property| property.value.texts()).collect()
    }

    /// The tags in the properties `tags` and `tag`, without `#`.
    pub fn property_tags(&self) -> Vec<&str> {
        let values = ["tags", "tag"].into_iter().filter_map(|name| self.property(name));
        let words = values.flat_map(|property| property.value.texts()).flat_map(|text| text.split([',', ' ']));
        words.map(|word| word.trim().trim_start_matches('#')).filter(|word| !word.is_empty()).collect()
    }

    /// The section that a heading opens: to the next heading of its level or above, or to the end.
    pub fn section(&self, heading: usize) -> Span {
        let opens = &self.headings[heading];
        let closes = self.headings[heading + 1..].iter().find(|later| later.level <= opens.level);
        let end = self.blocks.last().map_or(opens.span.end, |block| block.span.end);
        opens.span.start..closes.map_or(end, |later| later.span.start)
    }
}

/// A property of the note.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Property {
    /// Its name, as written.
    pub name: String,
    /// What it is.
    pub value: PropertyValue,
    /// Its lines, with the last line's end.
    pub span: Span,
}

/// A property by its type, as Obsidian's editor tells them apart.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum PropertyValue {
    /// Nothing.
    Empty,
    /// `true` or `false`.
    Checkbox(bool),
    /// A number.
    Number(f64),
    /// `2026-11-26`.
    Date(String),
    /// `2026-11-26T17:21` with or without seconds.
    DateTime(String),
    /// Any other text.
    Text(String),
    /// Several.
    List(Vec<PropertyValue>),
    /// YAML that Obsidian has no type for, such as names within names.
    Other,
}

impl PropertyValue {
    /// The text, or the texts of a list.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) | Self::Date(text) | Self::DateTime(text) => vec![text],
            Self::List(values) => values.iter().flat_map(Self::texts).collect(),
            Self::Empty | Self::Checkbox(_) | Self::Number(_) | Self::Other => Vec::new(),
        }
    }
}

/// A piece of the body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its bytes, with the empty lines after it.
    pub span: Span,
}

/// What a piece of the body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BlockKind {
    /// Empty lines before anything else, comments, and definitions that show nothing.
    Other,
    /// A heading.
    Heading,
    /// A paragraph.
    Paragraph,
    /// A list with all its items.
    List,
    /// A quote that is no callout.
    Quote,
    /// A callout.
    Callout,
    /// Code, fenced or indented.
    Code,
    /// A table.
    Table,
    /// HTML.
    Html,
    /// A line across the page.
    Rule,
    /// The text of a footnote.
    Footnote,
}

/// A heading.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heading {
    /// 1 to 6.
    pub level: u8,
    /// Its source without the marks of a heading.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A link or an embed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    /// How it is written.
    pub style: LinkStyle,
    /// Whether it shows what it leads to (`!`).
    pub embed: bool,
    /// The file that it names, decoded; empty for a place in the same note.
    pub path: String,
    /// The place within.
    pub place: Option<Place>,
    /// What is shown instead of the name.
    pub alias: Option<String>,
    /// Width, and height where it is given, of an embed.
    pub size: Option<(u32, Option<u32>)>,
    /// The whole of it.
    pub span: Span,
    /// Where the file is named: what a rename writes.
    pub path_span: Span,
}

/// How a link is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LinkStyle {
    /// `[[path]]`.
    Wiki,
    /// `[text](path)`, its path with `%20` for a space.
    Markdown,
    /// `[text](<path>)`.
    MarkdownAngled,
    /// `[label]: path`, to which `[text][label]` leads.
    Definition,
    /// A file shown on a canvas: always its path from the vault's root.
    Canvas,
    /// To the world outside, by a scheme: `https:`, `mailto:`, `obsidian:`.
    External,
}

/// A place within a note.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Place {
    /// `#heading`, or `#heading#below it`.
    Headings(Vec<String>),
    /// `#^id`.
    Block(String),
}

/// A tag in the text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tag {
    /// Without `#`; its levels are parted by `/`.
    pub name: String,
    /// With `#`.
    pub span: Span,
}

/// An item of a list that can be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// What stands between the brackets: a space is to be done.
    pub status: char,
    /// Its first line, after the brackets.
    pub text: String,
    /// From the brackets to the end of the first line.
    pub span: Span,
    /// The character between the brackets.
    pub status_span: Span,
}

/// `^id` at the end of a block, or below it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockId {
    /// Without `^`.
    pub id: String,
    /// With `^`.
    pub span: Span,
    /// What it names: the paragraph, item, quote, table or code.
    pub block: Span,
}

/// A quote that begins with `[!kind]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Callout {
    /// In lower case.
    pub kind: String,
    /// After the kind; empty where there is none.
    pub title: String,
    /// Whether it can be folded, and is.
    pub fold: Fold,
    /// 0, or how many callouts and quotes it lies in.
    pub depth: usize,
    /// The whole of it.
    pub span: Span,
}

/// Whether a callout can be folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fold {
    /// It cannot.
    Fixed,
    /// `+`: it is open.
    Open,
    /// `-`: it is closed.
    Closed,
}

/// Something with a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// What it is.
    pub kind: MarkKind,
    /// The whole of it.
    pub span: Span,
}

/// What has a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MarkKind {
    /// `%%comment%%`.
    Comment,
    /// `==text==`.
    Highlight,
    /// `` `code` ``.
    InlineCode,
    /// Code in lines of its own, with the word after the fence.
    Code {
        /// Empty where nothing is said.
        language: String,
    },
    /// `$maths$`.
    InlineMaths,
    /// `$$maths$$`.
    Maths,
    /// `[^label]`.
    FootnoteReference {
        /// Without `^`.
        label: String,
    },
    /// `[^label]: text`.
    FootnoteDefinition {
        /// Without `^`.
        label: String,
    },
    /// `^[text]`.
    InlineFootnote,
    /// HTML, in lines of its own or within text.
    Html,
}

/// What is wrong with a note, which is read all the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Warning {
    /// Bytes that are not UTF-8, in so many places.
    NotUtf8 {
        /// How many places.
        places: usize,
        /// The first of them.
        first: usize,
    },
    /// The properties are no YAML; they are text.
    Properties {
        /// Why.
        why: String,
    },
    /// The symbols of a source file are not known.
    Symbols {
        /// Why.
        why: String,
    },
    /// The canvas is no JSON Canvas; it is text.
    Canvas {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { places, first } => {
                write!(formatter, "not UTF-8 in {places} places, the first at byte {first}")
            }
            Self::Properties { why } => write!(formatter, "the properties are not read: {why}"),
            Self::Symbols { why } => write!(formatter, "the symbols are not known: {why}"),
            Self::Canvas { why } => write!(formatter, "the canvas is not read: {why}"),
        }
    }
}
