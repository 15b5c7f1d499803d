//! Starting, stopping and restarting a real node.

use std::net::TcpListener;

use radicle::node::address::Store as _;
use radicle::node::{Handle as _, Node};

use super::*;

/// The control socket serves `rad` while the node runs, and stopping frees everything.
#[test]
fn a_node_starts_stops_and_starts_again() {
    let peer = Peer::start(1);
    let home = peer.node.home();
    let rad = Node::new(home.home.socket_default());
    assert_eq!(rad.nid().unwrap(), peer.id);
    assert!(peer.node.is_running());

    let addresses = peer.node.local_addresses();
    peer.node.stop().unwrap();
    assert!(!peer.node.is_running());
    assert!(!rad.is_running());
    assert!(matches!(peer.node.announce(RepoId::from(Oid::from_sha1([0; 20]))), Err(ReplicationError::Stopped)));
    drop(TcpListener::bind(addresses[0]).unwrap());

    peer.node.restart().unwrap();
    assert_eq!(peer.node.local_addresses(), addresses);
    assert_eq!(rad.nid().unwrap(), peer.id);
}

/// A port that somebody holds is named; the home is not left in a state that hinders the next start.
#[test]
fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (home, _) = NodeHome::open_or_create(directory.path(), new_profile(1), &unlocked()).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listen = ReplicationOptions { listen: Some(vec![address]), ..ReplicationOptions::default() };
    let error = Replication::start(home.clone(), listen.clone()).map(drop).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}: the address is in use"));
    drop(taken);
    let (node, _events) = Replication::start(home, listen).unwrap();
    assert_eq!(node.local_addresses(), [address]);
}

/// `rad node stop` is reported, and the node can be started again.
#[test]
fn a_stop_from_outside_is_reported() {
    let mut peer = Peer::start(1);
    Node::new(peer.node.home().home.socket_default()).shutdown().unwrap();
    peer.wait("the end", |event| (*event == ReplicationEvent::Stopped).then_some(()));
    peer.node.restart().unwrap();
    assert!(peer.node.is_running());
}

/// A home that somebody made with a passphrase runs here, given the passphrase, and connects.
#[test]
fn an_encrypted_home_runs() {
    let mut plain = Peer::start(1);
    let directory = tempfile::tempdir().unwrap();
    let new = NewProfile { passphrase: Some(passphrase("open sesame")), ..new_profile(2) };
    drop(NodeHome::open_or_create(directory.path(), new, &unlocked()).unwrap());

    let locked = NodeHome::open(directory.path(), &unlocked()).map(drop).unwrap_err();
    assert!(locked.hint().unwrap().contains("RAD_PASSPHRASE"));
    let unlock = Unlock { environment: Some(passphrase("open sesame")), prompt: &|| None };
    let home = NodeHome::open(directory.path(), &unlock).unwrap();
    let id = home.public_key;
    let (node, _events) = Replication::start(home, options()).unwrap();
    let address = plain.node.local_addresses()[0].to_string().parse().unwrap();
    assert_eq!(node.connect_to(plain.id, address).unwrap(), Reach::Connected);
    plain.wait_connected(id);
}

/// After the address book was lost, a peer that we dial is listened to before it has introduced itself.
#[test]
fn a_dialled_peer_is_known_without_its_word() {
    let (a, b) = (Peer::start(1), Peer::start(2));
    assert_eq!(a.dial(&b), Reach::Connected);
    a.node.stop().unwrap();
    b.node.stop().unwrap();
    let home = a.node.home();
    std::fs::remove_file(home.home.node().join(radicle::node::NODE_DB_FILE)).unwrap();

    a.node.restart().unwrap();
    let book = home.home.addresses(home.config.node.database).unwrap();
    assert!(book.get(&b.id).unwrap().is_some());
}

/// A peer in `connect` is dialled again by a restarted node; a forgotten one is not.
#[test]
fn dialled_peers_are_remembered_and_forgotten() {
    let (a, mut b) = (Peer::start(1), Peer::start(2));
    assert_eq!(a.dial(&b), Reach::Connected);
    b.wait_connected(a.id);
    assert_eq!(a.node.sessions().unwrap()[0].dialled, Dialled::ByUs);
    a.node.restart().unwrap();
    b.wait_connected(a.id);

    a.node.forget(b.id).unwrap();
    assert_eq!(a.node.sessions().unwrap(), []);
    let file = std::fs::read_to_string(a.node.home().home.config()).unwrap();
    assert!(!file.contains(&b.id.to_string()), "{file}");
}

/// A reader that is too slow learns that it missed something, and gets new events after it.
#[test]
fn a_slow_reader_is_told_that_it_missed_events() {
    let (sender, mut receiver) = mpsc::channel(2);
    let outlet = event::Outlet::new(sender);
    let peer = Peer::start(1).id;
    let connected = ReplicationEvent::PeerConnected { peer };
    for _ in 0..5 {
        outlet.send(connected.clone());
    }
    assert_eq!(receiver.try_recv(), Ok(connected.clone()));
    assert_eq!(receiver.try_recv(), Ok(connected.clone()));
    assert!(receiver.try_recv().is_err());
    outlet.send(connected.clone());
    assert_eq!(receiver.try_recv(), Ok(ReplicationEvent::Missed));
    assert_eq!(receiver.try_recv(), Ok(connected));
    assert!(receiver.try_recv().is_err());
}

/// A peer that is expected is dialled from the next start on, and not at once: both dialling at the same moment costs
/// each what it had to say of itself.
#[test]
fn a_peer_that_is_expected_is_not_dialled_at_once() {
    let (a, b) = (Peer::start(1), Peer::start(2));
    let address = b.node.local_addresses()[0].to_string();
    a.node.expect_peer(b.id, &address).unwrap();
    assert_eq!(a.node.sessions().unwrap(), []);
    assert!(a.node.home().config.node.connect.iter().any(|peer| peer.to_string().contains(&address)));
    a.node.connect_peer(b.id, &address).unwrap();
    assert_ne!(a.node.sessions().unwrap(), []);
}
