//! `rad-cob-job`: what `rad cob show` and `rad cob create` run to evaluate a job object, one operation at a time; ours, and
//! `xyz.radworks.job`, whose name ends alike.
//!
//! The value handed from call to call carries the operations so far and the state that they mean. It always answers
//! with a value: an empty answer would make `rad` drop the operation and all that follow it. What `rad` does not hand
//! over is not known here: which identity revisions were accepted and who the delegates are. So every pin counts, and
//! nobody has a delegate's rights; the daemon's own view is the full one.

mod radworks;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;

use cobs::id::{JobId, NodeId, RevisionId, TreeId};
use cobs::job::TYPE_NAME;
use cobs::job::action::{Action, ActionError};
use cobs::job::fold::Identity;
use cobs::job::history::{Content, History, Op, OpId};
use cobs::job::state::Job;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A field that `rad cob` adds to every action.
const PARENTS: &str = "parents";
/// What cannot be judged here.
const NOTE: &str = "delegates and accepted identity revisions are unknown to this helper; \
    `rhizome job show` judges them as well";

/// What `rad` sends for one operation.
#[derive(Deserialize)]
struct Request {
    value: Value,
    op: RadOp,
}

/// An operation as `rad` writes it.
#[derive(Deserialize)]
struct RadOp {
    id: JobId,
    actions: Vec<Map<String, Value>>,
    author: NodeId,
    identity: Option<RevisionId>,
    #[serde(default)]
    timestamp: Value,
    manifest: Manifest,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "typeName", alias = "typename")]
    type_name: String,
}

/// The value that goes from call to call, and that `rad cob show` prints.
#[derive(Serialize, Deserialize)]
struct Shown {
    /// What the operations mean; none when the root is no job.
    job: Option<Job>,
    /// Why there is no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What cannot be judged here.
    note: String,
    /// Each operation, the root first.
    operations: Vec<Kept>,
}

/// One operation, as much of it as the fold needs.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    id: JobId,
    author: NodeId,
    tree: TreeId,
    pin: Option<RevisionId>,
    actions: Vec<Map<String, Value>>,
}

/// Reads requests until the end of the input; the answer to each is one line.
pub fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    for request in serde_json::Deserializer::from_reader(io::stdin().lock()).into_iter::<Request>() {
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                eprintln!("rad-cob-job: the request cannot be read: {error}");
                return ExitCode::from(65);
            }
        };
        let answer = answer(request);
        if let Some(why) = &answer.why {
            eprintln!("rad-cob-job: {why}");
        }
        let written = serde_json::to_writer(&mut out, &answer.value).map_err(io::Error::from);
        if let Err(error) = written.and_then(|()| writeln!(out)).and_then(|()| out.flush()) {
            eprintln!("rad-cob-job: the answer cannot be written: {error}");
            return ExitCode::from(74);
        }
    }
    ExitCode::SUCCESS
}

/// The new value, and what is to be told besides.
struct Answer {
    value: Value,
    why: Option<String>,
}

fn answer(request: Request) -> Answer {
    let Request { value, mut op } = request;
    op.actions.iter_mut().for_each(drop_parents);
    if op.manifest.type_name == cobs::radworks::TYPE_NAME {
        return Answer { value: radworks::apply(value, &op.author, &op.timestamp, op.actions), why: None };
    }
    if op.manifest.type_name != TYPE_NAME {
        let why = format!("this helper evaluates {TYPE_NAME}, not {}", op.manifest.type_name);
        // the name of the helper is the last part of the type's alone, so others' objects come here too
        let value = if value.as_object().is_none_or(Map::is_empty) { json!({ "error": why }) } else { value };
        return Answer { value, why: Some(why) };
    }
    let mut operations = match serde_json::from_value::<Shown>(value) {
        Ok(shown) => shown.operations,
        // the root comes with an empty value
        Err(_) => Vec::new(),
    };
    operations.push(keep(op));
    let (job, error) = match evaluate(&operations) {
        Ok(job) => (Some(job), None),
        Err(error) => (None, Some(error)),
    };
    let why = error.clone();
    let shown = Shown { job, error, note: NOTE.to_owned(), operations };
    Answer { value: serde_json::to_value(&shown).expect("a job holds only what JSON has"), why }
}

fn drop_parents(action: &mut Map<String, Value>) {
    if action.get(PARENTS).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        action.remove(PARENTS);
    }
}

fn keep(op: RadOp) -> Kept {
    let RadOp { id, actions, author, identity, timestamp: _, manifest } = op;
    let tree = TreeId(tree::of(&actions, &manifest.type_name));
    Kept { id, author, tree, pin: identity, actions }
}

fn evaluate(operations: &[Kept]) -> Result<Job, String> {
    let Some((root, later)) = operations.split_first() else { return Err(String::from("there is no operation")) };
    let mut history = History::new(root.id, root.op());
    for kept in later {
        history.insert(kept.op());
    }
    history.evaluate(&identity(operations)).map_err(|error| error.to_string())
}

/// Every pin, in the order seen, as if it was accepted; nobody is a delegate.
fn identity(operations: &[Kept]) -> Identity {
    let mut seen = BTreeMap::new();
    for pin in operations.iter().filter_map(|kept| kept.pin) {
        let next = seen.len();
        seen.entry(pin).or_insert(next);
    }
    let mut accepted: Vec<_> = seen.into_iter().collect();
    accepted.sort_by_key(|(_, place)| *place);
    Identity { accepted: accepted.into_iter().map(|(pin, _)| (pin, BTreeSet::new())).collect() }
}

impl Kept {
    fn op(&self) -> Op {
        let content = match &self.actions[..] {
            [action] => match serde_json::to_vec(action) {
                Ok(bytes) => Action::decode(&bytes).map_or_else(Content::Unreadable, Content::Action),
                Err(error) => Content::Unreadable(ActionError::Malformed { message: error.to_string() }),
            },
            actions => Content::Many(actions.len()),
        };
        Op { id: OpId { author: self.author, tree: self.tree }, pin: self.pin, content }
    }
}

#[cfg(test)]
mod tests;
