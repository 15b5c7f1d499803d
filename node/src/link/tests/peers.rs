//! Who is connected to whom, and for how long.

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{Dialler, Parting, limits};
use super::*;

#[tokio::test]
async fn both_sides_ask_over_one_connection() {
    // The side that was dialled, and has no address to dial, asks too.
    let (a, b) = pair().await;
    assert_eq!(b.get_text(&a, "/who").await, format!("peer {} {}", b.id, b.key()));
    assert_eq!(a.get_text(&b, "/who").await, format!("peer {} {}", a.id, a.key()));
    let (seen_by_a, seen_by_b) = (a.link.sessions(), b.link.sessions());
    assert_eq!((seen_by_a.len(), seen_by_a[0].dialler), (1, Dialler::Us));
    assert_eq!((seen_by_b.len(), seen_by_b[0].dialler), (1, Dialler::Them));
    let c = Node::start(3).await;
    let unknown = a.get(&c, "/who").await.unwrap_err();
    assert!(matches!(unknown, LinkError::NotConnected { node } if node == c.id), "{unknown}");
}

#[tokio::test]
async fn the_wrong_key_is_named() {
    // A dialler that finds another key says both keys, and never shows its own.
    let (a, b, c) = (Node::start(1).await, Node::start(2).await, Node::start(3).await);
    b.awaits(&[&a]);
    a.set([(b.id, c.key(), vec![b.address()])].into_iter());
    let trouble = until_trouble(&a, &b).await;
    let LinkError::WrongKey { expected, found, .. } = &*trouble else { panic!("{trouble}") };
    assert_eq!((*expected, *found), (c.key(), b.key()));
    let text = trouble.to_string();
    assert!(text.contains("wrong transport key") && text.contains(&c.key().to_string()), "{text}");
    assert!(a.link.sessions().is_empty() && b.link.sessions().is_empty());
}

#[tokio::test]
async fn an_unknown_key_is_not_admitted() {
    // The dialler is told that the other side does not know its key; what both know but one has not authorised fails too.
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    a.peers_with(&[&b]);
    let trouble = until_trouble(&a, &b).await;
    assert!(matches!(*trouble, LinkError::NotAdmitted { key, .. } if key == a.key()), "{trouble}");
    b.awaits(&[&a]);
    b.admitted.lock().unwrap().clear();
    a.link.nudge(&b.id);
    assert!(!a.is_connected(&b));
    b.awaits(&[&a]);
    a.until_connected(&b).await;
    assert!(a.link.trouble(&b.id).is_none());
}

async fn until_trouble(a: &Node, b: &Node) -> Arc<LinkError> {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(trouble) = a.link.trouble(&b.id) {
            return trouble;
        }
        assert!(Instant::now() < deadline, "no trouble in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dialling_at_once_makes_one_session() {
    // Whoever wins, both sides count the same one connection, and it stays.
    for round in 0..20 {
        let (a, b) = (Node::start(1).await, Node::start(2).await);
        let (mut of_a, mut of_b) = (a.link.subscribe(), b.link.subscribe());
        if round % 2 == 0 {
            a.peers_with(&[&b]);
            b.peers_with(&[&a]);
        } else {
            b.peers_with(&[&a]);
            a.peers_with(&[&b]);
        }
        a.until_connected(&b).await;
        b.until_connected(&a).await;
        for _ in 0..5 {
            a.get_text(&b, "/who").await;
            b.get_text(&a, "/who").await;
        }
        let (by_a, by_b) = (a.link.sessions()[0].dialler, b.link.sessions()[0].dialler);
        assert_ne!(by_a, by_b, "round {round}: two different connections");
        let mut events = 0;
        while of_a.try_recv().is_ok() || of_b.try_recv().is_ok() {
            events += 1;
        }
        assert!(events <= 2, "round {round}: {events} events, so it flapped");
    }
}

#[tokio::test]
async fn a_restarted_peer_is_back_soon() {
    // The dialler reconnects by itself once the peer listens again.
    let (a, mut b) = pair().await;
    for _ in 0..3 {
        let mut events = a.link.subscribe();
        let since = Instant::now();
        b = b.restart().await;
        b.awaits(&[&a]);
        assert_eq!(event(&mut events).await, LinkEvent::Disconnected { node: b.id, parting: Parting::Closed });
        assert_eq!(event(&mut events).await, LinkEvent::Connected { node: b.id });
        let took = since.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(a.get_text(&b, "/who").await.starts_with("peer"));
    }
}

#[tokio::test]
async fn a_cut_ends_all_at_once_and_holds() {
    // An open stream ends on both sides in an error, and the peer is admitted no more until it is named again.
    let (a, b) = pair().await;
    let mut body = a.get(&b, "/endless").await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    let since = Instant::now();
    b.link.cut(&a.id);
    assert!(body.frame().await.unwrap().is_err(), "a body that was cut looks whole");
    assert!(since.elapsed() < Duration::from_millis(500), "{:?}", since.elapsed());
    assert!(b.link.sessions().is_empty());
    a.until_disconnected(&b).await;
    assert!(matches!(*until_trouble(&a, &b).await, LinkError::NotAdmitted { .. }));
    let refused = b.get(&a, "/who").await.unwrap_err();
    assert!(matches!(refused, LinkError::NotConnected { .. }), "{refused}");
    b.awaits(&[&a]);
    a.until_connected(&b).await;
}

#[tokio::test]
async fn a_changed_key_ends_the_session() {
    // A peer named under another key is cut at once, together with what we were reading from it.
    let (a, b) = pair().await;
    let mut body = b.get(&a, "/endless").await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let other = Node::start(3).await;
    b.set([(a.id, other.key(), vec![])].into_iter());
    assert!(!b.is_connected(&a));
    assert!(body.frame().await.unwrap().is_err());
    a.until_disconnected(&b).await;
}

#[tokio::test]
async fn a_revoked_key_ends_the_session() {
    // Authority that ends elsewhere is noticed at the next ping, without anyone telling the link.
    let (a, b) = pair().await;
    let mut events = b.link.subscribe();
    b.admitted.lock().unwrap().clear();
    assert_eq!(event(&mut events).await, LinkEvent::Disconnected { node: a.id, parting: Parting::Revoked });
    a.until_disconnected(&b).await;
}

#[tokio::test]
async fn a_silent_peer_is_dead_and_a_new_dial_replaces_it() {
    // When the network swallows all and closes nothing, both sides notice in seconds; a peer that dials anew
    // meanwhile is taken as soon as the old connection fails to show life.
    let (a, b, c) = (Node::start(1).await, Node::start(2).await, Node::start(3).await);
    let swallow = CancellationToken::new();
    let proxy = swallowing_proxy(b.address(), swallow.clone()).await;
    b.awaits(&[&a, &c]);
    a.set([(b.id, b.key(), vec![proxy.clone()])].into_iter());
    c.set([(b.id, b.key(), vec![proxy])].into_iter());
    a.until_connected(&b).await;
    c.until_connected(&b).await;
    let (mut of_b, since) = (b.link.subscribe(), Instant::now());
    swallow.cancel();

    let c = c.restart().await;
    c.peers_with(&[&b]);
    c.until_connected(&b).await;
    let took = since.elapsed();
    assert!(took < Duration::from_millis(limits::PROOF_OF_LIFE_MS + 1_500), "{took:?}");
    assert_eq!(event(&mut of_b).await, LinkEvent::Disconnected { node: c.id, parting: Parting::Replaced });
    assert_eq!(event(&mut of_b).await, LinkEvent::Connected { node: c.id });

    assert_eq!(event(&mut of_b).await, LinkEvent::Disconnected { node: a.id, parting: Parting::Silent });
    let took = since.elapsed();
    let limit = Duration::from_millis(limits::SILENCE_MAX_MS + limits::PING_INTERVAL_MS + 1_500);
    assert!(took < limit, "{took:?}");
}

/// Forwards until told to swallow; then it reads and forwards nothing, and closes nothing.
async fn swallowing_proxy(to: String, swallow: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(&to).await.unwrap();
            let swallow = swallow.clone();
            tokio::spawn(async move {
                let both = tokio::io::copy_bidirectional(&mut near, &mut far);
                if swallow.run_until_cancelled(both).await.is_none() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    // The error says which address and what to do.
    let a = Node::start(1).await;
    let taken = a.link.local_addresses()[0];
    let error = Node::start_as(2, a.identity.clone(), taken).await.err().unwrap();
    assert!(matches!(error, LinkError::AddressInUse { address } if address == taken), "{error}");
    assert!(error.to_string().contains(&format!("{taken} is in use: stop")), "{error}");
}

#[tokio::test]
async fn shutdown_lets_open_exchanges_finish() {
    // What was asked is answered; what is asked after is refused; what does not end is broken off.
    let (a, b) = pair().await;
    let response = a.get(&b, "/gate").await.unwrap();
    let endless = a.get(&b, "/endless").await.unwrap();
    let stopping = b.link.clone();
    let stopped = tokio::spawn(async move { stopping.shutdown(Duration::from_millis(300)).await });
    while !matches!(b.get(&a, "/who").await, Err(LinkError::ShuttingDown)) {
        tokio::task::yield_now().await;
    }
    // Time enough for a link that does not wait to say goodbye.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    OPEN_GATE.notify_one();
    assert_eq!(text(response).await, "opened");
    assert!(endless.into_body().collect().await.is_err());
    tokio::time::timeout(LONG, stopped).await.unwrap().unwrap();
    let refused = b.get(&a, "/who").await.unwrap_err();
    assert!(matches!(refused, LinkError::ShuttingDown), "{refused}");
    a.until_disconnected(&b).await;
}
