//! A node that has many unfinished jobs in a ledger says so, and takes no more when there are too many.

use std::str::FromStr as _;

use cobs::adapter::profile::{NodeHome, Unlock};
use cobs::adapter::writer::{Draft, Writer, WriterConfig};
use cobs::id::{NodeId, RepoId};
use cobs::job::action::Create;
use cobs::job::spec::{Mode, Spec};
use serde_json::json;

use crate::support::node::Node;
use crate::support::wait;

/// One less than the most.
const JOBS: u32 = 1_999;
/// A worker that never comes.
const NOBODY: &str = "z6MktWkM9vcfysWFq1c2aaLjJ6j4PYYg93TLPswR4qtuoAeT";

/// Writes jobs that nobody will run, in batches, as the daemon would.
fn fill(node: &Node, ledger: &str) {
    let unlock = Unlock { environment: None, prompt: &|| None };
    let home = NodeHome::open(&node.place(), &unlock).unwrap();
    let ledger = RepoId::from_urn(ledger).unwrap();
    let (storage, signer) = (home.storage.clone(), home.signer.clone());
    let config = WriterConfig { storage, signer, home: node.place(), passed: cobs::adapter::writer::nobody };
    let writer = Writer::spawn(config, Box::new(|_, _| {}), Box::new(|_| {})).unwrap();
    let (sender, replies) = std::sync::mpsc::sync_channel(256);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for nonce in 0..JOBS {
                let create = Create {
                    version: cobs::JOB_VERSION,
                    spec: Spec::command(vec!["true".into()]),
                    nonce: format!("{nonce:032x}"),
                    queue: "default".into(),
                    mode: Mode::Exclusive,
                    arbiters: vec![home.public_key],
                    workers: vec![NodeId::from_str(NOBODY).unwrap()],
                    grant: None,
                };
                let sender = sender.clone();
                let reply = move |result: Result<_, _>| sender.send(result).unwrap();
                writer.submit(Draft::Create { ledger, create: Box::new(create) }, Box::new(reply));
                // as many as the writer's queue holds are under way at most
                if nonce % 256 == 255 {
                    writer.write(Draft::Publish { ledger }).unwrap();
                }
            }
        });
        for reply in replies.iter().take(JOBS as usize) {
            reply.unwrap();
        }
    });
    writer.stop();
}

/// The alarm stands in `/health` and the figures; the last job is taken and the next refused with a time to retry, until
/// one ends.
#[test]
fn a_full_ledger_takes_no_more() {
    let mut node = Node::start("ann");
    let ledger = node.ledger();
    node.down();
    fill(&node, &ledger);
    node.up();
    let told = wait::until("the alarm stands", wait::LIMIT, || {
        let health = node.ask("GET", "/health", &[], b"")?.json();
        let problems = health["problems"].as_array()?.clone();
        problems.iter().find_map(|problem| problem.as_str()?.strip_prefix("unfinished jobs: ").map(ToOwned::to_owned))
    });
    assert!(told.starts_with("1999 of this node in"), "{told}");
    let figures = String::from_utf8(node.ask("GET", "/metrics", &[], b"").unwrap().body).unwrap();
    assert!(figures.contains("rhizome_unfinished_jobs{") && figures.contains("} 1999"), "{figures}");

    let last = node.submit(&["--", "sleep", "600"]);
    node.running(&last);
    let refused = node.cli(&["run", "--detach", "--", "true"]);
    assert_eq!(refused.code, 75, "{refused:?}");
    assert!(refused.stderr.contains("2000 unfinished jobs") && refused.stderr.contains("job cancel"), "{refused:?}");
    let headers = ["Content-Type: application/json".to_owned()];
    let answer = node.ask("POST", "/schedule", &headers, br#"{"command":["true"]}"#).unwrap();
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (503, &json!("ledger_full")), "{problem:#}");
    assert_eq!(problem["retryAfterMs"], 60_000);

    node.cli(&["job", "cancel", &last]).ok();
    node.settled(&last);
    let next = node.submit(&["--", "true"]);
    assert_eq!(node.settled(&next)["outcome"], "succeeded");
}
