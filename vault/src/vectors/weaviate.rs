//! Weaviate, by REST and GraphQL: a class for each collection, whose description names the collection.
//!
//! Everything that has a name of somebody's goes as JSON, and the filter is by letters and digits alone, so that nothing is
//! ever quoted here. Vectors are kept as they are given; the product compares copies of length 1.

mod wire;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use self::wire::{Batch, Deleted, Found, Graph, Objects, Schema};
use super::remote::{CALL_MS, CONNECT_MS, Remote, SEARCH_MS, collection_json, collection_name, document_key};
use super::{Collection, HITS_MAX, Near, POINTS_MAX, Point, PointId, VectorError, VectorStore};

/// Points that go in one request.
const BATCH_POINTS: usize = 250;
/// Points that are deleted by one request.
const DELETE_POINTS: usize = 250;
/// Longest part of an answer that is repeated in an error, in bytes.
const WORDS_BYTES_MAX: usize = 300;
/// How a class of ours begins; a class begins with a capital.
const PREFIX: &str = "Rhizome";

/// A store in a Weaviate.
pub struct WeaviateStore {
    remote: Remote,
    base: String,
    client: Client,
}

impl WeaviateStore {
    /// A store by the URL of its REST interface, and what it is called. It is not asked anything yet.
    ///
    /// # Errors
    /// When there is no client for it.
    pub fn new(base: &str, shown: String, handle: Handle) -> Result<Self, VectorError> {
        let remote = Remote::new(shown, handle);
        let client = Client::builder()
            .connect_timeout(Duration::from_millis(CONNECT_MS))
            .no_proxy()
            .build()
            .map_err(|error| remote.check().refused(error.to_string()))?;
        Ok(Self { remote, base: format!("{base}/v1"), client })
    }

    /// Asks, and reads the answer; none where there is no such thing.
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<T>, VectorError> {
        let mut request = self.client.request(method, format!("{}/{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        let away = |error: reqwest::Error| {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            self.remote.check().away(format!("{}: {why}", error.without_url()))
        };
        let answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(away)?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            let words = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_BYTES_MAX)]).into_owned();
            let busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            let why = format!("{status}: {words}");
            return Err(if busy { self.remote.check().away(why) } else { self.remote.check().refused(why) });
        }
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(text)
            .map(Some)
            .map_err(|error| self.remote.check().refused(format!("its answer: {error}")))
    }

    async fn schema(&self) -> Result<Schema, VectorError> {
        Ok(self.ask(Method::GET, "schema", None).await?.unwrap_or_default())
    }

    async fn exists(&self, class: &str) -> Result<bool, VectorError> {
        Ok(self.ask::<Value>(Method::GET, &format!("schema/{class}"), None).await?.is_some())
    }

    /// Makes the class of a collection where there is none.
    async fn make(&self, collection: &Collection) -> Result<(), VectorError> {
        let class = class(collection);
        if self.exists(&class).await? {
            return Ok(());
        }
        let text = |name: &str, filtered: bool| json!({"name": name, "dataType": ["text"], "tokenization": "field", "indexFilterable": filtered, "indexSearchable": false});
        let body = json!({
            "class": class,
            "description": collection_json(collection),
            "vectorizer": "none",
            "vectorIndexType": "hnsw",
            "vectorIndexConfig": {"distance": "cosine", "ef": 256, "efConstruction": 128, "maxConnections": 32},
            "properties": [text("document", false), text("documentKey", true), text("digest", false)],
        });
        match self.ask::<Value>(Method::POST, "schema", Some(&body)).await {
            // another node may have made it meanwhile
            Err(VectorError::Refused { .. }) if self.exists(&class).await? => Ok(()),
            made => made.map(drop),
        }
    }

    async fn graph(&self, query: String) -> Result<Graph, VectorError> {
        let answer: Option<Graph> = self.ask(Method::POST, "graphql", Some(&json!({ "query": query }))).await?;
        let answer = answer.unwrap_or_default();
        match answer.errors.first() {
            None => Ok(answer),
            Some(error) => Err(self.remote.check().refused(error.message.clone())),
        }
    }

    /// What the product finds near a vector; nothing where there is no such class.
    async fn near(
        &self,
        class: &str,
        vector: &[f32],
        hits: usize,
        keys: Option<&[String]>,
    ) -> Result<Vec<Point>, VectorError> {
        if !self.exists(class).await? {
            return Ok(Vec::new());
        }
        let vector = json!(vector);
        let mut filter = String::new();
        if let Some(keys) = keys {
            let keys = json!(keys);
            // writing to a string does not fail
            write!(filter, ",where:{{path:[\"documentKey\"],operator:ContainsAny,valueText:{keys}}}").ok();
        }
        let query = format!(
            "{{Get{{{class}(limit:{hits},nearVector:{{vector:{vector}}}{filter}){{document digest _additional{{id vector}}}}}}}}"
        );
        let mut answer = self.graph(query).await?;
        let found = answer.data.get.remove(class).unwrap_or_default();
        found.into_iter().map(|found: Found| self.point(found)).collect()
    }

    fn point(&self, found: Found) -> Result<Point, VectorError> {
        found.point().ok_or_else(|| self.remote.check().refused("an object is not of this program".into()))
    }

    async fn put(&self, class: &str, points: &[&Point]) -> Result<(), VectorError> {
        let object = |point: &&Point| {
            json!({
                "class": class,
                "id": wire::uuid(point.id),
                "vector": point.vector,
                "properties": {
                    "document": wire::kept(&point.document),
                    "documentKey": document_key(&point.document),
                    "digest": wire::kept(&point.digest),
                },
            })
        };
        let objects: Vec<Value> = points.iter().map(object).collect();
        let answer: Option<Vec<Batch>> =
            self.ask(Method::POST, "batch/objects", Some(&json!({ "objects": objects }))).await?;
        let answer = answer.unwrap_or_default();
        // the whole is answered with 200 whatever became of each
        if let Some(failed) = answer.iter().find(|object| object.result.status != "SUCCESS") {
            return Err(self.remote.check().away(format!("an object was not kept: {}", failed.words())));
        }
        if answer.len() != points.len() {
            return Err(self.remote.check().away(format!("it kept {} of {} objects", answer.len(), points.len())));
        }
        Ok(())
    }

    async fn delete_some(&self, class: &str, ids: &[PointId]) -> Result<(), VectorError> {
        let ids: Vec<String> = ids.iter().map(|id| wire::uuid(*id)).collect();
        let body = json!({
            "match": {"class": class, "where": {"path": ["id"], "operator": "ContainsAny", "valueTextArray": ids}},
            "output": "minimal",
        });
        let deleted: Option<Deleted> = self.ask(Method::DELETE, "batch/objects", Some(&body)).await?;
        match deleted.map_or(0, |deleted| deleted.results.failed) {
            0 => Ok(()),
            failed => Err(self.remote.check().away(format!("{failed} objects were not deleted"))),
        }
    }
}

impl VectorStore for WeaviateStore {
    fn name(&self) -> &str {
        &self.remote.name
    }

    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError> {
        let points = self.remote.check().points(collection, points)?;
        if points.is_empty() {
            return Ok(());
        }
        let class = class(collection);
        let points: Vec<&Point> = points.into_values().collect();
        self.remote.wait(CALL_MS, self.make(collection))?;
        for points in points.chunks(BATCH_POINTS) {
            self.remote.wait(CALL_MS, self.put(&class, points))?;
        }
        Ok(())
    }

    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError> {
        self.remote.check().collection(collection)?;
        self.remote.check().amount(ids.len())?;
        let class = class(collection);
        if ids.is_empty() || !self.remote.wait(CALL_MS, self.exists(&class))? {
            return Ok(());
        }
        for ids in ids.chunks(DELETE_POINTS) {
            self.remote.wait(CALL_MS, self.delete_some(&class, ids))?;
        }
        Ok(())
    }

    fn search(
        &self,
        collection: &Collection,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError> {
        self.remote.check().collection(collection)?;
        self.remote.check().vector(collection.embedder.dimension, vector)?;
        let class = class(collection);
        self.remote.search(vector, limit.min(HITS_MAX), documents, |ask| {
            self.remote.wait(SEARCH_MS, self.near(&class, vector, ask.hits, ask.documents))
        })
    }

    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError> {
        self.remote.check().collection(collection)?;
        let class = class(collection);
        let limit = limit.min(POINTS_MAX);
        if limit == 0 || after == Some(PointId(u128::MAX)) {
            return Ok(Vec::new());
        }
        // the cursor goes in the order of ids; an empty one is before the first
        let after = after.map(wire::uuid).unwrap_or_default();
        let path = format!("objects?class={class}&limit={limit}&after={after}&include=vector");
        let objects: Option<Objects> = self.remote.wait(CALL_MS, async {
            if !self.exists(&class).await? {
                return Ok(None);
            }
            self.ask(Method::GET, &path, None).await
        })?;
        let objects = objects.unwrap_or_default().objects;
        objects.into_iter().map(|object| self.point(object.into())).collect()
    }

    fn count(&self, collection: &Collection) -> Result<u64, VectorError> {
        self.remote.check().collection(collection)?;
        let class = class(collection);
        self.remote.wait(CALL_MS, async {
            if !self.exists(&class).await? {
                return Ok(0);
            }
            let mut answer = self.graph(format!("{{Aggregate{{{class}{{meta{{count}}}}}}}}")).await?;
            let counts = answer.data.aggregate.remove(&class).unwrap_or_default();
            Ok(counts.first().map_or(0, |counted| counted.meta.count))
        })
    }

    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError> {
        self.remote.check().owner(owner)?;
        let schema = self.remote.wait(CALL_MS, self.schema())?;
        let own = schema.classes.iter().filter(|class| class.class.starts_with(PREFIX));
        // what another version has written is not this program's
        let read = own.filter_map(|class| serde_json::from_str(&class.description).ok());
        let mut collections: Vec<Collection> =
            read.filter(|collection: &Collection| collection.owner == owner).collect();
        collections.sort();
        Ok(collections)
    }

    fn remove(&self, collection: &Collection) -> Result<(), VectorError> {
        self.remote.check().collection(collection)?;
        let path = format!("schema/{}", class(collection));
        self.remote.wait(CALL_MS, async { self.ask::<Value>(Method::DELETE, &path, None).await.map(drop) })
    }
}

/// The class of a collection.
fn class(collection: &Collection) -> String {
    collection_name(PREFIX, collection)
}
