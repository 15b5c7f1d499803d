//! What one may do whose key is nobody's.

use super::super::{Client, dial_once, limits};
use super::*;

async fn call(a: &Node, b: &Node) -> Result<Client, LinkError> {
    dial_once(&a.identity, &b.address(), b.key(), LONG).await
}

fn pairing(body: Body) -> Request<Body> {
    Request::builder().method("POST").uri("/pair").body(body).unwrap()
}

#[tokio::test]
async fn a_stranger_reaches_its_own_router_alone() {
    // Also who is a peer is a stranger when it comes as one, and has no session then.
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    b.awaits(&[&a]);
    let client = call(&a, &b).await.unwrap();
    let paired = client.request(pairing(Body::empty()), LONG).await.unwrap();
    assert_eq!(text(paired).await, format!("stranger {} 127.0.0.1", a.key()));
    let hidden = client.request(request("/who"), LONG).await.unwrap();
    assert_eq!(hidden.status(), 404);
    assert!(b.link.sessions().is_empty());
    let other = dial_once(&a.identity, &b.address(), a.key(), LONG).await.unwrap_err();
    assert!(matches!(other, LinkError::WrongKey { .. }), "{other}");
}

#[tokio::test]
async fn a_stranger_has_little_to_say() {
    // A body above the limit is refused, told by its length or not; so are requests above their number.
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    let client = call(&a, &b).await.unwrap();
    let large = vec![0; limits::STRANGER_BODY_BYTES + 1];
    let fits = client.request(pairing(large[1..].to_vec().into()), LONG).await.unwrap();
    assert_eq!(fits.status(), 200);
    let told = client.request(pairing(large.clone().into()), LONG).await.unwrap();
    assert_eq!(told.status(), 413);
    let untold = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from(large))]));
    let untold = client.request(pairing(untold), LONG).await.unwrap();
    assert_eq!(untold.status(), 413);
    for _ in 3..limits::STRANGER_REQUESTS_MAX {
        assert_eq!(client.request(pairing(Body::empty()), LONG).await.unwrap().status(), 200);
    }
    assert!(client.request(pairing(Body::empty()), LONG).await.is_err());
}

#[tokio::test]
async fn strangers_are_few_and_rare() {
    // Beyond the places, and beyond the attempts of one host, a stranger is told to come later; a peer is not.
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    let mut clients = Vec::new();
    for _ in 0..limits::STRANGERS_MAX {
        clients.push(call(&a, &b).await.unwrap());
    }
    let full = call(&a, &b).await.unwrap_err();
    assert!(matches!(full, LinkError::TooManyAttempts { .. }), "{full}");
    assert_eq!(clients[0].request(pairing(Body::empty()), LONG).await.unwrap().status(), 200);
    drop(clients);
    let mut attempts = limits::STRANGERS_MAX as u32 + 1;
    while call(&a, &b).await.is_ok() {
        attempts += 1;
    }
    assert!(attempts <= limits::STRANGER_ATTEMPTS_MAX, "{attempts} attempts");
    b.awaits(&[&a]);
    a.peers_with(&[&b]);
    a.until_connected(&b).await;
}
