//! What honest and clumsy writers leave in storage is read for what it is.

use cobs::adapter::peer_record::read_peer_records;
use cobs::adapter::reader::{ReadError, list_jobs};
use cobs::adapter::writer::{Draft, Written};
use cobs::id::{JobId, Oid, Seq};
use cobs::job::action::{ACTION_BYTES_MAX, Action};
use cobs::job::state::Ignored;
use cobs::peer::PeerRecord;
use cobs::transport_key::TransportKey;

use crate::home::{Home, bid, cancel, identity, key, node, operation, publish, sign, sign_refs, store};

#[test]
fn an_operation_of_rad_cob_counts_without_a_pin_and_with_its_extra_field() {
    let home = Home::new();
    let writer = home.writer();
    let job = home.job(&writer, 1, &[home.node()], 1);
    let own = home.read(job).unwrap().reading.tips[&home.node()].clone();
    let mut value = serde_json::to_value(cancel(job).with_seq(Seq(2))).unwrap();
    value["parents"] = serde_json::json!([]);
    let repo = home.repo();
    let tip = store(&repo, &home.key, None, own.into_iter().collect(), vec![value.to_string().into_bytes()]);
    publish(&repo, &home.node(), job, tip);
    let read = home.read(job).unwrap();
    assert_eq!(read.job.cancels.len(), 1);
    assert!(read.job.ignored.is_empty());
    assert_eq!(operation(&writer, home.append(bid(job, 2))).seq, Seq(3), "the writer counts on from it");
}

#[test]
fn malformed_operations_are_counted_and_no_more() {
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let job = home.job(&writer, 1, &[home.node(), node(&worker)], 1);
    let repo = home.repo();
    let mut tip = job.0;
    let two = vec![bid(job, 1).encode(), bid(job, 2).encode()];
    let odd = "é".repeat(18) + "aéa"; // 40 bytes, where 40 digits are expected
    let alien = serde_json::json!({"type": "bid", "job": odd, "seq": 0, "score": 1}).to_string().into_bytes();
    for contents in [vec![b"not json".to_vec()], two, vec![vec![b' '; ACTION_BYTES_MAX + 1]], vec![alien]] {
        tip = store(&repo, &worker, None, vec![tip], contents);
    }
    // a commit that is no operation, as a parent
    let who = repo.backend.signature().unwrap();
    let tree = repo.backend.find_tree(repo.backend.treebuilder(None).unwrap().write().unwrap()).unwrap();
    let plain: Oid = repo.backend.commit(None, &who, &who, "plain", &tree, &[]).unwrap().into();
    tip = sign(&repo, &worker, vec![tip, plain], &bid(job, 3));
    publish(&repo, &node(&worker), job, tip);

    let read = home.read(job).unwrap();
    let count = |reason| read.job.ignored.get(&reason).copied();
    assert_eq!(count(Ignored::Malformed), Some(2));
    assert_eq!(count(Ignored::ManyActions), Some(1));
    assert_eq!(count(Ignored::TooLarge), Some(1));
    assert_eq!((read.reading.unreadable, read.reading.missing), (1, 0));
    assert_eq!(read.job.bids[&node(&worker)].score, 3);
}

#[test]
fn objects_that_a_peer_did_not_send_are_counted_and_no_error() {
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let job = home.job(&writer, 1, &[home.node(), node(&worker)], 1);
    let repo = home.repo();
    let tip = sign(&repo, &worker, vec![job.0], &bid(job, 3));
    let tree = repo.backend.find_commit(tip.into()).unwrap().tree_id().to_string();
    publish(&repo, &node(&worker), job, tip);
    std::fs::remove_file(repo.backend.path().join("objects").join(&tree[..2]).join(&tree[2..])).unwrap();
    let read = home.read(job).unwrap();
    assert_eq!((read.reading.missing, read.ops), (1, 2));
}

#[test]
fn there_is_no_job_where_there_is_none() {
    let home = Home::new();
    let absent = JobId(Oid::from_sha1([7; 20]));
    assert!(matches!(home.read(absent), Err(ReadError::NotFound(job)) if job == absent));
    let repo = home.repo();
    let head: Oid = repo.backend.refname_to_id("refs/rad/id").unwrap().into();
    assert!(matches!(home.read(JobId(head)), Err(ReadError::NotFound(_))), "the identity is no job");
}

#[test]
fn the_list_agrees_with_what_was_read_until_someone_writes() {
    let home = Home::new();
    let writer = home.writer();
    let jobs: Vec<JobId> = (0..3).map(|nonce| home.job(&writer, nonce, &[home.node()], 1)).collect();
    let read = home.read(jobs[0]).unwrap();
    let admitted = identity(&home.repo()).admitted(&read.job);
    assert_eq!(admitted, read.reading.admitted);
    let current = || {
        let listed = list_jobs(&home.repo()).unwrap();
        assert_eq!(listed.keys().copied().collect::<std::collections::BTreeSet<_>>(), jobs.iter().copied().collect());
        let among = listed[&jobs[0]].iter().filter(|(node, _)| admitted.contains(*node));
        among.eq(&read.reading.tips)
    };
    assert!(current());
    let stranger = key(9);
    let repo = home.repo();
    publish(&repo, &node(&stranger), jobs[0], sign(&repo, &stranger, vec![jobs[0].0], &bid(jobs[0], 1)));
    assert!(current(), "a stranger's namespace is none of its business");
    operation(&writer, home.append(bid(jobs[0], 2)));
    assert!(!current());
}

#[test]
fn a_peer_record_is_its_own_nodes_and_is_replaced() {
    let home = Home::new();
    let writer = home.writer();
    let record = |alias: &str| PeerRecord {
        protocol: 1,
        alias: alias.to_owned(),
        link_addresses: vec!["127.0.0.1:8777".to_owned()],
        radicle_addresses: vec![],
        transport_key: TransportKey::from_bytes([7; 32]),
        labels: ["fast".to_owned()].into(),
        runners: [].into(),
    };
    for alias in ["one", "two"] {
        let draft = Draft::PeerRecord { ledger: home.ledger, record: record(alias) };
        assert!(matches!(writer.write(draft), Ok(Written::PeerRecord { .. })));
    }
    let repo = home.repo();
    assert_eq!(read_peer_records(&repo).unwrap(), [(home.node(), record("two"))].into());
    // another namespace with the same signed record
    let own = repo.backend.refname_to_id(&format!("refs/namespaces/{}/refs/rhizome/peer", home.node())).unwrap();
    let thief = key(2);
    let name = format!("refs/namespaces/{}/refs/rhizome/peer", node(&thief));
    repo.backend.reference(&name, own, true, "copied").unwrap();
    sign_refs(&repo, &thief);
    assert_eq!(read_peer_records(&repo).unwrap().len(), 1);
    // an operation of a job is no record
    let job = home.job(&writer, 1, &[home.node()], 0);
    let name = format!("refs/namespaces/{}/refs/rhizome/peer", home.node());
    repo.backend.reference(&name, job.0.into(), true, "a job").unwrap();
    assert!(read_peer_records(&repo).unwrap().is_empty());
}

#[test]
fn an_action_of_a_foreign_spelling_is_read_as_written() {
    // a second root of a strange version is ignored, not an error
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let job = home.job(&writer, 1, &[node(&worker)], 0);
    let repo = home.repo();
    let second = Action::Create(Box::new(home.create(2, &[node(&worker)])));
    publish(&repo, &node(&worker), job, sign(&repo, &worker, vec![job.0], &second));
    assert_eq!(home.read(job).unwrap().job.ignored.get(&Ignored::SecondRoot), Some(&1));
}
