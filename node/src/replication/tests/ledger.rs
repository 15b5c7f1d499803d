//! Ledgers between two real nodes.

use std::time::Instant;

use super::*;

/// What a peer writes to the ledger arrives, in both directions, with the names of what changed and nothing else.
#[test]
fn a_ledger_replicates_both_ways() {
    let (mut a, mut b, rid) = pair();
    assert_eq!(ledgers::get(&b.node.home(), rid).unwrap().members, ledgers::get(&a.node.home(), rid).unwrap().members);

    let written = b.write_ref(rid, "refs/rhizome/peer", "record of b");
    let refs = a.wait_fetched("refs/rhizome/peer");
    let peer_record = FetchedRef { namespace: b.id, name: "refs/rhizome/peer".to_owned(), new: Some(written) };
    assert!(refs.contains(&peer_record), "{refs:?}");
    assert!(refs.iter().all(|fetched| fetched.namespace == b.id), "unchanged references of a are listed: {refs:?}");
    b.wait("news that a has it", |event| match event {
        ReplicationEvent::Synced { rid: found, by, .. } => (*found == rid && *by == a.id).then_some(()),
        _ => None,
    });

    let written = a.write_ref(rid, "refs/rhizome/peer", "record of a");
    let refs = b.wait_fetched("refs/rhizome/peer");
    assert!(refs.iter().any(|fetched| fetched.namespace == a.id && fetched.new == Some(written)), "{refs:?}");
}

/// A watched repository reports our own writes, whoever made them, also after its references were packed.
#[test]
fn our_own_writes_are_seen() {
    let mut a = Peer::start(1);
    let rid = ledgers::create(&a.node.home(), ledgers::NewLedger { name: "team", description: "" }).unwrap();
    let wait_local = |a: &mut Peer| {
        a.wait("a local change", |event| match event {
            ReplicationEvent::LocalRefsChanged { rid: found, at } if *found == rid => Some(*at),
            _ => None,
        })
    };
    let storage = a.node.home().storage;
    let path = radicle::prelude::ReadStorage::path_of(&storage, &rid);
    git(&path, &["pack-refs", "--all"]);
    a.node.watch(rid);
    let first = wait_local(&mut a);

    a.write_ref(rid, "refs/rhizome/peer", "one");
    let second = wait_local(&mut a);
    assert_ne!(first, second);
    git(&path, &["pack-refs", "--all"]);
    a.write_ref(rid, "refs/rhizome/peer", "two");
    let third = wait_local(&mut a);
    let signed = format!("refs/namespaces/{}/refs/rad/sigrefs", a.id);
    assert_eq!(third.to_string(), git(&path, &["rev-parse", &signed]));
}

/// A peer that is no longer allowed keeps what it has and gets nothing more, by fetch or announcement.
#[test]
fn a_disallowed_peer_fetches_no_more() {
    let (a, b, rid) = pair();
    let home = a.node.home();
    identity::disallow(&home, &repository::open(&home, rid).unwrap(), b.id).unwrap();

    let kept = a.write_ref(rid, "refs/rhizome/peer", "not for b");
    let refused = b.node.fetch(rid, a.id, PATIENCE).unwrap_err();
    assert!(matches!(refused, FetchError::Refused { .. }), "{refused:?}");
    let copy = repository::open(&b.node.home(), rid).unwrap();
    assert!(copy.backend.find_commit(kept.into()).is_err());
}

/// An outsider is served a private ledger by nobody, neither by its founder nor by a member that relays it, until it is
/// allowed; and nothing of it is announced to one.
#[test]
fn an_outsider_fetches_nothing() {
    let (a, b, rid) = pair();
    let mut outsider = Peer::start(3);
    for member in [&a, &b] {
        assert_eq!(outsider.dial(member), Reach::Connected);
        outsider.wait_connected(member.id);
    }
    outsider.node.seed(rid).unwrap();
    a.write_ref(rid, "refs/rhizome/peer", "not for everyone");
    for member in [&a, &b] {
        let refused = outsider.node.fetch(rid, member.id, PATIENCE).unwrap_err();
        assert!(matches!(refused, FetchError::Refused { .. }), "{refused:?}");
    }
    assert!(repository::open(&outsider.node.home(), rid).is_err(), "something of it is here");
    let home = a.node.home();
    identity::allow(&home, &repository::open(&home, rid).unwrap(), &BTreeSet::from([outsider.id])).unwrap();
    let fetched = outsider.node.fetch(rid, a.id, PATIENCE).unwrap();
    assert!(fetched.refs.iter().any(|fetched| fetched.name == "refs/rhizome/peer"), "{fetched:?}");
}

/// What stands in the way of a fetch is told apart.
#[test]
fn a_fetch_says_why_it_brings_nothing() {
    let (a, b, rid) = pair();
    let stranger: NodeId = "z6MkrLMMsiPWUcNPHcRajuMi9mDfYckSoJyPwwnknocNYPm7".parse().unwrap();
    let error = b.node.fetch(rid, stranger, PATIENCE).unwrap_err();
    assert!(matches!(error, FetchError::NotConnected { .. }), "{error:?}");

    let other = ledgers::create(&a.node.home(), ledgers::NewLedger { name: "other", description: "" }).unwrap();
    a.node.seed(other).unwrap();
    let error = b.node.fetch(other, a.id, PATIENCE).unwrap_err();
    assert!(matches!(error, FetchError::NotSeeded(_)), "{error:?}");
    b.node.seed(other).unwrap();
    let error = b.node.fetch(other, a.id, PATIENCE).unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }), "{error:?}");

    b.node.stop().unwrap();
    let error = b.node.fetch(rid, a.id, PATIENCE).unwrap_err();
    assert!(matches!(error, FetchError::Node(ReplicationError::Stopped)), "{error:?}");
}

/// With heartbeats a restarted peer is back in seconds, whoever dials, where Radicle alone takes over a minute.
#[test]
fn a_restarted_peer_is_noticed_soon() {
    for dialled in ["by the one that restarts", "by the other", "by both"] {
        let (mut a, mut b, rid) = pair();
        a.node.watch(rid);
        b.node.watch(rid);
        if dialled == "by both" {
            b.dial(&a);
        }
        let (restarting, waiting) = match dialled {
            "by the one that restarts" => (&mut a, &mut b),
            _ => (&mut b, &mut a),
        };
        let started = Instant::now();
        restarting.node.restart().unwrap();
        let restarted = started.elapsed();
        let peer = restarting.id;
        waiting.wait("the loss", |event| {
            matches!(event, ReplicationEvent::PeerDisconnected { peer: lost, .. } if *lost == peer).then_some(())
        });
        let lost = started.elapsed();
        waiting.wait_connected(peer);
        restarting.wait_connected(waiting.id);
        eprintln!("dialled {dialled}: down for {restarted:?}, lost after {lost:?}, back after {:?}", started.elapsed());

        let written = waiting.write_ref(rid, "refs/rhizome/peer", "after the restart");
        let refs = restarting.wait_fetched("refs/rhizome/peer");
        assert!(refs.iter().any(|fetched| fetched.new == Some(written)));
        assert!(started.elapsed() < Duration::from_secs(10), "dialled {dialled}: {:?}", started.elapsed());
    }
}

/// A peer that its survivor has doubted comes back with its first dial; without that a connection that is dead stands in
/// its way, and Radicle dials a second time after four seconds.
#[test]
fn a_doubted_peer_comes_back_at_once() {
    let never = ReplicationOptions { heartbeat: Duration::from_secs(3_600), ..options() };
    let (mut a, mut b, rid) = pair_with(never);
    a.node.watch(rid);
    // from its next start on it dials as well
    b.dial(&a);
    b.node.stop().unwrap();
    a.node.doubt();
    a.wait("the loss", |event| {
        matches!(event, ReplicationEvent::PeerDisconnected { peer, .. } if *peer == b.id).then_some(())
    });
    let started = Instant::now();
    b.begin_again(options());
    b.wait_connected(a.id);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}
