//! What a change of a note means.

use vault::edit::Patch;
use vault::patch::{Change, Place, Value};

use crate::ops::error::{Code, Error};
use crate::ops::types::NotePatch;

/// The change, of which exactly one place and one change are given.
pub(super) fn patch(change: NotePatch) -> Result<Patch, Error> {
    let wrong = |why: &str| Error::new(Code::BadRequest, why);
    let places = [change.heading.is_some(), change.block.is_some(), change.property.is_some()];
    if places.into_iter().filter(|given| *given).count() != 1 {
        return Err(wrong("a change names one of heading, block and property"));
    }
    let texts = [&change.replace, &change.prepend, &change.append];
    let changes = texts.into_iter().filter(|given| given.is_some()).count();
    if let Some(name) = change.property {
        if changes > 0 || change.value.is_some() == change.remove {
            return Err(wrong("a property has a value, or is removed"));
        }
        let value = change.value.map(value).transpose()?;
        return Ok(Patch::Property { name, value });
    }
    if changes != 1 || change.value.is_some() || change.remove {
        return Err(wrong("a heading or block has one of replace, prepend and append"));
    }
    let place = match (change.heading, change.block) {
        (Some(path), _) => Place::Heading(path),
        (None, block) => Place::Block(block.unwrap_or_default().trim_start_matches('^').to_owned()),
    };
    let text = change.replace.map(Change::Replace);
    let text = text.or_else(|| change.prepend.map(Change::Prepend)).or_else(|| change.append.map(Change::Append));
    let change = text.ok_or_else(|| wrong("a heading or block has one of replace, prepend and append"))?;
    Ok(Patch::Text { place, change })
}

fn value(json: serde_json::Value) -> Result<Value, Error> {
    let wrong =
        || Error::new(Code::BadRequest, "a property is text, a number, true or false, null, or a list of texts");
    Ok(match json {
        serde_json::Value::Null => Value::Empty,
        serde_json::Value::Bool(checked) => Value::Checkbox(checked),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().ok_or_else(wrong)?),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(values) => {
            let texts = values.into_iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong));
            Value::List(texts.collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(_) => return Err(wrong()),
    })
}
