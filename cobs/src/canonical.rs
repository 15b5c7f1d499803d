//! The bytes we write for what is signed: JSON with sorted keys and no white space.
//!
//! Text is written as it is. Radicle's own encoder composes it (NFC): a file name of another form would name another
//! file, and some text grows by it, past a bound that was checked before.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// The canonical bytes of a value of our wire form.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("our wire form holds only string keys and integers");
    let mut bytes = Vec::new();
    write(&value, &mut bytes);
    bytes
}

/// Recurses as deep as our types are nested, which is bounded: none holds itself.
fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let mut before = b'{';
            for (key, value) in sorted {
                bytes.push(before);
                leaf(&Value::String(key.clone()), bytes);
                bytes.push(b':');
                write(value, bytes);
                before = b',';
            }
            bytes.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
        }
        Value::Array(items) => {
            let mut before = b'[';
            for item in items {
                bytes.push(before);
                write(item, bytes);
                before = b',';
            }
            bytes.extend_from_slice(if before == b'[' { b"[]" } else { b"]" });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => leaf(value, bytes),
    }
}

fn leaf(value: &Value, bytes: &mut Vec<u8>) {
    serde_json::to_writer(bytes, value).expect("memory takes all that is written");
}
