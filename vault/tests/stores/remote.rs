//! The stores of other products, against their real servers.

use std::time::{Duration, Instant};

use vault::vectors::{VectorError, VectorStore, remote};

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

fn open(server: &Server) -> Box<dyn VectorStore> {
    remote::open(&server.url.parse().unwrap(), RUNTIME.handle().clone()).unwrap()
}

/// A store whose server has said that it is ready.
fn ready(server: &Server) -> Box<dyn VectorStore> {
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
    server.restart();
    wait("the store is back", || store.count(&collection).is_ok_and(|count| count == 1));
    assert_eq!(contract::pages(&*store, &collection, 10), [kept]);
}
