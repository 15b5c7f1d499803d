//! The git tree of an operation, from its actions: `rad` does not hand it over, and a settle names the tree of a Done.
//!
//! It is right for operations that the daemon wrote. One that `rad cob` wrote holds an empty `parents` in its action,
//! which looks the same from here; its tree differs, and only a settle that names it would tell.

use cobs::id::Oid;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

/// The tree of an operation with these actions: a blob each, named by its place, and the manifest.
pub fn of(actions: &[Map<String, Value>], type_name: &str) -> Oid {
    let manifest = json!({ "typeName": type_name, "version": 1 });
    let mut entries: Vec<(String, [u8; 20])> = actions
        .iter()
        .enumerate()
        .map(|(place, action)| (place.to_string(), blob(&canonical(&Value::Object(action.clone())))))
        .collect();
    entries.push((String::from("manifest"), blob(&canonical(&manifest))));
    // git sorts by name
    entries.sort();
    let mut tree = Vec::new();
    for (name, id) in entries {
        tree.extend(format!("100644 {name}\0").into_bytes());
        tree.extend(id);
    }
    Oid::from_sha1(object("tree", &tree))
}

fn blob(content: &[u8]) -> [u8; 20] {
    object("blob", content)
}

fn object(kind: &str, content: &[u8]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    hasher.update(format!("{kind} {}\0", content.len()));
    hasher.update(content);
    hasher.finalize().into()
}

/// Radicle's canonical JSON: no space, keys by their bytes.
fn canonical(value: &Value) -> Vec<u8> {
    let text = |text: &str| Value::String(text.to_owned()).to_string().into_bytes();
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(Vec<u8>, Vec<u8>)> =
                fields.iter().map(|(key, value)| (text(key), canonical(value))).collect();
            fields.sort();
            let fields: Vec<Vec<u8>> = fields.into_iter().map(|(key, value)| [key, value].join(&b':')).collect();
            [b"{".as_slice(), &fields.join(&b','), b"}"].concat()
        }
        Value::Array(values) => {
            let values: Vec<Vec<u8>> = values.iter().map(canonical).collect();
            [b"[".as_slice(), &values.join(&b','), b"]"].concat()
        }
        Value::String(string) => text(string),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree is the one that git makes of the same files.
    #[test]
    fn is_the_tree_that_git_makes() {
        let action = json!({ "type": "cancel", "seq": 1, "b": [1, { "z": "\u{e9}\n", "a": null }] });
        let Value::Object(action) = action else { panic!("it is an object") };
        let home = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git").args(arguments).current_dir(&home).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet"]);
        let file = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
        file("0", "{\"b\":[1,{\"a\":null,\"z\":\"\u{e9}\\n\"}],\"seq\":1,\"type\":\"cancel\"}");
        file("manifest", "{\"typeName\":\"io.rhizome.job\",\"version\":1}");
        git(&["add", "."]);
        assert_eq!(of(&[action], "io.rhizome.job").to_string(), git(&["write-tree"]));
    }
}
