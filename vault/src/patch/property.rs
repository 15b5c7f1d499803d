//! A property's lines, written so that YAML and Obsidian read the value that was given.

use super::{PatchError, line_end};
use crate::note::{Note, PropertyValue};
use crate::parse;
use crate::rename::{Edit, apply};
use crate::source::Source;

/// What a property gets.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing, with its name kept.
    Empty,
    /// `true` or `false`.
    Checkbox(bool),
    /// A number.
    Number(f64),
    /// Text, a date or a moment.
    Text(String),
    /// Several texts, each on a line.
    List(Vec<String>),
}

pub(super) fn edit(source: &Source, note: &Note, name: &str, value: Option<&Value>) -> Result<Edit, PatchError> {
    let unwritable = || PatchError::Property(name.to_owned());
    // what is no property is no YAML that was read
    if note.front_matter.is_some()
        && note.warnings.iter().any(|warning| matches!(warning, crate::note::Warning::Properties { .. }))
    {
        return Err(PatchError::BrokenProperties);
    }
    let end = line_end(source);
    let lines = value.map(|value| written(name, value, end)).unwrap_or_default();
    let edit = match (note.property(name), &note.front_matter) {
        (Some(known), _) => {
            let lines = value.map(|value| written(&known.name, value, end)).unwrap_or_default();
            Edit { span: known.span.clone(), text: lines }
        }
        (None, _) if value.is_none() => Edit { span: source.start()..source.start(), text: String::new() },
        (None, Some(front_matter)) => {
            let closing = source.text()[front_matter.clone()].trim_end().len() - "---".len();
            let at = front_matter.start + closing;
            Edit { span: at..at, text: lines }
        }
        (None, None) => {
            let at = source.start();
            Edit { span: at..at, text: format!("---{end}{lines}---{end}") }
        }
    };
    let after = Source::new(apply(source.text().as_bytes(), std::slice::from_ref(&edit)));
    if is_so(note, &parse::note(&after), name, value) { Ok(edit) } else { Err(unwritable()) }
}

/// Whether the note after differs from the one before in that property alone.
fn is_so(before: &Note, after: &Note, name: &str, value: Option<&Value>) -> bool {
    let others = |note: &Note| -> Vec<(String, PropertyValue)> {
        let others = note.properties.iter().filter(|property| !property.name.eq_ignore_ascii_case(name));
        others.map(|property| (property.name.clone(), property.value.clone())).collect()
    };
    let is = after.property(name).map(|property| &property.value);
    let fits = match (value, is) {
        (None, None) | (Some(Value::Empty), Some(PropertyValue::Empty)) => true,
        (Some(Value::Checkbox(wanted)), Some(PropertyValue::Checkbox(is))) => wanted == is,
        (Some(Value::Number(wanted)), Some(PropertyValue::Number(is))) => wanted == is,
        (Some(Value::Text(wanted)), Some(is)) => is.texts() == [wanted.as_str()],
        (Some(Value::List(wanted)), Some(is @ PropertyValue::List(_))) => is.texts() == *wanted,
        _ => false,
    };
    fits && others(before) == others(after) && before.headings.len() == after.headings.len()
}

fn written(name: &str, value: &Value, end: &str) -> String {
    let name = scalar(name);
    match value {
        Value::Empty => format!("{name}:{end}"),
        Value::Checkbox(value) => format!("{name}: {value}{end}"),
        Value::Number(value) => format!("{name}: {value}{end}"),
        Value::Text(text) => format!("{name}: {}{end}", scalar(text)),
        Value::List(texts) if texts.is_empty() => format!("{name}: []{end}"),
        Value::List(texts) => {
            let items: String = texts.iter().map(|text| format!("  - {}{end}", scalar(text))).collect();
            format!("{name}:{end}{items}")
        }
    }
}

/// A text as it is where YAML takes it for one, else in double quotes, whose escapes are those of JSON.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(char::is_alphabetic)
        && text.chars().all(|next| next.is_alphanumeric() || " -_/.".contains(next))
        && text.trim() == text
        && !is_word_of_yaml(text);
    let dated = text.starts_with(|first: char| first.is_ascii_digit())
        && text.len() >= "0000-00-00".len()
        && text.chars().all(|next| next.is_ascii_digit() || "-T:".contains(next));
    if plain || dated { text.to_owned() } else { serde_json::Value::String(text.to_owned()).to_string() }
}

/// Words that some reader of YAML takes for something else than text.
fn is_word_of_yaml(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
