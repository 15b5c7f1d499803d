//! What `rad cob show --type xyz.radworks.job` prints: the value that `radicle-job` evaluates such an object to.

use cobs::id::NodeId;
use cobs::radworks::Action;
use serde_json::{Map, Value, json};

/// The value after an operation. An action that means nothing there changes nothing.
pub fn apply(value: Value, author: &NodeId, timestamp: &Value, actions: Vec<Map<String, Value>>) -> Value {
    let actions = actions.into_iter().map(|action| serde_json::from_value(Value::Object(action)));
    actions.fold(value, |value, action| match action {
        Ok(action) => applied(value, &author.to_string(), timestamp, action),
        Err(_) => value,
    })
}

fn applied(mut value: Value, author: &str, timestamp: &Value, action: Action) -> Value {
    if value["oid"].is_null() {
        return match action {
            Action::Request { oid } => json!({ "oid": oid, "runs": {} }),
            Action::Run { .. } | Action::Finished { .. } => value,
        };
    }
    match action {
        Action::Request { .. } => {}
        Action::Run { uuid, log } => {
            let run = &mut value["runs"][author][uuid.to_string()];
            if run.is_null() {
                *run = json!({ "status": "Started", "log": log, "timestamp": timestamp });
            }
        }
        Action::Finished { uuid, reason } => {
            if let Some(run) = value["runs"].get_mut(author).and_then(|runs| runs.get_mut(uuid.to_string())) {
                run["status"] = json!({ "Finished": reason });
                run["timestamp"] = timestamp.clone();
            }
        }
    }
    value
}
