//! What a hostile or a broken peer writes into the ledger beside honest nodes: it changes no job, is counted, and is in
//! nobody's way.

use cobs::id::{Epoch, JobId, NodeId, Seq, Term};
use cobs::job::action::{ACTION_BYTES_MAX, Action, Bid, Cancel, Digests, Done, Grant, GrantKind, StepDown, Takeover};
use cobs::job::outcome::RunOutcome;
use serde_json::{Value, json};

use crate::support::forge::{self, Forger};
use crate::support::node::Node;
use crate::support::wait;

/// Operations of a flood: far more than count of any author, and than are walked.
const FLOOD: u32 = 500;
/// How deep the deepest value is nested; a reader that recurses by it would end its thread.
const DEPTH: usize = 20_000;

/// What of a job no forged operation may change.
const FIRM: [&str; 6] =
    ["/status", "/state/create", "/state/grants", "/state/settled", "/state/dones", "/state/cancels"];

#[track_caller]
fn unchanged(node: &Node, before: &Value) {
    let after = node.job(before["id"].as_str().unwrap());
    for part in FIRM {
        assert_eq!(after.pointer(part), before.pointer(part), "{}: {part}", node.alias);
    }
}

/// Every kind of content that is no operation, by the job's own author, and each in an operation of its own.
fn malformed(job: &str) -> Vec<Vec<Vec<u8>>> {
    let texts = ["", "{", "null", "[]", "7", "\"settle\"", "{}", r#"{"type":7}"#, r#"{"type":"seize"}"#];
    let mut single: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).into();
    single.push(b"\xff\xfe\x00".to_vec());
    single.push([vec![b'['; DEPTH], vec![b']'; DEPTH]].concat());
    let mut whole = Vec::new();
    for kind in ["create", "bid", "grant", "done", "settle", "cancel", "stepDown", "takeover"] {
        // without its fields, with a wrong one, and with numbers that are none
        whole.push(json!({"type": kind}));
        whole.push(json!({"type": kind, "job": job, "seq": "one", "epoch": [], "outcome": {"type": "whatever"}}));
        for seq in [json!(-1), json!(1.5), json!(u64::MAX), Value::Null] {
            whole.push(json!({"type": kind, "job": job, "seq": seq, "reason": "", "score": 1}));
        }
    }
    // a right one, but for its size, its job, or a field
    let cancel = |reason: String, of: &str| json!({"type": "cancel", "job": of, "seq": 200, "reason": reason});
    whole.push(cancel("x".repeat(ACTION_BYTES_MAX), job));
    whole.push(cancel("another's".into(), &"0".repeat(40)));
    whole.push(cancel("no job".into(), "HEAD"));
    whole.push(json!({"type": "settle", "job": job, "seq": 201, "epoch": 0, "outcome": {"type": "won"}}));
    single.extend(whole.iter().map(|value| value.to_string().into_bytes()));
    let mut all: Vec<Vec<Vec<u8>>> = single.into_iter().map(|content| vec![content]).collect();
    // an operation holds one action
    let fine = cancel("one of many".into(), job).to_string().into_bytes();
    all.extend([vec![fine.clone(); 2], vec![fine; 100]]);
    all
}

/// Content of every malformed kind, signed by the author of the job himself, changes nothing and is counted; what he
/// writes properly after it counts, on the other node too.
#[test]
fn malformed_operations_of_every_kind_change_nothing() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    bob.running(&id);
    let before = bob.until(&id, "it is granted", wait::LIMIT, |job| job["status"] == "granted");
    let forger = Forger::of(&ann);
    let job: JobId = id.parse().unwrap();
    let mut tip = forger.tip(job).unwrap();
    let all = malformed(&id);
    let count = all.len();
    for actions in all {
        tip = forger.sign(vec![tip], actions);
    }
    forger.publish(job, tip);
    for node in [&ann, &bob] {
        let mut ignored = Value::Null;
        let counted = wait::poll(wait::LIMIT, || {
            ignored = node.json(&["job", "explain", &id])["ignored"].clone();
            let sum = ignored.as_object()?.values().filter_map(Value::as_u64).sum::<u64>();
            // what is no readable commit of an operation at all is not even one that is ignored
            (sum >= 40).then_some(sum)
        });
        assert!(counted.is_some(), "{} of {count} are counted: {ignored:#}\n{}", node.alias, node.log());
        unchanged(node, &before);
    }
    ann.cli(&["job", "cancel", &id]).ok();
    for node in [&ann, &bob] {
        assert_eq!(node.settled(&id)["outcome"], "cancelled");
    }
}

/// All that may be said of a job, by a member who has no part in it.
fn forged(job: JobId, me: NodeId) -> Vec<Action> {
    let (seq, epoch, term) = (Seq(0), Epoch(0), Term(1));
    let tail = String::new;
    vec![
        Action::Bid(Bid { job, seq, score: 1000, reason: tail() }),
        Action::Grant(Grant { job, seq, epoch, term: Term(9), node: me, kind: GrantKind::Held, lease_ms: 30_000 }),
        Action::Done(Done {
            job,
            seq,
            epoch,
            term,
            outcome: RunOutcome::Exited { code: 0 },
            digests: Digests::default(),
            tail: tail(),
            reason: tail(),
            duration_ms: 1,
        }),
        Action::Cancel(Cancel { job, seq, reason: "mine".into() }),
        Action::StepDown(StepDown { job, seq, epoch, to: me, last: term, unconfirmed: false }),
        Action::Takeover(Takeover {
            job,
            seq,
            epoch: Epoch(1),
            to: me,
            last: term,
            abandoned: Some(term),
            lease_ms: None,
            reason: tail(),
        }),
    ]
}

/// Operations of a member who has no part in a job change nothing, nor does a flood of them, and an honest operation
/// after them is read as soon as one before them.
#[test]
fn an_outsider_and_his_flood_change_nothing() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let eve = Node::join("eve", &[], &ann, "read");
    let id = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    bob.running(&id);
    let before = bob.until(&id, "it is granted", wait::LIMIT, |job| job["status"] == "granted");
    let job: JobId = id.parse().unwrap();
    let forger = Forger::of(&eve);
    let me = forger.node();
    wait::until("eve has the job", wait::LIMIT, || (eve.cli(&["job", "show", &id]).code == 0).then_some(()));
    let mut tip = job.0;
    let flood =
        (0..FLOOD).map(|score| Action::Bid(Bid { job, seq: Seq(0), score: score % 1000, reason: String::new() }));
    for (seq, action) in forged(job, me).into_iter().chain(flood).enumerate() {
        tip = forger.sign(vec![tip], vec![action.with_seq(Seq(seq as u32)).encode()]);
    }
    forger.publish(job, tip);
    for node in [&ann, &bob] {
        wait::until("the flood has arrived", wait::LIMIT * 2, || forge::holds(node, &me, job, tip).then_some(()));
        unchanged(node, &before);
    }
    // a new one, and one on the flooded job itself
    let other = ann.submit(&["--on", "bob", "--", "true"]);
    assert_eq!(bob.settled(&other)["outcome"], "succeeded");
    ann.cli(&["job", "cancel", &id]).ok();
    for node in [&ann, &bob, &eve] {
        assert_eq!(node.settled(&id)["outcome"], "cancelled", "{}", node.alias);
    }
}

/// A job of a version that a node does not know is nobody's to bid on or to decide about, and is in no other's way.
#[test]
fn a_job_of_a_newer_version_is_left_alone() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let known = ann.submit(&["--on", "bob", "--", "true"]);
    let create = ann.settled(&known).pointer("/state/create").unwrap().clone();
    let forger = Forger::of(&ann);
    let root = |version: u32, nonce: &str| {
        let mut root = create.clone();
        root["type"] = json!("create");
        root["version"] = json!(version);
        root["nonce"] = json!(nonce);
        root["quorum"] = json!({"of": "nodes", "atLeast": 2});
        let root = forger.sign(vec![], vec![root.to_string().into_bytes()]);
        forger.publish(JobId(root), root);
        JobId(root)
    };
    let newer = root(cobs::JOB_VERSION + 1, &"1".repeat(32));
    wait::until("bob has it", wait::LIMIT, || forge::holds(&bob, &forger.node(), newer, newer.0).then_some(()));
    // the same root of the known version is a job, so that the version is what decides
    let same = root(cobs::JOB_VERSION, &"2".repeat(32)).to_string();
    assert_eq!(bob.settled(&same)["outcome"], "succeeded");
    let later = ann.submit(&["--on", "bob", "--", "true"]);
    assert_eq!(bob.settled(&later)["outcome"], "succeeded");
    for node in [&ann, &bob] {
        let shown = node.cli(&["job", "show", &newer.to_string()]);
        assert!(shown.code == 66, "{}: {shown:?}", node.alias);
        assert_eq!(node.runs(&newer.to_string()), 0);
        assert_eq!(node.all_jobs().unwrap().len(), 3, "{}", node.alias);
    }
}
