//! The ledger's storage is collected beside everything else, and nothing of it is lost, however the daemon ends.

use crate::support::node::Node;
use crate::support::{repository, wait};

/// Whether a collection has left its list of packs.
pub fn collected(node: &Node, ledger: &str) -> Option<std::time::SystemTime> {
    let storage = node.place().join("storage").join(ledger.trim_start_matches("rad:"));
    std::fs::metadata(storage.join("objects/info/packs")).and_then(|meta| meta.modified()).ok()
}

/// While the storage is collected again and again, jobs are submitted, archived and read; the daemon is killed in the
/// middle of it, its locks stay behind, and the next one has every job that was acknowledged and takes new ones.
#[test]
fn a_killed_daemon_that_collected_loses_nothing() {
    let settings = [("ledger.collect_every_ms", "1000"), ("ledger.archive_after_ms", "0")];
    let mut node = Node::start_with("ann", &settings);
    let ledger = node.ledger();
    let storage = node.place().join("storage").join(ledger.trim_start_matches("rad:"));
    let mut jobs = Vec::new();
    for round in 0..3 {
        let before = collected(&node, &ledger);
        wait::until("a collection has ended", wait::LIMIT, || {
            jobs.push(node.submit(&["--", "true"]));
            (collected(&node, &ledger) > before).then_some(())
        });
        node.kill();
        if round == 1 {
            let signed = storage.join("refs/namespaces");
            let namespace = std::fs::read_dir(signed).unwrap().flatten().next().unwrap().path();
            std::fs::write(namespace.join("refs/rad/sigrefs.lock"), "").unwrap();
        }
        node.up();
        jobs.iter().for_each(|job| drop(node.settled(job)));
    }
    // both, since a collection may end between the reading of one figure and of the other
    wait::until("a collection is counted", wait::LIMIT, || {
        // of a few objects none may lie where the number of loose ones is estimated
        node.submit(&["--", "true"]);
        let figures = String::from_utf8(node.ask("GET", "/metrics", &[], b"")?.body).ok()?;
        let told =
            ["rhizome_collections_total ", "rhizome_ledger_disk_bytes{"].iter().all(|name| figures.contains(name));
        told.then_some(())
    });
    repository::git(&node.home, &storage, &["fsck", "--connectivity-only", "--no-dangling"]);
}
