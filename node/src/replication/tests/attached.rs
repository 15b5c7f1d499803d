//! Attaching to a node that runs in the home, and asking a control socket that does not answer as it should.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;

use radicle::node::Command;

use super::*;
use crate::replication::control::{Control, ControlError, Done};

/// Connections that wait to be accepted.
const QUEUE: i32 = 2;
/// What a command is waited for.
const MOMENT: Duration = Duration::from_millis(5);

impl Peer {
    /// A second handle on the home of `owner`, whose node runs.
    fn beside(owner: &Self) -> Self {
        Self::start_in(owner.node.home(), tempfile::tempdir().unwrap(), options())
    }
}

/// A node that runs in the home is attached to: what it fetches is told, what is announced by it arrives, and it goes on
/// when it is let go. When it ends, that is told, and the next start is one of our own.
#[test]
fn a_running_node_is_attached_to() {
    let (a, mut b, rid) = pair();
    let mut beside = Peer::beside(&a);
    assert!(matches!(beside.node.mode(), Mode::Attached { is_silent: false, .. }));
    assert_eq!(beside.node.local_addresses(), a.node.local_addresses());
    assert_eq!(beside.node.connected(), BTreeSet::from([b.id]));

    let theirs = b.write_ref(rid, "refs/heads/theirs", "theirs");
    let fetched = beside.wait_fetched("refs/heads/theirs");
    assert!(fetched.iter().any(|fetched| fetched.namespace == b.id && fetched.new == Some(theirs)), "{fetched:?}");
    assert_eq!(beside.node.fetch(rid, b.id, PATIENCE).unwrap().refs, []);
    beside.node.seed(rid).unwrap();
    let ours = beside.write_ref(rid, "refs/heads/ours", "ours");
    let fetched = b.wait_fetched("refs/heads/ours");
    assert!(fetched.iter().any(|fetched| fetched.namespace == a.id && fetched.new == Some(ours)), "{fetched:?}");

    beside.node.stop().unwrap();
    assert!(a.node.is_running() && a.node.connected().contains(&b.id));
    beside.node.restart().unwrap();
    a.node.stop().unwrap();
    beside.wait("its end", |event| (*event == ReplicationEvent::Stopped).then_some(()));
    beside.node.restart().unwrap();
    assert_eq!(beside.node.mode(), Mode::Embedded);
    b.wait_connected(a.id);
}

/// A peer is dialled and forgotten in the configuration and by commands: the node is not restarted, and what waits for its
/// own next start is told.
#[test]
fn a_node_of_others_is_not_restarted() {
    let (a, b) = (Peer::start(1), Peer::start(2));
    let config = a.node.home().home.config();
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    file["node"]["limits"]["rate"]["inbound"]["fillRate"] = serde_json::json!(5.0);
    std::fs::write(&config, serde_json::to_vec(&file).unwrap()).unwrap();
    a.node.restart().unwrap();
    let home = NodeHome::open(a.node.home().home.path(), &unlocked()).unwrap();
    let mut beside = Peer::start_in(home, tempfile::tempdir().unwrap(), options());
    assert_eq!(beside.node.mode(), Mode::Attached { is_silent: false, is_outdated: false });
    let mut owner = a;

    let address = b.node.local_addresses()[0].to_string();
    assert_eq!(beside.node.connect_peer(b.id, &address).unwrap(), Reach::Connected);
    assert_eq!(beside.node.mode(), Mode::Attached { is_silent: false, is_outdated: true });
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(&b.id.to_string()), "{text}");
    owner.wait_connected(b.id);
    beside.wait_connected(b.id);

    beside.node.forget(b.id).unwrap();
    beside.wait("the end of the session", |event| match event {
        ReplicationEvent::PeerDisconnected { peer, .. } => (*peer == b.id).then_some(()),
        _ => None,
    });
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(!text.contains(&b.id.to_string()), "{text}");
    assert!(matches!(beside.node.mode(), Mode::Attached { .. }));
    let mut told = Vec::new();
    while let Ok(event) = owner.events.try_recv() {
        told.push(event);
    }
    assert!(!told.contains(&ReplicationEvent::Stopped), "{told:?}");
}

/// A socket whose owner accepts nobody holds nothing up, also once its queue is full, and is not taken for free.
#[test]
fn a_socket_that_nobody_serves_is_waited_for_in_vain() {
    let directory = tempfile::tempdir().unwrap();
    let (home, _) = NodeHome::open_or_create(directory.path(), new_profile(1), &unlocked()).unwrap();
    let listener = UnixListener::bind(home.home.socket_default()).unwrap();
    rustix::net::listen(&listener, QUEUE).unwrap();
    let control = Control::new(home.home.socket_default());
    for _ in 0..QUEUE * 3 {
        let answer = control.wait_for::<Done>(&Command::Status, MOMENT);
        assert!(matches!(answer, Err(ControlError::TimedOut(_))));
    }
    assert!(matches!(home.ensure_alone(), Err(ProfileError::AlreadyRunning(_))));

    assert!(!control.is_silent());
    assert!(matches!(control.ask::<Done>(&Command::Status), Err(ControlError::TimedOut(_))));
    assert!(control.is_silent());
    assert!(matches!(control.ask::<Done>(&Command::Status), Err(ControlError::Silent)));
}

/// A refusal is one also where the answer has no content, a line that comes in two pieces is one, and one without an end
/// is whole once the node hangs up.
#[test]
fn answers_are_read_as_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (go_on, waits) = std::sync::mpsc::sync_channel::<()>(0);
    let server = std::thread::spawn(move || {
        let accept = || {
            let mut stream = listener.accept().unwrap().0;
            let mut command = String::new();
            BufReader::new(&mut stream).read_line(&mut command).unwrap();
            stream
        };
        accept().write_all(b"{\"error\":\"not today\"}\n").unwrap();
        accept().write_all(b"[\"127.0.0.1:1\"]").unwrap();
        let mut events = accept();
        events.write_all(b"[\"127.0.").unwrap();
        waits.recv().unwrap();
        events.write_all(b"0.1:2\"]\n[]\n").unwrap();
    });
    let control = Control::new(socket);
    let refused = control.ask::<Done>(&Command::Status).map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "it says: not today");
    let addresses: Vec<SocketAddr> = control.ask(&Command::ListenAddrs).unwrap();
    assert_eq!(addresses, ["127.0.0.1:1".parse().unwrap()]);

    let mut lines = control.open(&Command::Subscribe, PATIENCE).unwrap();
    assert!(matches!(lines.next::<Vec<SocketAddr>>(MOMENT), Err(ControlError::TimedOut(_))));
    go_on.send(()).unwrap();
    assert_eq!(lines.next::<Vec<SocketAddr>>(PATIENCE).unwrap(), Some(vec!["127.0.0.1:2".parse().unwrap()]));
    assert_eq!(lines.next::<Vec<SocketAddr>>(PATIENCE).unwrap(), Some(vec![]));
    assert_eq!(lines.next::<Vec<SocketAddr>>(PATIENCE).unwrap(), None);
    server.join().unwrap();
}
