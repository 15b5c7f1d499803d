//! The helper as `rad` runs it: one request after another, the value handed on.

use super::*;

const AUTHOR: &str = "z6MknSLrJoTcukLrE435hVNQT4JUhbvWLX4kUzqkEStBU8Vi";
const OTHER: &str = "z6MktaNvN1KVFMkSRAiN4qK5yvX1zuEEaseeX5sffhzPZRZW";

fn job() -> String {
    "aa".repeat(20)
}

/// A request as `rad` writes it: fields that we do not read included.
fn request(value: Value, id: &str, author: &str, action: Value) -> Request {
    let mut action = action;
    action[PARENTS] = json!([]);
    serde_json::from_value(json!({
        "value": value,
        "op": {
            "id": id, "actions": [action], "author": author, "timestamp": 1_700_000_000, "parents": [], "related": [],
            "identity": "bb".repeat(20), "manifest": { "typeName": TYPE_NAME, "version": 1 },
        },
        "concurrent": [],
    }))
    .unwrap()
}

fn root() -> Value {
    json!({
        "type": "create", "version": 1, "nonce": "0".repeat(32), "queue": "default", "arbiters": [AUTHOR],
        "workers": [OTHER], "grant": { "node": OTHER, "kind": "leased", "leaseMs": 30_000 },
        "spec": { "type": "command", "command": ["true"] },
    })
}

/// Operation by operation the value tells what the fold makes of them, the settle's Done found by its tree.
#[test]
fn evaluates_operation_by_operation() {
    let done = json!({
        "type": "done", "job": job(), "seq": 0, "epoch": 0, "term": 1, "outcome": { "type": "exited", "code": 3 },
    });
    let Value::Object(fields) = done.clone() else { panic!("it is an object") };
    let outcome = json!({ "type": "result", "term": 1, "done": tree::of(&[fields], TYPE_NAME) });
    let settle = json!({ "type": "settle", "job": job(), "seq": 1, "epoch": 0, "outcome": outcome });
    let first = answer(request(json!({}), &job(), AUTHOR, root())).value;
    assert!(first["job"]["settled"].is_null(), "{first}");
    let second = answer(request(first, &"cc".repeat(20), OTHER, done)).value;
    let third = answer(request(second, &"dd".repeat(20), AUTHOR, settle)).value;
    let shown: Shown = serde_json::from_value(third).unwrap();
    let settled = shown.job.unwrap();
    assert_eq!(settled.outcome(), Some(cobs::job::outcome::Outcome::Failed));
    assert_eq!(shown.operations.len(), 3);
}

/// A meaningless operation is counted, and a root that is no job is told; neither drops what follows.
#[test]
fn answers_whatever_comes() {
    let first = answer(request(json!({}), &job(), AUTHOR, root())).value;
    let second = answer(request(first, &"cc".repeat(20), OTHER, json!({ "type": "nonsense" }))).value;
    assert_eq!(second["job"]["ignored"], json!({ "malformed": 1 }));
    let refused = answer(request(json!({}), &job(), AUTHOR, json!({ "type": "create", "version": 9 })));
    assert!(refused.why.unwrap().contains("version 9"));
    assert_eq!(refused.value["operations"].as_array().unwrap().len(), 1);
}

/// Another type whose name ends alike is left as it is, with an honest error.
#[test]
fn leaves_other_types_alone() {
    let mut other = request(json!({ "kept": 1 }), &job(), AUTHOR, json!({ "Request": {} }));
    other.op.manifest.type_name = String::from("org.example.job");
    let told = answer(other);
    assert_eq!(told.value, json!({ "kept": 1 }));
    assert!(told.why.unwrap().contains("org.example.job"));
}

/// What a source repository is shown evaluates to the value of `radicle-job`: runs by who signed them, each once.
#[test]
fn evaluates_what_a_source_repository_is_shown() {
    let uuid = "1c741416-2644-80b0-950e-6ec7df813e87";
    let run = json!({ "Run": { "uuid": uuid, "log": "rad:z3x/1" } });
    let finished = |reason: &str| json!({ "Finished": { "uuid": uuid, "reason": reason } });
    let said = [
        (AUTHOR, json!({ "Request": { "oid": job() } })),
        (AUTHOR, run.clone()),
        (AUTHOR, json!({ "Run": { "uuid": uuid, "log": "rad:z3x/2" } })),
        // only for a run of the same node
        (OTHER, finished("Succeeded")),
        (AUTHOR, json!({ "Unknown": {} })),
        (AUTHOR, json!({ "Request": { "oid": "dd".repeat(20) } })),
        (AUTHOR, finished("Failed")),
        (OTHER, run),
    ];
    let value = said.into_iter().fold(json!({}), |value, (author, action)| {
        let mut request = request(value, &job(), author, action);
        request.op.manifest.type_name = String::from("xyz.radworks.job");
        let answer = answer(request);
        assert!(answer.why.is_none());
        answer.value
    });
    let run = |status| json!({ uuid: { "status": status, "log": "rad:z3x/1", "timestamp": 1_700_000_000 } });
    let runs = json!({ AUTHOR: run(json!({ "Finished": "Failed" })), OTHER: run(json!("Started")) });
    assert_eq!(value, json!({ "oid": job(), "runs": runs }));
}
