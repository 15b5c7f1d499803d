//! What jobs did, to be searched: of each settled one that is not private its title, description, command, outcome and the
//! end of its log, as a document.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use cobs::id::JobId;
use cobs::job::outcome::Outcome;
use cobs::job::spec::{Privacy as JobPrivacy, Work};
use cobs::job::state::{Job, Status};
use vault::documents::Document;
use vault::index::record::Privacy;
use vault::path::VaultPath;

use crate::context::Opened;
use crate::node::Node;
use crate::ops::jobs::effective;
use crate::store::StoreError;
use crate::store::view::list::{PAGE_MAX, Query};

/// How long what comes after a change is waited for, so that many are indexed together.
const SETTLE: Duration = Duration::from_millis(200);
/// Documents that are put at once.
const BATCH: usize = 500;

/// Keeps the documents of jobs. Never ends.
pub async fn run(node: Arc<Node>) {
    let mut changes = node.changes.subscribe();
    let mut changed = None;
    loop {
        let worker = Arc::clone(&node);
        let work = move || match changed {
            Some(jobs) => some(&worker, jobs),
            None => all(&worker),
        };
        let is_open = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(is_open)) => is_open,
            Ok(Err(error)) => {
                tracing::warn!(error, "runs are not searchable yet");
                false
            }
            Err(_) => return,
        };
        changed = match changes.recv().await {
            Ok(job) if is_open => Some(BTreeSet::from([job])),
            // all is looked at where some were missed
            Ok(_) | Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        tokio::time::sleep(SETTLE).await;
        loop {
            match changes.try_recv() {
                Ok(job) => drop(changed.as_mut().map(|changed| changed.insert(job))),
                Err(TryRecvError::Lagged(_)) => changed = None,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }
}

/// Looks at these jobs; whether there is an index yet.
fn some(node: &Node, jobs: BTreeSet<JobId>) -> Result<bool, String> {
    let Ok(opened) = node.context.get() else { return Ok(false) };
    let documents = jobs.into_iter().filter_map(|job| document(&*node.find(&job.to_string()).ok()?));
    put(&opened, documents.collect())?;
    Ok(true)
}

/// Looks at every settled job of every ledger; whether there is an index yet.
fn all(node: &Node) -> Result<bool, String> {
    let Ok(opened) = node.context.get() else { return Ok(false) };
    let words = |error: StoreError| error.to_string();
    for ledger in node.ledgers() {
        let mut query = Query { status: BTreeSet::from([Status::Settled]), ..Query::newest(ledger, PAGE_MAX) };
        loop {
            let page = node.view.list(&query).map_err(words)?;
            let ids: Vec<Listed> = serde_json::from_slice(&page.json).map_err(|error| error.to_string())?;
            let documents = ids.iter().filter_map(|listed| document(&*node.find(&listed.id).ok()?));
            put(&opened, documents.collect())?;
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
    }
    Ok(true)
}

#[derive(serde::Deserialize)]
struct Listed {
    id: String,
}

/// Keeps those that are not kept as they are.
fn put(opened: &Opened, documents: Vec<Document>) -> Result<(), String> {
    let (store, indexed) = (&opened.runs.documents, &opened.runs.indexed);
    let is_kept = |document: &Document| store.get(&document.id).is_ok_and(|kept| kept.as_ref() == Some(document));
    let new: Vec<Document> = documents.into_iter().filter(|document| !is_kept(document)).collect();
    for batch in new.chunks(BATCH) {
        store.put(batch).map_err(|error| error.to_string())?;
        let ids = batch.iter().map(|document| document.id.clone()).collect();
        indexed.worker.documents(ids).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The document of a job; none of one that is private or not settled.
fn document(job: &Job) -> Option<Document> {
    let spec = &job.create.spec;
    job.settled?;
    if spec.privacy == JobPrivacy::Private {
        return None;
    }
    let outcome = job.outcome().and_then(word).unwrap_or_else(|| "settled".to_owned());
    let Work::Command { command, .. } = &spec.work;
    let command = command.join(" ");
    let title = spec.title.as_ref().unwrap_or(&command);
    let mut text = format!("---\noutcome: {outcome}\nqueue: {}\n---\n# {}\n\n", job.create.queue, line(title));
    if let Some(description) = &spec.description {
        text.push_str(&format!("{description}\n\n"));
    }
    write!(text, "## Command\n\n{}\n\n## Outcome\n\n{outcome}", fenced(&command)).ok()?;
    if let Some(report) = effective(job) {
        write!(text, " on {} after {} ms", report.node, report.duration_ms).ok()?;
        if !report.reason.is_empty() {
            write!(text, ": {}", line(&report.reason)).ok()?;
        }
        if !report.tail.is_empty() {
            write!(text, "\n\n## Log\n\n{}", fenced(&report.tail)).ok()?;
        }
    }
    text.push('\n');
    Some(Document { id: VaultPath::new(&job.id.to_string()).ok()?, text, privacy: Privacy::Open })
}

/// As it is in an answer in JSON.
fn word(outcome: Outcome) -> Option<String> {
    serde_json::to_value(outcome).ok()?.as_str().map(str::to_owned)
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As code, whatever is in it: by a fence that is longer than any within (CommonMark 4.5).
fn fenced(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{}\n{fence}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a log says cannot end the code that it is in.
    #[test]
    fn a_log_stays_in_its_fence() {
        assert_eq!(fenced("a\n"), "```\na\n```");
        assert_eq!(fenced("a ```` b"), "`````\na ```` b\n`````");
        assert_eq!(line(" a\n# b "), "a # b");
    }
}
