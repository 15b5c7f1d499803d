//! Where a change is, as a person reads it: a line for each object of a job and peer, or for each peer what it has not
//! seen.

use super::client::{Client, segment};
use super::exit::Failure;
use super::output::{Format, plain, table};
use super::show::ID_DIGITS;
use crate::ops::types::{
    Change, ChangeKind, JobReplication, ObjectKind, ObjectReplication, PeerCopy, PendingChanges, PendingLedger,
    PendingPeer, Step,
};

/// Most characters of a title in a list.
const TITLE_CHARS_MAX: usize = 40;

/// Prints where a job is, or all that is pending.
pub async fn why(client: &Client, id: Option<&str>, format: Format) -> Result<(), Failure> {
    match id {
        Some(id) => {
            let target = format!("/v1/jobs/{}/replication", segment(id));
            format.print(&client.get::<JobReplication>(&target).await?, job)
        }
        None => format.print(&client.get::<PendingChanges>("/v1/replication").await?, pending),
    }
}

fn word(step: Step) -> String {
    let word = match step {
        Step::Yes => "yes",
        Step::No => "no",
        Step::Unknown => "unknown",
        Step::NotNeeded => "-",
    };
    word.to_owned()
}

fn job(replication: &JobReplication) -> String {
    let mut text = format!("job {} in {}\n\n", replication.id, replication.ledger);
    let rows = replication.objects.iter().flat_map(|object| {
        let alone = object.peers.is_empty().then(|| row(object, None));
        alone.into_iter().chain(object.peers.iter().map(|copy| row(object, Some(copy))))
    });
    text.push_str(&table(["OBJECT", "HERE", "PEER", "ANNOUNCED", "FETCHED", "SEEN", "WHY NOT"], rows.collect()));
    text
}

fn row(object: &ObjectReplication, copy: Option<&PeerCopy>) -> [String; 7] {
    let here = match (object.here, object.signed, &object.announced_at) {
        (false, _, _) => String::from("no"),
        (true, Some(false), _) => String::from("not signed"),
        (true, _, Some(at)) => format!("announced {at}"),
        (true, Some(true), None) => String::from("not announced"),
        (true, None, None) => String::from("yes"),
    };
    let first = [name(object), here];
    let rest = match copy {
        None => ["-", "-", "-", "-", "no other node needs it"].map(str::to_owned),
        Some(copy) => {
            let why = why_not(copy.why_not.as_deref(), copy.as_of.as_deref());
            [plain(&copy.alias), word(copy.announced), word(copy.fetched), word(copy.seen), why]
        }
    };
    let [object, here] = first;
    let [peer, announced, fetched, seen, why] = rest;
    [object, here, peer, announced, fetched, seen, why]
}

/// An object by its name, operations with what they say.
fn name(object: &ObjectReplication) -> String {
    let kind = match object.kind {
        ObjectKind::Operations => {
            let actions: Vec<&str> = object.operations.iter().map(|operation| operation.action.as_str()).collect();
            return plain(&format!("{}: {}", object.name, actions.join(", ")));
        }
        ObjectKind::Source => "source: ",
        ObjectKind::Input => "input: ",
        ObjectKind::Log | ObjectKind::Artifacts => "",
    };
    plain(&format!("{kind}{}", object.name))
}

/// Why it is not further, and of when that is unless it is of now.
fn why_not(why: Option<&str>, as_of: Option<&str>) -> String {
    let as_of = as_of.map(|at| format!("as of {at}"));
    let all: Vec<String> = why.map(str::to_owned).into_iter().chain(as_of).collect();
    plain(&all.join("; "))
}

fn pending(changes: &PendingChanges) -> String {
    if changes.ledgers.is_empty() {
        return String::from("no ledger is here yet, so nothing is pending\n");
    }
    changes.ledgers.iter().map(in_ledger).collect::<Vec<_>>().join("\n")
}

fn in_ledger(pending: &PendingLedger) -> String {
    let announced = pending.announced_at.as_deref().map(|at| format!(", announced {at}"));
    let mut text = format!("ledger {}{}\n", pending.ledger, announced.unwrap_or_default());
    let unseen = pending.unseen.len() + pending.unseen_more;
    let verb = if knows(&pending.unseen) { "has seen" } else { "is known to have seen" };
    text.push_str(&match (pending.peers.is_empty(), unseen) {
        (true, _) => String::from("no other node belongs to it\n"),
        (false, 0) => String::from("every change of this node was seen by a peer\n"),
        (false, count) => format!("no peer {verb} {}\n", counted(count)),
    });
    for peer in &pending.peers {
        text.push_str(&at_peer(peer));
    }
    text
}

fn at_peer(peer: &PendingPeer) -> String {
    let why = why_not(peer.why_not.as_deref(), peer.as_of.as_deref());
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    let count = peer.changes.len() + peer.more;
    let alias = plain(&peer.alias);
    let mut text = match (count, &peer.why_not) {
        (0, None) => format!("\n{alias} has seen everything{why}\n"),
        (0, Some(_)) => format!("\n{alias}{why}\n"),
        (count, _) if knows(&peer.changes) => format!("\n{alias} has not seen {}{why}\n", counted(count)),
        (count, _) => format!("\n{alias} is not known to have seen {}{why}\n", counted(count)),
    };
    if !peer.changes.is_empty() {
        let head = ["CHANGE", "SIGNED", "ANNOUNCED", "FETCHED", "SEEN"];
        text.push_str(&table(head, peer.changes.iter().map(change).collect()));
    }
    if peer.more > 0 {
        text.push_str(&format!("and {} more\n", peer.more));
    }
    text
}

/// Whether it is known of each that it was not seen.
fn knows(changes: &[Change]) -> bool {
    changes.iter().all(|change| change.seen == Step::No)
}

fn counted(changes: usize) -> String {
    if changes == 1 { String::from("1 change") } else { format!("{changes} changes") }
}

fn change(change: &Change) -> [String; 5] {
    let name = match (change.kind, change.job) {
        (ChangeKind::Job, Some(job)) => {
            let id: String = job.to_string().chars().take(ID_DIGITS).collect();
            format!("job {id} {}", change.name.chars().take(TITLE_CHARS_MAX).collect::<String>())
        }
        (ChangeKind::Archive, _) => String::from("archive of finished jobs"),
        (ChangeKind::PeerRecord, _) => String::from("what this node says of itself"),
        (ChangeKind::Identity, _) => String::from("who belongs to the ledger"),
        (ChangeKind::Job | ChangeKind::Other, _) => change.name.clone(),
    };
    let signed = if change.signed { "yes" } else { "no" };
    [plain(&name), signed.into(), word(change.announced), word(change.fetched), word(change.seen)]
}
