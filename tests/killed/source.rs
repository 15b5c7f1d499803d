//! A daemon that ends as soon as it has written a job still has the job's commit, which nothing else publishes.

use std::collections::BTreeSet;

use crate::support::fault;
use crate::support::node::{Node, text};
use crate::support::repository::{create, git};

#[test]
fn a_job_has_its_commit_once_it_is_written() {
    let mut ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run");
    ann.until_linked(&bob);
    let path = ann.home.join("source");
    create(&ann.home, &path, &[("greeting", "hello\n")]);
    let repo = path.to_str().unwrap();
    ann.cli(&["run", "--quiet", "--repo", repo, "--publish", "--", "true"]).ok();
    let mut known = BTreeSet::new();
    let mut new = |ann: &Node| {
        // two of one second are in no order
        let mut ids: Vec<String> = ann.jobs().into_iter().map(|(id, ..)| id).collect();
        ids.retain(|id| known.insert(id.clone()));
        ids
    };
    new(&ann);
    for worker in [&bob.id(), &ann.id()] {
        let content = format!("for {worker}");
        std::fs::write(path.join("greeting"), &content).unwrap();
        git(&ann.home, &path, &["commit", "--quiet", "--all", "--message", &content]);
        fault::arm(&ann.home, "job.written");
        let command = ["run", "--detach", "--repo", repo, "--on", worker, "--", "grep", "-qx", &content, "greeting"];
        let mut submit = ann.command(&command).spawn().unwrap();
        fault::reached(&ann.home, "job.written");
        ann.kill();
        submit.wait().unwrap();
        ann.up();
        let [id] = &new(&ann)[..] else { panic!("one job is new") };
        let settled = ann.settled(id);
        assert_eq!((text(&settled, "/outcome"), text(&settled, "/node")), ("succeeded".into(), worker.clone()));
    }
}
