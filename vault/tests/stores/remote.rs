//! The stores of other products, against their real servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vault::vectors::breaker::{Breaker, State};
use vault::vectors::{Collection, Point, VectorError, VectorStore, remote};

use crate::contract;
use crate::points::{notes, owner, point};
use crate::servers::{RUNTIME, Server, wait};

/// PostgreSQL with pgvector keeps the contract.
#[test]
fn postgres_keeps_the_contract() {
    keeps_the_contract("postgres", "postgres_keeps_the_contract");
}

/// A PostgreSQL that goes is away at once, and what it had is there when it is back.
#[test]
fn postgres_goes_and_comes_back() {
    goes_and_comes_back("postgres", "postgres_goes_and_comes_back");
}

/// Weaviate keeps the contract.
#[test]
fn weaviate_keeps_the_contract() {
    keeps_the_contract("weaviate", "weaviate_keeps_the_contract");
}

/// A Weaviate that goes is away at once, and what it had is there when it is back.
#[test]
fn weaviate_goes_and_comes_back() {
    goes_and_comes_back("weaviate", "weaviate_goes_and_comes_back");
}

/// Milvus keeps the contract.
#[test]
fn milvus_keeps_the_contract() {
    keeps_the_contract("milvus", "milvus_keeps_the_contract");
}

/// A Milvus that goes is away at once, and what it had is there when it is back.
#[test]
fn milvus_goes_and_comes_back() {
    goes_and_comes_back("milvus", "milvus_goes_and_comes_back");
}

fn open(server: &Server) -> Arc<dyn VectorStore> {
    remote::open(&server.url.parse().unwrap(), RUNTIME.handle().clone()).unwrap().into()
}

/// A store whose server has said that it is ready.
fn ready(server: &Server) -> Arc<dyn VectorStore> {
    let store = open(server);
    wait("the server answers", || store.collections("nobody").is_ok());
    store
}

fn keeps_the_contract(product: &'static str, test: &str) {
    let Some(server) = Server::start(product, test) else { return };
    let store = ready(&server);
    assert!(!store.name().contains("not-asked"), "{} shows the password", store.name());
    contract::hold(&*store);
}

fn goes_and_comes_back(product: &'static str, test: &str) {
    let Some(mut server) = Server::start(product, test) else { return };
    let store = ready(&server);
    let collection = notes(&owner());
    let kept = point(1, "a.md");
    store.upsert(&collection, std::slice::from_ref(&kept)).unwrap();
    server.kill();
    let calls: [&dyn Fn() -> Result<(), VectorError>; 4] = [
        &|| store.search(&collection, &kept.vector, 3, None).map(drop),
        &|| store.upsert(&collection, std::slice::from_ref(&kept)),
        &|| store.count(&collection).map(drop),
        &|| store.collections(&collection.owner).map(drop),
    ];
    for call in calls {
        let started = Instant::now();
        let result = call();
        assert!(matches!(result, Err(VectorError::Away { .. })), "{result:?}");
        assert!(started.elapsed() < Duration::from_millis(2 * remote::CONNECT_MS + remote::SEARCH_MS));
    }
    let missed = misses(store.clone(), &collection, || server.restart());
    assert_eq!(contract::pages(&*store, &collection, 10), [kept, missed]);
}

/// While the store is away searches fail at once; once it is back the breaker lets a change through by itself.
fn misses(store: Arc<dyn VectorStore>, collection: &Collection, restart: impl FnOnce()) -> Point {
    let started = Instant::now();
    let breaker = Breaker::new(store, Box::new(move || started.elapsed()));
    let missed = point(2, "b.md");
    assert!(matches!(breaker.upsert(collection, std::slice::from_ref(&missed)), Err(VectorError::Away { .. })));
    let search = || breaker.search(collection, &missed.vector, 3, None);
    while matches!(breaker.state(), State::Closed { .. }) {
        assert!(matches!(search(), Err(VectorError::Away { .. })));
    }
    let asked = Instant::now();
    assert!(search().unwrap_err().to_string().contains("is asked again in"));
    assert!(asked.elapsed() < Duration::from_millis(50), "it was asked");
    restart();
    // the breaker asks again by itself once its time has come
    wait("what was missed is made up for", || breaker.upsert(collection, std::slice::from_ref(&missed)).is_ok());
    missed
}
