//! Bytes that are no action, one kind for each way in which they may fail.

use serde_json::{Value, json};

use super::{Cast, Say, WORKER1};

/// How many kinds there are.
pub const KINDS: u8 = 16;

/// The bytes of a kind.
pub fn bytes(kind: u8, cast: &impl Cast) -> Vec<u8> {
    let grant = Say::Grant { epoch: 0, term: 1, to: WORKER1, held: false }.action(cast, cast.job(), 1);
    let grant: Value = serde_json::from_slice(&grant.encode()).expect("an action is JSON");
    let with = |field: &str, value: Value| {
        let mut grant = grant.clone();
        grant[field] = value;
        grant.to_string().into_bytes()
    };
    match kind % KINDS {
        0 => b"not json".to_vec(),
        1 => Vec::new(),
        2 => vec![0xff; 40],
        3 => b"{}".to_vec(),
        4 => with("type", json!("renew")),
        5 => with("kind", json!("shared")),
        6 => with("kind", json!({"leased": null})),
        7 => with("leaseMs", json!(999)),
        8 => with("term", json!(0)),
        9 => with("seq", json!(-1)),
        10 => with("epoch", json!(0.5)),
        11 => with("job", json!("é".repeat(18) + "aéa")),
        12 => with("node", json!(cast.node(WORKER1).to_string().to_uppercase())),
        13 => with("job", json!(cast.job().to_string().to_uppercase().replace(|digit: char| digit.is_numeric(), "A"))),
        14 => format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)).into_bytes(),
        _ => json!({"type": "create", "version": 2, "spec": {}}).to_string().into_bytes(),
    }
}
