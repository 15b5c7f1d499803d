//! What people see of answers. Text that other machines wrote is kept on its line.

use std::collections::BTreeSet;

use cobs::job::state::Status;
use serde::Serialize;

use super::output::{plain, table};
use super::quantity::{show_bytes, show_ms};
use crate::ops::types::{
    Artifacts, AuditEntry, ConfigValue, Health, Invitation, JobSummary, JobView, Joined, Page, Peer, PeerGrant,
    RadicleNode, Recovered, Removed, TokenCreated, TokenInfo,
};

/// Digits of a job's id in a list; enough to name it.
pub const ID_DIGITS: usize = 12;
/// Most characters of a title in a list.
const TITLE_CHARS_MAX: usize = 60;

/// A value's name on the wire.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

fn words<T: Serialize>(values: &BTreeSet<T>) -> String {
    values.iter().map(word).collect::<Vec<_>>().join(",")
}

fn grants(grants: &BTreeSet<PeerGrant>) -> String {
    if grants.is_empty() { String::from("nothing") } else { words(grants) }
}

fn outcome(summary: &JobSummary) -> String {
    summary.outcome.map_or_else(|| word(summary.status), word)
}

/// A page of jobs.
pub fn jobs(page: &Page<JobSummary>) -> String {
    let row = |job: &JobSummary| {
        let id = job.id.to_string().chars().take(ID_DIGITS).collect();
        let title = plain(&job.title).chars().take(TITLE_CHARS_MAX).collect();
        [id, outcome(job), job.queue.clone(), job.created_at.clone(), title]
    };
    let mut text = table(["JOB", "STATUS", "QUEUE", "CREATED", "TITLE"], page.items.iter().map(row).collect());
    if let Some(cursor) = &page.next {
        text.push_str(&format!("more with: --cursor {cursor}\n"));
    }
    text
}

/// One job.
pub fn job(view: &JobView) -> String {
    let summary = &view.summary;
    let mut rows = vec![
        ("job", summary.id.to_string()),
        ("title", summary.title.clone()),
        ("status", if view.running { String::from("running") } else { outcome(summary) }),
        ("author", summary.author.to_string()),
        ("arbiter", view.state.arbiter().1.to_string()),
        ("queue", summary.queue.clone()),
        ("ledger", summary.ledger.to_string()),
        ("created", summary.created_at.clone()),
        ("updated", summary.updated_at.clone()),
    ];
    if let Some((token, granted)) = view.state.holder() {
        rows.push(("granted", format!("to {} (token {token})", granted.node)));
    }
    if let Some((_, report)) = view.state.result() {
        rows.push(("ran", show_ms(report.duration_ms)));
    }
    let optional = [
        ("waits for", (view.summary.status != Status::Settled).then(|| view.waits_for.clone())),
        ("exit code", view.exit_code.map(|code| code.to_string())),
        ("reason", (!view.reason.is_empty()).then(|| view.reason.clone())),
    ];
    rows.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    lines(&rows)
}

fn lines(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {}\n", plain(value))).collect()
}

/// The files that a job left.
pub fn artifacts(artifacts: &Artifacts) -> String {
    let row = |file: &crate::ops::types::Artifact| {
        let digest: String = file.digest.to_string().chars().take(ID_DIGITS).collect();
        [plain(&file.path), show_bytes(file.size), digest]
    };
    table(["PATH", "SIZE", "SHA-256"], artifacts.files.iter().map(row).collect())
}

/// How a node is.
pub fn health(health: &Health) -> String {
    let Some(detail) = &health.detail else { return format!("{}\n", health.status) };
    let mut rows = vec![
        ("status", health.status.clone()),
        ("node", format!("{} ({})", detail.alias, detail.node)),
        ("version", detail.version.clone()),
        ("up for", show_ms(detail.uptime_ms)),
        ("api", detail.addresses.api.join(" ")),
        ("link", detail.addresses.link.join(" ")),
        ("radicle", detail.addresses.radicle.join(" ")),
    ];
    if let Some(capacity) = &detail.capacity {
        rows.push(("slots", format!("{} of {} used", capacity.slots_used, capacity.slots)));
    }
    rows.extend(radicle_node(detail.radicle_node).map(|words| ("radicle", words)));
    for ledger in &detail.ledgers {
        let jobs: Vec<String> = ledger.jobs.iter().map(|(status, count)| format!("{count} {}", word(status))).collect();
        let jobs = if jobs.is_empty() { String::from("no jobs") } else { jobs.join(", ") };
        let missing = if ledger.present { "" } else { " (still to be fetched)" };
        rows.push(("ledger", format!("{}{missing}: {jobs}", ledger.id)));
    }
    for peer in &detail.peers {
        rows.push(("peer", format!("{}: {}", peer.alias, reach(peer))));
    }
    rows.extend(detail.problems.iter().map(|problem| ("problem", problem.clone())));
    lines(&rows)
}

/// Who runs the Radicle node, where it is not the daemon.
fn radicle_node(node: RadicleNode) -> Option<String> {
    match node {
        RadicleNode::Embedded => None,
        RadicleNode::Attached { is_silent, is_outdated } => {
            let silent = if is_silent { "; it does not answer" } else { "" };
            let outdated = if is_outdated {
                "; what has changed in its configuration takes effect when it is started again"
            } else {
                ""
            };
            Some(format!("attached to the radicle-node that runs in this home{silent}{outdated}"))
        }
        RadicleNode::Stopped => Some("stopped; it is started again".to_owned()),
    }
}

fn reach(peer: &Peer) -> &'static str {
    match (peer.linked, peer.replicating) {
        (true, true) => "linked",
        (true, false) => "linked, not replicating",
        (false, true) => "replicating, not linked",
        (false, false) => "away",
    }
}

/// Peers with what each may do.
pub fn peers(peers: &[Peer]) -> String {
    let row = |peer: &Peer| {
        [plain(&peer.alias), peer.state.clone(), grants(&peer.grants), reach(peer).to_owned(), peer.node.to_string()]
    };
    table(["ALIAS", "STATE", "MAY", "REACH", "NODE"], peers.iter().map(row).collect())
}

/// One peer.
pub fn peer(peer: &Peer) -> String {
    format!("{} is {} and may: {}", plain(&peer.alias), peer.state, grants(&peer.grants))
}

/// A peer that was removed.
pub fn removed(removed: &Removed) -> String {
    let mut text = format!("removed {}\n", plain(&removed.peer.alias));
    for ledger in &removed.stays_member_of {
        text.push_str(&format!(
            "it stays a member of the ledger {ledger} until its delegates remove it there: it runs nothing for this \
             machine any more, and still reads the ledger\n"
        ));
    }
    text
}

/// What was taken back from peers.
pub fn recovered(recovered: &Recovered) -> String {
    if recovered.ledgers.is_empty() {
        return "no linked peer holds more of this node than this home does".into();
    }
    let line = |(ledger, peer): (_, &String)| format!("{ledger}: taken back from {}", plain(peer));
    recovered.ledgers.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A pairing link.
pub fn invitation(invitation: &Invitation) -> String {
    format!(
        "{}\n\nGive this to the other machine over a channel you both trust, and there run:\n  rhizome join LINK\n\
         It is good once, until {}. Besides reading, the other machine may then do here: {}\n",
        invitation.link,
        invitation.expires_at,
        grants(&invitation.grants)
    )
}

/// A pairing that was made.
pub fn joined(joined: &Joined) -> String {
    let mut notes = Vec::new();
    if !joined.approved {
        notes.push(String::from("the ledger's other delegates have to agree before it can be fetched\n"));
    }
    if !joined.is_default {
        notes.push(format!(
            "this machine's default ledger stays another: name this one with --ledger {}, or make it the default with \
             ledger.default in the config\n",
            joined.ledger
        ));
    }
    format!(
        "paired with {} ({})\nledger {}\nthere we may: {}\nhere it may: {}\n{}",
        plain(&joined.alias),
        joined.node,
        joined.ledger,
        grants(&joined.granted),
        grants(&joined.grants),
        notes.concat()
    )
}

/// A token that was made.
pub fn token(created: &TokenCreated) -> String {
    format!("{}\n", created.secret)
}

/// The tokens of a node.
pub fn tokens(tokens: &[TokenInfo]) -> String {
    let row = |token: &TokenInfo| {
        let expires = token.expires_at.clone().unwrap_or_else(|| String::from("never"));
        let used = token.last_used_at.clone().unwrap_or_else(|| String::from("never"));
        [plain(&token.name), words(&token.scopes), token.created_at.clone(), expires, used]
    };
    table(["NAME", "SCOPES", "CREATED", "EXPIRES", "LAST USED"], tokens.iter().map(row).collect())
}

/// Who asked for what.
pub fn audit(entries: &[AuditEntry]) -> String {
    let row = |entry: &AuditEntry| {
        let subject = entry.subject.clone().unwrap_or_default();
        [entry.at.clone(), plain(&entry.caller), entry.operation.clone(), plain(&subject), entry.result.clone()]
    };
    table(["AT", "CALLER", "OPERATION", "ABOUT", "RESULT"], entries.iter().map(row).collect())
}

/// Each value of the configuration.
pub fn config(values: &[ConfigValue]) -> String {
    let row = |value: &ConfigValue| [value.key.clone(), plain(&value.value), plain(&value.from)];
    table(["KEY", "VALUE", "FROM"], values.iter().map(row).collect())
}
