//! Pairing links that are no good, and a repository that a peer may not read.

use base64::Engine as _;
use serde_json::Value;

use super::check::{problem, told_a_person, told_a_program};
use super::machine::Machine;
use crate::support::{repository, wait};

#[track_caller]
fn refused(machine: &Machine, link: &str, exit: i32, code: &str, words: &[&str]) {
    told_a_person(&machine.run(&["join", link]), exit, words, &["join"]);
    told_a_program(&machine.run(&["--json", "join", link]), exit, code, words, &["join"]);
}

/// The same at the API of a machine that runs.
#[track_caller]
fn answered(machine: &Machine, link: &str, status: u16, code: &str, words: &[&str]) {
    let body = serde_json::json!({ "link": link }).to_string();
    let answer = machine.ask(&["POST /v1/join HTTP/1.1", "content-type: application/json"], body.as_bytes());
    problem(&answer, status, code, words, "a join");
}

#[track_caller]
fn invite(machine: &Machine, more: &[&str]) -> String {
    let made = machine.json(&[&["invite"], more].concat());
    made["link"].as_str().unwrap().to_owned()
}

/// The link with a part of what it carries replaced.
fn changed(link: &str, key: &str, value: Value) -> String {
    let (scheme, encoded) = link.rsplit_once('/').unwrap();
    let coder = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut ticket: Value = serde_json::from_slice(&coder.decode(encoded).unwrap()).unwrap();
    ticket[key] = value;
    format!("{scheme}/{}", coder.encode(ticket.to_string()))
}

fn carried(link: &str, key: &str) -> Value {
    let encoded = link.rsplit_once('/').unwrap().1;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).unwrap();
    serde_json::from_slice::<Value>(&json).unwrap()[key].clone()
}

/// A link is good for one machine, for its time, and for the node that made it.
#[test]
fn refuses_pairing_links_that_are_no_good() {
    let inviter = Machine::start("alpha");
    let first = Machine::start("beta");
    let second = Machine::set_up("gamma");
    let link = invite(&inviter, &[]);
    refused(&inviter, &link, 64, "bad_request", &["made by this very node", "the other machine"]);

    // of another node: its key is not the one that answers there
    let foreign = carried(&invite(&first, &[]), "k");
    refused(&second, &changed(&link, "k", foreign), 76, "wrong_transport_key", &["cannot pair with", "new link"]);
    let secret = carried(&invite(&first, &[]), "s");
    refused(&second, &changed(&link, "s", secret), 77, "forbidden", &["not of this node", "rhizome invite"]);
    let nowhere = serde_json::json!(["127.0.0.1:1"]);
    refused(&second, &changed(&link, "a", nowhere.clone()), 69, "peer_unreachable", &["127.0.0.1:1", "daemon is up"]);

    first.run(&["join", &link]).ok();
    refused(&second, &link, 77, "invitation_used", &["was used before", "rhizome invite"]);

    let third = Machine::start("delta");
    let foreign = changed(&link, "k", carried(&invite(&first, &[]), "k"));
    answered(&third, &link, 410, "invitation_used", &["was used before", "rhizome invite"]);
    answered(&third, &foreign, 502, "wrong_transport_key", &["cannot pair with", "new link"]);
    answered(&third, &changed(&link, "a", nowhere), 503, "peer_unreachable", &["127.0.0.1:1", "daemon is up"]);
}

/// A link that came too late is refused by the joiner's own clock, and by the inviter's when it was changed.
#[test]
fn refuses_a_pairing_link_that_is_too_late() {
    let inviter = Machine::start("alpha");
    let joiner = Machine::set_up("beta");
    let short = invite(&inviter, &["--expires", "1s"]);
    let ends = carried(&short, "e").as_u64().unwrap();
    wait::until("the link is too late", wait::LIMIT, || {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        (now > u128::from(ends)).then_some(())
    });
    let words: &[&str] = &["this pairing link ended at", "rhizome invite"];
    refused(&joiner, &short, 77, "invitation_expired", words);
    let longer = changed(&short, "e", serde_json::json!(ends + 3_600_000));
    refused(&joiner, &longer, 77, "invitation_expired", words);
    let running = Machine::start("gamma");
    answered(&running, &short, 410, "invitation_expired", words);
    answered(&running, &longer, 410, "invitation_expired", words);
}

/// A machine that may not read the job's repository is not made to run it: the submitter is told, and how to allow it.
#[test]
fn names_a_repository_that_the_peer_may_not_read() {
    let author = Machine::start("alpha");
    let source = author.home.join("source");
    let commit = repository::create(&author.home, &source, &[("greeting", "hello\n")]);
    let path = source.to_str().unwrap();
    // published while the author is the ledger's only member
    let job = author.run(&["--json", "run", "--repo", path, "--publish", "--", "cat", "greeting"]).ok();
    let job: Value = serde_json::from_str(job.lines().last().unwrap()).unwrap();
    let repo = job["state"]["create"]["spec"]["source"]["repo"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned();
    let mut worker = Machine::bare();
    let link = invite(&author, &["--grant", "run"]);
    worker.run(&["join", &link, "--grant", "submit", "--alias", "beta"]).ok();
    worker.up(&[]);
    wait::until("the worker takes jobs", wait::LIMIT, || {
        let peers = author.json(&["peers"]);
        (peers[0]["linked"] == true && peers[0]["capacity"].is_object()).then_some(())
    });
    let words = &["beta: it may not read the job's repository", &repo, "rad id update", "--allow"];
    let typed = ["run", "--on", "beta", "--repo", &repo, "--commit", &commit, "--", "cat", "greeting"];
    told_a_person(&author.run(&typed), 77, words, &typed);
    told_a_program(&author.run(&[&["--json"], &typed[..]].concat()), 77, "repository_unreadable", words, &typed);
    let submit = |commit: &str| {
        let source = serde_json::json!({ "type": "repository", "repo": repo, "commit": commit });
        let submit = serde_json::json!({ "command": ["true"], "on": "beta", "source": source }).to_string();
        author.ask(&["POST /schedule HTTP/1.1", "content-type: application/json"], submit.as_bytes())
    };
    problem(&submit(&commit), 403, "repository_unreadable", words, "a submit");
    let words = &["no commit 'nowhere'", "git log"];
    problem(&submit("nowhere"), 422, "commit_not_found", words, "a submit");
    // without a wish it runs where the repository may be read
    author.run(&["run", "--repo", &repo, "--commit", &commit, "--", "cat", "greeting"]).ok();
}
