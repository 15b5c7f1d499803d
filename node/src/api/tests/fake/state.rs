//! The state of a job of the node in memory.

use cobs::id::JobId;
use cobs::job::state::Job;
use serde_json::json;

use super::NODE;
use crate::ops::types::Submit;

pub fn of(id: JobId, submit: &Submit) -> Job {
    let create = json!({
        "version": cobs::JOB_VERSION, "nonce": "0".repeat(32), "queue": "default", "mode": submit.mode,
        "arbiters": [NODE], "workers": [NODE], "spec": { "type": "command", "command": submit.command },
    });
    let state = json!({
        "id": id, "author": NODE, "pin": "22".repeat(20), "create": create, "bids": {}, "grants": [], "dones": [],
        "epochs": [{ "epoch": 0, "arbiter": NODE, "last": 0, "by": null }], "cancels": {}, "settled": null,
        "otherSettles": [], "lastSeq": { NODE: 0 }, "ignored": {},
    });
    serde_json::from_value(state).unwrap()
}
