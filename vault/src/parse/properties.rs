//! The properties of a note: YAML between two lines of dashes, at the very beginning.

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};

use crate::note::{Note, Property, PropertyValue, Span, Warning};

/// Most bytes of properties that are read: a YAML document needs many times its size.
const PROPERTIES_BYTES_MAX: usize = 1 << 20;
const FENCE: &str = "---";

/// Reads the properties into the note, and says where the body begins.
pub(super) fn read(text: &str, start: usize, note: &mut Note) -> usize {
    let Some((yaml, end)) = find(text, start) else { return start };
    note.front_matter = Some(start..end);
    match parse(&text[yaml.clone()]) {
        Ok(entries) => {
            let lines = entry_lines(text, yaml);
            take(entries, &lines, note);
        }
        Err(why) => note.warnings.push(Warning::Properties { why }),
    }
    end
}

/// The lines between the fences, and where the second one ends.
fn find(text: &str, start: usize) -> Option<(Span, usize)> {
    let mut at = start;
    let mut opened = None;
    for line in text[start..].split_inclusive('\n') {
        let is_fence = line.trim_end() == FENCE;
        match opened {
            None if is_fence && line.ends_with('\n') => opened = Some(at + line.len()),
            None => return None,
            Some(open) if is_fence => return Some((open..at, at + line.len())),
            Some(_) => {}
        }
        at += line.len();
    }
    None
}

fn parse(yaml: &str) -> Result<Vec<(String, PropertyValue)>, String> {
    if yaml.len() > PROPERTIES_BYTES_MAX {
        return Err(format!("they are longer than {PROPERTIES_BYTES_MAX} bytes"));
    }
    let documents = Yaml::load_from_str(yaml).map_err(|error| error.to_string())?;
    let Some(document) = documents.first() else { return Ok(Vec::new()) };
    if document.is_null() {
        return Ok(Vec::new());
    }
    let Some(mapping) = document.as_mapping() else { return Err("they are not `name: value` lines".to_owned()) };
    let entries = mapping.iter().map(|(name, value)| (plain(name).unwrap_or_default(), typed(value)));
    Ok(entries.collect())
}

/// What a value is to Obsidian.
fn typed(yaml: &Yaml<'_>) -> PropertyValue {
    match yaml {
        Yaml::Value(Scalar::Null) => PropertyValue::Empty,
        Yaml::Value(Scalar::Boolean(value)) => PropertyValue::Checkbox(*value),
        Yaml::Value(Scalar::Integer(_) | Scalar::FloatingPoint(_)) => {
            let number = plain(yaml).and_then(|text| text.parse().ok());
            number.map_or(PropertyValue::Empty, PropertyValue::Number)
        }
        Yaml::Value(Scalar::String(text)) => dated(text),
        Yaml::Sequence(values) => PropertyValue::List(values.iter().map(typed).collect()),
        _ => PropertyValue::Other,
    }
}

/// Text, or a date or moment as Obsidian writes it.
fn dated(text: &str) -> PropertyValue {
    let shaped = |shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(is, wanted)| match wanted {
                b'0' => is.is_ascii_digit(),
                _ => is == wanted,
            })
    };
    if shaped("0000-00-00") {
        return PropertyValue::Date(text.to_owned());
    }
    let moments = ["0000-00-00T00:00", "0000-00-00T00:00:00", "0000-00-00 00:00", "0000-00-00 00:00:00"];
    if moments.into_iter().any(shaped) {
        PropertyValue::DateTime(text.to_owned())
    } else {
        PropertyValue::Text(text.to_owned())
    }
}

fn plain(yaml: &Yaml<'_>) -> Option<String> {
    match yaml {
        Yaml::Value(Scalar::String(text)) => Some(text.to_string()),
        Yaml::Value(Scalar::Integer(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::Boolean(value)) => Some(value.to_string()),
        _ => None,
    }
}

/// The lines of each entry: one begins where a line is not indented, and is neither a comment nor an item of a list.
fn entry_lines(text: &str, yaml: Span) -> Vec<Span> {
    let mut entries: Vec<Span> = Vec::new();
    let mut at = yaml.start;
    for line in text[yaml].split_inclusive('\n') {
        let end = at + line.len();
        let begins = !line.starts_with([' ', '\t', '#', '-', '\n', '\r', ']', '}']);
        match entries.last_mut() {
            Some(entry) if !begins => entry.end = end,
            _ if begins => entries.push(at..end),
            _ => {}
        }
        at = end;
    }
    entries
}

fn take(entries: Vec<(String, PropertyValue)>, lines: &[Span], note: &mut Note) {
    let mut lines = lines.iter();
    for (name, value) in entries {
        let span = lines.next().cloned().unwrap_or_default();
        note.properties.push(Property { name, value, span });
    }
}
